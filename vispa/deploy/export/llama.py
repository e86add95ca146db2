"""What llama.cpp has to know of a model of transformers: its architecture, and how rows are ordered."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

__all__ = ["Architecture", "architecture_of"]

# Kinds of transformers' models by their architecture in llama.cpp.
ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}


class Architecture:
    """A model of transformers as llama.cpp sees it.

    Parameters
    ----------
    config : PretrainedConfig
        Of a causal language model of one of the kinds above.

    Raises
    ------
    ValueError
        If llama.cpp would compute something else, naming the entry of the configuration.
    """

    def __init__(self, config: Any) -> None:
        kind = config.model_type
        if kind not in ARCHITECTURES:
            raise ValueError(
                f"model must be one of {', '.join(ARCHITECTURES)} of transformers; found {kind!r}. "
                "vispa.save_packed writes any model"
            )
        self.config, self.name = config, ARCHITECTURES[kind]
        self.rope: dict[str, Any] = dict(config.rope_parameters or {"rope_type": "default"})
        self.heads: int = config.num_attention_heads
        self.key_heads: int = config.num_key_value_heads or self.heads
        self.head_size: int = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        ropes = ("default", "linear", "llama3") if self.name == "llama" else ("default", "linear")
        found = {
            "hidden_act": (config.hidden_act, ("silu",)),
            "rope_parameters['rope_type']": (self.rope.get("rope_type", "default"), ropes),
            "sliding_window": (self._window(), (None,)),
            "partial_rotary_factor": (self.rope.get("partial_rotary_factor", 1.0), (1.0,)),
        }
        for name, (value, allowed) in found.items():
            if value not in allowed:
                raise ValueError(
                    f"model.config.{name} must be {' or '.join(map(repr, allowed))} for a GGUF file of "
                    f"{self.name}; found {value!r}"
                )

    def _window(self) -> Any:
        if getattr(self.config, "use_sliding_window", None) is False:
            return None
        return getattr(self.config, "sliding_window", None)

    def describe(self, writer: Any, tokens: int) -> None:
        """Put the sizes into a writer of GGUF."""
        import gguf

        config = self.config
        writer.add_context_length(config.max_position_embeddings)
        writer.add_embedding_length(config.hidden_size)
        writer.add_block_count(config.num_hidden_layers)
        writer.add_feed_forward_length(config.intermediate_size)
        writer.add_head_count(self.heads)
        writer.add_head_count_kv(self.key_heads)
        writer.add_key_length(self.head_size)
        writer.add_value_length(self.head_size)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_rope_dimension_count(self.head_size)
        writer.add_rope_freq_base(self.rope.get("rope_theta", 10000.0))
        writer.add_vocab_size(tokens)
        if self.rope.get("rope_type") == "linear":
            writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
            writer.add_rope_scaling_factor(self.rope["factor"])

    def frequency_factors(self, model: nn.Module) -> NDArray[np.float32] | None:
        """By how much Llama 3 slows the rotation of each pair, a tensor to llama.cpp; None for others."""
        if self.rope.get("rope_type") != "llama3":
            return None
        slowed = next(
            values for name, values in model.named_buffers() if name.endswith("rotary_emb.inv_freq")
        )
        exponents = np.arange(0, self.head_size, 2) / self.head_size
        plain = self.rope["rope_theta"] ** -exponents
        return np.asarray(plain / slowed.detach().double().cpu().numpy(), dtype=np.float32)

    def ordered(self, name: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Rows as llama.cpp wants them: those of Llama's queries and keys have the halves of a head in turns."""
        module = name.rsplit(".", 1)[0]
        if self.name != "llama" or not module.endswith(("q_proj", "k_proj")):
            return values
        heads = self.heads if module.endswith("q_proj") else self.key_heads
        halves = values.reshape(heads, 2, len(values) // heads // 2, *values.shape[1:])
        return halves.swapaxes(1, 2).reshape(values.shape)


def architecture_of(model: nn.Module) -> Architecture:
    """The architecture of a causal language model of transformers.

    Raises
    ------
    TypeError
        If the model has no configuration, or no head over tokens.
    ValueError
        If it is another than llama.cpp's, naming what differs.
    """
    config = getattr(model, "config", None)
    if not hasattr(config, "model_type") or not hasattr(model, "lm_head"):
        raise TypeError(
            f"model must be a causal language model of transformers, with a config; found {type(model).__name__}"
        )
    return Architecture(config)
