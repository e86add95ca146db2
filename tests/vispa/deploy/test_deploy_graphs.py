"""Graphs as users write them: in place, in part, broadcast, by name, watched, with inputs of other sizes."""

import io
import weakref

import pytest
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional

import vispa
from tests.vispa.deploy.twins import hardened, kinds, twin
from vispa.deploy.layers import PackedConv2d


class Graph(nn.Module):
    """Layers and buffers that a function puts together."""

    def __init__(self, body):
        super().__init__()
        self.body = body
        self.sign = vispa.SignActivation()
        self.first, self.second = nn.Conv2d(32, 32, 3, padding=1), nn.Conv2d(32, 32, 3, padding=1)
        self.narrow, self.norm = nn.Conv2d(32, 32, 1), nn.BatchNorm2d(32)
        self.pool, self.relu = nn.AdaptiveAvgPool2d(1), nn.ReLU(inplace=True)
        self.register_buffer("offset", torch.linspace(-1.0, 1.0, 32)[:, None, None])
        self.register_buffer("whole", torch.arange(32)[:, None, None] - 16)
        self.register_buffer("order", torch.tensor([2, 0, 1]))

    def forward(self, inputs):
        return self.body(self, inputs)

    def binary(self, inputs):
        return self.first(self.sign(inputs))


