"""The solver on torch tensors; imported only from `solvers.torch_backend`, and that only where it is used."""
