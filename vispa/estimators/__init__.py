"""Gradients of expectations over signs: unbiased ones, straight-through ones, and how they differ."""
