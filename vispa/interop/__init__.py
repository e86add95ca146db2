"""Bridges to other libraries, each of which is imported when its bridge is."""
