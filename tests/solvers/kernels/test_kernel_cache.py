"""Compiled kernels: always those of the present sources, and never lost for want of a place to keep them."""

import ast
import gc
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from numba import TypingError

import solvers
from solvers import Elliptope
from solvers.burer_monteiro.presolve import Presolve
from solvers.kernels.compile import kernel

ROOT = Path(solvers.__file__).parents[1]
SOLVE = """
import warnings
import numpy as np
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from solvers.kernels.flips import fields_sparse
    fields = fields_sparse(np.ones(1), np.zeros(1, np.int32), np.array([0, 1]), np.ones(1), np.ones(1), np.ones(1))
print(float(fields[0]), [str(one.message) for one in caught])
"""


def run_python(program, folder, **environment):
    inherited = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    variables = {**inherited, "PYTHONPATH": str(folder), **environment}
    done = subprocess.run(
        [sys.executable, "-c", program], env=variables, cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def copied(tmp_path):
    shutil.copytree(ROOT / "solvers", tmp_path / "solvers", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_no_writable_cache_costs_one_warning(copied):
    # as root a read-only folder can be written: one that is a file can not
    blocked = copied / "blocked"
    blocked.write_text("")
    (copied / "solvers" / "kernels" / "__pycache__").write_text("")
    printed = run_python(
        SOLVE, copied, XDG_CACHE_HOME=str(blocked), HOME=str(blocked), PYTHONDONTWRITEBYTECODE="1"
    )
    assert printed.startswith("0.5 ")
    assert printed.count("NUMBA_CACHE_DIR") == 1


INLINED = """
from solvers.kernels.compile import kernel

@kernel()
def constant(x):
    return x + 1.0
"""
OUTER = """
from solvers.kernels.compile import kernel
from solvers.kernels.inner_example import constant

@kernel()
def twice(x):
    return 2.0 * constant(x)
"""


def test_a_changed_kernel_is_compiled_into_those_that_inline_it(copied):
    kernels = copied / "solvers" / "kernels"
    (kernels / "inner_example.py").write_text(INLINED)
    (kernels / "outer_example.py").write_text(OUTER)
    program = """
from solvers.kernels.outer_example import twice
print(twice(1.0), sum(twice.stats.cache_hits.values()))
"""
    cache = str(copied / "cache")
    assert run_python(program, copied, NUMBA_CACHE_DIR=cache).split() == ["4.0", "0"]
    assert run_python(program, copied, NUMBA_CACHE_DIR=cache).split() == ["4.0", "1"]
    (kernels / "inner_example.py").write_text(INLINED.replace("1.0", "2.0"))
    assert run_python(program, copied, NUMBA_CACHE_DIR=cache).split() == ["6.0", "0"]


def test_a_damaged_cache_is_compiled_anew(copied):
    cache = copied / "cache"
    first = run_python(SOLVE, copied, NUMBA_CACHE_DIR=str(cache))
    for kept in cache.rglob("*.nbc"):
        kept.write_bytes(kept.read_bytes()[:100])
    assert run_python(SOLVE, copied, NUMBA_CACHE_DIR=str(cache)) == first
    for kept in cache.rglob("*.nbi"):
        kept.write_bytes(kept.read_bytes()[:40])
    assert run_python(SOLVE, copied, NUMBA_CACHE_DIR=str(cache)) == first


@pytest.mark.parametrize("collects", [True, False])
def test_the_garbage_collector_is_left_as_it_was(collects):
    def failing(x):
        return x.no_such_thing

    before = gc.isenabled()
    (gc.enable if collects else gc.disable)()
    try:
        assert kernel()(lambda x: x + 1)(1) == 2
        assert gc.isenabled() == collects
        with pytest.raises(TypingError):
            kernel()(failing)(1)
        assert gc.isenabled() == collects
    finally:
        (gc.enable if before else gc.disable)()


@pytest.mark.parametrize(
    "source",
    sorted(
        path
        for path in [*ROOT.glob("solvers/**/*.py"), *ROOT.glob("vispa/**/*.py")]
        if "numba" in path.read_text() and path.name != "compile.py"
    ),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_kernels_are_compiled_in_one_way_from_sources_that_the_key_covers(source):
    tree = ast.parse(source.read_text())
    folder = ".".join(source.parent.relative_to(ROOT).parts)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in {"njit", "jit"}:
            pytest.fail(f"{source}: use solvers.kernels.compile.kernel")
        if isinstance(node, ast.ImportFrom) and "kernels" in source.parts[-2:][0] + source.stem:
            assert node.module.split(".")[0] in {"__future__", "numba", "llvmlite", "numpy"} or (
                node.module.startswith(("solvers.kernels.", folder))
            )


def test_indices_stay_narrow_so_that_one_kernel_will_do():
    ring = sp.coo_array((np.ones(600), (np.arange(600), (np.arange(600) + 1) % 600)), shape=(600, 600))
    wide = sp.csr_array(ring + ring.T + sp.eye_array(600))
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    for component in Presolve(Elliptope(wide).unit().cost).components:
        assert component.cost.indices.dtype == component.cost.indptr.dtype == np.int32
