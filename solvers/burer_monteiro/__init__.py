"""The low-rank solver: presolve, one solver a component, and one place that words the result."""
