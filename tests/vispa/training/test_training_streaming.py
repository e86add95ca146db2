"""Images decoded batch by batch: the pixels of those in memory, random parts by their definition, the same runs."""

import json
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from test_training_images import encoded, write_folder, write_tar

from vispa.cli import main
from vispa.training.data.batches import ahead, batches
from vispa.training.data.decoding import File, part_of, random_part
from vispa.training.data.load import load
from vispa.training.data.split import split
from vispa.training.processes import Processes
from vispa.training.published import PUBLISHED
from vispa.training.recipes import recipe
from vispa.training.run import train

SIZE = 16


def pictures(count=20):
    """Two classes, reddish and bluish, of many sizes, as PNG and JPEG; the left half is dark."""
    rng = np.random.default_rng(1)
    files = {}
    for part, share in (("train", count), ("val", 6)):
        for channel, name in ((0, "red"), (2, "blue")):
            for index in range(share):
                pixels = rng.integers(0, 60, (*rng.integers(20, 40, 2), 3), dtype=np.uint8)
                pixels[:, pixels.shape[1] // 2 :, channel] += 180
                form = "JPEG" if index % 2 else "PNG"
                files[f"{part}/{name}/{index:02}.{form.lower()}"] = encoded(pixels, form)
    return files


FILES = pictures()


@pytest.fixture(scope="module", params=["folder", "tar"])
def source(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("set")
    return (
        write_folder(folder / "set", FILES)
        if request.param == "folder"
        else write_tar(folder / "s.tar", FILES)
    )


def test_streamed_images_are_those_in_memory_and_so_are_training_batches(source):
    kept, streamed = load(source, image_size=SIZE), load(source, image_size=SIZE, stream=True)
    assert streamed.shape == kept.shape == (3, SIZE, SIZE)
    assert torch.equal(streamed.labels, kept.labels)
    assert torch.equal(streamed.pixels(slice(None)), kept.images)
    parts, others = split(streamed, seed=1, train_size=20), split(kept, seed=1, train_size=20)
    for mine, theirs in zip(
        batches(parts.train, 8, (0, 1), crop_padding=2, flip=True),
        batches(others.train, 8, (0, 1), crop_padding=2, flip=True),
        strict=True,
    ):
        assert torch.equal(mine.labels, theirs.labels)
        torch.testing.assert_close(mine.inputs, theirs.inputs)


def test_nothing_is_decoded_before_it_is_asked_for(source, monkeypatch):
    decoded = []
    true = File.decode
    monkeypatch.setattr(File, "decode", lambda file, shape: (decoded.append(file.name), true(file, shape))[1])
    data = load(source, image_size=SIZE, stream=True)
    assert decoded == []
    data.take(np.array([3, 1])).pixels(torch.tensor([1]))
    assert decoded == [sorted(FILES)[1]]


@pytest.mark.parametrize("draws", [(0.0, 0.0, 0.0, 0.0), (0.5, 0.2, 0.9, 0.1), (0.999, 0.999, 0.5, 0.999)])
def test_a_part_lies_in_the_image_with_its_area_and_shape(draws):
    for width, height in ((640, 480), (100, 900), (7, 5)):
        left, top, right, bottom = part_of(width, height, np.array(draws))
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        area = (right - left) * (bottom - top) / (width * height)
        assert area <= 0.08 + 0.92 * draws[0] + 1e-9
        if right - left < width and bottom - top < height:
            assert area == pytest.approx(0.08 + 0.92 * draws[0])
            assert (right - left) / (bottom - top) == pytest.approx((4 / 3) ** (2 * draws[1] - 1))


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_random_part_shows_that_part(tmp_path, form):
    """A smooth image, so that the part's corners tell where it was cut; a JPEG may be decoded smaller."""
    down, right = np.meshgrid(np.linspace(0, 255, 300), np.linspace(0, 255, 400), indexing="ij")
    pixels = np.stack([down, right, np.zeros_like(down)], -1).astype(np.uint8)
    draws = np.array([0.6, 0.3, 0.8, 0.2])
    found = File("x", encoded(pixels, form), tmp_path).decode(random_part(24, draws)).astype(float)
    left, top, across, bottom = part_of(400, 300, draws)
    expected = np.linspace(top, bottom, 49)[1::2] * 255 / 299
    np.testing.assert_allclose(found[0].mean(1), expected, atol=4)
    expected = np.linspace(left, across, 49)[1::2] * 255 / 399
    np.testing.assert_allclose(found[1].mean(0), expected, atol=4)


def test_random_parts_are_drawn_for_the_whole_batch_whatever_the_processes(source):
    data = split(load(source, image_size=SIZE, stream=True), seed=0).train
    options = {"flip": True, "resized_crops": True}
    whole = list(batches(data, 10, (0, 1), **options))
    again = list(batches(data, 10, (0, 2), **options))
    assert not torch.equal(whole[0].inputs, again[0].inputs)
    shares = []
    for rank in range(3):
        processes = Processes(torch.device("cpu"))
        processes.rank, processes.count = rank, 3
        shares.append(list(batches(data, 10, (0, 1), processes=processes, **options)))
    for step, batch in enumerate(whole):
        assert torch.equal(torch.cat([share[step].inputs for share in shares]), batch.inputs)


def test_evaluation_sees_a_closer_centre(tmp_path):
    ring = np.zeros((80, 80, 3), dtype=np.uint8)
    ring[8:-8, 8:-8] = 200
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for index in range(6):
            Image.fromarray(ring).save(tmp_path / name / f"{index}.png")
    data = load(tmp_path, image_size=SIZE, stream=True)
    assert data.pixels(slice(0, 1))[0, 0, 0, 0] == 0
    closer = data.zoomed(80 / 64).pixels(slice(0, 1))
    assert closer.min() > 150  # the filter looks a little beyond what is cut


def test_an_imagenet_recipe_streams_and_learns(source, capsys, tmp_path, monkeypatch):
    name = "imagenet-resnet18-1w32a"
    assert all(found.recipe.resized_crops for key, found in PUBLISHED.items() if key.startswith("imagenet"))
    # Its rate is for batches of 1024 images.
    gentle = replace(PUBLISHED[name].recipe, learning_rate=0.02, batch_size=8)
    monkeypatch.setitem(PUBLISHED, name, PUBLISHED[name]._replace(recipe=gentle))
    arguments = [
        "train", "--json", "--dataset", str(source), "--recipe", name, "--image-size", "32",
        "--model", "convolutional:8", "--method", "ste", "--epochs", "12", "--checkpoint", str(tmp_path),
    ]  # fmt: skip
    assert main(arguments) == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert run["recipe"]["resized_crops"]
    assert run["test"]["mean_network"] == 1.0
    assert main(arguments) == 0  # taken up from its checkpoint
    (again,) = json.loads(capsys.readouterr().out)["runs"]
    assert again["test"] == run["test"]


def test_other_files_are_another_run(tmp_path):
    path = write_folder(tmp_path / "set", FILES)
    settings = recipe("ste", epochs=1)

    def run():
        parts = split(load(path, image_size=SIZE, stream=True), seed=0)
        return train(parts, settings, model="multilayer:4", checkpoint=tmp_path / "kept").result

    run()
    (path / "train/red/00.png").write_bytes(encoded(np.zeros((20, 30, 3), dtype=np.uint8)))
    with pytest.raises(ValueError, match="belongs to another run: its data"):
        run()


def test_a_corrupt_image_is_named_when_its_batch_comes(tmp_path):
    path = write_folder(tmp_path / "set", {**FILES, "train/red/03.jpeg": b"no image"})
    data, before = load(path, image_size=SIZE, stream=True), threading.active_count()
    with pytest.raises(ValueError, match=r"red/03\.jpeg is not a readable image"):
        list(batches(data, 8, (0, 1)))
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stream": True}, "image_size must be given for images that are streamed"),
        ({"stream": True, "image_size": 2}, "image_size must be at least 4"),
    ],
)
def test_streams_of_no_size_are_refused(source, options, words):
    with pytest.raises(ValueError, match=words):
        load(source, **options)


