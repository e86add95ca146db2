"""One draw of the noise for all that is to see one sample: attention, tied weights, unrolled cells."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import vispa
from vispa.nn import binary_layers

# Dynamo instantiates the class that torch itself asks nobody to instantiate.
compiles = pytest.mark.filterwarnings("ignore:.*Function'> should not be instantiated:DeprecationWarning")


def every_layer(name: str, module: nn.Module) -> bool:
    return True


def attention(**sizes) -> nn.MultiheadAttention:
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(8, 2, batch_first=True, **sizes)
    return vispa.binarize(layer, rank=2, keep=(), noise_ratio=1.0)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({}, {"in_proj_weight", "weight"}),
        ({"kdim": 6, "vdim": 5}, {"q_proj_weight", "k_proj_weight", "v_proj_weight", "weight"}),
    ],
)
def test_all_projections_of_an_attention_are_binary_and_train(sizes, expected):
    layer = attention(**sizes)
    found = binary_layers(layer)
    assert {each.attribute for each in found} == expected
    key = torch.randn(2, 4, sizes.get("kdim", 8))
    value = torch.randn(2, 4, sizes.get("vdim", 8))
    query = torch.randn(2, 3, 8)
    optimizer = vispa.attach(torch.optim.SGD(layer.parameters(), lr=0.1), layer)
    first = layer(query, key, value)[0]
    assert not torch.equal(first, layer(query, key, value)[0])
    first.square().sum().backward()
    assert all(each.weight.factor.grad.abs().max() > 0 for each in found)
    assert all(each.weight.alpha.grad.abs().max() > 0 for each in found)
    optimizer.step()
    plain = vispa.harden(layer.eval())
    assert type(plain) is nn.MultiheadAttention
    torch.testing.assert_close(plain(query, key, value)[0], layer(query, key, value)[0])
    fresh = nn.MultiheadAttention(8, 2, batch_first=True, **sizes)
    assert list(fresh.state_dict()) == list(plain.state_dict())
    fresh.load_state_dict(plain.state_dict())
    torch.testing.assert_close(fresh.eval()(query, key, value)[0], layer(query, key, value)[0])


def test_biases_of_an_attention_add_what_they_added():
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(8, 2)
    with torch.no_grad():
        layer.in_proj_bias.normal_()
    before = layer.in_proj_bias.detach().clone()
    vispa.binarize(layer, keep=())
    torch.testing.assert_close(layer.in_proj_bias, before)
    layer.in_proj_bias = 2 * before
    torch.testing.assert_close(layer.in_proj_bias, 2 * before)


class Autoencoder(nn.Module):
    """Encoder and decoder use one weight; both are read in `body`, which a checkpoint may wrap."""

    def __init__(self, checkpointed: str = "nothing") -> None:
        super().__init__()
        self.inner = nn.ModuleDict({"encoder": nn.Linear(6, 6), "decoder": nn.Linear(6, 6)})
        self.inner["decoder"].weight = self.inner["encoder"].weight
        self.checkpointed = checkpointed
        self.seen: list[torch.Tensor] = []

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.seen = [layer.weight for layer in self.inner.values()]
        if self.checkpointed == "encoder":
            hidden = checkpoint(self.inner["encoder"], inputs, use_reentrant=False)
        else:
            hidden = self.inner["encoder"](inputs)
        return self.inner["decoder"](torch.tanh(hidden))


class Checkpointed(nn.Module):
    def __init__(self, inner: nn.Module, active: bool) -> None:
        super().__init__()
        self.inner, self.active = inner, active

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return checkpoint(self.inner, inputs, use_reentrant=False) if self.active else self.inner(inputs)


def tied(checkpointed: str = "nothing") -> Autoencoder:
    torch.manual_seed(0)
    return vispa.binarize(Autoencoder(checkpointed), rank=2, keep=(), noise_ratio=1.0)


def test_tied_weights_are_one_sample_in_a_forward_of_the_module_that_holds_them():
    model = tied()
    inputs = torch.randn(3, 6)
    model(inputs)
    first = model.seen
    model(inputs)
    assert torch.equal(first[0], first[1])
    assert torch.equal(model.seen[0], model.seen[1])
    assert not torch.equal(first[0], model.seen[0])
    encoder = model.inner["encoder"]
    assert not torch.equal(encoder(inputs), encoder(inputs))  # alone, every call is a sample
    assert all(found.weight.noise is None for found in binary_layers(model))


@pytest.mark.parametrize("forwards", [1, 2])
def test_a_checkpoint_around_the_scope_changes_no_gradient(forwards):
    results = []
    for active in (False, True):
        model = Checkpointed(tied(), active)
        torch.manual_seed(7)
        inputs = torch.randn(forwards, 3, 6)
        torch.manual_seed(8)
        sum(model(each).square().sum() for each in inputs).backward()
        results.append([values.grad for values in model.parameters()])
    for plain, recomputed in zip(*results, strict=True):
        assert plain.abs().max() > 0
        assert torch.equal(plain, recomputed)


def test_a_checkpoint_inside_the_scope_is_refused_not_wrong():
    model = tied(checkpointed="encoder")
    loss = model(torch.randn(3, 6)).sum()
    with pytest.raises(RuntimeError, match=r"recomputed outside that module.*nearest module that holds all"):
        loss.backward()
    loss = model.eval()(torch.randn(3, 6)).sum()
    loss.backward()  # nothing is sampled, nothing is lost


@compiles
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_compiled_tied_weights_equal_eager():
    torch._dynamo.reset()
    model = tied()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    inputs = torch.randn(3, 6)
    results = []
    for current in (model, compiled):
        model.zero_grad()
        torch.manual_seed(3)
        output = current(inputs)
        output.square().sum().backward()
        results.append([output.detach(), *(values.grad.clone() for values in model.parameters())])
        model.seen = []
    for eager, other in zip(*results, strict=True):
        torch.testing.assert_close(other, eager)


@compiles
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_compiled_checkpointed_scopes_equal_eager_with_a_graph_break():
    torch._dynamo.reset()
    inputs = torch.randn(3, 6)
    results = []
    for active in (False, True):
        model = Checkpointed(tied(), active)
        current = torch.compile(model, backend="aot_eager") if active else model
        torch.manual_seed(3)
        current(inputs).square().sum().backward()
        results.append([values.grad for values in model.parameters()])
    for eager, other in zip(*results, strict=True):
        torch.testing.assert_close(other, eager)


class LanguageModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 5)
        self.inner = nn.Linear(5, 5)
        self.head = nn.Linear(5, 7, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.inner(self.embedding(tokens))))


def test_an_embedding_tied_to_the_head_is_chosen_with_it_or_not_at_all():
    with pytest.raises(ValueError, match=r"tied to 'embedding.weight'.*choose both with layers="):
        vispa.binarize(LanguageModel(), layers=["head"])
    with pytest.raises(ValueError, match=r"tied to 'head.weight'"):
        vispa.binarize(LanguageModel(), layers=["embedding"])
    model = vispa.binarize(LanguageModel(), layers=["embedding", "head"], rank=1)
    one, other = binary_layers(model)
    assert one.weight is other.weight
    model(torch.tensor([[1, 2]])).sum().backward()
    assert one.weight.factor.grad.abs().max() > 0
    plain = vispa.harden(model)
    assert plain.head.weight is plain.embedding.weight


def test_weights_tied_across_different_rows_are_refused():
    model = nn.Sequential(nn.ConvTranspose1d(4, 4, 3), nn.Conv1d(4, 4, 3))
    model[0].weight = model[1].weight
    with pytest.raises(ValueError, match="output channels lie along another axis"):
        vispa.binarize(model, keep=())


class Cell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.Linear(4, 4)

    def forward(self, sequence: torch.Tensor) -> torch.Tensor:
        state = sequence[0]
        self.weights = []
        for step in sequence:
            state = torch.tanh(step + self.recurrent(state))
            self.weights.append(self.recurrent.weight)
        return state


@pytest.mark.parametrize(("scopes", "shared"), [((), False), (("cell",), True), (("c*l",), True)])
def test_an_unrolled_cell_keeps_its_sample_on_request(scopes, shared):
    torch.manual_seed(0)
    model = nn.ModuleDict({"cell": Cell()})
    vispa.binarize(model, keep=(), noise_ratio=1.0, scopes=scopes)
    cell = model["cell"]
    calls: list[torch.Tensor] = []
    cell.recurrent.register_forward_pre_hook(lambda layer, inputs: calls.append(layer.weight))
    cell(torch.zeros(3, 4))
    assert torch.equal(calls[0], calls[1]) is shared
    before = calls[0]
    cell(torch.zeros(3, 4))
    assert not torch.equal(before, calls[3])


def test_a_scope_works_out_a_weight_once_for_all_its_reads(monkeypatch):
    results = []
    for scopes in ((), ("cell",)):
        torch.manual_seed(0)
        model = nn.ModuleDict({"cell": Cell()})
        vispa.binarize(model, keep=(), noise_ratio=1.0, scopes=scopes)
        (found,) = binary_layers(model)
        noise = found.weight.draw()
        monkeypatch.setattr(found.weight, "draw", lambda noise=noise: noise)
        calls: list[torch.Tensor] = []
        realise = found.weight.realise
        monkeypatch.setattr(
            found.weight, "realise", lambda *args, f=realise, calls=calls: calls.append(args) or f(*args)
        )
        torch.manual_seed(1)
        model["cell"](torch.randn(5, 4)).square().sum().backward()
        results.append((len(calls), [values.grad for values in model.parameters()]))
        assert not found.weight.kept
    (often, separate), (once, together) = results
    assert (often, once) == (10, 1)
    for each, other in zip(separate, together, strict=True):
        assert each.abs().max() > 0
        torch.testing.assert_close(other, each)


def test_a_read_without_gradients_does_not_take_them_from_the_next_one():
    model = tied()
    layer = model.inner["encoder"]
    with torch.no_grad():
        layer.register_forward_pre_hook(lambda layer, inputs: torch.no_grad()(lambda: layer.weight)())
    model(torch.randn(3, 6)).sum().backward()
    (found, _) = binary_layers(model)
    assert found.weight.factor.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("scopes", "error", "words"),
    [
        ("cell", TypeError, "scopes must be a collection of names"),
        (("sell",), ValueError, "scopes names 'sell', which is no module of the model"),
        (("list",), ValueError, "'list', a ModuleList without a forward of its own"),
    ],
)
def test_scopes_that_cannot_be_are_refused(scopes, error, words):
    model = nn.ModuleDict({"cell": Cell(), "list": nn.ModuleList([nn.Linear(2, 2)])})
    with pytest.raises(error, match=words):
        vispa.binarize(model, keep=(), scopes=scopes)
