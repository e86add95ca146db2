"""The semidefinite solvers beside their peers."""
