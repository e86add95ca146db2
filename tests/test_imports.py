"""Imports flow one way, and what is heavy or optional is imported only where it is used."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ["solvers", "vispa", "theory_checks"]
LAZY = {
    "solvers": {
        "cvxpy",
        "scs",
        "clarabel",
        "numba",
        "torch",
        "torchvision",
        "triton",
        "sklearn",
        "matplotlib",
        "hypothesis",
        "PIL",
        "lightning_fabric",
    },
    "vispa": {
        "cvxpy",
        "scs",
        "clarabel",
        "numba",
        "torchvision",
        "sklearn",
        "matplotlib",
        "hypothesis",
        "PIL",
        "lightning_fabric",
    },
    "theory_checks": {
        "cvxpy",
        "scs",
        "clarabel",
        "numba",
        "torchvision",
        "sklearn",
        "matplotlib",
        "hypothesis",
        "PIL",
        "lightning_fabric",
    },
}
# What is compiled when it is imported, and therefore imported where it is used.
COMPILED = (
    "solvers/kernels",
    "triton_kernels",
    "vispa/nn/weights/kernels",
    "vispa/deploy/kernels",
    "vispa/quantization/kernels",
)
SOURCES = [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))]
# The rooms of `solvers`, the lowest first: each may import from those above it in this list, and from itself.
FLOORS = (
    "interrupts",
    "checks",
    "stop",
    "optional",
    "whole_file",
    "kernels",
    "problems",
    "linalg",
    "certificates",
    "methods",
    "heuristics",
    "io",
    "burer_monteiro",
    "torch_backend/common",
    "torch_backend/dense",
    "torch_backend/shared",
    "torch_backend/sparse",
    "torch_backend",
    "low_rank",
    "many",
    "cvxpy_plugin",
    "cuts",
    "exact",
    "branching",
    "check_proof",
    "testing",
)


def imported(nodes):
    """Top-level package names of the import statements among the nodes."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]


