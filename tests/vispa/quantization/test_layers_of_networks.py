"""Conv1D of transformers and grouped convolutions made binary inside networks, against twins and enumeration."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import vispa
from vispa.quantization.layer_inputs import input_rows


def sizes_differ(rows):
    """How far |entries| of a row are from being all the same."""
    sizes = rows.abs()
    return float((sizes - sizes[:, :1]).abs().max() / sizes.max())


@settings(max_examples=8)
@given(bias=st.booleans(), seed=st.integers(0, 99), group=st.sampled_from([None, 3]))
def test_conv1d_of_transformers_becomes_what_a_linear_layer_would(bias, seed, group):
    conv1d = pytest.importorskip("transformers.pytorch_utils").Conv1D
    torch.manual_seed(seed)
    linear = nn.Linear(6, 5, bias=bias)
    twin = conv1d(5, 6)
    with torch.no_grad():
        twin.weight.copy_(linear.weight.T)
        twin.bias.copy_(linear.bias if bias else torch.zeros(5))
        if not bias:
            linear.bias = nn.Parameter(torch.zeros(5))
    data = [torch.randn(7, 4, 6)]
    ours = vispa.binarize_trained(nn.Sequential(linear), data, keep=(), group=group)[0][0]
    theirs, report = vispa.binarize_trained(nn.Sequential(twin), data, keep=(), group=group)
    assert torch.allclose(theirs[0].weight.T, ours.weight, atol=1e-6)
    assert torch.allclose(theirs[0].bias, ours.bias, atol=1e-5)
    assert (report.layers[0].rows, report.layers[0].columns) == (5, 6)


def test_a_gpt2_becomes_binary_block_by_block():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=40, n_positions=16, n_embd=16, n_layer=2, n_head=2)
    model = transformers.GPT2LMHeadModel(config).eval()
    tokens = torch.randint(40, (24, 12))
    data = [{"input_ids": part, "labels": part} for part in tokens.split(8)]
    before = {name: values.clone() for name, values in model.state_dict().items()}
    binary, report = vispa.binarize_trained(model, data, layers=["transformer.h"], effort=0.01)
    kinds = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    assert [layer.name for layer in report.layers] == [
        f"transformer.h.{block}.{kind}" for block in (0, 1) for kind in kinds
    ]
    for layer in report.layers:
        module = binary.get_submodule(layer.name)
        assert sizes_differ(module.weight.detach().T) < 1e-6
        assert layer.relative_error < 1.0
    assert torch.equal(binary.lm_head.weight, model.lm_head.weight)
    assert all(torch.equal(values, before[name]) for name, values in model.state_dict().items())
    with torch.no_grad():
        wanted, found = (network(input_ids=tokens).logits for network in (model, binary))
    scrambled = vispa.binarize_trained(model, data, layers=["transformer.h"], method="sgn-mean")[0]
    with torch.no_grad():
        lost = scrambled(input_ids=tokens).logits - wanted
    assert float((found - wanted).square().sum()) < float(lost.square().sum())


@settings(max_examples=12)
@given(
    groups=st.sampled_from([2, 4]),
    each=st.integers(1, 2),
    stride=st.integers(1, 2),
    axes=st.integers(1, 2),
    seed=st.integers(0, 99),
)
def test_grouped_convolutions_reach_the_least_error_of_every_row(groups, each, stride, axes, seed):
    torch.manual_seed(seed)
    kind, kernel = ((nn.Conv1d, 3), (nn.Conv2d, 2))[axes - 1]
    layer = kind(groups, groups * each, kernel, stride=stride, padding=1, groups=groups, bias=False).double()
    inputs = F.relu(torch.randn(6, groups, *(7, 5)[:axes], dtype=torch.float64))
    binary, report = vispa.binarize_trained(nn.Sequential(layer), [inputs], keep=(), damping=0.0)
    rows = torch.cat(list(input_rows(layer, inputs)), dim=1)
    columns = rows.shape[2]
    signs = torch.tensor(list(itertools.product([1.0, -1.0], repeat=columns)), dtype=torch.float64)
    weights = layer.weight.detach().flatten(1).view(groups, each, columns)
    found = binary[0].weight.detach().flatten(1).view(groups, each, columns)
    least = lost = 0.0
    for block, real, ours in zip(rows, weights, found, strict=True):
        images = block @ signs.T
        wanted = block @ real.T
        norms = images.square().sum(dim=0)
        crossed = wanted.T @ images
        kept = torch.where(norms > 0, crossed.square() / norms.clamp_min(1e-300), 0.0)
        least += float((wanted.square().sum(dim=0) - kept.max(dim=1).values).sum())
        lost += float((block @ ours.T - wanted).square().sum())
    assert sizes_differ(found.reshape(-1, columns)) < 1e-12
    assert lost == pytest.approx(least, rel=1e-6, abs=1e-12)
    assert (report.layers[0].rows, report.layers[0].columns) == (groups * each, columns)
    assert report.layers[0].bits == groups * each * (columns + 32)
