"""A callback by which Lightning's Trainer trains binary layers."""

from __future__ import annotations

import math
from typing import Any

try:
    from pytorch_lightning import Callback
except ImportError as error:
    raise ImportError(
        "vispa.interop.lightning needs pytorch-lightning: pip install 'vispa-sdp[lightning]'"
    ) from error

from vispa.nn import anneal, attach


class VispaCallback(Callback):
    """A callback that attaches a LightningModule's optimizers, projects after every step, and anneals before it.

    Binarize in the module's ``__init__``: ``configure_optimizers`` then sees means, factors and scales, and
    Lightning's checkpoints save and resume them.  Without an end (``max_epochs=-1``) nothing anneals.

    Methods that add a term to the loss (``biper``, ``rebnn``) need it there: add `vispa.penalty` in
    ``training_step``.

    Examples
    --------
    >>> from vispa.interop.lightning import VispaCallback
    >>> callbacks = [VispaCallback()]  # Trainer(..., callbacks=callbacks)
    """

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Attach the optimizers, which exist by then; their states are not yet restored."""
        attach(list(trainer.optimizers), pl_module)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Tell the model how much of training is done; a resumed run knows its step."""
        total = trainer.estimated_stepping_batches
        if math.isfinite(total):
            anneal(pl_module, min(1.0, trainer.global_step / max(1, total)))
