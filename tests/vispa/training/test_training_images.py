"""Images from folders and tars: decoded exactly, sorted into classes and parts, every damage named."""

import io
import sys
import tarfile
import types

import numpy as np
import pytest
from PIL import Image

from vispa.training.data.archive import read_tar
from vispa.training.data.decoding import File, decode_all, whole
from vispa.training.data.folders import read_images
from vispa.training.data.layout import arrange
from vispa.training.data.load import load
from vispa.training.data.split import split

RNG = np.random.default_rng(0)
PARTS = {"train": 5, "test": 2}
PIXELS = {
    f"{part}/{name}/{index:04}.png": RNG.integers(0, 256, (6, 5, 3), dtype=np.uint8)
    for part, count in PARTS.items()
    for name in ("cat", "dog")
    for index in range(count)
}


def encoded(pixels, form="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


FILES = {name: encoded(pixels) for name, pixels in PIXELS.items()}


def write_folder(folder, files=FILES):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def write_tar(path, files=FILES, top=""):
    with tarfile.open(path, f"w:{'' if path.suffix == '.tar' else path.suffix[1:]}") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(top + name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture(
    params=["folder", "x.tar", "x.tar.gz", "x.tar.xz", "x.tar.bz2", "tar in a folder", "tar with ./"]
)
def source(request, tmp_path):
    if request.param == "folder":
        return write_folder(tmp_path / "set")
    if request.param.startswith("x."):
        return write_tar(tmp_path / request.param, dict(reversed(FILES.items())))
    return write_tar(tmp_path / "set.tar", top="./" if "./" in request.param else "sets/pets/")


def test_every_source_gives_the_same_bytes_in_the_same_order(source):
    data = load(source)
    assert data.test_from == 10
    assert data.labels.tolist() == [0] * 5 + [1] * 5 + [0] * 2 + [1] * 2
    names = sorted(PIXELS, key=lambda name: (name.startswith("test"), name))
    expected = np.stack([PIXELS[name].transpose(2, 0, 1) for name in names])
    np.testing.assert_array_equal(data.images.numpy(), expected)


def test_the_given_test_part_is_kept_and_inputs_are_standardised_by_training_channels(tmp_path):
    data = load(write_folder(tmp_path / "set"))
    parts = split(data, seed=3)
    np.testing.assert_array_equal(parts.test.images.numpy(), data.images[10:].numpy())
    assert len(parts.train) + len(parts.validation) == 10
    inputs = parts.train.inputs()
    assert inputs.mean(dim=(0, 2, 3)).abs().max() < 1e-5
    np.testing.assert_allclose(inputs.std(dim=(0, 2, 3), correction=0), 1.0, atol=1e-5)
    channel = parts.train.images[:, 1].double()
    expected = (parts.test.images[:, 1].double() - channel.mean()) / channel.std(correction=0)
    np.testing.assert_allclose(parts.test.inputs()[:, 1], expected, atol=1e-5)


def test_classes_alone_are_split_and_other_files_passed_over(tmp_path):
    files = {name.removeprefix("train/"): content for name, content in FILES.items() if "train" in name}
    write_folder(
        tmp_path / "set", {**files, "README.txt": b"words", "cat/.hidden.png": b"", "cat/notes.csv": b""}
    )
    data = load(tmp_path / "set")
    assert (len(data), data.test_from) == (10, None)


def test_images_of_other_modes_and_sizes_are_brought_to_one(tmp_path):
    files = dict(FILES)
    files["train/cat/0000.png"] = encoded(np.full((40, 20), 7, dtype=np.uint8))
    files["train/dog/0004.png"] = encoded(np.full((8, 30, 3), (1, 2, 3), dtype=np.uint8), "BMP")
    folder = write_folder(tmp_path / "set", files)
    data = read_images(folder, size=12)
    assert data.images.shape == (14, 3, 12, 12)
    assert data.images[0].unique().tolist() == [7]
    assert data.images[9, :, 0, 0].tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match=r"cat.0001\.png is 5 x 6 pixels, the first .* give image_size"):
        read_images(folder)


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"no image at all",
        FILES["test/dog/0001.png"][:60],
        encoded(PIXELS["test/dog/0001.png"], "JPEG")[:-200],
    ],
)
@pytest.mark.parametrize("archived", [False, True])
def test_a_corrupt_image_is_named(tmp_path, damage, archived):
    files = {**FILES, "test/dog/0001.png": damage}
    path = write_tar(tmp_path / "set.tar", files) if archived else write_folder(tmp_path / "set", files)
    with pytest.raises(ValueError, match=r"dog/0001\.png.* is not a readable image") as caught:
        load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("kind", ["set.tar", "set.tar.xz", "set.tar.gz", "set.tar.bz2"])
