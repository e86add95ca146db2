"""Exact answers for small problems: conic relaxations, enumeration."""
