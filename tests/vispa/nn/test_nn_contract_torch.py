"""The contract with the rest of torch, over architectures: compile, autocast, func, averages, saved state."""

import copy

import pytest
import torch
from architectures import ARCHITECTURES, gradients_under, largest_error, loss_of
from torch.func import functional_call, grad, vmap

import vispa
from vispa.nn import binary_layers

architectures = pytest.mark.parametrize("name", ARCHITECTURES)


@architectures
# Dynamo instantiates the class that torch itself asks nobody to instantiate, and looks at gradients.
@pytest.mark.filterwarnings("ignore:.*Function'> should not be instantiated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_compiled_training_equals_eager(name):
    torch._dynamo.reset()
    model, batch = ARCHITECTURES[name].binarized(), ARCHITECTURES[name].batch()
    expected = gradients_under(9, model, batch)
    torch.manual_seed(10)
    output = model(batch).detach()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    found = gradients_under(9, compiled, batch)
    found = {key.removeprefix("_orig_mod."): values for key, values in found.items()}
    assert largest_error(found, expected) < 1e-5
    torch.manual_seed(10)
    torch.testing.assert_close(compiled(batch).detach(), output)
    assert not torch.equal(compiled(batch), compiled(batch))


@architectures
def test_autocast_differs_from_single_precision_by_rounding_alone(name):
    """The signs are the same, so that only activations round: a few bits of bfloat16's eight."""
    model, batch = ARCHITECTURES[name].binarized(), ARCHITECTURES[name].batch()
    expected = gradients_under(11, model, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = gradients_under(11, model, batch)
        assert model(batch).dtype == torch.bfloat16
    assert {values.dtype for values in found.values()} == {torch.float32}
    if name != "vgg":  # its binary activations flip where bfloat16 rounds across zero
        assert largest_error(found, expected) < 0.1
    weights = []
    for enabled in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            torch.manual_seed(12)
            noises = [(each.weight, each.mean, each.weight.draw()) for each in binary_layers(model)]
            weights.append([weight.realise(mean, noise) for weight, mean, noise in noises])
    assert all(map(torch.equal, *weights))


def functional_loss(model):
    buffers = dict(model.named_buffers())

    def loss(parameters, row):
        return loss_of(functional_call(model, (parameters, buffers), (row.unsqueeze(0),)))

    return loss


@architectures
@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
def test_per_sample_gradients_equal_backward_one_row_at_a_time(name):
    model, rows = ARCHITECTURES[name].binarized(), ARCHITECTURES[name].batch(size=3)
    torch.func.replace_all_batch_norm_modules_(model)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # vmap draws its masks in another order
    parameters = dict(model.named_parameters())
    torch.manual_seed(13)
    single = grad(functional_loss(model))(parameters, rows[0])
    assert largest_error(single, gradients_under(13, model, rows[:1])) < 1e-6
    torch.manual_seed(13)
    same = vmap(grad(functional_loss(model)), in_dims=(None, 0), randomness="same")(parameters, rows)
    for index, row in enumerate(rows):
        expected = gradients_under(13, model, row.unsqueeze(0))
        assert largest_error({key: values[index] for key, values in same.items()}, expected) < 1e-5
    twins = rows[:1].expand(4, *rows.shape[1:])
    different = vmap(grad(functional_loss(model)), in_dims=(None, 0), randomness="different")(
        parameters, twins
    )
    factors = [values.flatten(1) for key, values in different.items() if key.endswith("factor")]
    assert all(not torch.equal(each[0], each[other]) for each in factors for other in (1, 2, 3))
    assert all(found.weight.noise is None for found in binary_layers(model))


@architectures
def test_an_average_of_models_is_the_average_of_means(name):
    model, batch = ARCHITECTURES[name].binarized(), ARCHITECTURES[name].batch()
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.75)
    )
    optimizer = vispa.attach(torch.optim.SGD(model.parameters(), lr=0.5), model)
    average.update_parameters(model)
    expected = {key: values.detach().clone() for key, values in model.named_parameters()}
    for seed in range(2):
        gradients_under(seed, model, batch)
        optimizer.step()
        average.update_parameters(model)
        for key, values in model.named_parameters():
            expected[key].mul_(0.75).add_(values.detach(), alpha=0.25)
    for key, values in average.module.named_parameters():
        torch.testing.assert_close(values, expected[key])
    with torch.no_grad():
        assert not torch.equal(average(batch), average(batch))
        average.eval()
        assert torch.equal(average(batch), average(batch))
        assert not torch.equal(average(batch), model.eval()(batch))
    vispa.harden(average.module)


