"""Other engines' layers beside packed ones: torch's int8, ONNX Runtime's float32 and int8 where it is installed.

Each function returns a call without arguments whose inputs and outputs are what the engine hands from layer to
layer, bytes for int8; quantising and dequantising are not in it.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

Call = Callable[[], object]
# Of the inputs, the weights and the outputs; any will do for a timing.
SCALES = (0.05, 0.01, 0.1)
OPSET, IR_VERSION = 20, 10


def torch_int8(layer: nn.Conv2d, inputs: Tensor) -> list[Call]:
    """The engines that torch has for processors like this."""
    calls: list[Call] = []
    with warnings.catch_warnings():
        # torch moves its quantisation to a package of its own; the kernels stay
        warnings.simplefilter("ignore")
        last = inputs.contiguous(memory_format=torch.channels_last)
        quantised = torch.quantize_per_tensor(last, SCALES[0], 64, torch.quint8)
        weight = torch.quantize_per_tensor(layer.weight.detach(), SCALES[1], 0, torch.qint8)
        for engine in ("x86", "onednn"):
            if engine not in torch.backends.quantized.supported_engines:
                continue
            torch.backends.quantized.engine = engine
            padding = list(layer.padding)
            packed = torch.ops.quantized.conv2d_prepack(weight, None, [1, 1], padding, [1, 1], 1)
            calls.append(lambda packed=packed: torch.ops.quantized.conv2d(quantised, packed, SCALES[2], 64))
    return calls


def torch_int8_linear(layer: nn.Linear, inputs: Tensor) -> Call:
    """Floats in and out: rows are quantised in the call, as a language model's are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.backends.quantized.engine = "x86"
        weight = torch.quantize_per_tensor(layer.weight.detach(), SCALES[1], 0, torch.qint8)
        packed = torch.ops.quantized.linear_prepack(weight, None)
    return lambda: torch.ops.quantized.linear_dynamic(inputs, packed)


def onnxruntime_float(layer: nn.Conv2d, inputs: Tensor) -> Call | None:
    """A model of one Conv."""
    if importlib.util.find_spec("onnxruntime") is None:
        return None
    from onnx import helper, numpy_helper

    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[layer.padding[0]] * 4)
    return _session(node, [numpy_helper.from_array(layer.weight.detach().numpy(), "w")], inputs.numpy())


def onnxruntime_int8(layer: nn.Conv2d, inputs: Tensor) -> Call | None:
    """A model of one QLinearConv, of bytes by signed bytes."""
    if importlib.util.find_spec("onnxruntime") is None:
        return None
    from onnx import helper, numpy_helper

    weight = layer.weight.detach().numpy()
    constants = {
        "xs": np.float32(SCALES[0]), "xz": np.uint8(64), "w": np.clip(np.rint(weight), -127, 127).astype(np.int8),
        "ws": np.float32(SCALES[1]), "wz": np.int8(0), "ys": np.float32(SCALES[2]), "yz": np.uint8(64),
    }  # fmt: skip
    names = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz"]
    node = helper.make_node("QLinearConv", names, ["y"], pads=[layer.padding[0]] * 4)
    arrays = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    pixels = np.clip(np.rint(inputs.numpy() / SCALES[0]) + 64, 0, 255).astype(np.uint8)
    return _session(node, arrays, pixels)


def _session(node: object, constants: list[object], inputs: np.ndarray) -> Call:
    import onnxruntime
    from onnx import helper

    kind = helper.np_dtype_to_tensor_dtype(inputs.dtype)
    x = helper.make_tensor_value_info("x", kind, inputs.shape)
    y = helper.make_tensor_value_info("y", kind, [None] * inputs.ndim)
    graph = helper.make_graph([node], "layer", [x], [y], constants)
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(None, {"x": inputs})
