"""Compiled minimisation of the augmented Lagrangian of cut inequalities over unit rows.

With X = V V^T, inequalities <T_m, X> >= r_m, multipliers g >= 0 and penalty p, the augmented Lagrangian is
<C, X> + sum_m (max(0, g_m - p (<T_m, X> - r_m))^2 - g_m^2) / (2 p)  (Rockafellar 1973; Burer and Monteiro 2003).
Its gradient is that of <C - sum_m w_m T_m, X>, w being the maxima.  A cut is a list of pairs i < j of rows,
each the flat index i N + j, with a sign: <T_m, X> is the signed sum of those entries of X.

Where C and the cuts touch few pairs, only those entries of X are formed: ``edges`` lists the pairs with the
entries of C, and cuts count pairs in that list.  Without edges everything is dense.
"""

import math

import numpy as np

from solvers.kernels.compile import kernel

compiled = kernel(fastmath={"reassoc", "contract", "nsz"})

MEMORY = 10
ARMIJO = 1e-4
BACKTRACK = 0.4
MAX_BACKTRACKS = 20
# The first step moves the rows by this much, all together.
FIRST_MOVE = 0.3
# Pairs of step and change with a smaller cosine say nothing of the curvature.
FLAT = 1e-10


@compiled
def _dot(first, second):
    total = 0.0
    for i in range(first.shape[0]):
        total += first[i] * second[i]
    return total


@compiled
def _add(share, source, target):
    for i in range(source.shape[0]):
        target[i] += share * source[i]


@compiled
def _price(cuts, multipliers, penalty, entries, prices):
    """Take w_m T_m of every cut from ``prices``; return sum_m w_m^2 - g_m^2."""
    starts, pairs, signs, sides = cuts
    squares = 0.0
    for m in range(sides.shape[0]):
        weight = sides[m]
        for e in range(starts[m], starts[m + 1]):
            weight -= signs[e] * entries[pairs[e]]
        weight = multipliers[m] + penalty * weight
        squares -= multipliers[m] * multipliers[m]
        if weight > 0.0:
            squares += weight * weight
            for e in range(starts[m], starts[m + 1]):
                prices[pairs[e]] -= weight * signs[e]
    return squares


@compiled
def lagrangian(cost, rows, cuts, multipliers, penalty, gram, priced):
    """Value at unit rows; X goes to ``gram`` and C - sum w_m T_m to ``priced``."""
    order = cost.shape[0]
    np.dot(rows, rows.T, gram)
    flat, costs, entries = priced.ravel(), cost.ravel(), gram.ravel()
    value = 0.0
    for i in range(order * order):
        flat[i] = costs[i]
        value += costs[i] * entries[i]
    squares = _price(cuts, multipliers, penalty, entries, flat)
    for i in range(order):
        for j in range(i):
            half = 0.5 * (priced[i, j] + priced[j, i])
            priced[i, j] = half
            priced[j, i] = half
    return value + 0.5 * squares / penalty


@compiled
def _sparse_lagrangian(edges, rows, cuts, multipliers, penalty, entries, weights):
    """Value at unit rows; X_e goes to ``entries`` and 2 C_e less the priced signs to ``weights``."""
    first, second, costs = edges
    value = 0.0
    for e in range(costs.shape[0]):
        entries[e] = _dot(rows[first[e]], rows[second[e]])
        weights[e] = 2.0 * costs[e]
        value += weights[e] * entries[e]
    squares = _price(cuts, multipliers, penalty, entries, weights)
    return value + 0.5 * squares / penalty


@compiled
def _value(cost, edges, rows, cuts, multipliers, penalty, gram, priced):
    if edges[0].shape[0]:
        return _sparse_lagrangian(edges, rows, cuts, multipliers, penalty, gram.ravel(), priced.ravel())
    return lagrangian(cost, rows, cuts, multipliers, penalty, gram, priced)


@compiled
def _make_tangent(rows, moves):
    """Take from each row of ``moves`` its part along the unit row."""
    for i in range(rows.shape[0]):
        _add(-_dot(moves[i], rows[i]), rows[i], moves[i])


@compiled
def _gradient(edges, priced, rows, gradient):
    first, second = edges[0], edges[1]
    if first.shape[0]:
        weights = priced.ravel()
        gradient[:] = 0.0
        for e in range(first.shape[0]):
            _add(weights[e], rows[second[e]], gradient[first[e]])
            _add(weights[e], rows[first[e]], gradient[second[e]])
    else:
        np.dot(priced, rows, gradient)
        gradient *= 2.0
    _make_tangent(rows, gradient)


