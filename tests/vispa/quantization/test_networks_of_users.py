"""Networks as users have them: routes, noise, counters, own layers, broken-off runs; each kind of them once."""

import json
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import vispa
from vispa.quantization.search import Searcher


def made(model, data, **options):
    return vispa.binarize_trained(model, data, **{"method": "sgn", "keep": (), **options})


def pair(seed=0, widths=(4, 6, 2)):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(*widths[:2]), nn.ReLU(), nn.Linear(*widths[1:]))


class Gated(nn.Module):
    """Calls a layer where the batch says so, or for the rows that a layer before it chooses."""

    def __init__(self, by_row=False):
        super().__init__()
        self.first, self.inner, self.last = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 2)
        self.by_row = by_row

    def forward(self, inputs):
        hidden = self.first(inputs)
        if self.by_row:
            chosen = hidden[:, 0] > 0.1
            hidden = hidden.clone()
            hidden[chosen] = self.inner(hidden[chosen])
        elif inputs.mean() > 0.0:
            hidden = self.inner(hidden)
        return self.last(hidden)


def test_layers_that_later_batches_alone_reach_become_binary_in_their_order():
    torch.manual_seed(0)
    data = [torch.randn(16, 8) - 3.0, torch.randn(16, 8) + 3.0]
    report = made(Gated(), data).report
    assert [layer.name for layer in report.layers] == ["first", "inner", "last"]


def test_later_batches_may_call_a_layer_more_often():
    class Unrolled(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.Linear(4, 4, bias=False)

        def forward(self, inputs):
            hidden = torch.zeros_like(inputs[:, 0])
            for step in range(inputs.shape[1]):
                hidden = torch.tanh(self.cell(hidden + inputs[:, step]))
            return hidden

    torch.manual_seed(0)
    model, short, long = Unrolled(), torch.randn(8, 1, 4), torch.randn(8, 3, 4)
    assert made(model, [short, long]).report.layers[0].relative_error == pytest.approx(
        made(model, [long, short]).report.layers[0].relative_error, rel=1e-9
    )


def test_a_route_that_binary_layers_change_is_refused_by_name():
    torch.manual_seed(0)
    data = [torch.randn(64, 8), torch.randn(64, 8)]
    with pytest.raises(ValueError, match="layer 'inner': what it is fed depends on values that change"):
        made(Gated(by_row=True), data)
    assert made(Gated(by_row=True), data, keep=("inner",)).report.finished


def test_both_networks_draw_the_same_noise():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(16, 16), nn.Linear(16, 16, bias=False)

        def forward(self, inputs):
            return self.second(F.dropout(F.relu(self.first(inputs)), 0.5))

    torch.manual_seed(0)
    model = Noisy()
    model.first.weight.data = 0.2 * model.first.weight.data.sign()
    model.second.weight.data = 0.2 * model.second.weight.data.sign()
    report = made(model, [torch.randn(64, 16)], damping=0.0).report
    assert all(layer.relative_error < 1e-9 for layer in report.layers)


def test_what_a_forward_counts_and_catches_is_as_if_it_had_not_run():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 2)
            self.register_buffer("calls", torch.zeros(()))
            self.register_buffer("last", torch.zeros(1, 4))

        def forward(self, inputs):
            self.calls += 1
            self.last = inputs[:1]
            try:
                return self.second(self.first(inputs))
            except Exception:
                return self.second(self.first(0.0 * inputs))

    torch.manual_seed(0)
    model, inputs = Counting(), torch.randn(32, 4)
    before = {name: (values, values.clone()) for name, values in model.named_buffers()}
    binary, report = made(model, [inputs, inputs + 1.0])
    for network in (model, binary):
        assert all(torch.equal(values, before[name][1]) for name, values in network.named_buffers())
    assert all(values is before[name][0] for name, values in model.named_buffers())
    plain = made(nn.Sequential(model.first, model.second), [inputs, inputs + 1.0]).report
    assert [layer.relative_error for layer in report.layers] == [
        layer.relative_error for layer in plain.layers
    ]


class OddPadding(nn.Conv2d):
    def forward(self, inputs):
        return F.conv2d(F.pad(inputs, (0, 1, 0, 1)), self.weight, self.bias, self.stride)


class SameConvolution(nn.Conv2d):
    def forward(self, inputs):
        return self._conv_forward(inputs, self.weight, self.bias)


class Scaled(nn.Linear):
    def forward(self, inputs):
        return 2.0 * super().forward(inputs)


@pytest.mark.parametrize(
    ("layer", "inputs", "fits"),
    [
        (OddPadding(3, 4, 3), torch.randn(8, 3, 5, 5), False),
        (SameConvolution(4, 4, 3, padding=1, groups=2), torch.randn(8, 4, 5, 5), True),
        (SameConvolution(3, 4, 3), torch.randn(3, 5, 5), True),
        (Scaled(5, 4), torch.randn(8, 5), False),
        (Scaled(5, 4), torch.zeros(8, 2, 5), False),
    ],
)
def test_own_layers_must_put_out_their_weight_times_their_inputs(layer, inputs, fits):
    model = nn.Sequential(layer)
    if fits:
        assert made(model, [inputs], layers=["0"]).report.finished
    else:
        with pytest.raises(ValueError, match=r"layer '0': it is a .* that puts out something else"):
            made(model, [inputs], layers=["0"])
    assert not layer._forward_hooks


