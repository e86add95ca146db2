"""Two steps: what is decayed, where step 2 starts, soft labels, stops and checkpoints."""

import pytest
import torch
from torch import nn

from vispa.networks import ReActBlock
from vispa.nn import binary_layers
from vispa.nn.conversion.selection import find_binary_layers
from vispa.training.data.labelled_images import digits
from vispa.training.data.split import split
from vispa.training.loop import Stop, soft_labels
from vispa.training.optimizers import make_optimizer, parameter_groups
from vispa.training.recipes import recipe
from vispa.training.run import prepare, train
from vispa.training.two_steps import adambnn, train_two_steps

SHORT = {"epochs": 2, "batch_size": 32, "learning_rate": 0.01}


@pytest.fixture(scope="module")
def parts():
    return split(digits(), seed=0, train_size=96)


class Oracle(nn.Module):
    """Knows the labels of the training images."""

    def __init__(self, data, classes):
        super().__init__()
        self.inputs, self.labels, self.classes = data.inputs().flatten(1), data.labels, classes

    def forward(self, inputs):
        nearest = torch.cdist(inputs.flatten(1), self.inputs).argmin(1)
        return 1e4 * nn.functional.one_hot(self.labels[nearest], self.classes)


def test_decay_is_where_it_was_published():
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), ReActBlock(4, 8, 1), nn.Flatten(), nn.Linear(8, 2)
    )
    first, _ = adambnn()
    groups = parameter_groups(network, first)
    by_decay = {group["weight_decay"]: {id(values) for values in group["params"]} for group in groups}
    names = {id(values): name for name, values in network.named_parameters()}
    decayed = {names[key] for key in by_decay[5e-6]}
    convolutions = {name for name, values in network.named_parameters() if values.ndim == 4}
    shifts = {name for name in names.values() if "shift" in name and "shortcut" not in name}
    assert len(convolutions) == 4
    assert len(shifts) == 2 + 4
    assert decayed == convolutions | shifts
    assert {names[key] for key in by_decay[0.0]} == set(names.values()) - decayed


def test_the_rate_falls_along_a_line(parts):
    first, second = adambnn(epochs=4, batch_size=32)
    assert (first.warmup_epochs, second.weight_decay) == (0, 0.0)
    model = nn.Linear(64, 2)
    optimizer, scheduler = make_optimizer(model, first, 96)
    rates = []
    for _ in range(12):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([1.25e-3 * (1 - step / 12) for step in range(12)])
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.0)


def test_the_second_step_starts_from_the_best_of_the_first(parts):
    recipes = adambnn(**SHORT)
    first = train(parts, recipes[0])
    with torch.random.fork_rng():
        state = prepare(parts, recipes[1], start=first.network)
    weights = dict(first.network.named_parameters())
    for layer in binary_layers(state.model):
        assert torch.equal(layer.mean, weights[f"{layer.name}.weight"])
    statistics = dict(first.network.named_buffers())
    for name, values in state.model.named_buffers():
        if "running" in name:
            assert torch.equal(values, statistics[name])
    both = train_two_steps(parts, recipes)
    assert both.first.result.history == first.result.history
    assert list(find_binary_layers(both.first.network)) == []
    assert both.second.result.evaluation is not None
    assert both.second.result.best.signs_moved < 0.2  # from the first step's signs, not from others
    assert both.second.result.best.validation_accuracy > 0.3


def test_a_teacher_that_is_sure_teaches_what_labels_teach(parts):
    settings = recipe("ste", **SHORT)
    taught = train(parts, settings, teacher=Oracle(parts.train, 10)).result
    assert [each[1:] for each in taught.history] == [
        pytest.approx(each[1:], abs=1e-6) for each in train(parts, settings).result.history
    ]


def test_soft_labels_are_those_of_evaluation_and_leave_the_teacher_alone(parts):
    teacher = train(parts, recipe("float", epochs=1)).network.train()
    before = {name: values.clone() for name, values in teacher.state_dict().items()}
    inputs = parts.train.inputs(slice(16))
    labels = soft_labels(teacher, inputs)
    assert teacher.training
    assert not labels.requires_grad
    assert all(torch.equal(values, before[name]) for name, values in teacher.state_dict().items())
    torch.testing.assert_close(labels, teacher.eval()(inputs).softmax(1).detach())


def test_a_stopped_first_step_has_no_second_and_both_go_on(parts, tmp_path):
    recipes = adambnn(**SHORT)
    stopped = train_two_steps(parts, recipes, max_seconds=0.0, checkpoints=tmp_path)
    assert stopped.first.result.stop is Stop.TIME_LIMIT
    assert stopped.second is None
    whole = train_two_steps(parts, recipes, checkpoints=tmp_path)
    again = train_two_steps(parts, recipes, checkpoints=tmp_path)
    assert whole.second.result.history == again.second.result.history
    other = train(parts, recipe("float", epochs=1)).network
    with pytest.raises(ValueError, match="teacher"):
        train(parts, recipes[0], checkpoint=tmp_path / "step1.checkpoint", teacher=other)
    with pytest.raises(ValueError, match="begin with real weights; found method 'ste'"):
        train_two_steps(parts, (recipe("ste"), recipe("ste")))
