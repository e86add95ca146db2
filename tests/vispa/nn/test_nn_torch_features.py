"""Binary layers inside the rest of torch: func, compile, autocast, copies, state, attention, formats."""

import copy

import pytest
import torch
from network_examples import Network, batch, gradients, network
from torch import nn
from torch.func import functional_call, grad, vmap

import vispa
from vispa.nn import binary_layers

# Dynamo instantiates the class that torch itself asks nobody to instantiate.
compiles = pytest.mark.filterwarnings("ignore:.*Function'> should not be instantiated:DeprecationWarning")


@compiles
@pytest.mark.parametrize(("method", "checkpointed"), [("vispa", False), ("vispa", True), ("bernoulli", True)])
def test_compiled_training_equals_eager(method, checkpointed):
    torch._dynamo.reset()
    model = network(checkpointed, method=method)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    results = []
    for current in (model, compiled, compiled):
        model.zero_grad()
        torch.manual_seed(3)
        output = current(batch())
        output.square().sum().backward()
        results.append((output.detach(), gradients(model)))
    for output, grads in results[1:]:
        assert torch.equal(output, results[0][0])
        for name, value in results[0][1].items():
            torch.testing.assert_close(grads[name], value, msg=name)
    assert not torch.equal(compiled(batch()), compiled(batch()))


@compiles
def test_compiled_evaluation_is_deterministic_and_samples_on_request():
    torch._dynamo.reset()
    model = network().eval()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(batch()), model(batch()))
    with vispa.sampling(compiled):
        assert not torch.equal(compiled(batch()), compiled(batch()))
    assert torch.equal(compiled(batch()), model(batch()))


def functional_loss(model: nn.Module):
    buffers = dict(model.named_buffers())

    def loss(parameters, row):
        return functional_call(model, (parameters, buffers), (row.unsqueeze(0),)).square().sum()

    return loss


def test_functional_gradients_equal_backward():
    model = network()
    torch.manual_seed(5)
    functional = grad(functional_loss(model))(dict(model.named_parameters()), batch()[0])
    torch.manual_seed(5)
    model(batch()[:1]).square().sum().backward()
    for name, value in gradients(model).items():
        torch.testing.assert_close(functional[name], value, msg=name)


def test_per_sample_gradients_with_one_noise_equal_the_loop():
    model = network()
    parameters, rows = dict(model.named_parameters()), batch()
    torch.manual_seed(5)
    batched = vmap(grad(functional_loss(model)), in_dims=(None, 0), randomness="same")(parameters, rows)
    for index, row in enumerate(rows):
        torch.manual_seed(5)
        single = grad(functional_loss(model))(parameters, row)
        for name, value in single.items():
            torch.testing.assert_close(batched[name][index], value, msg=name)


@pytest.mark.parametrize("method", ["vispa", "bernoulli"])
def test_per_sample_gradients_with_different_noise(method):
    model = network(method=method)
    rows = batch()[:1].expand(6, -1)
    parameters = dict(model.named_parameters())
    batched = vmap(grad(functional_loss(model)), in_dims=(None, 0), randomness="different")(parameters, rows)
    means = batched["two.parametrizations.weight.original"]
    assert means.shape == (6, 16, 16)
    assert all(not torch.equal(means[0], other) for other in means[1:])
    assert all(found.weight.noise is None for found in binary_layers(model))


def test_vmap_over_an_ensemble_of_parameters():
    models = [network().eval(), network(noise_ratio=0.1).eval()]
    parameters, buffers = torch.func.stack_module_state(models)
    inputs = batch()
    stacked = vmap(lambda p, b: functional_call(models[0], (p, b), (inputs,)))(parameters, buffers)
    torch.testing.assert_close(stacked, torch.stack([model(inputs) for model in models]))


