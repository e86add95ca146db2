"""Examples that train something of their own; run them as ``python -m examples.NAME``."""
