"""The optimizers and schedules at home in torch: groups, closures, checkpoints, refusals."""

import copy
import io

import pytest
import torch
from torch import nn

import vispa
from vispa.optim import LinearSchedule, OptionSchedule, StepSchedule


def signs_of(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return nn.Parameter(torch.where(torch.rand(shape, generator=generator) < 0.5, 1.0, -1.0))


def steps(optimizer, parameters, count, seed):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        for values in parameters:
            values.grad = torch.randn(values.shape, generator=generator)
        optimizer.step()
    return [values.detach().clone() for values in parameters]


def saved_and_loaded(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


OPTIMIZERS = {
    "bop": lambda params: vispa.Bop(params, gamma=0.2, threshold=0.05),
    "biased": lambda params: vispa.Bop2ndOrder(params, gamma=0.2, threshold=0.3),
    "corrected": lambda params: vispa.Bop2ndOrder(params, gamma=0.2, threshold=0.3, form="bias-corrected"),
}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_checkpoint_goes_on_exactly(make):
    whole = [signs_of(4, 3), signs_of(5)]
    expected = steps(make(whole), whole, 6, seed=1)
    first = [signs_of(4, 3), signs_of(5)]
    optimizer = make(first)
    generator = torch.Generator().manual_seed(1)
    for step in range(6):
        if step == 3:
            state = saved_and_loaded(optimizer.state_dict())
            first = [nn.Parameter(values.detach().clone()) for values in first]
            optimizer = make(first)
            optimizer.load_state_dict(state)
        for values in first:
            values.grad = torch.randn(values.shape, generator=generator)
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(expected, first, strict=True))
    assert optimizer.state_dict()["param_groups"] == make(first).state_dict()["param_groups"]
    assert any(
        (values != start).any() for values, start in zip(expected, [signs_of(4, 3), signs_of(5)], strict=True)
    )


def test_an_older_checkpoint_takes_the_defaults_of_options_it_does_not_know():
    values = signs_of(3)
    state = vispa.Bop2ndOrder([values]).state_dict()
    del state["param_groups"][0]["form"]
    optimizer = vispa.Bop2ndOrder([values], form="bias-corrected")
    optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["form"] == "bias-corrected"


def test_state_appears_with_the_first_gradient_and_only_where_there_is_one():
    moving, still = signs_of(3), signs_of(3)
    optimizer = vispa.Bop([moving, still])
    assert not optimizer.state
    moving.grad = torch.ones(3)
    optimizer.step()
    assert set(optimizer.state) == {moving}


def test_groups_have_options_of_their_own():
    quick, slow = (nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = vispa.Bop(
        [{"params": [quick]}, {"params": [slow], "threshold": 10.0}], gamma=0.5, threshold=0.1
    )
    quick.grad, slow.grad = torch.ones(2), torch.ones(2)
    optimizer.step()
    assert quick.tolist() == [-1.0, -1.0]
    assert slow.tolist() == [1.0, 1.0]


def test_a_closure_is_evaluated_with_gradients_and_its_loss_returned():
    values = nn.Parameter(torch.ones(2))
    optimizer = vispa.Bop([values], gamma=1.0, threshold=0.5)

    def closure():
        loss = 2.0 * values.sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 4.0
    assert values.tolist() == [-1.0, -1.0]


def test_a_copied_optimizer_moves_the_copied_parameters():
    values = nn.Parameter(torch.ones(2))
    optimizer, copied = copy.deepcopy((vispa.Bop([values], gamma=1.0), values))
    copied.grad = torch.ones(2)
    optimizer.step()
    assert copied.tolist() == [-1.0, -1.0]
    assert values.tolist() == [1.0, 1.0]
    optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))]})
    assert optimizer.param_groups[1]["gamma"] == 1.0


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"threshold": -1e-9}, "threshold must be at least 0"),
        ({"gamma": 0.0}, "gamma must be positive"),
        ({"gamma": 1.5}, "gamma must be at most 1"),
        ({"gamma": float("nan")}, "gamma must be finite"),
        ({"sigma": 2.0}, "sigma must be at most 1"),
        ({"eps": 0.0}, "eps must be positive"),
        ({"form": "unbiased"}, "form must be one of 'biased'"),
    ],
)
def test_options_out_of_range_are_refused_everywhere(options, word):
    with pytest.raises(ValueError, match=word):
        vispa.Bop2ndOrder([signs_of(2)], **options)
    optimizer = vispa.Bop2ndOrder([signs_of(2)])
    with pytest.raises(ValueError, match=word):
        optimizer.add_param_group({"params": [signs_of(2)], **options})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.complex64])
def test_parameters_of_other_dtypes_are_refused(dtype):
    with pytest.raises(TypeError, match="float32 or float64"):
        vispa.Bop([nn.Parameter(torch.ones(2, dtype=dtype))])


def test_parameters_that_are_no_signs_are_refused():
    with pytest.raises(ValueError, match=r"\+1 and -1 only"):
        vispa.Bop([nn.Parameter(torch.tensor([1.0, 0.5]))])


