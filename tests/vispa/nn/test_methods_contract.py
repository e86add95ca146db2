"""The contract that every training method keeps: one test a promise, all methods alike."""

import copy
import inspect

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import vispa
from vispa.nn import binary_layers
from vispa.nn.methods.base import Method
from vispa.nn.methods.registry import METHODS, as_method, options_of

STEPPED = sorted(set(METHODS) - {"bop"})  # whose means any optimizer moves
SAMPLED = [name for name, method in METHODS.items() if method.is_distribution]
# At the published start no noise turns a sign.
UNCERTAIN = {"bayesbinn": {"initial_size": None}}
methods = pytest.mark.parametrize("name", METHODS)


def plain() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.Hardtanh(),
        nn.ConvTranspose2d(6, 4, 3, groups=2),
        nn.BatchNorm2d(4),
        nn.Flatten(),
        nn.Linear(4 * 49, 8),
        nn.BatchNorm1d(8),
        nn.Linear(8, 3),
    )


def made(name: str, **options) -> nn.Sequential:
    torch.manual_seed(0)
    return vispa.binarize(plain(), method=name, **options)


def batch(seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(9, 2, 5, 5, generator=generator), torch.arange(9) % 3


def loss_of(model: nn.Module, seed: int = 1) -> torch.Tensor:
    inputs, labels = batch(seed)
    return cross_entropy(model(inputs), labels) + vispa.penalty(model)


def steps(model: nn.Module, count: int, first: int = 0) -> torch.optim.Optimizer:
    optimizer = vispa.attach(torch.optim.SGD(model.parameters(), lr=0.05), model)
    for step in range(first, first + count):
        vispa.anneal(model, step / 10)
        optimizer.zero_grad()
        loss_of(model, seed=step).backward()
        optimizer.step()
    return optimizer


def assert_binary(model: nn.Module) -> None:
    """Every row of a deployed weight has one magnitude."""
    hard = vispa.harden(model)
    for found in binary_layers(model):
        rows = found.weight.layout.rows(hard.get_submodule(found.name).weight.detach()).flatten(1)
        torch.testing.assert_close(
            rows.abs(), rows.abs().amax(1, keepdim=True).expand_as(rows), rtol=1e-6, atol=0
        )
        assert bool((rows != 0).all())


@methods
def test_every_parameter_of_a_weight_gets_a_finite_gradient(name):
    model = made(name)
    vispa.anneal(model, 0.5)
    loss_of(model).backward()
    for key, values in model.named_parameters():
        assert values.grad is not None, key
        assert bool(torch.isfinite(values.grad).all()), key
    if name != "rbnn":  # at its published angle nothing reaches the latent weights
        assert all(bool(found.mean.grad.any()) for found in binary_layers(model))


@methods
def test_evaluation_computes_the_hardened_network_and_that_is_binary(name):
    model = made(name)
    if name in STEPPED:
        steps(model, 3)
    model.eval()
    inputs, _ = batch()
    with torch.no_grad():
        torch.testing.assert_close(vispa.harden(model)(inputs), model(inputs))
    assert_binary(model)
    assert vispa.harden(model).state_dict().keys() == plain().state_dict().keys()


@methods
def test_the_signs_that_a_tracker_watches_are_those_deployed(name):
    model = made(
        name, **({} if "channel_scale" not in options_of(METHODS[name]) else {"channel_scale": "none"})
    )
    for found in binary_layers(model):
        deployed = vispa.harden(model).get_submodule(found.name).weight
        assert torch.equal(found.weight.positive(found.mean), deployed > 0)
    assert vispa.FlipTracker(model).agreement().total == 1.0


@pytest.mark.parametrize("name", STEPPED)
def test_a_state_dict_and_an_optimizer_state_go_on_bit_for_bit(name):
    whole = made(name)
    torch.manual_seed(5)
    steps(whole, 3)
    torch.manual_seed(6)
    steps(whole, 3, first=7)
    first = made(name)
    torch.manual_seed(5)
    steps(first, 3)
    torch.manual_seed(1234)
    second = vispa.binarize(plain(), method=name)
    second.load_state_dict(first.state_dict())
    torch.manual_seed(6)
    steps(second, 3, first=7)
    for key, values in whole.state_dict().items():
        assert torch.equal(values, second.state_dict()[key]), key


@methods
def test_a_deep_copy_is_equal_and_apart(name):
    model = made(name)
    twin = copy.deepcopy(model)
    results = []
    for each in (model, twin):
        torch.manual_seed(3)
        results.append(loss_of(each))
    assert torch.equal(*results)
    with torch.no_grad():
        for values in twin.parameters():
            values.zero_()
    assert all(bool(found.mean.any()) for found in binary_layers(model))


@methods
def test_one_seed_one_result_and_noise_only_where_there_is_a_distribution(name):
    model, inputs = made(name, **UNCERTAIN.get(name, {})), batch()[0]
    torch.manual_seed(3)
    first = model(inputs)
    torch.manual_seed(3)
    assert torch.equal(first, model(inputs))
    assert torch.equal(first, model(inputs)) == (name not in SAMPLED)
    before = torch.random.get_rng_state()
    model(inputs)
    assert torch.equal(before, torch.random.get_rng_state()) == (name not in SAMPLED)


@pytest.mark.parametrize("name", SAMPLED)
def test_an_ensemble_averages_networks_that_differ(name):
    model, inputs = made(name, **UNCERTAIN.get(name, {})), batch()[0]
    model.eval()
    with torch.no_grad():
        single = [vispa.harden(model, how="sample").eval()(inputs) for _ in range(2)]
    assert not torch.equal(*single)
    assert vispa.ensemble(model, inputs, samples=3).shape == (9, 3)


@methods
def test_float_weights_give_their_signs_where_rows_are_not_centred(name):
    source, model = plain(), made(name)
    vispa.load_float(model, source)
    assert_binary(model)
    if name not in ("xnor", "irnet", "recu", "rbnn"):  # these centre the rows
        for found in binary_layers(model):
            floats = source.get_submodule(found.name).weight
            assert torch.equal(found.weight.positive(found.mean), floats > 0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.compile instantiates autograd functions
@methods
def test_compiled_training_equals_eager(name):
    model = made(name)
    vispa.anneal(model, 0.4)
    noise_free = name not in SAMPLED
    compiled = torch.compile(copy.deepcopy(model), backend="aot_eager")
    inputs, labels = batch()
    losses = []
    for each in (model, compiled):
        torch.manual_seed(2)
        loss = cross_entropy(each(inputs), labels)
        loss.backward()
        losses.append(loss)
    if noise_free:  # a compiled layer draws where its weight is read
        torch.testing.assert_close(*losses)
        for (key, ours), theirs in zip(model.named_parameters(), compiled.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad, msg=key)
    assert all(bool(torch.isfinite(loss)) for loss in losses)


@methods
@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_annealing_keeps_weights_finite_and_deployment_binary(name, progress):
    model = made(name)
    vispa.anneal(model, progress)
    assert bool(torch.isfinite(loss_of(model)))
    assert_binary(model)


@methods
def test_double_precision_stays_double(name):
    model = made(name).double()
    vispa.anneal(model, 0.5)
    inputs, labels = batch()
    cross_entropy(model(inputs.double()), labels).backward()
    assert {values.grad.dtype for values in model.parameters() if values.grad is not None} == {torch.float64}


@methods
def test_a_method_given_with_its_options_is_that_of_its_name(name):
    model = vispa.binarize(plain(), method=METHODS[name]())
    assert {type(found.weight.method) for found in binary_layers(model)} == {METHODS[name]}
    assert binary_layers(model)[0].weight.method == as_method(name, {})


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"method": "ste", "rank": 8, "residual": True}, ValueError, "rank does not belong to method 'ste'"),
        ({"method": "irnet", "channel_scale": "none"}, ValueError, "it belongs to 'vispa', 'ste'"),
        ({"method": "ste", "speed": 1}, TypeError, "nor to any other"),
        ({"method": METHODS["ste"](), "rank": 2}, TypeError, "options belong to the method that is given"),
        ({"method": 3}, TypeError, "method must be a name or a Method; found int"),
        ({"method": "ste", "kernel": "relu"}, ValueError, "kernel must be one of"),
        ({"method": "recu", "tau_start": 0.4}, ValueError, r"tau_start must lie within \(1/2, 1\)"),
        ({"method": "biper", "binary_from": 1.5}, ValueError, "binary_from must be a share of training"),
        ({"method": "mirror", "end": 0.5}, ValueError, "end must be at least 1"),
        ({"method": "proxquant", "lazy": 1}, TypeError, "lazy"),
        ({"method": "irnet", "published_zero": "yes"}, TypeError, "published_zero"),
    ],
)
def test_options_that_do_not_fit_are_refused_and_nothing_changes(options, error, words):
    model = plain()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(error, match=words):
        vispa.binarize(model, **options)
    assert all(torch.equal(values, before[key]) for key, values in model.state_dict().items())


@pytest.mark.parametrize(
    ("name", "layer", "words"),
    [
        ("irnet", nn.Conv2d(4, 4, 1, groups=4), "needs at least 2 weights an output channel; found 1"),
        ("xnor", nn.Conv2d(4, 4, 3, groups=4), "needs at least 2 of them; found 1"),
    ],
)
def test_layers_that_do_not_suit_a_method_are_refused(name, layer, words):
    with pytest.raises(ValueError, match=words):
        vispa.binarize(nn.Sequential(layer), method=name, keep=())


def test_annealing_and_penalties_refuse_what_they_cannot_use():
    with pytest.raises(ValueError, match="no binary layer"):
        vispa.anneal(nn.Linear(2, 2), 0.5)
    with pytest.raises(ValueError, match="at most 1"):
        vispa.anneal(made("ste"), 1.5)
    assert issubclass(METHODS["ste"], Method)


def test_no_option_of_a_method_hides_behind_an_argument_of_binarize():
    arguments = set(inspect.signature(vispa.binarize).parameters) - {"options"}
    assert not {name: set(options_of(method)) & arguments for name, method in METHODS.items()
                if set(options_of(method)) & arguments}  # fmt: skip
