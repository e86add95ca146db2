"""A packed model computes what torch computes of signs and scales, and says what became of its layers."""

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn import functional

import vispa
from tests.vispa.deploy.kernels_here import KERNELS_HERE
from tests.vispa.deploy.twins import assert_equals_its_twin, hardened, kinds, twin
from vispa.deploy.fusion import LayerRecord
from vispa.networks import named_network, quicknet


@pytest.mark.parametrize("kernel", KERNELS_HERE)
@pytest.mark.parametrize(
    ("name", "width", "shape"),
    [
        ("resnet18-1w1a", 8, (3, 16, 16)),
        ("resnet18-1w1a", 32, (3, 19, 17)),
        ("vgg-small-1w1a", 12, (3, 16, 24)),
        ("imagenet-birealnet18-1w1a", 16, (3, 64, 64)),
        ("imagenet-alexnet-1w1a", 4, (3, 64, 64)),
        ("imagenet-quicknet-1w1a", 16, (3, 32, 40)),
    ],
)
def test_networks_equal_their_twins(name, width, shape, kernel):
    network = named_network(name)
    torch.manual_seed(0)
    model = hardened(network.build(shape, 5, width=width), *shape, keep=network.keep)
    inputs = torch.randn(3, *shape)
    packed = assert_equals_its_twin(model, inputs, kernel=kernel)
    records = vispa.packing(packed)
    assert {record.kernel for record in records} - {"torch"} <= {kernel, "portable"}
    real = [record.name for record in records if not record.packed]
    ends, between = (1, 3) if "quicknet" in name else (1, 1), ("shortcut", "transition")
    assert len(real) == sum(ends) + sum(any(word in place for word in between) for place in network.keep)
    assert packed(inputs[:0]).shape == (0, 5)
    with torch.no_grad():
        torch.testing.assert_close(packed(inputs), model(inputs), rtol=1e-3, atol=1e-4)


def test_bits_go_between_the_layers_of_a_network():
    network = named_network("resnet18-1w1a")
    model = hardened(network.build((3, 8, 8), 5, width=32), 3, 8, 8, keep=network.keep)
    found = kinds(vispa.pack(model))
    assert [found[f"stage1.0.branch.{place}"] for place in (1, 5)] == ["bits to bits", "bits to both"]
    assert found["stage4.1.branch.5"] == "bits to floats"
    vgg = named_network("vgg-small-1w1a")
    packed = vispa.pack(hardened(vgg.build((3, 8, 8), 5, width=32), 3, 8, 8, keep=vgg.keep))
    assert list(kinds(packed).values()) == ["float32", *["bits to bits"] * 4, "bits to floats", "float32"]


def test_rectified_sums_of_quicknet_are_part_of_its_layers():
    network = named_network("imagenet-quicknet-1w1a")
    plain = quicknet((3, 32, 32), 5, width=8, blocks=(2, 1, 1, 1))
    model = hardened(plain, 3, 32, 32, keep=network.keep)
    packed = vispa.pack(model)
    found = kinds(packed)
    assert found["section1.0.branch.1"] == "bits to both"
    assert found["section1.1.branch.1"] == "bits to floats"
    left = [type(module) for module in packed.modules() if isinstance(module, (nn.ReLU, nn.BatchNorm2d))]
    assert len(left) == 3 + 3 + 1 + 3 + 1  # of the stem, the transitions and the end


def sign(**options):
    return vispa.SignActivation(**options)


def test_pools_of_signs_and_padding_by_ones():
    model = nn.Sequential(
        nn.Conv2d(3, 40, 3), sign(), nn.MaxPool2d(3, 2, 1), nn.Conv2d(40, 40, 3, padding=1), nn.BatchNorm2d(40),
        sign(one_padding=[1, 2]), nn.Conv2d(40, 33, 3, stride=2), nn.MaxPool2d(2), nn.ReLU(), sign(),
        nn.Flatten(), nn.Linear(33 * 2 * 2, 20), nn.BatchNorm1d(20), nn.Hardtanh(), sign(), nn.Linear(20, 5),
    )  # fmt: skip
    model = hardened(model, 3, 18, 18)
    assert_equals_its_twin(
        model, torch.randn(4, 3, 18, 18),
        {"0": "float32", "3": "bits to bits", "6": "bits to floats", "11": "bits to bits", "15": "bits to floats"},
    )  # fmt: skip