def test_a_sparse_gradient_is_refused_before_anything_moves():
    first, second = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    first.grad, second.grad = torch.ones(3), torch.ones(3).to_sparse()
    with pytest.raises(TypeError, match="dense gradients"):
        vispa.Bop([first, second], gamma=1.0).step()
    assert first.tolist() == [1.0] * 3


def test_schedules_follow_each_group_from_its_own_start():
    groups = [{"params": [signs_of(2)]}, {"params": [signs_of(2)], "threshold": 4.0}]
    optimizer = vispa.Bop(groups, gamma=1e-2, threshold=2.0)
    schedule = OptionSchedule(
        optimizer, threshold=LinearSchedule(1.0, steps=4), gamma=StepSchedule(0.1, every=2)
    )
    seen = []
    for _ in range(5):
        schedule.step()
        seen.append([group["threshold"] for group in optimizer.param_groups])
    assert seen == [[1.75, 3.25], [1.5, 2.5], [1.25, 1.75], [1.0, 1.0], [1.0, 1.0]]
    assert optimizer.param_groups[1]["gamma"] == pytest.approx(1e-4, rel=1e-14)


def test_a_schedule_goes_on_exactly_after_loading():
    def made():
        optimizer = torch.optim.SGD([signs_of(2)], lr=0.3)
        return optimizer, OptionSchedule(optimizer, lr=LinearSchedule(0.1, steps=7))

    whole, expected = made()
    for _ in range(5):
        expected.step()
    _, first = made()
    for _ in range(3):
        first.step()
    optimizer, second = made()
    second.load_state_dict(saved_and_loaded(first.state_dict()))
    assert optimizer.param_groups[0]["lr"] == first.optimizer.param_groups[0]["lr"]
    second.step()
    second.step()
    assert optimizer.param_groups[0]["lr"] == whole.param_groups[0]["lr"]


def test_schedules_refuse_what_does_not_fit():
    optimizer = vispa.Bop([signs_of(2)])
    with pytest.raises(ValueError, match="'lr'"):
        OptionSchedule(optimizer, lr=LinearSchedule(0.1, steps=3))
    with pytest.raises(ValueError, match="gamma must be positive"):
        OptionSchedule(optimizer, gamma=LinearSchedule(0.0, steps=3))
    with pytest.raises(TypeError, match="gamma must be a schedule"):
        OptionSchedule(optimizer, gamma=0.5)
    with pytest.raises(ValueError, match="at least one option"):
        OptionSchedule(optimizer)
    with pytest.raises(TypeError, match="optimizer"):
        OptionSchedule(object(), gamma=LinearSchedule(0.1, steps=3))
    with pytest.raises(ValueError, match="factor must be at most 1"):
        StepSchedule(1.5, every=2)
    with pytest.raises(ValueError, match="1 group"):
        OptionSchedule(optimizer, gamma=LinearSchedule(0.1, steps=3)).load_state_dict(
            {"steps": 1, "initial": []}
        )


def test_a_group_added_after_its_schedule_starts_from_its_own_values():
    first, second = (torch.ones(3, requires_grad=True) for _ in range(2))
    optimizer = vispa.Bop([first], gamma=1e-2)
    schedule = vispa.OptionSchedule(optimizer, gamma=lambda initial, steps: initial / (1 + steps))
    schedule.step()
    optimizer.add_param_group({"params": [second], "gamma": 3e-2})
    schedule.step()
    assert [group["gamma"] for group in optimizer.param_groups] == pytest.approx([1e-2 / 3, 1e-2])


@pytest.mark.parametrize("optimizer", [vispa.Bop, vispa.Bop2ndOrder])
def test_an_unknown_option_of_a_group_is_refused_and_nothing_is_added(optimizer):
    found = optimizer([signs_of(2)])
    with pytest.raises(
        ValueError, match=f"{optimizer.__name__} has no option 'gama'; it has threshold, gamma"
    ):
        found.add_param_group({"params": [signs_of(3)], "gama": 0.1})
    assert len(found.param_groups) == 1
    with pytest.raises(ValueError, match="no option 'sigmoid'"):
        optimizer([{"params": [signs_of(2)], "sigmoid": 1.0}])
    with pytest.raises(ValueError, match="no option 'momentum'"):
        OptionSchedule(found, momentum=LinearSchedule(0.1, steps=3))


def test_a_scheduler_of_learning_rates_is_shown_the_schedule_of_options():
    optimizer = vispa.Bop([torch.ones(3, requires_grad=True)])
    for current in (optimizer, copy.deepcopy(optimizer)):
        with pytest.raises(ValueError, match=r"no learning rate 'lr'.*vispa\.OptionSchedule"):
            torch.optim.lr_scheduler.LambdaLR(current, lambda step: 1.0)
    optimizer.load_state_dict(optimizer.state_dict())
    with pytest.raises(ValueError, match="no learning rate"):
        torch.optim.lr_scheduler.StepLR(optimizer, 1)
    with pytest.raises(KeyError, match="nonsense"):
        optimizer.param_groups[0]["nonsense"]