def loaded_with_the_module(tree):
    """Statements that run on import: module and class bodies, but not functions or type-checking blocks."""
    pending = list(tree.body)
    while pending:
        node = pending.pop()
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending.extend(node.orelse)
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            pending.extend(child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_flow_one_way(path):
    layer = path.relative_to(ROOT).parts[0]
    later = set(LAYERS[LAYERS.index(layer) + 1 :]) | {"tests", "benchmarks", "notebooks"}
    if path == ROOT / "vispa" / "commands" / "check.py":
        later.discard("theory_checks")
    assert not later & set(imported(ast.walk(ast.parse(path.read_text()))))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_heavy_packages_are_imported_where_they_are_used(path):
    layer = path.relative_to(ROOT).parts[0]
    if any(name in str(path.relative_to(ROOT)) for name in COMPILED):
        pytest.skip("kernels import their compiler, and are themselves imported where they are used")
    statements = list(loaded_with_the_module(ast.parse(path.read_text())))
    on_tensors = ROOT / "solvers" / "torch_backend" in path.parents
    eager = set(imported(statements))
    assert not eager & (LAZY[layer] - ({"torch"} if on_tensors else set()))
    imports = [ast.unparse(node) for node in statements if isinstance(node, (ast.Import, ast.ImportFrom))]
    compiled = [name.replace("/", ".") for name in COMPILED]
    assert not [line for line in imports if any(name in line for name in compiled)]
    if not on_tensors and layer == "solvers":
        assert not [line for line in imports if "solvers.torch_backend" in line or "torch_backend" in line]


def module_name(path):
    """The dotted name of a file, a package's face under the package's own."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(path, known):
    """Modules of this tree that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else node.module


def circle(arrows):
    """Names from which arrows lead into a circle; nothing where there is none."""
    left = {name: set(targets) for name, targets in arrows.items()}
    while done := [name for name, targets in left.items() if not targets & left.keys()]:
        for name in done:
            del left[name]
    return sorted(left)


def test_no_file_imports_itself_by_way_of_others():
    paths = [*SOURCES, *sorted((ROOT / "benchmarks").rglob("*.py"))]
    known = {module_name(path): path for path in paths}
    # a package's face hands names on, and is asked for those that its files have no other way to reach
    rooms = {name: path for name, path in known.items() if path.name != "__init__.py"}
    assert circle({name: set(imported_modules(path, known)) for name, path in rooms.items()}) == []
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["a", "b", "c"]


def floor(path):
    """Where a file of `solvers` stands in the list; a face, which hands names on, stands nowhere."""
    inner = path.relative_to(ROOT / "solvers").with_suffix("")
    if inner.name == "__init__":
        return None
    room = str(inner.parent if inner.parent.name else inner)
    assert room in FLOORS, f"solvers/{room} has no place in FLOORS yet"
    return FLOORS.index(room)


def test_no_room_of_the_solvers_imports_from_above():
    paths = {module_name(path): path for path in sorted((ROOT / "solvers").rglob("*.py"))}
    climbing = [
        f"{name} -> {target}"
        for name, path in paths.items()
        for target in imported_modules(path, paths)
        if target in paths
        and None not in (here := floor(path), there := floor(paths[target]))
        and there > here
    ]
    assert climbing == []


BLOCKED = ("cvxpy", "scs", "clarabel", "numba", "torchvision", "sklearn", "matplotlib", "hypothesis", "PIL")

EVERY_TORCH_PATH = """
import sys

sys.modules.update(dict.fromkeys(BLOCKED))  # None: importing any of them fails
import torch
import vispa

torch.manual_seed(0)
network = torch.nn.Sequential(
    torch.nn.Linear(4, 8), vispa.SignActivation(), torch.nn.Linear(8, 8), torch.nn.Linear(8, 2)
)
vispa.binarize(network, rank=2)
optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
vispa.attach(optimizer, network)
inputs = torch.randn(5, 4)
network(inputs).square().sum().backward()
optimizer.step()
assert vispa.ensemble(network, inputs, samples=2).shape == (5, 2)
assert vispa.harden(network)(inputs).shape == (5, 2)

result = vispa.minimize(lambda w: w.sum(dim=-1) ** 2, 4, rank=1, max_iterations=5, generator=torch.Generator())
assert result.value >= 0.0
assert vispa.SignGaussian([0.5, 0.0]).mean_signs().shape == (2,)
for name in vispa.__all__:
    getattr(vispa, name)
"""


def run(code):
    return subprocess.run(
        [sys.executable, "-c", f"BLOCKED = {BLOCKED!r}\n{code}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_every_torch_path_works_without_the_lazy_packages():
    result = run(EVERY_TORCH_PATH)
    assert result.returncode == 0, result.stderr


SOLVING_ON_TENSORS = """
import sys

sys.modules.update(dict.fromkeys((*BLOCKED, "triton")))
import numpy as np
import torch
import vispa
from solvers.torch_backend import solve_batch

costs = torch.randn(3, 10, 10, generator=torch.Generator().manual_seed(0))
solved = solve_batch(costs)
assert solved.certified.all()
assert solved.solution(0).certified
graph = np.triu(np.ones((12, 12)), 1)
assert vispa.low_rank(vispa.MaxCut(graph + graph.T), device="cpu").certified
dense = vispa.BinaryQuadratic(graph + graph.T, np.ones(12))
assert vispa.low_rank(dense, device="cpu", certificate="rigorous").certified
"""


def test_solving_on_tensors_needs_none_of_the_lazy_packages():
    result = run(SOLVING_ON_TENSORS)
    assert result.returncode == 0, result.stderr


def test_solving_does_not_load_torch():
    result = run(
        "import sys, vispa.cli\nassert vispa.cli.main(['solve', 'absent.txt']) == 2\n"
        "assert 'torch' not in sys.modules"
    )
    assert result.returncode == 0, result.stderr


def test_packages_are_names_before_anything_has_loaded_them():
    result = run(
        "import vispa\nassert vispa.nn.SignActivation is vispa.SignActivation\n"
        "assert vispa.optim.__name__ == 'vispa.optim'"
    )
    assert result.returncode == 0, result.stderr


def test_unknown_names_are_refused():
    import vispa

    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = vispa.nonsense
    assert "binarize" in dir(vispa)
