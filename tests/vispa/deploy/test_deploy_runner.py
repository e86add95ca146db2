"""Packed models run as loops where nobody looks, as operators where somebody does, and never on old numbers."""

import pickle
from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.flop_counter import FlopCounterMode

import vispa
from tests.vispa.deploy.kernels_here import KERNELS_HERE
from vispa.deploy.layers import PackedConv2d
from vispa.deploy.packed_model import PackedModel
from vispa.deploy.results import Results


def binary(layer):
    """The layer with a weight of one absolute value a channel."""
    layer.weight.data = torch.where(layer.weight.data >= 0, 0.5, -0.5)
    return layer


def network(seed=0):
    """A real stem, which loops take as well, and two binary layers."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), vispa.SignActivation(),
        binary(nn.Conv2d(32, 32, 3, padding=1, bias=False)), nn.BatchNorm2d(32), vispa.SignActivation(),
        binary(nn.Conv2d(32, 8, 1, bias=False)), nn.BatchNorm2d(8),
    )  # fmt: skip
    with torch.no_grad():
        model.train()(torch.randn(8, 3, 6, 6))
        for module in model:
            if isinstance(module, nn.BatchNorm2d):
                module.bias.normal_(std=0.3)
    return model.eval()


INPUTS = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(5))


def test_a_tracer_of_tensors_sees_operators():
    packed = vispa.pack(network())
    graph = make_fx(packed)(INPUTS)
    assert any("packed_to_floats" in str(node.target) for node in graph.graph.nodes)
    assert torch.equal(graph(-INPUTS), packed(-INPUTS))


@pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_traced_by_torchs_older_tracer():
    packed = vispa.pack(network())
    with torch.no_grad():
        traced = torch.jit.trace(packed, INPUTS, check_trace=False)
    torch.testing.assert_close(traced(-INPUTS), packed(-INPUTS))


@pytest.mark.filterwarnings("ignore:.*batching rule")
def test_mapped_over_an_axis():
    packed = vispa.pack(network())
    many = torch.stack([INPUTS, -INPUTS, 2.0 * INPUTS])
    found = torch.vmap(packed)(many)
    for one, inputs in zip(found, many, strict=True):
        torch.testing.assert_close(one, packed(inputs))


def test_counters_of_operations_see_the_real_layers():
    packed = vispa.pack(network())
    with FlopCounterMode(display=False) as counter:
        packed(INPUTS)
    assert counter.get_total_flops() == 2 * 2 * 36 * 27 * 32


@pytest.mark.parametrize("assign", [False, True])
def test_loaded_numbers_are_used_from_then_on(assign):
    packed, other = vispa.pack(network(0)), vispa.pack(network(1))
    before, expected = packed(INPUTS), other(INPUTS)
    assert not torch.equal(before, expected)
    packed.load_state_dict(deepcopy(other.state_dict()), assign=assign)
    assert torch.equal(packed(INPUTS), expected)


def test_loaded_into_a_model_around_it():
    around, other = nn.Sequential(vispa.pack(network(0))), nn.Sequential(vispa.pack(network(1)))
    around(INPUTS)
    around.load_state_dict(other.state_dict())
    assert torch.equal(around(INPUTS), other(INPUTS))


def test_called_with_the_numbers_of_another_model():
    packed, other = vispa.pack(network(0)), vispa.pack(network(1))
    before = packed(INPUTS)
    state = {**dict(other.named_parameters()), **dict(other.named_buffers())}
    assert torch.equal(torch.func.functional_call(packed, state, (INPUTS,)), other(INPUTS))
    assert torch.equal(packed(INPUTS), before)


def test_buffers_that_are_replaced_are_used():
    packed, other = vispa.pack(network(0)), vispa.pack(network(1))
    packed(INPUTS)
    for mine, theirs in zip(packed.modules(), other.modules(), strict=True):
        for name, values in [*theirs.named_parameters(recurse=False), *theirs.named_buffers(recurse=False)]:
            setattr(mine, name, values)
    assert torch.equal(packed(INPUTS), other(INPUTS))


@pytest.mark.parametrize("linear", [False, True])
def test_default_device_and_dtype_are_not_asked(linear):
    model, inputs = network(), INPUTS
    if linear:
        model = nn.Sequential(vispa.SignActivation(), binary(nn.Linear(40, 32)), binary(nn.Linear(32, 8)))
        inputs = INPUTS.reshape(-1)[:80].view(2, 40)
    expected = vispa.pack(model, real_inputs=True)(inputs)
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    try:
        packed = vispa.pack(model, real_inputs=True)
        found = packed(inputs)
        layer_by_layer = packed.network(inputs)
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
    assert torch.equal(found, expected)
    assert torch.equal(layer_by_layer, expected)


def test_what_is_kept_of_a_result_is_never_written_again():
    packed = vispa.pack(network())
    assert isinstance(packed, PackedModel)
    inputs = [INPUTS * factor for factor in (1.0, -1.0, 0.5, 3.0)]
    expected = [packed(each).clone() for each in inputs]
    views = [
        packed(inputs[0]),
        packed(inputs[1])[1],
        packed(inputs[2]).numpy()[0],
        packed(inputs[3]).detach(),
    ]
    for _ in range(3):
        packed(-7.0 * INPUTS)
    assert torch.equal(views[0], expected[0])
    assert torch.equal(views[1], expected[1][1])
    assert torch.equal(torch.from_numpy(views[2]), expected[2][0])
    assert torch.equal(views[3], expected[3])


def test_memory_of_results_that_nobody_has_is_used_again():
    results = Results((5, 3), "float32")
    first, array = results()
    place = first.data_ptr()
    assert place % 64 == 0
    assert array.ctypes.data == place
    second, _ = results()
    assert second.data_ptr() != place
    place = second.data_ptr()
    rest = second[1:]
    del second
    third, _ = results()
    assert third.data_ptr() != place
    place = third.data_ptr()
    del rest, third, _
    assert results()[0].data_ptr() == place


def test_results_without_entries():
    tensor, array = Results((0, 3), "float32")()
    assert tensor.shape == array.shape == (0, 3)


def test_exact_leaves_real_numbers_to_torch(monkeypatch):
    model = network()
    by_loops = vispa.pack(model)(INPUTS)
    exact = vispa.pack(model, exact=True)
    monkeypatch.setattr("vispa.deploy.between.Between.loop", None)
    assert torch.equal(exact(INPUTS), by_loops)
    assert torch.equal(deepcopy(exact)(INPUTS), exact.network(INPUTS))
    with pytest.raises(ValueError, match="exact must be False where real_inputs=True"):
        vispa.pack(model, exact=True, real_inputs=True)
    with pytest.raises(TypeError, match="exact must be True or False"):
        vispa.pack(model, exact="yes")


@pytest.mark.parametrize("kernel", KERNELS_HERE)
def test_a_model_from_another_processor_takes_what_there_is_here(kernel, monkeypatch):
    packed = vispa.pack(network(), kernel=kernel)
    expected, written = packed(INPUTS), pickle.dumps(packed)
    monkeypatch.setattr("vispa.deploy.layers.runs_here", lambda name: name in ("vector", "portable"))
    found = pickle.loads(written)
    kernels = {layer.kernel for layer in found.modules() if isinstance(layer, PackedConv2d)}
    assert kernels == {{"tile": "vector", "table": "portable"}.get(kernel, kernel)}
    assert torch.equal(found(INPUTS), expected)
