"""Packed files: one bit a weight, an exact round trip, and damage refused by name."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

import vispa
from vispa.deploy.signs import pack_signs, split_rows, unpack_signs
from vispa.networks import named_network
from vispa.nn.weights.layout import Layout


def assert_same_state(first, second):
    one, other = first.state_dict(), second.state_dict()
    assert sorted(one) == sorted(other)
    for name, values in one.items():
        assert values.dtype == other[name].dtype
        assert values.shape == other[name].shape
        # bits, not values: -0.0 is not 0.0
        assert torch.equal(
            values.reshape(-1).contiguous().view(torch.uint8),
            other[name].reshape(-1).contiguous().view(torch.uint8),
        )


def hardened(model, **options):
    return vispa.harden(vispa.binarize(model, rank=1, **options)).eval()


@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 70),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    seed=st.integers(0, 1000),
)
def test_signs_and_scales_are_the_weight(rows, columns, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    scale = torch.randn(rows, 1, generator=generator).abs().to(dtype)
    scale[0] = 0.0
    weight = torch.where(torch.rand(rows, columns, generator=generator) < 0.5, -scale, scale)
    found = split_rows(weight, Layout((rows, columns)))
    assert torch.equal(unpack_signs(pack_signs(found.negative), columns), torch.signbit(weight))
    assert torch.equal(found.scale, scale[:, 0])
    assert pack_signs(found.negative).shape == (rows, -(-columns // 8))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.25])
def test_a_row_of_two_sizes_is_not_binary(value):
    weight = torch.full((2, 3), 0.5)
    weight[1, 2] = value
    assert split_rows(weight, Layout((2, 3))) is None
    weight[1] = value
    assert (split_rows(weight, Layout((2, 3))) is None) == (value != 0.25)


@pytest.mark.parametrize(
    "name",
    ["resnet18-1w1a", "vgg-small-1w1a", "resnet18-1w32a", "imagenet-alexnet-1w1a", "imagenet-quicknet-1w1a"],
)
def test_a_network_comes_back_without_its_class(name, tmp_path):
    torch.manual_seed(0)
    network = named_network(name)
    shape = (3, 64, 64) if "imagenet" in name else (3, 16, 16)
    model = hardened(network.build(shape, 5, width=4), keep=network.keep)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
    vispa.save_packed(model, tmp_path / "packed.safetensors")
    loaded = vispa.load_packed(tmp_path / "packed.safetensors")
    assert_same_state(model, loaded)
    inputs = torch.randn(2, *shape)
    with torch.no_grad():
        assert torch.equal(model(inputs), loaded(inputs))
    fresh = network.build(shape, 5, width=4).eval()
    assert vispa.load_packed(tmp_path / "packed.safetensors", into=fresh) is fresh
    assert_same_state(model, fresh)


def test_a_file_is_a_thirtieth_of_the_floats(tmp_path):
    network = named_network("resnet18-1w1a")
    size = vispa.save_packed(vispa.binarize(network.build(), rank=1, keep=network.keep), tmp_path / "resnet")
    floats = sum(values.nbytes for values in network.build().state_dict().values())
    assert floats / size > 29.0
    layer = hardened(nn.Sequential(nn.Conv2d(256, 256, 3, bias=False)), keep=())
    size = vispa.save_packed(layer, tmp_path / "layer")
    signs, scale = 256 * 256 * 9 // 8, 256 * 4
    assert signs + scale < size < signs + scale + 1500  # names, shapes and digest
    assert 256 * 256 * 9 * 4 / (signs + scale) > 31.5


class Tied(nn.Module):
    """A language model in miniature, with classes and ties that no list can know."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 8, padding_idx=0)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.up = nn.ConvTranspose1d(8, 6, 3, groups=2)
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens):
        hidden = self.embedding(tokens)
        hidden = hidden + self.attention(hidden, hidden, hidden, need_weights=False)[0]
        return self.head(hidden), self.up(hidden.transpose(1, 2))


def test_a_model_of_its_own_class_is_filled(tmp_path):
    torch.manual_seed(0)
    model = hardened(Tied(), layers=lambda name, module: True, keep=())
    vispa.save_packed(model, tmp_path / "tied")
    with safe_open(tmp_path / "tied", framework="pt") as file:
        names = set(file.keys())
        assert json.loads(file.metadata()["aliases"]) == {"head.weight": "embedding.weight"}
    assert {"embedding.weight.signs", "attention.in_proj_weight.signs", "up.weight.signs"} <= names
    assert not names & set(model.state_dict()) & {"up.weight", "head.weight", "attention.in_proj_weight"}
    with pytest.raises(ValueError, match="pass into="):
        vispa.load_packed(tmp_path / "tied")
    loaded = vispa.load_packed(tmp_path / "tied", into=Tied())
    assert_same_state(model, loaded)
    with pytest.raises(ValueError, match="same names"):
        vispa.load_packed(tmp_path / "tied", into=nn.Linear(2, 2))
    with pytest.raises(ValueError, match="posteriors"):
        vispa.load_packed(tmp_path / "tied", into=vispa.binarize(Tied(), rank=1))


