"""The table of a model's layers: what is binary, why not, products counted by hand."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import vispa
from vispa.nn.evaluation.summary import Summary


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.inner = nn.Linear(8, 8)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        return self.head(self.norm(self.inner(self.embed(tokens))))


def by_name(found: Summary):
    return {layer.name: layer for layer in found.layers}


def test_products_and_memory_of_a_convolutional_network():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 12, 3, groups=4, stride=2),
        nn.ConvTranspose2d(12, 6, 2, groups=2),
        nn.Flatten(),
        nn.Linear(6 * 4 * 4, 5),
    )
    vispa.binarize(model, rank=3)
    model.train()
    found = by_name(vispa.summary(model, torch.zeros(2, 3, 8, 8)))
    assert model.training
    assert found["0"].macs == 2 * 8 * 64 * 27
    assert found["2"].macs == 2 * 12 * 9 * (9 * 2)
    # every one of 2 x 12 x 3 x 3 inputs meets 3 channels of a 2 x 2 kernel
    assert found["3"].macs == 2 * 12 * 9 * 3 * 4
    assert found["5"].macs == 2 * 5 * 96
    assert [name for name, layer in found.items() if layer.binary] == ["2", "3"]
    assert found["0"].why_not == "kept"
    assert found["1"].why_not == "no kind of layer that becomes binary"
    conv = found["2"]
    assert (conv.shape, conv.rank, conv.kind) == ((12, 2, 3, 3), 3, "Conv2d")
    assert (conv.parameters, conv.bits) == (216 + 12, 216 + 32 * 12)
    assert (conv.bytes_before, conv.bytes_after) == (4 * 228, 216 // 8 + 4 * 12 + 4 * 12)


def test_the_parameters_are_those_of_the_hardened_network():
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.Linear(16, 2))
    vispa.binarize(model)
    total = vispa.summary(model).totals
    assert total["parameters"] == sum(each.numel() for each in vispa.harden(model).parameters())
    assert total["macs_binary"] is None


def test_a_plain_model_and_shared_weights():
    model = Shared()
    found = by_name(vispa.summary(model, torch.zeros(1, 4, dtype=torch.long)))
    assert not any(layer.binary for layer in found.values())
    assert found["embed"].why_not == "only layers= makes it binary"
    assert (found["head"].parameters, found["head"].why_not) == (0, "its weight is another layer's")
    assert (found["embed"].macs, found["head"].macs) == (0, 4 * 11 * 8)
    assert sum(layer.parameters for layer in found.values()) == sum(p.numel() for p in model.parameters())


def test_attention_counts_its_projections():
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    model = nn.ModuleDict({"attend": attention})
    tokens = torch.zeros(3, 5, 8)
    found = by_name(vispa.summary(model, tokens, forward=lambda m, x: m["attend"](x, x, x)[0]))
    assert found["attend.in_proj_weight"].macs == 15 * 3 * 64
    assert found["attend.out_proj"].macs == 15 * 64


def test_every_form_of_the_table():
    model = nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 2))
    model[0].weight.requires_grad_(False)
    vispa.binarize(model, keep=())
    found = vispa.summary(model, torch.zeros(1, 8))
    assert by_name(found)["0"].why_not == "frozen"
    text = str(found)
    for word in ("layer", "real: frozen", "binary", "16x16", "total", "MACs"):
        assert word in text
    table = found.to_markdown().split("\n")
    assert len(table) == len(found.layers) + 3
    assert len({line.count("|") for line in table}) == 1
    assert json.loads(json.dumps(found.to_dict()))["totals"] == found.totals
    with pytest.raises(TypeError, match="model must be a torch"):
        vispa.summary(3)


def test_a_model_that_was_never_binarized_says_so():
    plain = nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 2))
    assert {layer.why_not for layer in vispa.summary(plain).layers} == {"not binarized"}
    found = vispa.summary(vispa.binarize(plain)).layers
    assert [layer.why_not for layer in found] == ["kept", "", "kept"]


@pytest.mark.parametrize(
    "layers",
    [
        lambda: [nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 2)],
        lambda: [nn.Conv2d(1, 4, 3), nn.ConvTranspose2d(4, 6, 3, groups=2), nn.Conv2d(6, 2, 3)],
    ],
)
def test_a_hardened_network_has_the_bits_and_bytes_of_the_one_it_came_from(layers):
    model = vispa.binarize(nn.Sequential(*layers()), rank=2)
    trained, hard = vispa.summary(model), vispa.summary(vispa.harden(model))
    for old, new in zip(trained.layers, hard.layers, strict=True):
        assert (old.binary, old.bits, old.bytes_after) == (new.binary, new.bits, new.bytes_after)
    assert hard.layers[1].rank is None


def test_weights_that_are_zero_or_one_wide_are_not_taken_for_hardened():
    model = nn.Sequential(nn.Linear(1, 4), nn.Linear(4, 3))
    nn.init.zeros_(model[1].weight)
    assert not any(layer.binary for layer in vispa.summary(model).layers)


def test_matrices_of_modules_of_no_known_kind_are_not_counted_as_free():
    found = vispa.summary(nn.LSTM(4, 8), torch.zeros(3, 1, 4))
    assert found.layers[0].macs is None
    assert found.totals["macs_float"] is None


def test_what_cannot_be_summarised_is_refused_with_the_door():
    with pytest.raises(TypeError, match=r"found a NumPy array: pass torch\.from_numpy"):
        vispa.summary(nn.Linear(2, 2), np.zeros((1, 2)))
    with pytest.raises(ValueError, match="weight is lazy: call the model on a batch first"):
        vispa.summary(nn.LazyLinear(2))
    binary = vispa.harden(vispa.binarize(nn.Linear(64, 32), keep=())).eval()
    with pytest.raises(ValueError, match=r"found PackedModel.*vispa\.packing\(model\)"):
        vispa.summary(vispa.pack(nn.Sequential(binary), real_inputs=True))
