"""Binary layers in transformers: a callback for its Trainer, and the way back from ``save_pretrained``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

try:
    from transformers import TrainerCallback
except ImportError as error:
    raise ImportError(
        "vispa.interop.transformers needs transformers: pip install 'vispa-sdp[transformers]'"
    ) from error

from vispa.nn import anneal, attach
from vispa.nn.conversion.selection import binary_layers

ModelT = TypeVar("ModelT", bound=torch.nn.Module)
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


class VispaCallback(TrainerCallback):
    """A callback that attaches the optimizer a Trainer builds, projects after every step, and anneals before it.

    Binarize the model before the Trainer is made: its optimizer then holds means, factors and scales, its
    checkpoints save and resume them, and this callback is all that is missing.  `vispa.harden(model)` is a plain
    model, whose ``save_pretrained`` writes what loads without vispa.

    Methods that add a term to the loss (``biper``, ``rebnn``) need it there: add `vispa.penalty` in the Trainer's
    ``compute_loss``.

    Examples
    --------
    >>> from vispa.interop.transformers import VispaCallback
    >>> callbacks = [VispaCallback()]  # Trainer(model, ..., callbacks=callbacks)
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Attach the optimizer: transformers calls this once there is one, on resuming too."""
        attach(kwargs["optimizer"], kwargs["model"])

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tell the model how much of training is done; a resumed run knows its step."""
        anneal(kwargs["model"], min(1.0, state.global_step / max(1, state.max_steps)))


def load_pretrained(model: ModelT, folder: str | Path) -> ModelT:
    """Return the binarized model with what ``save_pretrained`` or a Trainer's checkpoint kept of one like it.

    ``from_pretrained`` of such a folder builds the float architecture, finds none of its weights, and leaves them
    random with a note.  Build the model from its configuration and binarize it with the options it was made with;
    this fills means, factors and scales in place.  (For a plain model that loads anywhere, save
    ``vispa.harden(model)`` instead.)

    Parameters
    ----------
    model : PreTrainedModel
        After `vispa.binarize`; unchanged after an error.
    folder : str or Path
        Holds ``model.safetensors``, or its shards and their index.

    Raises
    ------
    ValueError
        If the model is not binarized, the folder holds no safetensors, or a name or shape differs: the model was
        binarized with other options, or is another one.

    Notes
    -----
    Reads every tensor once.  Names that transformers changes as it saves are changed likewise.

    Examples
    --------
    >>> import tempfile, transformers, vispa
    >>> from vispa.interop.transformers import load_pretrained
    >>> config = transformers.GPT2Config(vocab_size=9, n_positions=8, n_embd=8, n_layer=2, n_head=2)
    >>> def made():
    ...     return vispa.binarize(transformers.GPT2LMHeadModel(config), rank=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made().save_pretrained(folder)
    ...     model = load_pretrained(made(), folder)
    """
    if not binary_layers(model):
        raise ValueError("model must be binarized before: found no binary layer; see vispa.binarize")
    saved = _read(Path(folder))
    own = _as_saved(model)
    unknown, missing = sorted(saved.keys() - own.keys()), sorted(_missing(own, saved))
    if unknown or missing:
        raise ValueError(
            f"folder must hold a model binarized as this one: {len(missing)} names are missing there "
            f"(such as {missing[:1]}) and {len(unknown)} are unknown here (such as {unknown[:1]}); "
            "binarize with the options that the saved model was made with"
        )
    for name, values in saved.items():
        if values.shape != own[name].shape:
            raise ValueError(
                f"folder: {name} has shape {tuple(values.shape)}, here it is {tuple(own[name].shape)}; "
                "binarize with the options that the saved model was made with"
            )
    with torch.no_grad():
        for name, values in saved.items():
            own[name].copy_(values)
    return model


def _read(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    if (folder / INDEX).exists():
        shards = sorted(set(json.loads((folder / INDEX).read_text())["weight_map"].values()))
    elif (folder / WEIGHTS).exists():
        shards = [WEIGHTS]
    else:
        raise ValueError(
            f"folder must hold {WEIGHTS} or {INDEX}, which save_pretrained writes; found neither in {folder}"
        )
    return {name: values for shard in shards for name, values in load_file(folder / shard).items()}


def _as_saved(model: torch.nn.Module) -> dict[str, Tensor]:
    """The model's own tensors under the names that `save_pretrained` gives them."""
    state = model.state_dict()
    try:
        from transformers.core_model_loading import revert_weight_conversion
    except ImportError:  # before transformers 5, names were saved as they are
        return state
    renamed = dict(revert_weight_conversion(model, state))
    places = {values.data_ptr() for values in state.values()}
    made = [name for name, values in renamed.items() if values.data_ptr() not in places]
    if made:
        raise ValueError(
            f"model: transformers saves {made[0]} as a new tensor made of several; load such a model by "
            "load_state_dict from a checkpoint of torch.save(model.state_dict(), ...)"
        )
    return renamed


def _missing(own: dict[str, Tensor], saved: dict[str, Tensor]) -> set[str]:
    """Names that the file lacks, and with them every name of the same tensor: ties are saved once."""
    held = {own[name].data_ptr() for name in saved if name in own and own[name].numel()}
    return {name for name, values in own.items() if name not in saved and values.data_ptr() not in held}
