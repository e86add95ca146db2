"""A trained network made binary layer after layer, each fitted to what the float network's layer puts out."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from solvers import checks
from solvers.interrupts import HeldInterrupts
from vispa.nn.calibration import Batches, check_batches, mean_loss
from vispa.nn.calling import Forward
from vispa.nn.conversion.refusals import refuse_sharded, refuse_wrapped
from vispa.nn.conversion.selection import LayerChoice, select_sites
from vispa.quantization.calls import buffers_kept
from vispa.quantization.fit_layer import Options
from vispa.quantization.layer_by_layer import LayerByLayer, Settings
from vispa.quantization.layer_inputs import has_rows
from vispa.quantization.layer_step import METHODS
from vispa.quantization.network_report import LayerLoss, NetworkReport
from vispa.quantization.saved_steps import SavedSteps

__all__ = ["BinarizedNetwork", "binarize_trained"]


class BinarizedNetwork(NamedTuple):
    """A network of plain modules whose chosen weights are scales times signs, and what that has cost."""

    model: nn.Module
    report: NetworkReport


def binarize_trained(
    model: nn.Module,
    calibration: Batches,
    *,
    layers: LayerChoice = None,
    keep: Collection[str] | None = None,
    group: int | None = None,
    method: str = "vispa",
    bounds: bool = False,
    effort: float = 1.0,
    damping: float = 0.01,
    loss: Callable[[Any, Any], Tensor] | None = None,
    forward: Forward | None = None,
    checkpoint: str | Path | None = None,
    max_seconds: float | None = None,
    workers: int | None = None,
    callback: Callable[[LayerLoss], None] | None = None,
    rng: np.random.Generator | int | None = 0,
) -> BinarizedNetwork:
    r"""Return a binary copy of a trained network, made layer by layer without training, and a report.

    Parameters
    ----------
    model : Module
        Trained, in float32 or float64; it is not changed.
    calibration : iterable of batches
        Inputs, or pairs (inputs, targets), iterable more than once; a few hundred samples will do.
    layers, keep : optional
        What becomes binary and what stays real of it, as for :func:`vispa.binarize`.  Linear layers, convolutions
        and transformers' Conv1D can; transposed convolutions, embeddings and the projections of MultiheadAttention
        stay real.
    group : int, optional
        So many inputs of a row share a scale, such as 128; by default all of them.
    method : {"vispa", "sgn-mean", "sgn", "gptq", "gptq-descent"}
        ``"vispa"`` is :func:`vispa.binary_layer`.  The others are there to compare: sgn(w) with the mean of
        \|w\| or with its best scales, GPTQ with the best scales, and GPTQ followed by single flips.
    bounds : bool, optional
        Whether each layer's error is bounded from below, which takes some twenty times as long.
    effort : float, optional
        As for :func:`vispa.binary_layer`.
    damping : float, optional
        Of the mean square of an input, what is added to every one: weights that the samples say little of, such as
        those of dead inputs, or all of them where samples are fewer than inputs, stay near what they were.
    loss : callable, optional
        ``loss(outputs, targets)``, averaged over the batch, to be measured before and after.
    forward : callable, optional
        ``forward(model, inputs)``, for models that are called otherwise than on their inputs.
    checkpoint : path, optional
        File that holds the layers done; a call that finds it goes on from there, if the network and the settings
        are the same.
    max_seconds : float, optional
        Layers that are not begun by then stay real.
    workers : int, optional
        Threads; by default one a processor.
    callback : callable, optional
        Called with each layer's `LayerLoss`; StopIteration ends the work as the limit does.
    rng : numpy Generator or seed, optional
        For walks and roundings.

    Returns
    -------
    BinarizedNetwork
        ``model`` and ``report``.  KeyboardInterrupt returns them too, with the layers done.

    Raises
    ------
    TypeError, ValueError
        For an argument that does not fit, naming it, and naming the layer where its inputs are not finite, where
        layers before it decide which samples it is fed, and where it puts out something else than its weight times
        its inputs.

    Notes
    -----
    In the order in which the network calls them, every layer is fed what the already binary network feeds it, and
    its signs and scales bring its outputs nearest to those of the float network's layer: later layers make up for
    what earlier ones lose.  Both networks draw the same noise where they draw some.  A bias is set so that mean
    outputs agree, and BatchNorm statistics are averaged anew at the end, batches weighed by size.
    Each layer takes a forward of both networks up to it, and memory for its moments, 24 n^2 bytes.

    Examples
    --------
    >>> import torch, vispa
    >>> torch.manual_seed(0)  # doctest: +ELLIPSIS
    <torch._C.Generator ...>
    >>> network = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> binary, report = vispa.binarize_trained(network, [torch.randn(64, 4)], layers=["0"])
    >>> sorted(len(row.unique()) for row in binary[0].weight.abs()) == [1] * 8, report.layers[0].rows
    (True, 8)
    """
    refuse_wrapped(model, "made binary")
    refuse_sharded(model, "made binary")
    check_batches(calibration, needed_by="binarize_trained")
    checks.choice("method", method, METHODS)
    if bounds and method != "vispa":
        raise ValueError(f"bounds must be False for method={method!r}; only 'vispa' finds them")
    for name, function in (("loss", loss), ("forward", forward), ("callback", callback)):
        checks.function(name, function)
    work = LayerByLayer(
        model,
        calibration,
        forward,
        choose(model, layers, keep),
        Settings(
            method,
            Options.checked(group=group, effort=effort, bounds=bounds, workers=workers),
            checks.scalar("damping", damping, minimum=0.0),
            int(checks.generator("rng", rng).integers(2**31)),
        ),
    )
    limit = np.inf if max_seconds is None else checks.scalar("max_seconds", max_seconds, positive=True)
    saved = SavedSteps(None) if checkpoint is None else SavedSteps(Path(checkpoint), work.signature)
    with buffers_kept(model), buffers_kept(work.binary):
        before = None if loss is None else mean_loss(model, calibration, loss, forward)
        began = time.perf_counter()
        _all_layers(work, saved, began + limit, callback)
    work.finish()
    after = None if loss is None else mean_loss(work.binary, calibration, loss, forward)
    return BinarizedNetwork(work.binary, work.report(before, after, time.perf_counter() - began))


def _all_layers(
    work: LayerByLayer, saved: SavedSteps, deadline: float, callback: Callable[[LayerLoss], None] | None
) -> None:
    """Take every layer's step, made or saved, until the deadline, an interruption or the callback ends it."""
    try:
        for name in tqdm(work.order, unit="layer", leave=False, disable=None):
            if time.perf_counter() > deadline:
                break
            step = saved.get(name) or work.step(name)
            with HeldInterrupts() as interrupts:
                saved.put(name, step)
                work.take(name, step)
            if interrupts.asked or _stops(callback, step.loss):
                break
    except KeyboardInterrupt:
        pass


