"""`load_float`: start the posterior from the weights of a trained float network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from solvers import checks
from vispa.nn.conversion.float_state import float_state
from vispa.nn.conversion.harden import harden
from vispa.nn.conversion.refusals import refuse_sharded, refuse_wrapped
from vispa.nn.conversion.selection import BinaryLayer, binary_layers
from vispa.nn.weights.bias import ScaledBias

__all__ = ["load_float"]

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def load_float(
    model: ModuleT,
    source: nn.Module | Mapping[str, Tensor],
    *,
    noise_ratio: float | None = None,
    strict: bool = True,
) -> ModuleT:
    """Load trained float weights into a binarized model, in place, and return it.

    Float weights become the means, a learned alpha becomes ``mean |w|`` of its channel, which approximates
    the float channel best in least squares, biases add what they added; all other parameters and buffers
    (real layers, BatchNorm) are copied.

    Parameters
    ----------
    model : Module
        The network of ``source`` after :func:`vispa.binarize`; unchanged after an error.
    source : Module or mapping of str to Tensor
        The float network, or its ``state_dict()``: the names and shapes of the network before ``binarize``.
    noise_ratio : float, optional
        Root mean square of the noise over that of the mean at the start, in every layer, positive. By default
        that of the published initialisation, as in ``binarize``: a few per cent. The noise has one standard
        deviation in a layer, so that small weights are the uncertain ones, and a sample differs from
        ``sgn(mean)`` in a share of about ``arctan(noise_ratio) / pi`` of the signs of normal weights. With
        method ``"bernoulli"`` the means are scaled to have root mean square ``1 / sqrt(1 + noise_ratio^2)``,
        by default 1, before they are clipped; the other methods have no noise and take no ratio.
    strict : bool, default True
        Whether names and shapes must be those of the model. If not, what has no counterpart, such as the
        head of another task, stays as it is.

    Returns
    -------
    Module
        The same object.

    Raises
    ------
    TypeError
        If the model is wrapped (compiled, DDP) or sharded, or ``source`` is neither a module nor a mapping to
        floating-point tensors.
    ValueError
        If the model has no binary layer, ``source`` is binarized itself, is wrapped or shares memory with the
        model, names are missing or left over or shapes differ although ``strict``, nothing fits, values are
        not finite, or a method without noise is given a ratio.

    Notes
    -----
    The factor is drawn anew from torch's default generator. A channel of zeros gets alpha 0 and keeps it
    under gradient descent: its bias adds 0 then.

    Examples
    --------
    >>> import torch, vispa
    >>> pretrained = torch.nn.Linear(16, 4)
    >>> model = vispa.binarize(torch.nn.Linear(16, 4), keep=())
    >>> model = vispa.load_float(model, pretrained, noise_ratio=0.1).eval()
    >>> torch.equal(model.weight.sign(), pretrained.weight.sign())
    True
    >>> torch.allclose(model.weight.abs()[:, 0], pretrained.weight.abs().mean(dim=1))
    True
    """
    refuse_wrapped(model, "loaded")
    refuse_sharded(model, "loaded")
    layers = binary_layers(model)
    if noise_ratio is not None:
        noise_ratio = checks.scalar("noise_ratio", noise_ratio, positive=True)
        for found in layers:
            if not found.weight.takes_noise_ratio:
                raise ValueError(
                    f"noise_ratio must be None for layer {found.name!r}, whose method has no noise; "
                    f"found {noise_ratio}"
                )
    if not isinstance(strict, bool):
        raise TypeError(f"strict must be True or False; found {strict!r}")
    expected = harden(model).state_dict()
    state = float_state(source, expected)
    if not strict:
        state = _fitting(state, expected)
        layers = [found for found in layers if _plain_name(found) in state]
    else:
        _check_names_and_shapes(state, expected)
    _check_weights(layers, state)
    _refuse_shared_memory(model, state)
    real = {name: state.get(name, values) for name, values in model.state_dict().items()}
    model.load_state_dict(real)
    loaded: set[int] = set()
    with torch.no_grad():
        for found in layers:
            if id(found.weight) not in loaded:
                _load_weight(found, state[_plain_name(found)], noise_ratio)
                loaded.add(id(found.weight))
        for found in layers:
            _load_bias(found, state)
    return model


def _plain_name(found: BinaryLayer, attribute: str | None = None) -> str:
    attribute = attribute or found.attribute
    return f"{found.name}.{attribute}" if found.name else attribute


def _fitting(state: Mapping[str, Any], expected: Mapping[str, Any]) -> Mapping[str, Any]:
    fitting = {
        name: values
        for name, values in state.items()
        if isinstance(values, Tensor)
        and isinstance(expected.get(name), Tensor)
        and values.shape == expected[name].shape
    }
    if not fitting:
        raise ValueError(
            "source must share names and shapes with the network before binarize; found none, such as "
            f"{', '.join(map(repr, list(state)[:3])) or 'no names at all'}"
        )
    return fitting


def _refuse_shared_memory(model: nn.Module, state: Mapping[str, Any]) -> None:
    own = {_memory(values): name for name, values in model.state_dict().items() if isinstance(values, Tensor)}
    for name, values in state.items():
        if isinstance(values, Tensor) and values.numel() and _memory(values) in own:
            raise ValueError(
                f"source[{name!r}] is the model's own memory, which binarize has overwritten; copy the float "
                "network before binarize, with copy.deepcopy(model.state_dict())"
            )


def _memory(values: Tensor) -> tuple[str, int]:
    return str(values.device), values.untyped_storage().data_ptr()


def _check_names_and_shapes(state: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    missing = [name for name in expected if name not in state]
    foreign = [name for name in state if name not in expected]
    if missing or foreign:
        raise ValueError(
            "source must have the names of the network before binarize; "
            f"missing: {', '.join(map(repr, missing)) or 'none'}; "
            f"left over: {', '.join(map(repr, foreign)) or 'none'}"
        )
    for name, values in expected.items():
        if not isinstance(values, Tensor):
            continue
        if not isinstance(state[name], Tensor):
            raise TypeError(f"source[{name!r}] must be a tensor; found {type(state[name]).__name__}")
        if state[name].shape != values.shape:
            raise ValueError(
                f"source[{name!r}] must have shape {tuple(values.shape)}; found {tuple(state[name].shape)}"
            )


def _check_weights(layers: list[BinaryLayer], state: Mapping[str, Tensor]) -> None:
    first: dict[int, str] = {}
    for found in layers:
        name = _plain_name(found)
        values = state[name]
        if not values.is_floating_point():
            raise TypeError(f"source[{name!r}] must be floating point; found {values.dtype}")
        if not bool(torch.isfinite(values).all()):
            raise ValueError(f"source[{name!r}] must be finite; found NaN or infinite entries")
        if not bool(values.any()):
            raise ValueError(f"source[{name!r}] must have a non-zero weight; found zeros alone")
        other = first.setdefault(id(found.weight), name)
        if not torch.equal(values, state[other]):
            raise ValueError(
                f"source[{name!r}] and source[{other!r}] must be equal: the model ties them; found different values"
            )


def _load_weight(found: BinaryLayer, values: Tensor, noise_ratio: float | None) -> None:
    found.weight.load(found.mean, values, noise_ratio)
    found.weight.follow(found.mean)


def _load_bias(found: BinaryLayer, state: Mapping[str, Tensor]) -> None:
    chains: nn.ModuleDict = found.layer.parametrizations  # type: ignore[assignment]
    for attribute, chain in chains.items():
        scaled = chain[0]  # type: ignore[index]
        if isinstance(scaled, ScaledBias) and _plain_name(found, attribute) in state:
            bias: Tensor = chain.original  # type: ignore[assignment]
            bias.copy_(scaled.stored(state[_plain_name(found, attribute)].to(bias)))
