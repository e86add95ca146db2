"""Optimizers of every kind: several, wrapped ones, ones for matrices, and their state in any order."""

import copy

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW

import vispa
from vispa.nn import binary_layers


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))


def radii(model: nn.Module) -> list[torch.Tensor]:
    """Root mean square of the rows' norms in every channel."""
    found = []
    for layer in binary_layers(model):
        mean, factor = layer.mean.detach(), layer.weight.factor.detach()
        squares = mean.square() + factor.square().sum(1) / layer.weight.scale
        found.append(squares.mean(1).sqrt())
    return found


def train(model: nn.Module, optimizer, steps: int = 3) -> None:
    torch.manual_seed(7)
    inputs, labels = torch.randn(20, 6), torch.randint(3, (20,))
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()


class SharpnessAware(torch.optim.Optimizer):
    """As published: two steps by name, the second by an optimizer inside."""

    def __init__(self, parameters, base=SGD, rho: float = 0.05, **options) -> None:
        super().__init__(parameters, {"rho": rho, **options})
        self.base_optimizer = base(self.param_groups, **options)
        self.param_groups = self.base_optimizer.param_groups

    @torch.no_grad()
    def first_step(self) -> None:
        for group in self.param_groups:
            for values in group["params"]:
                if values.grad is not None:
                    self.state[values]["before"] = values.clone()
                    values.add_(group["rho"] * values.grad)

    @torch.no_grad()
    def second_step(self) -> None:
        for group in self.param_groups:
            for values in group["params"]:
                if "before" in self.state[values]:
                    values.copy_(self.state[values]["before"])
        self.base_optimizer.step()


class Prepared(torch.optim.Optimizer):
    """As accelerate wraps optimizers: no initialisation of its own."""

    def __init__(self, optimizer) -> None:
        self.optimizer = optimizer

    @property
    def param_groups(self):
        return self.optimizer.param_groups

    def step(self, closure=None):
        self.optimizer.step(closure)

    def zero_grad(self, set_to_none=True):
        self.optimizer.zero_grad(set_to_none)


class Uninitialised(SGD):
    def __init__(self, parameters) -> None:
        self.param_groups = [{"params": list(parameters)}]


class Muon(SGD):
    """A namesake that trains matrices alone."""


def test_sharpness_aware_steps_project():
    model = vispa.binarize(network(), rank=2, projection="paper", keep=())
    optimizer = vispa.attach(SharpnessAware(model.parameters(), lr=0.5), model)
    before = [layer.weight.factor.detach().clone() for layer in binary_layers(model)]
    for _ in range(3):
        model(torch.randn(5, 6)).square().sum().backward()
        optimizer.first_step()
        optimizer.second_step()
    for squares, layer, start in zip(radii(model), binary_layers(model), before, strict=True):
        torch.testing.assert_close(squares, torch.ones_like(squares))
        assert not torch.equal(layer.weight.factor, start)


def test_a_prepared_optimizer_is_attached_inside():
    model = vispa.binarize(network(), rank=2, projection="paper", keep=())
    wrapped = Prepared(SGD(model.parameters(), lr=0.5))
    assert vispa.attach(wrapped, model) is wrapped
    train(model, wrapped)
    for squares in radii(model):
        torch.testing.assert_close(squares, torch.ones_like(squares))


def test_what_nothing_can_follow_is_refused():
    model = vispa.binarize(network())
    with pytest.raises(TypeError, match="Uninitialised whose __init__ does not call"):
        vispa.attach(Uninitialised(model.parameters()), model)
    without = SharpnessAware(model.parameters(), lr=0.1)
    del without.base_optimizer
    with pytest.raises(TypeError, match=r"vispa\.project\(model\) after second_step"):
        vispa.attach(without, model)


def test_matrices_to_one_and_the_rest_to_another():
    model = network()
    rest = [values for layer in (model[0], model[4]) for values in layer.parameters()] + [model[2].bias]
    muon, adam = Muon([model[2].weight], lr=0.01), AdamW(rest, lr=0.01)
    vispa.binarize(model, rank=2)
    groups = [list(each.param_groups[0]["params"]) for each in (muon, adam)]
    with pytest.raises(
        ValueError, match=r"Muon, which trains matrices alone.*vispa\.attach\(\[muon, adamw\]"
    ):
        vispa.attach(muon, model)
    assert [len(each.param_groups[0]["params"]) for each in (muon, adam)] == [len(each) for each in groups]
    both = vispa.attach([muon, adam], model)
    assert both == [muon, adam]
    assert [values.ndim for values in muon.param_groups[0]["params"]] == [2]
    held = [id(values) for each in both for values in each.param_groups[0]["params"]]
    assert sorted(held) == sorted(id(values) for values in model.parameters())
    with pytest.raises(ValueError, match="held by two of the optimizers"):
        vispa.attach([muon, SGD(model.parameters(), lr=0.1)], model)