def test_a_truncated_tar_is_never_taken_for_a_whole_one(tmp_path, kind):
    path = write_tar(tmp_path / kind)
    content = path.read_bytes()
    # A plain tar is padded with zeros to 20 blocks: what counts ends with two of them.
    end = len(content.rstrip(b"\0")) if kind == "set.tar" else len(content)
    for length in sorted({0, 100, 512, 1024, *range(512, end, 512 * 5), end - 1, end}):
        path.write_bytes(content[:length])
        if length == len(content):
            continue
        with pytest.raises(ValueError, match=rf"{kind} is truncated or damaged") as caught:
            load(path)
        assert str(path) in str(caught.value)


def test_a_damaged_header_ends_nothing_silently(tmp_path):
    path = write_tar(tmp_path / "set.tar")
    content = bytearray(path.read_bytes())
    second = 512 * (1 + -(-len(next(iter(FILES.values()))) // 512))
    content[second + 150] ^= 1  # the checksum of the second header
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r"last whole file: train/cat/0000\.png"):
        read_tar(path, lambda name: True)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "holds no image"),
        (["train/a/0.png", "train/b/0.png"], "train beside nothing"),
        (["train/a/0.png", "valid/a/0.png"], "train beside valid"),
        (["train/a/0.png", "test/a/0.png", "val/a/0.png"], "train beside test, val"),
        (["train/a/0.png", "test/b/0.png"], "class 'b' of test is missing from train"),
        (["train/0.png", "test/a/0.png"], "train/0.png lies in no folder of a class"),
        (["a/0.png", "0.png"], "0.png lies in no folder"),
    ],
)
def test_impossible_layouts_are_refused_in_words(tmp_path, names, words):
    with pytest.raises(ValueError, match=words) as caught:
        arrange(names, tmp_path / "pets")
    assert "pets" in str(caught.value)


def test_a_class_without_test_images_is_refused(tmp_path):
    files = {name: content for name, content in FILES.items() if not name.startswith("test/dog")}
    with pytest.raises(ValueError, match=r"test part must have .* class 1 has 0"):
        load(write_folder(tmp_path / "set", files))


def test_torchvision_sets_are_read_where_torchvision_is(monkeypatch):
    """A stand-in for torchvision, which is not needed here: what is read of it is its published interface."""

    class Kept(list):
        def __init__(self, root, train, download):
            assert root.endswith("vispa")
            assert download
            count = 12 if train else 6
            images = [Image.fromarray(np.full((4, 4), 10 * index, dtype=np.uint8)) for index in range(count)]
            super().__init__((image, index % 2) for index, image in enumerate(images))

    datasets = types.SimpleNamespace(Kept=Kept, Other=lambda root: None)
    monkeypatch.setitem(sys.modules, "torchvision", types.SimpleNamespace(datasets=datasets))
    data = load("torchvision:Kept")
    assert (tuple(data.images.shape), data.test_from) == ((18, 1, 4, 4), 12)
    assert data.images[11, 0, 0, 0] == 110
    with pytest.raises(ValueError, match="none named 'Absent'"):
        load("torchvision:Absent")
    with pytest.raises(ValueError, match="does not come in a training and a test part"):
        load("torchvision:Other")
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(ImportError, match="extra `vision`"):
        load("torchvision:Kept")


def test_image_size_belongs_to_images():
    with pytest.raises(ValueError, match="image_size belongs to"):
        load("digits", image_size=8)


def test_missing_pillow_is_named(tmp_path, monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="extra `images`"):
        load(write_folder(tmp_path / "set"))


def test_cifar_is_found_whole_and_decoded(shared_data):
    path = shared_data / "cifar10-jpeg.tar.xz"
    files = read_tar(path, lambda name: name.endswith(".jpg"))
    found = arrange(list(files), path)
    assert (len(found.names), found.test_from, len(found.classes)) == (60_000, 50_000, 10)
    assert np.bincount(found.labels).tolist() == [6_000] * 10
    sample = [File(name, files[name], path) for name in found.names[:50_000:100]]
    pixels = decode_all(sample, lambda index: whole)
    assert pixels.shape == (500, 3, 32, 32)
    # The published means of the lossless training images are 125.3, 123.0 and 113.9.
    np.testing.assert_allclose(pixels.mean(axis=(0, 2, 3)), [125.3, 123.0, 113.9], atol=4.0)
