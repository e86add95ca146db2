"""Compiled tabu walk: always the best flip that is not tabu, uphill too, with local fields that follow.

A walk lives in the arrays of `solvers.heuristics.tabu_walk.TabuWalk`, so that it can stop at any step and go on
later without a change to its path.  A flip i changes the objective by -4 g_i, g_i = w_i f_i being its gain.
"""

from __future__ import annotations

import numpy as np

from solvers.kernels.compile import kernel


@kernel()
def _random_bits(random):
    """Next 64 bits of the splitmix64 sequence (Steele, Lea and Flood 2014) whose state is ``random[0]``."""
    random[0] += np.uint64(0x9E3779B97F4A7C15)
    bits = random[0]
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


@kernel()
def _set_key(keys, winner, leaf, key, random):
    """Give a leaf of the tournament tree another key and play the matches above it again; ties by lot."""
    keys[leaf] = key
    bits = _random_bits(random)
    node = (keys.shape[0] + leaf) >> 1
    # Nodes 2 and 3 are the roots of the two halves, which are never compared.
    while node >= 2:
        left = winner[2 * node]
        right = winner[2 * node + 1]
        take_left = keys[left] > keys[right] or (keys[left] == keys[right] and bits & np.uint64(1))
        bits >>= np.uint64(1)
        before = winner[node]
        now = left if take_left else right
        winner[node] = now
        if before == now and now != leaf:
            return
        node >>= 1


@kernel()
def plant(signs, fields, leaves, keys, winner, random):
    """Build the tree with all signs free.

    Its first half of leaves is for free signs, its second half for held ones; a sign that is not in a half has
    the key -inf there.
    """
    size = keys.shape[0]
    for leaf in range(size):
        keys[leaf] = -np.inf
        winner[size + leaf] = leaf
    for j in range(signs.shape[0]):
        leaves[j] = j
        keys[j] = signs[j] * fields[j]
    for node in range(size - 1, 1, -1):
        left = winner[2 * node]
        right = winner[2 * node + 1]
        tie = keys[left] == keys[right] and _random_bits(random) & np.uint64(1)
        winner[node] = left if keys[left] > keys[right] or tie else right


@kernel()
def walk_sparse(
    data, indices, pointers, signs, fields, best, leaves, keys, winner, heads, links, tenure, margin, values,
    counters, random, budget, patience,
):  # fmt: skip
    """Take at most ``budget`` steps; stop after ``patience`` steps without a new best.

    The matrix is CSR without its diagonal.  ``heads`` and ``links`` are lists of held signs, one for each step at
    which some become free; ``tenure`` is the least number of steps and the width of the uniform draw above it.
    """
    half = keys.shape[0] // 2
    ring = heads.shape[0]
    for _ in range(budget):
        step = counters[0]
        if step - counters[1] >= patience:
            return
        freed = heads[step % ring]
        heads[step % ring] = -1
        while freed >= 0:
            gain = keys[half + freed]
            leaves[freed] = freed
            _set_key(keys, winner, half + freed, -np.inf, random)
            _set_key(keys, winner, freed, gain, random)
            freed = links[freed]
        leaf = winner[2]
        held = winner[3]
        aspires = values[0] - 4.0 * keys[held] < values[1] - margin
        if keys[leaf] == -np.inf or (aspires and keys[held] > keys[leaf]):
            leaf = held
        j = leaf - half if leaf >= half else leaf
        gain = keys[leaf]
        after = values[0] - 4.0 * gain
        better = after < values[1] - margin
        if counters[2] and not better:
            _copy(signs, best)
            counters[2] = 0
        values[0] = after
        if better:
            values[1] = after
            counters[1] = step + 1
            counters[2] = 1
        signs[j] = -signs[j]
        if leaf == j:
            _set_key(keys, winner, j, -np.inf, random)
            leaves[j] = half + j
            slot = (step + 1 + tenure[0] + np.int64(_random_bits(random) % np.uint64(tenure[1]))) % ring
            links[j] = heads[slot]
            heads[slot] = j
        _set_key(keys, winner, half + j, -gain, random)
        change = 2.0 * signs[j]
        for entry in range(pointers[j], pointers[j + 1]):
            k = indices[entry]
            fields[k] += change * data[entry]
            _set_key(keys, winner, leaves[k], signs[k] * fields[k], random)
        counters[0] = step + 1


@kernel()
def _copy(source, target):
    for i in range(source.shape[0]):
        target[i] = source[i]


@kernel()
def _choose(signs, fields, until, step, aspiration, random):
    """Flip of the largest gain among free signs and held ones above ``aspiration``; random among ties."""
    chosen, most, ties = -1, -np.inf, 1
    for j in range(signs.shape[0]):
        gain = signs[j] * fields[j]
        if gain >= most and (until[j] <= step or gain > aspiration):
            ties = ties + 1 if gain == most else 1
            if ties == 1 or _random_bits(random) % np.uint64(ties) == 0:
                chosen = j
            most = gain
    return chosen


@kernel()
def walk_dense(A, signs, fields, best, until, tenure, margin, values, counters, random, budget, patience):
    """Do the same for a dense matrix without its diagonal; ``until`` holds the step at which each sign is free."""
    for _ in range(budget):
        step = counters[0]
        if step - counters[1] >= patience:
            return
        j = _choose(signs, fields, until, step, 0.25 * (values[0] - values[1] + margin), random)
        if j < 0:
            j = np.argmin(until)
        after = values[0] - 4.0 * signs[j] * fields[j]
        better = after < values[1] - margin
        if counters[2] and not better:
            _copy(signs, best)
            counters[2] = 0
        values[0] = after
        if better:
            values[1] = after
            counters[1] = step + 1
            counters[2] = 1
        signs[j] = -signs[j]
        until[j] = step + 1 + tenure[0] + np.int64(_random_bits(random) % np.uint64(tenure[1]))
        change = 2.0 * signs[j]
        for k in range(signs.shape[0]):
            fields[k] += change * A[j, k]
        counters[0] = step + 1
