"""Checkpoints: whole or previous after a crash, refused when damaged or foreign, exact when resumed."""

import io
import os
import signal
import subprocess
import sys

import pytest
import torch

from vispa.training import checkpoint
from vispa.training.data.labelled_images import digits
from vispa.training.data.split import split
from vispa.training.loop import Stop
from vispa.training.recipes import SHOWN_METHODS, recipe
from vispa.training.run import train

# Those of the demonstration, and some whose buffers change in training.
METHODS = (*SHOWN_METHODS, "rbnn", "proxquant", "biper", "bayesbinn")
SETTINGS = {"method": "vispa", "seed": 3}
EPOCHS = 4


@pytest.fixture(scope="module")
def parts():
    return split(digits(), seed=0, train_size=60)


def short(method):
    return recipe(method, epochs=EPOCHS, samples=2, batch_size=32)


def assert_same_run(first, second):
    assert first.result.history == second.result.history
    assert first.result.best == second.result.best
    # nan where nothing is sampled, and nan differs from itself
    assert str(first.result.evaluation) == str(second.result.evaluation)
    ours, theirs = first.network.state_dict(), second.network.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def content(path):
    return torch.load(io.BytesIO(path.read_bytes()[checkpoint.HEADER_BYTES :]), weights_only=True)


def assert_same_content(first, second):
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for name in first:
            assert_same_content(first[name], second[name])
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second)
        for ours, theirs in zip(first, second, strict=True):
            assert_same_content(ours, theirs)
    else:
        assert first == second


def stop_after(epochs, error):
    def callback(epoch):
        if epoch.epoch == epochs:
            raise error

    return callback


@pytest.fixture(scope="module")
def uninterrupted(parts, tmp_path_factory):
    """One whole run a method, with the bytes of its last checkpoint."""
    folder = tmp_path_factory.mktemp("whole")
    return {m: (train(parts, short(m), seed=1, checkpoint=folder / m), folder / m) for m in METHODS}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("epochs", [1, 3])
@pytest.mark.parametrize("error", [KeyboardInterrupt, StopIteration])
def test_resumed_run_equals_the_uninterrupted_one(parts, uninterrupted, tmp_path, method, epochs, error):
    path = tmp_path / "run"
    whole, whole_path = uninterrupted[method]
    options = {"seed": 1, "checkpoint": path}
    if error is KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt):
            train(parts, short(method), callback=stop_after(epochs, error), **options)
    else:
        stopped = train(parts, short(method), callback=stop_after(epochs, error), **options)
        assert stopped.result.stop is Stop.CALLBACK
        assert stopped.result.evaluation is None
    torch.randn(17)  # the caller's generator has no part in it
    resumed = train(parts, short(method), **options)
    assert len(resumed.result.history) == EPOCHS
    assert_same_run(resumed, whole)
    # Optimizer, scheduler and generator too, not only what was evaluated.
    assert_same_content(content(path), content(whole_path))


