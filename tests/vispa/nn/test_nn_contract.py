"""The contract with a training loop, over architectures: noise, gradients, checkpoints, steps, frozen layers."""

import copy

import pytest
import torch
from architectures import ARCHITECTURES, gradients_under, largest_error, loss_of
from torch import nn
from torch.utils.checkpoint import checkpoint

import vispa
from vispa.nn import binary_layers

architectures = pytest.mark.parametrize("name", ARCHITECTURES)


@architectures
def test_every_forward_in_training_is_a_sample_and_evaluation_is_the_mean(name):
    model, batch = ARCHITECTURES[name].binarized(), ARCHITECTURES[name].batch()
    with torch.no_grad():
        assert not torch.equal(model(batch), model(batch))
        model.eval()
        assert torch.equal(model(batch), model(batch))
        torch.testing.assert_close(vispa.harden(model)(batch), model(batch))
        with vispa.sampling(model):
            assert not torch.equal(model(batch), model(batch))
    assert all(found.weight.noise is None for found in binary_layers(model))


@architectures
def test_every_parameter_of_the_posterior_has_a_gradient(name):
    model, batch = ARCHITECTURES[name].binarized(), ARCHITECTURES[name].batch()
    found = gradients_under(3, model, batch)
    assert found.keys() == dict(model.named_parameters()).keys()
    posterior = [key for key in found if "parametrizations" in key]
    assert sum(key.endswith("factor") for key in posterior) == len(binary_layers(model)) > 0
    assert all(found[key].abs().max() > 0 for key in posterior if not key.endswith("bias.original"))


@architectures
def test_the_sample_is_that_of_a_plain_network_with_the_same_weights(name):
    """Outputs and gradients of real layers equal those of the hardened sample: the reference is plain torch.

    A hardened sign has no gradient, so layers before one are left out.
    """
    model, batch = ARCHITECTURES[name].binarized(), ARCHITECTURES[name].batch()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # it would draw between the layers
    torch.manual_seed(4)
    plain = vispa.harden(model, how="sample")
    torch.manual_seed(4)
    output = model(batch)
    expected = plain(batch)
    torch.testing.assert_close(output, expected)
    loss_of(output).backward()
    loss_of(expected).backward()
    parameters, twins = dict(model.named_parameters()), dict(plain.named_parameters())
    common = [key for key, values in twins.items() if key in parameters and values.grad is not None]
    assert len(common) >= 2
    for key in common:
        torch.testing.assert_close(parameters[key].grad, twins[key].grad)


@architectures
def test_gradients_of_the_posterior_follow_from_those_of_the_weights(name):
    """With W the plain network's weights: alpha G_W for the mean, sqrt(S) r outer that for the factor."""
    model, batch = ARCHITECTURES[name].binarized(), ARCHITECTURES[name].batch()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    torch.manual_seed(4)
    noises = [found.weight.draw() for found in binary_layers(model)]
    torch.manual_seed(4)
    plain = vispa.harden(model, how="sample")
    loss_of(plain(batch)).backward()
    gradients_under(4, model, batch)
    compared = 0
    for found, noise in zip(binary_layers(model), noises, strict=True):
        weight, twin = found.weight, plain.get_submodule(found.name).get_parameter(found.attribute)
        if twin.grad is None:  # before a hardened sign
            continue
        compared += 1
        rows, values = (weight.layout.rows(each.detach()).flatten(1) for each in (twin.grad, twin))
        latent = weight.alpha.detach().unsqueeze(1) * rows
        shared, own = noise if isinstance(noise, tuple) else (noise, None)
        factor = weight.scale**0.5 * shared.unsqueeze(-1) * latent.unsqueeze(1)
        torch.testing.assert_close(weight.factor.grad, factor)
        torch.testing.assert_close(weight.layout.rows(found.mean.grad).flatten(1), latent)
        alpha = (values.sign() * rows).sum(1)
        for attribute, chain in found.layer.parametrizations.items():
            if attribute != found.attribute:  # the bias, inside the bracket
                alpha += (
                    chain.original.detach() * plain.get_submodule(found.name).get_parameter(attribute).grad
                )
        torch.testing.assert_close(weight.alpha.grad, alpha)
        if own is not None:
            root = weight.layout.rows(weight.root_residual.grad).flatten(1)
            torch.testing.assert_close(root, weight.scale**0.5 * own * latent)
    assert compared >= 1


class Checkpointed(nn.Module):
    def __init__(self, inner: nn.Module, reentrant: bool) -> None:
        super().__init__()
        self.inner, self.reentrant = inner, reentrant

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return checkpoint(self.inner, inputs, use_reentrant=self.reentrant)


@architectures
@pytest.mark.parametrize("forwards", [1, 2])
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_changes_no_gradient(name, forwards, reentrant):
    model = ARCHITECTURES[name].binarized()
    batches = [ARCHITECTURES[name].batch(seed).requires_grad_() for seed in range(forwards)]
    expected = gradients_under(5, model, *batches)
    found = gradients_under(5, Checkpointed(model, reentrant), *batches)
    found = {key.removeprefix("inner."): values for key, values in found.items()}
    assert largest_error(found, expected) < 1e-6


