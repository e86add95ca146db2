"""Quality of probabilities: closed forms, laws, and bad input in words."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import vispa
from vispa.nn.evaluation.quality import judged, quality_of


def drawn(seed, networks=3, examples=40, classes=4):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(networks, examples, classes, generator=generator, dtype=torch.float64)
    return list(logits), torch.randint(classes, (examples,), generator=generator)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), networks=st.integers(1, 4), bins=st.integers(1, 20))
def test_it_is_what_the_definitions_say(seed, networks, bins):
    logits, labels = drawn(seed, networks)
    outside, _ = drawn(seed + 1, networks)
    shares = torch.stack(logits).softmax(2).mean(0)
    found = vispa.quality(logits, labels, outside=outside, bins=bins)
    confidence, chosen = shares.max(1)
    assert found.accuracy == pytest.approx(float((chosen == labels).double().mean()))
    assert found.nll == pytest.approx(float(-shares[range(len(labels)), labels].log().mean()))
    ece = 0.0
    for number in range(bins):
        inside = (confidence >= number / bins) & (confidence < (number + 1) / bins)
        if inside.any():
            right = (chosen[inside] == labels[inside]).double().mean()
            ece += float((right - confidence[inside].mean()).abs() * inside.sum()) / len(labels)
    assert found.ece == pytest.approx(ece, abs=1e-12)
    theirs = torch.stack(outside).softmax(2).mean(0).amax(1)
    pairs = (confidence[:, None] > theirs).double() + 0.5 * (confidence[:, None] == theirs)
    assert found.auroc == pytest.approx(float(pairs.mean()), abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_averaging_probabilities_is_no_worse_than_the_mean_of_the_networks_losses(seed):
    logits, labels = drawn(seed)
    together = vispa.quality(logits, labels).nll
    assert together <= sum(vispa.quality(each, labels).nll for each in logits) / len(logits) + 1e-12


def test_batches_add_up_and_ties_count_half():
    logits, labels = drawn(0)
    parts = torch.cat(
        [judged([each[part] for each in logits], labels[part]) for part in (slice(7), slice(7, None))]
    )
    assert quality_of(parts, None) == pytest.approx(vispa.quality(logits, labels), nan_ok=True) or str(
        quality_of(parts, None)
    ) == str(vispa.quality(logits, labels))
    assert vispa.quality(logits, labels, outside=logits).auroc == pytest.approx(0.5)
    assert vispa.quality(torch.zeros(3, 2), torch.tensor([0, 1, 1]), outside=torch.zeros(2, 2)).auroc == 0.5


def test_sure_answers_do_not_underflow():
    found = vispa.quality(torch.tensor([[2000.0, 0.0], [0.0, 2000.0]]), torch.tensor([0, 0]))
    assert found.nll == 1000.0
    assert found.ece == 0.5
    assert math.isnan(found.auroc)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "words"),
    [
        (([], torch.zeros(2)), {}, ValueError, "logits must hold"),
        (([[1.0]], torch.zeros(1)), {}, TypeError, "logits must be a tensor"),
        ((torch.zeros(2), torch.zeros(2)), {}, ValueError, r"logits must have one shape"),
        ((torch.zeros(2, 3), torch.zeros(3).long()), {}, ValueError, "labels must have shape"),
        ((torch.zeros(2, 3), torch.tensor([0, 3])), {}, ValueError, "labels must be classes 0 to 2; found 3"),
        ((torch.zeros(0, 3), torch.zeros(0).long()), {}, ValueError, "at least one example"),
        ((torch.zeros(1, 3), torch.zeros(1).long()), {"bins": 0}, ValueError, "bins"),
        (
            (torch.zeros(1, 3), torch.zeros(1).long()),
            {"outside": torch.zeros(0, 3)},
            ValueError,
            "outside must hold",
        ),
    ],
)
def test_bad_input_is_named(arguments, options, error, words):
    with pytest.raises(error, match=words):
        vispa.quality(*arguments, **options)
