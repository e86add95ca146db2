"""The demonstration at tiny settings, and the mathematics of its binary row."""

import numpy as np
import pytest

from solvers.exact.brute_force import brute_force
from vispa.demo.__main__ import binary_row, main


def test_value_of_the_binary_row_is_its_squared_error():
    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(50, 6)), rng.integers(0, 3, size=50)
    images[:, 2] = 4.0  # never changes: left out
    row = binary_row(images, labels, digit=1)
    pixels = np.delete(images, 2, axis=1)
    pixels = (pixels - pixels.mean(axis=0)) / pixels.std(axis=0)
    targets = np.where(labels == 1, 1.0, -1.0)
    targets = targets - targets.mean()
    for signs in rng.choice([-1, 1], size=(8, 5)):
        error = np.mean((row.scale * pixels @ signs - targets) ** 2)
        assert row.problem.evaluate(signs) == pytest.approx(error, rel=1e-12)
    best = brute_force(row.problem).value
    assert row.real_error <= best
    assert row.real_error == pytest.approx(
        np.mean((pixels @ np.linalg.lstsq(pixels, targets, rcond=None)[0] - targets) ** 2)
    )


def test_demonstration_prints_tables_and_saves_a_plot(tmp_path, capsys):
    plot = tmp_path / "folder" / "demo.png"
    settings = ["--seeds", "2", "--train-size", "30", "40", "--epochs", "2", "--workers", "1"]
    assert main(["--plot", str(plot), *settings]) == 0
    output = capsys.readouterr().out
    for words in (
        "low rank",
        "Clarabel",
        "30 training images",
        "40 training images",
        "sgn(mean)",
        "ensemble",
    ):
        assert words in output
    for method in ("vispa", "ste", "bernoulli", "float"):
        assert sum(line.split()[:1] == [method] for line in output.splitlines()) == 2
    from matplotlib.image import imread

    image = imread(plot)
    assert image.shape[0] > 500
    assert image.shape[1] > 1500
    assert image[..., :3].std() > 0.05


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--seeds", "0"], "seeds"),
        (["--plot", "demo.jpg"], "plot"),
        (["--train-size", "5"], "train_size"),
        (["--train-size", "50", "50"], "train_size"),
    ],
)
def test_bad_arguments_exit_with_two_and_are_named(capsys, monkeypatch, arguments, named):
    monkeypatch.setattr("vispa.demo.__main__.show_sdp", lambda: None)
    assert main(["--workers", "1", *arguments]) == 2
    assert named in capsys.readouterr().err
