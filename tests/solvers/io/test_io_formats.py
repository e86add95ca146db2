"""Every file format: round trips, the wild's dialects, and readings that are refused rather than guessed."""

import gzip
import itertools
import json
import lzma
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import solvers.io.text
from solvers import (
    BinaryQuadratic,
    Elliptope,
    MaxCut,
    low_rank,
    read_problem,
    read_sdpa,
    tabu_search,
    write_problem,
)
from solvers.io.registry import FORMATS

GRAPHS = ["rudy", "mqlib-maxcut", "mtx-graph", "dimacs"]
FORMS = {"biqmac": False, "qbsolv": False, "mtx-qubo": False, "mqlib-qubo": True, "or-library": True}


def write(folder: Path, text: str | bytes, name: str = "problem.txt") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def binary_values(problem: BinaryQuadratic) -> np.ndarray:
    """The user's objective at every point of {0, 1}^n, through signs."""
    bits = np.array(list(itertools.product((0, 1), repeat=problem.n)))
    return (-1 if problem.maximised else 1) * problem.evaluate(2 * bits - 1)


def listed_values(order: int, triples: list[tuple[int, int, float]], times: int) -> np.ndarray:
    """The same from the definition: a pair counts ``times``."""
    bits = list(itertools.product((0, 1), repeat=order))
    return np.array(
        [sum(q * x[i] * x[j] * (1 if i == j else times) for i, j, q in triples) for x in bits], dtype=float
    )


def random_matrix(n: int, seed: int, density: float, diagonal: bool) -> np.ndarray:
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.integers(-6, 7)
    upper = np.triu(
        np.where(rng.random((n, n)) < density, scale * rng.standard_normal((n, n)), 0.0), 0 if diagonal else 1
    )
    return upper + np.triu(upper, 1).T


@settings(max_examples=30)
@given(
    n=st.integers(1, 9),
    seed=st.integers(0, 2**31),
    density=st.sampled_from([0.0, 0.3, 1.0]),
    packing=st.sampled_from(["", ".gz", ".xz"]),
)
@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_come_back_exactly(tmp_path_factory, name, n, seed, density, packing):
    graph = MaxCut(random_matrix(n, seed, density, diagonal=False))
    path = tmp_path_factory.mktemp("graph") / f"graph.txt{packing}"
    write_problem(graph, path, format=name)
    for forced in (name, None):
        back = read_problem(path, format=forced)
        assert isinstance(back, MaxCut)
        np.testing.assert_array_equal(back.graph.toarray(), graph.graph.toarray())


@settings(max_examples=30)
@given(
    n=st.integers(1, 7), seed=st.integers(0, 2**31), density=st.sampled_from([0.3, 1.0]), whole=st.booleans()
)
@pytest.mark.parametrize("name", FORMS)
def test_forms_come_back_with_all_their_values(tmp_path_factory, name, n, seed, density, whole):
    matrix = random_matrix(n, seed, density, diagonal=True)
    if whole:
        matrix = np.round(8 * matrix / max(1.0, np.abs(matrix).max()))
    problem = BinaryQuadratic.from_qubo(matrix, maximise=FORMS[name])
    path = tmp_path_factory.mktemp("form") / "form.txt"
    write_problem(problem, path, format=name)
    back = read_problem(path, format=name)
    assert isinstance(back, BinaryQuadratic)
    assert back.maximised is FORMS[name]
    bits = np.array(list(itertools.product((0, 1), repeat=n)))
    expected = np.einsum("ki,ij,kj->k", bits, matrix, bits)
    if whole:
        np.testing.assert_array_equal(binary_values(back), expected)
    np.testing.assert_allclose(binary_values(back), expected, atol=1e-12 * np.abs(matrix).sum())


