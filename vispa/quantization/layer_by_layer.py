"""The binary copy of a network on its way: which layers are done, what the next is fed, what is kept on disk."""

from __future__ import annotations

import logging
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from vispa.nn.calibration import Batches, reestimate_batch_norm
from vispa.nn.calling import Forward
from vispa.nn.conversion.layer_kinds import Site, find_sites
from vispa.quantization.calls import call_counts, layer_moments
from vispa.quantization.fit_layer import Options
from vispa.quantization.layer_step import Step, binary_step
from vispa.quantization.network_report import LayerLoss, NetworkReport
from vispa.training.checkpoint import digest

_log = logging.getLogger(__name__)


class Settings(NamedTuple):
    """How every layer is made binary."""

    method: str
    options: Options
    damping: float
    seed: int


class LayerByLayer:
    """A model and its binary copy.

    Parameters
    ----------
    model : Module
    calibration : iterable of batches
    forward : callable, optional
    chosen : list of str
        Names of the layers to make binary.
    settings : Settings

    Attributes
    ----------
    binary : Module
        The copy.
    order : list of str
        The chosen layers that the network calls, in the order of their first calls.
    """

    def __init__(
        self,
        model: nn.Module,
        calibration: Batches,
        forward: Forward | None,
        chosen: list[str],
        settings: Settings,
    ) -> None:
        self.model, self.binary = model, _copied(model)
        self._calibration, self._forward, self._settings = calibration, forward, settings
        sites = find_sites(self.binary)
        self._calls = call_counts(self.binary, {name: sites[name] for name in chosen}, calibration, forward)
        if not self._calls:
            raise ValueError(f"model calls none of the chosen layers {chosen!r} on the calibration data")
        self._sites = {name: sites[name] for name in self._calls}
        self.order = list(self._calls)
        self._done: list[LayerLoss] = []
        self._averaged = True

    @property
    def signature(self) -> dict[str, Any]:
        """What a checkpoint must have been made for."""
        shapes = {name: list(site.module.get_parameter("weight").shape) for name, site in self._sites.items()}
        options = self._settings.options
        return {
            "layers": shapes,
            "weights": digest(self.model),
            "method": self._settings.method,
            "group": options.group,
            "effort": options.effort,
            "bounds": options.bounds,
            "damping": self._settings.damping,
        }

    def step(self, name: str) -> Step:
        """Fit one layer to what both networks feed it, the layers before it being binary."""
        site, settings = self._sites[name], self._settings
        moments = layer_moments(
            self.model, self.binary, site, self._calls[name], self._calibration, self._forward
        )
        rng = np.random.default_rng([settings.seed, self.order.index(name)])
        return binary_step(site, moments, settings.method, settings.options, settings.damping, rng)

    def take(self, name: str, step: Step) -> None:
        """Write a layer's new weight and bias."""
        site = self._sites[name]
        with torch.no_grad():
            site.module.get_parameter("weight").copy_(step.weight)
            if site.bias is not None and step.bias is not None:
                site.module.get_parameter(site.bias).copy_(step.bias)
        self._done.append(step.loss)
        _log.info("layer %s is binary: relative error %.3g", name, step.loss.relative_error)

    def finish(self) -> None:
        """Average BatchNorm statistics anew, where a layer has changed; an interrupt leaves them as they were."""
        if self._done and any(
            isinstance(part, _BatchNorm) and part.track_running_stats for part in self.binary.modules()
        ):
            try:
                reestimate_batch_norm(self.binary, self._calibration, self._forward)
            except KeyboardInterrupt:
                self._averaged = False

    def report(self, before: float | None, after: float | None, seconds: float) -> NetworkReport:
        """What has become of the layers and the network."""
        names = {layer.name for layer in self._done}
        return NetworkReport(
            method=self._settings.method,
            layers=tuple(self._done),
            kept=tuple(name for name in find_sites(self.model) if name not in names),
            bits=_bits(self.model)
            + sum(layer.bits - _weight_bits(self._sites[layer.name]) for layer in self._done),
            float_bits=_bits(self.model),
            loss_before=before,
            loss_after=after,
            seconds=seconds,
            finished=len(self._done) == len(self.order) and self._averaged,
        )


def _copied(model: nn.Module) -> nn.Module:
    try:
        return deepcopy(model)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            "model must be one that copy.deepcopy copies, which those with hooks of torch.nn.utils.weight_norm and "
            "spectral_norm are not after a forward: remove these with remove_weight_norm or remove_spectral_norm, "
            f"or take those of torch.nn.utils.parametrizations. It says: {error}"
        ) from error


def _bits(model: nn.Module) -> int:
    return sum(8 * values.element_size() * values.numel() for values in model.parameters())


def _weight_bits(site: Site) -> int:
    weight = site.module.get_parameter("weight")
    return 8 * weight.element_size() * weight.numel()
