"""What results of many problems at once have in common."""

from __future__ import annotations

from torch import Tensor

from solvers.problems.solution import STATUSES, Status


class ManySolutions:
    """Results of B problems, whose statuses are places in `statuses`."""

    status: Tensor

    statuses = STATUSES

    @property
    def certified(self) -> Tensor:
        """(B,) bool: whether each gap met the tolerance."""
        return self.status == STATUSES.index(Status.CERTIFIED)

    def __repr__(self) -> str:
        certified = int(self.certified.sum())
        return f"<{type(self).__name__} of {len(self)} problems, {certified} certified>"

    def __len__(self) -> int:
        """The number of problems, B."""
        return int(self.status.shape[0])
