"""Signs from relaxations and from search."""
