"""The best of several drawn networks, and BatchNorm statistics of the one network that is kept."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import vispa


def model(**options) -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.Tanh(), nn.Dropout(0.5), nn.Linear(12, 3))
    return vispa.binarize(layers, rank=2, noise_ratio=1.0, keep=(), **options)


def data(size: int = 30) -> TensorDataset:
    generator = torch.Generator().manual_seed(1)
    inputs = 3 + 2 * torch.randn(size, 6, generator=generator)
    return TensorDataset(inputs, torch.randint(3, (size,), generator=generator))


def loss_by_hand(network: nn.Module, loss=F.cross_entropy) -> float:
    with torch.no_grad():
        return float(loss(network.eval()(data().tensors[0]), data().tensors[1]))


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("loss", [F.cross_entropy, F.multi_margin_loss])
def test_best_of_has_the_least_calibration_loss_of_all_drawn(batch_norm, loss):
    binary = model()
    loader = DataLoader(data(), batch_size=8)  # the last batch is smaller
    torch.manual_seed(5)
    best = vispa.harden(
        binary, how="best_of", calibration=loader, samples=6, loss=loss, batch_norm=batch_norm
    )
    torch.manual_seed(5)
    losses = []
    for _ in range(6):
        drawn = vispa.harden(binary, how="sample", calibration=loader, batch_norm=batch_norm)
        losses.append(loss_by_hand(drawn, loss))
        next(iter(loader))  # a pass over a loader draws a seed
    assert best.training
    assert len({round(value, 5) for value in losses}) > 1
    assert loss_by_hand(best, loss) == pytest.approx(min(losses), rel=1e-5)


def test_best_of_chooses_by_the_data_it_is_given():
    """Each drawn network is the best of all on its own answers."""
    binary = model().eval()
    torch.manual_seed(2)
    drawn = [vispa.harden(binary, how="sample") for _ in range(4)]
    inputs = data().tensors[0]
    for index, network in enumerate(drawn):
        with torch.no_grad():
            answers = network(inputs)
        torch.manual_seed(2)
        best = vispa.harden(
            binary, how="best_of", calibration=[(inputs, answers)], samples=4, loss=F.mse_loss
        )
        assert torch.equal(best[0].weight, drawn[index][0].weight)


@pytest.mark.parametrize("with_targets", [True, False])
def test_batch_norm_statistics_are_those_of_the_kept_network(with_targets):
    binary = model()
    before = {name: values.clone() for name, values in binary.state_dict().items()}
    inputs = data(32).tensors[0]
    loader = [batch if not with_targets else (batch, None) for batch in inputs.split(8)]
    plain = vispa.harden(binary, calibration=loader, batch_norm=True)
    with torch.no_grad():
        hidden = torch.stack([plain[0](batch) for batch in inputs.split(8)])
    torch.testing.assert_close(plain[1].running_mean, hidden.mean((0, 1)))
    torch.testing.assert_close(plain[1].running_var, hidden.var(1).mean(0))
    assert plain[1].momentum == 0.1
    assert all(module.training for module in plain.modules())
    assert all(torch.equal(before[name], values) for name, values in binary.state_dict().items())


def test_dropout_does_not_disturb_the_statistics_behind_it():
    layers = nn.Sequential(nn.Linear(6, 12), nn.Dropout(0.5), nn.BatchNorm1d(12), nn.Linear(12, 3))
    binary = vispa.binarize(layers, rank=1, keep=())
    plain = vispa.harden(binary, calibration=[data().tensors[0]], batch_norm=True)
    with torch.no_grad():
        hidden = plain[0](data().tensors[0])
    torch.testing.assert_close(plain[2].running_mean, hidden.mean(0))


class Diverged(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.layer(inputs) * torch.nan


PAIRS = [(torch.randn(4, 6), torch.tensor([0, 1, 2, 0]))]


@pytest.mark.parametrize(
    ("make", "options", "error", "words"),
    [
        (model, {"how": "best_of"}, ValueError, "calibration must be given for how='best_of'"),
        (model, {"batch_norm": True}, ValueError, "calibration must be given for batch_norm=True"),
        (model, {"batch_norm": 1}, TypeError, "batch_norm must be True or False; found 1"),
        (model, {"how": "best_of", "calibration": 3}, TypeError, "must be a loader of batches; found int"),
        (model, {"how": "best_of", "calibration": iter(PAIRS)}, TypeError, "more than once.*list_iterator"),
        (model, {"how": "best_of", "calibration": []}, ValueError, "at least one batch; found none"),
        (model, {"batch_norm": True, "calibration": []}, ValueError, "at least one batch; found none"),
        (model, {"how": "best_of", "calibration": [torch.ones(2, 6)]}, ValueError, "must hold pairs"),
        (
            model,
            {"how": "best_of", "calibration": PAIRS, "samples": 0},
            ValueError,
            "samples must be at least 1",
        ),
        (model, {"how": "best_of", "calibration": PAIRS, "loss": 1}, TypeError, "loss must be callable"),
        (
            lambda: vispa.binarize(Diverged(), keep=(), rank=1),
            {"how": "best_of", "calibration": PAIRS, "samples": 2},
            ValueError,
            "loss must be finite for some network; found none among the 2 drawn",
        ),
        (
            lambda: vispa.binarize(nn.Linear(6, 3), keep=(), rank=1),
            {"batch_norm": True, "calibration": PAIRS},
            ValueError,
            "batch_norm must be False for a model without BatchNorm",
        ),
    ],
)
def test_bad_options_are_refused_in_words(make, options, error, words):
    with pytest.raises(error, match=words):
        vispa.harden(make(), **options)
