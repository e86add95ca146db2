"""What `binarize` selects, where it starts, and what it refuses."""

import copy
import math

import pytest
import scipy.stats
import torch
from torch import nn
from torch.nn.utils import parametrize

import vispa
from vispa.nn import binary_layers


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.ReLU(),
        nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6), nn.Conv2d(6, 6, 1)),
        nn.Flatten(),
        nn.Linear(6 * 4 * 4, 5),
        nn.Linear(5, 3),
    )


def names(model: nn.Module) -> list[str]:
    return [found.name for found in binary_layers(model)]


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        (("first", "last"), ["2.0", "2.2", "4"]),
        ((), ["0", "2.0", "2.2", "4", "5"]),
        (["2"], ["0", "4", "5"]),
        ({"2.0", "last"}, ["0", "2.2", "4"]),
    ],
)
def test_keep_takes_positions_and_names_of_modules(keep, expected):
    assert names(vispa.binarize(network(), keep=keep)) == expected


def test_module_names_that_only_share_a_prefix_are_not_kept():
    model = nn.ModuleDict({"head": nn.Linear(3, 3), "header": nn.Linear(3, 3)})
    assert names(vispa.binarize(model, keep=("head",))) == ["header"]


def test_shapes_identity_and_what_stays_real():
    model = network()
    weight, bias, first = model[2][0].weight, model[2][0].bias, model[0]
    before = copy.deepcopy(first.state_dict())
    assert vispa.binarize(model, rank=3) is model
    assert model[2][0].parametrizations["weight"].original is weight
    assert model[2][0].parametrizations["bias"].original is bias
    found = binary_layers(model)[0].weight
    assert found.factor.shape == (6, 3, 2 * 3 * 3)
    assert found.alpha.shape == (6,)
    assert type(model[0]) is nn.Conv2d
    assert all(torch.equal(before[key], value) for key, value in first.state_dict().items())


@pytest.mark.parametrize("method", ["vispa", "ste", "bernoulli"])
def test_a_layer_starts_with_unit_gain_and_its_own_bias(method):
    layer = nn.Linear(400, 50)
    bias = layer.bias.detach().clone()
    vispa.binarize(layer, keep=(), method=method).eval()
    torch.testing.assert_close(layer(torch.zeros(1, 400))[0], bias)
    torch.testing.assert_close(layer.weight.abs(), torch.full((50, 400), 1 / 20))


def test_the_published_start():
    torch.manual_seed(0)
    layer = vispa.binarize(nn.Conv2d(32, 64, 3), rank=4, keep=(), projection="published")
    (found,) = binary_layers(layer)
    # Xavier normal: the mean as (out, in, 3, 3), the factor as the published (K, out, in, 3, 3).
    assert float(found.mean.detach().std()) == pytest.approx(math.sqrt(2 / (9 * (32 + 64))), rel=0.05)
    assert float(found.weight.factor.detach().std()) == pytest.approx(
        math.sqrt(2 / (9 * 32 * (64 + 4))), rel=0.05
    )


@pytest.mark.parametrize(("projection", "scale"), [("channel", 1e4), ("paper", 100.0), ("published", 100.0)])
def test_the_published_scale_stays_with_the_published_projections(projection, scale):
    layer = vispa.binarize(nn.Linear(6, 5), keep=(), projection=projection)
    assert [found.weight.scale for found in binary_layers(layer)] == [scale]


@pytest.mark.parametrize("residual", [False, True])
def test_the_default_start_has_the_noise_of_the_published_scale_whatever_the_scale(residual):
    """Only steps know S: means, and factors in the coordinates of the noise, start the same."""
    starts = []
    for scale in ({}, {"scale": 100.0}, {"scale": 7.0}):
        torch.manual_seed(0)
        layer = vispa.binarize(nn.Linear(30, 20), rank=3, keep=(), residual=residual, **scale)
        (found,) = binary_layers(layer)
        root = torch.tensor(found.weight.scale).sqrt()
        own = [found.weight.root_residual.detach() / root] if residual else []
        starts.append([found.mean.detach(), found.weight.factor.detach() / root, *own])
    for start in starts[1:]:
        torch.testing.assert_close(start, starts[0])
    variances = starts[0][1].square().sum(1) + (starts[0][2].square() if residual else 0)
    stated = (3 + residual) * (30 + 20) / (100 * 30 * (20 + 3))
    assert float(variances.mean() / starts[0][0].square().mean()) == pytest.approx(stated, rel=0.1)


