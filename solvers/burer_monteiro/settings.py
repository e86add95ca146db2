"""The tuning constants of the component solver, with what each is a fraction of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ComponentSettings:
    """When a component is evaluated, certified, and given another method.

    The allowed gap is the component's share of the wanted gap; the predicted error is what the last decrease says
    is still to come.

    Attributes
    ----------
    block : int
        Iterations between looks at the decrease; limits are checked there too.
    safety : float
        Of the wanted gap: components are solved a little further than that, so that their sum keeps within it.
    first_evaluation : float
        Of the allowed gap: an evaluation costs some iterations, and is worth them once the predicted error is this
        small.
    evaluation_power, farthest_evaluation : float
        The next evaluation is due once the error has fallen by as much again at least.  It falls faster than the
        estimated gap: by this power of what that lacks, but the wait is for no smaller a share than the second.
    evaluation_blocks : int
        Blocks between evaluations of sweeps that take long.
    steady_sweeps : int
        Sweeps that leave rows on their spheres but for some units of rounding.
    promising : float
        Of the allowed gap: a certificate is worth its price once the estimated gap is this small.
    certificate_margin : float
        Of the allowed gap: so much less is asked of a certificate, that rounding cannot make it useless.
    certificate_patience : float
        A failed certificate is followed by this many times the iterations so far before the next.
    final_sharpness : float
        Of the value: after a limit, a bound this sharp is sharp enough.
    converged : float
        Of the allowed gap: once the predicted error is this small, only an escape can help.
    lost_in_rounding : float
        Of the value: no smaller error can be predicted.
    outside : float
        An eigenvalue this many times as negative as the curvature on the range of V belongs to a direction outside.
    sweeps_a_row, least_sweeps, most_sweeps : int
        First-order iterations that every component gets: so many a row, and between the two others.
    direct_order : int
        Up to this order the central path, O(n^3) a step, is followed once sweeps had their chance.
    path_order : int
        Up to this order a dense cost, or one kept as its factors, may follow the central path: eight matrices of
        150 MB in all, half a minute of one core.
    path_sweeps : int
        Sweeps over a dense cost that take as long as the path.
    farthest_goal : float
        Sweeps go on while they are projected to arrive within this many times their number so far.
    """

    block: int = 10
    safety: float = 0.9
    first_evaluation: float = 0.5
    evaluation_power: float = 1.5
    farthest_evaluation: float = 0.05
    evaluation_blocks: int = 10
    steady_sweeps: int = 100
    promising: float = 0.75
    certificate_margin: float = 0.01
    certificate_patience: float = 1.25
    final_sharpness: float = 1e-6
    converged: float = 1e-3
    lost_in_rounding: float = 1e-15
    outside: float = 2.0
    sweeps_a_row: int = 10
    least_sweeps: int = 200
    most_sweeps: int = 4000
    direct_order: int = 500
    path_order: int = 1500
    path_sweeps: int = 300
    farthest_goal: float = 8.0


@dataclass(frozen=True)
class ProgressSettings:
    """When a method is said to crawl.

    Attributes
    ----------
    crawling_share : float
        Of its blocks so far: one that halves neither the estimated gap nor the predicted error within these crawls.
    least_blocks : int
        But every method gets this many blocks to halve one of them.
    """

    crawling_share: float = 0.75
    least_blocks: int = 20


COMPONENT = ComponentSettings()
PROGRESS = ProgressSettings()
