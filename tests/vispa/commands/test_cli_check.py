"""`vispa check` as people script against it: text, JSON, exit status."""

from __future__ import annotations

import json

import pytest

from vispa.cli import main
from vispa.gaussian.sign_gaussian import SignGaussian


def test_text_goes_to_standard_output_and_status_is_zero(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--only", "G4"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("G4   holds")
    assert "falsified by" in out


def test_json_is_one_object_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--only", "gauge", "--only", "V2", "--seed", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["claims"]) == ["G1", "G2", "G3", "G4", "G5", "V2"]
    assert found["seed"] == 3


def test_a_failed_claim_gives_status_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SignGaussian, "elliptope", lambda self: self.latent_covariance())
    assert main(["check", "--only", "G4", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["passed"] is False
    assert found["claims"]["G4"]["verdict"] == "fails"


@pytest.mark.parametrize("arguments", [["--only", "G99"], ["--seed", "-1"]])
def test_bad_input_is_one_line_and_status_two(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.strip().splitlines()) == 1
