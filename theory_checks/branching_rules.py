"""T2 to T4: what branch and bound rests on: merged rows, steps between energies, rounded data, bits as signs."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from solvers.branching.branch_and_bound import branch_and_bound
from solvers.branching.node import child_node, root_node
from solvers.io.files import read_problem
from solvers.problems.integer_form import integer_form, merged_weights, next_below
from solvers.problems.problem import BinaryQuadratic
from theory_checks import instances
from theory_checks.claim import Claim, Measurement, Trial, at_least, at_most, claim
from theory_checks.oracles import cube

Array = NDArray[np.float64]

SIZE = 8


@claim(
    "T2",
    title="tying two signs merges two rows, and whole numbers prune by their step",
    statement="With s_i = f_i t_l(i): E(s) = sum_{i<j} W_ij s_i s_j = constant + E'(t), and each tie lowers the "
    "order by one; the two children of a pair share out the cube, so that the lesser of their optima is the "
    "parent's. No energy lies strictly between `next_below(best)` and best: the step is 2 for cuts in E (1 "
    "in the cut), 2 for complete +-1 couplings of even order and 4 for odd.",
    source="Rendl, Rinaldi and Wiegele (2010) for the branching; the steps: derived, a turned set of signs "
    "changes E by twice the weight of a cut.",
    computed="Whole weights, N = 8, tied at random two levels deep, at every point; all energies of random, "
    "+-1 and 0/1 weights against `next_below`; `branch_and_bound` on +-1 couplings, n = 13, against the "
    "cube.",
    falsified_by="A point of a child with another energy, a child that loses points, an energy in a forbidden "
    "step, a step other than the stated one, or another optimum.",
)
def branching(trial: Trial) -> Iterator[Measurement]:
    """Tie signs at random, and list all energies."""
    rng = trial.rng
    wrong = lost = 0.0
    for _ in range(trial.count(5)):
        weights = _whole(rng, SIZE, 400)
        first, second = _tied(weights, rng)
        wrong = max(wrong, first[0], second[0])
        lost = max(lost, first[1], second[1])
    yield at_most("largest |E(s) - constant - E'(t)| over the points of children", wrong, 0.0)
    yield at_most("largest |lesser optimum of two children - their parent's|", lost, 0.0)
    forbidden = 0
    for weights in (_whole(rng, SIZE, 4), 6.0 * _whole(rng, SIZE, 2), _signed(rng, SIZE), _signed(rng, 9)):
        forbidden += _forbidden(weights, int(rng.integers(-5, 6)))
    yield at_most("energies strictly between next_below and the best", forbidden, 0)
    complete = 1.0 - np.eye(SIZE)
    for name, weights, step in (
        ("cuts of K_8 less an edge", complete - _edge(SIZE), 2),
        ("the same, each edge of weight 3", 3.0 * (complete - _edge(SIZE)), 6),
        ("complete +-1 couplings, N = 8", _signed(rng, 8), 2),
        ("complete +-1 couplings, N = 7", _signed(rng, 7), 4),
        ("no couplings, best two above the only energy", np.zeros((3, 3)), 2),
    ):
        best = int(_energies(weights).min()) + (0 if weights.any() else 2)
        yield at_most(f"{name}: |step - {step}|", abs(best - next_below(weights, 0, best) - step), 0)
    none = np.zeros((3, 3))
    yield at_most("no couplings, the only energy: |step - 1|", abs(next_below(none, 0, 0) + 1), 0)
    problem = BinaryQuadratic(0.5 * _signed(rng, 13))
    found = branch_and_bound(problem, rng=0)
    least = float(problem.evaluate(cube(13)).min())
    yield at_most("|optimum of branch and bound - that of the cube|", abs(found.value - least), 0.0)
    yield at_most("|its proved bound - the optimum|", abs(found.lower_bound - least), 0.0)


def _tied(weights: Array, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Tie two pairs one after the other: errors of energies, and of the optimum, at each level."""
    node, constant, merged, found = root_node(np.eye(len(weights))), 0, weights, []
    for level in range(2):
        a, b = sorted(rng.choice(node.order, 2, replace=False).tolist())
        parent, wrong, optima = float(_energies(merged).min()) + constant, 0.0, []
        for relation in (1, -1):
            child = child_node(node, a, b, relation, 2 * level + 1, -np.inf)
            merged, constant = merged_weights(weights, child.labels, child.flips)
            points = cube(child.order)
            energies = constant + _energies(merged)
            whole = points[:, child.labels] * child.flips
            expected = 0.5 * ((whole @ weights) * whole).sum(axis=1)
            wrong = max(wrong, float(np.abs(energies - expected).max()), abs(child.order - node.order + 1))
            optima.append(float(energies.min()))
        found.append((wrong, abs(min(optima) - parent)))
        node = child
    return found