def test_interruption_within_an_epoch_loses_that_epoch_alone(parts, uninterrupted, tmp_path, monkeypatch):
    path = tmp_path / "run"
    from vispa.training import loop

    step, calls = loop._step, []

    def interrupted(*arguments):
        calls.append(None)
        if len(calls) == 4:  # the second batch of the second epoch
            raise KeyboardInterrupt
        return step(*arguments)

    monkeypatch.setattr(loop, "_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(parts, short("vispa"), seed=1, checkpoint=path)
    monkeypatch.undo()
    assert_same_run(train(parts, short("vispa"), seed=1, checkpoint=path), uninterrupted["vispa"][0])


def test_time_limit_keeps_the_test_images_and_can_be_resumed(parts, uninterrupted, tmp_path, monkeypatch):
    path = tmp_path / "run"
    from vispa.training import loop

    clock = iter(range(1000))
    monkeypatch.setattr(loop.time, "monotonic", lambda: float(next(clock)))
    # One reading at the start, one a batch: the limit passes within the second epoch of two batches.
    limited = train(parts, short("bernoulli"), seed=1, checkpoint=path, max_seconds=4.0)
    monkeypatch.undo()
    assert limited.result.stop is Stop.TIME_LIMIT
    assert limited.result.evaluation is None
    assert len(limited.result.history) == 1
    assert_same_run(train(parts, short("bernoulli"), seed=1, checkpoint=path), uninterrupted["bernoulli"][0])


def test_finished_run_is_read_back_without_training(parts, uninterrupted, monkeypatch):
    from vispa.training import loop

    whole, path = uninterrupted["ste"]
    monkeypatch.setattr(loop, "_step", lambda *_: pytest.fail("trained again"))
    assert_same_run(train(parts, short("ste"), seed=1, checkpoint=path), whole)


def test_another_run_is_refused_naming_file_and_setting(parts, uninterrupted):
    _, path = uninterrupted["vispa"]
    for change, options in (
        ("seed", {"seed": 2}),
        ("model", {"seed": 1, "model": "multilayer"}),
    ):
        with pytest.raises(ValueError, match=f"another run: its {change}") as caught:
            train(parts, short("vispa"), checkpoint=path, **options)
        assert str(path) in str(caught.value)
    with pytest.raises(ValueError, match="its learning_rate"):
        train(
            parts,
            recipe("vispa", epochs=EPOCHS, samples=2, batch_size=32, learning_rate=0.5),
            seed=1,
            checkpoint=path,
        )
    with pytest.raises(ValueError, match="its data"):
        train(split(digits(), seed=9, train_size=60), short("vispa"), seed=1, checkpoint=path)


def test_every_damage_is_found_and_the_file_named(tmp_path):
    path = tmp_path / "run"
    checkpoint.save(path, SETTINGS, {"weights": torch.arange(50.0)})
    content = path.read_bytes()
    damaged = [content[:0], content[:10], content[:60], content[:-1], content + b"x", b"PK" + content]
    for position in range(0, len(content), 97):
        flipped = bytearray(content)
        flipped[position] ^= 1
        damaged.append(bytes(flipped))
    for bad in damaged:
        path.write_bytes(bad)
        with pytest.raises(ValueError, match="run is") as caught:
            checkpoint.load(path, SETTINGS)
        assert str(path) in str(caught.value)


def test_foreign_torch_file_is_refused_without_being_unpickled(tmp_path):
    path = tmp_path / "foreign.pt"
    torch.save({"weights": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="not a vispa checkpoint"):
        checkpoint.load(path, SETTINGS)


def test_crash_while_writing_leaves_the_previous_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "run"
    checkpoint.save(path, SETTINGS, {"epoch": 1})
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        checkpoint.save(path, SETTINGS, {"epoch": 2})
    monkeypatch.undo()
    assert checkpoint.load(path, SETTINGS) == {"epoch": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from vispa.training import checkpoint

path, where = Path(sys.argv[1]), sys.argv[2]
moments = {"write": (os, "fsync"), "rename": (Path, "replace"), "folder": (checkpoint, "_sync_folder")}

def die(*arguments):
    if where == "write":  # half of the bytes have left the process
        os.ftruncate(arguments[0], os.fstat(arguments[0]).st_size // 2)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(*moments[where], die)
checkpoint.save(path, {"seed": 3}, {"weights": torch.ones(1000)})
"""


@pytest.mark.parametrize(("where", "survivor"), [("write", 0.0), ("rename", 0.0), ("folder", 1.0)])
def test_kill_nine_while_writing_leaves_a_whole_checkpoint(tmp_path, where, survivor):
    path = tmp_path / "run"
    checkpoint.save(path, {"seed": 3}, {"weights": torch.zeros(1000)})
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path), where], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    state = checkpoint.load(path, {"seed": 3})
    assert state["weights"].unique().tolist() == [survivor]
    # The next write takes over what the killed process left.
    checkpoint.save(path, {"seed": 3}, {"weights": torch.full((10,), 2.0)})
    assert checkpoint.load(path, {"seed": 3})["weights"].unique().tolist() == [2.0]
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]


def test_rarer_checkpoints_resume_from_the_last_one_written(parts, uninterrupted, tmp_path, monkeypatch):
    path, written = tmp_path / "run", []
    save = checkpoint.save
    monkeypatch.setattr(
        checkpoint, "save", lambda *rest: (written.append(len(rest[2]["history"])), save(*rest))
    )
    options = {"seed": 1, "checkpoint": path, "checkpoint_every": 3}
    train(parts, short("ste"), callback=stop_after(1, StopIteration), **options)
    assert not path.exists()
    assert_same_run(train(parts, short("ste"), **options), uninterrupted["ste"][0])
    assert written == [3, 4]


def test_impossible_paths_are_refused_before_training(parts, tmp_path):
    with pytest.raises(ValueError, match="is a folder"):
        train(parts, short("float"), checkpoint=tmp_path)
    with pytest.raises(ValueError, match="does not"):
        train(parts, short("float"), checkpoint=tmp_path / "absent" / "run")
