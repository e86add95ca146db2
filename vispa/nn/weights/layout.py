"""How the entries of a weight form rows, one an output channel."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

__all__ = ["Layout"]


@dataclass(frozen=True)
class Layout:
    """The rows of a weight: the entries that one output channel sums over.

    Parameters
    ----------
    shape : tuple of int
        Of the weight as torch stores it.
    transposed_groups : int, default 0
        0 where the first axis is the output channel, as in Linear, convolutions and Embedding (a row is what
        one index returns). For a transposed convolution, stored as (in, out / groups, ...), its groups.

    Examples
    --------
    >>> import torch
    >>> layout = Layout((6, 2, 3), transposed_groups=3)
    >>> layout.out_channels, layout.fan_in
    (6, 6)
    >>> weight = torch.randn(6, 2, 3)
    >>> torch.equal(layout.weight(layout.rows(weight)), weight)
    True
    """

    shape: tuple[int, ...]
    transposed_groups: int = 0

    @property
    def out_channels(self) -> int:
        """Number of rows."""
        return self.shape[1] * self.transposed_groups if self.transposed_groups else self.shape[0]

    @property
    def fan_in(self) -> int:
        """Number of entries of a row."""
        size = 1
        for length in self.shape:
            size *= length
        return size // self.out_channels

    @property
    def in_channels(self) -> int:
        """Number of input channels of one group."""
        return self.shape[0] // self.transposed_groups if self.transposed_groups else self.shape[1]

    @property
    def xavier_variance(self) -> float:
        """Variance of Xavier's normal law, by which latent weights are drawn."""
        receptive_field = self.fan_in // self.in_channels
        return 2.0 / (receptive_field * (self.in_channels + self.out_channels))

    def rows(self, weight: Tensor) -> Tensor:
        """Return the weight with the output channels first; the same tensor where they are."""
        if not self.transposed_groups:
            return weight
        groups = self.transposed_groups
        return weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)

    def weight(self, rows: Tensor) -> Tensor:
        """Return rows in the order in which torch stores the weight: the inverse of `rows`."""
        if not self.transposed_groups:
            return rows
        groups = self.transposed_groups
        return rows.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
