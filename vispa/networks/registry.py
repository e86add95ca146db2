"""Every network under one name, with what is to stay real of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn

from solvers import checks
from vispa.networks.imagenet import alexnet, birealnet18, resnet18
from vispa.networks.layers import Shape
from vispa.networks.quicknet import REAL_TRANSITIONS, quicknet
from vispa.networks.resnet import REAL_SHORTCUTS, resnet18_1w1a, resnet18_1w32a
from vispa.networks.vgg import vgg16, vgg_small

__all__ = ["NETWORKS", "NamedNetwork", "named_network"]

ENDS = ("first", "last")


@dataclass(frozen=True)
class NamedNetwork:
    """A plain network and how its authors use it.

    Attributes
    ----------
    make : callable
        ``make(shape, classes, **options)`` returns the module, all of it real.
    keep : tuple of str
        What `vispa.binarize` is to keep real.
    shape : (channels, height, width)
        Of the images that they train it on.
    classes : int
        Of these images.
    binary_activations : bool
        Whether activations are binary too (1W1A).
    """

    make: Callable[..., nn.Module]
    keep: tuple[str, ...]
    shape: Shape
    classes: int
    binary_activations: bool

    def build(
        self,
        shape: Shape | None = None,
        classes: int | None = None,
        *,
        binary_activations: bool = True,
        width: int | None = None,
    ) -> nn.Module:
        """Build the plain network, its weights drawn from torch's default generator.

        Parameters
        ----------
        shape : (channels, height, width), optional
            Of one image; its own by default.
        classes : int, optional
            Number of logits; its own by default.
        binary_activations : bool, default True
            False leaves the activations of a 1W1A network real; those of the others always are.
        width : int, optional
            Unit of the numbers of channels; its own by default.

        Raises
        ------
        TypeError, ValueError
            If a size is not an integer, or too small, or ``binary_activations`` is not a boolean.
        """
        options: dict[str, object] = {} if width is None else {"width": width}
        if self.binary_activations:
            options["binary_activations"] = checks.boolean("binary_activations", binary_activations)
        chosen = self.classes if classes is None else classes
        return self.make(self.shape if shape is None else shape, chosen, **options)


CIFAR: tuple[Shape, int] = ((3, 32, 32), 10)
TINY_IMAGENET: tuple[Shape, int] = ((3, 64, 64), 200)
IMAGENET: tuple[Shape, int] = ((3, 224, 224), 1000)

NETWORKS: dict[str, NamedNetwork] = {
    "vgg-small-1w1a": NamedNetwork(vgg_small, ENDS, *CIFAR, True),
    "vgg16-1w32a": NamedNetwork(vgg16, (), *CIFAR, False),
    "resnet18-1w1a": NamedNetwork(resnet18_1w1a, ENDS, *CIFAR, True),
    "resnet18-1w32a": NamedNetwork(resnet18_1w32a, ENDS + REAL_SHORTCUTS, *CIFAR, False),
    "tiny-imagenet-resnet18-1w32a": NamedNetwork(
        resnet18_1w32a, ENDS + REAL_SHORTCUTS, *TINY_IMAGENET, False
    ),
    "imagenet-alexnet-1w1a": NamedNetwork(alexnet, ENDS, *IMAGENET, True),
    "imagenet-alexnet-1w32a": NamedNetwork(
        partial(alexnet, binary_activations=False), ENDS, *IMAGENET, False
    ),
    "imagenet-birealnet18-1w1a": NamedNetwork(birealnet18, ENDS + REAL_SHORTCUTS, *IMAGENET, True),
    "imagenet-quicknet-1w1a": NamedNetwork(quicknet, ("stem", *REAL_TRANSITIONS, "last"), *IMAGENET, True),
    "imagenet-resnet18-1w32a": NamedNetwork(resnet18, ENDS + REAL_SHORTCUTS, *IMAGENET, False),
}


def named_network(name: str) -> NamedNetwork:
    """Return the network of a name.

    Raises
    ------
    ValueError
        If there is none; the names are listed.

    Examples
    --------
    >>> import vispa
    >>> network = named_network("resnet18-1w1a")
    >>> model = vispa.binarize(network.build((3, 8, 8), width=4), rank=2, keep=network.keep)
    """
    return NETWORKS[checks.choice("network", name, tuple(NETWORKS))]
