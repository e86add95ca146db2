"""Binary weights for any torch model: one call in, one plain network out."""

from vispa.nn.activation import SignActivation
from vispa.nn.attachment import attach, project
from vispa.nn.binarization import binarize
from vispa.nn.classification import Accuracies, accuracies
from vispa.nn.evaluation import ensemble, sampling
from vispa.nn.hardening import harden
from vispa.nn.selection import BinaryLayer, binary_layers
from vispa.nn.warm_start import load_float

__all__ = [
    "Accuracies",
    "BinaryLayer",
    "SignActivation",
    "accuracies",
    "attach",
    "binarize",
    "binary_layers",
    "ensemble",
    "harden",
    "load_float",
    "project",
    "sampling",
]