def _whole(rng: np.random.Generator, order: int, largest: int) -> Array:
    upper = np.triu(rng.integers(-largest, largest + 1, (order, order)), 1).astype(np.float64)
    return upper + upper.T


def _signed(rng: np.random.Generator, order: int) -> Array:
    upper = np.triu(rng.choice([-1.0, 1.0], (order, order)), 1)
    return upper + upper.T


def _edge(order: int) -> Array:
    edge = np.zeros((order, order))
    edge[0, 1] = edge[1, 0] = 1.0
    return edge


def _energies(weights: Array) -> Array:
    points = cube(len(weights))
    return 0.5 * ((points @ weights) * points).sum(axis=1)


def _forbidden(weights: Array, constant: int) -> int:
    """How many pairs of an attained best energy and another one between it and `next_below`."""
    levels = np.unique(_energies(weights) + constant)
    count = 0
    for best in levels:
        below = next_below(weights, constant, int(best))
        count += int(((levels > below) & (levels < best)).sum()) + int(below >= best)
    return count


@claim(
    "T3",
    title="data that are not whole are proved to a gap that is stated",
    statement="constant + unit E(s) differs from the objective by at most `error` units at every point, and an "
    "error of 0 means that they are equal; branch and bound on such data ends with a bound below the optimum, "
    "a value within the stated gap of it, and the gap is at most 1e-7.",
    source="Derived: every rounded weight is off by at most half a unit, and adds to the error once.",
    computed="Normal data, n = 10: the integer form at every point; one pair of signs, where the error must be "
    "attained; whole data up to a factor, where it must vanish; `branch_and_bound` against the cube.",
    falsified_by="A point further off than the error, an error that one pair does not attain, or a bound above "
    "the optimum.",
)
def rounded_data(trial: Trial) -> Iterator[Measurement]:
    """Compare the integer form with the objective, and proved values with enumeration."""
    rng = trial.rng
    over, loose = -np.inf, 0.0
    for number in range(trial.count(4)):
        problem = instances.quadratic(rng, 10, linear=number % 2 == 0)
        over = max(over, _distance(problem)[0])
        largest, error = _distance(instances.quadratic(rng, 2, linear=False))[1:]
        loose = max(loose, error - largest)
    yield at_most("largest (distance from the objective) - error, in units", over, 1e-3)
    yield at_most("one pair: error - largest distance, in units", loose, 1e-3)
    for name, scaled in (
        ("whole data times 3/8", 0.375 * _whole(rng, 10, 9)),
        ("whole data times 2^-40", np.ldexp(_whole(rng, 10, 9), -40)),
        ("halves up to one", 0.25 * _whole(rng, 10, 1) + 0.25 * _edge(10)),
        ("31 binary digits", 0.5 * _edge(10) * (2**31 - 1)),
        ("no data", np.zeros((10, 10))),
    ):
        yield at_most(f"{name}: distance and error", sum(_distance(BinaryQuadratic(scaled))[1:]), 0.0)
    above, far, gap = -np.inf, 0.0, 0.0
    for _ in range(trial.count(2)):
        problem = instances.quadratic(rng, 10)
        found = branch_and_bound(problem, rng=0)
        values = problem.evaluate(cube(10))
        optimum, scale = float(values.min()), float(np.abs(problem.A).sum())
        above = max(above, (found.lower_bound - optimum) / scale)
        far = max(far, (found.value - optimum) / scale - found.gap)
        gap = max(gap, found.gap)
    yield at_most("largest bound - optimum, relative", above, 1e-12)
    yield at_most("largest (value - optimum) - stated gap, relative", far, 1e-12)
    yield at_most("largest stated gap", gap, 1e-7)


