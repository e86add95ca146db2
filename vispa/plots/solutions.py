"""Plots of what a solver found: convergence, the spectrum of Y, and how alike its roundings are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers import checks
from vispa.plots.canvas import AFTER, INK, MUTED, PALETTE, axes_for, legend_beside

if TYPE_CHECKING:
    from solvers.branching.result import ProvedSolution
    from solvers.problems.solution import Solution

__all__ = ["convergence", "overlaps", "spectrum"]

# Eigenvalues of Y below this part of the largest count as zero: solvers stop at relative gaps of 1e-6.
RANK_TOLERANCE = 1e-6


def convergence(solution: Solution | ProvedSolution, axes: Any = None) -> Any:
    """Axes with the value and the bound over time, in the problem's own sense: cuts grow, their bound falls.

    Parameters
    ----------
    solution : Solution or ProvedSolution
        Its history is drawn: from `low_rank`, `solve_sparse` or `branch_and_bound`, which record one.
    axes : matplotlib Axes, optional
        Where to draw; new ones by default.

    Returns
    -------
    Axes
        Two step curves, ``value`` and ``bound``, and the area between them; bounds that are not yet finite are
        left out.

    Raises
    ------
    TypeError, ValueError
        If ``solution`` has no history, or an empty one.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> import numpy as np, vispa
    >>> from vispa import plots
    >>> axes = plots.convergence(vispa.low_rank(vispa.MaxCut(np.ones((9, 9))), rng=0))
    >>> axes.get_xlabel(), [line.get_label() for line in axes.get_lines()]
    ('seconds', ['value', 'upper bound'])
    """
    history = getattr(solution, "history", None)
    if not isinstance(history, tuple) or (history and not hasattr(history[0], "lower_bound")):
        raise TypeError(
            "solution must be a Solution or ProvedSolution, whose history holds values and bounds; "
            f"found {type(solution).__name__}"
        )
    if not history:
        raise ValueError(
            "solution must have a history; found an empty one: conic solvers keep none, low_rank does"
        )
    axes = axes_for(axes, "plots.convergence")
    maximised = solution.problem.relaxation().maximised
    sign = -1.0 if maximised else 1.0
    seconds = np.array([moment.seconds for moment in history])
    value = sign * np.array([moment.value for moment in history])
    bound = sign * np.array([moment.lower_bound for moment in history])
    bound[~np.isfinite(bound)] = np.nan
    axes.plot(seconds, value, drawstyle="steps-post", color=AFTER, linewidth=1.8, label="value")
    name = "upper bound" if maximised else "lower bound"
    axes.plot(seconds, bound, drawstyle="steps-post", color=PALETTE[1], linewidth=1.8, label=name)
    axes.fill_between(seconds, value, bound, step="post", color=AFTER, alpha=0.1, linewidth=0)
    axes.set_xlabel("seconds")
    axes.set_ylabel("objective")
    legend_beside(axes)
    return axes


def spectrum(solution: Solution, axes: Any = None) -> Any:
    """Axes with the eigenvalues of Y, largest first, on a logarithmic scale, and its numerical rank.

    Parameters
    ----------
    solution : Solution
    axes : matplotlib Axes, optional
        Where to draw; new ones by default.

    Returns
    -------
    Axes
        One point an eigenvalue of those that the factor's width k allows, a line at the numerical rank (the
        number above 1e-6 of the largest) and one at the Barvinok-Pataki rank, the largest r with
        r (r + 1) / 2 <= N, which some optimal Y does not exceed.

    Raises
    ------
    TypeError
        If ``solution`` is not a Solution.
    ImportError
        If matplotlib is missing.

    Notes
    -----
    Singular values of the (N, k) factor, O(N k^2). Barvinok (1995); Pataki (1998).

    Examples
    --------
    >>> import vispa
    >>> from vispa import plots
    >>> square = vispa.MaxCut([[0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0]])
    >>> plots.spectrum(vispa.low_rank(square, rng=0)).get_title()
    'rank 1 of at most 2'
    """
    from solvers.problems.solution import Solution

    if not isinstance(solution, Solution):
        raise TypeError(f"solution must be a Solution; found {type(solution).__name__}")
    axes = axes_for(axes, "plots.spectrum")
    eigenvalues = np.linalg.svd(solution.factor, compute_uv=False) ** 2
    rank = int(np.count_nonzero(eigenvalues > RANK_TOLERANCE * eigenvalues[0]))
    order = solution.factor.shape[0]
    enough = int((np.sqrt(8 * order + 1) - 1) // 2)
    shown = np.where(eigenvalues > 0, eigenvalues, np.nan)
    axes.plot(np.arange(1, shown.size + 1), shown, "o", color=AFTER, markersize=4, label="eigenvalues of Y")
    axes.axvline(rank + 0.5, color=INK, linewidth=1.2, label=f"numerical rank {rank}")
    axes.axvline(enough + 0.5, color=MUTED, linewidth=1.2, linestyle="--", label=f"always enough: {enough}")
    axes.set_yscale("log")
    axes.set_xlabel("index")
    axes.set_ylabel("eigenvalue")
    axes.set_title(f"rank {rank} of at most {enough}")
    legend_beside(axes)
    return axes


def overlaps(signs: ArrayLike, axes: Any = None) -> Any:
    r"""Axes with the overlaps :math:`q_{ab} = \langle w_a, w_b \rangle / n` of binary points as an image.

    Blocks of dark colour are families of points: roundings of one relaxation, samples of a posterior, networks.
    Points stand in the order of a hierarchical clustering by \|q\|, so that families are neighbours.

    Parameters
    ----------
    signs : (m, n) array_like
        Points of -1 and +1, at least two, for instance ``SignGaussian.from_solution(solution).sample(50)``.
    axes : matplotlib Axes, optional
        Where to draw; new ones by default.

    Returns
    -------
    Axes
        One image, from -1 to 1.

    Raises
    ------
    TypeError, ValueError
        If ``signs`` is not a matrix of signs with at least two rows.
    ImportError
        If matplotlib is missing.

    Notes
    -----
    O(m^2 n).  Average linkage on 1 - \|q\|, so that w and -w are one point, as they are for a cut.

    Examples
    --------
    >>> from vispa import plots
    >>> axes = plots.overlaps([[1, 1, 1, 1], [1, -1, 1, -1], [-1, -1, -1, -1]])
    >>> axes.get_images()[0].get_array().tolist()[0]
    [1.0, 0.0, 0.0]
    """
    points = checks.real_array("signs", signs, dimensions=2)
    if points.shape[0] < 2 or points.shape[1] == 0 or not (np.abs(points) == 1).all():
        raise ValueError(
            f"signs must be at least two rows of -1 and +1; found an array of shape {points.shape} with entries "
            f"from {points.min(initial=np.inf):g} to {points.max(initial=-np.inf):g}"
        )
    axes = axes_for(axes, "plots.overlaps", size=(5.0, 4.2))
    overlap = points @ points.T / points.shape[1]
    order = _families(overlap)
    image = axes.imshow(overlap[np.ix_(order, order)], cmap="RdBu_r", vmin=-1.0, vmax=1.0)
    axes.grid(False)
    axes.set_xlabel("point")
    axes.set_ylabel("point")
    axes.figure.colorbar(image, ax=axes, label="overlap")
    return axes


def _families(overlap: NDArray[np.float64]) -> NDArray[np.int64]:
    """The order of the leaves of a clustering by the size of the overlap."""
    from scipy.cluster.hierarchy import average, leaves_list

    rows, columns = np.triu_indices(overlap.shape[0], 1)
    return np.asarray(leaves_list(average(1.0 - np.abs(overlap[rows, columns]))), dtype=np.int64)
