"""Every plot shows the numbers it is given, in axes of the caller's or of its own, and hides none of them."""

import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group

import vispa
from tests.instances import random_graph
from tests.vispa.plots.legends import covered
from vispa import plots
from vispa.nn import binary_layers
from vispa.training.recipes import SHOWN_METHODS

plt = pytest.importorskip("matplotlib.pyplot")
plt.switch_backend("Agg")


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def solved():
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((40, 40))
    return {
        "quadratic": vispa.low_rank(vispa.BinaryQuadratic(matrix + matrix.T, rng.standard_normal(40)), rng=0),
        "cut": vispa.low_rank(vispa.MaxCut(random_graph(40, 8, seed=1)), rng=0),
    }


@pytest.fixture
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = torch.nn.Sequential(torch.nn.Linear(12, 10), torch.nn.ReLU(), torch.nn.Linear(10, 6))
        return vispa.binarize(network, keep=(), rank=3)


def heights(axes):
    return [bar.get_height() for bar in axes.patches]


@pytest.mark.parametrize(("kind", "sign", "name"), [("quadratic", 1, "lower"), ("cut", -1, "upper")])
def test_convergence_shows_the_history_in_the_problems_sense(solved, kind, sign, name):
    solution = solved[kind]
    value, bound = plots.convergence(solution).get_lines()
    assert bound.get_label() == f"{name} bound"
    np.testing.assert_array_equal(value.get_xdata(), [moment.seconds for moment in solution.history])
    np.testing.assert_array_equal(value.get_ydata(), [sign * moment.value for moment in solution.history])
    shown = np.asarray(bound.get_ydata())
    finite = np.isfinite([moment.lower_bound for moment in solution.history])
    np.testing.assert_array_equal(np.isfinite(shown), finite)
    assert (sign * (np.asarray(value.get_ydata()) - shown)[finite] > -1e-9).all()


def test_convergence_of_a_tree_ends_where_the_bound_meets_the_value():
    found = vispa.branch_and_bound(vispa.MaxCut(random_graph(12, 5)), rng=0)
    value, bound = plots.convergence(found).get_lines()
    assert value.get_ydata()[-1] == found.report()["value"]
    assert bound.get_ydata()[-1] == found.report()["upper_bound"]


def test_convergence_refuses_what_has_no_history(solved):
    with pytest.raises(TypeError, match=r"a Solution or ProvedSolution.*found dict"):
        plots.convergence({})
    exact = vispa.exact(vispa.MaxCut(np.ones((3, 3))))
    with pytest.raises(ValueError, match="solution must have a history; found an empty one"):
        plots.convergence(exact)


