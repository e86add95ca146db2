"""Compiled local search on the error that the best scale leaves: one flip, two flips, and a tabu walk.

For signs s the best scale leaves E - (a^T s)^2 / s^T A s (claim L1 of theory_checks).  With p = a^T s, q = s^T A s
and u = A s kept up to date, a flip of s_i gives p - 2 a_i s_i and q - 4 s_i u_i + 4 A_ii: O(1) to try,
O(n) to take.
"""

from __future__ import annotations

import numpy as np

from solvers.kernels.compile import kernel

# What a flip must gain, as a share of the score: rounding cannot then cause cycles.
MARGIN = 1e-11
# Of A_ii: a smaller q is rounding, and X s is zero.
EMPTY = 1e-12


@kernel()
def _score(p, q, floor):
    """p^2 / q with the sign of p, so that signs and their opposites are told apart; 0 where X s = 0."""
    return p * abs(p) / q if q > floor else 0.0


@kernel()
def _flip(A, signs, image, i):
    change = -2.0 * signs[i]
    signs[i] = -signs[i]
    row = A[i]
    for j in range(signs.shape[0]):
        image[j] += change * row[j]


@kernel()
def _turned(a, signs):
    """a^T s after turning all signs where it is negative."""
    p = a @ signs
    if p < 0.0:
        signs[:] = -signs
        p = -p
    return p


@kernel()
def _best_flip(diagonal, a, signs, image, p, q, floor):
    most, chosen = -np.inf, -1
    for i in range(signs.shape[0]):
        score = _score(p - 2.0 * a[i] * signs[i], q + 4.0 * (diagonal[i] - signs[i] * image[i]), floor)
        if score > most:
            most, chosen = score, i
    return most, chosen


@kernel()
def descend(A, diagonal, a, signs, floor):
    """Take the best single flip while one gains; the score."""
    p = _turned(a, signs)
    image = A @ signs
    q = signs @ image
    while True:
        score = _score(p, q, floor)
        most, i = _best_flip(diagonal, a, signs, image, p, q, floor)
        if i < 0 or most <= score * (1.0 + MARGIN):
            return score
        p -= 2.0 * a[i] * signs[i]
        q += 4.0 * (diagonal[i] - signs[i] * image[i])
        _flip(A, signs, image, i)


@kernel()
def _pair_that_gains(A, diagonal, a, signs, image, p, q, floor, first):
    """The first i from ``first`` on, with its best partner, that gains by flipping both; (-1, -1) for none."""
    n = signs.shape[0]
    least = _score(p, q, floor) * (1.0 + MARGIN)
    for offset in range(n):
        i = first + offset if first + offset < n else first + offset - n
        p_i = p - 2.0 * a[i] * signs[i]
        q_i = q + 4.0 * (diagonal[i] - signs[i] * image[i])
        row, coupling = A[i], 8.0 * signs[i]
        most, partner = least, -1
        for j in range(n):
            q_ij = q_i + 4.0 * (diagonal[j] - signs[j] * image[j]) + coupling * signs[j] * row[j]
            score = _score(p_i - 2.0 * a[j] * signs[j], q_ij, floor)
            if score > most and j != i:
                most, partner = score, j
        if partner >= 0:
            return i, partner
    return -1, -1


@kernel()
def descend_pairs(A, diagonal, a, signs, floor, limit):
    """Flip pairs and single signs, at most ``limit`` pairs, until none gains; the score."""
    first = 0
    score = descend(A, diagonal, a, signs, floor)
    for _ in range(limit):
        image = A @ signs
        i, j = _pair_that_gains(A, diagonal, a, signs, image, a @ signs, signs @ image, floor, first)
        if i < 0:
            break
        signs[i], signs[j] = -signs[i], -signs[j]
        score = descend(A, diagonal, a, signs, floor)
        first = i
    return score


