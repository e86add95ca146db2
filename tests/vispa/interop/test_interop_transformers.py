"""The Trainer of transformers on models of its own: train, resume bit for bit, save plain, generate."""

import pytest
import torch

import vispa
from vispa.nn.conversion.selection import binary_layers

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning"
)

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}


def llama():
    torch.manual_seed(0)
    config = transformers.LlamaConfig(vocab_size=40, max_position_embeddings=32, **SIZES)
    return transformers.LlamaForCausalLM(config)


def gpt2():
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=40, n_positions=32, n_embd=32, n_layer=2, n_head=2)
    return transformers.GPT2LMHeadModel(config)


def bert():
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=40, max_position_embeddings=32, num_labels=2, **SIZES)
    return transformers.BertForSequenceClassification(config)


def vit():
    torch.manual_seed(0)
    config = transformers.ViTConfig(image_size=8, patch_size=4, num_channels=1, num_labels=2, **SIZES)
    return transformers.ViTForImageClassification(config)


class Data(torch.utils.data.Dataset):
    def __init__(self, kind):
        generator = torch.Generator().manual_seed(1)
        self.tokens = torch.randint(40, (24, 12), generator=generator)
        self.images = torch.randn(24, 1, 8, 8, generator=generator)
        self.kind = kind

    def __len__(self):
        return 24

    def __getitem__(self, i):
        if self.kind == "vit":
            return {"pixel_values": self.images[i], "labels": i % 2}
        labels = i % 2 if self.kind == "bert" else self.tokens[i]
        return {"input_ids": self.tokens[i], "labels": labels}


MODELS = {"llama": llama, "gpt2": gpt2, "bert": bert, "vit": vit}


def train(kind, folder, *, resume=None, steps=5, callbacks=(), **options):
    from vispa.interop.transformers import VispaCallback

    model = vispa.binarize(MODELS[kind](), **(options or {"rank": 2}))
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=4,
        save_steps=3,
        learning_rate=1e-2,
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        logging_strategy="no",
        seed=3,
        dataloader_pin_memory=False,
    )
    trainer = transformers.Trainer(
        model, args=arguments, train_dataset=Data(kind), callbacks=[VispaCallback(), *callbacks]
    )
    trainer.train(resume_from_checkpoint=resume)
    return model


@pytest.mark.parametrize("kind", MODELS)
def test_trains_on_the_spheres_and_resumes_bit_for_bit(kind, tmp_path):
    straight = train(kind, tmp_path / "a")
    # The Trainer of transformers 5.24 cannot resume a ViT, plain ones included: it writes keys it does not read.
    if kind != "vit":
        resumed = train(kind, tmp_path / "b", resume=str(tmp_path / "a" / "checkpoint-3"))
        for (name, one), two in zip(
            straight.state_dict().items(), resumed.state_dict().values(), strict=True
        ):
            assert torch.equal(one, two), name
    before = vispa.binarize(MODELS[kind](), rank=2)
    layers = binary_layers(straight)
    assert any(
        not torch.equal(new.weight.factor, old.weight.factor)
        for new, old in zip(layers, binary_layers(before), strict=True)
    )
    assert all(layer.weight.strays(layer.mean) is None for layer in layers)


class Sharpness(transformers.TrainerCallback):
    """What every step of training saw of a method that anneals."""

    def __init__(self):
        self.seen = []

    def on_step_begin(self, args, state, control, **kwargs):
        self.seen.append(float(binary_layers(kwargs["model"])[0].weight.sharpness))


def test_methods_anneal_by_themselves_and_go_on_where_they_were(tmp_path):
    from vispa.nn.methods.irnet import ede_sharpness

    watch = Sharpness()
    options = {"method": "irnet", "t_start": 0.1, "t_end": 10.0}
    train("gpt2", tmp_path / "a", callbacks=[watch], **options)
    expected = [ede_sharpness(step / 5, 0.1, 10.0) for step in range(5)]
    assert watch.seen == pytest.approx(expected, rel=1e-6)
    resumed = Sharpness()
    train("gpt2", tmp_path / "b", resume=str(tmp_path / "a" / "checkpoint-3"), callbacks=[resumed], **options)
    assert resumed.seen == pytest.approx(expected[3:], rel=1e-6)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("shard", ["50GB", "20KB"])
def test_a_saved_binarized_model_comes_back_bit_for_bit(kind, shard, tmp_path):
    from vispa.interop.transformers import load_pretrained

    model = vispa.binarize(MODELS[kind](), rank=2)
    with torch.no_grad():
        for values in model.parameters():
            values.add_(torch.randn_like(values))
    model.save_pretrained(tmp_path, max_shard_size=shard)
    assert len(list(tmp_path.glob("*.safetensors"))) == 1 or shard == "20KB"
    other = load_pretrained(vispa.binarize(MODELS[kind](), rank=2), tmp_path)
    for (name, one), two in zip(model.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(one, two), name


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rank": 3}, "shape"),
        ({"method": "ste"}, "unknown here"),
        ({"rank": 2, "residual": True}, "missing there"),
    ],
)
def test_a_model_binarized_otherwise_is_refused_and_unchanged(change, words, tmp_path):
    from vispa.interop.transformers import load_pretrained

    vispa.binarize(llama(), rank=2).save_pretrained(tmp_path)
    other = vispa.binarize(llama(), **change)
    before = {name: values.clone() for name, values in other.state_dict().items()}
    with pytest.raises(ValueError, match=words):
        load_pretrained(other, tmp_path)
    assert all(torch.equal(values, before[name]) for name, values in other.state_dict().items())


def test_a_plain_model_and_an_empty_folder_are_refused(tmp_path):
    from vispa.interop.transformers import load_pretrained

    with pytest.raises(ValueError, match="no binary layer"):
        load_pretrained(llama(), tmp_path)
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        load_pretrained(vispa.binarize(llama(), rank=2), tmp_path)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_the_hardened_model_saves_loads_without_us_and_generates(kind, tmp_path):
    model = vispa.harden(train(kind, tmp_path, steps=2)).eval()
    model.save_pretrained(tmp_path / "plain")
    loaded = type(model).from_pretrained(tmp_path / "plain").eval()
    tokens = torch.arange(6)[None]
    assert torch.equal(loaded(tokens).logits, model(tokens).logits)
    out = loaded.generate(tokens, max_new_tokens=3, do_sample=False, pad_token_id=0)
    assert out.shape == (1, 9)
