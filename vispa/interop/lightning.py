"""A callback by which Lightning's Trainer trains binary layers."""

from __future__ import annotations

from typing import Any

try:
    from pytorch_lightning import Callback
except ImportError as error:
    raise ImportError(
        "vispa.interop.lightning needs pytorch-lightning: pip install 'vispa-sdp[lightning]'"
    ) from error

from vispa.nn import attach


class VispaCallback(Callback):
    """A callback that attaches the optimizers of a LightningModule, so that rows are projected after every step.

    Binarize in the module's ``__init__``: ``configure_optimizers`` then sees means, factors and scales, and
    Lightning's checkpoints save and resume them.

    Examples
    --------
    >>> from vispa.interop.lightning import VispaCallback
    >>> callbacks = [VispaCallback()]  # Trainer(..., callbacks=callbacks)
    """

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Attach the optimizers, which exist by then; their states are not yet restored."""
        attach(list(trainer.optimizers), pl_module)
