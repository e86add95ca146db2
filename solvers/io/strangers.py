"""What a file that is in none of our formats looks like, and where its owner should go with it."""

from __future__ import annotations

import re
from pathlib import PurePath

_UNPACK = "unpack it first; gzip and xz are read as they are"
_MATRIX = "which MaxCut (weights) or BinaryQuadratic (a form in signs), or BinaryQuadratic.from_qubo, takes"
_GRAPH = "then vispa.MaxCut.from_networkx(graph)"
_PICTURE = "a picture, which states no problem"

# First bytes, what they show, and the door.
_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"\x89PNG", "a PNG image", _PICTURE),
    (b"\xff\xd8\xff", "a JPEG image", _PICTURE),
    (b"GIF8", "a GIF image", _PICTURE),
    (b"%PDF", "a PDF document", "save the numbers as text"),
    (b"PK\x03\x04", "a zip archive, as .npz is", f"unpack it; scipy.sparse.load_npz gives a matrix, {_MATRIX}"),
    (b"BZh", "packed by bzip2", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "packed by zstd", _UNPACK),
    (b"7z\xbc\xaf", "a 7z archive", _UNPACK),
    (b"\x93NUMPY", "a NumPy array", f"numpy.load(path) gives it, {_MATRIX}"),
    (b"MATLAB 5.0", "a MATLAB file", f"scipy.io.loadmat(path) gives matrices, {_MATRIX}"),
    (b"\x89HDF", "an HDF5 file", f"h5py gives its arrays, {_MATRIX}"),
    (b"DIMODBQM", "a dimod model", "dimod.BinaryQuadraticModel.from_file gives it, then BinaryQuadratic.from_bqm"),
    (b"\x80\x02", "a Python pickle", "hand over the object in it"),
    (b"\x80\x03", "a Python pickle", "hand over the object in it"),
    (b"\x80\x04", "a Python pickle", "hand over the object in it"),
    (b"\x80\x05", "a Python pickle", "hand over the object in it"),
    (b"\x7fELF", "a program", "it states no problem"),
)  # fmt: skip

# The first text, whose case does not matter, what it shows, and the door.
_TEXT: tuple[tuple[str, str, str], ...] = (
    (r"<!doctype html|<html", "a web page, perhaps of an error", "download the file itself"),
    (r"<\?xml|<graphml|<gexf", "XML", f"networkx.read_graphml or read_gexf reads graphs of it, {_GRAPH}"),
    (r"version https://git-lfs", "a pointer of Git LFS", "git lfs pull brings the file itself"),
    (
        r"[\[{]",
        "JSON",
        "with data = json.load(file), dimod.BinaryQuadraticModel.from_serializable(data) is a dimod model, "
        f"then BinaryQuadratic.from_bqm; networkx.node_link_graph(data) a graph, {_GRAPH}",
    ),
    (r"(creator .*\s*)?graph\s*\[", "GML", f"networkx.read_gml(path) reads it, {_GRAPH}"),
    (r"(strict\s+)?(di)?graph\b[^\[]*\{", "Graphviz's DOT", f"networkx.nx_pydot.read_dot(path) reads it, {_GRAPH}"),
    (
        r"(\\.*\s+)*(minimi[sz]e|maximi[sz]e|minimum|maximum)\b",
        "an LP file",
        "dimod.lp.load(path).objective is its objective; with binary variables alone and no constraints, "
        "dimod.BinaryQuadraticModel takes its linear and quadratic biases, then BinaryQuadratic.from_bqm",
    ),
    (r"name\b.*\s+(objsense|rows)\b", "an MPS file", "programs with constraints cannot be read"),
    (r">>graph6<<|>>sparse6<<", "graph6 or sparse6", f"networkx.read_graph6 or read_sparse6 reads it, {_GRAPH}"),
)  # fmt: skip
_NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?"
_ROW = re.compile(rf"{_NUMBER}(?:[\s,;]+{_NUMBER})+[,;]?", re.IGNORECASE)
_TABLE = (
    "a table of numbers",
    "a list of edges needs a first line 'n m', or goes through networkx.read_weighted_edgelist(path), "
    f"{_GRAPH}; of a whole matrix numpy.loadtxt(path) gives the array, {_MATRIX}",
)
_NAMED_COLUMNS = re.compile(r"[a-z_ ]+([,;\t][a-z_ ]+)+", re.IGNORECASE)
# The list of neighbours of a cycle reads as edges, too.
_METIS_SUFFIXES = (".graph", ".metis")
# Lines that a look at the content joins; comments before an LP's first word fit.
_LINES = 20


def refuse_binary(name: str, start: bytes) -> None:
    """Raise for a file whose first bytes are those of a known kind that is not plain text.

    Raises
    ------
    ValueError
        Naming what it looks like, and the door.
    """
    for magic, kind, door in _MAGIC:
        if start.startswith(magic):
            raise ValueError(f"{name}: not a text file; it looks like {kind}: {door}")
    pairs = start[:64]
    zeros_alternate = len(pairs) > 3 and any(pairs) and not (any(pairs[1::2]) and any(pairs[::2]))
    if zeros_alternate or start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError(f"{name}: not a text file in ASCII; it looks like UTF-16, save it as UTF-8")


def neighbour_list(name: str) -> str | None:
    """What a suffix of METIS says, and the door; None for any other name."""
    if PurePath(name).suffix.lower() not in _METIS_SUFFIXES:
        return None
    return (
        "a list of neighbours as METIS has it, by its suffix: networkx.from_dict_of_lists builds the graph, "
        f"{_GRAPH}; for a list of edges force format='rudy'"
    )


def looks_like(head: list[str]) -> str | None:
    """The kind of a text file that is in none of our formats, and the door; None where nothing is known.

    Parameters
    ----------
    head : list of str
        Its first lines, of which no format is sure.
    """
    lines = [line.strip() for line in head if line.strip()][:_LINES]
    text = "\n".join(lines)
    for pattern, kind, door in _TEXT:
        if re.match(pattern, text, re.IGNORECASE):
            return f"{kind}: {door}"
    widths = {len(re.split(r"[\s,;]+", line.rstrip(",;"))) for line in lines}
    if len(widths) == 1 and all(_ROW.fullmatch(line) for line in lines):
        return ": ".join(_TABLE)
    if len(lines) > 1 and _NAMED_COLUMNS.fullmatch(lines[0]):
        return (
            "a table with named columns: networkx.from_pandas_edgelist(pandas.read_csv(path)) builds the graph, "
            f"{_GRAPH}"
        )
    return None
