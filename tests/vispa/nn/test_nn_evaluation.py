"""Sampled networks in evaluation: the context manager, ensembles, accuracies kept apart."""

import pytest
import torch
from network_examples import batch, network
from torch import nn

import vispa
from vispa.nn import binary_layers


def test_ensemble_is_the_mean_over_sampled_networks():
    model = network()
    torch.manual_seed(8)
    averaged = vispa.ensemble(model, batch(), samples=3)
    assert model.training
    model.eval()
    torch.manual_seed(8)
    with vispa.sampling(model), torch.no_grad():
        expected = sum(model(batch()) for _ in range(3)) / 3
    torch.testing.assert_close(averaged, expected)
    assert not averaged.requires_grad
    assert not torch.equal(averaged, model(batch()))


def test_ensemble_leaves_statistics_and_modes_of_every_module():
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)).train()
    vispa.binarize(model, keep=(), rank=1)
    model[1].eval()
    before = model[1].running_mean.clone()
    vispa.ensemble(model, batch(), samples=2)
    assert [module.training for module in model] == [True, False, True]
    assert torch.equal(before, model[1].running_mean)


def test_an_ensemble_of_low_precision_outputs_adds_in_single_precision():
    model = vispa.binarize(nn.Linear(6, 4, dtype=torch.bfloat16), keep=(), rank=1)
    assert vispa.ensemble(model, batch().bfloat16(), samples=2).dtype == torch.float32


def test_sampling_nests_and_ends_after_an_error():
    model = network().eval()
    with vispa.sampling(model):
        with vispa.sampling(model):
            pass
        assert not torch.equal(model(batch()), model(batch()))
        assert not model.training
    with pytest.raises(KeyError), vispa.sampling(model):
        raise KeyError
    assert torch.equal(model(batch()), model(batch()))


def labelled(sizes=(5, 5, 3)) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(3)
    return [
        (torch.randn(size, 6, generator=generator), torch.randint(3, (size,), generator=generator))
        for size in sizes
    ]


@pytest.mark.parametrize(
    "options", [{}, {"method": "bernoulli"}, {"residual": True, "covariance": "channel"}]
)
def test_accuracies_are_those_of_networks_hardened_one_by_one(options):
    model = network(**options)
    torch.manual_seed(4)
    found = vispa.accuracies(model, iter(labelled()), samples=7, validation=iter(labelled((4, 9))))
    assert all(module.training for module in model.modules())
    torch.manual_seed(4)
    drawn = [vispa.harden(model, how="sample").eval() for _ in range(7)]
    inputs, labels = (torch.cat(values) for values in zip(*labelled(), strict=True))
    with torch.no_grad():
        logits = torch.stack([plain(inputs) for plain in drawn])
        mean = vispa.harden(model).eval()(inputs)
    assert found.mean_network == pytest.approx(float((mean.argmax(1) == labels).double().mean()))
    assert found.sampled_network == pytest.approx(float((logits.argmax(2) == labels).double().mean()))
    assert found.ensemble == pytest.approx(float((logits.mean(0).argmax(1) == labels).double().mean()))
    assert (found.samples, found.examples) == (7, 13)
    others, answers = (torch.cat(values) for values in zip(*labelled((4, 9)), strict=True))
    with torch.no_grad():
        merits = [float((plain(others).argmax(1) == answers).double().mean()) for plain in drawn]
    best = logits[merits.index(max(merits))]
    assert found.best_network == pytest.approx(float((best.argmax(1) == labels).double().mean()))
    assert len({found.mean_network, found.sampled_network, found.ensemble}) > 1
    assert all(each.weight.noise is None and each.weight.depth == 0 for each in binary_layers(model))


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 2)

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.layer(inputs), inputs


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: vispa.ensemble(nn.Linear(6, 2), batch()), ValueError, "no binary layer"),
        (lambda: vispa.ensemble(network(), batch(), samples=0), ValueError, "samples must be at least 1"),
        (lambda: vispa.ensemble(network(), batch(), samples=1.5), TypeError, "samples must be an integer"),
        (lambda: vispa.ensemble(None, batch()), TypeError, "model must be a torch.nn.Module"),
        (
            lambda: vispa.ensemble(vispa.binarize(Pair(), keep=()), batch()),
            TypeError,
            "model must return one tensor, or an output with logits; found tuple",
        ),
        (lambda: vispa.sampling(nn.Linear(2, 2)).__enter__(), ValueError, "no binary layer"),
        (
            lambda: vispa.accuracies(network(), labelled(), samples=0),
            ValueError,
            "samples must be at least 1",
        ),
        (lambda: vispa.accuracies(nn.Linear(6, 2), labelled()), ValueError, "no binary layer"),
        (lambda: vispa.accuracies(network(), []), ValueError, "batches must hold at least one example"),
        (lambda: vispa.accuracies(network(), 3), TypeError, "batches must be a loader of batches; found int"),
        (
            lambda: vispa.accuracies(network(), labelled(), validation=3),
            TypeError,
            "validation must be a loader of batches; found int",
        ),
        (
            lambda: vispa.accuracies(network(), labelled(), validation=[]),
            ValueError,
            "validation must hold at least one example",
        ),
        (lambda: vispa.accuracies(network(), [batch()]), ValueError, r"batches must hold pairs"),
        (lambda: vispa.accuracies(network(), [(batch(), [1])]), TypeError, "labels as tensors; found list"),
        (
            lambda: vispa.accuracies(network(), [(batch(), torch.ones(4))]),
            ValueError,
            r"found \(5, 3\) and \(4,\)",
        ),
    ],
)
def test_bad_input_is_refused_in_words(call, error, words):
    with pytest.raises(error, match=words):
        call()