def test_autocast_keeps_the_variational_maths_in_single_precision(monkeypatch):
    layer = vispa.binarize(nn.Linear(1, 1, bias=False), rank=1, keep=(), projection="published")
    (found,) = binary_layers(layer)
    with torch.no_grad():
        found.mean.fill_(1.0)
        found.weight.factor.fill_(-1.0001)  # -1 in bfloat16: the latent would be 0, its sign +1
    monkeypatch.setattr(found.weight, "draw", lambda: torch.ones(1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = layer(torch.ones(1, 1))
    assert output.dtype == torch.bfloat16
    assert float(output.detach()) == -1.0


def test_autocast_trains_with_gradients_in_single_precision():
    model = network()
    torch.manual_seed(2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(batch()).float().square().sum()
    loss.backward()
    low = gradients(model)
    model.zero_grad()
    torch.manual_seed(2)
    model(batch()).square().sum().backward()
    for name, value in gradients(model).items():
        assert low[name].dtype == torch.float32
        assert (low[name] - value).norm() < 0.05 * value.norm(), name


def test_bfloat16_parameters_sample_in_single_precision(monkeypatch):
    layer = vispa.binarize(nn.Linear(1, 1, bias=False, dtype=torch.bfloat16), rank=1, keep=())
    (found,) = binary_layers(layer)
    with torch.no_grad():
        found.mean.fill_(1.0)
        found.weight.factor.fill_(-1.0)
    # The latent is -2^-12; in bfloat16 the noise would round to 1 and the latent to 0, whose sign is +1.
    monkeypatch.setattr(found.weight, "draw", lambda: torch.tensor([1.0 + 2**-12]))
    output = layer(torch.ones(1, 1, dtype=torch.bfloat16))
    output.backward()
    assert float(output.detach()) == -1.0
    assert found.weight.factor.grad.dtype == found.mean.grad.dtype == torch.bfloat16


def test_deepcopy_is_independent_and_draws_its_own_noise():
    model = network()
    twin = copy.deepcopy(model)
    torch.manual_seed(6)
    expected = model(batch())
    torch.manual_seed(6)
    assert torch.equal(twin(batch()), expected)
    twin(batch()).sum().backward()
    assert all(values.grad is None for values in model.parameters())
    with torch.no_grad():
        twin.one.parametrizations["weight"].original.neg_()
    torch.manual_seed(6)
    assert torch.equal(model(batch()), expected)
    vispa.harden(twin)
    assert all(found.weight.noise is None for found in binary_layers(twin))
    assert not torch.equal(twin(batch()), twin(batch()))


def test_averaging_a_model_while_it_trains():
    model = network()
    average = torch.optim.swa_utils.AveragedModel(model)
    mean = model.one.parametrizations["weight"].original
    start = mean.detach().clone()
    average.update_parameters(model)
    with torch.no_grad():
        mean.sub_(3.0)
    average.update_parameters(model)
    signs = torch.where(start - 1.5 >= 0, 1.0, -1.0)
    assert torch.equal(vispa.harden(average.module).one.weight, signs / 4)
    assert not torch.equal(average.module(batch()), average.module(batch()))


def test_state_dict_round_trip(tmp_path):
    model = network()
    torch.save(model.state_dict(), tmp_path / "model.pt")
    other = vispa.binarize(Network(), rank=3)
    assert not torch.equal(other.eval()(batch()), model.eval()(batch()))
    other.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    assert torch.equal(other(batch()), model(batch()))
    torch.manual_seed(1)
    expected = model.train()(batch())
    torch.manual_seed(1)
    assert torch.equal(other.train()(batch()), expected)
    assert len({values.data_ptr() for values in other.state_dict().values()}) == len(other.state_dict())


def test_assigning_a_bias_sets_what_the_layer_adds():
    layer = vispa.binarize(nn.Linear(4, 2), keep=(), rank=1).eval()
    layer.bias = torch.tensor([3.0, -2.0])
    torch.testing.assert_close(layer(torch.zeros(1, 4)), torch.tensor([[3.0, -2.0]]))
    with torch.no_grad():
        layer.parametrizations["weight"][0].alpha.zero_()
    with pytest.raises(ValueError, match="bias cannot be set where a channel's alpha is zero"):
        layer.bias = torch.zeros(2)


def test_channels_last_weights_keep_their_values_and_their_projection():
    torch.manual_seed(0)
    plain = vispa.binarize(nn.Conv2d(4, 6, 3), rank=2, keep=(), noise_ratio=0.5)
    last = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    inputs = torch.randn(2, 4, 5, 5)
    for layer in (plain, last):
        optimizer = vispa.attach(torch.optim.SGD(layer.parameters(), lr=0.2), layer)
        torch.manual_seed(1)
        layer(inputs).square().sum().backward()
        optimizer.step()
    (first,), (second,) = binary_layers(plain), binary_layers(last)
    assert second.mean.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(first.mean, second.mean)
    torch.testing.assert_close(first.weight.factor, second.weight.factor)


def attention_block() -> nn.TransformerEncoderLayer:
    torch.manual_seed(0)
    block = nn.TransformerEncoderLayer(8, 2, dim_feedforward=16, dropout=0.0, batch_first=True)
    return vispa.binarize(block, rank=2, keep=(), noise_ratio=1.0)


def test_attention_draws_noise_for_the_projection_it_reads_without_calling():
    block = attention_block()
    attention = block.self_attn
    inputs = torch.randn(2, 3, 8)
    first, second = (attention(inputs, inputs, inputs)[0] for _ in range(2))
    assert not torch.equal(first, second)
    first.square().sum().backward()
    assert attention.out_proj.parametrizations["weight"][0].factor.grad.abs().max() > 0


def test_attention_samples_in_evaluation_without_gradients():
    block = attention_block().eval()
    inputs = torch.randn(2, 3, 8)
    with torch.no_grad():
        assert torch.equal(block(inputs), block(inputs))
        torch.testing.assert_close(vispa.harden(block)(inputs), block(inputs))
        with vispa.sampling(block):
            assert not torch.equal(
                block.self_attn(inputs, inputs, inputs)[0], block.self_attn(inputs, inputs, inputs)[0]
            )
            assert not torch.equal(block(inputs), block(inputs))


def test_exported_hardened_network_equals_evaluation():
    model = network().eval()
    exported = torch.export.export(vispa.harden(model), (batch(),)).module()
    assert torch.equal(exported(batch()), model(batch()))
