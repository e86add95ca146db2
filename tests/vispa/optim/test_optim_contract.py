"""What holds for every optimizer here: copies, saves, closures, groups, scaling, gradients none or sparse."""

import copy
import io
import pickle
import warnings

import pytest
import torch
from torch import nn

import vispa
from vispa.optim import OptimizerGroup

MADE = {
    "Bop": lambda params, **options: vispa.Bop(params, gamma=0.1, **options),
    "Bop2ndOrder": lambda params, **options: vispa.Bop2ndOrder(params, gamma=0.1, **options),
    "BayesBiNN": lambda params, **options: vispa.BayesBiNN(params, lr=0.1, momentum=0.9, **options),
    "BayesBiNN of three samples": lambda params, **options: vispa.BayesBiNN(
        params, lr=0.1, momentum=0.9, samples=3, **options
    ),
    "MirrorDescent": lambda params, **options: vispa.MirrorDescent(params, lr=0.1, **options),
}
every = pytest.mark.parametrize("name", MADE)


def fresh(name, seed=0):
    signs = torch.randn(6, generator=torch.Generator().manual_seed(seed)).sign()
    return nn.Parameter(0.5 * signs if name == "MirrorDescent" else signs)


def closure_of(values, optimizer, *, clears=True):
    """Deterministic from the values alone, and as torch documents closures."""

    def closure():
        if clears:
            optimizer.zero_grad()
        loss = (values * torch.arange(6.0)).sum().square()
        loss.backward()
        return loss

    return closure


@every
@pytest.mark.parametrize("way", ["deepcopy", "pickle", "state"])
def test_a_copy_goes_on_as_the_original(name, way):
    values = fresh(name)
    optimizer = MADE[name]([values])
    optimizer.step(closure_of(values, optimizer))
    if way == "state":
        stored = io.BytesIO()
        torch.save(optimizer.state_dict(), stored)
        stored.seek(0)
        twin = nn.Parameter(values.detach().clone())
        other = MADE[name]([twin])
        other.load_state_dict(torch.load(stored, weights_only=True))
    else:
        other = copy.deepcopy(optimizer) if way == "deepcopy" else pickle.loads(pickle.dumps(optimizer))
        (twin,) = other.param_groups[0]["params"]
    for _ in range(3):
        optimizer.step(closure_of(values, optimizer))
        other.step(closure_of(twin, other))
    assert torch.equal(values, twin)


@every
def test_closures_may_clear_gradients_or_not(name):
    first, second = fresh(name), fresh(name)
    clearing, keeping = MADE[name]([first]), MADE[name]([second])
    for _ in range(3):
        keeping.zero_grad()
        losses = [
            clearing.step(closure_of(first, clearing)),
            keeping.step(closure_of(second, keeping, clears=False)),
        ]
        assert torch.equal(*losses)
    assert torch.equal(first, second)


def test_samples_of_a_step_are_averaged_where_the_closure_clears_them():
    values = nn.Parameter(torch.zeros(2))
    optimizer = vispa.BayesBiNN([values], lr=1.0, samples=2)
    slopes = iter([torch.tensor([1.0, 2.0]), torch.tensor([3.0, 6.0])])

    def closure():
        optimizer.zero_grad()
        loss = (values * next(slopes)).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert values.tolist() == [-2.0, -4.0]


@every
def test_a_failing_closure_moves_nothing(name):
    values = fresh(name)
    optimizer = MADE[name]([values])
    before = values.detach().clone()

    def failing():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        optimizer.step(failing)
    assert torch.equal(values, before)
    assert torch.is_grad_enabled()


@every
def test_sparse_gradients_are_refused_before_anything_moves(name):
    dense, embedding = fresh(name), nn.Embedding(4, 3, sparse=True)
    embedding.weight.data.fill_(0.5 if name == "MirrorDescent" else 1.0)
    optimizer = MADE[name]([dense, *embedding.parameters()])
    before = dense.detach().clone()

    def closure():
        loss = dense.sum() + embedding(torch.tensor([1, 1, 2])).sum()
        loss.backward()
        return loss

    with pytest.raises(TypeError, match="needs dense gradients; found a sparse one"):
        optimizer.step(closure)
    assert torch.equal(dense, before)


@every
def test_a_step_that_the_scaler_skips_moves_nothing(name):
    if "samples" in name:
        pytest.skip("takes a closure, which a scaler does not")
    values = fresh(name)
    optimizer, scaler = MADE[name]([values]), torch.amp.GradScaler("cpu")
    before = values.detach().clone()
    scaler.scale(values.sum() * float("inf")).backward()
    scaler.step(optimizer)
    scaler.update()
    assert torch.equal(values, before)
    assert not optimizer.state


