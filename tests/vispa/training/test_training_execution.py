"""Precision, devices and compilation change how a run is computed, and augmentation what it sees, as stated."""

import numpy as np
import pytest
import torch

from vispa.training.data.augmentation import crop_and_flip, draw_moves
from vispa.training.data.labelled_images import digits
from vispa.training.data.split import split
from vispa.training.execution import Execution
from vispa.training.models import MODELS, build, kept_real
from vispa.training.processes import Processes
from vispa.training.published import PUBLISHED, published
from vispa.training.recipes import recipe
from vispa.training.run import train


@pytest.fixture(scope="module")
def parts():
    return split(digits(), seed=0, train_size=60)


@pytest.mark.parametrize(("padding", "flip"), [(0, True), (2, False), (3, True)])
def test_augmentation_equals_its_definition_image_by_image(padding, flip):
    images = torch.randint(
        0, 256, (7, 3, 5, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    before = images.clone()
    moves = draw_moves(np.random.default_rng(4), 7, padding=padding, flip=flip)
    found = crop_and_flip(images, moves, padding=padding)
    assert torch.equal(crop_and_flip(images[2:5], moves.of(slice(2, 5)), padding=padding), found[2:5])
    rng = np.random.default_rng(4)
    (down, right), mirrored = rng.integers(0, 2 * padding + 1, size=(2, 7)), rng.random(7) < 0.5
    for index, image in enumerate(images.numpy()):
        framed = np.pad(image, ((0, 0), (padding, padding), (padding, padding)))
        cut = framed[:, down[index] : down[index] + 5, right[index] : right[index] + 6]
        expected = cut[:, :, ::-1] if flip and mirrored[index] else cut
        np.testing.assert_array_equal(found[index].numpy(), expected)
    assert found.dtype == torch.uint8
    assert torch.equal(images, before)


def test_augmentation_reaches_every_shift_and_both_directions():
    image = torch.zeros(1, 1, 5, 5)
    image[0, 0, 2, 1] = 1.0
    moves = draw_moves(np.random.default_rng(0), 400, padding=1, flip=True)
    found = crop_and_flip(image.expand(400, -1, -1, -1), moves, padding=1)
    places = {tuple(place) for place in found[:, 0].nonzero()[:, 1:].tolist()}
    # Column 1 moves to 0, 1, 2, or mirrored to 2, 3, 4.
    assert places == {(row, column) for row in (1, 2, 3) for column in range(5)}


def test_bfloat16_is_another_run_that_ends_close(parts):
    settings = recipe("float", epochs=6)
    plain = train(parts, settings, model="multilayer").result
    lower = train(parts, settings, model="multilayer", execution=Execution(precision="bfloat16")).result
    assert plain.history != lower.history
    for ours, theirs in zip(plain.history, lower.history, strict=True):
        assert ours.training_loss == pytest.approx(theirs.training_loss, rel=0.05)


def test_precision_belongs_to_the_run_and_its_checkpoint(parts, tmp_path):
    settings = recipe("float", epochs=1)
    train(parts, settings, checkpoint=tmp_path / "run")
    with pytest.raises(ValueError, match="its precision is 'float32', this run's is 'bfloat16'"):
        train(parts, settings, checkpoint=tmp_path / "run", execution=Execution(precision="bfloat16"))


def test_compilation_is_applied_to_the_forward_in_training_alone(parts, monkeypatch):
    """The compiler itself is torch's; what is ours is that its result is called, on the same parameters."""
    calls = []

    def compile_stand_in(model, dynamic):
        assert dynamic is False
        return lambda inputs: (calls.append(len(inputs)), model(inputs))[1]

    monkeypatch.setattr(torch, "compile", compile_stand_in)
    settings = recipe("vispa", epochs=2, samples=1, batch_size=32)
    compiled = train(parts, settings, seed=3, execution=Execution(compile=True)).result
    assert calls == [30] * 4
    assert compiled.history == train(parts, settings, seed=3).result.history


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_recipes_name_models_that_can_be_built(name):
    model, settings = published(name)
    assert model in MODELS
    kept_real(model)
    assert (settings.momentum, settings.scale, settings.samples) == (0.9, 100.0, 40)
    with torch.device("meta"):
        network = build(model, (3, 64, 64), 5, binary_activations=True)
    assert sum(values.numel() for values in network.parameters()) > 1e6


def test_published_settings_are_those_of_the_paper():
    one_bit, weights = published("cifar10-resnet18-1w1a").recipe, published("cifar100-vgg16-1w32a").recipe
    assert (one_bit.rank, one_bit.learning_rate, one_bit.weight_decay, one_bit.epochs) == (4, 0.5, 1e-5, 600)
    assert (weights.rank, weights.learning_rate, weights.weight_decay, weights.epochs) == (8, 0.1, 5e-4, 500)
    assert (one_bit.batch_size, one_bit.warmup_epochs) == (256, 5)
    large = published("imagenet-resnet18-1w32a").recipe
    assert (large.rank, large.learning_rate, large.weight_decay, large.epochs) == (4, 0.4, 5e-5, 200)
    assert (large.batch_size, large.warmup_epochs) == (1024, 5)
    assert published("cifar10-resnet18-1w1a", "ste").recipe.learning_rate == 0.5
    assert published("cifar10-resnet18-1w1a", "bop").recipe.learning_rate == 0.01  # Adam's
    assert published("cifar10-resnet18-1w1a", "bop2nd", learning_rate=0.2).recipe.learning_rate == 0.2


def test_a_batch_must_be_shared_by_all_processes(parts):
    processes = Processes(torch.device("cpu"))
    processes.count = 9
    with pytest.raises(ValueError, match="batch_size must be at least 18; found 16"):
        train(parts, recipe("float", batch_size=16), execution=Execution(processes))


@pytest.mark.gpu
@pytest.mark.parametrize("compiled", [False, True])
def test_a_run_on_a_gpu_resumes_and_learns(parts, tmp_path, compiled):
    execution = Execution(Processes(torch.device("cuda", 0)), "bfloat16", compiled)
    settings, path = recipe("vispa", epochs=12, samples=2, crop_padding=1), tmp_path / "run"

    def interrupt(epoch):
        if epoch.epoch == 3:
            raise StopIteration

    train(parts, settings, checkpoint=path, callback=interrupt, execution=execution)
    result = train(parts, settings, checkpoint=path, execution=execution).result
    assert [epoch.epoch for epoch in result.history] == list(range(1, 13))
    assert result.evaluation.mean_network > 0.5