class Wiring(nn.Module):
    """Values with several users, sums of both orders, a layer called twice, activations as functions."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 1)
        self.sign = sign()
        self.first, self.second, self.third = (nn.Conv2d(32, 32, 3, padding=1) for _ in range(3))
        self.norm = nn.BatchNorm2d(32)
        self.prelu = nn.PReLU(32)

    def forward(self, inputs):
        stem = functional.relu(self.stem(inputs) - 0.1) - 0.1
        signs = self.sign(stem)
        one = self.norm(self.first(signs))
        two = stem + self.second(signs)
        both = functional.hardtanh(one + two)
        again = self.first(self.sign(both))
        active = functional.relu(self.third(self.sign(self.prelu(again))))
        return active * 2.0 + both + self.sign(active).mean() + (one * signs)


def test_values_with_several_users_stay_floats_for_them():
    model = hardened(Wiring(), 3, 6, 6)
    model.prelu.weight.data.normal_()
    packed = vispa.pack(model)
    with torch.no_grad():
        inputs = torch.randn(2, 3, 6, 6)
        assert torch.equal(packed(inputs), twin(model, ["first", "second", "third"])(inputs))
    found = [(record.name, record.kind) for record in vispa.packing(packed)]
    expected = ["float32", "bits to floats", "bits to floats", "bits to bits", "bits to floats"]
    assert found == list(zip(["stem", "first", "second", "first", "third"], expected, strict=True))


def test_a_perceptron_takes_rows_and_rows_of_rows():
    layers = [
        nn.Linear(20, 40),
        nn.ReLU6(),
        sign(),
        nn.Linear(40, 7),
        nn.BatchNorm1d(7),
        sign(),
        nn.Linear(7, 7),
    ]
    model = hardened(nn.Sequential(*layers), 20)
    for inputs in (torch.randn(5, 20), torch.randn(5, 7, 20)):
        expected = {"0": "float32", "3": "bits to bits", "6": "bits to floats"}
        assert_equals_its_twin(model, inputs, expected)


def test_convolutions_over_one_axis():
    layers = [
        nn.Conv1d(3, 40, 3),
        sign(one_padding=[2]),
        nn.Conv1d(40, 40, 3, 2, 1),
        sign(),
        nn.Conv1d(40, 4, 1),
    ]
    model = hardened(nn.Sequential(*layers), 3, 21)
    assert_equals_its_twin(
        model, torch.randn(2, 3, 21), {"0": "float32", "2": "bits to floats", "4": "bits to floats"}
    )


class Untraceable(nn.Module):
    """Asks about values, which torch.fx cannot follow."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 40), sign(), nn.Linear(40, 8))
        self.head = nn.Linear(8, 8)

    def forward(self, inputs):
        hidden = self.body(inputs)
        if hidden.sum() > 0:
            hidden = hidden + 1
        return self.head(hidden)


def test_children_are_packed_where_the_whole_cannot_be_traced():
    model = hardened(Untraceable(), 8)
    packed = assert_equals_its_twin(model, torch.randn(3, 8))
    records = {record.name: record for record in vispa.packing(packed)}
    assert records["body.2"].kind == "bits to floats"
    assert packed.get_submodule(records["body.2"].packed).kernel in ("tile", "vector", "portable")
    assert "cannot be traced" in records["head"].why


def test_layers_that_stay_say_why():
    layers = [
        nn.Conv2d(4, 64, 1), nn.ReLU(), nn.Conv2d(64, 64, 1), sign(), nn.Conv2d(64, 64, 3, groups=64),
        sign(), nn.Conv2d(64, 64, 1, groups=2), sign(),
        nn.Conv2d(64, 4, 1, padding="same", padding_mode="circular"),
    ]  # fmt: skip
    packed = assert_equals_its_twin(hardened(nn.Sequential(*layers), 4, 5, 5), torch.randn(2, 4, 5, 5))
    found = {record.name: record.why for record in vispa.packing(packed)}
    assert found["2"] == "its inputs are not signs"
    assert "multiples of 32" in found["4"]
    assert found["6"] == ""
    assert "padding_mode" in found["8"]
    assert vispa.packing(packed)[0] == LayerRecord(
        "0", "", "float32", "torch", "its inputs are not signs", 256
    )


def small():
    return nn.Sequential(
        nn.Conv2d(3, 33, 3), sign(), nn.Conv2d(33, 33, 3), nn.BatchNorm2d(33), sign(), nn.Conv2d(33, 4, 1)
    )


def test_the_model_is_unchanged_and_a_binarized_one_is_hardened():
    torch.manual_seed(0)
    model = vispa.binarize(small(), rank=1)
    before = {name: values.clone() for name, values in model.state_dict().items()}
    state = torch.random.get_rng_state()
    packed = vispa.pack(model)
    assert torch.equal(state, torch.random.get_rng_state())
    assert model.training
    assert not packed.training
    assert all(torch.equal(values, model.state_dict()[name]) for name, values in before.items())
    inputs = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(packed(inputs), vispa.pack(vispa.harden(model))(inputs))


def test_a_packed_model_takes_a_bit_a_weight():
    torch.manual_seed(0)
    model = hardened(nn.Sequential(nn.Conv2d(3, 256, 1), sign(), nn.Conv2d(256, 256, 3)), 3, 5, 5)
    packed = vispa.pack(model, kernel="portable")
    layer = packed.get_submodule(vispa.packing(packed)[1].packed)
    assert layer.words.nbytes == 256 * 256 * 9 // 8
    held = sum(values.nbytes for values in (*packed.parameters(), *packed.buffers()))
    assert held < 256 * 256 * 9 // 8 + 256 * 3 * 4 + 256 * 10 * 4


