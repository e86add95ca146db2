"""A callback by which transformers' Trainer trains binary layers."""

from __future__ import annotations

from typing import Any

try:
    from transformers import TrainerCallback
except ImportError as error:
    raise ImportError(
        "vispa.interop.transformers needs transformers: pip install 'vispa-sdp[transformers]'"
    ) from error

from vispa.nn import attach


class VispaCallback(TrainerCallback):
    """Attaches the optimizer that a Trainer builds, so that rows are projected after every step.

    Binarize the model before the Trainer is made: its optimizer then holds means, factors and scales, its
    checkpoints save and resume them, and this callback is all that is missing.  `vispa.harden(model)` is a plain
    model, whose ``save_pretrained`` writes what loads without vispa.

    Examples
    --------
    >>> from vispa.interop.transformers import VispaCallback
    >>> callbacks = [VispaCallback()]  # Trainer(model, ..., callbacks=callbacks)
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Attach; transformers calls this once the optimizer exists, on resuming too."""
        attach(kwargs["optimizer"], kwargs["model"])
