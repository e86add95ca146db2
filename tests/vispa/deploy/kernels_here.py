"""The kernels of packed layers that run on this processor, and tiles for layers of all sizes."""

import pytest

from vispa.deploy import stretches
from vispa.deploy.layout import KERNELS, runs_here

KERNELS_HERE = [
    pytest.param(
        kernel, marks=pytest.mark.skipif(not runs_here(kernel), reason=f"{kernel} does not run here")
    )
    for kernel in KERNELS
]


@pytest.fixture(autouse=True, scope="module")
def tiles_first():
    """Layers of the tile kernel are counted by tiles in their first call, however small they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stretches, "LONG", 0)
        patch.setattr(stretches, "MANY", 0)
        yield
