"""How good probabilities are: negative log-likelihood, calibration, and what gives strange inputs away."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from solvers import checks

__all__ = ["Quality", "judged", "quality", "quality_of"]


@dataclass(frozen=True)
class Quality:
    """What the probabilities of one network, or of several averaged, are worth.

    Attributes
    ----------
    accuracy : float
        Share of examples whose likeliest class is right.
    nll : float
        Mean negative logarithm of the probability of the right class.
    ece : float
        Expected calibration error: the mean distance, over bins of equal width of the largest probability, weighted
        by their examples, between that probability and the share that is right.
    auroc : float
        Probability that an example is classified with a larger largest probability than one from outside the
        distribution, ties counting half; nan where none from outside were given.
    examples : int
        Examples classified.
    """

    accuracy: float
    nll: float
    ece: float
    auroc: float
    examples: int


def quality(
    logits: Tensor | Sequence[Tensor],
    labels: Tensor,
    *,
    outside: Tensor | Sequence[Tensor] | None = None,
    bins: int = 15,
) -> Quality:
    """Return how good the probabilities of a network are, or the average probabilities of several networks.

    Parameters
    ----------
    logits : Tensor or sequence of Tensor
        (batch, classes) of one network, or one such tensor a network: probabilities are averaged, which is what a
        distribution over networks predicts.  `vispa.accuracies` averages logits, as the published code does.
    labels : Tensor
        (batch,) of class numbers.
    outside : Tensor or sequence of Tensor, optional
        Logits of the same networks on examples of another distribution, for the area under the curve.
    bins : int, default 15
        Of the calibration error.

    Returns
    -------
    Quality
        Computed in double precision.

    Raises
    ------
    ValueError
        If there are no logits or no examples, shapes do not fit, a label is no class, or ``bins`` is below 1.
    TypeError
        If logits are no tensors.

    Notes
    -----
    Time: ``O(networks * batch * classes)``, and sorting for the area under the curve.

    References
    ----------
    Guo et al., On Calibration of Modern Neural Networks, ICML 2017; Hendrycks and Gimpel, A Baseline for Detecting
    Misclassified and Out-of-Distribution Examples, ICLR 2017.

    Examples
    --------
    >>> logits = torch.tensor([[0.75, 0.25], [0.75, 0.25], [0.25, 0.75], [0.25, 0.75]]).log()
    >>> found = quality(logits, torch.tensor([0, 0, 1, 0]))
    >>> found.accuracy, round(found.nll, 4), round(found.ece, 6)
    (0.75, 0.5623, 0.0)
    >>> quality(logits, torch.tensor([0, 0, 1, 0]), outside=torch.zeros(2, 2)).auroc
    1.0
    """
    bins = checks.integer("bins", bins, minimum=1)
    strange = None if outside is None else _log_shares("outside", outside).amax(1)
    return quality_of(judged(logits, labels), strange, bins=bins)


def judged(logits: Tensor | Sequence[Tensor], labels: Tensor) -> Tensor:
    """Return what `quality_of` needs of every example: log probability of its class, the largest, whether right.

    Returns
    -------
    Tensor
        (batch, 3), float64.
    """
    shares = _log_shares("logits", logits)
    if not isinstance(labels, Tensor) or labels.shape != shares.shape[:1]:
        found = tuple(labels.shape) if isinstance(labels, Tensor) else type(labels).__name__
        raise ValueError(f"labels must have shape {tuple(shares.shape[:1])}, as the logits do; found {found}")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < shares.shape[1]:
        raise ValueError(f"labels must be classes 0 to {shares.shape[1] - 1}; found {int(labels.max())}")
    largest, chosen = shares.max(1)
    right = (chosen == labels).to(torch.float64)
    return torch.stack([shares.gather(1, labels.long()[:, None])[:, 0], largest, right], dim=1)


def quality_of(examples: Tensor, outside: Tensor | None, *, bins: int = 15) -> Quality:
    """Return the quality of examples as `judged` describes them.

    Parameters
    ----------
    examples : Tensor
        (batch, 3), from `judged`; several batches are concatenated.
    outside : Tensor or None
        Logarithms of the largest probabilities of examples from outside the distribution.
    """
    if not len(examples):
        raise ValueError("labels must hold at least one example; found none")
    of_label, largest, right = examples.T.contiguous()
    confidence = largest.exp()
    gaps = confidence.new_zeros(bins).index_add_(
        0, (confidence * bins).long().clamp_max(bins - 1), right - confidence
    )
    return Quality(
        float(right.mean()),
        float(-of_label.mean()),
        float(gaps.abs().sum()) / len(examples),
        math.nan if outside is None else _above(largest, outside.contiguous()),
        len(examples),
    )


def _above(ours: Tensor, theirs: Tensor) -> float:
    """Probability that one of ours is above one of theirs, ties counting half."""
    if not len(theirs):
        raise ValueError("outside must hold at least one example; found none")
    ordered = theirs.sort().values
    below = torch.searchsorted(ordered, ours)
    not_above = torch.searchsorted(ordered, ours, right=True)
    return float((below + not_above).to(torch.float64).mean()) / (2 * len(theirs))


def _log_shares(name: str, logits: Tensor | Sequence[Tensor]) -> Tensor:
    """Logarithms of the networks' average probabilities, without an underflow."""
    networks = [logits] if isinstance(logits, Tensor) else list(logits)
    if not networks:
        raise ValueError(f"{name} must hold the logits of at least one network; found none")
    for each in networks:
        if not isinstance(each, Tensor):
            raise TypeError(f"{name} must be a tensor or a sequence of them; found {type(each).__name__}")
        if each.ndim != 2 or each.shape != networks[0].shape:
            raise ValueError(
                f"{name} must have one shape (batch, classes) a network; found {tuple(each.shape)}"
            )
    total: Tensor | None = None
    for each in networks:
        shares = each.detach().to(torch.float64).log_softmax(1)
        total = shares if total is None else torch.logaddexp(total, shares)
    assert total is not None
    return total - math.log(len(networks))