@settings(max_examples=30)
@given(n=st.integers(1, 8), seed=st.integers(0, 2**31), packing=st.sampled_from(["", ".gz", ".xz"]))
def test_sdpa_comes_back_exactly(tmp_path_factory, n, seed, packing):
    matrix = random_matrix(n, seed, 0.5, diagonal=True)
    diagonal = np.random.default_rng(seed).uniform(0.1, 10.0, n)
    path = tmp_path_factory.mktemp("sdpa") / f"program.dat-s{packing}"
    write_problem(Elliptope(matrix, diagonal=diagonal, maximised=True), path)
    back = read_problem(path)
    np.testing.assert_array_equal(back.cost.toarray(), matrix)
    np.testing.assert_array_equal(back.diagonal, diagonal)


@settings(max_examples=40)
@given(data=st.data(), n=st.integers(1, 6))
@pytest.mark.parametrize(
    ("name", "times", "first"), [("biqmac", 2, 1), ("mqlib-qubo", 2, 1), ("qbsolv", 1, 0)]
)
def test_pairs_count_as_often_as_the_format_says(tmp_path_factory, name, times, first, n, data):
    pairs = [(i, j) for i in range(n) for j in range(i, n)]
    chosen = data.draw(st.lists(st.sampled_from(pairs), unique=True, min_size=1))
    triples = [(i, j, float(data.draw(st.integers(-50, 50)))) for i, j in chosen]
    lines = [
        f"{j + first} {i + first} {q}" if data.draw(st.booleans()) else f"{i + first} {j + first} {q}"
        for i, j, q in triples
    ]
    on_diagonal = sum(i == j for i, j, _ in triples)
    heading = (
        f"p qubo 0 {n} {on_diagonal} {len(triples) - on_diagonal}"
        if name == "qbsolv"
        else f"{n} {len(triples)}"
    )
    path = write(tmp_path_factory.mktemp("pairs"), "\n".join([heading, *lines, ""]))
    problem = read_problem(path, format=name)
    np.testing.assert_array_equal(binary_values(problem), listed_values(n, triples, times))


MQLIB_EXAMPLE = "# Q\n3 5\n1 1 5\n2 2 3\n3 3 1\n1 2 -6\n2 3 -1\n"


def test_mqlibs_own_example_has_the_value_its_manual_gives(tmp_path):
    """The manual's run of this file ends at 6, with x = (1, 0, 1)."""
    problem = read_problem(write(tmp_path, MQLIB_EXAMPLE), format="mqlib-qubo")
    values = binary_values(problem)
    assert values.max() == 6
    assert np.argmax(values) == 0b101
    report = low_rank(problem, rng=0).report()
    assert report["upper_bound"] >= 6


def test_what_can_be_read_in_two_ways_is_refused_with_both(tmp_path):
    for text, names in (
        (MQLIB_EXAMPLE, ["biqmac", "mqlib-qubo"]),
        ("%%MatrixMarket matrix coordinate real symmetric\n2 2 1\n2 1 5\n", ["mtx-graph", "mtx-qubo"]),
    ):
        path = write(tmp_path, text)
        with pytest.raises(ValueError, match="can be read as") as caught:
            read_problem(path)
        for name in names:
            assert name in str(caught.value)
            read_problem(path, format=name)
        assert "--format" in str(caught.value)


def test_a_suffix_decides_where_the_content_allows_it(tmp_path):
    text = "3 2\n1 2 -1\n2 3 -1\n"
    assert isinstance(read_problem(write(tmp_path, text)), MaxCut)
    for name in ("q.sparse", "q.SPARSE", "q.sparse.txt"):
        form = read_problem(write(tmp_path, text, name))
        assert isinstance(form, BinaryQuadratic)
        assert binary_values(form).min() == -4
    packed = tmp_path / "q.sparse.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    assert isinstance(read_problem(packed), BinaryQuadratic)


def test_a_suffix_that_contradicts_the_content_is_refused_with_both(tmp_path):
    path = write(tmp_path, "3 2\n1 2 -1\n2 3 -1\n", "graph.qubo")
    with pytest.raises(ValueError, match=r"by its suffix this is qbsolv .*, by its content rudy"):
        read_problem(path)
    assert isinstance(read_problem(path, format="rudy"), MaxCut)


