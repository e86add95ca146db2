"""Labelled images from folders, archives and embedded sets."""
