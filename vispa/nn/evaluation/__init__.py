"""Accuracies of single networks and of ensembles."""
