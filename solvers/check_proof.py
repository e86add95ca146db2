"""Check a proof of optimality in exact arithmetic, with the standard library alone.

    python -m solvers.check_proof FILE PROBLEM

FILE is what `ProvedSolution.write_proof` wrote; PROBLEM is a MaxCut graph in rudy format, or a ``.sparse`` file,
min x^T Q x over {0, 1} with each pair listed once and counted twice.  The file also runs by itself, without this
package.  Why the check is a proof: with signs s, every objective is a constant plus a positive multiple of
E(s) = sum W_ij s_i s_j over i < j, W whole.  A leaf of the tree ties some signs to others, which leaves the
same sum over fewer, with weights W'.  For cliques with signs b, an odd number of them, |b^T s| >= 1, so sum b_i
b_j s_i s_j >= (1 - p)/2; multipliers >= 0 take such sums from W', and then, if the matrix with half of what is
left off its diagonal and -z on it is positive semidefinite, E >= sum z + sum multipliers (1 - p)/2.  It is, if
it differs from some L L^T by a matrix that is diagonally dominant: L comes from floating point, the rest is
whole numbers.  A leaf is closed if no energy that its weights allow lies between its bound and the energy of
the point, and the leaves cover all signs.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from fractions import Fraction
from operator import mul
from pathlib import Path
from typing import Any

FORMAT = "binary quadratic optimality, version 1"
# Binary digits of the factor L, relative to its largest entry.
FACTOR_DIGITS = 56
# What is factored is lower on the diagonal by this share of the largest entry: its remainder is to be dominant.
ROOM = 2.0**-30

Matrix = list[list[int]]


class NotProved(Exception):
    """The file does not prove what it claims."""


def read_weights(path: Path) -> tuple[Matrix, bool]:
    """Whole weights W up to a common factor, and whether vertex 0 stands for the constant 1."""
    rows = [line.split() for line in path.read_text().splitlines() if line.split()]
    n, zero_one = int(rows[0][0]), path.suffix == ".sparse"
    Q = [[Fraction(0)] * (n + 1) for _ in range(n + 1)]
    for i, j, weight in ((int(row[0]), int(row[1]), Fraction(row[2])) for row in rows[1:]):
        Q[i][j] += weight
        Q[j][i] += weight if i != j else 0
    for i in range(1, n + 1):
        if zero_one:
            Q[0][i] = Q[i][0] = sum(Q[i][1:], Fraction(0))
        Q[i][i] = Fraction(0)
    extended = any(Q[0])
    kept = Q if extended else [row[1:] for row in Q[1:]]
    common = math.lcm(*(entry.denominator for row in kept for entry in row))
    whole = [[int(entry * common) for entry in row] for row in kept]
    divisor = math.gcd(*(entry for row in whole for entry in row)) or 1
    return [[entry // divisor for entry in row] for row in whole], extended


def digest(W: Matrix) -> str:
    """SHA-256 of the order and the non-zero weights."""
    lines = [f"{i} {j} {row[j]}\n" for i, row in enumerate(W) for j in range(i + 1, len(W)) if row[j]]
    return hashlib.sha256(f"{len(W)}\n{''.join(lines)}".encode()).hexdigest()


def energy(W: Matrix, signs: list[int]) -> int:
    """The energy E(s)."""
    return sum(signs[i] * sum(map(mul, row[:i], signs)) for i, row in enumerate(W))


def positive_semidefinite(S: Matrix) -> bool:
    """Whether S minus L L^T is diagonally dominant for the rounded floating-point factor L; exact."""
    size = max((abs(entry) for row in S for entry in row), default=0)
    shift = max(0, FACTOR_DIGITS * 2 - size.bit_length())
    shift += shift % 2
    S = [[entry << shift for entry in row] for row in S]
    scale = math.isqrt(max(size << shift, 1))
    lower: list[list[float]] = []
    for i, row in enumerate(S):
        new: list[float] = []
        for j in range(i):
            rest = row[j] / scale / scale - math.fsum(map(mul, new, lower[j]))
            new.append(rest / lower[j][j] if lower[j][j] > 0 else 0.0)
        pivot = row[i] / scale / scale - ROOM - math.fsum(map(mul, new, new))
        new.append(math.sqrt(max(0.0, pivot)))
        lower.append(new)
    L = [[round(entry * scale) for entry in row] for row in lower]
    off = [0] * len(S)
    for i in range(len(S)):
        for j in range(i):
            rest = abs(S[i][j] - sum(map(mul, L[i], L[j])))
            off[i] += rest
            off[j] += rest
    return all(S[i][i] - sum(map(mul, L[i], L[i])) >= off[i] for i in range(len(S)))


def check_leaf(W: Matrix, groups: list[list[tuple[int, int]]], leaf: dict[str, Any], best: int) -> None:
    """Check one leaf; ``groups`` lists, for each free sign, the vertices tied to it and their signs."""
    place = {v: (g, sign) for g, group in enumerate(groups) for v, sign in group}
    order, unit = len(groups), 1 << int(leaf["digits"])
    merged = [[sum(a * b * W[i][j] for i, a in x for j, b in y) for y in groups] for x in groups]
    constant = sum(merged[g][g] for g in range(order)) // 2
    for g in range(order):
        merged[g][g] = 0
    S = [[unit * entry for entry in row] for row in merged]
    bound = Fraction(constant * unit)
    for cut, multiplier in zip(leaf["cuts"], leaf["multipliers"], strict=True):
        vertices = [(place[abs(v) - 1], 1 if v > 0 else -1) for v in cut]
        if multiplier < 0 or len(cut) % 2 == 0 or len({abs(v) for v in cut}) < len(cut):
            raise NotProved("a cut is no cut")
        bound += Fraction(multiplier * (1 - len(cut)), 2)
        for a, ((g, s), b) in enumerate(vertices):
            for (h, t), c in vertices[:a]:
                weight = multiplier * b * c * s * t
                if g == h:
                    bound -= weight
                else:
                    S[g][h] -= weight
                    S[h][g] -= weight
    dual = [int(entry) for entry in leaf["dual"]]
    for g, entry in zip(range(order), dual, strict=True):
        S[g][g] = -2 * entry
    if not positive_semidefinite(S):
        raise NotProved("a matrix is not seen to be positive semidefinite")
    bound = (bound + sum(dual)) / unit
    # energies of the leaf are this far apart
    step = 2 * math.gcd(*(sum(row) for row in merged), *(2 * entry for row in merged for entry in row))
    everything = constant + sum(sum(row[:g]) for g, row in enumerate(merged))
    below = everything + step * ((best - 1 - everything) // step) if step else everything
    if below < best and bound <= below:
        raise NotProved(f"a leaf is bounded by {float(bound)}, which does not exclude {below} < {best}")


def check_tree(W: Matrix, node: dict[str, Any], groups: list[list[tuple[int, int]]], best: int) -> int:
    """Check a subtree; return its number of leaves."""
    if "pair" not in node:
        check_leaf(W, groups, node, best)
        return 1
    homes = [next(g for g, group in enumerate(groups) if v in dict(group)) for v in node["pair"]]
    if homes[0] == homes[1]:
        raise NotProved("a pair is tied already")
    kept, gone = groups[homes[0]], groups[homes[1]]
    own = dict(kept)[node["pair"][0]] * dict(gone)[node["pair"][1]]
    leaves = 0
    for name, relation in (("equal", 1), ("opposite", -1)):
        joined = kept + [(v, sign * own * relation) for v, sign in gone]
        others = [joined if g == homes[0] else group for g, group in enumerate(groups) if g != homes[1]]
        leaves += check_tree(W, node[name], others, best)
    return leaves


def check(proof: dict[str, Any], problem: Path) -> tuple[int, int]:
    """Check a proof; return the energy of its point and the number of leaves, or raise NotProved."""
    W, extended = read_weights(problem)
    signs = [int(sign) for sign in proof["signs"]]
    if proof["format"] != FORMAT or proof["problem_sha256"] != digest(W):
        raise NotProved("the proof is of another problem, or of another format")
    if len(signs) != len(W) or {abs(sign) for sign in signs} != {1} or (extended and signs[0] != 1):
        raise NotProved("the point is no point of the problem")
    best = energy(W, signs)
    return best, check_tree(W, proof["tree"], [[(v, 1)] for v in range(len(W))], best)


def main(arguments: list[str]) -> int:
    """Print the verdict; 0 where the proof holds, 1 where it does not, 2 where it cannot be read."""
    if len(arguments) != 2:
        sys.stderr.write("usage: python -m solvers.check_proof FILE PROBLEM\n")
        return 2
    try:
        best, leaves = check(json.loads(Path(arguments[0]).read_text()), Path(arguments[1]))
    except NotProved as reason:
        sys.stdout.write(f"NOT PROVED: {reason}\n")
        return 1
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        sys.stderr.write(f"cannot be read: {type(error).__name__}: {error}\n")
        return 2
    sys.stdout.write(f"PROVED: the point is optimal, E = {best} (leaves: {leaves})\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
