"""Compiled searches over the signs of a layer; imported where they are used."""