@compiled
def _move(rows, step, direction, moved):
    """Unit rows of rows + step * direction."""
    for i in range(rows.shape[0]):
        squared = 0.0
        for c in range(rows.shape[1]):
            entry = rows[i, c] + step * direction[i, c]
            moved[i, c] = entry
            squared += entry * entry
        scale = 1.0 / math.sqrt(squared)
        for c in range(rows.shape[1]):
            moved[i, c] *= scale


@compiled
def _quasi_newton(gradient, steps, changes, inverses, count, shares, direction):
    """Write minus the limited-memory BFGS inverse Hessian times the gradient to ``direction`` (flat)."""
    for i in range(gradient.shape[0]):
        direction[i] = -gradient[i]
    used = min(count, MEMORY)
    for age in range(used):
        s = (count - 1 - age) % MEMORY
        shares[s] = _dot(steps[s], direction) * inverses[s]
        _add(-shares[s], changes[s], direction)
    if used:
        s = (count - 1) % MEMORY
        scale = 1.0 / (inverses[s] * _dot(changes[s], changes[s]))
        for i in range(direction.shape[0]):
            direction[i] *= scale
    for age in range(used - 1, -1, -1):
        s = (count - 1 - age) % MEMORY
        _add(shares[s] - inverses[s] * _dot(changes[s], direction), steps[s], direction)


@compiled
def minimise(cost, edges, rows, cuts, multipliers, penalty, max_steps, tolerance):
    """Minimise over unit rows, in place, until the gradient's norm is below the tolerance; return the value.

    ``cuts`` is (starts, pairs, signs, right-hand sides), ``edges`` (first, second, entries of C).  Every step is a
    limited-memory BFGS step on the product of spheres, vectors carried along by projection.
    """
    order, width = rows.shape
    steps, changes = np.zeros((MEMORY, order * width)), np.zeros((MEMORY, order * width))
    inverses, shares = np.zeros(MEMORY), np.zeros(MEMORY)
    shape = (1, edges[0].shape[0]) if edges[0].shape[0] else (order, order)
    gram, priced = np.empty(shape), np.empty(shape)
    gradient, trial_gradient = np.empty((order, width)), np.empty((order, width))
    direction, trial = np.empty((order, width)), np.empty((order, width))
    value = _value(cost, edges, rows, cuts, multipliers, penalty, gram, priced)
    _gradient(edges, priced, rows, gradient)
    count = 0
    for _ in range(max_steps):
        norm = math.sqrt(_dot(gradient.ravel(), gradient.ravel()))
        if norm <= tolerance:
            break
        _quasi_newton(gradient.ravel(), steps, changes, inverses, count, shares, direction.ravel())
        _make_tangent(rows, direction)
        slope = _dot(direction.ravel(), gradient.ravel())
        if count == 0 or slope >= 0.0:
            count = 0
            direction[:] = -FIRST_MOVE / norm * gradient
            slope = -FIRST_MOVE * norm
        length = 1.0
        reached = value
        for _ in range(MAX_BACKTRACKS):
            _move(rows, length, direction, trial)
            reached = _value(cost, edges, trial, cuts, multipliers, penalty, gram, priced)
            if reached <= value + ARMIJO * length * slope:
                break
            length *= BACKTRACK
        if reached > value + ARMIJO * length * slope:
            break
        _gradient(edges, priced, trial, trial_gradient)
        direction *= length
        count += _remember(direction, gradient, trial, trial_gradient, steps, changes, inverses, count)
        rows[:] = trial
        gradient[:] = trial_gradient
        value = reached
    return value


@compiled
def _remember(step, before, rows, after, steps, changes, inverses, count):
    """Keep the step and the change of the gradient, both made tangent at the new rows; 1 where they are of use."""
    _make_tangent(rows, step)
    _make_tangent(rows, before)
    slot = count % MEMORY
    steps[slot] = step.ravel()
    changes[slot] = after.ravel() - before.ravel()
    curvature = _dot(steps[slot], changes[slot])
    size = _dot(steps[slot], steps[slot]) * _dot(changes[slot], changes[slot])
    if curvature <= FLAT * math.sqrt(size):
        return 0
    inverses[slot] = 1.0 / curvature
    return 1
