"""The site's pages: code that runs, links that lead somewhere, a reference page for every public name."""

import importlib.util
import logging
import re
import sys
from pathlib import Path

import pytest

import solvers
import solvers.testing
import solvers.torch_backend
import vispa
import vispa.nn
import vispa.optim
import vispa.plots

pytest.importorskip("mkdocs")
DOCS = Path(__file__).resolve().parents[1] / "docs"
# What a word in a page's code needs installed.
NEEDS = {
    "dimod": "dimod",
    "networkx": "networkx",
    "transformers": "transformers",
    "save_packed": "safetensors",
    "hypothesis": "hypothesis",
    "plots": "matplotlib",
    "pytorch_lightning": "pytorch_lightning",
    "accelerate": "accelerate",
}
PAGES = sorted((DOCS / "pages").rglob("*.md"))


def load(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def own_logging():
    """Levels and handlers as they were, whatever a page sets."""
    loggers = [logging.getLogger(name) for name in ("", "solvers", "vispa")]
    before = [(logger.level, list(logger.handlers)) for logger in loggers]
    yield
    for logger, (level, handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.handlers[:] = handlers


# Trainers warn of their own settings.
@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=pytest.mark.filterwarnings("ignore") if path.stem == "trainers" else ())
        for path in PAGES
    ],
    ids=lambda path: path.stem,
)
def test_the_code_of_a_page_runs(path, tmp_path, monkeypatch, own_logging):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    for code in re.findall(r"^```python\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE):
        for word, package in NEEDS.items():
            if word in code:
                pytest.importorskip(package)
        exec(compile(code, str(path), "exec"), {"__name__": "page"})


def test_no_public_name_lacks_its_reference_page():
    pytest.importorskip("dimod")
    pytest.importorskip("transformers")
    hooks = load("site_hooks")
    pages = {name for names in hooks.reference().values() for name in names}
    for module in (
        vispa,
        solvers,
        solvers.torch_backend,
        solvers.testing,
        vispa.nn,
        vispa.optim,
        vispa.plots,
    ):
        missing = {name for name in module.__all__ if not name.startswith("__")} - pages
        assert not missing, f"{module.__name__}: {missing}"
    assert not [name for name in pages if name.startswith("_")]
    assert list(hooks.reference()["vispa.interop.transformers"]) == ["load_pretrained", "VispaCallback"]
    text = hooks._reference_pages()["reference/index.md"]
    for names in hooks.reference().values():
        for name, path in names.items():
            assert f"[`{name}`]" in text
            home, _, attribute = path.rpartition(".")
            assert hasattr(importlib.import_module(home), attribute)


def test_links_between_pages_lead_somewhere():
    pytest.importorskip("dimod")
    pytest.importorskip("transformers")
    hooks = load("site_hooks")
    made = {*hooks._reference_pages(), *hooks._notebooks(), *hooks._reports(), "assets/digits.png"}
    written = {str(path.relative_to(DOCS / "pages")) for path in PAGES}
    root = Path("/site")
    for path in PAGES:
        here = (root / path.relative_to(DOCS / "pages")).parent
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text()):
            resolved = str(Path(*_normal(here / target)).relative_to(root))
            assert resolved in made | written, f"{path.name}: {target}"
    listed = str(hooks.on_config({})["nav"])
    assert all(f"'{page}'" in listed for page in written)


def _normal(path):
    parts = []
    for part in path.parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return parts


def test_formulas_become_mathml_and_roles_plain_names():
    pytest.importorskip("latex2mathml")
    hooks = load("site_hooks")
    made = hooks.on_page_content("<p>:math:<code>x^T A &lt; 1</code>, :func:<code>vispa.harden</code></p>")
    assert "<math" in made
    assert ":math:" not in made
    assert "<code>vispa.harden</code>" in made
    block = hooks.on_page_content('<div class="arithmatex">\\[\\sum_i y_i\\]</div>')
    assert 'display="block"' in block


def test_notebooks_become_pages_with_their_pictures():
    hooks = load("site_hooks")
    cells = [
        {"cell_type": "markdown", "source": ["# Title"]},
        {
            "cell_type": "code",
            "source": ["1 < 2"],
            "outputs": [{"data": {"text/plain": ["True <b>"]}}, {"data": {"image/png": "aGVsbG8=\n"}}],
        },
    ]
    page = hooks.notebook_as_markdown({"cells": cells})
    assert "# Title" in page
    assert "```python\n1 < 2\n```" in page
    assert "True &lt;b&gt;" in page
    assert 'src="data:image/png;base64,aGVsbG8="' in page


def test_the_link_check_finds_what_is_broken(tmp_path):
    check = load("check_links")
    (tmp_path / "a.html").write_text('<h1 id="top">A</h1><a href="b.html#there">b</a><a href="#top">up</a>')
    (tmp_path / "b.html").write_text('<a href="a.html">a</a><p id="there"></p>')
    assert check.broken_links(tmp_path) == []
    (tmp_path / "b.html").write_text('<a href="c.html">c</a><img src="https://cdn.example/x.png">')
    faults = "\n".join(check.broken_links(tmp_path))
    assert "a.html: b.html#there has no such anchor" in faults
    assert "b.html: c.html leads nowhere" in faults
    assert "fetches https://cdn.example/x.png from elsewhere" in faults
    sys.modules.pop("check_links", None)


def test_the_link_check_finds_a_search_that_needs_a_server(tmp_path):
    check = load("check_links")
    (tmp_path / "a.html").write_text("<p>no stand-in for workers</p>")
    assert len(check.lost_search(tmp_path)) == 2
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "search_index.js").write_text("var __index = {}")
    (tmp_path / "a.html").write_text('<script src="assets/iframe-worker.js"></script>')
    assert check.lost_search(tmp_path) == []


def test_the_stand_in_for_workers_is_ours_and_fetches_nothing():
    settings = (DOCS / "mkdocs.yml").read_text()
    assert "- offline" in settings
    assert "polyfills: [assets/iframe-worker.js]" in settings
    assert "http" not in (DOCS / "pages" / "assets" / "iframe-worker.js").read_text()
