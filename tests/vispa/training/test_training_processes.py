"""Two processes train the network that one would, end together when one dies, and go on from a checkpoint."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vispa.training.data.batches import batches
from vispa.training.data.labelled_images import digits
from vispa.training.data.split import split
from vispa.training.processes import Processes, from_environment

pytest.importorskip("lightning_fabric")
HERE = Path(__file__).parent
WORKER = HERE / "training_worker.py"
# Far more than a run takes, far less than the patience of a collective operation.
SECONDS = 240


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(**others):
    inherited = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([str(HERE.parents[2]), *([inherited] if inherited else [])])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **others}


def in_two_processes(folder, tasks):
    """Start both by hand: no launcher ends the one when the other dies.  Returns statuses and errors."""
    common = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "WORLD_SIZE": "2",
        "NODE_RANK": "0",
    }
    started = [
        subprocess.Popen(
            [sys.executable, str(WORKER), str(folder), tasks],
            env=environment(**common, RANK=str(rank), LOCAL_RANK=str(rank)),
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        errors = [process.communicate(timeout=SECONDS)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    return [process.returncode for process in started], errors


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory):
    folder = tmp_path_factory.mktemp("by-hand")
    return folder, *in_two_processes(folder, "whole,nan,die")


@pytest.fixture(scope="module")
def by_torchrun(tmp_path_factory):
    folder = tmp_path_factory.mktemp("torchrun")
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        "--max-restarts", "1", str(WORKER), str(folder), "die-once",
    ]  # fmt: skip
    # Without it torchrun gives restarted processes the addresses of those that died.
    afresh = environment(TORCH_DISABLE_SHARE_RDZV_TCP_STORE="1")
    finished = subprocess.run(command, env=afresh, capture_output=True, text=True, timeout=SECONDS)
    assert finished.returncode == 0, finished.stderr
    return folder


def outcome(folder, task, rank):
    return json.loads((folder / f"{task}-{rank}.json").read_text())


def test_two_processes_follow_the_path_of_one(by_hand):
    from training_worker import run, summary

    alone = json.loads(json.dumps(summary(run())))
    first, second = (outcome(by_hand[0], "whole", rank) for rank in range(2))
    assert first == second
    for ours, theirs in zip(alone["history"], first["history"], strict=True):
        # Sums in another order: float32 keeps seven digits, eight steps lose one or two.
        assert ours == pytest.approx(theirs, rel=1e-4)
    assert alone["history"][0][1] > alone["history"][-1][1]
    assert alone["evaluation"] == pytest.approx(first["evaluation"])


def test_a_process_that_dies_ends_the_other_with_an_error(by_hand):
    folder, statuses, errors = by_hand
    assert statuses[1] == -9
    assert statuses[0] > 0
    assert "Error" in errors[0]
    assert not (folder / "die-0.json").exists()


def test_nan_in_one_share_stops_both_and_one_names_it(by_hand):
    messages = [outcome(by_hand[0], "nan", rank) for rank in range(2)]
    assert all("the loss became nan in epoch 1" in message for message in messages)
    assert sorted("in another process" in message for message in messages) == [False, True]
    assert any("the inputs of the network" in message for message in messages)


def test_torchrun_takes_a_run_up_again_bit_for_bit(by_hand, by_torchrun):
    assert (by_torchrun / "died").exists()
    for rank in range(2):
        assert outcome(by_torchrun, "die-once", rank) == outcome(by_hand[0], "whole", rank)


def test_one_process_goes_on_where_two_stopped(by_torchrun):
    from training_worker import run, summary

    taken_up = json.loads(json.dumps(summary(run(checkpoint=by_torchrun / "run.checkpoint"))))
    assert taken_up["history"] == outcome(by_torchrun, "die-once", 0)["history"]
    assert taken_up["network"] == outcome(by_torchrun, "die-once", 0)["network"]


@pytest.mark.parametrize("count", [2, 3, 5])
def test_shares_are_disjoint_and_whole_and_weights_restore_the_mean(count):
    data = split(digits(), seed=0, train_size=97).train
    whole = list(batches(data, 40, (0, 1), crop_padding=2, flip=True))
    shares = []
    for rank in range(count):
        processes = Processes(torch.device("cpu"))
        processes.rank, processes.count = rank, count
        shares.append(list(batches(data, 40, (0, 1), crop_padding=2, flip=True, processes=processes)))
    for step, batch in enumerate(whole):
        parts = [share[step] for share in shares]
        assert torch.equal(torch.cat([part.inputs for part in parts]), batch.inputs)
        assert torch.equal(torch.cat([part.labels for part in parts]), batch.labels)
        losses = [part.weight * part.inputs.double().mean() for part in parts]
        torch.testing.assert_close(sum(losses) / count, batch.inputs.double().mean())


def test_environment_and_device_are_checked(monkeypatch):
    assert from_environment("cpu").count == 1
    with pytest.raises(ValueError, match="device must be cpu, cuda or cuda:N; found 'abacus'"):
        from_environment("abacus")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(ImportError, match="extra `distributed`"):
        from_environment("cpu")
