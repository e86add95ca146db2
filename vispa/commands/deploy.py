"""`vispa deploy`: pack a network, write it with one bit a weight, and time it beside torch."""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vispa.deploy.layout import KERNELS
from vispa.networks import NETWORKS
from vispa.training.models import MODELS, build, image_size_of, kept_real

if TYPE_CHECKING:
    from torch import nn

    from vispa.training.data.split import Split


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="a packed file (vispa.save_packed), or NAME or NAME:WIDTH, one of "
        + ", ".join(MODELS)
        + ", with signs drawn at random",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write the model there with one bit a weight"
    )
    parser.add_argument(
        "--dataset",
        metavar="digits|PATH",
        help="say how many of its test images are classified rightly, packed and not; as for vispa train",
    )
    parser.add_argument(
        "--epochs",
        type=int,
        default=0,
        help="train a named network on the data set for so many before it is packed (default: 0, signs at random)",
    )
    parser.add_argument(
        "--train-size", type=int, metavar="N", help="number of training images; all by default"
    )
    parser.add_argument(
        "--benchmark", action="store_true", help="time it beside torch's float32 and int8, layer by layer"
    )
    parser.add_argument(
        "--shape", help="of one input, such as 3,32,32 (default: the network's; needed with a file)"
    )
    parser.add_argument("--batch", type=int, default=1, help="inputs at once (default: 1)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default: 1)")
    parser.add_argument("--kernel", default="auto", help=f"auto (the default) or one of {', '.join(KERNELS)}")
    parser.add_argument(
        "--real-inputs",
        action="store_true",
        help="pack linear layers of float inputs too, as of a language model",
    )
    parser.add_argument("--repeats", type=int, default=11, help="of which medians are taken (default: 11)")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the inputs")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def run(arguments: argparse.Namespace) -> int:
    """Print what became of each layer, sizes, and times where they are asked for."""
    import torch

    from solvers import checks
    from vispa.deploy.files import save_packed
    from vispa.deploy.pack import packing

    torch.manual_seed(checks.integer("--seed", arguments.seed, minimum=0))
    parts = _parts(arguments)
    model, shape = _model(arguments, parts)
    packed = _packed(arguments, model)
    if parts is not None:
        _check(model, parts.train.inputs(slice(0, 1)), "--dataset must be of images")
    elif arguments.benchmark and shape is not None:
        _check(model, torch.zeros(1, *shape), "--shape must be of an input")
    found: dict[str, Any] = {
        "model": arguments.model,
        "float_bytes": _bytes(model),
        "packed_bytes": _bytes(packed),
        "layers": [asdict(record) for record in packing(packed)],
    }
    if arguments.output is not None:
        found["file_bytes"] = save_packed(model, arguments.output)
    if parts is not None:
        _classify(found, model, packed, parts)
    if arguments.benchmark:
        _time(found, arguments, model, packed, shape)
    if arguments.json:
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        _print(found)
    return 0


def _packed(arguments: argparse.Namespace, model: nn.Module) -> nn.Module:
    from vispa.deploy.pack import pack

    try:
        return pack(model, kernel=arguments.kernel, real_inputs=arguments.real_inputs)
    except ValueError as error:
        # the same option by another name
        raise ValueError(str(error).replace("real_inputs=True", "--real-inputs")) from error


def _check(model: nn.Module, inputs: Any, must: str) -> None:
    """Raise ValueError where a model does not take inputs, in torch's words."""
    import torch

    try:
        with torch.no_grad():
            model(inputs)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"{must} that MODEL takes; found {tuple(inputs.shape[1:])}: {reason[0]}") from error


def _parts(arguments: argparse.Namespace) -> Split | None:
    from solvers import checks
    from vispa.training.data.load import load
    from vispa.training.data.split import split

    epochs = checks.integer("--epochs", arguments.epochs, minimum=0)
    if epochs and (arguments.dataset is None or not _is_name(arguments.model)):
        raise ValueError("--epochs trains a named network on a --dataset; a packed file is trained already")
    return (
        None
        if arguments.dataset is None
        else split(load(arguments.dataset), seed=arguments.seed, train_size=arguments.train_size)
    )


def _model(arguments: argparse.Namespace, parts: Split | None) -> tuple[nn.Module, tuple[int, ...] | None]:
    """The plain model, and the shape of one input if it is known."""
    from vispa.deploy.files import load_packed
    from vispa.nn import harden

    shape: tuple[int, ...] | None = None if arguments.shape is None else _shape(arguments.shape)
    if parts is not None:
        shape = parts.train.shape
    if _is_name(arguments.model):
        if arguments.epochs:
            from vispa.training.recipes import recipe
            from vispa.training.run import train

            settings = recipe("vispa", epochs=arguments.epochs)
            assert parts is not None
            trained = train(parts, settings, model=arguments.model, seed=arguments.seed, progress=True)
            return harden(trained.network).eval(), shape
        side = image_size_of(arguments.model)
        size = shape or ((1, 8, 8) if side is None else (3, side, side))
        return _drawn(arguments.model, size, parts), size
    if not Path(arguments.model).is_file():
        raise ValueError(
            f"MODEL must be a packed file or one of {', '.join(MODELS)}; found {arguments.model!r}"
        )
    return load_packed(arguments.model).eval(), shape


def _is_name(model: str) -> bool:
    return model.partition(":")[0] in MODELS


