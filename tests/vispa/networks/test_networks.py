"""The networks of the paper: how many weights become binary, shapes, training in small, bad arguments."""

import copy

import pytest
import torch
from torch import nn

import vispa
from vispa.networks import NETWORKS, named_network, quicknet
from vispa.networks.quicknet import Blur
from vispa.nn import SignActivation, binary_layers

# Weights that become binary; of ImageNet's from the widths: convolutions plus linear layers.
BINARY_WEIGHTS = {
    "vgg-small-1w1a": 4_571_136,
    "vgg16-1w32a": 15_239_872,
    "resnet18-1w1a": 10_985_472,
    "resnet18-1w32a": 10_985_472,
    "tiny-imagenet-resnet18-1w32a": 10_985_472,
    "imagenet-alexnet-1w1a": 3_710_976 + 54_525_952,
    "imagenet-alexnet-1w32a": 3_710_976 + 54_525_952,
    "imagenet-birealnet18-1w1a": 10_985_472,
    "imagenet-resnet18-1w32a": 10_985_472,
    "imagenet-quicknet-1w1a": 4 * 9 * (64**2 + 128**2 + 256**2 + 512**2),
}
# Small enough to train in a test, and not square where the network allows it.
SMALL = dict.fromkeys(NETWORKS, ((3, 8, 12), 2)) | {
    "vgg16-1w32a": ((1, 32, 64), 1),
    "imagenet-alexnet-1w1a": ((3, 63, 95), 2),
    "imagenet-alexnet-1w32a": ((3, 63, 95), 2),
    "imagenet-birealnet18-1w1a": ((3, 32, 40), 2),
    "imagenet-resnet18-1w32a": ((3, 32, 40), 2),
    "imagenet-quicknet-1w1a": ((3, 32, 40), 4),
}


def small(name: str, **options) -> nn.Module:
    shape, width = SMALL[name]
    torch.manual_seed(0)
    return NETWORKS[name].build(shape, 4, width=width, **options)


def images(name: str) -> torch.Tensor:
    # AlexNet takes signs of maxima of 9 values: in a small batch hardly one of them is negative.
    count = 64 if name == "imagenet-alexnet-1w1a" else 4
    return torch.randn(count, *SMALL[name][0], generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", NETWORKS)
def test_as_many_binary_weights_as_the_paper_has(name):
    network = NETWORKS[name]
    with torch.device("meta"):
        model = network.build()
    eligible = {n: m for n, m in model.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))}
    kept = {"first": [next(iter(eligible))], "last": [next(reversed(eligible))]}
    for entry in network.keep:
        for layer in kept.get(entry, [n for n in eligible if n.startswith(f"{entry}.")]):
            del eligible[layer]
    assert sum(layer.weight.numel() for layer in eligible.values()) == BINARY_WEIGHTS[name]


def test_binary_weights_of_a_hundred_classes_and_by_binarize_itself():
    network = named_network("vgg16-1w32a")
    model = vispa.binarize(network.build(classes=100), rank=1, keep=network.keep)
    assert sum(found.mean.numel() for found in binary_layers(model)) == 15_285_952


@pytest.mark.parametrize("name", NETWORKS)
def test_small_variants_train_every_parameter(name):
    network = NETWORKS[name]
    model = vispa.binarize(small(name), rank=2, keep=network.keep, noise_ratio=0.5)
    optimizer = vispa.attach(torch.optim.SGD(model.parameters(), lr=0.05), model)
    before = copy.deepcopy(dict(model.named_parameters()))
    output = model(images(name))
    assert output.shape == (len(images(name)), 4)
    nn.functional.cross_entropy(output, torch.arange(len(output)) % 4).backward()
    optimizer.step()
    for parameter_name, values in model.named_parameters():
        assert bool(torch.isfinite(values).all()), parameter_name
        assert not torch.equal(values, before[parameter_name]), parameter_name


@pytest.mark.parametrize("name", NETWORKS)
def test_hardened_variants_compute_what_evaluation_computes(name):
    model = vispa.binarize(small(name), rank=1, keep=NETWORKS[name].keep).eval()
    with torch.no_grad():
        torch.testing.assert_close(vispa.harden(model)(images(name)), model(images(name)))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_binary_layer_of_a_1w1a_network_and_no_other_sees_signs(name):
    network = NETWORKS[name]
    model = vispa.binarize(small(name), method="ste", keep=network.keep).eval()
    binary = {id(found.layer) for found in binary_layers(model)}
    seen = {}
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_pre_hook(
                lambda layer, inputs: seen.update({id(layer): bool((inputs[0].abs() == 1).all())})
            )
    model(images(name))
    expected = {layer: network.binary_activations and layer in binary for layer in seen}
    assert seen == expected


