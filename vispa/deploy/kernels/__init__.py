"""Compiled loops of packed layers: bits of signs, counts of differing signs, what follows a sum."""
