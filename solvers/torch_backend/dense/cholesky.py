"""Cholesky factorisations of many matrices: by SciPy on the processor, where it is faster, by torch elsewhere."""

from __future__ import annotations

import torch
from scipy.linalg import lapack
from torch import Tensor


def factorise(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Lower Cholesky roots of symmetric matrices (b, N, N), which are overwritten, and where there is none (b,).

    What takes the place of a root that does not exist is without meaning.  O(b N^3 / 3).

    Examples
    --------
    >>> pair = torch.tensor([[[4.0, 2.0], [2.0, 5.0]], [[1.0, 2.0], [2.0, 1.0]]], dtype=torch.float64)
    >>> root, missing = factorise(pair)
    >>> root[0].tolist(), missing.tolist()
    ([[2.0, 0.0], [1.0, 2.0]], [False, True])
    """
    if matrices.device.type == "cpu":
        matrices = matrices.contiguous()
        # symmetric, so its transpose, which is in LAPACK's order, will do; the root is found in its place
        failures = [
            lapack.dpotrf(matrix.T, lower=1, clean=1, overwrite_a=1)[1] for matrix in matrices.numpy()
        ]
        root, failed = matrices.mT, torch.tensor(failures, dtype=torch.int64)
    else:
        root, failed = torch.linalg.cholesky_ex(matrices)
    # not every LAPACK stops at a pivot that is not a number
    return root, (failed != 0) | ~root.diagonal(dim1=1, dim2=2).isfinite().all(dim=1)


def inverse(roots: Tensor) -> Tensor:
    """(L L^T)^-1 for lower roots L (b, N, N) as `factorise` returns them, which are overwritten.

    Examples
    --------
    >>> inverse(factorise(torch.tensor([[[4.0, 2.0], [2.0, 5.0]]], dtype=torch.float64))[0])[0].tolist()
    [[0.3125, -0.125], [-0.125, 0.25]]
    """
    if roots.device.type != "cpu":
        return torch.cholesky_inverse(roots)
    for root in roots.mT.numpy():
        lapack.dpotri(root.T, lower=1, overwrite_c=1)
    lower = roots.tril()
    return lower + roots.tril(-1).mT
