"""What is built holds all that the tree does: every module, every file beside one, and one version everywhere."""

import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

import vispa

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("solvers", "vispa", "theory_checks")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
UNWANTED = ("*/__pycache__/*", "*.pyc", "*.nbi", "*.nbc")


def dotted(folder):
    return ".".join(folder.relative_to(ROOT).parts)


def files(folder):
    found = (path for path in folder.rglob("*") if path.is_file())
    return [path for path in found if not any(fnmatch(str(path), pattern) for pattern in UNWANTED)]


def test_the_wheel_holds_every_module_of_the_tree():
    setuptools = pytest.importorskip("setuptools")
    patterns = PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    packed = set(setuptools.find_packages(str(ROOT), include=patterns))
    there = {dotted(path.parent) for name in PACKAGES for path in files(ROOT / name) if path.suffix == ".py"}
    assert packed == there


def test_the_wheel_holds_every_file_beside_a_module():
    data = PROJECT["tool"]["setuptools"]["package-data"]
    others = [path for name in PACKAGES for path in files(ROOT / name) if path.suffix != ".py"]
    assert {path.name for path in others} >= {"py.typed", "results.json"}
    for path in others:
        patterns = [*data["*"], *data.get(dotted(path.parent), [])]
        assert any(fnmatch(path.name, pattern) for pattern in patterns), path
    assert all((ROOT / name / "py.typed").exists() for name in PACKAGES)


def test_the_version_is_one():
    version = PROJECT["project"]["version"]
    assert vispa.__version__ == version
    assert f"version: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"## [{version}] - 20" in (ROOT / "CHANGELOG.md").read_text()


def test_every_extra_that_a_message_names_exists():
    extras = set(PROJECT["project"]["optional-dependencies"])
    named = set()
    for name in PACKAGES:
        for path in (ROOT / name).rglob("*.py"):
            named |= {part.split("]")[0] for part in path.read_text().split("vispa-sdp[")[1:]}
    assert {each for each in named if "{" not in each} <= extras
    assert "plots" in extras


def test_the_citation_names_the_paper():
    yaml = pytest.importorskip("yaml")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    (paper,) = citation["references"]
    assert "Gaussian Variational Inference" in paper["title"]
    assert paper["authors"][0] == {"family-names": "Orecchia", "given-names": "Lorenzo"}
    assert paper["year"] == 2024
