"""Lightning's and accelerate's loops: rows stay where the projection keeps them, and resuming is exact."""

import pytest
import torch
from torch import nn

import vispa
from vispa.nn.conversion.selection import binary_layers


def network():
    torch.manual_seed(0)
    layers = [nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 2)]
    return vispa.binarize(nn.Sequential(*layers), rank=2)


def batches():
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(8, 6, generator=generator), torch.randint(2, (8,), generator=generator))
        for _ in range(3)
    ]


def quiet_trainer(folder, epochs):
    lightning = pytest.importorskip("pytorch_lightning")
    from vispa.interop.lightning import VispaCallback

    return lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        callbacks=[VispaCallback()],
        default_root_dir=folder,
    )


def assert_projected(model):
    assert all(layer.weight.strays(layer.mean) is None for layer in binary_layers(model))


@pytest.mark.filterwarnings("ignore")
def test_lightning_trains_and_resumes_bit_for_bit(tmp_path):
    lightning = pytest.importorskip("pytorch_lightning")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.network = network()

        def training_step(self, batch, index):
            torch.manual_seed(
                100 * self.current_epoch + index
            )  # noise that does not remember the interruption
            return nn.functional.cross_entropy(self.network(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)

    def fit(epochs, resume=None):
        module = Module()
        trainer = quiet_trainer(tmp_path, epochs)
        trainer.fit(module, torch.utils.data.DataLoader(batches(), batch_size=None), ckpt_path=resume)
        return trainer, module

    trainer, _ = fit(2)
    trainer.save_checkpoint(tmp_path / "two.ckpt")
    _, straight = fit(4)
    _, resumed = fit(4, tmp_path / "two.ckpt")
    for (name, one), two in zip(straight.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(one, two), name
    assert_projected(straight)


def annealed_network():
    layers = nn.Sequential(nn.Linear(6, 12), nn.Linear(12, 12), nn.Linear(12, 2))
    return vispa.binarize(layers, method="irnet", t_start=0.1, t_end=10.0)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("epochs", [2, -1])
def test_lightning_anneals_by_itself_where_training_has_an_end(tmp_path, epochs):
    lightning = pytest.importorskip("pytorch_lightning")
    from vispa.nn.methods.irnet import ede_sharpness

    seen = []

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.network = annealed_network()

        def training_step(self, batch, index):
            seen.append(float(binary_layers(self)[0].weight.sharpness))
            self.trainer.should_stop = len(seen) == 6
            return nn.functional.cross_entropy(self.network(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    trainer = quiet_trainer(tmp_path, epochs)
    trainer.fit(Module(), torch.utils.data.DataLoader(batches(), batch_size=None))
    expected = [ede_sharpness(step / 6 if epochs == 2 else 0.0, 0.1, 10.0) for step in range(6)]
    assert seen == pytest.approx(expected, rel=1e-6)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("limit", [{"max_epochs": 2}, {"max_epochs": 99, "max_steps": 12}])
def test_lightning_anneals_in_time_where_two_optimizers_step(tmp_path, limit):
    lightning = pytest.importorskip("pytorch_lightning")
    from vispa.interop.lightning import VispaCallback
    from vispa.nn.methods.irnet import ede_sharpness

    seen = []

    class Module(lightning.LightningModule):
        automatic_optimization = False

        def __init__(self):
            super().__init__()
            self.network = annealed_network()

        def training_step(self, batch, index):
            seen.append(float(binary_layers(self)[0].weight.sharpness))
            for optimizer in self.optimizers():
                optimizer.zero_grad()
            self.manual_backward(nn.functional.cross_entropy(self.network(batch[0]), batch[1]))
            for optimizer in self.optimizers():
                optimizer.step()

        def configure_optimizers(self):
            middle = {id(values) for values in self.network[1].parameters()}
            parts = [
                [each for each in self.parameters() if (id(each) in middle) is own] for own in (True, False)
            ]
            return [torch.optim.SGD(part, lr=0.1) for part in parts]

    trainer = lightning.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        callbacks=[VispaCallback()],
        default_root_dir=tmp_path,
        **limit,
    )
    trainer.fit(Module(), torch.utils.data.DataLoader(batches(), batch_size=None))
    assert seen == pytest.approx([ede_sharpness(step / 6, 0.1, 10.0) for step in range(6)], rel=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_accelerate_may_prepare_before_or_after_attach():
    accelerate = pytest.importorskip("accelerate")
    results = []
    for early in (True, False):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        if early:
            vispa.attach(optimizer, model)
        accelerator = accelerate.Accelerator(cpu=True)
        model, optimizer = accelerator.prepare(model, optimizer)
        if not early:
            vispa.attach(optimizer, model)
        torch.manual_seed(2)
        for inputs, labels in batches():
            optimizer.zero_grad()
            accelerator.backward(nn.functional.cross_entropy(model(inputs), labels))
            optimizer.step()
        assert_projected(model)
        results.append({name: each.clone() for name, each in model.state_dict().items()})
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])