def test_export_and_compile_see_the_operators():
    model = hardened(small(), 3, 8, 8)
    packed, inputs = vispa.pack(model), torch.randn(2, 3, 8, 8)
    batch = torch.export.Dim("batch", min=2, max=64)
    with torch.no_grad():
        expected = packed(inputs)
        exported = torch.export.export(packed, (inputs,), dynamic_shapes=({0: batch},))
        names = {str(node.target) for node in exported.graph.nodes if node.op == "call_function"}
        assert {
            "vispa.pack_signs.default",
            "vispa.packed_to_bits.default",
            "vispa.packed_to_floats.default",
        } <= names
        many = torch.randn(5, 3, 8, 8)
        assert torch.equal(exported.module()(many), packed(many))
        compiled = torch.compile(packed, backend="aot_eager", fullgraph=True)
        assert torch.equal(compiled(inputs), expected)
    copied = deepcopy(packed)
    with torch.no_grad():
        assert torch.equal(copied(inputs), expected)


def test_operators_pass_torchs_own_checks():
    packed = vispa.pack(hardened(small(), 3, 8, 8))
    calls = []
    from torch.utils._python_dispatch import TorchDispatchMode

    class Record(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if function.namespace == "vispa":
                calls.append((function, args))
            return function(*args, **(kwargs or {}))

    with torch.no_grad(), Record():
        packed(torch.randn(2, 3, 8, 8))
    assert len(calls) == 3
    for function, arguments in calls:
        torch.library.opcheck(function, arguments, test_utils=("test_schema", "test_faketensor"))


def test_what_cannot_be_packed_is_refused():
    with pytest.raises(ValueError, match="inputs are signs"):
        vispa.pack(hardened(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)), 4))
    with pytest.raises(ValueError, match="inputs are signs"):
        vispa.pack(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="kernel"):
        vispa.pack(small(), kernel="fast")
    with pytest.raises(TypeError, match="DataParallel"):
        vispa.pack(nn.DataParallel(small()))
    with pytest.raises(TypeError, match=r"vispa\.pack"):
        vispa.packing(small())
    packed = vispa.pack(hardened(small(), 3, 8, 8))
    with pytest.raises(TypeError, match="float32"):
        packed.double()(torch.randn(2, 3, 8, 8).double())


def test_results_and_programs_do_not_share_memory():
    model = nn.Sequential(nn.Conv2d(3, 32, 1), sign(), nn.Conv2d(32, 32, 3), nn.Flatten())
    model = hardened(model, 3, 6, 6)
    packed = vispa.pack(vispa.harden(vispa.binarize(model, keep=("first",), rank=1)))
    first, second = torch.randn(2, 3, 6, 6), torch.randn(2, 3, 6, 6)
    one = packed(first)
    kept, two = one.clone(), packed(second)
    assert torch.equal(one, kept)
    assert not torch.equal(one, two)
    assert torch.equal(packed.network(second), two)
    strided = torch.randn(2, 6, 6, 3).permute(0, 3, 1, 2)
    for inputs in (
        first,
        strided,
        first[:1],
        first.clone(),
        torch.randn(5, 3, 9, 7),
        torch.randn(1, 3, 6, 6),
        first,
    ):
        assert torch.equal(packed(inputs), packed.network(inputs))


class Results(nn.Module):
    """What a packed layer makes is a result, and what another adds and takes signs of."""

    def __init__(self):
        super().__init__()
        self.sign = sign()
        self.first, self.second = nn.Conv2d(32, 32, 3, padding=1), nn.Conv2d(32, 32, 3, padding=1)

    def forward(self, inputs):
        one = self.first(self.sign(inputs))
        return one, self.second(self.sign(one)) + one, inputs


def test_results_that_go_on_are_computed_anew():
    packed = vispa.pack(hardened(Results(), 32, 5, 6))
    first, second = torch.randn(2, 32, 5, 6), torch.randn(2, 32, 5, 6)
    one = packed(first)
    kept, two = [each.clone() for each in one], packed(second)
    for results, before, inputs in ((one, kept, first), (two, two, second)):
        for found, own, expected in zip(results, before, packed.network(inputs), strict=True):
            assert torch.equal(found, own)
            assert torch.equal(found, expected)
    assert not torch.equal(one[1], two[1])


def test_threads_have_programs_of_their_own():
    from concurrent.futures import ThreadPoolExecutor

    network = named_network("resnet18-1w1a")
    packed = vispa.pack(hardened(network.build((3, 16, 16), 5, width=8), 3, 16, 16, keep=network.keep))
    batches = [torch.randn(2, 3, 16, 16) for _ in range(24)]
    with torch.no_grad():
        expected = [packed.network(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(packed, batches))
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
