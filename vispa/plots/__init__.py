"""Plots as functions that return matplotlib axes; the extra ``plots`` brings what they import when called.

Each draws into ``axes`` where these are given, and into a figure of its own where they are not.
"""

from __future__ import annotations

from vispa.plots.layers import LatentLayer, latent_correlations, latent_layers, latent_means
from vispa.plots.reliability import ReliabilityBins, reliability, reliability_bins
from vispa.plots.solutions import convergence, overlaps, spectrum
from vispa.plots.training import learning_curves

__all__ = [
    "LatentLayer",
    "ReliabilityBins",
    "convergence",
    "latent_correlations",
    "latent_layers",
    "latent_means",
    "learning_curves",
    "overlaps",
    "reliability",
    "reliability_bins",
    "spectrum",
]
