"""What each of two processes checks about DistributedDataParallel and FSDP2; run by test_nn_distributed.

A reference without wrappers computes in every process what both processes compute together: the mean of the
gradients of two half batches, each under the seed of its process.
"""

import sys

import pytest
import torch
import torch.distributed as dist
from architectures import ARCHITECTURES, Architecture, largest_error, loss_of
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

import vispa
from vispa.nn import binary_layers

SEEDS = (31, 32)


def reference(architecture: Architecture, steps: int = 2) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """The model after some steps of plain data parallelism by hand, and the gradients of the first step."""
    model = architecture.binarized()
    optimizer = vispa.attach(torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9), model)
    first: dict[str, torch.Tensor] = {}
    for step in range(steps):
        optimizer.zero_grad()
        for rank, seed in enumerate(SEEDS):
            torch.manual_seed(seed + 100 * step)
            (loss_of(model(architecture.batch(rank))) / len(SEEDS)).backward()
        first = first or {name: values.grad.clone() for name, values in model.named_parameters()}
        optimizer.step()
    return model, first


def train(model: nn.Module, optimizer: torch.optim.Optimizer, batch: torch.Tensor, seed: int) -> None:
    """Two steps; the gradients of the first stay in `first_gradients`."""
    first: dict[str, torch.Tensor] = {}
    for step in range(2):
        optimizer.zero_grad()
        torch.manual_seed(seed + 100 * step)
        loss_of(model(batch)).backward()
        first = first or {name: whole(values.grad) for name, values in model.named_parameters()}
        optimizer.step()
    model.first_gradients = first


def whole(values: torch.Tensor) -> torch.Tensor:
    return (values.full_tensor() if isinstance(values, DTensor) else values).detach().clone()


def check(wrapped: nn.Module, architecture: Architecture, prefix: str = "") -> None:
    expected, gradients = reference(architecture)
    found = {name.removeprefix(prefix): values for name, values in wrapped.first_gradients.items()}
    assert largest_error(found, gradients) < 1e-5
    factors = {name: values for name, values in found.items() if name.endswith("factor")}
    assert len(factors) == len(binary_layers(wrapped))
    assert all(values.abs().max() > 0 for values in factors.values())
    for values in factors.values():
        shares = [torch.empty_like(values) for _ in SEEDS]
        dist.all_gather(shares, values.contiguous())
        assert torch.equal(*shares)
    final = {name.removeprefix(prefix): whole(values) for name, values in wrapped.named_parameters()}
    for name, values in expected.named_parameters():
        torch.testing.assert_close(final[name], values.detach(), rtol=1e-4, atol=1e-5, msg=name)


def check_noise(wrapped: nn.Module, architecture: Architecture) -> None:
    batch = architecture.batch()
    with torch.no_grad():
        assert not torch.equal(wrapped(batch), wrapped(batch))
        wrapped.eval()
        assert torch.equal(wrapped(batch), wrapped(batch))
        with vispa.sampling(wrapped):
            assert not torch.equal(wrapped(batch), wrapped(batch))


def check_refused(wrapped: nn.Module, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        vispa.binarize(wrapped)


def data_parallel(architecture: Architecture, rank: int) -> None:
    model = architecture.binarized()
    wrapped = DistributedDataParallel(model)
    optimizer = vispa.attach(torch.optim.SGD(wrapped.parameters(), lr=0.5, momentum=0.9), wrapped)
    train(wrapped, optimizer, architecture.batch(rank), SEEDS[rank])
    check(wrapped, architecture, prefix="module.")
    check_noise(wrapped, architecture)
    check_refused(wrapped, "DistributedDataParallel; the module inside must be binarized first, then wrapped")


def two_forwards(architecture: Architecture, rank: int) -> None:
    """Buffers are broadcast before every forward: the noise of the first must survive the second."""
    wrapped = DistributedDataParallel(architecture.binarized())
    batches = [architecture.batch(seed) for seed in range(2)]
    torch.manual_seed(5)
    sum(loss_of(wrapped(batch)) for batch in batches).backward()
    expected = architecture.binarized()
    torch.manual_seed(5)
    sum(loss_of(expected(batch)) for batch in batches).backward()
    found = {name.removeprefix("module."): values.grad for name, values in wrapped.named_parameters()}
    assert largest_error(found, {name: values.grad for name, values in expected.named_parameters()}) < 1e-5


def sharded(architecture: Architecture, rank: int) -> None:
    model = architecture.binarized()
    for module in list(model.modules()):
        # A unit must be called, and an attention reads its output projection without a call.
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.TransformerEncoderLayer)):
            fully_shard(module)
    fully_shard(model)
    optimizer = vispa.attach(torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9), model)
    assert all(isinstance(each.weight.factor, DTensor) for each in binary_layers(model))
    train(model, optimizer, architecture.batch(rank), SEEDS[rank])
    check(model, architecture)
    check_noise(model, architecture)
    with pytest.raises(TypeError, match=r"model cannot be hardened: it is sharded by fully_shard"):
        vispa.harden(model)
    check_refused(
        fully_shard(architecture.plain()), "sharded by fully_shard; it must be binarized first, then sharded"
    )


def main(rank: int, meeting_point: str) -> None:
    """Run every part for every architecture; name on standard output what held."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting_point}", rank=rank, world_size=len(SEEDS))
    try:
        for name, architecture in ARCHITECTURES.items():
            for part in (data_parallel, two_forwards, sharded):
                part(architecture, rank)
                sys.stdout.write(f"{name} {part.__name__}\n")
                sys.stdout.flush()
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
