"""Compiled beam search: GPTQ, which fixes one sign after another, with several partial choices kept instead of one.

With U the upper Cholesky factor of (A + d I)^-1, fixing w_i to c leaves the rest at its best after
w_j -= (w_i - c) U_ij / U_ii, and costs ((w_i - c) / U_ii)^2.  One choice kept is GPTQ, which is Babai's nearest
plane; several are the M-algorithm of Anderson and Mohan (1984) on the same triangle.
"""

from __future__ import annotations

import numpy as np

from solvers.kernels.compile import kernel


@kernel()
def beam_search(U, targets, scales, width):
    """Signs (m, n) of each row of targets (m, n) at its scales (m, n): the best of the ``width`` choices kept."""
    m, n = targets.shape
    signs = np.empty((m, n))
    rests, next_rests = np.empty((width, n)), np.empty((width, n))
    chosen, next_chosen = np.empty((width, n), np.int8), np.empty((width, n), np.int8)
    costs, trial_costs = np.empty(width), np.empty(2 * width)
    for row in range(m):
        rests[0] = targets[row]
        costs[0] = 0.0
        count = 1
        for i in range(n):
            pivot, scale = U[i, i], scales[row, i]
            for choice in range(count):
                rest = rests[choice, i]
                trial_costs[2 * choice] = costs[choice] + ((rest - scale) / pivot) ** 2
                trial_costs[2 * choice + 1] = costs[choice] + ((rest + scale) / pivot) ** 2
            # a tie is settled by +1, which comes first
            order = np.argsort(trial_costs[: 2 * count], kind="mergesort")
            kept = min(width, 2 * count)
            for place in range(kept):
                choice = order[place] // 2
                sign = 1.0 if order[place] % 2 == 0 else -1.0
                share = (rests[choice, i] - scale * sign) / pivot
                for j in range(i + 1, n):
                    next_rests[place, j] = rests[choice, j] - share * U[i, j]
                next_chosen[place, :i] = chosen[choice, :i]
                next_chosen[place, i] = np.int8(sign)
                costs[place] = trial_costs[order[place]]
            count = kept
            rests, next_rests = next_rests, rests
            chosen, next_chosen = next_chosen, chosen
        signs[row] = chosen[0]
    return signs
