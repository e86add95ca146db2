"""Spheres, ranks, products, Lanczos, sparse factorisation, threads."""
