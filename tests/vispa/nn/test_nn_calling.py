"""Keyword inputs, dict batches and outputs with logits, as transformers' models take and return them."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import vispa
from vispa.nn.calling import outputs_of


class Classifier(nn.Module):
    """Takes keywords and returns an output with logits, or a dict of them."""

    def __init__(self, *, as_dict: bool) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))
        self.as_dict = as_dict

    def forward(self, *, values: torch.Tensor, shift: torch.Tensor):
        logits = self.inner(values + shift)
        return {"logits": logits, "loss": None} if self.as_dict else SimpleNamespace(logits=logits)


class Plain(nn.Module):
    """The same network, called on one tensor."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.inner(inputs)


@pytest.fixture(params=[False, True], ids=["attribute", "entry"])
def model(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return vispa.binarize(Classifier(as_dict=request.param), rank=2, layers=["inner.0"], noise_ratio=1.0)


def dict_batches(count: int = 3) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(5)
    return [
        {
            "values": torch.randn(10, 6, generator=generator),
            "shift": torch.ones(6),
            "labels": torch.randint(3, (10,), generator=generator),
        }
        for _ in range(count)
    ]


def pair_batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(batch["values"] + batch["shift"], batch["labels"]) for batch in dict_batches()]


def drawn(function):
    torch.manual_seed(3)
    return function()


def test_dict_batches_are_worth_what_pairs_are(model):
    plain = Plain(model.inner)
    dicts, pairs = dict_batches(), pair_batches()
    one = drawn(lambda: vispa.accuracies(model, dicts, samples=4, validation=dicts))
    assert one == drawn(lambda: vispa.accuracies(plain, pairs, samples=4, validation=pairs))
    inputs = {key: values for key, values in dicts[0].items() if key != "labels"}
    together = drawn(lambda: vispa.ensemble(model, inputs, samples=4))
    torch.testing.assert_close(together, drawn(lambda: vispa.ensemble(plain, pairs[0][0], samples=4)))
    options = {"how": "best_of", "samples": 4, "batch_norm": True}
    best = drawn(lambda: vispa.harden(model, calibration=dicts, **options))
    other = drawn(lambda: vispa.harden(plain, calibration=pairs, **options))
    for name, values in best.inner.state_dict().items():
        assert torch.equal(values, other.inner.state_dict()[name])


def test_a_function_calls_a_model_that_is_called_otherwise(model):
    def forward(network, inputs):
        return network(values=inputs, shift=torch.ones(6)).get("logits")

    if not model.as_dict:
        pytest.skip("one kind of output is enough")
    inputs, labels = dict_batches()[0]["values"], dict_batches()[0]["labels"]
    direct = drawn(lambda: vispa.ensemble(model, {"values": inputs, "shift": torch.ones(6)}, samples=3))
    assert torch.equal(drawn(lambda: vispa.ensemble(model, inputs, 3, forward=forward)), direct)
    pairs = [(inputs, labels)]
    expected = drawn(lambda: vispa.accuracies(model, dict_batches(1), samples=3))
    found = drawn(lambda: vispa.accuracies(model, pairs, samples=3, forward=forward))
    assert repr(found) == repr(expected)  # of one network the best is nan, which equals nothing
    plain = vispa.harden(
        model,
        how="best_of",
        samples=2,
        calibration=pairs,
        batch_norm=True,
        forward=forward,
        loss=cross_entropy,
    )
    assert isinstance(forward(plain, inputs), torch.Tensor)


def test_what_is_no_tensor_is_refused_with_the_door():
    with pytest.raises(TypeError, match=r"found tuple. Pass forward="):
        outputs_of(
            nn.MultiheadAttention(4, 1),
            {"query": torch.ones(1, 4), "key": torch.ones(1, 4), "value": torch.ones(1, 4)},
        )
    model = vispa.binarize(nn.Linear(3, 2), keep=())
    with pytest.raises(TypeError, match="forward must be callable or None; found str"):
        vispa.ensemble(model, torch.ones(1, 3), forward="logits")
    with pytest.raises(ValueError, match=r"mappings with an entry 'labels'; found a batch of type dict"):
        vispa.accuracies(model, [{"inputs": torch.ones(1, 3)}], samples=1)
