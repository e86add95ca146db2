"""`vispa deploy`: what became of each layer, sizes, times."""

import json

import pytest

from vispa.cli import main

NETWORK = "resnet18-1w1a"


def test_a_network_is_packed_written_and_timed(tmp_path, capsys):
    path = tmp_path / "packed.safetensors"
    assert main(["deploy", NETWORK, "--shape", "3,8,8", "--output", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["file_bytes"] == path.stat().st_size
    assert found["float_bytes"] > 29 * found["file_bytes"]
    assert found["float_bytes"] > 20 * found["packed_bytes"]
    assert [layer["kernel"] == "torch" for layer in found["layers"]] == [True, *[False] * 16, True]
    timed = [
        "deploy",
        str(path),
        "--benchmark",
        "--shape",
        "3,8,8",
        "--repeats",
        "1",
        "--batch",
        "2",
        "--json",
    ]
    assert main(timed) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["predictions_that_differ"] == 0
    assert found["speedup"] == pytest.approx(found["float_seconds"] / found["packed_seconds"])
    assert all(layer["packed_seconds"] > 0 for layer in found["layers"] if layer["packed"])


def test_people_read_a_table(tmp_path, capsys):
    assert main(["deploy", NETWORK, "--shape", "3,8,8", "--benchmark", "--repeats", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        "layer",
        "runs",
        "as",
        "kernel",
        "weights",
        "float",
        "us",
        "packed",
        "us",
        "times",
    ]
    assert "its inputs are not signs" in lines[1]
    assert "times faster; 0 predictions differ" in lines[-1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "MODEL must be a packed file or one of"),
        ([NETWORK, "--shape", "3,x"], "--shape must be positive integers"),
        ([NETWORK, "--kernel", "fast"], "kernel must be one of"),
        ([NETWORK, "--shape", "3,8,8", "--benchmark", "--batch", "0"], "--batch must be at least 1"),
    ],
)
def test_bad_words_are_refused(words, message, capsys):
    assert main(["deploy", *words]) == 2
    assert message in capsys.readouterr().err