def _distance(problem: BinaryQuadratic) -> tuple[float, float, float]:
    """Largest distance less the error, the distance, and the error, in units."""
    form = integer_form(problem)
    points = np.array(list(itertools.product([-1, 1], repeat=problem.n)))
    lifted = np.column_stack([np.ones(len(points), np.int64), points]) if form.extended else points
    written = np.array([form.objective(form.energy(point)) for point in lifted])
    distance = float(np.abs(written - problem.evaluate(points)).max()) / float(form.unit)
    return distance - form.error, distance, form.error


@claim(
    "T4",
    title="a problem of bits is one of signs",
    statement="min x^T Q x over bits x = (1 + w)/2 is w^T (Q/4) w + (Q 1/2)^T w + 1^T Q 1/4 over signs, Q "
    "symmetric; a triangular Q that holds each pair once means (Q + Q^T)/2. A file in BiqMac's sparse form "
    "lists each pair once and counts it twice.",
    source="Substitution; Wiegele (2007) for the library's files.",
    computed="Symmetric, triangular and sparse Q, with an offset, minimised and maximised, at all 2^8 points of "
    "bits, term by term; a written file, read.",
    falsified_by="Bits whose value is another than that of their signs.",
)
def bits(trial: Trial) -> Iterator[Measurement]:
    """Enumerate bits and signs side by side."""
    rng = trial.rng
    x = 0.5 * (1.0 + cube(SIZE))
    whole = rng.integers(-9, 10, (SIZE, SIZE))
    symmetric, triangular = whole + whole.T, np.triu(whole)
    off = 0.0
    for Q, offset, maximise in (
        (symmetric, 0.0, False),
        (triangular, 2.5, False),
        (sp.csr_array(triangular), -1.0, True),
        (rng.normal(size=(SIZE, SIZE)), 0.3, True),
    ):
        problem = BinaryQuadratic.from_qubo(Q, offset=offset, maximise=maximise)
        dense = np.asarray(Q @ np.eye(SIZE))
        expected = np.einsum("mi,ij,mj->m", x, dense, x) + offset
        values = (-1.0 if maximise else 1.0) * problem.evaluate(2.0 * x - 1.0)
        off = max(off, float(np.abs(values - expected).max()) / float(np.abs(dense).sum()))
    yield at_most("largest |value of the signs - value of the bits|, relative", off, 1e-13)
    read = _read(symmetric)
    expected = np.einsum("mi,ij,mj->m", x, symmetric.astype(np.float64), x)
    yield at_most(
        "read from a file: largest difference", np.abs(read.evaluate(2.0 * x - 1.0) - expected).max(), 0.0
    )
    yield at_least("distance from a reading that counts pairs once", _once(symmetric, x, expected), 1.0)


def _read(Q: NDArray[np.int64]) -> BinaryQuadratic:
    """Write Q as the library does, and read it."""
    entries = [(i, j) for i in range(SIZE) for j in range(i, SIZE) if Q[i, j]]
    lines = [f"{SIZE} {len(entries)}", *(f"{i + 1} {j + 1} {Q[i, j]}" for i, j in entries)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "problem.sparse"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        problem = read_problem(path)
    assert isinstance(problem, BinaryQuadratic)
    return problem


def _once(Q: NDArray[np.int64], x: Array, expected: Array) -> float:
    once = np.einsum("mi,ij,mj->m", x, np.triu(Q).astype(np.float64), x)
    return float(np.abs(once - expected).max())


CLAIMS: tuple[Claim, ...] = (branching, rounded_data, bits)