@pytest.mark.parametrize("name", [name for name, net in NETWORKS.items() if net.binary_activations])
def test_real_activations_take_the_signs_away(name):
    assert any(isinstance(module, SignActivation) for module in small(name).modules())
    real = small(name, binary_activations=False)
    assert not any(isinstance(module, SignActivation) for module in real.modules())
    assert real(images(name)).shape[1] == 4


@pytest.mark.parametrize(("blocks", "published"), [((4, 4, 4, 4), 13_234_088), ((6, 8, 12, 6), 23_342_248)])
def test_quicknet_has_the_parameters_that_larq_publishes(blocks, published):
    with torch.device("meta"):
        model = quicknet(blocks=blocks)
    filters = sum(module.filter.numel() for module in model.modules() if isinstance(module, Blur))
    # larq counts fixed filters too, and of normalisations without factors the statistics, here 2 x 16
    assert sum(values.numel() for values in model.parameters()) + filters + 32 == published


def test_quicknet_blurs_every_second_pixel_and_refuses_other_sizes():
    image = torch.zeros(1, 2, 8, 8)
    image[0, 1, 4, 4] = 16.0
    blurred = Blur(2)(image)
    assert blurred.shape == (1, 2, 4, 4)
    assert (float(blurred.sum()), float(blurred[0, 1, 2, 2])) == (4.0, 4.0)
    assert float(Blur(2)(torch.ones(1, 2, 9, 9))[0, :, 1:-1, 1:-1].min()) == 1.0
    with pytest.raises(ValueError, match="width must be a multiple of 4"):
        quicknet(width=6)
    with pytest.raises(ValueError, match="blocks must be four numbers"):
        quicknet(blocks=(1, 2))
    with pytest.raises(ValueError, match="blocks must be at least 1"):
        quicknet(blocks=(1, 0, 1, 1))


def test_shortcuts_of_the_cifar_network_average_and_pad():
    model = small("resnet18-1w1a")
    shortcut = model.stage2[0].shortcut
    inputs = torch.randn(1, 2, 3, 4)
    output = shortcut(inputs)
    assert output.shape == (1, 4, 2, 2)
    assert torch.equal(output[:, [0, 3]], torch.zeros(1, 2, 2, 2))
    torch.testing.assert_close(output[0, 1, 0, 0], inputs[0, 0, :2, :2].mean())
    torch.testing.assert_close(output[0, 1, 1, 1], inputs[0, 0, 2, 2:].mean())


def test_residual_blocks_add_their_shortcut():
    block = small("imagenet-birealnet18-1w1a").eval().stage1[0]
    inputs = 0.3 * torch.randn(1, 2, 4, 4)
    expected = (block.branch(inputs) + inputs).clamp(-1, 1)
    assert torch.equal(block(inputs), expected)
    assert not torch.equal(block(inputs), inputs)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: named_network("resnet"), ValueError, "network must be one of 'vgg-small-1w1a'"),
        (lambda: named_network(3), ValueError, "network must be one of"),
        (
            lambda: NETWORKS["vgg-small-1w1a"].build((3, 7, 32)),
            ValueError,
            r"shape must have height and width of at least 8 for this network; found \(3, 7, 32\)",
        ),
        (lambda: NETWORKS["vgg16-1w32a"].build((3, 16, 16)), ValueError, "at least 32"),
        (lambda: NETWORKS["imagenet-alexnet-1w1a"].build((3, 62, 62)), ValueError, "at least 63"),
        (lambda: NETWORKS["imagenet-resnet18-1w32a"].build((3, 31, 32)), ValueError, "at least 32"),
        (
            lambda: NETWORKS["resnet18-1w1a"].build((32, 32)),
            ValueError,
            r"shape must be \(channels, height, width\)",
        ),
        (lambda: NETWORKS["resnet18-1w1a"].build(32), ValueError, "shape must be"),
        (
            lambda: NETWORKS["resnet18-1w1a"].build((0, 32, 32)),
            ValueError,
            "shape must be at least 1; found 0",
        ),
        (
            lambda: NETWORKS["resnet18-1w1a"].build((3, 32.0, 32)),
            TypeError,
            "shape must be an integer; found float",
        ),
        (lambda: NETWORKS["resnet18-1w32a"].build(classes=1), ValueError, "classes must be at least 2"),
        (lambda: NETWORKS["resnet18-1w32a"].build(classes="10"), TypeError, "classes must be an integer"),
        (lambda: NETWORKS["vgg16-1w32a"].build(width=0), ValueError, "width must be at least 1"),
        (
            lambda: NETWORKS["resnet18-1w1a"].build(binary_activations=1),
            TypeError,
            "binary_activations must be True or False",
        ),
    ],
)
def test_bad_arguments_are_refused_in_words(call, error, words):
    with pytest.raises(error, match=words):
        call()