@pytest.mark.parametrize("sizes", [(8, 1), (1, 8), (8, 0), (6, 3)])
def test_statistics_are_averaged_by_size_whatever_the_batches(sizes):
    class WithAuxiliaryHead(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.norm, self.head = nn.Linear(4, 6), nn.BatchNorm1d(6), nn.BatchNorm1d(6)

        def forward(self, inputs):
            hidden = self.norm(self.body(inputs))
            return (hidden, self.head(hidden)) if self.training else hidden

    torch.manual_seed(0)
    model = WithAuxiliaryHead().eval()
    model.head.running_mean.fill_(3.0)
    data = [torch.randn(size, 4) for size in sizes]
    binary = made(model, data).model
    with torch.no_grad():
        hidden = [binary.body(batch) for batch in data if len(batch) > 1]
    count = sum(map(len, hidden))
    mean = sum(each.sum(0) for each in hidden) / count
    variance = sum(len(each) * each.var(0) for each in hidden) / count
    assert torch.allclose(binary.norm.running_mean, mean, atol=1e-6)
    assert torch.allclose(binary.norm.running_var, variance, atol=1e-6)
    assert torch.equal(binary.head.running_mean, model.head.running_mean)
    assert binary.norm.momentum == 0.1
    assert not binary.norm._forward_pre_hooks


def test_statistics_survive_single_samples_and_errors():
    norm = nn.Sequential(nn.BatchNorm1d(3))
    norm(torch.randn(9, 3))
    before = {name: values.clone() for name, values in norm.state_dict().items()}
    vispa.nn.calibration.reestimate_batch_norm(norm, [torch.randn(1, 3)])
    assert all(torch.equal(values, before[name]) for name, values in norm.state_dict().items())
    with pytest.raises(ValueError, match="expected 2D or 3D input"):
        vispa.nn.calibration.reestimate_batch_norm(norm, [torch.randn(9, 3), torch.randn(3)])
    assert all(torch.equal(values, before[name]) for name, values in norm.state_dict().items())
    assert norm.training


@pytest.mark.parametrize(
    "calibration", [torch.randn(8, 4), {"inputs": torch.randn(8, 4)}, "digits", np.zeros((8, 4))]
)
def test_a_single_batch_is_not_taken_for_many(calibration):
    with pytest.raises(TypeError, match="calibration must be a loader or a list of batches"):
        made(pair(), calibration)


def test_inputs_in_tuples_are_looked_at_too():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(4, 4)

        def forward(self, inputs):
            return self.inner(inputs[0]) + inputs[1]

    inputs = (torch.randn(8, 4), torch.randn(8, 4))
    assert made(Two(), [(inputs, torch.zeros(8))]).report.finished
    with pytest.raises(TypeError, match=r"found torch\.float64"):
        made(Two(), [((inputs[0].double(), inputs[1]), torch.zeros(8))])


def test_an_interrupt_within_a_layer_ends_the_work_and_keeps_nothing_of_it(tmp_path, monkeypatch):
    model, data, path = pair(widths=(4, 20, 9)), [torch.randn(30, 4)], tmp_path / "layers"
    search, searched = Searcher.search, []

    def interrupted(self, *arguments):
        searched.append(arguments)
        if len(searched) == 5:  # rows go eight at a time: the second piece of the second layer
            raise KeyboardInterrupt
        return search(self, *arguments)

    options = {"method": "vispa", "effort": 0.1, "workers": 1}
    with monkeypatch.context() as patched:
        patched.setattr(Searcher, "search", interrupted)
        broken = made(model, data, checkpoint=path, **options)
    assert [layer.name for layer in broken.report.layers] == ["0"]
    assert not broken.report.finished
    assert torch.equal(broken.model[2].weight, model[2].weight)
    whole, again = made(model, data, **options), made(model, data, checkpoint=path, **options)
    assert again.report.finished
    assert all(
        torch.equal(one, two)
        for one, two in zip(whole.model.parameters(), again.model.parameters(), strict=True)
    )


def test_only_the_callback_ends_the_work_by_stop_iteration():
    class Faulty(nn.Linear):
        calls = 0

        def __call__(self, inputs):
            self.calls += 1
            if self.calls > 1:
                raise StopIteration
            return super().__call__(inputs)

    with pytest.raises(StopIteration):
        made(nn.Sequential(Faulty(4, 2)), [torch.randn(8, 4)])


def test_a_checkpoint_of_other_weights_or_of_no_use_is_refused_before_the_work(tmp_path):
    data, path = [torch.randn(8, 4)], tmp_path / "layers"
    made(pair(0), data, checkpoint=path)
    with pytest.raises(ValueError, match=r"checkpoint must be of this network.* its weights is"):
        made(pair(1), data, checkpoint=path)
    content = path.read_bytes()
    for bad in (b"", b"nothing", content[: len(content) // 2]):
        path.write_bytes(bad)
        with pytest.raises(ValueError, match="checkpoint must be of this network"):
            made(pair(0), data, checkpoint=path)
        assert path.read_bytes() == bad

    def never(_):
        raise AssertionError

    with pytest.raises(ValueError, match="checkpoint must lie in a folder that exists"):
        made(pair(0), data, checkpoint=tmp_path / "missing" / "layers", callback=never)
    with pytest.raises(ValueError, match="checkpoint must be a file"):
        made(pair(0), data, checkpoint=tmp_path, callback=never)


def test_a_report_is_json_whatever_the_loss_was():
    data = [(torch.randn(8, 4), torch.zeros(8, 2))]
    report = made(pair(), data, loss=lambda outputs, _: outputs.mean() * float("nan")).report
    text = report.to_json()
    assert "NaN" not in text
    assert json.loads(text)["loss_before"] is None


def test_models_that_cannot_be_copied_and_losses_of_many_numbers_are_refused():
    with pytest.warns(FutureWarning):
        normed = nn.Sequential(torch.nn.utils.weight_norm(nn.Linear(4, 4)), nn.Linear(4, 2))
    normed(torch.randn(2, 4))
    with pytest.raises(ValueError, match=r"model must be one that copy\.deepcopy copies"):
        made(normed, [torch.randn(8, 4)], layers=["1"])
    pairs = [(torch.randn(8, 4), torch.zeros(8, 2))]
    with pytest.raises(ValueError, match=r"loss must return one number.* found a tensor of shape \(8,\)"):
        made(pair(), pairs, loss=lambda outputs, targets: (outputs - targets).square().mean(1))


@pytest.mark.parametrize(
    ("size", "of_gram"),
    [(1e200, 1.0), (1e155, 1.0), (1.0, 1e308), (1e100, 1e110), (1e-160, 1e308), (1e90, 1e110)],
)
def test_layers_whose_squares_overflow_are_refused_and_others_exact(size, of_gram):
    weights, gram = size * np.array([[1.0, -1.0]]), of_gram * np.array([[1.0, 0.5], [0.5, 1.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if of_gram > 1e299 or size * size * of_gram > 1e299:
            with pytest.raises(
                ValueError, match="must be small enough for sums of squared inputs and outputs"
            ):
                vispa.binary_layer(weights, gram=gram, bounds=True)
        else:
            assert vispa.binary_layer(weights, gram=gram, bounds=True).relative_error < 1e-15


def test_batches_without_tensors_are_refused():
    with pytest.raises(TypeError, match="calibration must hold tensors; found a NumPy array"):
        made(pair(), [np.zeros((8, 4), dtype=np.float32)])
    read = lambda model, inputs: model(torch.from_numpy(inputs))  # noqa: E731
    assert made(pair(), [np.zeros((8, 4), dtype=np.float32)], forward=read).report.finished
    with pytest.raises(ValueError, match="batches must hold inputs; found an empty tuple"):
        made(pair(), [()])


def test_gradients_and_graphs_of_the_caller_outlive_the_call():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).eval()
    model(torch.randn(3, 4)).sum().backward()
    before = [values.grad.clone() for values in model.parameters()]
    held = model(torch.randn(3, 4)).sum()
    binary = made(model, [torch.randn(8, 4)]).model
    assert all(torch.equal(values.grad, old) for values, old in zip(model.parameters(), before, strict=True))
    assert all(values.grad is None and values.requires_grad for values in binary.parameters())
    held.backward()


def test_a_loader_that_shuffles_anew_and_ends_on_one_sample():
    torch.manual_seed(0)
    data = torch.utils.data.TensorDataset(torch.randn(37, 4), torch.zeros(37, 2))
    loader = torch.utils.data.DataLoader(data, batch_size=6, shuffle=True)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2))
    shuffled = made(model, loader, loss=F.mse_loss).report
    whole = made(model, [(data.tensors[0], data.tensors[1])], loss=F.mse_loss).report
    assert shuffled.layers[0].relative_error == pytest.approx(whole.layers[0].relative_error, rel=1e-5)
    assert shuffled.loss_before == pytest.approx(whole.loss_before, rel=1e-5)


def test_an_interrupt_while_statistics_are_averaged_keeps_the_layers():
    class Interrupted(nn.BatchNorm1d):
        def forward(self, inputs):
            if self.training:
                raise KeyboardInterrupt
            return super().forward(inputs)

    model = nn.Sequential(nn.Linear(4, 4), Interrupted(4), nn.Linear(4, 2)).eval()
    model[1].running_mean.fill_(0.5)
    binary, report = made(model, [torch.randn(8, 4)])
    assert [layer.name for layer in report.layers] == ["0", "2"]
    assert not report.finished
    assert torch.equal(binary[1].running_mean, model[1].running_mean)
