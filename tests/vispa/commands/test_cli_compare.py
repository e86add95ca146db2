"""`vispa compare`: tables, JSON, files, resumption, exit statuses."""

import json

import pytest

from vispa.cli import main

WORDS = [
    "compare", "--method", "ste", "float", "--model", "multilayer", "--train-size", "60", "--epochs", "1",
    "--seeds", "2", "--trials", "1",
]  # fmt: skip


def test_it_stops_goes_on_and_reports(capsys, tmp_path):
    path = tmp_path / "found.json"
    words = [*WORDS, "--output", str(path)]
    assert main([*words, "--max-seconds", "0"]) == 1
    assert "trials are missing" in capsys.readouterr().out
    assert main([*words, "--curves", str(tmp_path / "curves.png")]) == 0
    captured = capsys.readouterr()
    assert "| ste |" in captured.out
    assert captured.out in (tmp_path / "found.md").read_text()
    assert (tmp_path / "curves.png").exists()
    assert main([*words, "--max-seconds", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(path.read_text())


def test_bad_words_are_told(capsys, tmp_path):
    path = tmp_path / "found.json"
    assert main([*WORDS, "--output", str(path), "--reference", "bop"]) == 2
    assert "reference" in capsys.readouterr().err
    path.write_text("nothing")
    assert main([*WORDS, "--output", str(path)]) == 2
    assert "no comparison" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(WORDS)