def inputs_and_others(*shape):
    """Inputs to build a program with, and others to run it on."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape or (2, 32, 5, 5), generator=generator) for _ in range(3)]


def assert_computes_its_twin(model, several):
    packed = vispa.pack(model)
    expected = twin(model, {record.name for record in vispa.packing(packed) if record.packed})
    with torch.no_grad():
        for inputs in several:
            # clones, since a graph may change what it is given
            found, wanted = packed(inputs.clone()), expected(inputs.clone())
            assert found.dtype == wanted.dtype
            assert torch.equal(found, wanted)
    return packed


def changed_sum(self, inputs):
    total = inputs * 1.0
    same = total
    total += self.binary(inputs)
    return total + same


def changed_sum_and_signs(self, inputs):
    total = self.norm(self.binary(inputs))
    before = self.sign(total)
    total.add_(1.0)
    return self.second(before) + self.second(self.sign(total))


def changed_by_relu(self, inputs):
    total = self.norm(self.binary(inputs))
    self.relu(total)
    return self.second(self.sign(total - 0.5)) + total


def changed_by_out(self, inputs):
    total = self.norm(self.binary(inputs))
    torch.neg(total, out=total)
    return self.second(self.sign(total))


def changed_by_option(self, inputs):
    total = self.norm(self.binary(inputs))
    functional.hardtanh(total, -0.5, 0.5, True)
    return self.second(self.sign(total + 0.1)) + total


def changed_inputs(self, inputs):
    inputs -= self.offset
    inputs /= 2.0
    return self.binary(inputs) + inputs


def changed_empty(self, inputs):
    total = torch.empty_like(inputs)
    total.copy_(self.binary(inputs))
    return self.second(self.sign(total)) + total


@pytest.mark.parametrize(
    "body",
    [
        changed_sum, changed_sum_and_signs, changed_by_relu, changed_by_out, changed_by_option, changed_inputs,
        changed_empty,
    ],
)  # fmt: skip
def test_operations_in_place_are_seen_by_what_comes_later(body):
    assert_computes_its_twin(hardened(Graph(body), 32, 5, 5), inputs_and_others())


def test_what_may_share_changed_memory_is_not_packed_together():
    def body(self, inputs):
        total = self.block(inputs)
        total.flatten(1).neg_()
        return self.second(self.sign(total))

    model = Graph(body)
    model.block = nn.Sequential(vispa.SignActivation(), nn.Conv2d(32, 32, 1))
    model = hardened(model, 32, 5, 5)
    # a view of images in torch's own order of memory, which the code around a packed block sees
    packed = vispa.pack(model)
    for inputs in inputs_and_others():
        torch.testing.assert_close(packed(inputs), model(inputs), rtol=1e-4, atol=1e-4)
    assert kinds(packed)["block.1"] == "bits to floats"
    assert kinds(packed)["second"] == "float32"


@pytest.mark.parametrize(
    "body",
    [
        lambda self, inputs: self.binary(inputs)[:, [2, 0, 1]],
        lambda self, inputs: self.binary(inputs)[:, self.order],
        lambda self, inputs: self.binary(inputs)[:, 1:3],
        lambda self, inputs: self.binary(inputs).permute(0, 2, 3, 1)[..., inputs.size(0)],
        lambda self, inputs: self.binary(inputs)[inputs[:, 0].sum((1, 2)) > 0],
        lambda self, inputs: self.binary(inputs[inputs[:, 0].sum((1, 2)) > 0]),
        lambda self, inputs: self.norm(inputs[inputs[:, 0].sum((1, 2)) > 0]) + self.binary(inputs).mean(),
    ],
)
def test_parts_are_of_the_values_of_this_run(body):
    assert_computes_its_twin(hardened(Graph(body), 32, 5, 5), inputs_and_others(4, 32, 5, 5))


@pytest.mark.parametrize(
    "added",
    [
        lambda self, inputs: inputs.size(1),
        lambda self, inputs: self.offset,
        lambda self, inputs: self.offset.sum(),
        lambda self, inputs: self.whole,
        lambda self, inputs: self.offset.double(),
        lambda self, inputs: inputs.bfloat16(),
        lambda self, inputs: inputs > 0,
        lambda self, inputs: inputs[None],
        lambda self, inputs: inputs.transpose(2, 3),
    ],
)
def test_anything_that_torch_adds_is_added(added):
    for body in (
        lambda self, inputs: self.norm(self.binary(inputs)) + added(self, inputs),
        lambda self, inputs: functional.hardtanh(added(self, inputs) + self.binary(inputs)),
    ):
        assert_computes_its_twin(hardened(Graph(body), 32, 5, 5), inputs_and_others())


@pytest.mark.parametrize("signs", [False, True])
def test_a_sum_can_be_larger_than_the_layer(signs):
    def body(self, inputs):
        total = functional.relu(self.norm(self.narrow(self.sign(self.pool(inputs)))) + inputs)
        return self.second(self.sign(total - 0.5)) + total if signs else total

    def with_bits(self, inputs):
        total = self.norm(self.narrow(self.sign(self.pool(inputs)))) + inputs
        return self.second(self.sign(total)) + total

    for each in (body, with_bits):
        assert_computes_its_twin(
            hardened(Graph(each), 32, 5, 5), [*inputs_and_others(), torch.randn(1, 32, 3, 4)]
        )


def test_signs_of_a_mean_over_images_are_of_this_run():
    def body(self, inputs):
        return self.narrow(self.sign(self.pool(self.norm(inputs))))

    assert_computes_its_twin(hardened(Graph(body), 32, 5, 5), inputs_and_others())


@pytest.mark.parametrize(
    "shaped",
    [
        lambda signs: torch.flatten(signs, 1),
        lambda signs: signs.flatten(1),
        lambda signs: signs.reshape(signs.size(0), -1),
        lambda signs: signs.permute(0, 2, 3, 1).reshape(signs.shape[0], 800),
        lambda signs: signs.contiguous().reshape(-1, 800),
        lambda signs: torch.cat([signs[:, :0].flatten(1), signs.flatten(1)], 1),
        lambda signs: torch.cat([signs, signs], 1).transpose(1, 2)[:, :, :32].flatten(1),
    ],
)
def test_signs_in_other_shapes_are_signs(shaped):
    model = Graph(lambda self, inputs: self.rows(shaped(self.sign(self.binary(inputs)))))
    model.rows = nn.Linear(800, 6)
    packed = assert_computes_its_twin(hardened(model, 32, 5, 5), inputs_and_others())
    assert kinds(packed)["first"] == "bits to floats"


@pytest.mark.parametrize(
    "viewed",
    [
        lambda values: values.view(values.size(0), -1),
        lambda values: values.view((-1, 800)),
        lambda values: values.view(size=(-1, 800)),
        lambda values: values.view(torch.int32).view(torch.float32).reshape(-1, 800),
        lambda values: values.view_as(torch.empty(values.size(0), 800)),
    ],
)
@pytest.mark.parametrize("traced", [True, False])
def test_views_of_images_are_what_they_are_in_torchs_order(viewed, traced):
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Sequential(
                vispa.SignActivation(), nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32)
            )
            self.rows = nn.Linear(800, 6)

        def forward(self, inputs):
            values = self.inner(inputs)
            if not traced and inputs.mean() > 9:
                return values
            return self.rows(viewed(values))

    model = hardened(Outer(), 32, 5, 5)
    packed = vispa.pack(model)
    for inputs in inputs_and_others():
        with torch.no_grad():
            torch.testing.assert_close(packed(inputs), model(inputs), rtol=1e-4, atol=1e-4)


def test_functions_of_signs_that_are_signs_and_that_are_not():
    def body(self, inputs):
        signs = self.sign(inputs)
        joined = torch.cat([signs, functional.max_pool2d(self.sign(self.norm(inputs)), 3, 1, 1)], 1)
        outputs = self.wide(joined) + self.first(functional.max_pool2d(signs, 3, 1, 1))
        return outputs + self.second(torch.stack([signs, signs]).mean(0)) + self.narrow(signs * signs)

    model = Graph(body)
    model.wide = nn.Conv2d(64, 32, 1)
    packed = assert_computes_its_twin(hardened(model, 32, 5, 5), inputs_and_others())
    expected = {"wide": "bits to floats", "first": "bits to floats", "second": "float32", "narrow": "float32"}
    assert kinds(packed) == expected


def test_inputs_by_name_and_values_that_nobody_uses():
    def body(self, inputs):
        self.second(self.sign(inputs))
        return self.first(input=self.sign(inputs=inputs))

    model = hardened(Graph(body), 32, 5, 5)
    assert kinds(vispa.pack(model)) == {"first": "bits to floats"}
    (inputs, *_) = inputs_and_others()
    torch.testing.assert_close(vispa.pack(model)(inputs=inputs), model(inputs), rtol=1e-4, atol=1e-4)


def test_padding_by_ones_of_other_axes():
    model = nn.Sequential(
        nn.Conv2d(3, 30, 1), vispa.SignActivation(one_padding=[1, 0, 2]), nn.Conv2d(32, 8, 3),
        vispa.SignActivation(one_padding=[3]), nn.Conv2d(8, 4, 1),
    )  # fmt: skip
    assert_computes_its_twin(hardened(model, 3, 5, 5), inputs_and_others(2, 3, 5, 5))


def test_hooks_are_called_and_what_they_change_is_changed():
    plain = hardened(nn.Sequential(nn.Conv2d(3, 32, 1), vispa.SignActivation(), nn.Conv2d(32, 8, 1)), 3, 5, 5)
    (inputs, *_) = inputs_and_others(2, 3, 5, 5)
    expected = vispa.pack(plain)(inputs)
    plain.register_forward_hook(lambda module, given, outputs: outputs * 2)
    assert torch.equal(vispa.pack(plain)(inputs), expected * 2)
    outer = nn.Sequential(plain)
    torch.testing.assert_close(vispa.pack(outer)(inputs), expected * 2)
    plain[2].register_forward_hook(lambda module, given, outputs: outputs + 1)
    with pytest.raises(ValueError, match="2: it has hooks"):
        vispa.pack(outer)
    plain.append(nn.Linear(5, 5))
    with pytest.raises(ValueError, match="2: it has hooks"):
        vispa.pack(outer, real_inputs=True)


def small():
    return hardened(
        nn.Sequential(
            nn.Conv2d(3, 33, 3), vispa.SignActivation(), nn.Conv2d(33, 33, 3), nn.BatchNorm2d(33),
            vispa.SignActivation(), nn.Conv2d(33, 4, 1),
        ), 3, 8, 8,
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore")  # tracing is deprecated, and torch warns of mapping by a loop
def test_whoever_watches_torch_sees_the_operators():
    packed = vispa.pack(small())
    inputs, other, _ = inputs_and_others(2, 3, 8, 8)
    with torch.no_grad():
        expected = [packed(each) for each in (inputs, other)]
        for followed in (torch.jit.trace(packed, inputs), make_fx(packed)(inputs)):
            assert torch.equal(followed(other), expected[1])
        mapped = torch.func.vmap(lambda image: packed(image[None])[0])(inputs)
    torch.testing.assert_close(mapped, expected[0])


def test_autocast_and_inference_mode_do_not_change_what_is_computed():
    packed = vispa.pack(hardened(Graph(lambda self, inputs: self.binary(inputs).mul_(2.0)), 32, 5, 5))
    inputs, other, _ = inputs_and_others()
    with torch.inference_mode():
        first = packed(inputs)
    with torch.autocast("cpu", torch.bfloat16):
        second = packed(other)
    assert torch.equal(packed(inputs), first)
    assert torch.equal(packed(other), second)
    assert second.dtype == torch.float32


@pytest.mark.parametrize("assign", [False, True])
def test_a_loaded_state_is_what_runs(assign):
    packed, (inputs, *_) = vispa.pack(small()), inputs_and_others(2, 3, 8, 8)
    packed(inputs)
    other = small()
    for module in other.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = -module.weight.data.flip(0)
    expected = vispa.pack(other)
    packed.load_state_dict(expected.state_dict(), assign=assign)
    assert torch.equal(packed(inputs), expected(inputs))


def test_a_packed_model_stays_in_evaluation_mode():
    model = nn.Sequential(
        nn.Dropout(), nn.Conv2d(3, 32, 1), nn.BatchNorm2d(32), vispa.SignActivation(), nn.Conv2d(32, 4, 1)
    )
    packed, (inputs, *_) = vispa.pack(hardened(model, 3, 5, 5)), inputs_and_others(2, 3, 5, 5)
    expected = packed(inputs)
    assert torch.equal(packed.train()(inputs), expected)
    assert not any(module.training for module in packed.modules())


def test_results_are_pythons_own_containers_and_inputs_are_let_go():
    def body(self, inputs):
        outputs = self.binary(inputs)
        return {"list": [outputs, 3], "pair": (outputs[0], None)}

    packed, inputs = vispa.pack(hardened(Graph(body), 32, 5, 5)), torch.randn(2, 32, 5, 5)
    found = packed(inputs)
    assert type(found) is dict
    assert type(found["list"]) is list
    assert torch.equal(found["pair"][0], found["list"][0][0])
    kept = weakref.ref(inputs)
    del inputs
    assert kept() is None


def test_numbers_of_inputs_and_channels_are_checked():
    packed, (inputs, *_) = vispa.pack(small()), inputs_and_others(2, 3, 8, 8)
    with pytest.raises(TypeError, match="positional arguments"):
        packed(inputs, inputs)
    with pytest.raises(TypeError, match="missing"):
        packed()
    rows = vispa.pack(hardened(nn.Sequential(vispa.SignActivation(), nn.Linear(40, 7)), 40))
    images = vispa.pack(hardened(nn.Sequential(vispa.SignActivation(), nn.Conv2d(40, 7, 1)), 40, 2, 2))
    line = vispa.pack(hardened(nn.Sequential(vispa.SignActivation(), nn.Conv1d(40, 7, 1)), 40, 2))
    for features in (0, 33, 39, 41, 70):
        with pytest.raises(ValueError, match=r"\(\.\.\., 40\)"):
            rows(torch.ones(2, features))
        with pytest.raises(ValueError, match=r"\(images, 40, height, width\)"):
            images(torch.ones(2, features, 2, 2))
        with pytest.raises(ValueError, match=r"\(images, 40, length\)"):
            line(torch.ones(2, features, 2))
    assert rows(torch.ones(40)).shape == (7,)


def test_a_packed_model_is_refused_by_what_needs_the_model(tmp_path):
    packed = vispa.pack(small())
    for verb in (
        vispa.pack, vispa.harden, vispa.binarize, lambda model: vispa.save_packed(model, tmp_path / "file"),
        lambda model: vispa.export_onnx(model, tmp_path / "file", torch.ones(2, 3, 8, 8)),
    ):  # fmt: skip
        with pytest.raises(TypeError, match="it is packed"):
            verb(packed)
    with pytest.raises(TypeError, match=r"submodule '0' is packed"):
        vispa.pack(nn.Sequential(packed))


def test_a_pickled_model_goes_on(tmp_path):
    packed, (inputs, *_) = vispa.pack(small()), inputs_and_others(2, 3, 8, 8)
    expected, memory = packed(inputs), io.BytesIO()
    torch.save(packed, memory)
    memory.seek(0)
    again = torch.load(memory, weights_only=False)
    assert torch.equal(again(inputs), expected)
    assert vispa.packing(again) == vispa.packing(packed)


def test_graphs_of_others_are_no_signs():
    class Padded(nn.Module):
        def __init__(self, widths, by_name):
            super().__init__()
            self.widths, self.by_name = widths, by_name

        def forward(self, inputs):
            if self.by_name:
                return functional.pad(inputs, pad=self.widths)
            return functional.pad(inputs, self.widths)

    for widths in ((1, 1, 1, 1), (-1, -1), (0, 1)):
        for by_name in (False, True):
            first = torch.fx.symbolic_trace(Padded(widths, by_name))
            model = nn.Sequential(first, nn.Conv2d(3, 32, 1), vispa.SignActivation(), nn.Conv2d(32, 8, 1))
            assert_computes_its_twin(hardened(model, 3, 5, 5), inputs_and_others(2, 3, 5, 5))


class WithOptions(nn.Module):
    """A block within a model whose inputs can be left out."""

    def __init__(self, by_branch):
        super().__init__()
        self.block = nn.Sequential(vispa.SignActivation(), nn.Conv2d(32, 32, 1), nn.BatchNorm2d(32))
        self.by_branch = by_branch

    def forward(self, inputs, mask=None, scale=1.0):
        outputs = self.block(inputs)
        if self.by_branch:
            return outputs * scale if mask is None else outputs + mask
        return functional.scaled_dot_product_attention(outputs, outputs, outputs, mask, scale=scale)


@pytest.mark.parametrize("by_branch", [False, True])
def test_inputs_that_can_be_left_out(by_branch):
    model = hardened(WithOptions(by_branch), 32, 5, 5)
    packed = vispa.pack(model)
    expected = twin(model, ["block.1"])
    inputs, mask, _ = inputs_and_others()
    mask = mask[:, :1]
    with torch.no_grad():
        for given in ((inputs,), (inputs, mask), (inputs, None)):
            assert torch.equal(packed(*given), expected(*given))
        assert torch.equal(packed(inputs, scale=2.0), expected(inputs, scale=2.0))


def test_a_layer_that_adds_wants_something_to_add():
    layer = nn.Conv2d(32, 32, 1)
    layer.weight.data = layer.weight.data.sign()
    with pytest.raises(TypeError, match="residual must be something to add"):
        PackedConv2d(layer, residual=True)(torch.ones(1, 32, 2, 2))
    with pytest.raises(TypeError, match="residual must be None"):
        PackedConv2d(layer)(torch.ones(1, 32, 2, 2), torch.ones(1, 32, 2, 2))


def test_infinite_factors_of_a_normalisation_are_left_to_torch():
    model = nn.Sequential(nn.Linear(8, 40), vispa.SignActivation(), nn.Linear(40, 40), nn.BatchNorm1d(40))
    model = hardened(model, 8)
    model[3].running_var[::3], model[3].running_var[1::3], model[3].eps = 0.0, float("nan"), 0.0
    packed, expected = vispa.pack(model), twin(model, ["2"])
    for inputs in inputs_and_others(4, 8):
        with torch.no_grad():
            found, wanted = packed(inputs), expected(inputs)
        assert torch.equal(found.isnan(), wanted.isnan())
        assert torch.equal(found.nan_to_num(), wanted.nan_to_num())


def test_volumes_beside_images():
    model = nn.Sequential(
        nn.Conv3d(3, 32, 1), vispa.SignActivation(), nn.Flatten(2, 3), nn.Conv2d(32, 8, 3), nn.Flatten(2),
        vispa.SignActivation(), nn.Conv1d(8, 4, 1),
    )  # fmt: skip
    model = hardened(model, 3, 2, 3, 4)
    packed, (inputs, *_) = vispa.pack(model), inputs_and_others(2, 3, 2, 3, 4)
    assert [record.kind for record in vispa.packing(packed)] == ["bits to floats", "bits to floats"]
    torch.testing.assert_close(packed(inputs), model(inputs), rtol=1e-4, atol=1e-4)


class Named(nn.Module):
    """A model whose part has the name of a packed model's."""

    def __init__(self, traced):
        super().__init__()
        self.network = nn.Sequential(nn.Linear(32, 40), nn.ReLU(), nn.Linear(40, 8))
        self.traced = traced

    def forward(self, inputs):
        if not self.traced and inputs.mean() > 9:
            return inputs
        return self.network(inputs)