def _stops(callback: Callable[[LayerLoss], None] | None, loss: LayerLoss) -> bool:
    """Tell the callback of a layer, and whether it wants no more."""
    try:
        if callback is not None:
            callback(loss)
    except StopIteration:
        return True
    return False


def choose(model: nn.Module, layers: LayerChoice, keep: Collection[str] | None) -> list[str]:
    """Names of the layers to make binary.

    Raises
    ------
    TypeError, ValueError
        If none remains, a layer that was asked for cannot be, or a parameter is of half precision or shared.
    """
    for name, values in (*model.named_parameters(), *model.named_buffers()):
        if values.is_meta:
            raise ValueError(
                f"model must hold numbers; its {name!r} is on the meta device: materialise it first"
            )
        if (
            isinstance(values, nn.Parameter)
            and values.is_floating_point()
            and values.dtype not in (torch.float32, torch.float64)
        ):
            raise TypeError(
                f"model must be in float32 or float64; its {name!r} is {values.dtype}: call model.float()"
            )
    sites = select_sites(model, layers, keep)
    unfit = [name for name, site in sites.items() if not has_rows(site)]
    if unfit and layers is not None:
        kinds = {type(sites[name].module).__name__ for name in unfit}
        raise ValueError(
            f"layers must choose Linear layers, convolutions and Conv1D; found {unfit[0]!r} among "
            f"{', '.join(sorted(kinds))}"
        )
    chosen = [name for name in sites if name not in unfit]
    if not chosen:
        raise ValueError("model has no Linear layer and no convolution that can be binary")
    owners: dict[int, str] = {}
    for name in chosen:
        other = owners.setdefault(id(sites[name].module.weight), name)
        if other != name:
            raise ValueError(
                f"layer {name!r} shares its weight with {other!r}; keep both with keep=, or untie them"
            )
    return chosen
