"""Names of the package that are loaded on first use: each the thing itself, whatever has been imported before."""

import importlib
import subprocess
import sys
from types import ModuleType

import pytest

import solvers

# In a process of its own, because here everything is loaded already.  A module that shares a name must not hide it.
FRESH = """
import importlib, sys
before = {before}
for name in before:
    importlib.import_module(name)
import solvers
late = {{"solvers.io.files", "solvers.branching.tree", "solvers.many", "multiprocessing.context"}} - set(before)
assert not late & set(sys.modules), late & set(sys.modules)
from solvers import *
for name in solvers.__all__:
    assert getattr(solvers, name).__module__.startswith("solvers."), name
    assert globals()[name] is getattr(solvers, name)
assert set(solvers.__all__) <= set(dir(solvers))
"""


@pytest.mark.parametrize(
    "before",
    [[], ["solvers.low_rank"], ["solvers.exact.brute_force"], ["solvers.exact", "solvers.problems.pairs"]],
    ids=["nothing", "the solver", "a neighbour", "a package"],
)
def test_names_are_things_in_any_order_of_imports(before):
    done = subprocess.run([sys.executable, "-c", FRESH.format(before=before)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_lazy_names_are_listed_and_lead_home():
    assert set(solvers._HOME) <= set(solvers.__all__)
    for name, home in solvers._HOME.items():
        assert getattr(importlib.import_module(f"solvers.{home}"), name) is getattr(solvers, name)


def test_packages_are_names_and_others_are_refused():
    assert isinstance(solvers.io, ModuleType)
    with pytest.raises(AttributeError, match="no attribute 'lowrank'"):
        solvers.lowrank  # noqa: B018  to ask for it is the test
    with pytest.raises(AttributeError, match="'_hidden'"):
        solvers._hidden  # noqa: B018  to ask for it is the test
