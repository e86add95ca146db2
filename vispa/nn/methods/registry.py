"""Every training method under one name."""

from __future__ import annotations

import dataclasses
from typing import Any

from solvers import checks
from vispa.nn.methods.adaste import AdaSTE
from vispa.nn.methods.base import Method
from vispa.nn.methods.bayesbinn import BayesBiNN
from vispa.nn.methods.bernoulli import Bernoulli
from vispa.nn.methods.biper import BiPer
from vispa.nn.methods.bop import Bop
from vispa.nn.methods.irnet import IRNet
from vispa.nn.methods.mirror import Mirror
from vispa.nn.methods.pmf import PMF
from vispa.nn.methods.proxquant import ProxQuant
from vispa.nn.methods.rbnn import RBNN
from vispa.nn.methods.reactnet import ReActNet
from vispa.nn.methods.rebnn import ReBNN
from vispa.nn.methods.recu import ReCU
from vispa.nn.methods.reste import ReSTE
from vispa.nn.methods.ste import STE
from vispa.nn.methods.vispa import Vispa
from vispa.nn.methods.xnor import XNOR

__all__ = ["METHODS", "as_method"]

METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (
        Vispa, STE, Bernoulli, Bop, XNOR, ReActNet, IRNet, ReCU, RBNN, ReBNN, BiPer, ReSTE, Mirror, PMF,
        ProxQuant, AdaSTE, BayesBiNN,
    )
}  # fmt: skip


def as_method(method: str | Method, options: dict[str, Any]) -> Method:
    """Return a method by its name and options, or as it is.

    Raises
    ------
    TypeError
        If ``method`` is neither a name nor a method, options come beside a method, or no method has an option.
    ValueError
        If there is no method of that name, the method does not have an option, or an option is out of range.

    Examples
    --------
    >>> as_method("vispa", {"rank": 8}).rank
    8
    >>> as_method("ste", {"rank": 8})
    Traceback (most recent call last):
    ValueError: rank does not belong to method 'ste', which has kernel, channel_scale; it belongs to 'vispa'
    """
    if isinstance(method, Method):
        if options:
            raise TypeError(
                f"options belong to the method that is given, {type(method).__name__}(...); found "
                f"{', '.join(options)} beside it"
            )
        return method
    if not isinstance(method, str):
        raise TypeError(f"method must be a name or a Method; found {type(method).__name__}")
    chosen = METHODS[checks.choice("method", method, tuple(METHODS))]
    for name in options:
        if name not in options_of(chosen):
            raise _foreign(name, chosen)
    return chosen(**options)


def options_of(method: type[Method]) -> tuple[str, ...]:
    """Return the names of a method's options."""
    return tuple(field.name for field in dataclasses.fields(method))


def _foreign(option: str, method: type[Method]) -> Exception:
    owners = [repr(name) for name, each in METHODS.items() if option in options_of(each)]
    own = f"does not belong to method {method.name!r}, which has {', '.join(options_of(method))}"
    if not owners:
        return TypeError(f"{option} {own}, nor to any other")
    return ValueError(f"{option} {own}; it belongs to {', '.join(owners)}")
