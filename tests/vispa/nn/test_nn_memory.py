"""What a step of a binary layer keeps and touches in memory, and the shortcuts of eager code on a CPU."""

import copy
import gc

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

import vispa
from vispa.nn import binary_layers
from vispa.nn.weights import memory as eager
from vispa.nn.weights.memory import GradientMemory, multiply_add, outer


class Peak(TorchDispatchMode):
    """Bytes of storages that operations made while the mode is on: those alive now, and the most at once."""

    def __init__(self, known: list[torch.Tensor]) -> None:
        super().__init__()
        self.known = {values.untyped_storage().data_ptr() for values in known}
        self.alive = WeakTensorKeyDictionary()
        self.peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for value in torch.utils._pytree.tree_leaves(result):
            if isinstance(value, torch.Tensor):
                self.alive[value] = (value.untyped_storage().data_ptr(), value.untyped_storage().nbytes())
        self.peak = max(self.peak, self.now())
        return result

    def now(self) -> int:
        storages = dict(self.alive.values())
        return sum(size for address, size in storages.items() if address not in self.known)


ROWS, COLUMNS, RANK = 96, 128, 8
WEIGHT_BYTES = 4 * ROWS * COLUMNS


def saved_bytes(layer: nn.Module, inputs: torch.Tensor) -> int:
    """Bytes that autograd keeps from the forward to the backward, parameters and inputs apart."""
    own = {values.untyped_storage().data_ptr() for values in (*layer.parameters(), inputs)}
    kept = {}

    def pack(values: torch.Tensor) -> torch.Tensor:
        storage = values.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return values

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda values: values):
        output = layer(inputs)
    assert output.requires_grad
    return sum(kept.values())


@pytest.mark.parametrize("rank", [1, RANK])
def test_from_forward_to_backward_a_layer_keeps_one_weight(rank):
    layer = vispa.binarize(nn.Linear(COLUMNS, ROWS), rank=rank, keep=())
    kept = saved_bytes(layer, torch.ones(2, COLUMNS))
    assert WEIGHT_BYTES <= kept <= WEIGHT_BYTES + 4 * (4 * ROWS + rank)


@pytest.mark.parametrize("rank", [1, RANK])
def test_peak_of_a_step_is_a_few_weights_beyond_the_gradients(rank):
    """Whatever the rank: nothing of the factor's size is made but its gradient."""
    layer = vispa.binarize(nn.Linear(COLUMNS, ROWS), rank=rank, keep=())
    optimizer = vispa.attach(torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9, fused=True), layer)
    inputs = torch.ones(2, COLUMNS)

    def step() -> None:
        layer(inputs).square().sum().backward()
        optimizer.step()

    step()  # makes the optimizer's state
    optimizer.zero_grad()
    momenta = [state["momentum_buffer"] for state in optimizer.state.values()]
    with Peak([*layer.parameters(), *momenta, inputs]) as memory:
        step()
    gradients = sum(values.grad.untyped_storage().nbytes() for values in layer.parameters())
    # The weight that the layer keeps, its gradient on the way to the mean's, a latent or a block of squares.
    assert gradients < memory.peak < gradients + 3.2 * WEIGHT_BYTES
    optimizer.zero_grad()
    assert memory.now() < 0.2 * WEIGHT_BYTES


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("direction", [(5,), (7, 5)])
def test_outer_product_in_kept_memory_is_the_outer_product(dtype, direction):
    directions, rows = torch.randn(direction).to(dtype), torch.randn(7, 11).to(dtype)
    expected = rows.unsqueeze(1) * directions.unsqueeze(-1)
    memory = GradientMemory()
    with torch.no_grad():
        product = outer(directions, rows, memory)
    assert product.dtype == dtype
    assert product.shape == (7, 5, 11)
    assert torch.equal(product, expected)
    assert outer(directions, rows.requires_grad_(), memory).requires_grad
    assert torch.equal(product, expected)
    both = torch.stack([rows, -rows]).detach()
    with torch.no_grad():
        batched = torch.vmap(lambda each: outer(directions, each, memory))(both)
    assert torch.equal(batched, torch.stack([expected, -expected]))