@kernel()
def tabu_walk(A, diagonal, a, signs, floor, steps, seed):
    """Flip the best sign that was not flipped lately, uphill too; leave the best signs seen; the score."""
    n = signs.shape[0]
    p = _turned(a, signs)
    image = A @ signs
    q = signs @ image
    best, most = signs.copy(), _score(p, q, floor)
    free_at = np.zeros(n, np.int64)
    tenure = 8 + n // 20
    bits = np.uint64(2 * seed + 1)
    for step in range(steps):
        top, i = -np.inf, -1
        aspired = most * (1.0 + MARGIN)
        for j in range(n):
            score = _score(p - 2.0 * a[j] * signs[j], q + 4.0 * (diagonal[j] - signs[j] * image[j]), floor)
            if score > top and (free_at[j] <= step or score > aspired):
                top, i = score, j
        if i < 0:
            continue
        p -= 2.0 * a[i] * signs[i]
        q += 4.0 * (diagonal[i] - signs[i] * image[i])
        _flip(A, signs, image, i)
        bits = bits * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
        free_at[i] = step + 1 + tenure + np.int64((bits >> np.uint64(33)) % np.uint64(10))
        if top > aspired:
            most = top
            best[:] = signs
    signs[:] = best
    return most


@kernel()
def improve(A, a, signs, steps, pairs, seeds):
    """Bring each row of signs (m, n), in place, to a local optimum and on by a walk; the scores (m,)."""
    diagonal = np.diag(A).copy()
    floor = EMPTY * diagonal.max()
    scores = np.empty(signs.shape[0])
    for row in range(signs.shape[0]):
        scores[row] = descend(A, diagonal, a[row], signs[row], floor)
        if steps > 0:
            scores[row] = tabu_walk(A, diagonal, a[row], signs[row], floor, steps, seeds[row])
        if pairs > 0:
            scores[row] = descend_pairs(A, diagonal, a[row], signs[row], floor, pairs)
    return scores


@kernel()
def improve_groups(A, a, signs, borders, steps, pairs, rounds, seeds):
    """Improve signs where every group of columns, between borders (g + 1,), has a scale of its own.

    One group after another, the scales of the others are eliminated: with Z = A S of the others and M = S^T Z, the
    group sees A - Z M^-1 Z^T and a - Z M^-1 S^T a, so its flips are judged with all scales at their best.
    """
    n, groups = A.shape[0], borders.shape[0] - 1
    for row in range(signs.shape[0]):
        images, crossed = np.empty((groups, n)), np.empty(groups)
        for h in range(groups):
            block = slice(borders[h], borders[h + 1])
            images[h] = signs[row, block] @ A[block]
            crossed[h] = a[row, block] @ signs[row, block]
        for turn in range(rounds * groups):
            h = turn % groups
            block = slice(borders[h], borders[h + 1])
            own = signs[row, block].copy()
            seen, target = _eliminated(A, a[row], signs[row], borders, images, crossed, h)
            diagonal = np.diag(seen).copy()
            floor = EMPTY * max(np.diag(A)[block].max(), 1e-300)
            descend(seen, diagonal, target, own, floor)
            if steps > 0:
                tabu_walk(seen, diagonal, target, own, floor, steps, seeds[row] + turn)
            if pairs > 0:
                descend_pairs(seen, diagonal, target, own, floor, pairs)
            signs[row, block] = own
            images[h] = own @ A[block]
            crossed[h] = a[row, block] @ own


@kernel()
def _eliminated(A, a, signs, borders, images, crossed, h):
    """What group h sees of A and a once the scales of the others are at their best for whatever it does."""
    block = slice(borders[h], borders[h + 1])
    seen, target = A[block, block].copy(), a[block].copy()
    groups = borders.shape[0] - 1
    if groups == 1:
        return seen, target
    others = np.array([k for k in range(groups) if k != h])
    inner = np.empty((groups - 1, groups - 1))
    for place in range(groups - 1):
        other = others[place]
        part = slice(borders[other], borders[other + 1])
        for second in range(groups - 1):
            inner[second, place] = images[others[second], part] @ signs[part]
    ridge = EMPTY * max(np.diag(inner).max(), 1e-300)
    for place in range(groups - 1):
        inner[place, place] += ridge
    coupled = np.ascontiguousarray(images[others][:, block])
    solved = np.linalg.solve(inner, coupled)
    seen -= coupled.T @ solved
    target -= solved.T @ crossed[others]
    return seen, target