def test_a_failure_changes_nothing():
    model = network()
    first = AdamW(model[2].parameters(), lr=0.01)
    second = torch.optim.Adagrad([model[0].weight], lr=0.01)
    vispa.binarize(model, rank=2, keep=("last",))
    sizes = [len(each.param_groups[0]["params"]) for each in (first, second)]
    with pytest.raises(ValueError, match="Adagrad"):
        vispa.attach([first, second], model)
    assert [len(each.param_groups[0]["params"]) for each in (first, second)] == sizes
    assert not first._optimizer_step_post_hooks


def test_a_history_that_lacks_the_factor_is_refused():
    model = network()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = model(torch.ones(4, 6)).square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    vispa.binarize(model, rank=2)
    with pytest.raises(ValueError, match="before its first step"):
        vispa.attach(optimizer, model)
    fresh = vispa.attach(torch.optim.LBFGS(model.parameters(), lr=0.1), model)
    for _ in range(2):
        fresh.zero_grad()
        model(torch.ones(4, 6)).square().sum().backward()
        fresh.step(lambda: torch.zeros(()))


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW])
@pytest.mark.parametrize("bound", [False, True], ids=["made before", "made after"])
@pytest.mark.parametrize("named", [False, True], ids=["nameless", "named"])
def test_an_optimizer_made_before_or_after_binarize_has_one_order(kind, bound, named):
    def made(before: bool):
        model = network()
        options = {"momentum": 0.9} if kind is SGD else {}
        parameters = model.named_parameters if named else model.parameters
        if before:
            optimizer = kind(parameters(), lr=0.05, weight_decay=0.1, **options)
            torch.manual_seed(1)
            vispa.binarize(model, rank=2)
        else:
            torch.manual_seed(1)
            vispa.binarize(model, rank=2)
            optimizer = kind(parameters(), lr=0.05, weight_decay=0.1, **options)
        return model, vispa.attach(optimizer, model)

    (first, one), (second, other) = made(bound), made(not bound)
    names = {id(values): name for name, values in first.named_parameters()}
    assert [names[id(values)] for values in one.param_groups[0]["params"]] == list(names.values())
    train(first, one)
    second.load_state_dict(first.state_dict())
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    train(first, one)
    train(second, other)
    for values, twin in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(values, twin)


def test_a_state_in_another_order_goes_where_its_names_say():
    model = vispa.binarize(network(), rank=2)
    optimizer = vispa.attach(Adam(model.parameters(), lr=0.01), model)
    train(model, optimizer)
    shuffled = Adam(list(model.parameters())[::-1], lr=0.01)
    vispa.attach(shuffled, model)
    shuffled.load_state_dict(optimizer.state_dict())
    for values in model.parameters():
        for key in ("exp_avg", "exp_avg_sq"):
            assert torch.equal(shuffled.state[values][key], optimizer.state[values][key])


def test_a_state_of_other_parameters_is_refused():
    model = vispa.binarize(network(), rank=2)
    optimizer = vispa.attach(Adam(model.parameters(), lr=0.01), model)
    train(model, optimizer)
    saved = copy.deepcopy(optimizer.state_dict())
    saved["parameter_names"][0][0] = "elsewhere"
    with pytest.raises(ValueError, match="left over: 'elsewhere'"):
        optimizer.load_state_dict(saved)
    # A state without names, in the order of before: shapes tell.
    plain = network()
    unattached = Adam(plain.parameters(), lr=0.01)
    plain(torch.ones(2, 6)).sum().backward()
    unattached.step()
    nameless = unattached.state_dict()
    few = vispa.attach(Adam([*model.parameters()][:6], lr=0.01), model)
    nameless["param_groups"][0]["params"] = nameless["param_groups"][0]["params"][
        : len(few.param_groups[0]["params"])
    ]
    with pytest.raises(ValueError, match="state of shape"):
        few.load_state_dict(nameless)
