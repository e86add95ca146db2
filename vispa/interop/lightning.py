"""A callback by which Lightning's Trainer trains binary layers."""

from __future__ import annotations

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
        done = _share_done(trainer, batch_idx)
        if done is not None:
            anneal(pl_module, min(1.0, done))


def _share_done(trainer: Any, batch: int) -> float | None:
    """The share of training that is done by the nearer of its limits; None without a limit.

    Batches are counted, since a step of each of several optimizers counts for Lightning's ``max_steps`` alone.
    """
    shares = []
    if trainer.max_epochs is not None and trainer.max_epochs > 0:
        shares.append(
            (trainer.current_epoch + batch / max(1, trainer.num_training_batches)) / trainer.max_epochs
        )
    if trainer.max_steps > 0:
        shares.append(trainer.global_step / trainer.max_steps)
    return max(shares, default=None)