def small():
    return nn.Sequential(nn.Linear(16, 16), nn.Hardtanh(), nn.Linear(16, 4))


def test_shapes_must_agree(tmp_path):
    vispa.save_packed(hardened(small(), keep=()), tmp_path / "small")
    other = nn.Sequential(nn.Linear(16, 16), nn.Hardtanh(), nn.Linear(16, 5))
    before = other[2].weight.clone()
    with pytest.raises(ValueError, match=r"'2.weight' of shape \(4, 16\)"):
        vispa.load_packed(tmp_path / "small", into=other)
    assert torch.equal(other[2].weight, before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("damage") / "whole.safetensors"
    vispa.save_packed(hardened(small(), keep=()), path)
    return path


shared_relu, shared_sign, shared_linear = nn.ReLU(), vispa.SignActivation(), nn.Linear(16, 16)


@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        ([nn.Linear(16, 16), shared_relu, nn.Linear(16, 16), shared_relu], (3, 16)),
        ([nn.Linear(16, 16), shared_sign, nn.Linear(16, 16), shared_sign, nn.Linear(16, 4)], (3, 16)),
        ([shared_linear, nn.Tanh(), shared_linear], (3, 16)),
        ([nn.Conv2d(np.int64(3), np.int64(8), np.int64(3)), nn.LeakyReLU(np.float64(0.25))], (2, 3, 5, 5)),
        (
            [nn.Linear(16, 16), nn.Hardtanh(0.0, float("inf")), nn.Softplus(), nn.ELU(0.5), nn.Hardswish()],
            (3, 16),
        ),
        ([nn.Sequential(), nn.Sequential(nn.Linear(16, 4), nn.Sequential())], (3, 16)),
        (
            [
                nn.Linear(16, 16),
                nn.BatchNorm1d(16, affine=False),
                nn.BatchNorm1d(16, track_running_stats=False),
            ],
            (3, 16),
        ),
    ],
)
def test_what_comes_back_computes_the_same(layers, shape, tmp_path):
    model = hardened(nn.Sequential(*layers), keep=())
    vispa.save_packed(model, tmp_path / "file")
    loaded, inputs = vispa.load_packed(tmp_path / "file"), torch.randn(shape)
    assert_same_state(model, loaded)
    assert torch.equal(loaded(inputs), model(inputs))


def test_norms_of_embeddings_come_back(tmp_path):
    model = hardened(nn.Sequential(nn.Embedding(9, 16, max_norm=0.1), nn.Linear(16, 16)), keep=())
    vispa.save_packed(model, tmp_path / "file")
    tokens = torch.tensor([1, 2])
    assert torch.equal(vispa.load_packed(tmp_path / "file")(tokens), model(tokens))


def hooked(model):
    model[1].register_forward_hook(lambda module, given, outputs: outputs * 3)
    return model


def with_buffer(model):
    model.register_buffer("mean", torch.ones(3))
    return model


@pytest.mark.parametrize("change", [hooked, with_buffer])
def test_what_a_description_cannot_say_needs_a_model(change, tmp_path):
    model = change(hardened(small(), keep=()))
    vispa.save_packed(model, tmp_path / "file")
    with pytest.raises(ValueError, match="pass into="):
        vispa.load_packed(tmp_path / "file")
    assert_same_state(model, vispa.load_packed(tmp_path / "file", into=change(small())))