@pytest.mark.parametrize("kind", ["quadratic", "cut"])
def test_the_spectrum_is_that_of_y(solved, kind):
    solution = solved[kind]
    axes = plots.spectrum(solution)
    shown = np.asarray(axes.get_lines()[0].get_ydata())
    eigenvalues = np.linalg.eigvalsh(solution.gram())[::-1][: shown.size]
    np.testing.assert_allclose(shown, eigenvalues, atol=1e-9 * eigenvalues[0])
    assert shown.sum() == pytest.approx(solution.factor.shape[0])
    rank = int((eigenvalues > 1e-6 * eigenvalues[0]).sum())
    width = solution.factor.shape[0]
    enough = max(r for r in range(1, width) if r * (r + 1) // 2 <= width)
    assert axes.get_title() == f"rank {rank} of at most {enough}"


def test_the_spectrum_counts_no_column_that_is_only_a_rotation_of_others(solved):
    import dataclasses

    factor = np.ones((30, 2)) / np.sqrt(2)
    wide = np.column_stack([factor, np.zeros((30, 3))]) @ ortho_group.rvs(5, random_state=0)
    padded = dataclasses.replace(solved["cut"], factor=wide)
    assert plots.spectrum(padded).get_title().startswith("rank 1 of")


@settings(max_examples=15)
@given(seed=st.integers(0, 1000), families=st.integers(1, 3))
def test_overlaps_are_inner_products_and_families_stand_together(seed, families):
    rng = np.random.default_rng(seed)
    centres = rng.choice([-1, 1], size=(families, 200))
    members = rng.permutation(np.repeat(np.arange(families), 4))
    flips = np.where(rng.random((members.size, 200)) < 0.05, -1, 1)
    signs = centres[members] * flips * rng.choice([-1, 1], size=(members.size, 1))
    axes = plots.overlaps(signs)
    image = np.asarray(axes.get_images()[0].get_array())
    plt.close("all")
    overlap = signs @ signs.T / 200
    np.testing.assert_allclose(np.sort(image, axis=None), np.sort(overlap, axis=None), atol=1e-12)
    np.testing.assert_allclose(np.diag(image), 1.0)
    # points of one family follow one another: between neighbours the family changes as rarely as it can
    neighbours = np.abs(np.diag(image, 1))
    assert (neighbours < 0.5).sum() == families - 1


@pytest.mark.parametrize("signs", [[[1, -1]], [[1, 0], [1, 1]], [[0.5, 1.0], [1.0, 1.0]], np.empty((2, 0))])
def test_overlaps_refuse_what_are_no_signs(signs):
    with pytest.raises(ValueError, match="signs must be at least two rows of -1 and \\+1"):
        plots.overlaps(signs)


def test_spectra_are_those_of_the_latent_correlation_matrix(model):
    layers = plots.latent_layers(model)
    assert [layer.name for layer in layers] == ["0", "2"]
    for layer, found in zip(layers, binary_layers(model), strict=True):
        factor = found.weight.factor.detach().double()
        rows = factor.transpose(1, 2).reshape(-1, 3).numpy()
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        singular = np.linalg.svd(unit, compute_uv=False)
        np.testing.assert_allclose(layer.spectrum, singular**2 / len(rows), rtol=1e-10)
        spread = np.square(rows).sum(axis=1) / found.weight.scale
        means = found.mean.detach().double().flatten().numpy()
        np.testing.assert_allclose(layer.means, means / np.sqrt(means**2 + spread), rtol=1e-10)


def test_a_weights_own_noise_makes_it_less_sure():
    torch.manual_seed(1)
    model = vispa.binarize(torch.nn.Linear(12, 10), keep=(), rank=2, residual=True)
    mixed = plots.latent_layers(model)[0]
    with torch.no_grad():
        binary_layers(model)[0].weight.root_residual.zero_()
    alone = plots.latent_layers(model)[0]
    assert (np.abs(mixed.means) < np.abs(alone.means)).all()
    np.testing.assert_array_equal(mixed.spectrum, alone.spectrum)


def test_latent_layers_refuse_a_method_without_a_factor():
    model = vispa.binarize(torch.nn.Linear(4, 4), keep=(), method="ste")
    with pytest.raises(TypeError, match="found the model itself of method 'ste'"):
        plots.latent_layers(model)


def test_latent_means_count_every_weight_once(model):
    before = plots.latent_layers(model)
    axes = plots.latent_means(model, before=before)
    earlier, later = axes.patches
    assert [earlier.get_label(), later.get_label()] == ["before training", "after training"]
    values = np.concatenate([layer.means for layer in before])
    np.testing.assert_allclose(later.get_data().values, earlier.get_data().values)
    np.testing.assert_allclose(
        later.get_data().values, 100 * np.histogram(values, later.get_data().edges)[0] / values.size
    )
    assert later.get_data().values.sum() == pytest.approx(100)


def test_latent_correlations_show_one_bar_a_direction_and_layer(model):
    after = plots.latent_layers(model)
    axes = plots.latent_correlations(model, before=after)
    np.testing.assert_allclose(heights(axes), 100 * np.concatenate([layer.spectrum for layer in after]))
    levels = np.concatenate([lines.get_segments() for lines in axes.collections])[:, 0, 1]
    np.testing.assert_allclose(levels, heights(axes))
    with pytest.raises(ValueError, match="before must have the layers"):
        plots.latent_correlations(after, before=after[:1])
    with pytest.raises(TypeError, match="model must be a Module or a list of LatentLayer"):
        plots.latent_means([])


def test_learning_curves_are_means_between_the_worst_and_the_best():
    runs = np.random.default_rng(0).random((4, 6))
    axes = plots.learning_curves({"ours": runs, "once": [0.25, 0.5]})
    ours, once = axes.get_lines()
    np.testing.assert_allclose(ours.get_ydata(), 100 * runs.mean(axis=0))
    np.testing.assert_array_equal(ours.get_xdata(), np.arange(1, 7))
    assert once.get_label() == "once  50.0 %"
    (band,) = axes.collections
    corners = band.get_paths()[0].vertices[:, 1]
    assert corners.min() == pytest.approx(100 * runs.min())
    assert corners.max() == pytest.approx(100 * runs.max())


def test_learning_curves_take_results_of_a_comparison():
    from vispa.training.compare import compare, paired_jobs
    from vispa.training.data.labelled_images import digits
    from vispa.training.recipes import recipe

    recipes = [recipe(method, epochs=2) for method in ("vispa", "float")]
    results = compare(digits(), paired_jobs(recipes, range(2), 30))
    lines = plots.learning_curves(results).get_lines()
    assert [line.get_label().split()[0] for line in lines] == ["vispa", "float"]
    expected = [[e.validation_accuracy for e in r.history] for r in results if r.recipe.method == "vispa"]
    np.testing.assert_allclose(lines[0].get_ydata(), 100 * np.mean(expected, axis=0))


@pytest.mark.parametrize(
    ("curves", "error", "words"),
    [
        ({}, ValueError, "curves must not be empty"),
        ({"a": [1.5, 0.2]}, ValueError, "accuracies between 0 and 1; found .*to 1.5"),
        ({"a": [[0.1, 0.2], [0.3]]}, ValueError, "must be rectangular"),
        ({"a": [np.nan]}, ValueError, "must be finite"),
        ("abc", TypeError, "curves must be a mapping"),
    ],
)
def test_learning_curves_refuse_what_are_no_accuracies(curves, error, words):
    with pytest.raises(error, match=words):
        plots.learning_curves(curves)


@given(seed=st.integers(0, 1000), bins=st.integers(1, 20), classes=st.integers(2, 5))
def test_reliability_bins_partition_the_predictions(seed, bins, classes):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(classes), size=60)
    labels = rng.integers(0, classes, 60)
    found = plots.reliability_bins(probabilities, labels, bins=bins)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    assert found.counts.sum() == 60
    total = 0.0
    for i in range(bins):
        inside = (confidence >= found.edges[i]) & (confidence < found.edges[i + 1])
        assert inside.sum() == found.counts[i]
        if inside.any():
            assert found.accuracy[i] == pytest.approx(right[inside].mean())
            assert found.confidence[i] == pytest.approx(confidence[inside].mean())
            total += abs(right[inside].sum() - confidence[inside].sum()) / 60
    assert found.error == pytest.approx(total)
    quality = vispa.nn.quality(torch.tensor(probabilities).log(), torch.tensor(labels), bins=bins)
    assert found.error == pytest.approx(quality.ece)
    # one bin sees only the means of all
    if bins == 1:
        assert found.error == pytest.approx(abs(right.mean() - confidence.mean()))


