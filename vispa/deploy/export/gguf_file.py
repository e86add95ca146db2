"""`export_gguf`: a binary language model as a file that llama.cpp runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from solvers.optional import require
from solvers.whole_file import whole_file
from vispa.deploy.export.llama import Architecture, architecture_of
from vispa.deploy.export.q1_0 import objection, to_blocks
from vispa.nn.conversion.harden import harden
from vispa.nn.conversion.refusals import refuse_sharded, refuse_wrapped
from vispa.nn.conversion.selection import find_binary_layers

__all__ = ["GgufTensor", "export_gguf"]


@dataclass(frozen=True)
class GgufTensor:
    """What became of one tensor.

    Attributes
    ----------
    name : str
        In the state dict of the model.
    exported : str
        In the file.
    kind : {"Q1_0", "F16", "F32"}
        Its type there.
    why : str
        Why a matrix is not Q1_0; empty for what is, and for vectors.
    """

    name: str
    exported: str
    kind: str
    why: str


def export_gguf(
    model: nn.Module, path: str | Path, *, tokenizer: str | Path | None = None
) -> list[GgufTensor]:
    """Write a binary language model as GGUF, and return what became of each tensor.

    Matrices of one absolute value a block of 128 inputs become Q1_0, llama.cpp's type of one bit a weight and a
    float16 scale a block; other matrices become float16, vectors float32.

    Parameters
    ----------
    model : Module
        A causal language model of transformers (Llama, Mistral, Qwen2, Qwen3): binarized, which is hardened first,
        what :func:`vispa.harden` returns, or the model of :func:`vispa.binarize_trained`, whose ``group`` must
        be 128 or a multiple of it, or one scale a row.
    path : str or Path
        Of the file; replaced if it exists.
    tokenizer : str or Path, optional
        A GGUF file of the same model, such as a published one, whose tokenizer is copied. Without it the file has
        none, and programs must be given numbers of tokens.

    Raises
    ------
    TypeError
        If the model is not of transformers, wrapped (compiled, DDP) or sharded.
    ValueError
        If llama.cpp has no such model, no matrix can be Q1_0, or the tokenizer is another model's.
    ImportError
        If gguf is not installed (the extra ``gguf``).

    Notes
    -----
    Signs are exact; a scale is rounded to float16, by at most one part in 2048. A matrix whose scales float16
    has no room for stays float32. Takes memory for one copy of the model in its own size.

    References
    ----------
    The block is ``block_q1_0`` of ggml (``ggml-common.h``), and names are those of its Python package.
    """
    require("gguf", "gguf", "vispa.export_gguf")
    refuse_wrapped(model, "exported")
    refuse_sharded(model, "exported")
    architecture = architecture_of(model)
    if any(find_binary_layers(model)):
        model = harden(model)
    records = []
    tensors: list[tuple[str, NDArray[Any], str]] = []
    for name, values in _state(model).items():
        stored, kind, why = _stored(architecture.ordered(name, values.float().numpy()))
        exported = _exported(architecture, name)
        records.append(GgufTensor(name, exported, kind, why))
        tensors.append((exported, stored, kind))
    if not any(record.kind == "Q1_0" for record in records):
        reasons = "; ".join(f"{record.name}: {record.why}" for record in records if record.why)
        raise ValueError(f"model must have a matrix of signs by scales; found none ({reasons[:400]})")
    factors = architecture.frequency_factors(model)
    if factors is not None:
        tensors.append(("rope_freqs.weight", factors, "F32"))
    fields = {} if tokenizer is None else _tokenizer_fields(Path(tokenizer), _tokens(model))
    with whole_file(path) as beside:
        _write(beside, architecture, _tokens(model), fields, tensors)
    return records


def _state(model: nn.Module) -> dict[str, Tensor]:
    """Tensors by name, without the head where it is the embedding, as llama.cpp takes it then."""
    state = {name: values.detach().cpu() for name, values in model.state_dict().items()}
    head, embedding = state.get("lm_head.weight"), state.get("model.embed_tokens.weight")
    if head is not None and embedding is not None and torch.equal(head, embedding):
        del state["lm_head.weight"]
    return state


def _tokens(model: nn.Module) -> int:
    return len(model.state_dict()["model.embed_tokens.weight"])


def _stored(values: NDArray[np.float32]) -> tuple[NDArray[Any], str, str]:
    """What a file holds of a tensor, its type, and why a matrix is not Q1_0."""
    if values.ndim == 1:
        return values, "F32", ""
    why = objection(values)
    if not why:
        return to_blocks(values), "Q1_0", ""
    half = values.astype(np.float16)
    fits = np.isfinite(half).all() and "float16" not in why
    return (half, "F16", why) if fits else (values, "F32", why)


def _exported(architecture: Architecture, name: str) -> str:
    import gguf

    arch = next(key for key, value in gguf.MODEL_ARCH_NAMES.items() if value == architecture.name)
    names = gguf.get_tensor_name_map(arch, architecture.config.num_hidden_layers)
    found = names.get_name(name, try_suffixes=(".weight", ".bias"))
    if found is None:
        raise ValueError(f"model must have tensors that llama.cpp names; it has none for {name!r}")
    return str(found)


def _tokenizer_fields(path: Path, tokens: int) -> dict[str, tuple[Any, Any, Any]]:
    """The fields of a file's tokenizer: value, type, and type of an array's entries."""
    import gguf

    try:
        reader = gguf.GGUFReader(path)
    except (ValueError, IndexError) as error:
        raise ValueError(f"tokenizer must be a GGUF file; {path} is none: {error}") from error
    fields = {
        name: (field.contents(), field.types[0], field.types[-1] if len(field.types) > 1 else None)
        for name, field in reader.fields.items()
        if name.startswith("tokenizer.")
    }
    found = len(fields["tokenizer.ggml.tokens"][0]) if "tokenizer.ggml.tokens" in fields else 0
    if found != tokens:
        raise ValueError(f"tokenizer must have the {tokens} tokens of the model; {path} has {found}")
    return fields


def _write(
    path: Path, architecture: Architecture, tokens: int, fields: dict[str, tuple[Any, Any, Any]],
    tensors: list[tuple[str, NDArray[Any], str]],
) -> None:  # fmt: skip
    import gguf

    writer = gguf.GGUFWriter(path, architecture.name)
    try:
        writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q1_0)
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        architecture.describe(writer, tokens)
        for name, (value, kind, entries) in fields.items():
            writer.add_key_value(name, value, kind, entries)
        if not fields:
            writer.add_tokenizer_model("no_vocab")
        for name, values, type_name in tensors:
            writer.add_tensor(name, values, raw_dtype=gguf.GGMLQuantizationType[type_name])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()