@pytest.mark.parametrize("traced", [True, False])
def test_records_of_parts_called_network(traced):
    model = vispa.harden(vispa.binarize(Named(traced), rank=1, keep=("first",))).eval()
    packed, inputs = vispa.pack(model, real_inputs=True), torch.randn(3, 32)
    assert kinds(packed) == {"network.0": "float32", "network.2": "floats to floats"}
    torch.testing.assert_close(packed(inputs), model(inputs))
    with pytest.raises(ValueError, match=r"inputs must be \(\.\.\., 40\)"):
        packed.get_submodule(vispa.packing(packed)[1].packed)(torch.ones(2, 39))


def test_modules_that_read_the_weights_of_others():
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    model = vispa.harden(vispa.binarize(layer, rank=1, keep=())).eval()
    packed, inputs = vispa.pack(model, real_inputs=True), torch.randn(3, 5, 32)
    assert torch.equal(packed.linear1.weight, model.linear1.weight)
    # torch's own fused path, which reads the weights, and the other one
    for given in (inputs, inputs.clone().requires_grad_()):
        torch.testing.assert_close(packed(given), model(given))
    rows = Graph(lambda self, inputs: self.rows(self.sign(inputs)) + self.rows.weight.sum())
    rows.rows = nn.Linear(32, 4)
    model = vispa.harden(vispa.binarize(rows, rank=1, layers=["rows"])).eval()
    for real in (False, True):
        torch.testing.assert_close(vispa.pack(model, real_inputs=real)(inputs), model(inputs))


class Remembering(nn.Module):
    """Adds what it computed before, and counts its calls."""

    def __init__(self, kept):
        super().__init__()
        self.block = nn.Sequential(vispa.SignActivation(), nn.Conv2d(32, 32, 1), nn.BatchNorm2d(32))
        self.kept, self.calls, self.before = kept, 0, None
        self.register_buffer("total", torch.zeros(1))

    def forward(self, inputs):
        outputs = self.block(inputs)
        if self.kept == "tensor":
            outputs = outputs if self.before is None else outputs + self.before
            self.before = outputs.detach()
        elif self.kept == "number":
            self.calls += 1
            outputs = outputs * self.calls
        else:
            self.total = self.total + outputs.mean()
            outputs = outputs + self.total
        return outputs


@pytest.mark.parametrize("kept", ["tensor", "number", "buffer"])
def test_what_a_model_keeps_between_calls_goes_on(kept):
    torch.manual_seed(0)
    model = vispa.harden(vispa.binarize(Remembering(kept), rank=1, keep=())).eval()
    packed = vispa.pack(model)
    for inputs in inputs_and_others():
        with torch.no_grad():
            torch.testing.assert_close(packed(inputs), model(inputs), rtol=1e-4, atol=1e-4)
