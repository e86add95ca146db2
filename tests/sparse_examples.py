"""Sparse costs for tests."""

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


def random_graph(order, degree, seed, weights=(1.0,)):
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, order, (2, int(order * degree / 2)))
    return from_edges(order, first, second, rng.choice(weights, first.shape[0]))


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


def seeded(seed, device="cpu"):
    return torch.Generator(device).manual_seed(seed)
