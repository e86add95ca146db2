"""Corrected multipliers: they remove what the range of V shows, for nothing, and agree with the single solver's."""

import numpy as np
import pytest
import torch

from solvers.certificates.multipliers import FactorRange
from solvers.linalg.matvec import Matvec
from solvers.torch_backend import solve_batch
from solvers.torch_backend.dense import certificate
from solvers.torch_backend.dense.multipliers import corrected, least_shift


def nearly_solved(iterations=20):
    costs = torch.randn(4, 40, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    costs = costs + costs.mT
    rough = solve_batch(
        costs, tol=1e-9, max_iterations=iterations, generator=torch.Generator().manual_seed(1)
    )
    rows = certificate.normalised(rough.factor)
    return costs, rows, certificate.multipliers(costs, rows)


def smallest(costs, dual):
    return torch.linalg.eigvalsh(costs - torch.diag_embed(dual))[:, 0]


def test_bounds_are_sharper_and_never_above_the_optimum():
    costs, rows, dual = nearly_solved()
    better = corrected(rows, *certificate.multipliers_and_slope(costs, rows))
    optimum = solve_batch(costs, tol=1e-9).value
    plain_bound = dual.sum(dim=1) + 40 * smallest(costs, dual)
    better_bound = better.sum(dim=1) + 40 * smallest(costs, better)
    assert (better_bound <= optimum + 1e-7).all()
    assert ((optimum - better_bound) < 0.5 * (optimum - plain_bound)).all()


def test_agrees_with_the_correction_of_a_single_problem():
    costs, rows, dual = nearly_solved()
    better = corrected(rows, *certificate.multipliers_and_slope(costs, rows))
    for index in range(4):
        products = Matvec(np.ascontiguousarray(costs[index].numpy()))
        factor = rows[index].numpy()
        found = FactorRange(products, products.arrange(factor), factor.shape[1]).corrected()
        step = np.linalg.norm(found.dual - dual[index].numpy())
        np.testing.assert_allclose(better[index].numpy(), found.dual, rtol=0, atol=0.05 * step)


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_the_least_shift_is_seen_by_the_range_as_the_target(rank):
    generator = torch.Generator().manual_seed(rank)
    basis = torch.linalg.qr(torch.randn(2, 60, rank, generator=generator, dtype=torch.float64)).Q
    padded = torch.nn.functional.pad(basis, (0, 2))
    target = torch.randn(2, rank, rank, generator=generator, dtype=torch.float64)
    target = target + target.mT
    shift = least_shift(padded, torch.nn.functional.pad(target, (0, 2, 0, 2)), torch.tensor([rank, rank]))
    seen = basis.mT @ (shift[:, :, None] * basis)
    torch.testing.assert_close(seen, target, rtol=0, atol=1e-2)


def test_solved_and_zero_problems_are_left_as_they_are():
    rows = torch.nn.functional.normalize(
        torch.randn(1, 6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64), dim=2
    )
    zero = torch.zeros(1, 6, 6, dtype=torch.float64)
    assert torch.equal(corrected(rows, zero[:, 0], torch.zeros_like(rows)), zero[:, 0])
