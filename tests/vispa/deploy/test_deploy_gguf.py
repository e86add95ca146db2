"""GGUF files: blocks of Q1_0 read back, and a language model computed from the file alone as llama.cpp does."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import vispa
from vispa.deploy.export.q1_0 import BLOCK, objection, to_blocks

gguf = pytest.importorskip("gguf")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

SIZES = {
    "vocab_size": 40, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0,
    "high_freq_factor": 4.0, "original_max_position_embeddings": 32,
}  # fmt: skip


def made(kind="Llama", **options):
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**{**SIZES, "head_dim": 32, **options})
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    with torch.no_grad():
        for name, values in model.named_parameters():
            if values.ndim == 1:
                values.copy_(torch.rand_like(values) + 0.5)
            values.mul_(1.5 if "proj" in name else 1.0).copy_(values.half())
    return model


def binary(model):
    """The model with signs by numbers that float16 holds in its projections, one a row."""
    with torch.no_grad():
        for name, values in model.named_parameters():
            if "proj.weight" in name:
                scale = values.abs().mean(1, keepdim=True).half().float()
                values.copy_(torch.where(values >= 0, scale, -scale))
    return model


def decoded(blocks):
    """Rows of floats from bytes of blocks, bit by bit as dequantize_row_q1_0 of ggml reads them."""
    rows = []
    for row in blocks:
        values = []
        for start in range(0, len(row), 18):
            scale = np.frombuffer(bytes(row[start : start + 2]), dtype="<f2")[0]
            bits = row[start + 2 : start + 18]
            values += [scale if (bits[j // 8] >> (j % 8)) & 1 else -scale for j in range(BLOCK)]
        rows.append(values)
    return np.array(rows, dtype=np.float32)


def read(path):
    """Fields and tensors of a file, decoded."""
    reader = gguf.GGUFReader(path)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    tensors = {}
    for tensor in reader.tensors:
        one_bit = tensor.tensor_type == gguf.GGMLQuantizationType.Q1_0
        values = decoded(tensor.data) if one_bit else np.asarray(tensor.data, dtype=np.float32)
        assert values.shape == tuple(reversed(tensor.shape.tolist()))
        tensors[tensor.name] = values
    return fields, tensors


class FromFile:
    """Logits from what a file says, in NumPy: rotations of neighbours for `llama`, of halves for others."""

    def __init__(self, path):
        self.fields, self.tensors = read(path)
        self.arch = self.fields["general.architecture"]

    def field(self, name):
        return self.fields[f"{self.arch}.{name}"]

    def linear(self, name, x):
        y = x @ self.tensors[f"{name}.weight"].T
        return y + self.tensors[f"{name}.bias"] if f"{name}.bias" in self.tensors else y

    def norm(self, name, x):
        root = np.sqrt((x**2).mean(-1, keepdims=True) + self.field("attention.layer_norm_rms_epsilon"))
        return x / root * self.tensors[f"{name}.weight"]

    def heads(self, block, part, x, count):
        y = self.linear(f"{block}.attn_{part}", x).reshape(len(x), count, -1)
        name = f"{block}.attn_{part}_norm"
        return self.norm(name, y) if f"{name}.weight" in self.tensors else y

    def rotated(self, x):
        size = self.field("rope.dimension_count")
        angles = self.field("rope.freq_base") ** (-np.arange(0, size, 2) / size)
        angles = angles / self.tensors.get("rope_freqs.weight", 1.0)
        if f"{self.arch}.rope.scaling.factor" in self.fields:
            angles = angles / self.field("rope.scaling.factor")
        turn = np.exp(1j * np.arange(len(x))[:, None] * angles)[:, None]
        y = np.empty_like(x)
        first, second = (np.s_[..., ::2], np.s_[..., 1::2])
        if self.arch != "llama":
            first, second = (np.s_[..., : size // 2], np.s_[..., size // 2 :])
        z = (x[first] + 1j * x[second]) * turn
        y[first], y[second] = z.real, z.imag
        return y

    def attention(self, block, x):
        heads, key_heads = self.field("attention.head_count"), self.field("attention.head_count_kv")
        q = self.rotated(self.heads(block, "q", x, heads))
        k, v = self.rotated(self.heads(block, "k", x, key_heads)), self.heads(block, "v", x, key_heads)
        k, v = (np.repeat(part, heads // key_heads, axis=1) for part in (k, v))
        scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(self.field("attention.key_length"))
        scores[:, np.triu(np.ones((len(x), len(x)), dtype=bool), 1)] = -np.inf
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        return self.linear(f"{block}.attn_output", np.einsum("hqk,khd->qhd", weights, v).reshape(len(x), -1))

    def __call__(self, tokens):
        x = self.tensors["token_embd.weight"][tokens]
        for number in range(self.field("block_count")):
            block = f"blk.{number}"
            x = x + self.attention(block, self.norm(f"{block}.attn_norm", x))
            y = self.norm(f"{block}.ffn_norm", x)
            gate, up = self.linear(f"{block}.ffn_gate", y), self.linear(f"{block}.ffn_up", y)
            x = x + self.linear(f"{block}.ffn_down", gate / (1 + np.exp(-gate)) * up)
        head = "output" if "output.weight" in self.tensors else "token_embd"
        return self.linear(head, self.norm("output_norm", x))


@given(
    rows=st.integers(1, 4),
    blocks=st.integers(1, 3),
    dtype=st.sampled_from([np.float16, np.float32]),
    seed=st.integers(0, 10**6),
)
def test_signs_and_scales_of_blocks_come_back(rows, blocks, dtype, seed):
    rng = np.random.default_rng(seed)
    scales = rng.uniform(1e-3, 100.0, (rows, blocks)).astype(dtype).astype(np.float32)
    signs = rng.choice(np.float32([-1, 1]), (rows, blocks * BLOCK))
    weight = signs * np.repeat(scales, BLOCK, axis=1)
    assert objection(weight) == ""
    found = decoded(to_blocks(weight))
    assert np.array_equal(np.sign(found), signs)
    assert np.array_equal(np.abs(found[:, ::BLOCK]), scales.astype(np.float16).astype(np.float32))


@pytest.mark.parametrize(
    ("value", "why"),
    [(np.nan, "more than one"), (0.25, "more than one"), (np.inf, "more than one")],
)
def test_one_other_entry_is_no_block(value, why):
    weight = np.full((2, 2 * BLOCK), 0.5, dtype=np.float32)
    weight[1, 130] = value
    assert why in objection(weight)
    assert "float16" in objection(np.full((1, BLOCK), 1e-7, dtype=np.float32))
    assert "float16" in objection(np.full((1, BLOCK), 7e4, dtype=np.float32))
    assert "no blocks" in objection(np.ones((1, BLOCK + 8), dtype=np.float32))
    assert objection(np.zeros((1, BLOCK), dtype=np.float32)) == ""


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("Llama", {}),
        ("Llama", {"rope_parameters": LLAMA3, "tie_word_embeddings": True}),
        ("Llama", {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 100.0}}),
        ("Llama", {"attention_bias": True, "mlp_bias": True, "head_dim": 64}),
        ("Mistral", {"sliding_window": None}),
        ("Qwen2", {}),
        ("Qwen3", {"rms_norm_eps": 1e-3}),
    ],
)
def test_the_file_says_all_that_the_model_computes(kind, options, tmp_path):
    model = binary(made(kind, **options))
    records = vispa.export_gguf(model, tmp_path / "model.gguf")
    by_kind = {kind: [record for record in records if record.kind == kind] for kind in ("Q1_0", "F16", "F32")}
    assert len(by_kind["Q1_0"]) == 14
    assert all("more than one absolute value" in record.why for record in by_kind["F16"])
    tokens = torch.randint(40, (9,), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = model(tokens[None]).logits[0].numpy()
    found = FromFile(tmp_path / "model.gguf")(tokens.numpy())
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_a_binarized_model_is_hardened_and_its_signs_come_back(tmp_path):
    model = made()
    vispa.binarize(model, layers=[name for name, _ in model.named_modules() if name.endswith("proj")], rank=1)
    vispa.export_gguf(model, tmp_path / "model.gguf")
    _, tensors = read(tmp_path / "model.gguf")
    hard = vispa.harden(model).state_dict()
    weight, found = hard["model.layers.1.mlp.down_proj.weight"].numpy(), tensors["blk.1.ffn_down.weight"]
    assert np.array_equal(np.signbit(found), np.signbit(weight))
    assert np.array_equal(np.abs(found), np.abs(weight).astype(np.float16).astype(np.float32))


def test_groups_of_128_after_training_are_blocks(tmp_path):
    model = made()
    names = ["model.layers.0.mlp.down_proj", "model.layers.0.self_attn.v_proj"]
    batches = [torch.randint(40, (4, 16), generator=torch.Generator().manual_seed(2))]
    found, _ = vispa.binarize_trained(
        model,
        batches,
        layers=names,
        group=128,
        method="sgn",
        forward=lambda model, tokens: model(tokens).logits,
    )
    records = vispa.export_gguf(found, tmp_path / "model.gguf")
    assert {record.name.removesuffix(".weight") for record in records if record.kind == "Q1_0"} == set(names)
    weight = found.state_dict()[f"{names[0]}.weight"].numpy()
    assert len(np.unique(np.abs(weight[0]))) == 2
    back = read(tmp_path / "model.gguf")[1]["blk.0.ffn_down.weight"]
    assert np.array_equal(np.sign(back), np.sign(weight))
    assert np.abs(back - weight).max() <= 2.0**-11 * np.abs(weight).max()


def test_a_tokenizer_is_copied_from_another_file(tmp_path):
    def write(tokens):
        writer = gguf.GGUFWriter(tmp_path / "other.gguf", "llama")
        writer.add_tokenizer_model("gpt2")
        writer.add_token_list([f"t{number}" for number in range(tokens)])
        writer.add_bos_token_id(3)
        writer.add_context_length(7)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    model = binary(made())
    write(40)
    vispa.export_gguf(model, tmp_path / "model.gguf", tokenizer=tmp_path / "other.gguf")
    fields, _ = read(tmp_path / "model.gguf")
    assert fields["tokenizer.ggml.tokens"][39] == "t39"
    assert (fields["tokenizer.ggml.bos_token_id"], fields["llama.context_length"]) == (3, 64)
    write(39)
    with pytest.raises(ValueError, match="must have the 40 tokens of the model"):
        vispa.export_gguf(model, tmp_path / "model.gguf", tokenizer=tmp_path / "other.gguf")
    (tmp_path / "other.gguf").write_bytes(b"not that")
    with pytest.raises(ValueError, match="tokenizer must be a GGUF file"):
        vispa.export_gguf(model, tmp_path / "model.gguf", tokenizer=tmp_path / "other.gguf")


def test_what_llama_cpp_would_compute_otherwise_is_refused(tmp_path):
    path = tmp_path / "model.gguf"
    with pytest.raises(TypeError, match="must be a causal language model of transformers"):
        vispa.export_gguf(torch.nn.Linear(128, 2), path)
    gpt2 = transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=9, n_embd=32, n_layer=1, n_head=2))
    with pytest.raises(ValueError, match="must be one of llama, mistral, qwen2, qwen3"):
        vispa.export_gguf(gpt2, path)
    with pytest.raises(ValueError, match="sliding_window must be None"):
        vispa.export_gguf(binary(made("Mistral", sliding_window=8)), path)
    with pytest.raises(ValueError, match=r"hidden_act must be 'silu'.*found 'gelu'"):
        vispa.export_gguf(binary(made(hidden_act="gelu")), path)
    with pytest.raises(
        ValueError, match=r"must have a matrix of signs by scales; found none .*more than one"
    ):
        vispa.export_gguf(made(), path)
    with pytest.raises(ValueError, match="its rows of 96 are no blocks of 128"):
        vispa.export_gguf(binary(made(hidden_size=96, intermediate_size=96, head_dim=24)), path)
    assert not path.exists()
