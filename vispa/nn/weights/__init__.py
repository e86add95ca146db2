"""The parametrizations behind binary weights."""
