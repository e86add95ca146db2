"""`Bop` and `Bop2ndOrder`: optimizers whose parameters are the signs themselves."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

from torch import Tensor

from solvers import checks
from vispa.optim.sign_optimizer import Check, Parameters, SignOptimizer, rate
from vispa.optim.update import FORMS, bop_update, second_order_update

__all__ = ["Bop", "Bop2ndOrder"]


class Bop(SignOptimizer):
    r"""Binary optimizer: flip w where the running mean m of its gradient agrees with it, w m > threshold.

    There are no latent weights, no learning rate, no clipping and no weight decay.  Everything that is not binary
    belongs to another optimizer, Adam in the published recipes: `vispa.split_parameters`.

    Parameters
    ----------
    params : iterable
        Floating-point parameters whose entries are +1 and -1: those of ``vispa.binarize(model, method="bop")``,
        or any others; float32 or float64, since a mean with a rate of 1e-4 drowns in half precision.
    threshold : float, optional
        tau >= 0; the larger, the fewer flips.  A tie w m = tau gives +1.
    gamma : float, optional
        Rate of the running mean, in (0, 1].

    Raises
    ------
    TypeError, ValueError
        For parameters that are not signs and options out of range.

    Notes
    -----
    The state is one tensor a parameter; a step is a few passes over it.  Scaling all gradients and the threshold
    by one positive number changes nothing; scaling the gradients alone does.

    References
    ----------
    Helwegen, Widdicombe, Geiger, Liu, Cheng and Nusselder, Latent Weights Do Not Exist: Rethinking Binarized
    Neural Network Optimization, NeurIPS 2019, algorithm 1.

    Examples
    --------
    >>> import torch
    >>> signs = torch.nn.Parameter(torch.tensor([1.0, -1.0, 1.0]))
    >>> optimizer = Bop([signs], threshold=0.1, gamma=0.5)
    >>> (signs @ torch.tensor([1.0, 1.0, -1.0])).backward()
    >>> optimizer.step()
    >>> signs.tolist()
    [-1.0, -1.0, 1.0]
    """

    option_checks: ClassVar[Mapping[str, Check]] = {
        "threshold": partial(checks.scalar, "threshold", minimum=0.0),
        "gamma": rate("gamma"),
    }

    def __init__(self, params: Parameters, *, threshold: float = 1e-8, gamma: float = 1e-4) -> None:
        super().__init__(params, {"threshold": threshold, "gamma": gamma})

    def update(self, signs: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        """Move one parameter, in place, and its running mean."""
        updated, mean = bop_update(
            signs,
            gradient,
            self.running_mean(signs, "mean"),
            gamma=group["gamma"],
            threshold=group["threshold"],
        )
        signs.copy_(updated)
        self.store(signs, "mean", mean)


class Bop2ndOrder(SignOptimizer):
    r"""Bop with the running mean divided by the root of that of the squared gradient.

    Flips w where w m' / (sqrt(v') + eps) > threshold.  So the threshold is a pure number, and scaling all
    gradients changes nothing (up to eps).

    Parameters
    ----------
    params : iterable
        As for `Bop`.
    threshold : float, optional
        tau >= 0.  A tie gives +1.
    gamma, sigma : float, optional
        Rates, in (0, 1], of the running means of the gradient and of its square.
    eps : float, optional
        Positive; added to the root.
    form : {"biased", "published-unbiased", "bias-corrected"}, optional
        ``"biased"``: m' = m, v' = v.  ``"published-unbiased"``: m / gamma, v / sigma, which for constant rates is
        the biased form under another threshold.  ``"bias-corrected"``: both divided by the total weight of the
        gradients seen, as in Adam, also while the rates change.

    Raises
    ------
    TypeError, ValueError
        As `Bop`.

    Notes
    -----
    The state is two tensors a parameter.

    References
    ----------
    Suarez-Ramirez, Gonzalez-Mendoza, Chang, Ochoa-Ruiz and Duran-Vega, A Bop and Beyond: A Second Order Optimizer
    for Binarized Neural Networks, CVPR Workshops 2021.

    Examples
    --------
    >>> import torch
    >>> signs = torch.nn.Parameter(torch.tensor([1.0, -1.0]))
    >>> optimizer = Bop2ndOrder([signs], threshold=0.5, gamma=0.1, sigma=0.1, form="bias-corrected")
    >>> (1e-6 * signs.sum()).backward()
    >>> optimizer.step()
    >>> signs.tolist()
    [-1.0, -1.0]
    """

    option_checks: ClassVar[Mapping[str, Check]] = {
        **Bop.option_checks,
        "sigma": rate("sigma"),
        "eps": partial(checks.scalar, "eps", positive=True),
        "form": partial(checks.choice, "form", allowed=FORMS),
    }

    def __init__(
        self,
        params: Parameters,
        *,
        threshold: float = 1e-6,
        gamma: float = 1e-6,
        sigma: float = 1e-2,
        eps: float = 1e-10,
        form: str = "biased",
    ) -> None:
        defaults = {"threshold": threshold, "gamma": gamma, "sigma": sigma, "eps": eps, "form": form}
        super().__init__(params, defaults)

    def update(self, signs: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        """Move one parameter, in place, and both running means."""
        updated, mean, square = second_order_update(
            signs,
            gradient,
            self.running_mean(signs, "mean"),
            self.running_mean(signs, "square"),
            gamma=group["gamma"],
            sigma=group["sigma"],
            threshold=group["threshold"],
            eps=group["eps"],
            form=group["form"],
        )
        signs.copy_(updated)
        self.store(signs, "mean", mean)
        self.store(signs, "square", square)
