"""DistributedDataParallel and FSDP2 on two processes, against data parallelism by hand in one."""

import subprocess
import sys
from pathlib import Path

import pytest
from architectures import ARCHITECTURES

WORKER = Path(__file__).with_name("distributed_worker.py")
PARTS = ("data_parallel", "two_forwards", "sharded")


@pytest.fixture(scope="module")
def held(tmp_path_factory) -> set[str]:
    """What held in both processes; their errors in the message where something did not."""
    folder = tmp_path_factory.mktemp("distributed")
    processes = [
        subprocess.Popen(
            [sys.executable, str(WORKER), str(rank), str(folder / "meeting-point")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    errors = "\n".join(error[-4000:] for _, error in outputs)
    assert [process.returncode for process in processes] == [0, 0], errors
    return set(outputs[0][0].splitlines()) & set(outputs[1][0].splitlines())


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_two_processes_compute_what_one_does_by_hand(held, name, part):
    assert f"{name} {part}" in held
