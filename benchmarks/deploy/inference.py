"""Packed layers and networks beside torch's float32: python -m benchmarks.deploy.inference [--output FILE].

The rival is the faster of torch's contiguous and channels-last memory; all are called in turns, five times each, on
one thread, and medians are taken of the processor time, since a machine may have other work. Layers: `bits` is what
a packed model runs between layers, border included; `float` takes and returns floats, packing included. Rivals:
int8 of torch and ONNX Runtime from bytes to bytes. Linear layers of float inputs by binary weights: all kernels,
with the largest error over the largest output, and torch's int8, which quantises the rows that it is given.
"""

from __future__ import annotations

# ruff: noqa: B023 (what is timed is called before its loop goes on)
import argparse
import functools
import json
import platform
import tempfile
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

import vispa
from benchmarks.deploy import rivals, threads
from vispa.deploy import timing
from vispa.deploy.bits import PackSigns
from vispa.deploy.calls import Call
from vispa.deploy.layers import PackedConv2d
from vispa.deploy.layout import KERNELS, best_kernel, runs_here
from vispa.deploy.real_layer import PackedRealLinear
from vispa.deploy.real_products import real_kernels
from vispa.networks import named_network

# height, channels, kernel, batch
LAYERS = [
    (56, 64, 3, 1),
    (28, 128, 3, 1),
    (14, 256, 3, 1),
    (7, 512, 3, 1),
    (14, 256, 1, 1),
    (14, 256, 3, 8),
    (7, 512, 3, 8),
]
NETWORKS = [
    ("resnet18-1w1a", (3, 32, 32), 1),
    ("resnet18-1w1a", (3, 32, 32), 8),
    ("vgg-small-1w1a", (3, 32, 32), 1),
    ("imagenet-birealnet18-1w1a", (3, 224, 224), 1),
    ("imagenet-alexnet-1w1a", (3, 224, 224), 1),
    ("imagenet-quicknet-1w1a", (3, 224, 224), 1),
]
IN_A_ROW = 5
LINEAR = [(1024, 1), (4096, 1), (4096, 8), (4096, 64)]
REAL = [(1024, 1), (4096, 1), (4096, 8)]


def in_turns(functions, repeats):
    """Median seconds of the processor."""

    def several(function):
        return lambda: [function() for _ in range(IN_A_ROW)]

    taken = timing.in_turns([several(function) for function in functions], repeats, clock=time.process_time)
    return [seconds / IN_A_ROW for seconds in taken]


def signed(layer):
    """The layer with a weight of +1 and -1."""
    layer.weight.data = torch.where(layer.weight.data >= 0, 1.0, -1.0)
    return layer.eval()