def test_a_calibrated_oracle_has_no_calibration_error():
    confidence = np.repeat([0.55, 0.65, 0.75, 0.85, 0.95], 100)
    right = np.concatenate([np.arange(100) < 100 * c - 1e-9 for c in (0.55, 0.65, 0.75, 0.85, 0.95)])
    probabilities = np.column_stack([confidence, 1 - confidence])
    axes = plots.reliability(probabilities, np.where(right, 0, 1))
    assert axes.get_title() == "calibration error 0.000"
    np.testing.assert_allclose(heights(axes), [0.55, 0.65, 0.75, 0.85, 0.95])
    diagonal = axes.get_lines()[0]
    np.testing.assert_array_equal(diagonal.get_xdata(), diagonal.get_ydata())


def test_reliability_takes_tensors_of_an_ensemble():
    logits = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    found = plots.reliability_bins(logits.softmax(dim=1), torch.zeros(20, dtype=torch.int64))
    assert found.counts.sum() == 20


@pytest.mark.parametrize(
    ("probabilities", "labels", "words"),
    [
        ([[2.0, -1.0]], [0], "pass logits through softmax first"),
        ([[0.5, 0.2]], [0], "add up to one"),
        ([[0.5, 0.5]], [2], "labels must be integers from 0 to 1; found from 2 to 2"),
        ([[0.5, 0.5]], [0.5], "labels must be integers"),
        ([[0.5, 0.5]], [0, 1], "labels must have length 1"),
        (np.empty((0, 3)), [], "probabilities must not be empty"),
    ],
)
def test_reliability_refuses_what_are_no_probabilities(probabilities, labels, words):
    with pytest.raises(ValueError, match=words):
        plots.reliability_bins(probabilities, labels)