def address(values: torch.Tensor) -> int:
    return values.untyped_storage().data_ptr()


@pytest.mark.parametrize(
    "hold",
    [
        lambda values: values,
        lambda values: values.detach(),
        lambda values: values[1:],
        lambda values: values.untyped_storage(),
        lambda values: values.numpy(),
        lambda values: nn.Parameter(values),
    ],
)
def test_memory_is_taken_again_when_nothing_refers_to_it_and_not_before(hold):
    memory = GradientMemory()
    first = memory.take((4, 3), torch.float32)
    held, start = hold(first.zero_()), address(first)
    del first
    second = memory.take((4, 3), torch.float32)
    assert address(second) != start
    start = address(second)
    del held, second
    third = memory.take((4, 3), torch.float32)
    assert address(third) == start
    assert memory.take((5, 3), torch.float32).shape == (5, 3)


def large_layer(monkeypatch) -> nn.Module:
    monkeypatch.setattr(eager, "LARGE_BYTES", 0)
    torch.manual_seed(0)
    return vispa.binarize(nn.Linear(6, 4), rank=2, keep=())


def test_gradients_are_independent_of_one_another(monkeypatch):
    layer = large_layer(monkeypatch)
    (found,) = binary_layers(layer)
    factor, inputs = found.weight.factor, torch.randn(3, 6)
    first, second = (torch.autograd.grad(layer(inputs).sum(), factor)[0] for _ in range(2))
    kept = first.clone()
    assert not torch.equal(first, second)
    second.zero_()
    assert torch.equal(first, kept)
    layer(inputs).sum().backward()
    once = factor.grad.clone()
    layer(inputs).sum().backward()
    assert not torch.equal(factor.grad, once)
    assert torch.equal(first, kept)


def test_steps_take_the_same_memory_for_the_gradient_and_compute_the_same(monkeypatch):
    results = []
    for size in (0, 1 << 30):
        layer = large_layer(monkeypatch)
        monkeypatch.setattr(eager, "LARGE_BYTES", size)
        (found,) = binary_layers(layer)
        optimizer = vispa.attach(torch.optim.SGD(layer.parameters(), lr=0.1), layer)
        addresses = set()
        for _ in range(4):
            layer(torch.ones(3, 6)).square().sum().backward()
            addresses.add(address(found.weight.factor.grad))
            optimizer.step()
            optimizer.zero_grad()
        results.append([values.detach().clone() for values in layer.parameters()])
        if size == 0:
            assert len(addresses) == 1
    assert all(map(torch.equal, *results))


def test_memory_dies_with_its_layer_and_is_not_copied(monkeypatch):
    layer = large_layer(monkeypatch)
    gc.collect()
    before = len(eager._MEMORIES)
    layer(torch.ones(3, 6)).sum().backward()
    assert len(eager._MEMORIES) == before + 1
    twin = copy.deepcopy(layer)
    twin(torch.ones(3, 6)).sum().backward()
    (found,), (other,) = binary_layers(layer), binary_layers(twin)
    assert address(found.weight.factor.grad) != address(other.weight.factor.grad)
    del layer, twin, found, other
    gc.collect()
    assert len(eager._MEMORIES) == before


@settings(max_examples=25)
@given(rank=st.integers(1, 6), by_channel=st.booleans(), seed=st.integers(0, 2**31))
def test_latents_in_place_equal_latents_under_vmap(rank, by_channel, seed):
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(3, 4, generator=generator)
    factor = torch.randn(3, rank, 4, generator=generator)
    noise = torch.randn((3, rank) if by_channel else (rank,), generator=generator)
    before = start.clone()
    expected = start + (noise.unsqueeze(-1) * factor).sum(1)
    torch.testing.assert_close(multiply_add(start, factor, noise), expected)
    assert torch.equal(start, before)
    batched = torch.vmap(multiply_add, in_dims=(None, None, 0))(start, factor, torch.stack([noise, -noise]))
    torch.testing.assert_close(batched[0], expected)
    torch.testing.assert_close(batched[0] + batched[1], 2 * start)