@pytest.mark.parametrize("projection", ["channel", "paper", "published"])
def test_noise_ratio_is_what_the_latents_show(projection):
    torch.manual_seed(0)
    layer = nn.Linear(300, 200)
    vispa.binarize(layer, rank=8, keep=(), scale=4.0, projection=projection, noise_ratio=0.5)
    (found,) = binary_layers(layer)
    variances, squares = found.weight.factor.detach().square().sum(1) / 4.0, found.mean.detach().square()
    if projection != "paper":
        assert float(variances.mean() / squares.mean()) == pytest.approx(0.25, rel=0.03)
    # Row by row the ratio of variance to squared mean survives the projection: 0.25 chi^2_8 / (8 chi^2_1),
    # a quarter of an F variable with 8 and 1 degrees of freedom, whose median is 2.04.
    assert float((variances / squares).median()) == pytest.approx(
        0.25 * scipy.stats.f(8, 1).median(), rel=0.03
    )


def test_independent_signs_start_with_means_of_the_size_of_their_noise():
    torch.manual_seed(0)
    (found,) = binary_layers(vispa.binarize(nn.Linear(300, 200), keep=(), method="bernoulli"))
    sizes = found.mean.detach().abs()
    # A standard normal beyond one deviation is clipped to the box.
    assert float((sizes == 1).double().mean()) == pytest.approx(2 * scipy.stats.norm.sf(1), abs=0.01)
    assert float(sizes.median()) == pytest.approx(scipy.stats.norm.ppf(0.75), abs=0.01)


def test_same_seed_same_start():
    def start():
        torch.manual_seed(3)
        return vispa.binarize(network()).state_dict()

    first, second = start(), start()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_new_parameters_follow_the_dtype_of_the_layer(dtype):
    layer = vispa.binarize(nn.Linear(4, 4, dtype=dtype), keep=())
    assert {values.dtype for values in layer.parameters()} == {dtype}
    assert layer(torch.ones(2, 4, dtype=dtype)).dtype == dtype


def test_frozen_layers_stay_real_and_as_they_were():
    model = chain()
    model[2].requires_grad_(False)
    before = model[2].weight.clone()
    vispa.binarize(model, keep=(), rank=1)
    assert "2" not in [found.name for found in binary_layers(model)]
    assert torch.equal(model[2].weight, before)
    with pytest.raises(
        ValueError, match=r"layer '2': it is frozen.*requires_grad_\(True\).*keep=\('first', 'last', '2'\)"
    ):
        vispa.binarize(chain(frozen="2"), layers=["1", "2"], rank=1)
    with pytest.raises(ValueError, match="all of whose layers are frozen"):
        vispa.binarize(nn.Linear(4, 4).requires_grad_(False), keep=())


def test_the_matrices_of_an_adaptation_stay_real():
    model = nn.ModuleDict({"base": nn.Linear(6, 6), "lora_A": nn.Linear(6, 2), "lora_B": nn.Linear(2, 6)})
    vispa.binarize(model, keep=(), rank=1)
    assert [found.name for found in binary_layers(model)] == ["base"]
    vispa.binarize(model, layers=["lora_A"], rank=1)
    assert [found.name for found in binary_layers(model)] == ["base", "lora_A"]


class Standardised(nn.Conv2d):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        weight = (self.weight - self.weight.mean()) / self.weight.std()
        return self._conv_forward(inputs, weight, self.bias)


class Padded(nn.Conv2d):
    def _conv_forward(self, inputs, weight, bias):
        return super()._conv_forward(nn.functional.pad(inputs, (1, 0)), weight, bias)


class Named(nn.Linear):
    """A subclass that computes what Linear does."""

    def describe(self) -> str:
        return "a layer"


