"""The smallest eigenvalue by Lanczos, against LAPACK's, where the recurrence loses its orthogonality."""

import numpy as np
import pytest

from solvers.linalg.lanczos import Krylov, smallest_eigenpair, start_vector


def with_spectrum(rng, eigenvalues):
    basis = np.linalg.qr(rng.standard_normal((eigenvalues.size, eigenvalues.size)))[0]
    matrix = (basis * eigenvalues) @ basis.T
    return 0.5 * matrix + 0.5 * matrix.T


@pytest.mark.parametrize("multiplicity", [1, 4])
@pytest.mark.parametrize("shift", [0.0, 0.1, 10.0])
def test_an_eigenvalue_found_once_stays_found(multiplicity, shift):
    # far eigenvalues converge first, and their copies enter among the small ones for the rest of the run
    for seed in range(12):
        rng = np.random.default_rng(seed)
        spread = np.geomspace(0.02, 100.0, 260 - multiplicity)
        matrix = with_spectrum(rng, np.concatenate([np.zeros(multiplicity), spread])) - shift * np.eye(260)
        pair = smallest_eigenpair(Krylov(matrix, np.zeros(260), start_vector(260, rng)))
        rounding = 1e-13 * 100.0
        assert pair.error <= 2e-12 * 3.0 * 100.0
        assert pair.value - pair.error - rounding <= -shift <= pair.value + rounding


def test_a_value_that_was_not_the_smallest_is_given_up():
    # the smallest hides from the start vector until rounding brings it in
    values = np.concatenate([[-1.0], np.geomspace(0.1, 10.0, 79)])
    start = np.zeros(80)
    start[1:] = np.random.default_rng(3).standard_normal(79)
    start[0] = 1e-9
    pair = smallest_eigenpair(Krylov(np.diag(values), np.zeros(80), start / np.linalg.norm(start)))
    assert pair.value == pytest.approx(-1.0, abs=1e-11)
    assert pair.value - pair.error <= -1.0 + 1e-13
