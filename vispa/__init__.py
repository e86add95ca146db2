"""Gaussian variational inference over binary weights, and the semidefinite programs behind it."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

__version__ = "0.1.0"

# Loaded on first use: solving an SDP must not wait for torch, nor training a network for CVXPY.
_HOME = {
    "BinaryQuadratic": "solvers.problems.problem",
    "Elliptope": "solvers.problems.problem",
    "Gram": "solvers.problems.gram",
    "LowRankSolver": "solvers.cvxpy_plugin.solver",
    "MaxCut": "solvers.problems.problem",
    "Solution": "solvers.problems.solution",
    "Status": "solvers.problems.solution",
    "branch_and_bound": "solvers.branching.branch_and_bound",
    "brute_force": "solvers.exact.brute_force",
    "exact": "solvers.exact.shor",
    "low_rank": "solvers.low_rank",
    "layer_signs": "solvers.torch_backend",
    "solve_batch": "solvers.torch_backend",
    "solve_many": "solvers.many",
    "solve_shared": "solvers.torch_backend",
    "SparseCost": "solvers.torch_backend",
    "cut_cost": "solvers.torch_backend",
    "edge_cost": "solvers.torch_backend",
    "solve_sparse": "solvers.torch_backend",
    "sparse_cost": "solvers.torch_backend",
    "SignGaussian": "vispa.gaussian.sign_gaussian",
    "minimize": "vispa.inference.minimize",
    "export_gguf": "vispa.deploy.export.gguf_file",
    "export_onnx": "vispa.deploy.export.onnx_file",
    "load_packed": "vispa.deploy.files",
    "pack": "vispa.deploy.pack",
    "packing": "vispa.deploy.pack",
    "save_packed": "vispa.deploy.files",
    "minimize_by_sdp": "vispa.inference.by_sdp",
    "binarize_trained": "vispa.quantization.binarize_trained",
    "binary_layer": "vispa.quantization.binary_layer",
    "SignActivation": "vispa.nn",
    "accuracies": "vispa.nn",
    "anneal": "vispa.nn",
    "attach": "vispa.nn",
    "binarize": "vispa.nn",
    "ensemble": "vispa.nn",
    "harden": "vispa.nn",
    "load_float": "vispa.nn",
    "penalty": "vispa.nn",
    "project": "vispa.nn",
    "quality": "vispa.nn",
    "sampling": "vispa.nn",
    "summary": "vispa.nn.evaluation.summary",
    "BayesBiNN": "vispa.optim.bayesbinn",
    "Bop": "vispa.optim",
    "Bop2ndOrder": "vispa.optim",
    "MirrorDescent": "vispa.optim.mirror_descent",
    "OptimizerGroup": "vispa.optim",
    "LinearSchedule": "vispa.optim",
    "OptionSchedule": "vispa.optim",
    "StepSchedule": "vispa.optim",
    "DeadWeightTracker": "vispa.optim.dead_weights",
    "FlipTracker": "vispa.optim.flip_tracker",
    "latent_histograms": "vispa.optim.dead_weights",
    "flip_rate": "vispa.optim",
    "strengthen": "solvers.cuts.strengthen",
    "sigma_points": "vispa.gaussian.sigma_points",
    "sign_agreement": "vispa.optim",
    "split_parameters": "vispa.optim",
}

__all__ = sorted([*_HOME, "__version__"])


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        # Packages such as vispa.nn are names too, whether or not something has loaded them.
        if not name.startswith("_") and importlib.util.find_spec(f"{__name__}.{name}") is not None:
            return importlib.import_module(f"{__name__}.{name}")
        raise AttributeError(f"module 'vispa' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
