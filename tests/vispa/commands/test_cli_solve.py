"""`vispa solve`: output, JSON, exit status, refusals."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import vispa
from vispa.cli import main

PENTAGON = "5 5\n1 2 1\n2 3 1\n3 4 1\n4 5 1\n1 5 1\n"
# (5/8) (5 + sqrt 5), the relaxation of the cut of a pentagon.
BOUND = 4.522542485937369


@pytest.fixture
def graph(tmp_path: Path) -> str:
    path = tmp_path / "pentagon.rud"
    path.write_text(PENTAGON)
    return str(path)


@pytest.mark.parametrize("method", ["low-rank", "exact"])
def test_json_is_one_object_in_the_sense_of_the_file(graph: str, method: str, capsys) -> None:
    assert main(["solve", graph, "--method", method, "--json"]) == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert captured.err == ""
    assert report["value"] == pytest.approx(BOUND, rel=2e-6)
    assert report["upper_bound"] == pytest.approx(BOUND, rel=2e-6)
    assert "lower_bound" not in report
    assert report["rounded_value"] == 4.0
    assert report["rounded_gap"] == pytest.approx((report["upper_bound"] - 4) / 4.0, rel=1e-9)
    assert report["certified"] is True
    assert report["certificate"] == "estimate"
    assert 0 <= report["gap"] <= 1e-6
    assert {"rank", "seconds", "status", "message", "file", "method"} <= report.keys()


def test_text_names_everything_people_ask_for(graph: str, capsys) -> None:
    assert main(["solve", graph]) == 0
    text = capsys.readouterr().out
    for name in (
        "value",
        "upper bound",
        "relative gap",
        "certificate",
        "rank",
        "seconds",
        "best rounded value",
    ):
        assert any(line.startswith(name) for line in text.splitlines())
    assert "status              certified: " in text


def test_rigorous_certificate(graph: str, capsys) -> None:
    assert main(["solve", graph, "--rigorous", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["certificate"] == "rigorous"
    assert report["upper_bound"] >= BOUND


def test_same_seed_same_result(graph: str, capsys) -> None:
    reports = []
    for seed in ("3", "3"):
        main(["solve", graph, "--seed", seed, "--rank", "3", "--json"])
        report = json.loads(capsys.readouterr().out)
        report.pop("seconds")
        reports.append(report)
    assert reports[0] == reports[1]


def test_status_one_when_not_certified(graph: str, capsys) -> None:
    assert main(["solve", graph, "--method", "exact", "--tol", "1e-16"]) == 1
    assert "not_certified: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--device", "warp"], "device must be one that torch can use here"),
        (["--method", "exact", "--device", "cpu"], "--device belongs to --method low-rank"),
        (["--tol", "0"], "--tol must be positive"),
        (["--tol", "nan"], "--tol must be finite"),
        (["--rank", "0"], "--rank must be at least 1; found 0"),
        (["--seed", "-1"], "--seed must be at least 0"),
        (["--max-seconds", "0"], "--max-seconds must be positive"),
        (["--method", "exact", "--rank", "3"], "--rank belongs to --method low-rank"),
        (["--method", "exact", "--rigorous"], "--rigorous belongs to --method low-rank"),
    ],
)
def test_bad_options_are_refused_in_one_line(graph: str, options: list[str], message: str, capsys) -> None:
    assert main(["solve", graph, *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.count("\n") == 1


def test_bad_files_are_refused_in_one_line(tmp_path: Path, capsys) -> None:
    broken = tmp_path / "broken"
    broken.write_text("3 1\n0 1 1\n")
    assert main(["solve", str(broken)]) == 2
    assert "line 2: vertex must be from 1 to 3; found 0" in capsys.readouterr().err
    assert main(["solve", str(tmp_path / "absent")]) == 2
    assert "absent" in capsys.readouterr().err


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["sdplib/mcp124-1.dat-s", "gset/G1", "gset/G51"])
def test_real_files_agree_with_the_known_optima(shared_data: Path, name: str, capsys) -> None:
    optima = json.loads((shared_data / "optima.json").read_text())
    key = Path(name).name.removesuffix(".dat-s")
    expected = optima[key]["value"] if key in optima else 141.9905
    assert main(["solve", str(shared_data / name), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["value"] == pytest.approx(expected, rel=2e-6)
    assert report["upper_bound"] >= expected * (1 - 1e-6)
    assert report["rounded_value"] <= report["upper_bound"]


QUBO = "3 3\n1 2 -1\n2 3 -1\n1 3 2\n"


def test_a_form_without_diagonal_is_not_certified_as_a_cut(tmp_path: Path, capsys) -> None:
    """Its minimum over {0, 1} is -2; as the weights of a graph it has cuts of 1."""
    path = tmp_path / "form.sparse"
    path.write_text(QUBO)
    assert main(["solve", str(path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["format"] == "biqmac"
    assert report["rounded_value"] == -2.0
    assert report["lower_bound"] <= -2.0
    assert main(["solve", str(path), "--format", "rudy", "--json"]) == 0
    forced = json.loads(capsys.readouterr().out)
    assert (forced["format"], forced["rounded_value"]) == ("rudy", 1.0)


def test_a_maximised_form_is_reported_as_its_file_states_it(tmp_path: Path, capsys) -> None:
    path = tmp_path / "two.bqp"
    path.write_text("2\n1 1\n1 1 5\n3 3\n1 1 5\n2 2 3\n1 2 -6\n")
    assert main(["solve", f"{path}:2", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["rounded_value"] == 5.0
    assert report["upper_bound"] >= 5.0
    assert "lower_bound" not in report


def test_isolated_vertices_cost_next_to_nothing(tmp_path: Path, capsys) -> None:
    """Eleven bytes must not ask for gigabytes: rows as wide as the largest component needs."""
    path = tmp_path / "empty.rud"
    path.write_text("300000 1\n7 9 3")
    assert main(["solve", str(path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["rounded_value"], report["rank"]) == (3.0, 2)


def test_running_out_of_memory_is_one_clear_line(graph: str, capsys, monkeypatch) -> None:
    def too_much(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 24.4 GiB")

    monkeypatch.setattr("vispa.commands.solve._solve", too_much)
    assert main(["solve", graph]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "vispa solve: not enough memory (Unable to allocate 24.4 GiB)\n"


def test_a_dash_is_standard_input(graph: str) -> None:
    command = [sys.executable, "-m", "vispa", "solve", "-", "--json"]
    text = Path(graph).read_bytes()
    found = subprocess.run(
        command, input=text, capture_output=True, check=True, cwd=Path(vispa.__file__).parents[1]
    )
    assert json.loads(found.stdout)["file"] == "-"
    assert json.loads(found.stdout)["certified"]