@pytest.mark.parametrize("kind", [Standardised, Padded])
def test_a_layer_with_a_forward_of_its_own_is_binary_only_by_name(kind):
    def model() -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, 4, 3), kind(4, 4, 3), nn.Conv2d(4, 4, 3))

    with pytest.raises(ValueError, match=rf"layer '1': it is a {kind.__name__}.*layers=\['1', \.\.\.\]"):
        vispa.binarize(model())
    with pytest.raises(ValueError, match="of its own"):
        vispa.binarize(model(), layers=["*"])
    for layers in (["1"], lambda name, module: isinstance(module, kind)):
        assert [found.name for found in binary_layers(vispa.binarize(model(), layers=layers, rank=1))] == [
            "1"
        ]
    named = vispa.binarize(nn.Sequential(*(Named(4, 4) for _ in range(3))), rank=1)
    assert len(binary_layers(named)) == 1


def test_the_first_layer_of_a_model_that_begins_with_an_embedding_is_the_embedding():
    def language_model() -> nn.Module:
        blocks = [nn.Linear(8, 8) for _ in range(3)]
        return nn.Sequential(nn.Embedding(10, 8), *blocks, nn.Linear(8, 10))

    names = [found.name for found in binary_layers(vispa.binarize(language_model(), rank=1))]
    assert names == ["1", "2", "3"]
    everything = vispa.binarize(
        language_model(), layers=["0", "1", "2", "3", "4"], keep=("first", "last"), rank=1
    )
    assert [found.name for found in binary_layers(everything)] == ["1", "2", "3"]


def test_a_cell_run_twice_is_told_that_the_model_is_binary():
    model = vispa.binarize(chain(), rank=1)
    with pytest.raises(ValueError, match="binary already, by an earlier"):
        vispa.binarize(model, rank=1)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 5)
        self.inner = nn.Linear(5, 5)
        self.head = nn.Linear(5, 7)
        self.head.weight = self.embedding.weight


def chain(frozen: str = "") -> nn.Module:
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(4)))
    if frozen:
        model.get_submodule(frozen).requires_grad_(False)
    return model


def linear_with(weight: torch.Tensor) -> nn.Linear:
    layer = nn.Linear(2, 2)
    layer.weight = nn.Parameter(weight, requires_grad=weight.is_floating_point())
    return layer


def shared_bias() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].bias = model[0].bias
    return model


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: nn.Sequential(nn.ReLU(), nn.Embedding(3, 2)), ValueError, "no layer that can be"),
        (lambda: nn.LazyLinear(3), ValueError, "lazy.*run one forward, then binarize"),
        (lambda: nn.Linear(2, 2, device="meta"), ValueError, "meta device; materialise"),
        (lambda: parametrize_orthogonal(nn.Linear(2, 2)), ValueError, "already parametrized; binarize first"),
        (lambda: vispa.binarize(nn.Linear(2, 2), rank=1, keep=()), ValueError, "binary already"),
        (lambda: nn.utils.spectral_norm(nn.Linear(2, 2)), ValueError, "computed by a hook"),
        (lambda: linear_with(torch.zeros(2, 2, dtype=torch.int8)), TypeError, "torch.int8; allowed are"),
        (lambda: linear_with(torch.zeros(2, 2, dtype=torch.complex64)), TypeError, "torch.complex64"),
        (lambda: linear_with(torch.full((2, 2), float("nan"))), ValueError, "must be finite"),
        (lambda: linear_with(torch.zeros(0, 2)), ValueError, "must not be empty"),
        (Tied, ValueError, "tied to 'embedding.weight', which would stay real"),
        (shared_bias, ValueError, "bias is shared, as '0.bias', '1.bias'"),
        (
            lambda: torch.compile(nn.Linear(2, 2), backend="eager"),
            TypeError,
            "wrapped by torch.compile.*binarized first",
        ),
        (
            lambda: nn.Sequential(nn.DataParallel(nn.Linear(2, 2))),
            TypeError,
            "'0' is wrapped by DataParallel",
        ),
        (lambda: wrapped(nn.parallel.DistributedDataParallel), TypeError, "DistributedDataParallel"),
        (lambda: torch.nn.Linear, TypeError, "must be a torch.nn.Module"),
    ],
)
def test_refused_models_are_named_and_unchanged(make, error, words):
    model = make()
    before = str(model)
    with pytest.raises(error, match=words):
        vispa.binarize(model, rank=1, keep=())
    assert str(model) == before


