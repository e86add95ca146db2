"""Binary weights with float inputs: sums of floats, in one order or another."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import vispa
from vispa.deploy.real_layer import PackedRealLinear
from vispa.deploy.real_products import real_kernels

KERNELS = real_kernels(24)
# Bits that kernels keep.
BITS = {"tables": 29, "short tables": 13, "shuffles": 25, "short shuffles": 13}
TABLES = [kernel for kernel in KERNELS + real_kernels(13) if kernel in BITS]


@pytest.mark.parametrize("kernel", KERNELS)
@settings(max_examples=60)
@given(
    rows=st.integers(0, 5),
    inputs=st.integers(1, 200),
    outputs=st.integers(1, 100),
    bias=st.booleans(),
    scale=st.sampled_from([1e-30, 1.0, 1e30]),
    seed=st.integers(0, 2**31),
)
def test_products_are_those_of_double_precision(kernel, rows, inputs, outputs, bias, scale, seed):
    rng = np.random.default_rng(seed)
    layer = nn.Linear(inputs, outputs, bias=bias)
    alpha = rng.random((outputs, 1)) * (rng.random((outputs, 1)) > 0.1)
    layer.weight.data = torch.tensor(alpha * rng.choice([-1.0, 1.0], (outputs, inputs)), dtype=torch.float32)
    values = torch.tensor(rng.standard_normal((rows, inputs)) * scale, dtype=torch.float32)
    packed = PackedRealLinear(layer)
    packed.kernel = kernel
    expected = values.double() @ layer.weight.data.double().T
    if bias:
        expected = expected + layer.bias.data.double()
    # a sum of n terms is within n units of rounding of the sum of their sizes
    bound = (values.double().abs() @ layer.weight.data.double().abs().T + 1e-45) * (inputs + 4) * 2**-24
    if bias:
        bound = bound + layer.bias.data.double().abs() * 2**-22
    with torch.no_grad():
        assert ((packed(values).double() - expected).abs() <= bound).all()


def test_whole_numbers_are_exact_and_nan_is_seen():
    layer = nn.Linear(70, 33, bias=False)
    layer.weight.data = torch.randn(33, 70).sign()
    values = torch.randint(-9, 9, (2, 3, 70)).float()
    assert torch.equal(PackedRealLinear(layer)(values), layer(values).detach())
    values[0, 0, 69] = float("nan")
    found = PackedRealLinear(layer)(values)
    assert found[0, 0].isnan().all()
    assert not found[0, 1:].isnan().any()


@pytest.mark.skipif(not TABLES, reason="tables need AVX2")
@pytest.mark.parametrize("kernel", TABLES)
@settings(max_examples=40)
@given(
    rows=st.integers(1, 9),
    inputs=st.integers(1, 200),
    outputs=st.integers(1, 70),
    spread=st.sampled_from([0.0, 1.0, 20.0]),
    size=st.sampled_from([-140.0, 0.0, 110.0]),
    strange=st.booleans(),
    full=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_tables_are_sums_of_whole_numbers(kernel, rows, inputs, outputs, spread, size, strange, full, seed):
    rng = np.random.default_rng(seed)
    signs = rng.choice([-1.0, 1.0], (outputs, inputs))
    values = rng.standard_normal((rows, inputs)) * 2.0 ** (
        size + spread * rng.standard_normal((rows, inputs))
    )
    values = values.clip(-1e38 / inputs, 1e38 / inputs).astype(np.float32)
    if full:
        # four of a table that are as large as they can be, just below a power of two
        values[:, :4] = np.nextafter(np.float32(2.0), np.float32(0.0))
    if strange:
        values[rng.integers(rows), rng.integers(inputs)] = rng.choice([np.nan, np.inf, -np.inf])
    layer = nn.Linear(inputs, outputs, bias=False)
    layer.weight.data = torch.from_numpy(signs).float()
    packed, bits = PackedRealLinear(layer), BITS[kernel]
    packed.kernel = kernel
    found = packed(torch.from_numpy(values)).numpy()
    finite = np.isfinite(values).all(axis=1)
    largest = np.abs(values[finite]).max(axis=1, keepdims=True, initial=0.0).astype(float)
    factor = 2.0 ** (bits - np.frexp(largest)[1].astype(float))
    factor[np.rint(largest * factor) == 2.0**bits] /= 2.0
    whole = np.rint(values[finite].astype(float) * factor).astype(np.int64) @ signs.T.astype(np.int64)
    assert (found[finite] == (whole / factor).astype(np.float32)).all()
    with np.errstate(invalid="ignore"):
        others = (values[~finite] @ signs.T.astype(np.float32)).astype(np.float32)
    assert np.array_equal(found[~finite], others, equal_nan=True)


class Gate(nn.Module):
    """A feed-forward block as language models have it, one of whose layers stays real."""

    def __init__(self):
        super().__init__()
        self.up, self.gate, self.down = nn.Linear(48, 64), nn.Linear(48, 64), nn.Linear(64, 48)
        self.head = nn.Linear(48, 5)

    def forward(self, inputs):
        hidden = nn.functional.silu(self.gate(inputs)) * self.up(inputs)
        return self.head(inputs + self.down(hidden))


def test_a_model_is_packed_on_request():
    torch.manual_seed(0)
    model = vispa.harden(vispa.binarize(Gate(), rank=1, keep=("head",))).eval()
    with pytest.raises(ValueError, match="real_inputs=True"):
        vispa.pack(model)
    packed = vispa.pack(model, real_inputs=True)
    kinds = {record.name: record.kind for record in vispa.packing(packed)}
    assert kinds == dict.fromkeys(("up", "gate", "down"), "floats to floats") | {"head": "float32"}
    for record in vispa.packing(packed)[:3]:
        assert isinstance(packed.get_submodule(record.packed), PackedRealLinear)
    inputs = torch.randn(3, 7, 48)
    with torch.no_grad():
        torch.testing.assert_close(packed(inputs), model(inputs), rtol=1e-4, atol=1e-5)
        exported = torch.export.export(packed, (inputs,))
        torch.testing.assert_close(exported.module()(inputs), packed(inputs))
    alone = vispa.pack(model.up, real_inputs=True)
    assert isinstance(alone, PackedRealLinear)
    assert vispa.packing(alone)[0].kind == "floats to floats"


def test_other_layers_and_inputs_are_refused():
    with pytest.raises(ValueError, match="one absolute value"):
        PackedRealLinear(nn.Linear(3, 3))
    layer = nn.Linear(40, 3)
    layer.weight.data = torch.ones(3, 40)
    with pytest.raises(TypeError, match="float32 rows"):
        PackedRealLinear(layer)(torch.ones(2, 40).double())
    # 33 inputs have as many words as 40
    for inputs in (70, 33, 0):
        with pytest.raises(ValueError, match=r"inputs must be \(\.\.\., 40\)"):
            PackedRealLinear(layer)(torch.ones(2, inputs))


@pytest.mark.parametrize("kernel", real_kernels(13))
def test_thirteen_bits_are_near(kernel):
    torch.manual_seed(0)
    layer = nn.Linear(4096, 96)
    layer.weight.data = torch.where(layer.weight.data >= 0, 0.02, -0.02)
    inputs = torch.randn(5, 4096)
    expected = layer(inputs).detach()
    packed = PackedRealLinear(layer, activation_bits=13)
    assert packed.kernel == real_kernels(13)[0]
    packed.kernel = kernel
    found = packed(inputs)
    assert (found - expected).abs().max() <= 5e-4 * expected.abs().max()
    # whole numbers that thirteen bits hold are exact
    whole = torch.randint(-8191, 8192, (3, 4096)).float()
    layer.weight.data.sign_()
    layer.bias = None
    exact = whole.double() @ layer.weight.double().T
    packed = PackedRealLinear(layer, activation_bits=13)
    packed.kernel = kernel
    assert torch.equal(packed(whole).double(), exact)


def test_bits_that_are_not_there_are_refused():
    layer = nn.Linear(8, 3)
    layer.weight.data = torch.ones(3, 8)
    for bits in (8, 0, True, "13"):
        with pytest.raises(ValueError, match="activation_bits must be 24 or 13"):
            PackedRealLinear(layer, activation_bits=bits)
        with pytest.raises(ValueError, match="activation_bits must be 24 or 13"):
            vispa.pack(layer, real_inputs=True, activation_bits=bits)
    with pytest.raises(ValueError, match="real_inputs=True"):
        vispa.pack(nn.Sequential(vispa.SignActivation(), layer), activation_bits=13)
    short = vispa.pack(layer, real_inputs=True, activation_bits=13)
    assert short.kernel == real_kernels(13)[0]


def test_a_layer_is_copied_loaded_and_called_from_threads():
    torch.manual_seed(0)
    layers = []
    for _ in range(2):
        layer = nn.Linear(96, 40)
        layer.weight.data = torch.where(layer.weight.data >= 0, 0.5, -0.5)
        layers.append(PackedRealLinear(layer))
    first, second = layers
    inputs = [torch.randn(rows, 96) for rows in (1, 3, 9, 2)]
    expected = [second(each) for each in inputs]
    with ThreadPoolExecutor(2) as threads:
        assert all(map(torch.equal, threads.map(second, inputs * 5), expected * 5))
    copies = [deepcopy(second), pickle.loads(pickle.dumps(second))]
    first(inputs[0])
    first.load_state_dict(second.state_dict())
    replaced = deepcopy(layers[0])
    replaced.load_state_dict({name: -values for name, values in second.state_dict().items()}, assign=True)
    for layer in (first, *copies):
        assert all(torch.equal(layer(each), right) for each, right in zip(inputs, expected, strict=True))
    assert not torch.equal(replaced(inputs[0]), expected[0])
    mapped = torch.vmap(second)(inputs[2])
    assert torch.equal(mapped, expected[2])


@pytest.mark.parametrize("bits", [24, 13])
def test_a_layer_from_another_processor_takes_what_there_is_here(bits, monkeypatch):
    layer = nn.Linear(70, 40)
    layer.weight.data = torch.where(layer.weight.data >= 0, 0.5, -0.5)
    inputs = torch.randn(3, 70)
    expected = layer(inputs).detach()
    packed = PackedRealLinear(layer, activation_bits=bits)
    assert packed.kernel == real_kernels(bits)[0]
    for missing in ("looks_up_bytes", "has"):
        monkeypatch.setattr(f"vispa.deploy.real_products.{missing}", lambda *names: False)
        used = pickle.loads(pickle.dumps(packed))
        torch.testing.assert_close(used(inputs), expected, atol=5e-3, rtol=0.0)
        name = "shuffles" if any("shuffles" in kernel for kernel in real_kernels(bits)) else "signs"
        assert used._products.multiply.__name__ == f"real_by_{name}"
