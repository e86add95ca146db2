"""ONNX files of one bit a weight: standard operators, run by ONNX Runtime as it runs the float export."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import vispa
from vispa.deploy.export.packed_initializers import pack_initializers, scale_of
from vispa.networks.layers import Residual

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
runtime = pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def run(path_or_bytes, *inputs):
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(path_or_bytes, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    return session.run(None, {name: each.numpy() for name, each in zip(names, inputs, strict=True)})[0]


@settings(deadline=None, max_examples=25)
@given(
    shape=st.lists(st.integers(1, 9), min_size=2, max_size=4),
    axis=st.integers(0, 3),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
    seed=st.integers(0, 10**6),
)
def test_a_weight_comes_out_of_its_bytes(shape, axis, dtype, seed):
    axis %= len(shape)
    shape[axis - 1] *= 64
    rng = np.random.default_rng(seed)
    scale = np.abs(rng.standard_normal([size if place == axis else 1 for place, size in enumerate(shape)]))
    scale.reshape(-1)[0] = 0.0  # whose sign may be lost: runtimes take -0.0 for 0.0
    weight = (rng.choice([-1.0, 1.0], shape) * scale).astype(dtype)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = helper.make_graph(
        [helper.make_node("Identity", ["weight"], ["out"])],
        "test",
        [],
        [helper.make_tensor_value_info("out", kind, shape)],
        [numpy_helper.from_array(weight, "weight")],
    )
    assert pack_initializers(graph) == 1
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    assert not any(
        each.data_type == kind and np.prod(each.dims) > weight.size / 8 for each in graph.initializer
    )
    found = run(model.SerializeToString())
    assert found.dtype == dtype
    assert np.array_equal(found, weight)


def test_what_is_not_made_of_scales_stays():
    weight = np.full((8, 16), 0.5, dtype=np.float32)
    weight[3, 4] = 0.25
    assert scale_of(weight) is None
    weight[3, 4] = np.nan
    assert scale_of(weight) is None
    assert scale_of(np.full((2, 2), np.inf)) is None
    graph = helper.make_graph([], "test", [], [], [numpy_helper.from_array(weight, "weight")])
    assert pack_initializers(graph) == 0
    assert [each.data_type for each in graph.initializer] == [TensorProto.FLOAT]


def trained(model, shape, **options):
    """Hardened, with batch statistics of inputs and gammas of both signs."""
    model = vispa.binarize(model, rank=1, **options)
    with torch.no_grad():
        model.train()(torch.randn(8, *shape))
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d) and module.affine:
                module.weight.normal_()
                module.bias.normal_()
    return vispa.harden(model).eval()


def has_weight(module):
    return isinstance(module, nn.Linear | nn.Conv2d)


def exported(model, path, inputs, **options):
    torch.onnx.export(model, (inputs,), path, dynamo=True, verbose=False, external_data=False, **options)
    return path


def test_a_network_is_small_and_computes_what_the_float_file_computes(tmp_path):
    torch.manual_seed(0)

    def block(channels, out, stride=1):
        convolution = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        branch = nn.Sequential(vispa.SignActivation(), convolution, nn.BatchNorm2d(out))
        return Residual(
            branch, nn.Identity() if stride == 1 else nn.Conv2d(channels, out, 1, 2), nn.Hardtanh()
        )

    layers = [nn.Conv2d(3, 32, 3, padding=1), block(32, 32), block(32, 64, 2), block(64, 64)]
    network = nn.Sequential(*layers, nn.AvgPool2d(4), nn.Flatten(), nn.Linear(64 * 4, 10))
    keep = [name for name, module in network.named_modules() if "branch" not in name and has_weight(module)]
    model = trained(network, (3, 16, 16), keep=keep)
    inputs = torch.randn(5, 3, 16, 16)
    free = {"dynamic_shapes": ({0: torch.export.Dim("batch")},)}
    plain = exported(model, tmp_path / "plain.onnx", inputs, **free)
    size = vispa.export_onnx(model, tmp_path / "packed.onnx", inputs)
    assert size == (tmp_path / "packed.onnx").stat().st_size
    proto = onnx.load(tmp_path / "packed.onnx")
    onnx.checker.check_model(proto, full_check=True)
    assert {node.domain for node in proto.graph.node} == {""}
    assert sum(node.op_type == "BitShift" for node in proto.graph.node) == 3
    floats = sum(values.numel() * 4 for name, values in model.named_parameters() if "branch" in name)
    real = sum(values.numel() * 4 for name, values in model.named_parameters() if "branch" not in name)
    # beside an eighth of a byte a weight: eight bytes a channel and the nodes' names
    assert size - real < floats / 32 + 8 * 160 + 15000
    assert size < (plain.stat().st_size) / 4
    for batch in (inputs, inputs[:1], torch.randn(9, 3, 16, 16)):
        found = run(tmp_path / "packed.onnx", batch)
        assert found.tobytes() == run(plain, batch).tobytes()
        with torch.no_grad():
            assert np.abs(found - model(batch).numpy()).max() < 1e-4


def test_all_sums_are_exact_where_scales_are_powers_of_two(tmp_path):
    torch.manual_seed(1)
    sign = vispa.SignActivation()
    layers = [
        sign, nn.Conv2d(16, 24, 3, padding=1, stride=2, groups=2, bias=False), sign,
        nn.ConvTranspose2d(24, 8, 3, stride=2, bias=False), nn.Flatten(2), sign, nn.Linear(121, 32, bias=False),
    ]  # fmt: skip
    model = vispa.harden(vispa.binarize(nn.Sequential(*layers), rank=1, keep=())).eval()
    with torch.no_grad():
        for layer in (model[1], model[3], model[6]):
            layer.weight.copy_(layer.weight.sign() * 0.25)
    inputs = torch.randn(3, 16, 10, 10)
    vispa.export_onnx(model, tmp_path / "packed.onnx", inputs)
    with torch.no_grad():
        assert torch.equal(torch.from_numpy(run(tmp_path / "packed.onnx", inputs)), model(inputs))


def test_linear_layers_of_images_and_rows_are_packed(tmp_path):
    torch.manual_seed(2)
    network = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 70), nn.ReLU(), nn.Linear(70, 5))
    model = vispa.binarize(network, rank=1)
    for shape in ((4, 30), (4, 6, 30)):
        inputs = torch.randn(shape)
        vispa.export_onnx(model, tmp_path / "packed.onnx", inputs)
        plain = exported(vispa.harden(model).eval(), tmp_path / "plain.onnx", inputs)
        assert run(tmp_path / "packed.onnx", inputs).tobytes() == run(plain, inputs).tobytes()
        shapes = [node.op_type for node in onnx.load(tmp_path / "packed.onnx").graph.node]
        assert shapes.count("BitShift") == 1
    vispa.export_onnx(model, tmp_path / "packed.onnx", torch.randn(1, 30))
    with pytest.raises(Exception, match="Got: 3 Expected: 1"):
        run(tmp_path / "packed.onnx", torch.randn(3, 30))


def test_what_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must have a weight whose channels have one absolute value each"):
        vispa.export_onnx(nn.Linear(8, 8), tmp_path / "none.onnx", torch.randn(2, 8))
    for example in ((3,), torch.tensor(1.0), None, 3, "x", (), {"inputs": torch.ones(2, 8)}):
        with pytest.raises(TypeError, match="example must be a tensor with a first axis"):
            vispa.export_onnx(nn.Linear(8, 8), tmp_path / "none.onnx", example)
    assert not list(tmp_path.iterdir())
