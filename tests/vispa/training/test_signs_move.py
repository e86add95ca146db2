"""What is called training moves signs, and beats the same network whose signs are frozen as they were drawn."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import vispa
from vispa.nn import binary_layers
from vispa.training.compare import compare, paired_jobs
from vispa.training.data.batches import batches
from vispa.training.data.labelled_images import digits
from vispa.training.data.split import split
from vispa.training.loop import Epoch
from vispa.training.recipes import METHODS, SHOWN_METHODS, recipe

# Adam at its own rate differs from AdamW in the decay of the real layers alone.
OPTIMIZERS = {
    "AdamW": torch.optim.AdamW,
    "SGD": lambda values: torch.optim.SGD(values, lr=0.1, momentum=0.9),
}


def readme_network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        vispa.SignActivation(),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.BatchNorm2d(64),
        vispa.SignActivation(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def trained(optimizer: str, seed: int, *, frozen: bool, epochs: int = 10) -> tuple[float, float]:
    """Accuracy on test images, and the share of signs moved, of the README's example."""
    parts = split(digits(), seed=seed, train_size=1000)
    torch.manual_seed(seed)
    model = vispa.binarize(readme_network(), rank=4)
    for found in binary_layers(model) if frozen else ():
        for values in (found.mean, found.weight.factor):
            values.requires_grad_(False)
    steps = vispa.attach(OPTIMIZERS[optimizer](model.parameters()), model)
    tracker = vispa.FlipTracker(model)
    for epoch in range(epochs):
        for batch in batches(parts.train, 64, (seed, epoch)):
            steps.zero_grad()
            cross_entropy(model(batch.inputs), batch.labels).backward()
            steps.step()
    with torch.no_grad():
        answers = model.eval()(parts.test.inputs()).argmax(1)
    return float((answers == parts.test.labels).double().mean()), 1 - tracker.agreement().total


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_example_of_the_readme_beats_frozen_signs(optimizer):
    found = [trained(optimizer, seed, frozen=False) for seed in range(3)]
    frozen = [trained(optimizer, seed, frozen=True) for seed in range(3)]
    assert all(moved == 0 for _, moved in frozen)
    assert min(moved for _, moved in found) > 0.05
    gains = [ours - theirs for (ours, _), (theirs, _) in zip(found, frozen, strict=True)]
    assert sum(gains) / 3 > 0.03
    assert min(gains) > 0


def best_epochs(method: str) -> list[Epoch]:
    jobs = paired_jobs([recipe(method, samples=1, epochs=12)], [0, 1], 600)
    return [result.best for result in compare(digits(), jobs)]


@pytest.fixture(scope="module")
def frozen() -> list[Epoch]:
    return best_epochs("frozen")


@pytest.mark.parametrize("method", sorted(set(SHOWN_METHODS) - {"frozen", "float"}))
def test_every_method_moves_signs_and_beats_frozen_ones(method, frozen):
    ours = best_epochs(method)
    assert all(best.signs_moved == 0 for best in frozen)
    assert min(best.signs_moved for best in ours) > 0.02
    gain = [a.validation_accuracy - b.validation_accuracy for a, b in zip(ours, frozen, strict=True)]
    assert sum(gain) > 0, gain


@pytest.mark.parametrize("method", sorted(set(METHODS) - set(SHOWN_METHODS)))
def test_every_other_method_moves_signs_too(method, frozen):
    (ours,) = compare(digits(), paired_jobs([recipe(method, samples=1, epochs=12)], [0], 600))
    assert ours.best.signs_moved > 0.02
    assert ours.best.validation_accuracy > frozen[0].validation_accuracy


@pytest.mark.parametrize("options", [{"covariance": "channel"}, {"residual": True}, {"rank": 1}])
def test_signs_move_under_every_noise(options):
    """Share of signs moved, and factors that are trained, under the optimizer that people leave untouched."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4)
    )
    _moves(vispa.binarize(model, **options), torch.randn(512, 16))


def test_signs_of_attention_and_of_embeddings_move():
    torch.manual_seed(0)
    block = nn.TransformerEncoderLayer(32, 4, dim_feedforward=64, dropout=0.0, batch_first=True)
    model = nn.Sequential(nn.Embedding(50, 32), block, nn.Flatten(), nn.Linear(32 * 6, 4))
    vispa.binarize(model, layers=["0", "1"], keep=())
    _moves(model, torch.randint(50, (512, 6)))


def _moves(model: nn.Module, inputs: torch.Tensor, steps: int = 150) -> None:
    labels = torch.randint(4, (512,))
    optimizer = vispa.attach(torch.optim.AdamW(model.parameters()), model)
    factors = {found.name: found.weight.factor.detach().clone() for found in binary_layers(model)}
    tracker = vispa.FlipTracker(model)
    for step in range(steps):
        rows = slice(64 * (step % 8), 64 * (step % 8 + 1))
        optimizer.zero_grad()
        cross_entropy(model(inputs[rows]), labels[rows]).backward()
        optimizer.step()
    shares = {name: 1 - share for name, share in tracker.agreement().layers.items()}
    assert len(shares) == len(factors)
    assert min(shares.values()) > 0.02, shares
    for found in binary_layers(model):
        before = factors[found.name]
        assert (found.weight.factor.detach() - before).norm() > 0.1 * before.norm(), found.name
