"""Optimizers that flip binary weights by momentum, their schedules, and closed-form laws of flips."""

from vispa.optim.bop import Bop, Bop2ndOrder
from vispa.optim.flip_law import flip_rate, sign_agreement
from vispa.optim.groups import OptimizerGroup, split_parameters
from vispa.optim.schedules import LinearSchedule, OptionSchedule, StepSchedule
from vispa.optim.update import bop_update, flipped, second_order_update

__all__ = [
    "Bop",
    "Bop2ndOrder",
    "LinearSchedule",
    "OptimizerGroup",
    "OptionSchedule",
    "StepSchedule",
    "bop_update",
    "flip_rate",
    "flipped",
    "second_order_update",
    "sign_agreement",
    "split_parameters",
]
