"""Packed layers off the processor: by torch on any device, by Triton interpreted, compiled, and run on CUDA."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import vispa
from tests.vispa.deploy import device_laws as laws
from vispa.deploy import pack as packing_module
from vispa.deploy.bits import PackSigns, PoolBits
from vispa.deploy.devices import operators, unpacked
from vispa.deploy.layers import PackedConv2d
from vispa.deploy.layout import best_kernel, kernel_on, why_unpacked
from vispa.deploy.real_layer import PackedRealLinear

ROOT = Path(__file__).resolve().parents[3]
needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is not installed"
)


@settings(max_examples=60)
@given(**laws.LAYERS)
def test_unpacked_layers_are_those_of_the_processor(**drawn):
    laws.a_layer_is_that_of_the_processor("unpacked", **drawn)


@settings(max_examples=20)
@given(**laws.ROWS)
def test_unpacked_rows_are_those_of_the_processor(**drawn):
    laws.rows_are_those_of_the_processor("unpacked", **drawn)
    laws.floats_by_signs_are_sums("unpacked", **drawn)


@settings(max_examples=20)
@given(
    shape=st.tuples(st.integers(0, 3), st.integers(1, 70), st.integers(1, 4), st.integers(1, 4)),
    last=st.booleans(),
    seed=st.integers(0, 999),
)
def test_signs_are_packed_by_torch(shape, last, seed):
    laws.signs_are_packed(unpacked, shape, last, seed)


@given(
    size=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    ceil=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_bits_are_pooled_by_torch(size, stride, padding, ceil, seed):
    generator = torch.Generator().manual_seed(seed)
    pool = nn.MaxPool2d(size, stride, min(padding, size // 2), ceil_mode=ceil)
    bits = PackSigns()(torch.randn(2, 40, 9, 7, generator=generator))
    flips = torch.randint(-(2**31), 2**31 - 1, (2,), generator=generator).int()
    module = PoolBits(pool, flips)
    assert torch.equal(operators.pool_bits(bits, flips, module.window, ceil), module(bits))


def test_what_an_operator_cannot_take_is_refused():
    for values, message in (
        (torch.ones(2, 3), "channels, height, width"),
        (torch.ones(1, 1, 1, 1).double(), ""),
    ):
        with pytest.raises((ValueError, TypeError), match=message or "float32"):
            operators.pack_signs(values, False)
    layer = nn.Conv2d(4, 4, 5)
    layer.weight.data = torch.ones_like(layer.weight)
    packed = PackedConv2d(layer, kernel="portable")
    bits = torch.zeros(1, 4, 9, 1, dtype=torch.int32)
    with pytest.raises(ValueError, match="as large as the window"):
        operators.packed_sums(bits, packed.words, 4, packed.window.flat(), "unpacked")
    with pytest.raises(TypeError, match="float32 rows"):
        operators.real_linear(
            torch.ones(1, 70), torch.zeros(1, 2, 32), torch.ones(3), torch.ones(3), "unpacked"
        )


def test_a_device_without_a_kernel_says_so(monkeypatch):
    assert kernel_on(torch.device("cpu"), "table") == "table"
    assert kernel_on(torch.device("mps"), "table") == "unpacked"
    assert "cpu" in why_unpacked(torch.device("mps"))
    monkeypatch.setitem(sys.modules, "triton", None)
    assert kernel_on(torch.device("cuda"), "table") == "unpacked"
    assert "pip install triton" in why_unpacked(torch.device("cuda"))


@pytest.mark.parametrize("name", operators.__all__)
@pytest.mark.parametrize("device", ["CPU", "CUDA", "MPS", "XPU"])
def test_every_device_has_every_operator(name, device):
    assert torch._C._dispatch_has_kernel_for_dispatch_key(f"vispa::{name}", device)


def two_layers(kernel="auto"):
    torch.manual_seed(0)
    layers = [vispa.SignActivation(), nn.Conv2d(40, 64, 3, padding=1), nn.BatchNorm2d(64),
              vispa.SignActivation(), nn.MaxPool2d(2), nn.Conv2d(64, 33, 3, padding=1), nn.Flatten(1),
              nn.Linear(33 * 16, 7)]  # fmt: skip
    model = vispa.harden(vispa.binarize(nn.Sequential(*layers), rank=1, keep=())).eval()
    return model, vispa.pack(model, kernel=kernel, real_inputs=True)


@pytest.mark.skipif(best_kernel() == "portable", reason="the table kernel needs AVX2")
def test_weights_change_their_order_with_the_device(monkeypatch):
    """A device is played by the processor, which cannot tell its tensors from another's."""
    _, packed = two_layers("table")
    inputs = torch.randn(2, 40, 8, 8)
    expected = packed(inputs)
    for module in (
        packing_module,
        sys.modules["vispa.deploy.layers"],
        sys.modules["vispa.deploy.real_layer"],
    ):
        if hasattr(module, "kernel_on"):
            monkeypatch.setattr(module, "kernel_on", lambda device, processor: "unpacked")
    packed.to(torch.float32)
    records = vispa.packing(packed)
    assert {record.kernel for record in records} == {"unpacked"}
    assert all("unpacked in every call" in record.why for record in records)
    layers = [module for module in packed.modules() if isinstance(module, PackedConv2d)]
    bits = PackSigns()(inputs)
    first = laws.run(layers[0], "unpacked", bits)
    monkeypatch.undo()
    packed.to(torch.float32)
    assert {record.kernel for record in vispa.packing(packed)} >= {"table"}
    assert torch.equal(layers[0](bits), first)
    assert torch.equal(packed(inputs), expected)