def _drawn(name: str, shape: tuple[int, ...], parts: Split | None) -> nn.Module:
    """A network with signs at random, and statistics of its own."""
    import torch

    from vispa.nn import binarize, harden

    if len(shape) != 3:
        raise ValueError(f"--shape must be channels, height, width for {name}; found {shape}")
    base = name.partition(":")[0]
    classes = NETWORKS[base].classes if base in NETWORKS else 10
    if parts is not None:
        classes = parts.train.classes
    network = build(name, (shape[0], shape[1], shape[2]), classes, binary_activations=True)
    model = binarize(network, keep=kept_real(name), rank=1)
    with torch.no_grad():
        # as in a trained network: without statistics many sums are exactly at a threshold
        model.train()(torch.randn(4, *shape) if parts is None else parts.train.inputs(slice(0, 64)))
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d) and module.affine:
                module.bias.normal_(std=0.1)
    return harden(model).eval()


def _shape(text: str) -> tuple[int, ...]:
    try:
        shape = tuple(int(size) for size in text.split(","))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise ValueError(f"--shape must be positive integers such as 3,32,32; found {text!r}")
    return shape


def _classify(found: dict[str, Any], model: nn.Module, packed: nn.Module, parts: Split) -> None:
    from vispa.deploy.agreement import agreement
    from vispa.training.data.batches import evaluation_batches
    from vispa.training.processes import Processes

    batches = evaluation_batches(parts.test, Processes(parts.test.labels.device))
    found["test"] = asdict(agreement(model, packed, batches))


def _time(
    found: dict[str, Any], arguments: argparse.Namespace, model: nn.Module, packed: nn.Module,
    shape: tuple[int, ...] | None,
) -> None:  # fmt: skip
    import torch

    from solvers import checks
    from vispa.deploy.timing import time_packed

    if shape is None:
        raise ValueError("--shape must be given to time a packed file, such as 3,32,32")
    torch.set_num_threads(checks.integer("--threads", arguments.threads, minimum=1))
    inputs = torch.randn(checks.integer("--batch", arguments.batch, minimum=1), *shape)
    timing = time_packed(model, packed, inputs, repeats=arguments.repeats)
    with torch.no_grad():
        differing = model(inputs).argmax(1) != packed(inputs).argmax(1)
    found |= {
        "threads": arguments.threads,
        "batch": arguments.batch,
        "float_seconds": timing.real,
        "packed_seconds": timing.packed,
        "int8_seconds": None if timing.why_no_int8 else timing.int8,
        "why_no_int8": timing.why_no_int8,
        "speedup": timing.speedup,
        "predictions_that_differ": int(differing.sum()),
    }
    for layer, times in zip(found["layers"], timing.layers, strict=True):
        layer["float_seconds"] = times.real
        layer["packed_seconds"] = None if layer["packed"] == "" else times.packed
        layer["int8_seconds"] = None if math.isnan(times.int8) else times.int8


def _print(found: dict[str, Any]) -> None:
    timed = "speedup" in found
    head = f"{'layer':34} {'runs as':16} {'kernel':9} {'weights':>9}"
    lines = [head + (f" {'float us':>9} {'int8 us':>9} {'packed us':>9} {'times':>6}" if timed else "")]
    for layer in found["layers"]:
        line = f"{layer['name']:34} {layer['kind']:16} {layer['kernel']:9} {layer['weights']:9d}"
        if timed:
            line += f" {layer['float_seconds'] * 1e6:9.0f} {_microseconds(layer['int8_seconds'])}"
            if layer["packed_seconds"]:
                ratio = layer["float_seconds"] / layer["packed_seconds"]
                line += f" {layer['packed_seconds'] * 1e6:9.0f} {ratio:6.1f}"
        lines.append(line + (f"  {layer['why']}" if layer["why"] else ""))
    lines.append(f"in memory: float32 {found['float_bytes']:,} bytes, packed {found['packed_bytes']:,}")
    if "file_bytes" in found:
        ratio = found["float_bytes"] / found["file_bytes"]
        lines.append(f"on disk: {found['file_bytes']:,} bytes, {ratio:.1f} times smaller than float32")
    if "test" in found:
        lines.append(_of_the_test(found["test"]))
    if timed:
        lines.append(
            f"a batch of {found['batch']} on {found['threads']} thread(s): "
            f"float32 {found['float_seconds'] * 1e3:.2f} ms, packed {found['packed_seconds'] * 1e3:.2f} ms, "
            f"{found['speedup']:.1f} times faster; "
            f"{found['predictions_that_differ']} predictions differ"
        )
        lines.append(_of_int8(found))
    sys.stdout.write("\n".join(lines) + "\n")


def _microseconds(seconds: float | None) -> str:
    return f"{'-':>9}" if seconds is None else f"{seconds * 1e6:9.0f}"


def _of_int8(found: dict[str, Any]) -> str:
    if found["why_no_int8"]:
        return f"int8: {found['why_no_int8']}"
    return (
        f"int8, with ReLU for signs: {found['int8_seconds'] * 1e3:.2f} ms, "
        f"packed {found['int8_seconds'] / found['packed_seconds']:.1f} times faster"
    )


def _of_the_test(test: dict[str, Any]) -> str:
    line = (
        f"of {test['images']} test images: hardened {test['hardened']:.2%} right, packed {test['packed']:.2%}; "
        f"{test['differing']} predictions differ"
    )
    if test["differing"]:
        line += f", {test['exact_as_packed']} of them as packed once the hardened network computes in float64"
    return line


def _bytes(model: nn.Module) -> int:
    return sum(values.nbytes for values in (*model.parameters(), *model.buffers()))
