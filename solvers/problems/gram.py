"""The cost X^T Diag(s) X kept as X and s, for problems whose matrix is too large, or too wasteful, to form."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.linalg import LinearOperator

from solvers import checks

Vector = NDArray[np.float64]

UNIT_ROUNDOFF = 2.0**-53
TINY = float(np.finfo(np.float64).tiny)
# Below the exponents of all products of two numbers.
SMALLEST_EXPONENT = -4096
# A matrix with at most this many times the entries of X is formed: sweeps over it are as fast, and the rest faster.
FORMED_SHARE = 2.0


class Gram(LinearOperator):
    r"""The symmetric matrix :math:`X^T Diag(s) X`, never formed unless it is about as small as X.

    Parameters
    ----------
    X : (m, n) array_like or scipy sparse array
        Copied; m and n at least 1.
    weights : (m,) array_like, optional
        s, of any sign: -1 makes minimising a maximisation of :math:`|X w|^2`.  Ones by default.

    Attributes
    ----------
    vectors : (n, m) ndarray or csr_array
        The columns of X, one a row.
    weights : (m,) ndarray
    offset : (N,) ndarray
        Added to the diagonal; zero unless a solver split the diagonal off.
    border : (n,) ndarray or None
        h, where a linear term was homogenised: the matrix is :math:`[[0, h^T], [h, X^T Diag(s) X]]`,
        N = n + 1.

    Raises
    ------
    TypeError
        If X or the weights do not hold real numbers.
    ValueError
        If X is empty, has not two dimensions, is not finite, or is so large that products overflow, or if the
        weights do not fit.

    Notes
    -----
    A product costs O(nnz(X)), so does a coordinate sweep for each column of the factor
    (`solvers.methods.gram_relaxation`); memory is that of X.

    Examples
    --------
    >>> cost = Gram([[1.0, 2.0, 0.0]])
    >>> cost.shape, cost @ np.ones(3)
    ((3, 3), array([3., 6., 0.]))
    """

    def __init__(self, X: Any, weights: ArrayLike | None = None) -> None:
        vectors = _columns_as_rows(X)
        count = int(vectors.shape[1])
        self.weights = np.ones(count) if weights is None else checks.vector("weights", weights, length=count)
        _check_range(vectors, self.weights)
        self._set(vectors, np.zeros(vectors.shape[0]), None)

    def _set(self, vectors: Any, offset: Vector, border: Vector | None) -> None:
        order = int(offset.shape[0])
        super().__init__(np.dtype(np.float64), (order, order))
        self.vectors = vectors
        self.offset = offset
        self.border = border

    def _with(self, vectors: Any, offset: Vector, border: Vector | None = None) -> Gram:
        made = Gram.__new__(Gram)
        made.weights = self.weights
        made._set(vectors, offset, border)
        return made

    def _matmat(self, V: Vector) -> Vector:
        V = np.asarray(V)
        offset = self.offset[:, None]
        if self.border is None:
            return np.asarray(self.vectors @ self.image(V) + offset * V)
        inner = self.vectors @ self.image(V[1:])
        image = np.vstack([(self.border @ V[1:])[None], inner + np.multiply.outer(self.border, V[0])])
        return np.asarray(image + offset * V)

    def _matvec(self, x: Vector) -> Vector:
        return self._matmat(np.reshape(x, (-1, 1))).ravel()

    def _adjoint(self) -> LinearOperator:
        return self

    def image(self, V: Vector) -> Vector:
        """Diag(s) X V for the rows of V that X meets, shape (m, k)."""
        return np.asarray(self.weights[:, None] * (self.vectors.T @ V))

    def squares(self, weights: Vector | None = None) -> Vector:
        """x_i^T Diag(s) x_i, with 0 for the row of a border, shape (N,)."""
        weights = self.weights if weights is None else weights
        if sp.issparse(self.vectors):
            squared = np.asarray(self.vectors.power(2) @ weights)
        else:
            squared = np.einsum("ij,ij,j->i", self.vectors, self.vectors, weights)
        return squared if self.border is None else np.concatenate([[0.0], squared])

    def diagonal(self) -> Vector:
        """Diagonal entries, shape (N,)."""
        return self.squares() + self.offset

    def dominated_dual(self) -> Vector:
        """A y with PSD C - Diag(y).

        The negative weights bring no eigenvalue below minus the trace of their part, and the row sums of the
        border outweigh it (Gershgorin).
        """
        negative = float(self.squares(np.minimum(self.weights, 0.0)).sum())
        if self.border is None:
            return self.offset + negative
        absolute = np.abs(self.border)
        return self.offset - np.concatenate([[absolute.sum()], absolute - negative])

    def zero_diagonal(self) -> Gram:
        """The matrix without its diagonal."""
        return self._with(self.vectors, -self.squares(), self.border)

    def homogenised(self, half: Vector) -> Gram:
        """[[0, h^T], [h, C]]; C itself must not have a border yet."""
        assert self.border is None
        return self._with(self.vectors, np.concatenate([[0.0], self.offset]), half.copy())

    def scaled(self, scale: Vector) -> Gram:
        """Diag(s) C Diag(s)."""
        own = scale if self.border is None else scale[1:]
        vectors = self.vectors * own[:, None]
        vectors = sp.csr_array(vectors) if sp.issparse(vectors) else vectors
        border = None if self.border is None else self.border * (scale[0] * own)
        return self._with(vectors, self.offset * scale**2, border)

    def scaled_by_powers(self, powers: NDArray[np.int64]) -> Gram:
        """Entries times 2^(p_i + p_j), exactly unless they become subnormal."""
        own = powers if self.border is None else powers[1:]
        vectors = _rows_times_powers(self.vectors, own)
        border = None if self.border is None else np.ldexp(self.border, powers[0] + own)
        return self._with(vectors, np.ldexp(self.offset, 2 * powers), border)

    def binary_exponents(self) -> NDArray[np.int64]:
        """For each row an e with all of its entries below 2^(e_i + e_j), and no less than need be by much."""
        # rows and weights of size one, so that no square under- or overflows
        largest = abs(self.vectors).max(axis=1)
        own = np.frexp(largest.toarray().ravel() if sp.issparse(largest) else largest)[1].astype(np.int64)
        half = -(-int(np.frexp(np.abs(self.weights).max())[1]) // 2)
        unit = self._with(_rows_times_powers(self.vectors, -own), np.zeros(own.shape[0]))
        sizes = np.sqrt(unit.squares(np.ldexp(np.abs(self.weights), -2 * half)))
        exponents = np.where(sizes > 0.0, np.frexp(sizes)[1] + own + half, np.iinfo(np.int32).min)
        if self.border is not None:
            exponents = np.concatenate([[np.iinfo(np.int32).min], exponents])
        others = [np.frexp(np.abs(self.offset))[1][self.offset != 0]]
        if self.border is not None:
            others.append(np.frexp(np.abs(self.border))[1][self.border != 0])
        most = max((int(some.max()) for some in others if some.size), default=np.iinfo(np.int32).min)
        return np.maximum(exponents, -(-most // 2))

    def frobenius_norm(self) -> float:
        """|C|_F from the smaller of X^T Diag(s) X and X X^T, and from its parts, without over- or underflow."""
        exponent = max(int(self.binary_exponents().max()), SMALLEST_EXPONENT)
        scaled = self.scaled_by_powers(np.full(self.shape[0], -exponent))
        return math.ldexp(scaled._norm(), 2 * exponent)

    def _norm(self) -> float:
        if self.vectors.shape[1] <= self.vectors.shape[0]:
            gram = self.vectors.T @ self.vectors
            # |X^T S X|_F^2 = trace(S G S G), G = X X^T
            total = float(self.weights @ (gram * gram @ self.weights))
        else:
            inner = self._inner()
            total = float(np.sum((inner.data if sp.issparse(inner) else inner) ** 2))
        total += float(self.offset @ (self.offset + 2.0 * self.squares()))
        if self.border is not None:
            total += 2.0 * float(self.border @ self.border)
        return math.sqrt(max(total, 0.0))

    def economical(self) -> Any:
        """The matrix as an array where that has at most twice the entries of X, itself otherwise."""
        if sp.issparse(self.vectors):
            counts = np.diff(sp.csc_array(self.vectors).indptr)
            worthwhile = float(np.sum(counts.astype(float) ** 2)) <= FORMED_SHARE * self.vectors.nnz
            return self._formed_sparse() if worthwhile else self
        worthwhile = self.vectors.shape[0] <= FORMED_SHARE * self.vectors.shape[1]
        return self.formed() if worthwhile else self

    def formed(self) -> NDArray[np.float64]:
        """The whole matrix, dense and exactly symmetric."""
        inner = self._inner()
        matrix = inner.toarray() if sp.issparse(inner) else inner
        if self.border is not None:
            half = self.border
            matrix = np.block([[np.zeros((1, 1)), half[None]], [half[:, None], matrix]])
        matrix[np.diag_indices_from(matrix)] += self.offset
        return matrix

    def _inner(self) -> Any:
        """X^T Diag(s) X, exactly symmetric, in the form that X has."""
        weighted = self.vectors * self.weights
        if sp.issparse(self.vectors):
            inner = sp.csr_array(weighted) @ self.vectors.T
            return sp.csr_array(0.5 * inner + 0.5 * inner.T)
        inner = weighted @ self.vectors.T
        return 0.5 * inner + 0.5 * inner.T

    def _formed_sparse(self) -> sp.csr_array:
        matrix = self._inner()
        if self.border is not None:
            column = sp.csr_array(self.border[:, None])
            matrix = sp.csr_array(sp.block_array([[None, column.T], [column, matrix]], format="csr"))
        matrix = sp.csr_array(matrix + sp.diags_array(self.offset))
        matrix.eliminate_zeros()
        matrix.sort_indices()
        return matrix

    def enclosure(self) -> tuple[NDArray[np.float64], float]:
        r"""A dense matrix and a proved bound on the spectral norm of its difference to the exact matrix.

        Each entry of a computed product is off by at most :math:`\gamma_{m+1} |x_i|^T Diag(|s|) |x_j|`, whatever
        the order of summation, and the matrix of these has norm at most its trace; symmetrising and adding the
        offset round once more each.
        """
        terms = (self.vectors.shape[1] + 4) * UNIT_ROUNDOFF
        squares = float(self.squares(np.abs(self.weights)).sum())
        squares *= 1.0 + 2.0 * (terms + self.shape[0] * UNIT_ROUNDOFF)
        # products with the weights may underflow before they meet the other factor
        largest = float(
            np.abs(self.vectors.data if sp.issparse(self.vectors) else self.vectors).max(initial=0.0)
        )
        underflow = self.shape[0] * (self.vectors.shape[1] + 4) * TINY * (2.0 + largest)
        adding = 2.0 * UNIT_ROUNDOFF * float(np.abs(self.offset).max(initial=0.0))
        error = 1.01 * terms / (1.0 - terms) * squares + adding + underflow
        return self.formed(), error


def _columns_as_rows(X: Any) -> Any:
    if sp.issparse(X):
        vectors: Any = sp.csr_array(checks.real_sparse("X", X).T)
        vectors.eliminate_zeros()
        vectors.sort_indices()
    else:
        vectors = np.ascontiguousarray(checks.real_array("X", X, dimensions=2).T)
    if 0 in vectors.shape:
        raise ValueError(f"X must not be empty; found shape {X.shape if sp.issparse(X) else vectors.T.shape}")
    return vectors


def _rows_times_powers(vectors: Any, powers: NDArray[np.int64]) -> Any:
    """Row i times 2^(p_i), exactly unless entries become subnormal."""
    if not sp.issparse(vectors):
        return np.ldexp(vectors, powers[:, None])
    entries = np.ldexp(vectors.data, np.repeat(powers, np.diff(vectors.indptr)))
    return sp.csr_array((entries, vectors.indices, vectors.indptr), shape=vectors.shape)


def _check_range(vectors: Any, weights: Vector) -> None:
    """Refuse what would overflow in products with signs."""
    order, count = vectors.shape
    largest = float(np.abs(vectors.data if sp.issparse(vectors) else vectors).max(initial=0.0))
    heaviest = float(np.abs(weights).max())
    if largest == 0 or heaviest == 0:
        return
    digits = 2.0 * math.log2(largest) + math.log2(heaviest) + 2.0 * math.log2(order) + math.log2(count)
    if max(digits, 2.0 * math.log2(largest)) > np.finfo(np.float64).maxexp - 4:
        raise ValueError(
            "X must have entries whose products add up within the range of float64; found entries of size "
            f"{largest:.3g}. Rescale the problem"
        )
