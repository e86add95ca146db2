"""Binary activations."""

from __future__ import annotations

from torch import Tensor, nn

from vispa.nn.functions import SignWithQuadraticGradient

__all__ = ["SignActivation"]


class SignActivation(nn.Module):
    """Elementwise ``sgn(x)`` with ``sgn(0) = +1``; the backward scales the gradient by ``max(2 - |2 x|, 0)``.

    Examples
    --------
    >>> import torch, vispa
    >>> inputs = torch.tensor([-2.0, -0.25, 0.0, 0.5], requires_grad=True)
    >>> outputs = vispa.SignActivation()(inputs)
    >>> outputs.sum().backward()
    >>> outputs.tolist(), inputs.grad.tolist()
    ([-1.0, -1.0, 1.0, 1.0], [0.0, 1.5, 2.0, 1.0])
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the signs, in the shape and dtype of ``inputs``.

        Raises
        ------
        TypeError
            If ``inputs`` is not a floating-point tensor.
        """
        if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
            found = inputs.dtype if isinstance(inputs, Tensor) else type(inputs).__name__
            raise TypeError(f"inputs must be a floating-point tensor; found {found}")
        signs: Tensor = SignWithQuadraticGradient.apply(inputs)
        return signs
