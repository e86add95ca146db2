"""Networks made binary after training: layer inputs, targets, biases, limits, resuming and refusals."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import vispa
from vispa.nn.conversion.layer_kinds import find_sites
from vispa.quantization.layer_inputs import input_rows


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2, groups=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * 9, 16),
        nn.ReLU(),
        nn.Linear(16, 4),
    )


def batches(seed=1, count=3):
    generator = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(16, 3, 6, 6, generator=generator), torch.randint(4, (16,), generator=generator))
        for _ in range(count)
    ]


def is_binary(layer):
    sizes = layer.weight.detach().flatten(1).abs()
    return bool((sizes == sizes[:, :1]).all())


@given(
    axes=st.integers(1, 3),
    groups=st.sampled_from([1, 2]),
    stride=st.integers(1, 2),
    dilation=st.integers(1, 2),
    padding=st.sampled_from([0, 1, "same"]),
    mode=st.sampled_from(["zeros", "reflect", "circular"]),
    seed=st.integers(0, 99),
)
def test_rows_of_a_convolution_times_its_weight_are_its_outputs(
    axes, groups, stride, dilation, padding, mode, seed
):
    torch.manual_seed(seed)
    if padding == "same":
        stride = 1
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
    layer = kind(
        4,
        6,
        3,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=False,
        padding_mode=mode,
    ).double()
    inputs = torch.randn(2, 4, *(7, 6, 5)[:axes], dtype=torch.float64)
    rows = torch.cat(list(input_rows(layer, inputs)), dim=1)
    weight = layer.weight.flatten(1).view(groups, 6 // groups, -1)
    outputs = (rows @ weight.mT).permute(1, 0, 2).flatten(1)
    expected = layer(inputs).movedim(1, -1).reshape(-1, 6)
    assert torch.allclose(outputs, expected, atol=1e-12)


def test_chosen_layers_become_binary_and_the_model_stays_as_it_was():
    model, data = network(), batches()
    kept = {name: values.clone() for name, values in model.state_dict().items()}
    binary, report = vispa.binarize_trained(model, data, loss=F.cross_entropy)
    assert [layer.name for layer in report.layers] == ["3", "6"]
    assert is_binary(binary[3])
    assert is_binary(binary[6])
    assert torch.equal(binary[0].weight, model[0].weight)
    assert torch.equal(binary[8].weight, model[8].weight)
    assert all(torch.equal(values, kept[name]) for name, values in model.state_dict().items())
    assert model.training
    assert binary.training
    assert report.finished
    assert report.kept == ("0", "8")
    assert report.bits < report.float_bits
    assert report.loss_before > 0.0
    assert not list(model[3]._forward_pre_hooks)


def test_errors_are_those_of_the_outputs_that_the_layers_then_have():
    model, data = network().eval(), batches()
    binary, report = vispa.binarize_trained(model, data, keep=(), damping=0.0)
    inputs = torch.cat([images for images, _ in data])
    with torch.no_grad():
        # BatchNorm is averaged anew at the end, so only the layer before it is fed the same as when it was fitted
        wanted, found = model[0](inputs), binary[0](inputs)
    lost = float(((found - wanted) ** 2).sum() / (wanted**2).sum())
    assert report.layers[0].relative_error == pytest.approx(lost, rel=1e-4)
    assert report.layers[0].fitted_error == pytest.approx(lost, rel=1e-4)


def test_biases_make_mean_outputs_agree():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 3))
    data = [torch.rand(200, 12)]
    binary, _ = vispa.binarize_trained(model, data, keep=())
    with torch.no_grad():
        assert torch.allclose(binary[0](data[0]).mean(dim=0), model[0](data[0]).mean(dim=0), atol=1e-5)


def test_each_method_is_beaten_by_ours_on_every_layer_fed_the_same():
    model, data = network(), batches()
    ours = vispa.binarize_trained(model, data, layers=["3"])[1].layers[0].fitted_error
    for method in ("sgn-mean", "sgn", "gptq", "gptq-descent"):
        theirs = vispa.binarize_trained(model, data, layers=["3"], method=method)[1].layers[0].fitted_error
        assert ours <= theirs * (1 + 1e-9)


def test_later_layers_make_up_for_earlier_ones():
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
    data = [torch.randn(400, 16)]
    binary, report = vispa.binarize_trained(model, data, layers=["0", "2"])
    with torch.no_grad():
        hidden = F.relu(binary[0](data[0]))
        wanted = model[2](F.relu(model[0](data[0])))
        # the same signs fitted to the layer's own weights, on the same inputs
        alone = vispa.binary_layer(model[2].weight, inputs=hidden)
        apart = hidden @ torch.from_numpy(alone.weight).float().T + model[2].bias
        lost = float(((binary[2](hidden) - wanted) ** 2).sum())
    assert lost < float(((apart - wanted) ** 2).sum())
    assert report.layers[1].relative_error < 0.5


def test_bounds_are_below_and_groups_take_more_bits():
    model, data = network(), batches()
    plain = vispa.binarize_trained(model, data, layers=["8"], bounds=True, effort=0.1)[1].layers[0]
    assert 0.0 < plain.joint_bound <= plain.fitted_error
    assert 0.0 < plain.scale_bound <= plain.fitted_error
    grouped = vispa.binarize_trained(model, data, layers=["8"], group=4)[1].layers[0]
    assert grouped.fitted_error < plain.fitted_error
    assert grouped.bits == plain.bits + 32 * 4 * 3


def test_few_samples_and_dead_inputs_are_no_obstacle():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(30, 8), nn.ReLU(), nn.Linear(8, 2))
    inputs = torch.randn(5, 30)
    inputs[:, 7:] = 0.0
    binary, report = vispa.binarize_trained(model, [inputs], layers=["0"])
    assert is_binary(binary[0])
    assert report.layers[0].relative_error < 0.9
    # of inputs that are dead only the weights speak
    vispa.binarize_trained(model, [torch.zeros(4, 30)], layers=["0"])


def test_an_interrupted_run_goes_on_from_its_file(tmp_path):
    model, data = network(), batches()
    whole, _ = vispa.binarize_trained(model, data, keep=("last",))

    def stop(_):
        raise StopIteration

    path = tmp_path / "layers.pt"
    _, first = vispa.binarize_trained(model, data, keep=("last",), checkpoint=path, callback=stop)
    assert (len(first.layers), first.finished) == (1, False)
    _, none = vispa.binarize_trained(model, data, keep=("last",), max_seconds=1e-9)
    assert (len(none.layers), none.finished) == (0, False)
    seen = []
    again, report = vispa.binarize_trained(model, data, keep=("last",), checkpoint=path, callback=seen.append)
    assert report.finished
    assert [layer.name for layer in seen] == ["0", "3", "6"]
    assert all(torch.equal(one, two) for one, two in zip(whole.parameters(), again.parameters(), strict=True))
    with pytest.raises(ValueError, match="checkpoint must be of this network and these settings"):
        vispa.binarize_trained(model, data, keep=(), checkpoint=path)


def test_shared_layers_and_unused_ones():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.unused = nn.Linear(6, 6), nn.Linear(6, 6)

        def forward(self, x):
            return self.inner(F.relu(self.inner(x)))

    torch.manual_seed(0)
    model = Twice()
    binary, report = vispa.binarize_trained(model, [torch.randn(50, 6)], keep=())
    assert [layer.name for layer in report.layers] == ["inner"]
    assert report.kept == ("unused",)
    assert torch.equal(binary.unused.weight, model.unused.weight)
    with pytest.raises(ValueError, match="calls none of the chosen layers"):
        vispa.binarize_trained(model, [torch.randn(5, 6)], layers=["unused"])


def test_the_report_is_a_table_json_and_a_plot(tmp_path):
    report = vispa.binarize_trained(network(), batches(), layers=["3"], loss=F.cross_entropy)[1]
    assert report.table().splitlines()[2].startswith("| 3 | 8 | 36 |")
    assert "loss" in report.table()
    saved = json.loads(report.to_json(tmp_path / "report.json"))
    assert saved == json.loads((tmp_path / "report.json").read_text())
    assert saved["layers"][0]["relative_error"] == report.layers[0].relative_error
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    assert report.plot().get_yscale() == "log"


def embedding_alone():
    return nn.Sequential(nn.Embedding(5, 4))


def with_statistics_on_meta(model):
    model[1].running_mean = model[1].running_mean.to("meta")
    return model


def with_nan_weight(model):
    model[3].weight.data[0, 0] = float("nan")
    return model


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda m, d: vispa.binarize_trained(3, d), TypeError, "model must be a torch.nn.Module"),
        (lambda m, d: vispa.binarize_trained(m, None), ValueError, "calibration must be given"),
        (lambda m, d: vispa.binarize_trained(m, []), ValueError, "calibration must hold at least one batch"),
        (
            lambda m, d: vispa.binarize_trained(m, iter(d)),
            TypeError,
            "calibration must be iterable more than once",
        ),
        (
            lambda m, d: vispa.binarize_trained(m, [(x * float("nan"), y) for x, y in d]),
            ValueError,
            "calibration must feed finite numbers to every layer; layer '3'",
        ),
        (
            lambda m, d: vispa.binarize_trained(embedding_alone(), d),
            ValueError,
            "no layer that can be binary",
        ),
        (lambda m, d: vispa.binarize_trained(m.half(), d), TypeError, "model must be in float32 or float64"),
        (lambda m, d: vispa.binarize_trained(network().bfloat16(), d), TypeError, "is torch.bfloat16"),
        (lambda m, d: vispa.binarize_trained(network().to("meta"), d), ValueError, "model must hold numbers"),
        (
            lambda m, d: vispa.binarize_trained(with_statistics_on_meta(network()), d),
            ValueError,
            "model must hold numbers; its '1.running_mean' is on the meta device",
        ),
        (
            lambda m, d: vispa.binarize_trained(m, [x.to("meta") for x, _ in d]),
            ValueError,
            "calibration must hold numbers; found a tensor on the meta device",
        ),
        (
            lambda m, d: vispa.binarize_trained(m, [x.half() for x, _ in d]),
            TypeError,
            "calibration must hold inputs of the model's torch.float32; found torch.float16",
        ),
        (
            lambda m, d: vispa.binarize_trained(m, [(x.double(), y) for x, y in d]),
            TypeError,
            "found torch.float64",
        ),
        (
            lambda m, d: vispa.binarize_trained(m, [d[0][0][:0]]),
            ValueError,
            "calibration must hold at least one sample; layer '3' is fed none",
        ),
        (
            lambda m, d: vispa.binarize_trained(m, [], loss=F.cross_entropy),
            ValueError,
            "calibration must hold at least one batch",
        ),
        (
            lambda m, d: vispa.binarize_trained(m, [x for x, _ in d], loss=F.cross_entropy),
            ValueError,
            r"calibration must hold pairs \(inputs, targets\)",
        ),
        (
            lambda m, d: vispa.binarize_trained(m, [(x * float("inf"), y) for x, y in d], keep=()),
            ValueError,
            "calibration must feed finite numbers to every layer; layer '0'",
        ),
        (
            lambda m, d: vispa.binarize_trained(with_nan_weight(network()), d),
            ValueError,
            "layer '3': its weight must be finite",
        ),
        (
            lambda m, d: vispa.binarize_trained(network().requires_grad_(False), d),
            ValueError,
            "all of whose layers are frozen",
        ),
        (
            lambda m, d: vispa.binarize_trained(m, d, keep=("0", "3", "6", "8")),
            ValueError,
            "keeps every one of the 4 layer",
        ),
        (lambda m, d: vispa.binarize_trained(m, d, group=-128), ValueError, "group must be at least 1"),
        (lambda m, d: vispa.binarize_trained(m, d, group=1.5), TypeError, "group must be an integer"),
        (lambda m, d: vispa.binarize_trained(m, d, group=True), TypeError, "group must be an integer"),
        (lambda m, d: vispa.binarize_trained(m, d, group=0), ValueError, "group must be at least 1"),
        (
            lambda m, d: vispa.binarize_trained(m, d, method="best"),
            ValueError,
            "method must be one of 'vispa'",
        ),
        (
            lambda m, d: vispa.binarize_trained(m, d, method="sgn", bounds=True),
            ValueError,
            "bounds must be False",
        ),
        (lambda m, d: vispa.binarize_trained(m, d, damping=-1.0), ValueError, "damping must be at least 0"),
        (lambda m, d: vispa.binarize_trained(m, d, layers=["9"]), ValueError, "layers names '9'"),
        (
            lambda m, d: vispa.binarize_trained(nn.Sequential(nn.ConvTranspose1d(2, 2, 2)), d, layers=["0"]),
            ValueError,
            "layers must choose Linear layers, convolutions and Conv1D",
        ),
    ],
)
def test_bad_input_is_refused_by_name(call, error, words):
    model = network()
    before = [values.clone() for values in model.state_dict().values()]
    with pytest.raises(error, match=words):
        call(model, batches())
    after = [values.to(old.dtype) for values, old in zip(model.state_dict().values(), before, strict=True)]
    assert all(torch.allclose(new, old, atol=1e-2) for new, old in zip(after, before, strict=True))


def test_sites_of_the_copy_are_those_of_the_model():
    assert list(find_sites(network())) == ["0", "3", "6", "8"]
    assert np.isfinite(network()[0].weight.detach().numpy()).all()
