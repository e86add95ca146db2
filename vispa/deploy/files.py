"""Files of one bit a weight: safetensors with packed signs, a scale a row, and everything else as it was.

Layout, version 1. A binary weight ``name`` is two tensors. ``name.signs`` is uint8 (rows, ceil(K / 8)): a row
an output channel, K its entries in the order in which torch stores them, the first in the lowest bit, 1 for
negative, the last byte filled up with zeros. ``name.scale`` is (rows,) in the dtype of the weight. All other
entries of the state dict are there under their names. The metadata says ``format``, ``version``, ``weights``
(shape and transposed groups of each binary weight), ``aliases`` (names of tied tensors that are stored once),
``graph`` (the module tree, where it is made of known classes) and ``digest``, the SHA-256 of all this.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from solvers.whole_file import whole_file
from vispa.deploy.architecture import build, describe
from vispa.deploy.signs import binary_weights, pack_signs, unpack_signs
from vispa.nn.conversion.harden import harden
from vispa.nn.conversion.refusals import refuse_sharded, refuse_wrapped
from vispa.nn.conversion.selection import find_binary_layers
from vispa.nn.weights.layout import Layout

__all__ = ["load_packed", "save_packed"]

FORMAT, VERSION = "vispa-packed", "1"
FIELDS = ("weights", "aliases", "graph")


def save_packed(model: nn.Module, path: str | Path) -> int:
    """Write a binary model with one bit a weight, and return the number of bytes of the file.

    Parameters
    ----------
    model : Module
        Binarized, which is hardened first, or plain, such as what :func:`vispa.harden` returns: a weight of Linear,
        convolutions, attention or Embedding is packed where every row has one absolute value.
    path : str or Path
        Of the safetensors file; replaced if it exists.

    Raises
    ------
    TypeError
        If the model is wrapped (compiled, DDP) or sharded.
    ValueError
        If no weight is binary.
    OSError
        If it cannot be written; a file that was there stays as it was.
    ImportError
        If safetensors is not installed (the extra ``deploy``).

    Examples
    --------
    >>> import pathlib, tempfile, torch, vispa
    >>> layers = [torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 64, bias=False)]
    >>> model = vispa.harden(vispa.binarize(torch.nn.Sequential(*layers), keep=()))
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> size = vispa.save_packed(model, path)
    >>> loaded = vispa.load_packed(path)
    >>> all(torch.equal(*pair) for pair in zip(model.state_dict().values(), loaded.state_dict().values()))
    True
    """
    refuse_wrapped(model, "saved")
    refuse_sharded(model, "saved")
    if any(find_binary_layers(model)):
        model = harden(model)
    packed = binary_weights(model)
    if not packed:
        raise ValueError(
            "model must have a weight whose rows have one absolute value each; found none. Pass a binarized "
            "or hardened model, or save a real one with torch.save"
        )
    first: dict[Any, str] = {}
    tensors: dict[str, Tensor] = {}
    weights: dict[str, dict[str, Any]] = {}
    aliases: dict[str, str] = {}
    for name, values in model.state_dict().items():
        if not isinstance(values, Tensor):
            raise TypeError(
                f"model must have tensors alone in its state dict; {name!r} is a {type(values).__name__}"
            )
        key = (values.dtype, values.data_ptr(), *values.shape, *values.stride())
        if values.numel() and first.setdefault(key, name) != name:
            aliases[name] = first[key]
        elif name in packed:
            layout, rows = packed[name]
            weights[name] = {"shape": list(layout.shape), "transposed_groups": layout.transposed_groups}
            tensors[f"{name}.signs"] = pack_signs(rows.negative)
            tensors[f"{name}.scale"] = rows.scale
        else:
            tensors[name] = values
    tensors = {name: values.detach().cpu().contiguous().clone() for name, values in tensors.items()}
    fields = {"weights": weights, "aliases": aliases, "graph": _graph(model)}
    metadata = {name: json.dumps(value, sort_keys=name != "graph") for name, value in fields.items()}
    metadata |= {"format": FORMAT, "version": VERSION}
    metadata["digest"] = _digest(tensors, metadata)
    with whole_file(path) as beside:
        _safetensors().save_file(tensors, str(beside), metadata=metadata)
    return Path(path).stat().st_size


def _graph(model: nn.Module) -> Any:
    """The description of a model, if a model with the same state can be built of it."""
    graph = describe(model)
    if graph is None:
        return None
    own, built = (
        [(name, values.shape) for name, values in each.state_dict().items() if isinstance(values, Tensor)]
        for each in (model, build(graph))
    )
    return graph if own == built else None


def load_packed(path: str | Path, into: nn.Module | None = None) -> nn.Module:
    """The model of a packed file, with plain weights that equal the saved ones bit for bit.

    Nothing in a file is executed: it is made of numbers, and of names from a list of torch's classes.
    The digest finds damage; it is no signature, so trust in whoever wrote the numbers is yours.

    Parameters
    ----------
    path : str or Path
        Of a file that :func:`save_packed` wrote.
    into : Module, optional
        A plain model with the same state dict, which is filled and returned. Needed where the saved model has
        classes other than torch's common layers in Sequential and vispa's own; by default it is built.

    Returns
    -------
    Module
        In evaluation mode where it was built; pass it to :func:`vispa.pack` to run on packed bits.

    Raises
    ------
    ValueError
        If the file is truncated, altered, or not a packed file; or ``into`` has other names, shapes or dtypes.
    OSError
        If it cannot be read.
    """
    tensors, metadata = _read(Path(path))
    state = _unpacked(tensors, metadata, path)
    if into is None:
        graph = _field(metadata, "graph", path)
        if graph is None:
            raise ValueError(
                f"{path} holds a model with classes of its own; pass into=, a new model of the same class"
            )
        try:
            model = build(graph)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} is not a packed file of version {VERSION}: {error}") from error
        return _filled(model, state, path, assign=True).requires_grad_(False)
    refuse_wrapped(into, "filled")
    if any(find_binary_layers(into)):
        raise ValueError(
            "into must be a plain model, as before vispa.binarize or after vispa.harden; found posteriors"
        )
    return _filled(into, state, path, assign=False)


def _filled(model: nn.Module, state: dict[str, Tensor], path: str | Path, *, assign: bool) -> nn.Module:
    own = model.state_dict()
    if set(own) != set(state):
        differing = sorted(set(own) ^ set(state))
        raise ValueError(
            f"{path} and the model must have the same names; {differing[0]!r} is in one of them alone"
        )
    for name, values in own.items():
        if values.shape != state[name].shape:
            raise ValueError(
                f"{path} has {name!r} of shape {tuple(state[name].shape)}; the model has {tuple(values.shape)}"
            )
        if not assign and values.dtype != state[name].dtype:
            raise ValueError(
                f"{path} has {name!r} in {state[name].dtype}; the model has {values.dtype}, which would round it. "
                "Convert the model, as by into.double()"
            )
    try:
        model.load_state_dict(state, assign=assign)
    except RuntimeError as error:  # such as whole numbers where the model has parameters
        raise ValueError(f"{path} is not a packed file of version {VERSION}: {error}") from error
    return model


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} must be a file; found none")
    tensors: dict[str, Tensor] = {}
    try:
        with _safetensors_open()(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(
                    f"{path} is no packed file: its format is {metadata.get('format')!r}, not {FORMAT!r}"
                )
            if metadata.get("version") != VERSION:
                raise ValueError(
                    f"{path} has version {metadata.get('version')!r}; this library reads version {VERSION!r}"
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except ValueError:
        raise
    except Exception as error:  # safetensors' own class; it means the header or the sizes are wrong
        raise ValueError(f"{path} is truncated or no safetensors file: {error}") from error
    if metadata.get("digest") != _digest(tensors, metadata):
        raise ValueError(f"{path} was altered or damaged: its contents do not match its digest")
    return tensors, metadata


def _unpacked(tensors: dict[str, Tensor], metadata: dict[str, str], path: str | Path) -> dict[str, Tensor]:
    weights, aliases = _field(metadata, "weights", path), _field(metadata, "aliases", path)
    state = dict(tensors)
    try:
        for name, entry in weights.items():
            layout = Layout(tuple(entry["shape"]), entry["transposed_groups"])
            signs, scale = state.pop(f"{name}.signs"), state.pop(f"{name}.scale")
            bytes_a_row = -(-layout.fan_in // 8)
            if signs.dtype != torch.uint8 or signs.shape != (layout.out_channels, bytes_a_row):
                raise ValueError(f"signs of {name!r} must be uint8 {(layout.out_channels, bytes_a_row)}")
            if scale.shape != (layout.out_channels,) or not scale.is_floating_point():
                raise ValueError(f"scale of {name!r} must have {layout.out_channels} entries")
            state[name] = _weight(unpack_signs(signs, layout.fan_in), scale, layout)
        state |= {name: state[original] for name, original in aliases.items()}
    # what wrong shapes and names lead to
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a packed file of version {VERSION}: {error}") from error
    return state


def _weight(negative: Tensor, scale: Tensor, layout: Layout) -> Tensor:
    rows = torch.where(negative, -scale[:, None], scale[:, None])
    shape = layout.rows(torch.empty(layout.shape, device="meta")).shape
    return layout.weight(rows.reshape(shape)).contiguous()


def _field(metadata: dict[str, str], name: str, path: str | Path) -> Any:
    try:
        return json.loads(metadata[name])
    except (KeyError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a packed file of version {VERSION}: no {name}") from error


def _digest(tensors: dict[str, Tensor], metadata: dict[str, str]) -> str:
    total = hashlib.sha256()
    for field in FIELDS:
        total.update(f"{field}={metadata.get(field)}\n".encode())
    for name in sorted(tensors):
        values = tensors[name]
        total.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
        total.update(values.reshape(-1).view(torch.uint8).numpy().tobytes() if values.numel() else b"")
    return total.hexdigest()


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ImportError as error:
        raise ImportError('packed files need safetensors: pip install "vispa-sdp[deploy]"') from error
    return safetensors.torch


def _safetensors_open() -> Any:
    _safetensors()
    from safetensors import safe_open

    return safe_open