@torch.inference_mode()
def time_layers(repeats: int, kernels: list[str]) -> list[dict]:
    """One row a layer and kernel."""
    rows = []
    for height, channels, size, batch in LAYERS:
        layer = signed(nn.Conv2d(channels, channels, size, padding=size // 2, bias=False))
        inputs = torch.randn(batch, channels, height, height)
        last = inputs.contiguous(memory_format=torch.channels_last)
        weight = layer.weight.data
        weight_last = weight.contiguous(memory_format=torch.channels_last)
        bits = PackSigns()(last)
        for kernel in kernels:
            to_bits = PackedConv2d(layer, outputs="bits", kernel=kernel)
            call = Call(bits, to_bits.words, to_bits.window.flat(), kernel)
            work = call.to_bits(to_bits.limits, to_bits.flips, call.empty(channels // 32, torch.int32))
            to_floats = vispa.pack(nn.Sequential(vispa.SignActivation(), layer), kernel=kernel)
            first, second, packed, floats = in_turns(
                [
                    lambda: functional.conv2d(inputs, weight, padding=size // 2),
                    lambda: functional.conv2d(last, weight_last, padding=size // 2),
                    lambda: call.run(work),
                    lambda: to_floats(last),
                ],
                repeats,
            )
            real = min(first, second)
            operations = 2 * batch * height**2 * channels**2 * size**2
            rows.append(
                {
                    "layer": f"{height}x{height}x{channels} {size}x{size}, batch {batch}", "kernel": kernel,
                    "torch_us": real * 1e6, "bits_us": packed * 1e6, "float_us": floats * 1e6,
                    "bits": real / packed, "float": real / floats, "bits_gops": operations / packed / 1e9,
                }
            )  # fmt: skip
    return rows


@torch.inference_mode()
def time_linear(repeats: int) -> list[dict]:
    """One row a size and batch: signs by signs."""
    rows = []
    for size, batch in LINEAR:
        layer = signed(nn.Linear(size, size, bias=False))
        inputs, packed = torch.randn(batch, size), vispa.pack(nn.Sequential(vispa.SignActivation(), layer))
        real, floats = in_turns([lambda: layer(inputs), lambda: packed(inputs)], repeats)
        rows.append(
            {"layer": f"Linear {size}, batch {batch}", "torch_us": real * 1e6, "float_us": floats * 1e6,
             "float": real / floats}
        )  # fmt: skip
    return rows


@torch.inference_mode()
def time_rivals(repeats: int) -> list[dict]:
    """One row a convolution: bits to bits beside bytes to bytes of other engines, floats of ONNX Runtime too."""
    rows = []
    for height, channels, size, batch in LAYERS:
        layer = signed(nn.Conv2d(channels, channels, size, padding=size // 2, bias=False))
        inputs = torch.randn(batch, channels, height, height)
        to_bits = PackedConv2d(layer, outputs="bits")
        call = Call(PackSigns()(inputs), to_bits.words, to_bits.window.flat(), to_bits.kernel)
        work = call.to_bits(to_bits.limits, to_bits.flips, call.empty(channels // 32, torch.int32))
        runtime = [rivals.onnxruntime_float(layer, inputs), rivals.onnxruntime_int8(layer, inputs)]
        int8 = rivals.torch_int8(layer, inputs)
        others = [each for each in (*int8, *runtime) if each is not None]
        own, *taken = in_turns([lambda: call.run(work), *others], repeats)
        row = {"layer": f"{height}x{height}x{channels} {size}x{size}, batch {batch}", "bits_us": own * 1e6}
        row["torch_int8_us"] = min(taken[: len(int8)], default=float("nan")) * 1e6
        if runtime[0] is not None:
            row |= {"onnxruntime_us": taken[-2] * 1e6, "onnxruntime_int8_us": taken[-1] * 1e6}
        least = min(value for name, value in row.items() if "int8" in name)
        rows.append(row | {"bits_by_best_int8": least / row["bits_us"]})
    return rows


@torch.inference_mode()
def time_real_inputs(repeats: int) -> list[dict]:
    """One row a linear layer of float inputs and binary weights, by each kernel that runs here."""
    rows = []
    for size, batch in REAL:
        layer, inputs = signed(nn.Linear(size, size, bias=False)), torch.randn(batch, size)
        kernels = dict.fromkeys(real_kernels(24) + real_kernels(13))
        packed = [PackedRealLinear(layer) for _ in kernels]
        for each, kernel in zip(packed, kernels, strict=True):
            each.kernel = kernel
        calls = [lambda each=each: each(inputs) for each in packed]
        real, int8, *own = in_turns(
            [lambda: layer(inputs), rivals.torch_int8_linear(layer, inputs), *calls], repeats
        )
        row = {"layer": f"Linear {size}, float inputs, batch {batch}", "torch_us": real * 1e6}
        row["torch_int8_us"] = int8 * 1e6
        expected = inputs.double() @ layer.weight.double().T
        for each, seconds in zip(packed, own, strict=True):
            error = (each(inputs) - expected).abs().max() / expected.abs().max()
            row |= {
                f"{each.kernel}_us": seconds * 1e6,
                each.kernel: real / seconds,
                f"{each.kernel}_error": float(error),
            }
        rows.append(row)
    return rows


def time_networks(repeats: int) -> list[dict]:
    """One row a network, beside the same network of real weights, hardened ones, and its file."""
    rows = []
    for name, shape, batch in NETWORKS:
        hard, packed = drawn(name, shape)
        # the float network that would be deployed instead: signs are replaced by ReLU
        real = named_network(name).build(shape, binary_activations=False).eval()
        real_last = named_network(name).build(shape, binary_activations=False).eval()
        real_last = real_last.to(memory_format=torch.channels_last)
        inputs = torch.randn(batch, *shape)
        last = inputs.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            first, second, hardened, own = in_turns(
                [lambda: real(inputs), lambda: real_last(last), lambda: hard(inputs), lambda: packed(last)],
                repeats,
            )
            difference = (hard(inputs) - packed(last)).abs().max().item()
        with tempfile.TemporaryDirectory() as folder:
            size = vispa.save_packed(hard, Path(folder) / "model")
        floats = sum(values.nbytes for values in hard.state_dict().values())
        rows.append(
            {
                "network": f"{name}, {shape[1]}x{shape[2]}, batch {batch}", "float_ms": min(first, second) * 1e3,
                "hardened_ms": hardened * 1e3, "packed_ms": own * 1e3, "speedup": min(first, second) / own,
                "file_smaller": floats / size, "largest_difference": difference,
            }
        )  # fmt: skip
    return rows


def drawn(name: str, shape: tuple) -> tuple[nn.Module, nn.Module]:
    """A hardened network of random signs with statistics of its own, and what is packed of it."""
    network = named_network(name)
    torch.manual_seed(0)
    model = vispa.binarize(network.build(shape), keep=network.keep, rank=1).train()
    with torch.no_grad():
        model(torch.randn(4, *shape))
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d) and module.affine:
                module.bias.normal_(std=0.1)
    hard = vispa.harden(model).eval()
    return hard, vispa.pack(hard)


def table(rows: list[dict]) -> str:
    """Rows as Markdown."""
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in rows:
        cells = [f"{value:.3g}" if isinstance(value, float) and abs(value) < 100 else
                 f"{value:.0f}" if isinstance(value, float) else str(value) for value in row.values()]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    tables = {
        "layers": time_layers,
        "linear": time_linear,
        "real-inputs": time_real_inputs,
        "rivals": time_rivals,
        "networks": time_networks,
        "threads": functools.partial(threads.time_threads, drawn, NETWORKS[1:4]),
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--all-kernels", action="store_true")
    parser.add_argument("--tables", nargs="+", default=list(tables), choices=list(tables))
    parser.add_argument("--output", type=Path, help="Markdown; JSON is written beside it")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    # tiles, which have to be asked for, beside the words that they fall back on
    best = [best_kernel(), "tile"] if runs_here("tile") else [best_kernel()]
    kernels = list(KERNELS) if arguments.all_kernels else best
    tables["layers"] = functools.partial(time_layers, kernels=kernels)
    found = {name: tables[name](arguments.repeats) for name in arguments.tables}
    import llvmlite.binding

    about = (
        f"{llvmlite.binding.get_host_cpu_name()}, {platform.python_version()}, torch {torch.__version__}, "
        f"one thread, medians of {arguments.repeats} in turns, processor time"
    )
    text = (
        "\n\n".join([f"# Packed inference beside torch float32\n\n{about}", *map(table, found.values())])
        + "\n"
    )
    print(text)
    if arguments.output is not None:
        arguments.output.write_text(text)
        arguments.output.with_suffix(".json").write_text(
            json.dumps({"about": about, **found}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
