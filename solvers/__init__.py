"""Semidefinite relaxations of binary quadratic problems: exact, low-rank, certified."""
