"""The networks of the paper and QuickNet as plain torch modules, by name, with the layers that stay real."""

from __future__ import annotations

from vispa.networks.bireal import BiRealBlock
from vispa.networks.imagenet import alexnet, birealnet18, resnet18
from vispa.networks.quicknet import REAL_TRANSITIONS, quicknet
from vispa.networks.reactnet import ReActBlock, reactnet_a
from vispa.networks.registry import NETWORKS, NamedNetwork, named_network
from vispa.networks.resnet import REAL_SHORTCUTS, resnet18_1w1a, resnet18_1w32a
from vispa.networks.vgg import vgg16, vgg_small

__all__ = [
    "NETWORKS",
    "REAL_SHORTCUTS",
    "REAL_TRANSITIONS",
    "BiRealBlock",
    "NamedNetwork",
    "ReActBlock",
    "alexnet",
    "birealnet18",
    "named_network",
    "quicknet",
    "reactnet_a",
    "resnet18",
    "resnet18_1w1a",
    "resnet18_1w32a",
    "vgg16",
    "vgg_small",
]