@pytest.mark.parametrize(
    ("name", "options", "error", "words"),
    [
        ("Bop", {"gamma": 2.0}, ValueError, "gamma must be at most 1"),
        ("Bop2ndOrder", {"sigma": 0.0}, ValueError, "sigma must be"),
        ("BayesBiNN", {"lr": -1.0}, ValueError, "lr must be at least 0"),
        ("BayesBiNN", {"momentum": 1.0}, ValueError, r"momentum must lie within \[0, 1\)"),
        ("BayesBiNN", {"train_set_size": float("nan")}, ValueError, "train_set_size must be"),
        ("BayesBiNN", {"reweight": "much"}, TypeError, "reweight must be"),
        ("MirrorDescent", {"lr": -1.0}, ValueError, "lr must be at least 0"),
        ("MirrorDescent", {"beta": 0.0}, ValueError, "beta must be"),
        ("MirrorDescent", {"betas": (0.9, 1.0)}, ValueError, r"betas must lie within \[0, 1\)"),
        ("MirrorDescent", {"betas": 0.9}, TypeError, "betas must be two numbers"),
        ("MirrorDescent", {"eps": 0.0}, ValueError, "eps must be"),
    ],
)
def test_options_of_groups_are_checked_like_those_of_all(name, options, error, words):
    with pytest.raises(error, match=words):
        MADE[name]([{"params": [fresh(name)], **options}])
    optimizer = MADE[name]([fresh(name)])
    with pytest.raises(error, match=words):
        optimizer.add_param_group({"params": [fresh(name, 1)], **options})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize("value", [2.0, -1.5, float("nan")])
def test_mirror_descent_starts_within_the_interval(value):
    with pytest.raises(ValueError, match=r"params must hold weights within \(-1, 1\)"):
        vispa.MirrorDescent([nn.Parameter(torch.tensor([0.5, value]))])
    optimizer = vispa.MirrorDescent([fresh("MirrorDescent")])
    with pytest.raises(ValueError, match="params must hold weights"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.tensor([value]))]})
    assert len(optimizer.param_groups) == 1
    vispa.MirrorDescent([nn.Parameter(torch.tensor([1.0, -1.0]))])  # where rounding leads weights in training


def test_a_group_evaluates_its_closure_once():
    signs, real, calls = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2)), []
    group = OptimizerGroup(vispa.Bop([signs], gamma=1.0), torch.optim.SGD([real], lr=0.5))

    def closure():
        calls.append(torch.is_grad_enabled())
        group.zero_grad()
        loss = (signs * real).sum()
        loss.backward()
        return loss

    with torch.no_grad():
        assert group.step(closure) == 2.0
    assert calls == [True]
    assert (signs.tolist(), real.tolist()) == ([-1.0, -1.0], [0.5, 0.5])
    assert group.step() is None


def test_histograms_name_the_layer_that_is_not_finite():
    model = vispa.binarize(nn.Sequential(nn.Linear(2, 1, bias=False)), keep=(), method="ste")
    model[0].parametrizations.weight.original.data[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"those of '0\.weight' are NaN or infinite"):
        vispa.latent_histograms(model)


def test_a_scaler_steps_a_group():
    signs, real = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    group = OptimizerGroup(vispa.Bop([signs], gamma=1.0), torch.optim.SGD([real], lr=0.5))
    scaler = torch.amp.GradScaler("cpu")
    for factor, expected in ((float("inf"), [1.0, 1.0]), (1.0, [0.5, 0.5])):
        group.zero_grad()
        scaler.scale(factor * (signs * real).sum()).backward()
        scaler.step(group)
        scaler.update()
        assert real.tolist() == expected
    assert signs.tolist() == [-1.0, -1.0]


def test_a_closure_without_a_loss_is_named():
    values = fresh("BayesBiNN")
    before = values.detach().clone()
    with pytest.raises(TypeError, match="closure must return the loss"):
        vispa.BayesBiNN([values]).step(lambda: values.sum().backward())
    assert torch.equal(values, before)


@pytest.mark.parametrize(
    ("name", "option", "bad"),
    [
        ("Bop", "gamma", -1.0),
        ("Bop2ndOrder", "sigma", 2.0),
        ("BayesBiNN", "lr", -1.0),
        ("MirrorDescent", "beta", 0.0),
    ],
)
def test_schedules_stay_within_the_range_of_the_option(name, option, bad):
    optimizer = MADE[name]([{"params": [fresh(name)]}, {"params": [fresh(name, 1)]}])
    before = [group[option] for group in optimizer.param_groups]
    schedule = vispa.OptionSchedule(optimizer, **{option: lambda initial, step: initial if step < 2 else bad})
    schedule.step()
    for _ in range(2):
        with pytest.raises(ValueError, match=option):
            schedule.step()
    assert [group[option] for group in optimizer.param_groups] == before
    assert schedule.steps == 1


@pytest.mark.parametrize(
    "member", [3, None, nn.Linear(2, 2), [torch.optim.SGD([nn.Parameter(torch.ones(1))])]]
)
def test_a_group_takes_optimizers_and_schedules_alone(member):
    with pytest.raises(TypeError, match="members must be optimizers or schedules"):
        OptimizerGroup(torch.optim.SGD([nn.Parameter(torch.ones(1))]), member)


@every
@pytest.mark.parametrize("dtype", [torch.complex64, torch.int64])
def test_parameters_that_are_no_real_numbers_are_refused(name, dtype):
    with pytest.raises(TypeError, match=f"found a parameter of dtype {dtype}"):
        MADE[name]([torch.ones(3, dtype=dtype)])


@every
def test_the_gradient_is_left_as_it_was_and_no_graph_grows(name):
    if "samples" in name:
        pytest.skip("takes a closure, whose gradients it sums")
    values = fresh(name)
    optimizer = MADE[name]([values])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (values * torch.arange(6.0)).pow(3).sum().backward(create_graph=True)
    gradient = values.grad.detach().clone()
    optimizer.step()
    assert torch.equal(values.grad, gradient)
    assert values.is_leaf
    assert not any(each.requires_grad for each in optimizer.state[values].values() if torch.is_tensor(each))
    values.grad = None
