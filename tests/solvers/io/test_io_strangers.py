"""Files that are in none of the formats: each is told what it looks like, and where to go."""

import gzip
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from solvers import MaxCut, read_problem, write_problem
from solvers.io.registry import FORMATS
from solvers.io.strangers import looks_like

dimod = pytest.importorskip("dimod")
MODEL = dimod.BinaryQuadraticModel({"a": 1.0}, {("a", "b"): -2.0}, 0.0, "SPIN")
GRAPH = "3 3\n1 2 1\n2 3 1\n1 3 1\n"

STRANGERS = {
    "picture.mc": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "PNG image"),
    "photo.rud": (b"\xff\xd8\xff\xe0\0\x10JFIF", "JPEG image"),
    "paper.pdf": (b"%PDF-1.7\n\xb5\xb5", "PDF document"),
    "sparse.npz": (b"PK\x03\x04\x14\0", "load_npz"),
    "graph.rud.bz2": (b"BZh91AY&SY\x00\x01", "bzip2: unpack it first; gzip and xz"),
    "graph.rud.zst": (b"\x28\xb5\x2f\xfd\x04\0", "zstd: unpack it first"),
    "array.npy": (b"\x93NUMPY\x01\0v\0{'descr': '<f8'}", "numpy.load"),
    "model.pkl": (b"\x80\x04\x95\x10\0\0\0", "Python pickle"),
    "bare.rud": (GRAPH.encode("utf-16-le"), "UTF-16"),
    "model.json": (json.dumps(MODEL.to_serializable()).encode(), "from_serializable"),
    "named.mc": (b"[\n  1, 2\n]\n", "JSON"),
    "page.mc": (b"<!DOCTYPE html>\n<html>404</html>", "web page"),
    "tree.graphml": (b"<?xml version='1.0'?>\n<graphml/>", "read_graphml"),
    "G1": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n", "git lfs pull"),
    "g.gml": (b'Creator "x"\ngraph\n[\n  node [ id 0 ]\n]\n', "read_gml"),
    "g.dot": (b"strict graph G {\n 1 -- 2;\n}\n", "read_dot"),
    "p.lp": (b"\\ a comment\nMinimize\n obj: x + y\nBinaries\n x y\nEnd\n", "dimod.lp.load"),
    "p.mps": (b"NAME          TEST\nROWS\n N  OBJ\n", "MPS"),
    "cycle.graph": (b"5 5\n2 5\n1 3\n2 4\n3 5\n1 4\n", "METIS"),
    "edges.csv": (b"source,target,weight\n1,2,1\n", "from_pandas_edgelist"),
    "weighted.txt": (b"1 2 1\n2 3 1\n1 3 1\n", "read_weighted_edgelist"),
    "whole.txt": (b"0 1 1 0\n1 0 1 0\n1 1 0 0.5\n0 0 0.5 0\n", "numpy.loadtxt"),
    "commas.csv": (b"1,2,1\n2,3,1\n", "table of numbers"),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_a_stranger_is_told_what_it_looks_like_and_where_to_go(tmp_path, name):
    content, door = STRANGERS[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=name) as refusal:
        read_problem(path)
    assert "looks like" in str(refusal.value)
    assert door in str(refusal.value)


def test_packing_hides_no_stranger(tmp_path):
    path = tmp_path / "picture.mc.gz"
    path.write_bytes(gzip.compress(STRANGERS["picture.mc"][0]))
    with pytest.raises(ValueError, match="PNG image"):
        read_problem(path)


def test_edges_without_their_first_line_are_told_of_it(tmp_path):
    path = tmp_path / "edges.txt"
    path.write_text("1 2\n2 3\n1 3\n")
    with pytest.raises(ValueError, match=r"line 1 announces 1 vertices.*read_weighted_edgelist"):
        read_problem(path)
    path.write_text("4 5\n1 2\n2 3\n")
    with pytest.raises(ValueError, match=r"5 edges are announced; found 2.*read_weighted_edgelist"):
        read_problem(path)


def test_both_directions_of_an_edge_are_told_to_choose(tmp_path):
    path = tmp_path / "both.rud"
    path.write_text("3 3\n1 2 1\n2 1 1\n1 3 1\n")
    with pytest.raises(ValueError, match="line 3: this edge was given before; each pair is listed once"):
        read_problem(path)


def test_a_file_of_bqm_says_how_dimod_opens_it(tmp_path):
    path = tmp_path / "model.bqm"
    with MODEL.to_file() as file:
        path.write_bytes(file.read())
    with pytest.raises(ValueError, match=r"BinaryQuadraticModel\.from_file"):
        read_problem(path)


def test_addresses_are_not_paths():
    with pytest.raises(ValueError, match="download it first"):
        read_problem("https://example.com/G1")


@pytest.mark.parametrize("name", [name for name in FORMATS if "maxcut" in name or name in ("rudy", "dimacs")])
@given(n=st.integers(1, 6), seed=st.integers(0, 99))
def test_no_file_of_ours_is_a_stranger(tmp_path_factory, name, n, seed):
    weights = np.triu(np.random.default_rng(seed).integers(0, 3, (n, n)), 1).astype(float)
    path = tmp_path_factory.mktemp("own") / "list"
    write_problem(MaxCut(weights + weights.T), path, format=name)
    if name != "mqlib-maxcut":
        assert (read_problem(path).graph != MaxCut(weights + weights.T).graph).nnz == 0
    assert looks_like([]) is None