def test_unknown_content_and_unknown_formats_name_what_there_is(tmp_path):
    path = write(tmp_path, "once upon a time\n")
    for kwargs in ({}, {"format": "lp"}):
        with pytest.raises(ValueError, match="rudy, sdpa, biqmac"):
            read_problem(path, **kwargs)


def test_or_library_files_hold_several_problems(tmp_path):
    problems = [[(0, 0, 3.0), (0, 1, -2.0)], [(1, 1, 7.0)], [(0, 1, 4.0), (2, 2, -1.0)]]
    sizes = [2, 2, 3]
    blocks = [
        "\n".join([f"{n} {len(q)}", *(f"{i + 1} {j + 1} {v}" for i, j, v in q)])
        for n, q in zip(sizes, problems, strict=True)
    ]
    path = write(tmp_path, "\n".join(["3", *blocks, ""]), "three.txt")
    for k, (n, q) in enumerate(zip(sizes, problems, strict=True)):
        problem = read_problem(f"{path}:{k + 1}")
        assert problem.maximised
        np.testing.assert_array_equal(binary_values(problem), listed_values(n, q, 2))
    with pytest.raises(ValueError, match=r"three.txt, line 1: the file holds 3 problems: name one"):
        read_problem(path)
    with pytest.raises(ValueError, match=r"problem 4 is asked for; the file holds 3"):
        read_problem(f"{path}:4")
    with pytest.raises(ValueError, match="rudy files hold one problem"):
        read_problem(f"{write(tmp_path, '2 1' + chr(10) + '1 2 1')}:2")


