"""A hardened network leaves this library: torch.export, ONNX, pickles, state dicts."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

import vispa

WITHOUT_VISPA = """
import sys

sys.modules.update(dict.fromkeys(("vispa", "solvers", "theory_checks")))  # None: importing any of them fails
import torch

folder = sys.argv[1]
inputs, expected = torch.load(f"{folder}/pair.pt", weights_only=True)
pickled = torch.load(f"{folder}/whole.pt", weights_only=False)
exported = torch.export.load(f"{folder}/exported.pt2").module()
for network in (pickled, exported):
    with torch.no_grad():
        torch.testing.assert_close(network(inputs), expected)
"""


class Block(nn.Module):
    """A residual block with binary activations, as networks with one bit everywhere have."""

    def __init__(self) -> None:
        super().__init__()
        self.sign = vispa.SignActivation("tanh", one_padding=1)
        self.convolution = nn.Conv2d(6, 6, 3)
        self.norm = nn.BatchNorm2d(6)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.hardtanh(inputs + self.norm(self.convolution(self.sign(inputs))))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    sign = vispa.SignActivation()
    layers = [
        nn.Conv2d(1, 6, 3, padding=1),
        Block(),
        nn.ConvTranspose2d(6, 4, 2, stride=2),
        sign,
        nn.Flatten(),
        nn.Linear(4 * 8 * 8, 10),
        sign,
        nn.Linear(10, 3),
    ]
    model = vispa.binarize(nn.Sequential(*layers), rank=2)
    model(torch.randn(16, 1, 4, 4))
    return model.eval()


INPUTS = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(1))


def every_module(plain: nn.Module) -> set[str]:
    return {type(module).__module__.partition(".")[0] for module in plain.modules()}


def test_a_hardened_network_loads_where_vispa_is_not_installed(tmp_path):
    model = network()
    # The block is a class of this file: only torch's own classes can be pickled whole.
    plain = vispa.harden(nn.Sequential(model[0], *model[2:]))
    whole = vispa.harden(model)
    assert every_module(plain) == {"torch"}
    with torch.no_grad():
        expected = plain(INPUTS)
        torch.testing.assert_close(whole(INPUTS), model(INPUTS))
    torch.save(plain, tmp_path / "whole.pt")
    torch.save((INPUTS, expected), tmp_path / "pair.pt")
    torch.export.save(torch.export.export(plain, (INPUTS,)), tmp_path / "exported.pt2")
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_VISPA, str(tmp_path)], capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr


def test_exported_networks_equal_evaluation():
    model = network()
    exported = torch.export.export(vispa.harden(model), (INPUTS,)).module()
    with torch.no_grad():
        assert torch.equal(exported(INPUTS), vispa.harden(model)(INPUTS))
        torch.testing.assert_close(exported(INPUTS), model(INPUTS))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_onnx_equals_evaluation(tmp_path):
    reason = "exports to ONNX need the extra `export`: onnx and onnxscript"
    onnx = pytest.importorskip("onnx", reason=reason)
    pytest.importorskip("onnxscript", reason=reason)
    from onnx.reference import ReferenceEvaluator

    model = network()
    torch.onnx.export(vispa.harden(model), (INPUTS,), tmp_path / "network.onnx", dynamo=True, verbose=False)
    exported = onnx.load(tmp_path / "network.onnx")
    onnx.checker.check_model(exported)
    evaluator = ReferenceEvaluator(exported)
    (output,) = evaluator.run(None, {exported.graph.input[0].name: INPUTS.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(output), model(INPUTS), rtol=1e-4, atol=1e-5)


def test_safetensors_round_trip(tmp_path):
    formats = pytest.importorskip("safetensors.torch", reason="needs the package safetensors")
    model = network()
    formats.save_file(model.state_dict(), tmp_path / "binary.safetensors")
    other = network()
    with torch.no_grad():
        for values in other.parameters():
            values.add_(1.0)
    other.load_state_dict(formats.load_file(tmp_path / "binary.safetensors"))
    assert torch.equal(other(INPUTS), model(INPUTS))
    plain = vispa.harden(model)
    formats.save_model(plain, tmp_path / "plain.safetensors")
    again = copy.deepcopy(plain)
    with torch.no_grad():
        for values in again.parameters():
            values.zero_()
    formats.load_model(again, tmp_path / "plain.safetensors")
    assert torch.equal(again(INPUTS), plain(INPUTS))


def test_activations_with_one_module_in_two_places_stay_one():
    plain = vispa.harden(network())
    assert plain[3] is plain[6]
    assert type(plain[3]).__name__ == "Sign"
    assert not any(isinstance(module, vispa.SignActivation) for module in plain.modules())
