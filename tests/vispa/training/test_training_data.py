"""The split is stratified, disjoint and fixed where it must be; files are checked before they are used."""

import numpy as np
import pytest
import torch

from vispa.training.data.labelled_images import digits, labelled_images, read_npz
from vispa.training.data.load import load
from vispa.training.data.split import split


def rows(part):
    return {row.tobytes() for row in part.images.reshape(len(part), -1).numpy()}


@pytest.fixture(scope="module")
def data():
    return digits()


def restored(part, reference):
    """Pixels before standardisation, up to rounding: both ends of the scale are always present."""
    inputs, scale = part.inputs(), reference.inputs()
    return torch.round(16 * (inputs - scale.min()) / (scale.max() - scale.min())).to(torch.uint8)


@pytest.mark.parametrize("seed", [0, 7])
def test_parts_are_disjoint_and_together_everything(data, seed):
    parts = split(data, seed=seed)
    assert len(parts.train) + len(parts.validation) + len(parts.test) == len(data)
    assert not rows(parts.train) & rows(parts.validation)
    assert not rows(parts.train) & rows(parts.test)
    assert not rows(parts.validation) & rows(parts.test)


def test_only_train_and_validation_depend_on_the_seed(data):
    first, second = split(data, seed=1), split(data, seed=2)
    assert torch.equal(restored(first.test, first.train), restored(second.test, second.train))
    assert not torch.equal(restored(first.train, first.train), restored(second.train, second.train))


@pytest.mark.parametrize("size", [10, 200, 1000, None])
def test_parts_are_stratified(data, size):
    parts = split(data, seed=3, train_size=size)
    share = torch.bincount(data.labels) / len(data)
    for part in (parts.train, parts.validation, parts.test):
        counts = torch.bincount(part.labels, minlength=10)
        assert (counts - share * len(part)).abs().max() <= 1.0
        assert counts.min() >= 1
    assert size is None or len(parts.train) == size


def test_training_pixels_are_standardised(data):
    train = split(data, seed=0, train_size=200).train
    assert train.inputs().mean().item() == pytest.approx(0.0, abs=1e-6)
    assert train.inputs().std(correction=0).item() == pytest.approx(1.0, abs=1e-6)


def test_same_seed_same_split_and_the_data_stays_as_it_was(data):
    before = data.images.clone()
    assert torch.equal(split(data, seed=5).train.images, split(data, seed=5).train.images)
    assert torch.equal(data.images, before)


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        ("train_size", 9, ValueError),
        ("train_size", 1200, ValueError),
        ("train_size", 10.0, TypeError),
        ("seed", -1, ValueError),
        ("seed", True, TypeError),
    ],
)
def test_bad_split_arguments_are_named(data, argument, value, error):
    with pytest.raises(error, match=argument):
        split(data, **{"seed": 0, argument: value})


def test_a_class_of_four_reaches_every_part():
    labels = np.repeat([0, 1], [4, 60])
    images = np.random.default_rng(0).normal(size=(64, 5, 4))
    parts = split(labelled_images(images, labels), seed=0)
    assert all((part.labels == 0).any() for part in (parts.train, parts.validation, parts.test))


IMAGES = np.random.default_rng(1).normal(size=(40, 6, 5))
LABELS = np.arange(40) % 4


@pytest.mark.parametrize("images", [IMAGES, IMAGES[:, None].astype(np.float32)])
def test_npz_round_trip(tmp_path, images):
    path = tmp_path / "data.npz"
    np.savez(path, images=images, labels=LABELS.astype(np.uint8))
    data = load(path)
    assert data.images.shape == (40, 1, 6, 5)
    np.testing.assert_array_equal(data.images.numpy()[:, 0], IMAGES.astype(np.float32))
    assert data.labels.tolist() == LABELS.tolist()
    assert data.classes == 4


def with_pixel(value):
    images = IMAGES.copy()
    images[3, 2, 1] = value
    return images


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": IMAGES}, "no array named labels"),
        ({"pixels": IMAGES, "targets": LABELS}, "no array named images or labels"),
        ({"images": IMAGES[:, :3], "labels": LABELS}, "shape"),
        ({"images": IMAGES[0], "labels": LABELS}, "shape"),
        ({"images": IMAGES[..., None].repeat(3, 3), "labels": LABELS}, "shape"),
        ({"images": with_pixel(np.nan), "labels": LABELS}, "finite"),
        ({"images": with_pixel(1e39), "labels": LABELS}, "float32"),
        ({"images": IMAGES.astype(complex), "labels": LABELS}, "real numbers"),
        ({"images": IMAGES, "labels": LABELS[:-1]}, "labels must have shape"),
        ({"images": IMAGES, "labels": LABELS.astype(float)}, "integers"),
        ({"images": IMAGES, "labels": LABELS - 1}, "labels must be 0, 1"),
        ({"images": IMAGES, "labels": LABELS + 2**40}, "labels must be 0, 1"),
        ({"images": IMAGES, "labels": LABELS * 0}, "at least 2 classes"),
        ({"images": IMAGES, "labels": np.where(LABELS == 3, 4, LABELS)}, "class 3 has 0"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "labels must be 0, 1"),
        ({"images": np.array([None] * 40), "labels": LABELS}, "pickle"),
    ],
)
def test_bad_npz_names_the_file_and_the_fault(tmp_path, arrays, message):
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=message) as caught:
        read_npz(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("damage", ["truncated", "text", "empty"])
def test_damaged_npz_names_the_file(tmp_path, damage):
    path = tmp_path / "data.npz"
    np.savez(path, images=IMAGES, labels=LABELS)
    content = path.read_bytes()
    path.write_bytes({"truncated": content[: len(content) // 2], "text": b"images", "empty": b""}[damage])
    with pytest.raises(ValueError, match=r"data\.npz"):
        read_npz(path)


def test_other_data_sets_are_refused_in_words(tmp_path):
    with pytest.raises(ValueError, match=r"'digits', the path of an \.npz"):
        load("mnist")
    with pytest.raises(FileNotFoundError, match="absent"):
        load(tmp_path / "absent.npz")


def test_pixels_too_large_to_be_standardised_are_refused():
    with pytest.raises(ValueError, match="variance that is finite in float32; scale them down"):
        split(labelled_images(1e38 * IMAGES.clip(-3, 3), LABELS), seed=0)


def test_equal_pixels_cannot_be_standardised():
    with pytest.raises(ValueError, match="all pixels"):
        split(labelled_images(np.ones((40, 4, 4)), LABELS), seed=0)
