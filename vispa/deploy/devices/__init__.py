"""Packed layers off the processor: Triton's kernels for CUDA, torch's own operations for every other device."""
