"""What packed models promise to equal: layers of +1 and -1, and alpha after their sums."""

from copy import deepcopy

import torch
from torch import nn

import vispa
from vispa.deploy.signs import split_rows
from vispa.nn.weights.layout import Layout


class Twin(nn.Module):
    """alpha * layer(x; signs) + bias, in this order: what packed layers promise to equal."""

    def __init__(self, layer):
        super().__init__()
        rows = split_rows(layer.weight, Layout(tuple(layer.weight.shape)))
        self.layer, self.scale, self.bias = deepcopy(layer), rows.scale, layer.bias
        self.layer.weight.data = (1.0 - 2.0 * rows.negative.float()).view(layer.weight.shape)
        self.layer.bias = None

    def forward(self, inputs):
        sums = self.layer(inputs)
        shape = [-1] if isinstance(self.layer, nn.Linear) else [-1, *[1] * (sums.ndim - 2)]
        outputs = sums * self.scale.view(shape)
        return outputs if self.bias is None else outputs + self.bias.view(shape)


def twin(model, names):
    """The model with twins in place of the layers named."""
    copy = deepcopy(model)
    for name in names:
        home, _, last = name.rpartition(".")
        setattr(copy.get_submodule(home), last, Twin(copy.get_submodule(name)))
    return copy.eval().to(memory_format=torch.channels_last)


def settle(model, *shape):
    """Give batch normalisations statistics of their own, and factors of both signs."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.reset_running_stats()
            module.momentum = None
            if module.affine:
                module.weight.data = torch.randn(module.weight.shape, generator=generator)
                module.bias.data = torch.randn(module.bias.shape, generator=generator)
    with torch.no_grad():
        model.train()(torch.randn(16, *shape, generator=generator))
    return model.eval()


def hardened(model, *shape, keep=(), seed=0):
    torch.manual_seed(seed)
    model = settle(vispa.binarize(model, rank=1, keep=keep), *shape)
    return vispa.harden(model).eval()


def kinds(packed):
    return {record.name: record.kind for record in vispa.packing(packed)}


def assert_equals_its_twin(model, inputs, expected_kinds=None, **options):
    packed = vispa.pack(model, **options)
    names = [record.name for record in vispa.packing(packed) if record.packed]
    with torch.no_grad():
        assert torch.equal(packed(inputs), twin(model, names)(inputs))
    if expected_kinds is not None:
        assert kinds(packed) == expected_kinds
    return packed
