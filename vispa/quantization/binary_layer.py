"""One layer made binary after training: signs and scales that change its outputs least, and bounds on others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from solvers import checks
from vispa.quantization.fit_layer import Options, fit_layer
from vispa.quantization.layer_problem import LayerProblem, Matrix, as_array, checked_gram, gram_of
from vispa.quantization.result import BinaryLayer


def binary_layer(
    weights: Any,
    *,
    inputs: Any = None,
    gram: Any = None,
    group: int | None = None,
    start: Any = None,
    effort: float = 1.0,
    relaxations: int = 0,
    bounds: bool = False,
    workers: int | None = None,
    max_seconds: float | None = None,
    callback: Callable[[int, int], None] | None = None,
    rng: np.random.Generator | int | None = 0,
) -> BinaryLayer:
    r"""Return the signs and scales of a layer's rows that change its outputs least.

    Parameters
    ----------
    weights : (J, n) array_like or Tensor
        The trained weights w_j, an output a row.
    inputs : (m, n) array_like or Tensor, or an iterable of such batches
        X, what the layer is fed; only A = X^T X is kept.  Either this or ``gram``.
    gram : (n, n) array_like or Tensor
        A, symmetric and positive semidefinite.
    group : int, optional
        So many columns share a scale; by default all of a row.
    start : (J, n) array_like, optional
        Signs to improve on too.
    effort : float, optional
        Multiplies the work: choices that the beam search keeps, steps of the walks.
    relaxations : int, optional
        Scales at which each row's semidefinite relaxation is solved and rounded for further starts.
    bounds : bool, optional
        Whether to bound the error from below: at the scales found, and over all scales where a row has one.
    workers : int, optional
        Threads; by default one a processor.  The result does not depend on their number.
    max_seconds : float, optional
        Rows that are not reached by then keep sgn(w) at its best scales; bounds that are not reached are 0.
    callback : callable, optional
        Called with rows done and rows in all; StopIteration ends the search as the limit does.
    rng : numpy Generator or seed, optional
        For the walks and roundings.

    Returns
    -------
    BinaryLayer
        Each row's error is at most that of sgn(w_j) at its own best scales.  KeyboardInterrupt returns it too, as
        the limit would.

    Raises
    ------
    TypeError, ValueError
        For an argument that does not fit, naming it.

    Notes
    -----
    Signs s with their best scale leave E - (a^T s)^2 / s^T A s, a = A w: one and two flips and a tabu walk lower it
    directly, compiled, from sgn(w), from GPTQ (Frantar et al. 2023), from a beam search that widens it, and from
    roundings of the relaxation.  Columns without inputs keep the sign of their weight.
    O(n^3 + J n^2) times the work; memory O(J n + n^2).

    Examples
    --------
    >>> from vispa import binary_layer
    >>> X = np.array([[1.0, 1.0], [0.0, 1.0]])
    >>> layer = binary_layer([[0.5, -0.4]], inputs=X, bounds=True)
    >>> layer.signs.tolist(), round(float(layer.scales[0, 0]), 3), round(layer.relative_error, 3)
    ([[1, -1]], 0.4, 0.059)
    >>> bool(layer.joint_bound[0] <= layer.error[0])
    True
    """
    rows = checks.real_array("weights", as_array("weights", weights), dimensions=2)
    if rows.size == 0:
        raise ValueError(f"weights must not be empty; found shape {rows.shape}")
    if (inputs is None) == (gram is None):
        raise ValueError("inputs or gram must be given, and not both")
    width = rows.shape[1]
    matrix = gram_of(inputs, width) if gram is None else checked_gram(gram, width)
    options = Options.checked(
        group=group,
        effort=effort,
        relaxations=relaxations,
        bounds=bounds,
        workers=workers,
        max_seconds=max_seconds,
        callback=callback,
    )
    given = None if start is None else _checked_signs(start, rows.shape)
    return fit_layer(LayerProblem.of(rows, matrix), options, given, checks.generator("rng", rng))


def _checked_signs(start: Any, shape: tuple[int, ...]) -> Matrix:
    signs = checks.real_array("start", as_array("start", start), dimensions=2)
    if signs.shape != shape or not np.all(np.abs(signs) == 1.0):
        raise ValueError(f"start must hold +1 and -1 in shape {shape}; found shape {signs.shape}")
    return signs
