"""The tensors recorded from published code: cases as dicts of tensors, and the tolerances they are met at."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

# What the recordings are reproduced to, relative to the largest entry.
TOLERANCES = {torch.float64: 1e-9, torch.float32: 2e-5}


class Case(SimpleNamespace):
    """One recorded case: tensors and numbers by name."""

    def __getitem__(self, name: str):
        return self.__dict__[name]


def cases(folder: Path, method: str) -> dict[str, Case]:
    found: dict[str, dict] = {}
    with np.load(folder / "rivals" / f"{method}_reference.npz") as recorded:
        for key in recorded.files:
            case, name = key.split("/", 1)
            values = recorded[key]
            found.setdefault(case, {})[name] = values.item() if values.ndim == 0 else torch.from_numpy(values)
    return {name: Case(**values) for name, values in found.items()}


def assert_reproduced(found, expected, tolerance=None):
    """Equality up to the tolerance of the dtype, relative to the largest entry."""
    assert found.dtype == expected.dtype
    tolerance = TOLERANCES[expected.dtype] if tolerance is None else tolerance
    scale = max(1e-30, float(expected.abs().max()))
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance * scale)
