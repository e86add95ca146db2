"""Deployment: one bit a weight on disk and in memory, and kernels that are faster for it."""