INTERPRETED = """
from hypothesis import given, settings, strategies as st, HealthCheck
from tests.vispa.deploy import device_laws as laws
from vispa.deploy.devices import by_triton

def check(law, examples, **drawn):
    settings(max_examples=examples, deadline=None, derandomize=True, database=None,
             suppress_health_check=list(HealthCheck))(given(**drawn)(law))()

by_triton.FEW_ROWS = 100
check(lambda **drawn: laws.a_layer_is_that_of_the_processor("triton", **drawn), 12, **laws.LAYERS)
check(laws.both_ways_count_alike, 6, **laws.LAYERS)
check(lambda **drawn: laws.rows_are_those_of_the_processor("triton", **drawn), 6, **laws.ROWS)
check(lambda **drawn: laws.floats_by_signs_are_sums("triton", **drawn), 6, **laws.ROWS)
shapes = st.tuples(st.integers(0, 3), st.integers(1, 70), st.integers(1, 4), st.integers(1, 9))
check(lambda **drawn: laws.signs_are_packed(by_triton, **drawn), 10, shape=shapes, last=st.booleans(),
      seed=st.integers(0, 999))
"""


def run(script, **environment):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), **environment}
    return subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500
    )


@needs_triton
def test_triton_counts_as_the_processor_does_interpreted():
    result = run(INTERPRETED, TRITON_INTERPRET="1")
    assert result.returncode == 0, result.stderr


COMPILED = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from vispa.deploy.devices import triton_kernels as kernels

POINTERS = {"numbers": "*fp32", "residual": "*fp32", "inputs": "*fp32", "scale": "*fp32", "bias": "*fp32",
            "values": "*fp32", "bits": "*i32", "weights": "*i32", "constants": "*i32", "flips": "*i32",
            "signs": "*i32", "outputs": "*fp32"}

def compiled(kernel, architecture, warps, constants):
    names = kernel.arg_names
    signature = {name: "constexpr" if name in constants else POINTERS.get(name, "i32") for name in names}
    places = {(names.index(name),): value for name, value in constants.items()}
    source = ASTSource(fn=kernel, signature=signature, constexprs=places)
    options = {"enable_fp_fusion": False, "num_warps": warps}
    return triton.compile(source, target=GPUTarget("cuda", architecture, 32), options=options).asm["ptx"]

window = (3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 2, 2, 4)
for architecture in (80, 90):
    layer = {"GEOMETRY": window, "TOTAL": 72}
    words = layer | {"OUTPUTS": 3, "STEPS": 127, "PRODUCTS": False, "ROWS": 16, "WORDS": 8, "CHANNELS": 32}
    code = compiled(kernels.packed_layer, architecture, 4, words)
    # the count of ones is seen to be one instruction, and nothing is fused that torch does not fuse
    assert code.count("popc.b32") == 32 and code.count("fma.rn.f32") == 4, code
    products = layer | {"OUTPUTS": 1, "STEPS": 0, "PRODUCTS": True, "ROWS": 128, "WORDS": 4, "CHANNELS": 128}
    code = compiled(kernels.packed_layer, architecture, 8, products)
    assert "s32.s8.s8" in code, code
    compiled(kernels.real_row, architecture, 4, {"TOTAL": 128, "WORDS": 4, "CHANNELS": 32})
    compiled(kernels.sign_words, architecture, 4, {"ROWS": 64})
"""


@needs_triton
def test_triton_compiles_for_cuda_without_one(tmp_path):
    result = run(COMPILED, TRITON_CACHE_DIR=str(tmp_path), TRITON_INTERPRET="0")
    assert result.returncode == 0, result.stderr


@pytest.mark.gpu
@pytest.mark.parametrize("images", [0, 1, 64])
def test_a_packed_model_moves_to_cuda(images):
    pytest.importorskip("triton")
    model, packed = two_layers()
    inputs = torch.randn(images, 40, 8, 8)
    with torch.no_grad():
        expected = packed(inputs)
        device = packed.to("cuda")
        assert {record.kernel for record in vispa.packing(device)} == {"triton"}
        torch.testing.assert_close(device(inputs.cuda()).cpu(), expected, rtol=1e-5, atol=1e-5)
        again = vispa.pack(model.cuda(), real_inputs=True)
        torch.testing.assert_close(again(inputs.cuda()), device(inputs.cuda()))
        compiled = torch.compile(device.network, fullgraph=True)
        torch.testing.assert_close(compiled(inputs.cuda()), device(inputs.cuda()))
        torch.testing.assert_close(device.cpu()(inputs), expected)


@pytest.mark.gpu
@settings(max_examples=30)
@given(**laws.LAYERS)
def test_layers_on_cuda_are_those_of_the_processor(**drawn):
    pytest.importorskip("triton")
    floats, thresholds, bits, beside = laws.layer_and_inputs(**drawn)
    expected, signs, wanted = *floats(bits, beside), thresholds(bits)
    beside = None if beside is None else beside.cuda()
    found, found_signs = floats.cuda()(bits.cuda(), beside)
    assert torch.equal(found.cpu(), expected)
    assert torch.equal(found_signs.cpu(), signs)
    assert torch.equal(thresholds.cuda()(bits.cuda()).cpu(), wanted)


@pytest.mark.gpu
@settings(max_examples=20)
@given(**laws.ROWS)
def test_rows_on_cuda_are_sums(**drawn):
    pytest.importorskip("triton")
    layer, values = laws.signed(**drawn)
    packed = PackedRealLinear(layer)
    expected = packed(values)
    torch.testing.assert_close(packed.cuda()(values.cuda()).cpu(), expected, rtol=1e-4, atol=1e-4)
