"""Binary activations whose kernel changes in the course of training."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from solvers import checks
from vispa.estimators.kernels import Kernel, ede_kernel
from vispa.nn.activation import SignActivation
from vispa.nn.methods.irnet import ede_sharpness
from vispa.nn.methods.rbnn import rbnn_kernel
from vispa.nn.methods.reste import power_kernel, reste_exponent

__all__ = ["AnnealedSignActivation"]


def _irnet(progress: float) -> Kernel:
    return ede_kernel(ede_sharpness(progress, 0.1, 10.0))


def _rbnn(progress: float) -> Kernel:
    sharpness = torch.tensor(ede_sharpness(progress, 0.01, 10.0))

    def kernel(x: Tensor) -> Tensor:
        return rbnn_kernel(x, sharpness.to(x.device))

    return Kernel("rbnn", kernel, "the kernel of RBNN is a multiple of a density that changes in training")


def _reste(progress: float) -> Kernel:
    exponent = reste_exponent(progress)

    def kernel(x: Tensor) -> Tensor:
        return power_kernel(x, exponent)

    return Kernel("reste", kernel, "the kernel of ReSTE is cut off, and jumps there")


SCHEDULES: dict[str, Callable[[float], Kernel]] = {"irnet": _irnet, "rbnn": _rbnn, "reste": _reste}


class AnnealedSignActivation(SignActivation):
    """`SignActivation` with the kernel of a published method, which `vispa.anneal` changes from wide to steep.

    Parameters
    ----------
    schedule : {"irnet", "rbnn", "reste"} or callable
        IR-Net's error decay estimator, t from 0.1 to 10; RBNN's triangle, t from 0.01 to 10; ReSTE's power, from 1
        to 1/3; or a function from the share of training that is done to a `Kernel`.
    one_padding : int or sequence of int, default 0
        As in :class:`vispa.SignActivation`.

    Notes
    -----
    Compiled graphs are compiled anew where the kernel changes: anneal once an epoch then.

    References
    ----------
    Qin et al., CVPR 2020 (IR-Net); Lin et al., NeurIPS 2020 (RBNN); Wu et al., ICCV 2023 (ReSTE).

    Examples
    --------
    >>> activation = AnnealedSignActivation("irnet")
    >>> activation.anneal_to(1.0)
    >>> activation
    AnnealedSignActivation(kernel='ede, t = 10')
    """

    def __init__(
        self, schedule: str | Callable[[float], Kernel] = "irnet", one_padding: int | Sequence[int] = 0
    ) -> None:
        if not callable(schedule):
            schedule = SCHEDULES[checks.choice("schedule", schedule, tuple(SCHEDULES))]
        super().__init__(schedule(0.0), one_padding)
        self.schedule = schedule

    def anneal_to(self, progress: float) -> None:
        """Take the kernel of the share of training that is done."""
        self.kernel = self.schedule(progress)
