"""`BayesBiNN`: steps on the natural parameters of independent signs, one or several samples each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from solvers import checks
from vispa.optim.natural import natural_step

__all__ = ["BayesBiNN"]

Parameters = Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]


class BayesBiNN(Optimizer):
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
        checks.scalar("lr", lr, minimum=0.0)
        checks.scalar("train_set_size", train_set_size, positive=True)
        checks.scalar("reweight", reweight, minimum=0.0)
        if not 0.0 <= checks.scalar("momentum", momentum) < 1.0:
            raise ValueError(f"momentum must lie within [0, 1); found {momentum}")
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
            Computes the loss, calls ``backward`` and returns the loss. It is called once a sample, and its
            gradients are averaged; without it the gradients that are there count as one sample.

        Returns
        -------
        Tensor or None
            The mean loss of the samples.
        """
        loss = None
        if closure is not None:
            self.zero_grad()
            with torch.enable_grad():
                losses = [torch.as_tensor(closure()).detach() for _ in range(self.samples)]
            loss = torch.stack(losses).mean()
        elif self.samples > 1:
            raise ValueError(
                f"closure must be given for {self.samples} samples: each draws a network of its own"
            )
        for group in self.param_groups:
            for values in group["params"]:
                if values.grad is not None:
                    self._move(values, group)
        return loss

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
