"""Binary weights for any torch model: one call in, one plain network out."""

from vispa.nn.activation import SignActivation
from vispa.nn.annealed_activation import AnnealedSignActivation
from vispa.nn.conversion.annealing import anneal, penalty
from vispa.nn.conversion.attach import attach, project
from vispa.nn.conversion.binarize import binarize
from vispa.nn.conversion.harden import harden
from vispa.nn.conversion.load_float import load_float
from vispa.nn.conversion.selection import BinaryLayer, binary_layers
from vispa.nn.evaluation.accuracies import Accuracies, accuracies
from vispa.nn.evaluation.ensemble import ensemble, sampling
from vispa.nn.evaluation.quality import Quality, quality

__all__ = [
    "Accuracies",
    "AnnealedSignActivation",
    "BinaryLayer",
    "Quality",
    "SignActivation",
    "accuracies",
    "anneal",
    "attach",
    "binarize",
    "binary_layers",
    "ensemble",
    "harden",
    "load_float",
    "penalty",
    "project",
    "quality",
    "sampling",
]