def test_dtypes_must_agree(tmp_path):
    vispa.save_packed(hardened(small().double(), keep=()), tmp_path / "file")
    with pytest.raises(ValueError, match=r"'0.weight' in torch.float64.*into\.double\(\)"):
        vispa.load_packed(tmp_path / "file", into=small())
    assert vispa.load_packed(tmp_path / "file", into=small().double())[0].weight.dtype == torch.float64


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    import safetensors.torch

    path, model = tmp_path / "file", hardened(small(), keep=())
    vispa.save_packed(model, path)
    before, write = path.read_bytes(), safetensors.torch.save_file

    def interrupted(tensors, name, metadata):
        write(tensors, name, metadata=metadata)
        raise KeyboardInterrupt

    monkeypatch.setattr(safetensors.torch, "save_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        vispa.save_packed(hardened(small(), keep=()), path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    monkeypatch.undo()
    with pytest.raises(IsADirectoryError, match="folder"):
        vispa.save_packed(model, tmp_path)
    with pytest.raises(FileNotFoundError, match="absent"):
        vispa.save_packed(model, tmp_path / "absent" / "file")


@given(place=st.integers(0, 10**6), bit=st.integers(0, 7), truncate=st.booleans())
def test_damage_is_refused_by_name(whole, place, bit, truncate):
    content = bytearray(whole.read_bytes())
    place %= len(content)
    content[place] ^= 1 << bit
    damaged = whole.with_name("damaged.safetensors")
    damaged.write_bytes(content[:place] if truncate else content)
    with pytest.raises(ValueError, match=r"damaged\.safetensors"):
        vispa.load_packed(damaged)


def resigned(path, change):
    """The file again, changed and with a digest that fits: what an attacker can do."""
    from vispa.deploy.files import _digest

    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = dict(file.metadata())
    change(tensors, metadata)
    metadata["digest"] = _digest(tensors, metadata)
    save_file(tensors, str(path), metadata=metadata)


def graph(value):
    return lambda tensors, metadata: metadata.update(graph=json.dumps(value))


@pytest.mark.parametrize(
    "change",
    [
        graph({"kind": "os.system", "options": {}}),
        graph({"kind": "LazyLinear", "options": {"out_features": 4}}),
        graph({"kind": "Sequential", "children": {"0": {"kind": "Sequential", "children": 7}}}),
        graph({"kind": "Linear", "options": {"in_features": "x", "out_features": 1, "bias": True}}),
        graph({"kind": "Linear", "options": {"in_features": 10**12, "out_features": 10**6, "bias": True}}),
        graph([]),
        graph(
            {"kind": "GroupNorm", "options": {"num_groups": 0, "num_channels": 4, "eps": 0.1, "affine": True}}
        ),
        graph({"kind": "Sequential", "children": {"a.b": {"kind": "ReLU", "options": {}}}}),
        graph({"kind": "Sequential", "children": {"forward": {"kind": "ReLU", "options": {}}}}),
        graph({"kind": "Linear", "options": {"in_features": 2**70, "out_features": 1, "bias": True}}),
        lambda tensors, metadata: metadata.update(graph="1" * 5000),
        lambda tensors, metadata: metadata.update(graph='{"kind": ' * 100_000),
        lambda tensors, metadata: metadata.update(
            weights='{"0.weight": {"shape": [16, -16, -1], "transposed_groups": 0}}'
        ),
        lambda tensors, metadata: metadata.update(
            weights='{"0.weight": {"shape": [16, 16], "transposed_groups": 1e999}}'
        ),
        lambda tensors, metadata: tensors.update({"0.bias": torch.ones(16, dtype=torch.int64)}),
        lambda tensors, metadata: metadata.pop("weights"),
        lambda tensors, metadata: metadata.update(weights="{"),
        lambda tensors, metadata: metadata.update(
            weights='{"0.weight": {"shape": [3], "transposed_groups": 0}}'
        ),
        lambda tensors, metadata: metadata.update(
            weights='{"0.weight": {"shape": [0, 0], "transposed_groups": 0}}'
        ),
        lambda tensors, metadata: metadata.update(aliases='{"0.weight": "absent"}'),
        lambda tensors, metadata: metadata.update(version="2"),
        lambda tensors, metadata: metadata.update(format="another"),
        lambda tensors, metadata: tensors.pop("0.weight.scale"),
        lambda tensors, metadata: tensors.update({"0.weight.scale": torch.ones(3)}),
        lambda tensors, metadata: tensors.update({"0.weight.signs": torch.ones(16, 2)}),
    ],
)
def test_what_is_wrong_inside_is_refused_by_name(change, tmp_path):
    path = tmp_path / "changed.safetensors"
    vispa.save_packed(hardened(small(), keep=()), path)
    resigned(path, change)
    with pytest.raises(ValueError, match=r"changed\.safetensors"):
        vispa.load_packed(path)


def test_foreign_files_are_refused(tmp_path):
    path = tmp_path / "foreign"
    save_file({"weight": torch.ones(2)}, str(path))
    with pytest.raises(ValueError, match="foreign is no packed file"):
        vispa.load_packed(path)
    torch.save({"weight": torch.ones(2)}, path)
    with pytest.raises(ValueError, match="foreign is truncated or no safetensors file"):
        vispa.load_packed(path)
    with pytest.raises(FileNotFoundError, match="absent"):
        vispa.load_packed(tmp_path / "absent")


def test_a_real_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match="rows have one absolute value"):
        vispa.save_packed(small(), tmp_path / "real")
    with pytest.raises(TypeError, match="DataParallel"):
        vispa.save_packed(nn.DataParallel(small()), tmp_path / "wrapped")


def test_safetensors_is_asked_for_by_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(ImportError, match=r"vispa-sdp\[deploy\]"):
        vispa.save_packed(hardened(small(), keep=()), tmp_path / "none")


def test_saving_changes_neither_model_nor_random_state(tmp_path):
    model = vispa.binarize(small(), rank=1, keep=())
    before = {name: values.clone() for name, values in model.state_dict().items()}
    state = torch.random.get_rng_state()
    vispa.save_packed(model, tmp_path / "file")
    vispa.load_packed(tmp_path / "file")
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(values, model.state_dict()[name]) for name, values in before.items())


def test_a_fresh_process_reads_it(tmp_path):
    torch.manual_seed(0)
    model = hardened(nn.Sequential(nn.Linear(16, 16), vispa.SignActivation(), nn.Linear(16, 4)), keep=())
    vispa.save_packed(model, tmp_path / "file")
    inputs = torch.randn(3, 16)
    torch.save((inputs, model(inputs).detach()), tmp_path / "pair.pt")
    code = (
        "import sys, torch, vispa\nfolder = sys.argv[1]\n"
        "inputs, expected = torch.load(folder + '/pair.pt')\n"
        "assert torch.equal(vispa.load_packed(folder + '/file')(inputs), expected)\n"
    )
    result = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