def calls(solved, model):
    """Every plot, as a function of axes."""
    signs = np.sign(np.random.default_rng(0).standard_normal((6, 30)))
    layers = plots.latent_layers(model)
    return {
        "convergence": lambda axes: plots.convergence(solved["cut"], axes=axes),
        "spectrum": lambda axes: plots.spectrum(solved["quadratic"], axes=axes),
        "overlaps": lambda axes: plots.overlaps(signs, axes=axes),
        "latent_means": lambda axes: plots.latent_means(model, before=layers, axes=axes),
        "latent_correlations": lambda axes: plots.latent_correlations(model, before=layers, axes=axes),
        "learning_curves": lambda axes: plots.learning_curves({"a": [[0.1, 1.0], [0.2, 1.0]]}, axes=axes),
        "reliability": lambda axes: plots.reliability([[0.9, 0.1], [0.2, 0.8]], [0, 1], axes=axes),
    }


def test_every_plot_draws_where_it_is_told_and_changes_no_setting(solved, model):
    listed = calls(solved, model)
    data = {"LatentLayer", "ReliabilityBins", "latent_layers", "reliability_bins"}
    assert set(plots.__all__) - data == listed.keys()
    before = dict(plt.rcParams)
    for name, call in listed.items():
        axes = plt.figure().add_subplot()
        assert call(axes) is axes, name
        fresh = call(None)
        assert fresh is not axes
        assert fresh.figure is not axes.figure
        with pytest.raises(TypeError, match="axes must be one matplotlib Axes"):
            call([axes])
        plt.close("all")
    assert dict(plt.rcParams) == before


def test_no_legend_covers_what_is_drawn(solved, model):
    for name, call in calls(solved, model).items():
        assert covered(call(None)) == [], name
        plt.close("all")
    axes = plt.figure().add_subplot()
    axes.plot([0, 1], [0, 1], label="line")
    axes.legend(loc="center")
    assert covered(axes) == ["line"]


def test_no_legend_of_the_demonstration_covers_what_is_drawn(model):
    from types import SimpleNamespace

    from vispa.demo.plot import draw

    layers = plots.latent_layers(model)
    rng = np.random.default_rng(0)
    results = [
        SimpleNamespace(
            recipe=SimpleNamespace(method=method), seed=seed, training_images=1000,
            history=[SimpleNamespace(validation_accuracy=each) for each in np.sort(rng.random(6))],
        )
        for method in SHOWN_METHODS
        for seed in range(2)
    ]  # fmt: skip
    figure = draw(layers, layers, results)
    assert [covered(axes) for axes in figure.axes] == [[], [], []]
    assert [len(axes.get_legend().get_texts()) for axes in figure.axes] == [2, 3, len(SHOWN_METHODS)]
    boxes = [axes.get_legend().get_window_extent() for axes in figure.axes]
    view = figure.bbox
    assert all(view.x0 <= box.x0 and box.x1 <= view.x1 and box.y1 <= view.y1 for box in boxes)
    # nor does it reach into its neighbour
    for left, right in zip(figure.axes[:-1], figure.axes[1:], strict=True):
        assert left.get_legend().get_window_extent().x1 < right.get_tightbbox().x0


def test_a_missing_matplotlib_is_named_with_its_extra(monkeypatch, solved):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(
        ImportError, match=r"plots.spectrum needs matplotlib: pip install 'vispa-sdp\[plots\]'"
    ):
        plots.spectrum(solved["cut"])
