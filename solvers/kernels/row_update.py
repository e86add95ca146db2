"""The over-relaxed update of one row, from which every sweep on the processor is made.

With every other row fixed, row v enters the objective through 2 <g, v>, where g is the sum of the other rows,
weighted by their entries of the cost; on the sphere its minimiser is u = -g/|g|.  The update goes past it by a
factor 1 + beta, as successive over-relaxation does for linear systems, and returns to the sphere:

    v' = (u + beta (u - v)) / s = toward g + keep v,   keep = -beta / s,   toward = -(1 + beta) / (|g| s),

and the objective falls by 2 <g, v - v'>.  For beta < 1 that is never negative.  Two ways to s and to the decrease:

- from the inner products |g|^2 and <g, v>, which come with g for nothing;
- from e = |v - u|^2 / 2, one more pass over the row: s^2 = 1 + 2 (1 + beta) beta e, and the objective falls by
  2 |g| (e - beta^2 e (2 - e) / (s (s + 1 + beta e))), no difference of nearly equal numbers, so that a decrease
  means something in float32 too.
"""

import numpy as np

from solvers.kernels.compile import kernel

# called by kernels alone: a function of its own would take as long to compile as the loop around it
inner = kernel(fastmath=True, inline="always")


@inner
def by_inner_products(squared, aligned, beta):
    """Toward, keep and the decrease from |g|^2 > 0 and <g, v>."""
    ahead = 1.0 + beta
    lean = beta * np.sqrt(squared)
    norm = np.sqrt(ahead * ahead * squared + lean * lean + 2.0 * ahead * lean * aligned)
    toward = -ahead / norm
    keep = -lean / norm
    return toward, keep, 2.0 * (aligned - (toward * squared + keep * aligned))


@inner
def by_distance(length, distance, beta):
    """Toward, keep and the decrease from |g| > 0 and e."""
    norm = np.sqrt(1.0 + 2.0 * (1.0 + beta) * beta * distance)
    after = beta * beta * distance * (2.0 - distance) / (norm * (norm + 1.0 + beta * distance))
    return -(1.0 + beta) / (length * norm), -beta / norm, 2.0 * length * (distance - after)
