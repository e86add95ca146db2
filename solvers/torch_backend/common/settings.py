"""The tuning constants of the drivers on tensors, with what each is a fraction of.

The allowed gap is what the tolerance leaves a problem; the predicted error is what the last decrease says is
still to come.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DriverSettings:
    """What drivers of many problems share.

    Attributes
    ----------
    block : int
        Sweeps between evaluations: only there does the processor wait for the device.
    worth_evaluating : float
        Of the allowed gap: an evaluation and a certificate are worth their price once the predicted error is this
        small.
    converged : float
        Of the allowed gap: once the predicted error is this small, more sweeps cannot help.
    idle_share : float
        Finished problems are swept along until they are this share of all.
    """

    block: int = 10
    worth_evaluating: float = 0.5
    converged: float = 1e-3
    idle_share: float = 0.25


@dataclass(frozen=True)
class DenseSettings(DriverSettings):
    """The settings of batches of dense problems.

    Attributes
    ----------
    first_evaluation : int
        Sweeps after which every problem is evaluated, so that its gap has a scale.
    patience : float
        A failed certificate is followed by this many times the sweeps so far before the next.
    float32_floor : float
        Of the value: below this error sweeps in float32 cannot help.
    worthwhile : float
        Of the allowed gap: an escape that lowers the value by less has only found rounding.
    nearly_optimal : float
        Of the allowed gap: the dual problem is worth polishing where the factor's own error is this small.
    least_sweeps, sweeps_a_row : int
        Problems that are not certified after this many sweeps, and this many a row, go to the interior point
        method.
    extra_columns : int
        Columns that an escape adds to all factors of an active set where none is spare.
    """

    first_evaluation: int = 20
    patience: float = 1.25
    float32_floor: float = 1e-12
    worthwhile: float = 0.01
    nearly_optimal: float = 0.5
    least_sweeps: int = 200
    sweeps_a_row: int = 4
    extra_columns: int = 4


@dataclass(frozen=True)
class SharedSettings(DriverSettings):
    """The settings of problems that share a matrix.

    Attributes
    ----------
    early_sweeps : int
        Sweeps whose products with the matrix are in bfloat16, where the device is fast at it.
    least_sweeps : int
    sweeps_a_row : float
        After these many sweeps, and these many a row, a problem is solved on its own by the interior point method,
        which costs about as much as three sweeps a row.
    alone_on_cpu, alone_on_cuda : int
        The order above which that takes too long.
    evaluated_entries : int
        Floats for the float64 factors of an evaluation.
    """

    early_sweeps: int = 20
    least_sweeps: int = 100
    sweeps_a_row: float = 0.25
    alone_on_cpu: int = 4100
    alone_on_cuda: int = 16400
    evaluated_entries: int = 2**25


@dataclass(frozen=True)
class SparseSettings:
    """The settings of one huge sparse problem.

    Attributes
    ----------
    block : int
        Sweeps between words from the device.
    gap_over_error : float
        The gap of a factor that is wide enough is about this many times the predicted error ...
    too_narrow : float
        ... and where it is this many times that, more columns help more than sweeps do.
    first_evaluation : float
        Of the value: once the predicted error is this small, it pays to see whether the factor is wide enough.
    patience : float
        A failed certificate is followed by this many times the sweeps so far before the next.
    safety : float
        Of the wanted gap: what a certificate aims at.
    converged : float
        Of the allowed gap: an error as small, or lost in rounding, has converged.  The gap may still follow, as
        its square root does, so that only several failures mean that nothing can help.
    attempts : int
        Certificates of a converged factor that may fail.
    """

    block: int = 10
    gap_over_error: float = 3.0
    too_narrow: float = 6.0
    first_evaluation: float = 3e-4
    patience: float = 1.25
    safety: float = 0.9
    converged: float = 1e-3
    attempts: int = 6


DENSE = DenseSettings()
SHARED = SharedSettings()
SPARSE = SparseSettings()
