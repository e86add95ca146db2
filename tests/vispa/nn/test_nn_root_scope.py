"""One sample of a weight in a forward of the model: shared modules, weights read without a call, recomputation."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import dropout, linear
from torch.utils.checkpoint import checkpoint

import vispa
from vispa.nn import binary_layers

METHODS = ("vispa", "bernoulli")


class Siamese(nn.Module):
    """Calls its encoder on every part of the input, each call under a checkpoint on request."""

    def __init__(self, *, checkpointed: bool = False, drop: float = 0.0, **options: bool) -> None:
        super().__init__()
        self.encoder = nn.Linear(6, 5)
        self.checkpointed, self.drop, self.options = checkpointed, drop, options

    def encode(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = self.encoder(inputs)
        return dropout(hidden, self.drop, self.training) if self.drop else hidden

    def forward(self, *parts: torch.Tensor) -> list[torch.Tensor]:
        if self.checkpointed:
            return [checkpoint(self.encode, part, use_reentrant=False, **self.options) for part in parts]
        return [self.encode(part) for part in parts]


class ReadsItself(nn.Module):
    """Uses the weight of a layer that it never calls, as fused attentions do."""

    def __init__(self, *, checkpointed: bool = False) -> None:
        super().__init__()
        self.qkv = nn.Linear(6, 9)
        self.checkpointed = checkpointed

    def project(self, inputs: torch.Tensor) -> torch.Tensor:
        return linear(inputs, self.qkv.weight, self.qkv.bias)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if self.checkpointed:
            return checkpoint(self.project, inputs, use_reentrant=False)
        return self.project(inputs)


def binary(network: nn.Module, method: str = "vispa") -> nn.Module:
    options = {"rank": 2, "noise_ratio": 1.0} if method == "vispa" else {}
    return vispa.binarize(network, method=method, keep=(), **options)


@pytest.mark.parametrize("method", METHODS)
def test_a_module_called_twice_in_a_forward_is_one_network(method):
    torch.manual_seed(0)
    model = binary(Siamese(), method)
    image = torch.randn(3, 6)
    first, second = model(image, image)
    assert torch.equal(first, second)
    forwards = [model(image)[0] for _ in range(6)]
    assert not all(torch.equal(one, other) for one, other in pairwise(forwards))
    with vispa.sampling(model.eval()):
        first, second = model(image, image)
        assert torch.equal(first, second)


@pytest.mark.parametrize("method", METHODS)
def test_a_weight_read_without_a_call_is_sampled_and_trains(method):
    torch.manual_seed(0)
    model = binary(ReadsItself(), method)
    inputs = torch.randn(3, 6)
    outputs = [model(inputs) for _ in range(6)]
    assert not all(torch.equal(one, other) for one, other in pairwise(outputs))
    outputs[-1].square().sum().backward()
    (found,) = binary_layers(model)
    for values in (found.mean, *found.weight.parameters()):
        assert values.grad is not None
        assert values.grad.abs().max() > 0
    assert torch.equal(model.qkv.weight, model.qkv.weight)  # outside any forward: sgn(mean)
    assert torch.equal(model.qkv.weight, vispa.harden(model).qkv.weight)
    assert torch.equal(model.eval()(inputs), model(inputs))


def gradients(kind: type[nn.Module], calls: list, *, method: str, together: bool, **options) -> list:
    """Gradients after the losses of several forwards, summed before one backward or one after another."""
    torch.manual_seed(1)
    model = binary(kind(**options), method)
    torch.manual_seed(2)
    total = torch.zeros(())
    for parts in calls:
        outputs = model(*parts)
        outputs = outputs if isinstance(outputs, list) else [outputs]
        loss = sum(output.square().sum() * (i + 1) for i, output in enumerate(outputs))
        if together:
            total = total + loss
        else:
            loss.backward()
    if together:
        total.backward()
    return [values.grad for values in model.parameters()]


@settings(max_examples=25, deadline=None)
@given(
    method=st.sampled_from(METHODS),
    parts=st.integers(1, 3),
    forwards=st.integers(1, 3),
    drop=st.sampled_from([0.0, 0.5]),
    seed=st.integers(0, 2**16),
)
def test_checkpointing_changes_no_gradient_of_a_shared_module(method, parts, forwards, drop, seed):
    generator = torch.Generator().manual_seed(seed)
    calls = [[torch.randn(2, 6, generator=generator) for _ in range(parts)] for _ in range(forwards)]
    plain = gradients(Siamese, calls, method=method, together=False, drop=drop)
    recomputed = gradients(Siamese, calls, method=method, together=False, drop=drop, checkpointed=True)
    for one, other in zip(plain, recomputed, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("together", [False, True])
def test_checkpointing_changes_no_gradient_of_a_weight_read_without_a_call(together):
    calls = [[torch.randn(2, 6)] for _ in range(3)]
    plain = gradients(ReadsItself, calls, method="vispa", together=together)
    recomputed = gradients(ReadsItself, calls, method="vispa", together=together, checkpointed=True)
    assert all(torch.equal(one, other) for one, other in zip(plain, recomputed, strict=True))


def test_a_generator_that_is_not_restored_changes_no_gradient():
    calls = [[torch.randn(2, 6), torch.randn(2, 6)]]
    plain = gradients(Siamese, calls, method="vispa", together=False)
    options = {"checkpointed": True, "preserve_rng_state": False}
    recomputed = gradients(Siamese, calls, method="vispa", together=False, **options)
    assert all(torch.equal(one, other) for one, other in zip(plain, recomputed, strict=True))


def test_what_cannot_be_told_apart_is_refused():
    calls = [[torch.randn(2, 6), torch.randn(2, 6)] for _ in range(2)]
    with pytest.raises(RuntimeError, match=r"recomputed after several forwards.*preserve_rng_state=True"):
        gradients(Siamese, calls, method="vispa", together=True, checkpointed=True)
    # One call in a forward draws what its recomputation draws again.
    calls = [[torch.randn(2, 6)] for _ in range(2)]
    plain = gradients(Siamese, calls, method="vispa", together=True)
    recomputed = gradients(Siamese, calls, method="vispa", together=True, checkpointed=True)
    assert all(torch.equal(one, other) for one, other in zip(plain, recomputed, strict=True))


def test_nothing_is_kept_of_a_forward_without_gradients_or_that_failed():
    model = binary(Siamese())
    with torch.no_grad():
        model(torch.randn(2, 6))
    (found,) = binary_layers(model)
    assert found.weight.drawn == []
    with pytest.raises(RuntimeError, match="shapes"):
        model(torch.randn(2, 7))
    assert found.weight.root is not None
    assert found.weight.root.depth == 0
    model(torch.randn(2, 6))[0].sum().backward()


def test_the_empty_name_among_scopes_is_the_model():
    model = vispa.binarize(ReadsItself(), rank=2, keep=(), scopes=[""], noise_ratio=1.0)
    model(torch.randn(2, 6)).sum().backward()
    (found,) = binary_layers(model)
    assert found.weight.has_outer_scope
    assert found.weight.factor.grad.abs().max() > 0