@architectures
def test_saved_state_restores_outputs_samples_and_steps(name, tmp_path):
    model, batch = ARCHITECTURES[name].binarized(), ARCHITECTURES[name].batch()
    optimizer = vispa.attach(torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9), model)
    gradients_under(14, model, batch)
    optimizer.step()
    torch.save((model.state_dict(), optimizer.state_dict()), tmp_path / "state.pt")
    torch.manual_seed(99)
    other = vispa.binarize(ARCHITECTURES[name].make(), **{"rank": 2} | ARCHITECTURES[name].options)
    other_optimizer = vispa.attach(torch.optim.SGD(other.parameters(), lr=0.1), other)
    weights, steps = torch.load(tmp_path / "state.pt", weights_only=True)
    other.load_state_dict(weights)
    other_optimizer.load_state_dict(steps)
    for current, current_optimizer in ((model, optimizer), (other, other_optimizer)):
        gradients_under(15, current, batch)
        current_optimizer.step()
    assert all(map(torch.equal, model.parameters(), other.parameters()))
    assert torch.equal(model.eval()(batch), other.eval()(batch))


@architectures
def test_hardened_networks_export(name):
    model, batch = ARCHITECTURES[name].binarized(), ARCHITECTURES[name].batch()
    plain = vispa.harden(model.eval())
    exported = torch.export.export(plain, (batch,)).module()
    with torch.no_grad():
        torch.testing.assert_close(exported(batch), model(batch))


@architectures
def test_a_warm_start_keeps_the_signs_of_the_float_network(name):
    architecture = ARCHITECTURES[name]
    plain = architecture.plain()
    plain(architecture.batch())
    signs = copy.deepcopy(plain)
    model = architecture.binarized()
    vispa.load_float(model, plain.state_dict())
    with torch.no_grad():
        for found in binary_layers(model):
            weight = signs.get_submodule(found.name).get_parameter(found.attribute)
            rows = found.weight.layout.rows(weight)
            scale = rows.abs().flatten(1).mean(1).view(-1, *[1] * (rows.ndim - 1))
            weight.copy_(found.weight.layout.weight(scale * torch.where(rows >= 0, 1.0, -1.0)))
        batch = architecture.batch()
        torch.testing.assert_close(model.eval()(batch), signs.eval()(batch))


@pytest.mark.gpu
@architectures
def test_training_on_a_gpu_under_autocast(name):
    model, batch = ARCHITECTURES[name].binarized().cuda(), ARCHITECTURES[name].batch().cuda()
    optimizer = vispa.attach(torch.optim.SGD(model.parameters(), lr=0.1, fused=True), model)
    before = [found.weight.factor.detach().clone() for found in binary_layers(model)]
    with torch.autocast("cuda", dtype=torch.bfloat16):
        found = gradients_under(16, model, batch)
    assert all(values.is_cuda and bool(torch.isfinite(values).all()) for values in found.values())
    assert all(values.abs().max() > 0 for key, values in found.items() if key.endswith("factor"))
    optimizer.step()
    assert not any(map(torch.equal, before, [found.weight.factor for found in binary_layers(model)]))
    plain = vispa.harden(model.eval(), how="best_of", calibration=[(batch.cpu(), labels(batch))], samples=2)
    assert all(values.is_cuda for values in plain.parameters())


def labels(batch):
    return torch.arange(len(batch)) % 3
