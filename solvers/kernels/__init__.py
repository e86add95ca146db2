"""Compiled inner loops. Imported only where they run, so that nothing else needs numba."""
