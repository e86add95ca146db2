"""Small layers for the tests of problems that share a matrix."""

import torch


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def layer(channels=6, width=12, samples=30, seed=0, dtype=torch.float64):
    """Gaussian weights, a channel a row, and inputs, a sample a row."""
    generator = seeded(seed)
    inputs = torch.randn(samples, width, generator=generator, dtype=torch.float64)
    weights = torch.randn(channels, width, generator=generator, dtype=torch.float64)
    return weights.to(dtype), inputs.to(dtype)
