"""A layer to be made binary: min |X v_j - t_j|^2 over v_j = scales times signs, stated by its second moments."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg as la
from numpy.typing import NDArray

from solvers import checks

Matrix = NDArray[np.float64]

# Of the trace: by so much a Gram matrix summed in single precision may miss symmetry or semidefiniteness.
SINGLE_PRECISION = 1e-6
SYMMETRY = 1e-4
# Of sums of squared outputs: what leaves room for the products that a search and its bounds form.
LARGEST = 1e300


class LayerProblem(NamedTuple):
    """J rows over n columns.

    Attributes
    ----------
    weights : (J, n) ndarray
        What the signs fall back on where inputs say nothing, and what damping draws towards.
    gram : (n, n) ndarray
        A = X^T X.
    linear : (J, n) ndarray
        a_j = X^T t_j; A w_j where the layer is to keep its own outputs.
    energy : (J,) ndarray
        |t_j|^2.
    """

    weights: Matrix
    gram: Matrix
    linear: Matrix
    energy: NDArray[np.float64]

    @classmethod
    def of(cls, weights: Matrix, gram: Matrix) -> LayerProblem:
        """The layer that is to keep its outputs on its own inputs.

        Raises
        ------
        ValueError
            If the squares of inputs or outputs overflow.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            linear = weights @ gram
            sizes = np.einsum("ij,ij->i", np.abs(weights) @ np.abs(gram), np.abs(weights))
        if not (np.all(sizes <= LARGEST) and np.abs(gram).max() <= LARGEST / len(gram)):
            raise ValueError(
                "weights and inputs must be small enough for sums of squared inputs and outputs to be below 1e300"
            )
        return cls(weights, gram, linear, np.maximum(np.einsum("ij,ij->i", linear, weights), 0.0))

    def rows(self, chosen: slice) -> LayerProblem:
        """Some of the rows."""
        return LayerProblem(self.weights[chosen], self.gram, self.linear[chosen], self.energy[chosen])

    def columns(self, chosen: NDArray[np.intp]) -> LayerProblem:
        """Some of the columns; the others must be dead, or their weights zero."""
        gram = np.ascontiguousarray(self.gram[np.ix_(chosen, chosen)])
        return LayerProblem(
            np.ascontiguousarray(self.weights[:, chosen]),
            gram,
            np.ascontiguousarray(self.linear[:, chosen]),
            self.energy,
        )

    def error(self, binary: Matrix) -> NDArray[np.float64]:
        """|X v_j - t_j|^2 for each row of (J, n)."""
        # about the weights, so that hardly anything cancels where these are nearly met
        moved = binary - self.weights
        image = moved @ self.gram
        away = self.weights @ self.gram - self.linear
        own = np.einsum("ij,ij->i", self.weights, away - self.linear) + self.energy
        if not np.any(away):
            own = np.zeros_like(own)
        return np.maximum(np.einsum("ij,ij->i", image + 2.0 * away, moved) + own, 0.0)


def gram_of(inputs: Any, width: int) -> Matrix:
    """X^T X of samples (m, n), or of an iterable of such batches, of which one at a time is held.

    Raises
    ------
    TypeError, ValueError
        If a batch is not a real, finite matrix of the right width, or there is none.
    """
    batches = [inputs] if _is_matrix(inputs) else inputs
    if not isinstance(batches, Iterable):
        raise TypeError(f"inputs must be a matrix or an iterable of matrices; found {type(inputs).__name__}")
    total, samples = np.zeros((width, width)), 0
    for batch in batches:
        rows = checks.real_array("inputs", as_array("inputs", batch), dimensions=2)
        if rows.shape[1] != width:
            raise ValueError(f"inputs must have shape (m, {width}); found {rows.shape}")
        total += rows.T @ rows
        samples += len(rows)
    if samples == 0:
        raise ValueError("inputs must hold at least one sample; found none")
    if not np.all(np.isfinite(total)):
        raise ValueError("inputs must be small enough for their squares; X^T X overflows")
    return total


def checked_gram(gram: Any, width: int) -> Matrix:
    """A as given, symmetric in float64.

    Raises
    ------
    TypeError, ValueError
        If it is not a real, finite, symmetric, positive semidefinite (n, n) matrix.
    """
    matrix = checks.real_array("gram", as_array("gram", gram), dimensions=2)
    if matrix.shape != (width, width):
        raise ValueError(f"gram must have shape ({width}, {width}); found {matrix.shape}")
    difference, largest = float(np.abs(0.5 * matrix - 0.5 * matrix.T).max()), float(np.abs(matrix).max())
    if difference > 0.5 * SYMMETRY * largest:
        raise ValueError(
            f"gram must be symmetric; entries differ from their mirror image by {2.0 * difference:.3g}"
        )
    matrix = 0.5 * matrix + 0.5 * matrix.T
    shifted = matrix / largest if largest > 0.0 else matrix.copy()
    trace = float(np.trace(shifted))
    np.einsum("ii->i", shifted)[:] += SINGLE_PRECISION * (trace if largest > 0.0 else 1.0)
    if trace < 0.0 or la.lapack.dpotrf(shifted, overwrite_a=1)[1] != 0:
        raise ValueError("gram must be positive semidefinite, as X^T X is; it has a negative eigenvalue")
    return matrix


def _is_matrix(inputs: Any) -> bool:
    """Whether these are samples, as an array or nested lists, rather than batches of samples."""
    if not isinstance(inputs, list):
        return hasattr(inputs, "shape")
    return not any(len(getattr(batch, "shape", ())) > 1 for batch in inputs)


def as_array(name: str, values: Any) -> Any:
    """What is given under this name, a torch tensor as an array on the host."""
    if hasattr(values, "detach"):
        tensor = values.detach()
        if getattr(tensor, "is_meta", False):
            raise ValueError(
                f"{name} must hold numbers; found a tensor on the meta device: materialise the model first"
            )
        return tensor.to("cpu").double().numpy() if tensor.is_floating_point() else tensor.to("cpu").numpy()
    return values
