"""Gaussians whose signs are the weights, and the integrals that they need."""
