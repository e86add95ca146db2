"""Layers chosen by name, pattern and predicate; what embeddings need."""

import pytest
from torch import nn

import vispa
from vispa.nn import binary_layers


def every_layer(name: str, module: nn.Module) -> bool:
    return True


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"layers": ["body"]}, ["body.0", "body.2"]),
        ({"layers": ["body.*"]}, ["body.0", "body.2"]),
        ({"layers": ["b*", "table"]}, ["body.0", "body.2", "table"]),
        ({"layers": ["*"], "keep": ("last",)}, ["body.0", "body.2", "table"]),
        ({"layers": lambda name, module: isinstance(module, nn.Linear)}, ["body.0", "head"]),
        ({"keep": ("*.0",)}, ["body.2", "head"]),
        ({}, ["body.2"]),
    ],
)
def test_layers_and_patterns_choose(options, expected):
    body = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.ConvTranspose1d(4, 4, 1))
    model = nn.ModuleDict({"body": body, "table": nn.Embedding(3, 4), "head": nn.Linear(4, 3)})
    assert [found.name for found in binary_layers(vispa.binarize(model, rank=1, **options))] == expected


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layers": ["tail"]}, "layers names 'tail', which is or holds no layer"),
        ({"layers": []}, "layers must name at least one layer"),
        ({"layers": lambda name, module: False}, "layers chooses none of the 2"),
        ({"covariance": "weight"}, "covariance must be one of 'layer', 'channel'"),
        ({"channel_scale": "max"}, "channel_scale must be one of 'learned', 'mean', 'none'"),
        ({"layers": every_layer, "channel_scale": "mean"}, "'table': its padding_idx needs a row of zeros"),
    ],
)
def test_options_of_layers_are_refused_in_words(options, words):
    model = nn.ModuleDict({"table": nn.Embedding(3, 4, padding_idx=0), "head": nn.Linear(4, 3)})
    with pytest.raises(ValueError, match=words):
        vispa.binarize(model, **{"keep": (), "rank": 1} | options)


@pytest.mark.parametrize("trouble", [{"max_norm": 1.0}, {"sparse": True}])
def test_embeddings_that_write_to_their_weight_are_refused(trouble):
    with pytest.raises(ValueError, match=f"{next(iter(trouble))}.*"):
        vispa.binarize(nn.Embedding(3, 4, **trouble), layers=every_layer, rank=1)
