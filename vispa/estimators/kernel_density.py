"""A density known only as a function of tensors: integrated once, panel by panel, then inverted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]


def _lobatto(count: int) -> tuple[Array, Array]:
    """Gauss-Lobatto rule: its end nodes see a kink that hides between an edge and the nodes next to it."""
    legendre = np.polynomial.legendre.Legendre.basis(count - 1)
    nodes = np.concatenate([[-1.0], np.sort(legendre.deriv().roots().real), [1.0]])
    return nodes, 2.0 / (count * (count - 1) * legendre(nodes) ** 2)


_NODES, _WEIGHTS = _lobatto(9)
# Panels double in length from 2^-100 to 2^100 on both sides of zero, and are halved wherever the function jumps.
_LARGEST_EXPONENT = 100
_HALVINGS = 60
# Of the whole mass: what a panel may be off by, and what the outermost panels may still hold.
_PANEL_ERROR = 1e-13
_LARGEST_TAIL = 1e-9
_BISECTIONS = 80


class KernelDensity:
    """The density proportional to a non-negative integrable function.

    Parameters
    ----------
    function : callable
        Maps float64 tensors (m,) to real tensors (m,).

    Raises
    ------
    ValueError
        If the function is negative, not finite, zero everywhere or not integrable, with the place or reason.
    TypeError
        If it does not return a real tensor.

    Examples
    --------
    >>> triangle = KernelDensity(lambda x: (3.0 - x.abs()).clamp_min(0.0))
    >>> round(float(triangle.cumulative(torch.tensor(1.5))), 9)
    0.875
    """

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self._function = function
        powers = 2.0 ** np.arange(-_LARGEST_EXPONENT, _LARGEST_EXPONENT + 1)
        edges = np.concatenate([-powers[::-1], [0.0], powers])
        edges, masses = self._refined(edges)
        total = float(masses.sum())
        if total == 0:
            raise ValueError(
                "the kernel has no noise: it is zero everywhere, and a density integrates to one"
            )
        outermost = max(masses[0], masses[-1])
        if outermost > _LARGEST_TAIL * total:
            raise ValueError(
                "the kernel has no noise: it is not integrable, and a density is; between 2^99 and 2^100 its "
                f"integral still grows by {outermost / total:.1e} of what it was"
            )
        self._edges, self._total = edges, total
        self._below = np.concatenate([[0.0], np.cumsum(masses) / total])

    def __call__(self, x: Tensor) -> Tensor:
        """Density at ``x``, in its dtype."""
        return (self._function(x.double().reshape(-1)) / self._total).reshape(x.shape).to(x.dtype)

    def cumulative(self, x: Tensor) -> Tensor:
        """Probability of a value up to ``x``."""
        points = x.detach().to("cpu", torch.float64).numpy()
        return torch.as_tensor(self._cumulative(points.ravel()).reshape(points.shape)).to(x)

    def quantile(self, p: Tensor) -> Tensor:
        """Inverse of `cumulative`, by bisection within the panel; O(80 x 9) evaluations a value."""
        levels = p.detach().to("cpu", torch.float64).numpy().ravel()
        panel = np.clip(np.searchsorted(self._below, levels) - 1, 0, self._edges.size - 2)
        low, high = self._edges[panel], self._edges[panel + 1]
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            short = self._cumulative(middle) < levels
            low, high = np.where(short, middle, low), np.where(short, high, middle)
        return torch.as_tensor(0.5 * (low + high)).reshape(p.shape).to(p)

    def _cumulative(self, points: Array) -> Array:
        inside = np.clip(points, self._edges[0], self._edges[-1])
        panel = np.clip(np.searchsorted(self._edges, inside, side="right") - 1, 0, self._edges.size - 2)
        start = self._edges[panel]
        return np.minimum(self._below[panel] + self._integrals(start, inside) / self._total, 1.0)

    def _refined(self, edges: Array) -> tuple[Array, Array]:
        """Halve panels until each agrees with its halves; returns their edges and integrals."""
        left, right = edges[:-1], edges[1:]
        kept: list[tuple[Array, Array, Array]] = []
        masses = self._integrals(left, right)
        for halving in range(_HALVINGS + 1):
            middle = 0.5 * (left + right)
            halves = self._integrals(left, middle), self._integrals(middle, right)
            total = sum(float(mass.sum()) for _, _, mass in kept) + float(masses.sum())
            error = np.abs(halves[0] + halves[1] - masses)
            done = (error <= _PANEL_ERROR * total) | (halving == _HALVINGS)
            kept.append((left[done], right[done], masses[done]))
            if done.all():
                break
            left, right = (
                np.concatenate([left[~done], middle[~done]]),
                np.concatenate([middle[~done], right[~done]]),
            )
            masses = np.concatenate([halves[0][~done], halves[1][~done]])
        starts, ends, masses = (np.concatenate([part[i] for part in kept]) for i in range(3))
        order = np.argsort(starts)
        return np.append(starts[order], ends[order[-1]]), masses[order]

    def _integrals(self, left: Array, right: Array) -> Array:
        half = 0.5 * (right - left)
        points = (left + half)[:, None] + half[:, None] * _NODES
        return np.asarray(half * (self._values(points.ravel()).reshape(points.shape) @ _WEIGHTS))

    def _values(self, points: Array) -> Array:
        found = self._function(torch.from_numpy(points))
        if not isinstance(found, Tensor):
            raise TypeError(f"kernel must return a tensor; found {type(found).__name__}")
        if found.dtype == torch.bool or found.is_complex():
            raise TypeError(f"kernel must return real numbers; found dtype {found.dtype}")
        if found.shape != (points.size,):
            raise ValueError(f"kernel must keep the shape ({points.size},); found {tuple(found.shape)}")
        values = found.detach().to("cpu", torch.float64).numpy()
        finite = np.isfinite(values)
        if not finite.all():
            place = points[~finite][np.argmin(np.abs(points[~finite]))]
            raise ValueError(f"the kernel has no noise: it is not finite near x = {-place:.3g}")
        if values.min() < 0:
            raise ValueError(
                "the kernel has no noise: a density is nowhere negative, and the kernel is "
                f"{values.min():.3g} near x = {-points[values.argmin()]:.3g}"
            )
        return values