@architectures
def test_checkpointing_each_child_changes_no_gradient(name):
    model = ARCHITECTURES[name].binarized()
    batch = ARCHITECTURES[name].batch()
    expected = gradients_under(5, model, batch)
    for module in list(model.modules()):
        for key, child in list(module._modules.items()):
            called = type(child).forward is not nn.Module.forward
            if called and module in (model, getattr(model, "blocks", None)):
                module._modules[key] = Checkpointed(child, reentrant=False)
    found = {key.replace("inner.", ""): values for key, values in gradients_under(5, model, batch).items()}
    assert largest_error(found, expected) < 1e-6


@architectures
def test_two_forwards_before_one_backward_and_accumulation_agree(name):
    model = ARCHITECTURES[name].binarized()
    batches = [ARCHITECTURES[name].batch(seed) for seed in range(2)]
    together = gradients_under(6, model, *batches)
    model.zero_grad()
    torch.manual_seed(6)
    for batch in batches:
        loss_of(model(batch)).backward()
    accumulated = {key: values.grad for key, values in model.named_parameters()}
    assert largest_error(accumulated, together) < 1e-6
    torch.manual_seed(6)
    first = gradients_under(6, model, batches[0])
    assert largest_error(first, together) > 1e-2


@architectures
@pytest.mark.parametrize("optimizer_first", [False, True])
def test_a_step_moves_every_factor_and_projects_whichever_was_made_first(name, optimizer_first):
    architecture = ARCHITECTURES[name]
    model = architecture.plain() if optimizer_first else architecture.binarized()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    if optimizer_first:
        torch.manual_seed(1)
        vispa.binarize(model, **{"rank": 2, "noise_ratio": 0.7} | architecture.options)
    vispa.attach(vispa.attach(optimizer, model), model)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(model.parameters()))
    before = {found: found.weight.factor.detach().clone() for found in binary_layers(model)}
    loss_of(model(architecture.batch())).backward()
    optimizer.step()
    for found, factor in before.items():
        weight = found.weight
        assert not torch.equal(weight.factor, factor), found.name
        squares = weight.layout.rows(found.mean.detach()).square().reshape(factor.shape[0], -1)
        squares = squares + weight.factor.detach().square().sum(1) / weight.scale
        if weight.root_residual is not None:
            own = weight.layout.rows(weight.root_residual.detach()).reshape(squares.shape)
            squares = squares + own.square() / weight.scale
        kept = squares.mean(1) / weight.radius**2
        torch.testing.assert_close(kept, torch.ones_like(kept))


@architectures
def test_both_creation_orders_take_the_same_step(name):
    architecture = ARCHITECTURES[name]
    late = architecture.binarized()
    late_optimizer = vispa.attach(torch.optim.SGD(late.parameters(), lr=0.5), late)
    early = architecture.plain()
    early_optimizer = torch.optim.SGD(early.parameters(), lr=0.5)
    torch.manual_seed(1)
    vispa.binarize(early, **{"rank": 2, "noise_ratio": 0.7} | architecture.options)
    vispa.attach(early_optimizer, early)
    for model, optimizer in ((late, late_optimizer), (early, early_optimizer)):
        gradients_under(7, model, architecture.batch())
        optimizer.step()
    assert all(map(torch.equal, late.parameters(), early.parameters()))


@architectures
def test_frozen_layers_sample_but_stay_where_they_are(name):
    architecture = ARCHITECTURES[name]
    plain = architecture.plain()
    probe = binary_layers(architecture.binarized())[0].name
    torch.manual_seed(1)
    model = vispa.binarize(plain, **{"rank": 2, "noise_ratio": 0.7} | architecture.options)
    model.get_submodule(probe).requires_grad_(False)
    frozen = {key: values.clone() for key, values in model.get_submodule(probe).state_dict().items()}
    optimizer = torch.optim.SGD([v for v in model.parameters() if v.requires_grad], lr=0.5, weight_decay=0.1)
    if len({found.name.startswith(probe) for found in binary_layers(model)}) > 1:
        vispa.attach(optimizer, model)
    batch = architecture.batch()
    loss_of(model(batch)).backward()
    optimizer.step()
    after = model.get_submodule(probe).state_dict()
    assert all(torch.equal(frozen[key], after[key]) for key in frozen)
    assert all(values.grad is None for values in model.get_submodule(probe).parameters())
    reads: list[torch.Tensor] = []
    found = next(each for each in binary_layers(model) if each.name == probe)
    found.layer.register_forward_pre_hook(lambda layer, _: reads.append(getattr(layer, found.attribute)))
    with torch.no_grad():
        model(batch)
        model(batch)
    assert not torch.equal(reads[0], reads[-1])


@architectures
def test_a_copy_trains_apart_and_attaches_again(name):
    architecture = ARCHITECTURES[name]
    model = architecture.binarized()
    optimizer = vispa.attach(torch.optim.Adam(model.parameters(), lr=0.1), model)
    twin, twin_optimizer = copy.deepcopy((model, optimizer))
    vispa.attach(twin_optimizer, twin)
    batch = architecture.batch()
    before = {key: values.clone() for key, values in model.state_dict().items()}
    gradients_under(8, twin, batch)
    twin_optimizer.step()
    assert all(torch.equal(before[key], values) for key, values in model.state_dict().items())
    gradients_under(8, model, batch)
    optimizer.step()
    assert all(map(torch.equal, model.parameters(), twin.parameters()))
