"""Execute notebooks, each in a fresh kernel; exit status 1 if any cell of any of them raises.

    python notebooks/execute.py                 # every notebook of this folder
    python notebooks/execute.py 01 --store      # those whose name starts so, and keep their outputs

Progress goes to standard error, one closing line a notebook to standard output.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from tqdm import tqdm

FOLDER = Path(__file__).resolve().parent
# A cell that takes longer than this is stuck.
CELL_SECONDS = 300


def main(argv: Sequence[str] | None = None) -> int:
    """Execute the chosen notebooks; 0 if all ran to the end, 1 if one failed, 2 if none was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="beginnings of the notebooks' names (default: all of them)")
    parser.add_argument("--store", action="store_true", help="write the outputs into the notebooks")
    arguments = parser.parse_args(argv)
    paths = chosen(arguments.names)
    if not paths:
        print(f"no notebook in {FOLDER} matches {arguments.names}", file=sys.stderr)
        return 2
    return 0 if all([execute(path, store=arguments.store) for path in paths]) else 1


def chosen(names: Sequence[str]) -> list[Path]:
    """Notebooks of this folder whose name starts with one of ``names``, or all of them."""
    paths = sorted(FOLDER.glob("*.ipynb"))
    return [path for path in paths if not names or path.name.startswith(tuple(names))]


def execute(path: Path, *, store: bool = False) -> bool:
    """Run one notebook in a fresh kernel; say how it went; return whether it ran to the end."""
    notebook = nbformat.read(path, as_version=4)
    began = time.perf_counter()
    code_cells = sum(cell.cell_type == "code" for cell in notebook.cells)
    with tqdm(total=code_cells, desc=path.name, unit="cell", leave=False, disable=None) as progress:
        client = NotebookClient(
            notebook,
            timeout=CELL_SECONDS,
            kernel_name="python3",
            resources={"metadata": {"path": str(FOLDER)}},
            record_timing=False,
            on_cell_executed=lambda **_: progress.update(),
        )
        try:
            client.execute(env=kernel_environment())
        except CellExecutionError as error:
            print(error, file=sys.stderr)
            print(f"{path.name}: failed after {time.perf_counter() - began:.1f} s")
            return False
    if store:
        nbformat.write(notebook, path)
    print(f"{path.name}: {code_cells} cells in {time.perf_counter() - began:.1f} s")
    return True


def kernel_environment() -> dict[str, str]:
    """Environment of the kernel: this checkout is what it imports, installed or not."""
    inherited = os.environ.get("PYTHONPATH")
    search_path = os.pathsep.join([str(FOLDER.parent), *([inherited] if inherited else [])])
    return {**os.environ, "PYTHONPATH": search_path, "MPLBACKEND": "module://matplotlib_inline.backend_inline"}


if __name__ == "__main__":
    sys.exit(main())
