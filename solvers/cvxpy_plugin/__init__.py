"""The low-rank solver as a solver of CVXPY."""
