"""What the pace of a method lets expect, at every size of the numbers."""

import math

from hypothesis import given
from hypothesis import strategies as st

from solvers.burer_monteiro.progress import Progress

POSITIVE = st.floats(5e-324, 1e300)


@given(errors=st.lists(POSITIVE, min_size=1, max_size=12), gap=POSITIVE, target=st.floats(0.0, 1e300))
def test_a_projection_neither_overflows_nor_goes_back(errors, gap, target):
    progress = Progress()
    for error in errors:
        progress.note(error)
    assert progress.projected(gap, target) >= 1.0


def test_a_power_law_is_projected():
    progress = Progress()
    for block in range(1, 2001):
        progress.note(block**-2.0)
    # the error falls to a quarter while the iterations double
    assert math.isclose(progress.projected(4.0, 1.0), 2.0, rel_tol=0.05)


def test_what_hardly_falls_is_out_of_sight():
    progress = Progress()
    for block in range(40):
        progress.note(1.0 - block * 1e-15)
    assert progress.projected(1e3, 1e-3) == math.inf
