"""Fixtures and settings that all tests share."""

import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "vispa", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("vispa")

# Folders and files whose tests start processes, compile for torch or other processors, or train to the end.
SLOW = (
    "benchmarks",
    "commands",
    "demo",
    "interop",
    "theory_checks",
    "training",
    "test_branch_and_bound",
    "test_campaign",
    "test_deploy_layers",
    "test_deploy_onnx",
    "test_deploy_pack",
    "test_docs",
    "test_kernel_cache",
    "test_nn_distributed",
    "test_nn_torch_features",
    "test_optional",
    "test_proof_campaign",
)

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real graphs and reference tensors, kept beside the checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the folder of real data, ../shared/data beside the checkout, is not here")
    return SHARED_DATA


def pytest_configure() -> None:
    """Hear interrupts, which a shell lets its background jobs ignore: tests press Ctrl-C themselves."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the slow tests; skip GPU tests, saying so, on a machine without one."""
    for item in items:
        place = item.path.relative_to(config.rootpath)
        if place.parts[0] == "tests" and not {*place.parts, place.stem}.isdisjoint(SLOW):
            item.add_marker("slow")
    if not any(item.get_closest_marker("gpu") for item in items):
        return
    import torch

    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
