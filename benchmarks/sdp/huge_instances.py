"""Huge graphs, made on the device where they are solved."""

from __future__ import annotations

from collections.abc import Callable

import torch

from solvers.torch_backend import SparseCost, cut_cost

DEGREE = 5


def random_graph(order: int, device: str, seed: int = 0) -> SparseCost:
    """The cut of a graph with DEGREE * order / 2 edges of weight one between random vertices."""
    generator = torch.Generator(device).manual_seed(seed)
    ends = torch.randint(
        order, (2, DEGREE * order // 2), device=device, generator=generator, dtype=torch.int32
    )
    ends = ends.sort(dim=0).values
    edges = ends[:, ends[0] != ends[1]]
    return cut_cost(edges, order=order)


def torus(order: int, device: str, seed: int = 0) -> SparseCost:
    """The cut of a toroidal grid of about ``order`` vertices, weights -1 and +1 by lot."""
    side = round(order**0.5)
    cells = torch.arange(side * side, device=device, dtype=torch.int32).reshape(side, side)
    around = [cells.roll(1, dims=axis).ravel() for axis in (0, 1)]
    edges = torch.stack([torch.cat([cells.ravel(), cells.ravel()]), torch.cat(around)])
    generator = torch.Generator(device).manual_seed(seed)
    signs = torch.randint(2, edges.shape[1:], device=device, generator=generator, dtype=torch.float32)
    return cut_cost(edges, 2.0 * signs - 1.0, order=side * side)


GRAPHS: dict[str, Callable[[int, str], SparseCost]] = {"random": random_graph, "torus": torus}
