"""Binary activations, and plain torch modules that compute the same."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.fx import Graph, GraphModule
from torch.nn.functional import pad

from solvers import checks
from vispa.estimators.kernels import Kernel, KernelFunction, as_kernel, bireal_kernel
from vispa.nn.weights.autograd import SignWithKernel, SignWithQuadraticGradient

__all__ = ["SignActivation", "plain_sign"]


class SignActivation(nn.Module):
    """Elementwise ``sgn(x)`` with ``sgn(0) = +1``; the backward scales the gradient by a kernel of x.

    A NaN stays NaN, so that a network that diverged shows it.

    Parameters
    ----------
    kernel : str or callable, default "bi-real"
        ``"bi-real"``, max(2 - |2 x|, 0); ``"hard-tanh"``, ``"tanh"``, ``"gaussian"``, ``"identity"``,
        ``"swish-sign"``; a `Kernel` such as ``vispa.estimators.kernels.ede_kernel(3.0)``; or a function from
        tensors to tensors of the same shape.
    one_padding : int or sequence of int, default 0
        Entries of +1 to add on both sides of the last axes, one number an axis; an int stands for the last
        two, as in Conv2d. A convolution without padding that follows then sees signs alone, as hardware
        with one bit an entry does; zero padding is a third value.

    Examples
    --------
    >>> import torch, vispa
    >>> inputs = torch.tensor([-2.0, -0.25, 0.0, 0.5], requires_grad=True)
    >>> outputs = vispa.SignActivation()(inputs)
    >>> outputs.sum().backward()
    >>> outputs.tolist(), inputs.grad.tolist()
    ([-1.0, -1.0, 1.0, 1.0], [0.0, 1.5, 2.0, 1.0])
    >>> vispa.SignActivation("hard-tanh", one_padding=[1])(-torch.ones(1, 1, 2)).tolist()
    [[[1.0, -1.0, -1.0, 1.0]]]
    """

    def __init__(
        self, kernel: str | Kernel | KernelFunction = "bi-real", one_padding: int | Sequence[int] = 0
    ) -> None:
        super().__init__()
        self.kernel = as_kernel(kernel)
        self.one_padding = _checked_padding(one_padding)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the signs, padded, in the dtype of ``inputs``.

        Raises
        ------
        TypeError
            If ``inputs`` is not a floating-point tensor.
        ValueError
            If it has fewer axes than ``one_padding`` has entries.
        """
        if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
            found = inputs.dtype if isinstance(inputs, Tensor) else type(inputs).__name__
            raise TypeError(f"inputs must be a floating-point tensor; found {found}")
        if self.kernel is bireal_kernel:
            signs: Tensor = SignWithQuadraticGradient.apply(inputs)
        else:
            signs = SignWithKernel.apply(inputs, self.kernel)
        if not self.one_padding:
            return signs
        if len(self.one_padding) > inputs.ndim:
            raise ValueError(
                f"inputs must have an axis for each of one_padding={self.one_padding}; found {inputs.ndim} axes"
            )
        return pad(signs, self.widths, value=1.0)

    @property
    def widths(self) -> list[int]:
        """The padding as `torch.nn.functional.pad` takes it, which counts from the last axis."""
        return [size for size in reversed(self.one_padding) for _ in range(2)]

    def extra_repr(self) -> str:
        """Return the options."""
        return f"kernel={self.kernel.name!r}" + (
            f", one_padding={self.one_padding}" if self.one_padding else ""
        )


def plain_sign(activation: SignActivation) -> nn.Module:
    """Return a module that computes the same, made of torch alone, with no gradient.

    It can be pickled and loaded where this library is not installed.
    """
    graph = Graph()
    inputs = graph.placeholder("inputs")
    positive = graph.call_method("type_as", (graph.call_method("ge", (inputs, 0)), inputs))
    signs = graph.call_method("sub", (graph.call_method("mul", (positive, 2)), 1))
    # Zero, or NaN where the input is NaN.
    bounded = graph.call_method("clamp", (graph.call_method("detach", (inputs,)), -1, 1))
    nothing = graph.call_method("mul", (bounded, 0))
    output = graph.call_method("add", (signs, nothing))
    if activation.one_padding:
        output = graph.call_function(pad, (output, activation.widths), {"value": 1.0})
    graph.output(output)
    return GraphModule(nn.Module(), graph, class_name="Sign")


def _checked_padding(sizes: int | Sequence[int]) -> tuple[int, ...]:
    if isinstance(sizes, Sequence) and not isinstance(sizes, str):
        checked = tuple(checks.integer("one_padding", size, minimum=0) for size in sizes)
    else:
        checked = (checks.integer("one_padding", sizes, minimum=0),) * 2
    return checked if any(checked) else ()