def parametrize_orthogonal(layer: nn.Linear) -> nn.Linear:
    return nn.utils.parametrizations.orthogonal(layer)


def wrapped(kind: type[nn.Module]) -> nn.Module:
    """A wrapper without its process group: only its class matters to the refusal."""
    wrapper = kind.__new__(kind)
    nn.Module.__init__(wrapper)
    wrapper.module = nn.Linear(2, 2)
    return wrapper


def test_a_model_compiled_in_place_is_refused():
    model = nn.Linear(2, 2)
    model.compile(backend="eager")
    with pytest.raises(TypeError, match="it is compiled; it must be binarized first, then compiled"):
        vispa.binarize(model, keep=())


def test_distributed_tensors_are_refused():
    import torch.distributed as dist
    from torch.distributed.tensor import Replicate, distribute_module, init_device_mesh

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        layer = distribute_module(nn.Linear(2, 2), init_device_mesh("cpu", (1,)))
        assert Replicate() in layer.weight.placements
        with pytest.raises(TypeError, match="is a DTensor; binarize first, then shard"):
            vispa.binarize(layer, keep=())
        binary = vispa.binarize(nn.Linear(2, 2), keep=(), rank=1)
        distribute_module(binary, init_device_mesh("cpu", (1,)))
        with pytest.raises(
            TypeError, match=r"cannot be hardened: its .* is a DTensor; load its full state dict"
        ):
            vispa.harden(binary)
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"rank": 0}, ValueError, "rank must be at least 1 for method 'vispa'.*bernoulli"),
        ({"rank": -1}, ValueError, "rank must be at least 0; found -1"),
        ({"rank": 2.0}, TypeError, "rank must be an integer; found float"),
        ({"rank": 37}, ValueError, "at most the number of weights of a layer, 36 for layer '2.2'; found 37"),
        ({"scale": 0.0}, ValueError, "scale must be positive"),
        ({"scale": float("nan")}, ValueError, "scale must be finite"),
        ({"scale": "100"}, TypeError, "scale must be a real number"),
        ({"noise_ratio": 0.0}, ValueError, "noise_ratio must be positive"),
        (
            {"method": "adam"},
            ValueError,
            "method must be one of 'vispa', 'ste', 'bernoulli', 'bop', 'xnor'.*found 'adam'",
        ),
        ({"projection": "none"}, ValueError, "projection must be one of 'channel', 'paper', 'published'"),
        ({"radius": 0.0}, ValueError, "radius must be positive; found 0.0"),
        ({"radius": 1.0, "projection": "published"}, ValueError, "radius must be None with projection"),
        ({"keep": "first"}, TypeError, "keep must be a collection of names"),
        ({"layers": "first"}, TypeError, "layers must be a collection of names"),
        ({"keep": (3,)}, TypeError, "keep must hold names of modules; found 3"),
        ({"keep": ("head",)}, ValueError, "keep names 'head', which is or holds no layer"),
        ({"keep": ("1",)}, ValueError, "keep names '1'"),
        ({"keep": ("0", "2", "4", "5")}, ValueError, "keeps every one of the 5 layer"),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything_changes(options, error, words):
    model = network()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(error, match=words):
        vispa.binarize(model, **options)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not any(parametrize.is_parametrized(module) for module in model.modules())


def test_parametrized_layers_that_are_kept_do_no_harm():
    model = nn.Sequential(parametrize_orthogonal(nn.Linear(3, 3)), nn.Linear(3, 3))
    assert names(vispa.binarize(model, keep=("0",))) == ["1"]


def test_weights_tied_on_both_sides_share_one_posterior():
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    model[2].weight = model[0].weight
    vispa.binarize(model, rank=2, keep=())
    first, second = binary_layers(model)
    assert first.weight is second.weight
    assert first.mean is second.mean
    assert sum(values.numel() for values in model.parameters()) == 9 + 2 * 9 + 3 + 3 + 3
    model(torch.randn(4, 3)).sum().backward()
    assert first.weight.factor.grad.abs().max() > 0
    plain = vispa.harden(model, how="sample")
    assert plain[0].weight is plain[2].weight
