"""Graphs, costs, layers and generators that several tests need."""

import numpy as np
import scipy.sparse as sp
import torch


def from_edges(order, first, second, weights):
    """A symmetric CSR array without a diagonal."""
    first, second, weights = (np.asarray(values) for values in (first, second, weights))
    apart = first != second
    entries = (weights[apart].astype(float), (first[apart], second[apart]))
    half = sp.coo_array(entries, shape=(order, order)).tocsr()
    whole = sp.csr_array(half + half.T)
    whole.eliminate_zeros()
    return whole


def random_graph(order, degree, seed=0, weights=(1.0,)):
    """Edges between vertices drawn at random, whose weights, drawn too, add up where they meet."""
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, order, (2, int(order * degree / 2)))
    return from_edges(order, first, second, rng.choice(weights, first.shape[0]))


def connected_graph(order, degree, seed=0):
    """A ring with random chords."""
    rng = np.random.default_rng(seed)
    ring = np.stack([np.arange(order), np.roll(np.arange(order), 1)])
    first, second = np.hstack([ring, rng.integers(0, order, (2, order * (degree - 2) // 2))])
    return from_edges(order, first, second, np.ones(first.size))


def gaussian_graph(order, edges, seed):
    """Edges between vertices drawn at random, with Gaussian weights that add up where they meet."""
    rng = np.random.default_rng(seed)
    ends = rng.integers(0, order, (2, edges))
    ends = ends[:, ends[0] != ends[1]]
    half = sp.coo_array((rng.standard_normal(ends.shape[1]), ends), shape=(order, order))
    return sp.csr_array(half + half.T)


def torus(side, seed):
    """A toroidal grid with weights -1 and +1."""
    cells = np.arange(side * side).reshape(side, side)
    first = np.concatenate([cells.ravel(), cells.ravel()])
    second = np.concatenate([np.roll(cells, 1, axis=0).ravel(), np.roll(cells, 1, axis=1).ravel()])
    return from_edges(
        side * side, first, second, np.random.default_rng(seed).choice([-1.0, 1.0], first.shape[0])
    )


def star(leaves):
    """One vertex that meets all others, and a path through those."""
    hub = np.zeros(leaves, dtype=int)
    first = np.concatenate([hub, np.arange(1, leaves)])
    second = np.concatenate([np.arange(1, leaves + 1), np.arange(2, leaves + 1)])
    return from_edges(leaves + 1, first, second, np.linspace(-1.0, 1.0, first.shape[0]))


def layer(channels=6, width=12, samples=30, seed=0, dtype=torch.float64):
    """Gaussian weights, a channel a row, and inputs, a sample a row."""
    generator = seeded(seed)
    inputs = torch.randn(samples, width, generator=generator, dtype=torch.float64)
    weights = torch.randn(channels, width, generator=generator, dtype=torch.float64)
    return weights.to(dtype), inputs.to(dtype)


def seeded(seed=0, device="cpu"):
    """A generator of its own."""
    return torch.Generator(device).manual_seed(seed)
