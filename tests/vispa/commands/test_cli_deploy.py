"""`vispa deploy`: what became of each layer, sizes, times."""

import json

import pytest
import torch

import vispa
from vispa.cli import main
from vispa.deploy.agreement import agreement

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
    assert all(layer["int8_seconds"] > 0 for layer in found["layers"])
    assert found["int8_seconds"] > 0


def test_a_trained_network_classifies_digits_as_well_packed(tmp_path, capsys):
    path = tmp_path / "packed.safetensors"
    # images are standardised by those of training, so that their number matters
    data = ["--dataset", "digits", "--train-size", "900"]
    words = ["deploy", "convolutional:16", *data, "--json"]
    assert main([*words, "--epochs", "3", "--output", str(path)]) == 0
    found = json.loads(capsys.readouterr().out)["test"]
    assert found["images"] == 359
    assert found["differing"] == 0
    assert found["hardened"] == found["packed"] > 0.3
    assert main(["deploy", str(path), *data, "--benchmark", "--repeats", "1"]) == 0
    out = capsys.readouterr().out
    assert f"packed {found['packed']:.2%}; 0 predictions differ\n" in out
    assert "a batch of 1 on 1 thread(s)" in out
    assert "int8, with ReLU for signs" in out


def test_predictions_that_differ_are_counted_and_told_of():
    class Logits(torch.nn.Module):
        def __init__(self, rounding):
            super().__init__()
            self.rounding = rounding

        def forward(self, inputs):
            # a number near one half is seen on the wrong side of it in float32 alone
            wrong = self.rounding if inputs.dtype == torch.float32 else 0.0
            return torch.stack([inputs[:, 0] + wrong, 1.0 - inputs[:, 0]], dim=1)

    inputs = torch.tensor([[0.1], [0.499], [0.9], [0.45]])
    labels = torch.tensor([1, 1, 0, 0])
    found = agreement(Logits(0.01), Logits(0.0), [(inputs[:2], labels[:2]), (inputs[2:], labels[2:])])
    assert (found.images, found.hardened, found.packed) == (4, 0.5, 0.75)
    assert (found.differing, found.exact_as_packed) == (1, 1)
    with pytest.raises(ValueError, match="labels must be below 2"):
        agreement(Logits(0.0), Logits(0.0), [(inputs, labels + 1)])
    with pytest.raises(ValueError, match="must hold images"):
        agreement(Logits(0.0), Logits(0.0), [])


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
        "int8",
        "us",
        "packed",
        "us",
        "times",
    ]
    assert "its inputs are not signs" in lines[1]
    assert "times faster; 0 predictions differ" in lines[-2]
    assert lines[-1].startswith("int8, with ReLU for signs: ")
    assert lines[-1].endswith(" times faster")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "MODEL must be a packed file or one of"),
        ([NETWORK, "--shape", "3,x"], "--shape must be positive integers"),
        ([NETWORK, "--dataset", "nowhere"], "dataset must be 'digits'"),
        ([NETWORK, "--epochs", "3"], "--epochs trains a named network on a --dataset"),
        ([NETWORK, "--kernel", "fast"], "kernel must be one of"),
        ([NETWORK, "--shape", "3,8,8", "--benchmark", "--batch", "0"], "--batch must be at least 1"),
    ],
)
def test_bad_words_are_refused(words, message, capsys):
    assert main(["deploy", *words]) == 2
    assert message in capsys.readouterr().err


@pytest.fixture(scope="module")
def file_of_images(tmp_path_factory):
    path = tmp_path_factory.mktemp("deploy") / "images"
    layers = [
        torch.nn.Conv2d(3, 32, 3),
        vispa.SignActivation(),
        torch.nn.Conv2d(32, 5, 1),
        torch.nn.Flatten(),
    ]
    vispa.save_packed(vispa.binarize(torch.nn.Sequential(*layers), rank=1, keep=()), path)
    return str(path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--benchmark", "--shape", "4,9,9"],
            "--shape must be of an input that MODEL takes; found (4, 9, 9)",
        ),
        (["--benchmark", "--shape", "3"], "--shape must be of an input that MODEL takes; found (3,)"),
        (
            ["--benchmark", "--shape", "3,2,2"],
            "--shape must be of an input that MODEL takes; found (3, 2, 2)",
        ),
        (["--dataset", "digits"], "--dataset must be of images that MODEL takes; found (1, 8, 8)"),
        (["--seed", "-1"], "--seed must be at least 0; found -1"),
        (["--seed", str(2**70)], "--seed must be at least 0 and at most"),
    ],
)
def test_inputs_that_the_model_does_not_take_are_refused(file_of_images, words, message, capsys):
    assert main(["deploy", file_of_images, *words]) == 2
    assert message in capsys.readouterr().err


def test_layers_of_float_inputs_are_packed_on_request(tmp_path, capsys):
    path = str(tmp_path / "rows")
    layers = [torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 8)]
    vispa.save_packed(vispa.binarize(torch.nn.Sequential(*layers), rank=1, keep=("first",)), path)
    assert main(["deploy", path]) == 2
    assert "Pass --real-inputs" in capsys.readouterr().err
    assert (
        main(["deploy", path, "--real-inputs", "--benchmark", "--shape", "8", "--repeats", "1", "--json"])
        == 0
    )
    layers = json.loads(capsys.readouterr().out)["layers"]
    assert [layer["kind"] for layer in layers] == ["float32", "floats to floats"]
