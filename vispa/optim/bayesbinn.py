"""`BayesBiNN`: steps on the natural parameters of independent signs, one or several samples each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from solvers import checks
from vispa.optim.checked import Check, CheckedOptimizer, Parameters, with_gradients
from vispa.optim.natural import natural_step

__all__ = ["BayesBiNN"]


def _share(value: Any) -> float:
    share = checks.scalar("momentum", value)
    if not 0.0 <= share < 1.0:
        raise ValueError(f"momentum must lie within [0, 1); found {value}")
    return share


def _loss_of(closure: Callable[[], Any]) -> Tensor:
    loss = closure()
    if loss is None:
        raise TypeError("closure must return the loss, whose mean over samples is returned; found None")
    return torch.as_tensor(loss).detach()


def _sum(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    return second if first is None else first if second is None else first + second


class BayesBiNN(CheckedOptimizer):
    r"""Momentum with a corrected start and a pull towards a prior, on natural parameters.

    .. math:: m \leftarrow \beta m + (1 - \beta) (N \bar g + \rho (\lambda - \lambda_0)), \qquad
        \lambda \leftarrow \lambda - \eta \, m / (1 - \beta^t)

    with :math:`\bar g` the gradient that layers of method ``"bayesbinn"`` give to lambda, averaged over samples.

    Parameters
    ----------
    params : iterable
        Natural parameters: ``vispa.split_parameters(model).binary``; attach the optimizer to the model, whose
        published form remembers means before a step.
    lr : float, default 3e-4
        eta.
    train_set_size : float, default 1
        N, which multiplies the mean loss: 10 times the number of training images as published. AdaSTE's published
        steps are these with N the square of that.
    momentum : float, default 0
        beta in [0, 1).
    reweight : float, default 1
        rho, the weight of the prior.
    samples : int, default 1
        Evaluations of the closure a step; each draws its own network.

    Raises
    ------
    TypeError, ValueError
        For options out of range, and in ``step`` for several samples without a closure.

    Notes
    -----
    The prior's natural parameters are zero, equal odds; a group may hold others as ``prior``.

    References
    ----------
    Meng, Bachmann and Khan, Training Binary Neural Networks using the Bayesian Learning Rule, ICML 2020.

    Examples
    --------
    >>> import torch, vispa
    >>> model = vispa.binarize(torch.nn.Linear(4, 2), keep=(), method="bayesbinn", initial_size=None)
    >>> natural, real = vispa.split_parameters(model)
    >>> optimizer = vispa.attach(vispa.BayesBiNN(natural, lr=0.1, samples=2), model)
    >>> def closure():
    ...     loss = model(torch.ones(3, 4)).square().mean()
    ...     loss.backward()
    ...     return loss
    >>> bool(optimizer.step(closure) >= 0)
    True
    """

    option_checks: ClassVar[Mapping[str, Check]] = {
        "lr": partial(checks.scalar, "lr", minimum=0.0),
        "train_set_size": partial(checks.scalar, "train_set_size", positive=True),
        "momentum": _share,
        "reweight": partial(checks.scalar, "reweight", minimum=0.0),
    }

    def __init__(
        self,
        params: Parameters,
        *,
        lr: float = 3e-4,
        train_set_size: float = 1.0,
        momentum: float = 0.0,
        reweight: float = 1.0,
        samples: int = 1,
    ) -> None:
        self.samples = checks.integer("samples", samples, minimum=1)
        defaults = {
            "lr": lr, "train_set_size": train_set_size, "momentum": momentum, "reweight": reweight, "prior": 0.0,
        }  # fmt: skip
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Go one step; parameters without a gradient stay.

        Parameters
        ----------
        closure : callable, optional
            Computes the loss, calls ``backward`` and returns the loss; it may clear gradients first. It is called
            once a sample, and its gradients are averaged; without it the gradients that are there count as one
            sample.

        Returns
        -------
        Tensor or None
            The mean loss of the samples.

        Raises
        ------
        TypeError
            If a gradient is sparse or the closure returns no loss; nothing has moved then.
        """
        loss = None
        if closure is not None:
            loss = self._sample(closure)
        elif self.samples > 1:
            raise ValueError(
                f"closure must be given for {self.samples} samples: each draws a network of its own"
            )
        for values, group in with_gradients(self):
            self._move(values, group)
        return loss

    def __getstate__(self) -> dict[str, Any]:
        """What a copy needs: torch's own leaves out all but groups and state."""
        return {**super().__getstate__(), "samples": self.samples}

    def _sample(self, closure: Callable[[], Any]) -> Tensor:
        """The mean loss of all samples, whose gradients are left summed."""
        parameters = [values for group in self.param_groups for values in group["params"]]
        sums: list[Tensor | None] = [None] * len(parameters)
        losses = []
        for _ in range(self.samples):
            self.zero_grad()  # a closure may do so too, as torch's own optimizers ask it to
            with torch.enable_grad():
                losses.append(_loss_of(closure))
            sums = [_sum(total, values.grad) for total, values in zip(sums, parameters, strict=True)]
        for values, total in zip(parameters, sums, strict=True):
            values.grad = total
        return torch.stack(losses).mean()

    def _move(self, natural: Tensor, group: dict[str, Any]) -> None:
        state = self.state[natural]
        if not state:
            state["step"] = 0
            state["momentum"] = torch.zeros_like(natural, memory_format=torch.preserve_format)
        state["step"] += 1
        assert natural.grad is not None
        moved, momentum = natural_step(
            natural,
            (group["train_set_size"] / self.samples) * natural.grad,
            state["momentum"],
            step=state["step"],
            rate=group["lr"],
            beta=group["momentum"],
            reweight=group["reweight"],
            prior=group["prior"],
        )
        natural.copy_(moved)
        state["momentum"].copy_(momentum)
