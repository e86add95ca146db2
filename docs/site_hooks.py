"""What the site is made of besides its written pages: reference, notebooks, studies, benchmarks, and formulas."""

from __future__ import annotations

import base64
import html
import importlib
import inspect
import json
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
# The doors: packages whose public names are documented, each name on the page of the first that has it.
DOORS = (
    "vispa",
    "solvers",
    "solvers.torch_backend",
    "solvers.testing",
    "vispa.nn",
    "vispa.optim",
    "vispa.plots",
    "vispa.interop.dimod",
    "vispa.interop.transformers",
    "vispa.interop.lightning",
)
_ROLE = re.compile(r":(math|func|class|meth|mod):<code>(.*?)</code>", re.DOTALL)
_ARITHMATEX = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def reference() -> dict[str, dict[str, str]]:
    """For each door its public names, and where each of them is defined, as a dotted path."""
    found: dict[str, dict[str, str]] = {}
    seen: set[str] = set()
    for door in DOORS:
        module = importlib.import_module(door)
        names = [name for name in _public(module) if not name.startswith("__")]
        found[door] = {}
        for name in names:
            path = _home(module, door, name)
            if path not in seen:
                seen.add(path)
                found[door][name] = path
    return found


def _public(module: Any) -> list[str]:
    if hasattr(module, "__all__"):
        return sorted(module.__all__, key=str.lower)
    own = (
        name
        for name, each in vars(module).items()
        if (inspect.isclass(each) or inspect.isfunction(each)) and each.__module__ == module.__name__
    )
    return sorted((name for name in own if not name.startswith("_")), key=str.lower)


def _home(module: Any, door: str, name: str) -> str:
    """The module that defines a name, where documentation tools find it."""
    value = getattr(module, name)
    home = getattr(value, "__module__", None)
    return f"{home}.{name}" if home and hasattr(importlib.import_module(home), name) else f"{door}.{name}"


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made of other files."""
    for path, text in {**_reference_pages(), **_notebooks(), **_reports()}.items():
        files.append(File.generated(config, path, content=text))
    for folder, target in (("docs/studies", "studies"), ("benchmarks/results", "benchmarks")):
        for image in sorted((ROOT / folder).glob("*.png")):
            files.append(File.generated(config, f"{target}/{image.name}", abs_src_path=str(image)))
    files.append(File.generated(config, "assets/digits.png", abs_src_path=str(ROOT / "docs" / "digits.png")))
    return files


def _reference_pages() -> dict[str, str]:
    pages = {}
    lists = ["# Reference\n\nEvery public name, by the package it is imported from.\n"]
    for door, names in reference().items():
        folder = door.replace(".", "_")
        lists.append(f"\n## {door}\n")
        for name, path in names.items():
            pages[f"reference/{folder}/{name}.md"] = f"---\ntitle: {name}\n---\n\n::: {path}\n"
            lists.append(f"- [`{name}`]({folder}/{name}.md)")
    pages["reference/index.md"] = "\n".join(lists) + "\n"
    return pages


def _notebooks() -> dict[str, str]:
    return {
        f"notebooks/{path.stem}.md": notebook_as_markdown(json.loads(path.read_text()))
        for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
    }


def notebook_as_markdown(notebook: dict[str, Any]) -> str:
    """The cells of an executed notebook, pictures inside."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
        elif cell["cell_type"] == "code" and source.strip():
            parts.append(f"```python\n{source}\n```")
            parts += [_output(each) for each in cell.get("outputs", [])]
    return "\n\n".join(part for part in parts if part) + "\n"


def _output(output: dict[str, Any]) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        picture = "".join(data["image/png"]).replace("\n", "")
        base64.b64decode(picture, validate=True)
        return f'<img alt="Output of the cell above" src="data:image/png;base64,{picture}">'
    text = "".join(output.get("text", data.get("text/plain", "")))
    return f'<pre class="output"><code>{html.escape(text.rstrip())}</code></pre>' if text.strip() else ""


def _reports() -> dict[str, str]:
    """Studies and benchmark reports as they were written, and a list of the latter."""
    pages = {
        f"studies/{path.name}": path.read_text() for path in sorted((ROOT / "docs/studies").glob("*.md"))
    }
    lists = [
        "# Benchmarks\n\nEvery table is written by a script in `benchmarks/`, named and dated at its head with the "
        "machine and all versions.\n"
    ]
    for path in sorted((ROOT / "benchmarks" / "results").glob("*.md")):
        text = path.read_text()
        title = next((line.lstrip("# ") for line in text.split("\n") if line.startswith("# ")), path.stem)
        # Numbers by the thousand would fill every page of found results.
        pages[f"benchmarks/{path.name}"] = f"---\nsearch:\n  exclude: true\n---\n\n{text}"
        lists.append(f"- [{title}]({path.name}) ({path.stem})")
    pages["benchmarks/index.md"] = "\n".join(lists) + "\n"
    return pages


def on_config(config: Any) -> Any:
    """The order of the pages; what is made of files follows what there is."""
    notebooks = [f"notebooks/{path.stem}.md" for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
    guides = ["certify-a-maxcut", "qubo-from-dimod", "files", "property-tests", "binary-torch-model"]
    guides += ["binarise-after-training", "deploy", "bf16-processes", "trainers", "plots"]
    concepts = ["one-object", "certificate-and-proof", "what-rank-buys", "which-method", "training-methods"]
    config["nav"] = [
        {"Start in five minutes": "index.md"},
        {"How to": [f"guides/{name}.md" for name in guides]},
        {"Concepts": [f"concepts/{name}.md" for name in concepts]},
        {"Notebooks": notebooks},
        {"Studies": [f"studies/{path.name}" for path in sorted((ROOT / "docs/studies").glob("*.md"))]},
        {"Benchmarks": ["benchmarks/index.md"]},
        {"Reference": ["reference/index.md"]},
        {"Contributing": "contributing.md"},
    ]
    return config


def on_page_content(text: str, **_: Any) -> str:
    """Formulas as MathML, which browsers draw themselves; roles of docstrings as plain names."""
    text = _ROLE.sub(_role, text)
    return _ARITHMATEX.sub(lambda match: _mathml(html.unescape(match[2]), match[1] == "div"), text)


def _role(match: re.Match[str]) -> str:
    kind, content = match[1], html.unescape(match[2])
    if kind == "math":
        return _mathml(content, False)
    return f"<code>{html.escape(content.removeprefix('~'))}</code>"


def _mathml(formula: str, block: bool) -> str:
    from latex2mathml.converter import convert

    return convert(formula, display="block" if block else "inline")