def test_graphs_without_weights_and_with_comments(tmp_path):
    expected = [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
    for text in (
        "# a path\n3 2\n1 2\n% next\n2 3\n",
        "p edge 3 2\ne 1 2\nc\nc x\ne 2 3\n",
        "c\np col 3 4\ne 1 2\ne 2 1\ne 2 3\ne 3 2\n",
    ):
        np.testing.assert_array_equal(read_problem(write(tmp_path, text)).graph.toarray(), expected)
    with pytest.raises(ValueError, match=r"line 3: expected 2 fields \(vertex, vertex\); found 3"):
        read_problem(write(tmp_path, "3 2\n1 2\n2 3 5\n"))


MATRIX = np.array([[2.0, 1.0, 0.0], [1.0, 0.0, -3.0], [0.0, -3.0, 0.0]])
MARKET = {
    "symmetric": "%%MatrixMarket matrix coordinate real symmetric\n% x\n3 3 3\n1 1 2\n2 1 1\n3 2 -3\n",
    "general": "%%MatrixMarket matrix coordinate integer general\n3 3 5\n1 1 2\n2 1 1\n1 2 1\n3 2 -3\n2 3 -3\n",
    "array": "%%MatrixMarket matrix array real general\n3 3\n2\n1\n0\n1\n0\n-3\n0\n-3\n0\n",
    "symmetric array": "%%MatrixMarket matrix array real symmetric\n3 3\n2\n1\n0\n0\n-3\n0\n",
}


@pytest.mark.parametrize("kind", MARKET)
def test_matrix_market_in_its_forms(tmp_path, kind):
    path = write(tmp_path, MARKET[kind], "m.mtx")
    graph = read_problem(path, format="mtx-graph").graph.toarray()
    np.testing.assert_array_equal(graph, MATRIX - np.diag(MATRIX.diagonal()))
    form = read_problem(path, format="mtx-qubo")
    bits = np.array(list(itertools.product((0, 1), repeat=3)))
    np.testing.assert_array_equal(binary_values(form), np.einsum("ki,ij,kj->k", bits, MATRIX, bits))


def test_matrix_market_files_that_say_they_are_graphs_need_no_name(tmp_path):
    pattern = "%%MatrixMarket matrix coordinate pattern symmetric\n2 2 1\n2 1\n"
    said = "%%MatrixMarket matrix coordinate real symmetric\n% kind: weighted graph\n2 2 1\n2 1 4\n"
    assert isinstance(read_problem(write(tmp_path, pattern, "g.mtx")), MaxCut)
    assert isinstance(read_problem(write(tmp_path, said, "g.mtx")), MaxCut)


SDPA = """\
"a comment
 3 = mDIM
 1 = nBLOCK
 3 = bLOCKsTRUCT
{3.0, 1.0, 2.5}
0 1 1 1 2.0
0 1 1 3 -0.5
1 1 1 1 1.0
2 1 3 3 1.0
3 1 2 2 1.0
"""
DIALECTS = {
    "no blanks": SDPA.replace("3 = mDIM", "3=mDIM").replace("1 = n", "1=n").replace("3 = bL", "3=bL"),
    "brackets": SDPA.replace("3 = bLOCKsTRUCT", "(3) = bLOCKsTRUCT"),
    "c over lines": SDPA.replace("{3.0, 1.0, 2.5}", "3.0\n1.0\n2.5"),
    "c over lines, in braces": SDPA.replace("{3.0, 1.0, 2.5}", "{3.0,\n 1.0, 2.5}"),
    "text after c": SDPA.replace("{3.0, 1.0, 2.5}", "3.0, 1.0, 2.5 = c vector"),
    "commas between fields": SDPA.replace("0 1 1 3 -0.5", "0,1,1,3,-0.5").replace(
        "2 1 3 3 1.0", "{2, 1, 3, 3, 1.0}"
    ),
    "Fortran": SDPA.replace("2.0\n", "2.0D+00\n").replace("-0.5", "-5.0d-1").replace("2.5}", "2.5D0}"),
    "both triangles": SDPA.replace("0 1 1 3 -0.5\n", "0 1 1 3 -0.5\n0 1 3 1 -0.5\n"),
    "lone CR": SDPA.replace("\n", "\r"),
    "CR LF": SDPA.replace("\n", "\r\n"),
    "BOM": "\ufeff" + SDPA,
    "stars": SDPA.replace('"a comment', "* a comment"),
}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
def test_sdpa_as_the_wild_writes_it(tmp_path, dialect, pack):
    path = tmp_path / "program"
    path.write_bytes(pack(DIALECTS[dialect].encode()))
    for problem in (read_problem(path), read_sdpa(path)):
        np.testing.assert_array_equal(problem.cost.toarray(), [[-2.0, 0, 0.5], [0, 0, 0], [0.5, 0, 0]])
        np.testing.assert_array_equal(problem.diagonal, [3.0, 2.5, 1.0])


def test_mirror_images_that_differ_and_too_long_vectors_are_refused(tmp_path):
    with pytest.raises(ValueError, match="line 8: this entry of F_0 and its mirror image differ"):
        read_problem(write(tmp_path, SDPA.replace("0 1 1 3 -0.5\n", "0 1 1 3 -0.5\n0 1 3 1 -0.6\n")))
    with pytest.raises(ValueError, match="line 5: c must have 3 entries, one a constraint; found 4"):
        read_problem(write(tmp_path, SDPA.replace("2.5}", "2.5, 1}")))


DAMAGE = {
    "qbsolv header": ("p qubo 0 3\n", "qbsolv", "line 1: expected 'p qubo topology"),
    "qbsolv topology": ("p qubo chimera 3 0 0\n", "qbsolv", "line 1: the topology must be 0"),
    "qbsolv count": (
        "c\np qubo 0 3 1 1\n0 0 1\n1 1 1\n",
        "qbsolv",
        "line 2: 1 diagonal entries are announced; found 2",
    ),
    "qbsolv index": ("p qubo 0 3 1 0\n3 3 1\n", "qbsolv", "line 2: variable must be from 0 to 2; found 3"),
    "dimacs flow": ("p max 3 1\n", "dimacs", "line 1: expected 'p edge n m'.*only graphs"),
    "dimacs word": ("p edge 3 1\na 1 2\n", "dimacs", "line 2: expected a line that begins with 'e'"),
    "dimacs count": ("p edge 3 3\ne 1 2\n", "dimacs", "line 1: 3 edges are announced; found 1"),
    "dimacs loop": ("p edge 3 1\ne 2 2\n", "dimacs", "line 2: a self-loop"),
    "market banner": ("%%MatrixMarket vector coordinate real general\n", "mtx-graph", "line 1: expected"),
    "market complex": (
        "%%MatrixMarket matrix coordinate complex general\n",
        "mtx-graph",
        "line 1: the entries must be",
    ),
    "market one-sided": (
        MARKET["general"].replace("2 3 -3\n", "").replace("3 5", "3 4"),
        "mtx-qubo",
        "line 6: this entry has no mirror",
    ),
    "market upper": (
        "%%MatrixMarket matrix coordinate real symmetric\n2 2 1\n1 2 1\n",
        "mtx-graph",
        "line 3: an entry above",
    ),
    "market oblong": (
        "%%MatrixMarket matrix coordinate real general\n2 3 0\n",
        "mtx-graph",
        "line 2: .*square.*2 x 3",
    ),
    "market short": (MARKET["array"][:-3], "mtx-graph", "line 2: 9 entries are expected; found 8"),
    "biqmac twice": ("2 2\n1 2 1\n2 1 1\n", "biqmac", "line 3: this entry was given before"),
    "library short": ("2\n2 1\n1 1 5\n", "or-library", "line 1: the file holds 2 problems"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_refused_by_line(tmp_path, damage):
    text, name, message = DAMAGE[damage]
    path = write(tmp_path, text)
    with pytest.raises(ValueError, match=message) as caught:
        read_problem(path, format=name)
    assert str(caught.value).startswith(str(path))


@settings(max_examples=150)
@given(data=st.data(), name=st.sampled_from([*GRAPHS, *FORMS, "sdpa"]))
def test_mutated_files_are_read_or_refused_in_words(tmp_path_factory, data, name):
    """No traceback but ValueError, whatever a byte of the file becomes."""
    matrix = random_matrix(5, 3, 0.6, diagonal=name in FORMS or name == "sdpa")
    problem = MaxCut(matrix) if name in GRAPHS else Elliptope(matrix)
    if name in FORMS:
        problem = BinaryQuadratic.from_qubo(matrix, maximise=FORMS[name])
    path = tmp_path_factory.mktemp("mutated") / "file.txt"
    write_problem(problem, path, format=name)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        where = data.draw(st.integers(0, len(content) - 1))
        content[where : where + data.draw(st.integers(0, 3))] = data.draw(
            st.sampled_from(
                [b"", b"-", b"0", b" ", b"\n", b"9" * 20, b"nan", b"e", b"\xff", b"{", b"#", b"1_0"]
            )
        )
    path.write_bytes(bytes(content))
    refusals = []
    for forced in (name, None):
        try:
            read_problem(path, format=forced)
        except ValueError as error:
            refusals.append(str(error))
    assert all(str(path) in message or "must" in message for message in refusals)


def test_long_tokens_are_cut_and_their_length_told(tmp_path):
    for text in (f"3 1\n1 {'9' * 5000} 1\n", f"3 1\n1 2 {'x' * 5000}\n", f"{'9' * 5000} 1\n1 2 1\n"):
        with pytest.raises(ValueError, match=r"\(5000 characters\)") as caught:
            read_problem(write(tmp_path, text), format="rudy")
        assert len(str(caught.value)) < 400


def test_there_is_a_limit_to_what_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(solvers.io.text, "MAX_BYTES", 5000)
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(b"3 1\n" + b"\n" * 10_000))
    with pytest.raises(ValueError, match="more than 5000 bytes"):
        read_problem(path)
    monkeypatch.setattr(solvers.io.text, "MAX_LINE_BYTES", 1000)
    with pytest.raises(ValueError, match="a line is longer than 1000 bytes"):
        read_problem(write(tmp_path, "1" * 4000))
    if Path("/dev/zero").exists():
        with pytest.raises(ValueError, match="NUL bytes"):
            read_problem("/dev/zero")


def test_damaged_archives_are_named(tmp_path):
    whole = gzip.compress(b"3 1\n1 2 1\n" * 1000)
    packed = lzma.compress(b"3 1\n1 2 1\n" * 1000)
    for content in (whole[: len(whole) // 2], whole[:12] + b"\0" * 20, packed[:-20], packed[:6] + b"\0" * 40):
        with pytest.raises(ValueError, match="file is damaged or cut off"):
            read_problem(write(tmp_path, content))


def test_utf16_is_named(tmp_path):
    with pytest.raises(ValueError, match="UTF-16"):
        read_problem(write(tmp_path, "3 1\n1 2 1\n".encode("utf-16")))


@pytest.mark.parametrize("name", ["rudy", "biqmac", "dimacs", "mtx-graph", "qbsolv"])
def test_reading_takes_memory_by_the_entry(tmp_path, name):
    """A few numbers an entry, never the text: 30,000 entries of 600,000 characters."""
    rng = np.random.default_rng(0)
    keys = np.unique(rng.integers(0, 1000 * 1000, 30_000))
    rows, columns = np.divmod(keys, 1000)
    keep = rows < columns
    weights = sp.coo_array(
        (rng.standard_normal(keep.sum()), (rows[keep], columns[keep])), shape=(1000, 1000)
    ).tocsr()
    problem = MaxCut(weights + weights.T) if name in GRAPHS else BinaryQuadratic.from_qubo(weights)
    path = tmp_path / "large"
    write_problem(problem, path, format=name)
    tracemalloc.start()
    read_problem(path, format=name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # A block of lines with its tokens, then arrays.
    assert peak < 40_000_000


REFUSED = [
    ("rudy", Elliptope(np.eye(2)), TypeError, "state a MaxCut; found Elliptope"),
    ("biqmac", MaxCut(np.eye(2)), TypeError, "state a BinaryQuadratic; found MaxCut"),
    (
        "biqmac",
        BinaryQuadratic.from_qubo(np.eye(2), maximise=True),
        ValueError,
        "minimise; this problem is maximised",
    ),
    ("or-library", BinaryQuadratic.from_qubo(np.eye(2)), ValueError, "maximise; this problem is minimised"),
    (
        "biqmac",
        BinaryQuadratic(np.zeros((2, 2)), constant=3.0),
        ValueError,
        "no place for a constant; found 3",
    ),
    ("sdpa", BinaryQuadratic(np.eye(2), b=[1, 2]), ValueError, "homogenised"),
    ("lp", MaxCut(np.eye(2)), ValueError, "format must be one of rudy"),
]


@pytest.mark.parametrize(("name", "problem", "error", "message"), REFUSED)
def test_what_a_format_cannot_state_is_refused_and_no_file_is_left(tmp_path, name, problem, error, message):
    path = tmp_path / "out"
    with pytest.raises(error, match=message):
        write_problem(problem, path, format=name)
    assert not path.exists()


def test_writing_needs_a_format_that_the_suffix_tells(tmp_path):
    for name in ("graph", "graph.mtx", "graph.gz"):
        with pytest.raises(ValueError, match="pass format="):
            write_problem(MaxCut(np.ones((2, 2))), tmp_path / name)
    write_problem(MaxCut(np.ones((2, 2))), tmp_path / "graph.col.xz")
    assert read_problem(tmp_path / "graph.col.xz").n == 2


@pytest.mark.shared_data
def test_every_biqmac_form_has_the_minimum_its_library_gives(shared_data):
    """Tabu search reaches it on all, and no bound lies above it; counted once, the values would be others."""
    optima = json.loads((shared_data / "biqmac" / "optima.json").read_text())
    checked = 0
    for path in sorted((shared_data / "biqmac").glob("*.sparse"))[::4]:
        problem = read_problem(path)
        assert isinstance(problem, BinaryQuadratic)
        best = optima[path.name]["best"]
        if best is None:
            continue
        found = tabu_search(problem, np.ones(problem.n), max_iterations=30_000, rng=0)
        assert found.value == pytest.approx(best, abs=1e-6), path.name
        checked += 1
    assert checked > 10


def test_the_registry_names_each_format_once():
    assert all(name == each.name for name, each in FORMATS.items())
    assert len(FORMATS) == 10