def test_compressed_tars_and_other_data_cannot_be_streamed(tmp_path):
    path = write_tar(tmp_path / "set.tar.gz", FILES)
    with pytest.raises(ValueError, match=r"set\.tar\.gz is compressed.*decompress or unpack it"):
        load(path, image_size=SIZE, stream=True)
    with pytest.raises(ValueError, match=r"stream, .* belongs to a folder or a tar"):
        load("digits", stream=True)
    for dataset in ("digits", tmp_path):
        with pytest.raises(TypeError, match="stream must be True or False; found 'yes'"):
            load(dataset, stream="yes")


def test_a_tar_that_shrinks_is_noticed(tmp_path):
    path = write_tar(tmp_path / "set.tar", FILES)
    data = load(path, image_size=SIZE, stream=True)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"set\.tar ends within it"):
        data.pixels(slice(None))
    with pytest.raises(ValueError, match="truncated or damaged"):
        load(path, image_size=SIZE, stream=True)


def test_resized_crops_need_streamed_images(source):
    parts = split(load(source, image_size=SIZE), seed=0)
    with pytest.raises(ValueError, match=r"resized_crops must be False .* stream=True"):
        train(parts, recipe("ste", epochs=1, resized_crops=True), model="multilayer:4")
    with pytest.raises(ValueError, match="crop_padding must be 0 beside resized_crops"):
        recipe("ste", crop_padding=2, resized_crops=True)


def test_items_made_ahead_are_the_same_and_their_errors_arrive_in_their_place():
    assert list(ahead(iter(range(7)))) == list(range(7))

    def broken():
        yield 1
        raise KeyError("after one")

    items = ahead(broken())
    assert next(items) == 1
    with pytest.raises(KeyError, match="after one"):
        next(items)
    endless = ahead(iter(int, 1))
    assert next(endless) == 0
    endless.close()
