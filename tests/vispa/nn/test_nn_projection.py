"""The projection in blocks, and compiled for one thread, against its formula."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vispa.nn.weights import projection
from vispa.nn.weights.projection import channel_squares, project_channels, project_rows, row_squares


@settings(max_examples=25)
@given(
    shape=st.sampled_from([(1, 4), (5, 3), (7, 2, 3), (4, 2, 3, 3)]),
    rank=st.integers(1, 4),
    residual=st.booleans(),
    channels_last=st.booleans(),
    channels=st.booleans(),
    radius=st.floats(0.01, 10.0),
    seed=st.integers(0, 2**31),
)
def test_projection_in_blocks_is_the_projection(shape, rank, residual, channels_last, channels, radius, seed):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(shape, generator=generator)
    if channels_last and len(shape) == 4:
        rows = rows.to(memory_format=torch.channels_last)
    factor = torch.randn(shape[0], rank, rows[0].numel(), generator=generator)
    own = torch.randn(shape, generator=generator) if residual else None
    squares = rows.flatten(1).square() + factor.square().sum(1) / 25.0
    if own is not None:
        squares += own.flatten(1).square() / 25.0
    if channels:
        squares = squares.mean(1, keepdim=True)
    norms = squares.sqrt() / radius
    expected = rows.flatten(1) / norms, factor / norms.unsqueeze(1)
    project = project_channels if channels else project_rows
    original = projection.BLOCK_BYTES
    try:
        projection.BLOCK_BYTES = 2 * 4 * factor.shape[2]  # two channels a block and thread
        project(rows, factor, own, 25.0, radius)
    finally:
        projection.BLOCK_BYTES = original
    torch.testing.assert_close(rows.flatten(1), expected[0])
    torch.testing.assert_close(factor, expected[1])
    squares = (channel_squares if channels else row_squares)(rows, factor, own, 25.0)
    torch.testing.assert_close(squares, torch.full_like(squares, radius**2))


@pytest.fixture
def one_thread(monkeypatch):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(projection, "COMPILED_BYTES", 0)
    yield
    torch.set_num_threads(threads)


def counted_kernel(monkeypatch) -> list[int]:
    kernel, calls = projection._kernel(), []

    def count(*arguments):
        calls.append(1)
        kernel(*arguments)

    monkeypatch.setattr(projection, "_kernel", lambda: count)
    return calls


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(5, 700), (3, 2, 3, 3)])
def test_compiled_projection_equals_that_of_torch(one_thread, monkeypatch, shape, dtype):
    torch.manual_seed(0)
    rows, factor = torch.randn(shape).to(dtype), torch.randn(shape[0], 3, 700 if shape[1] == 700 else 18)
    factor = factor.to(dtype)
    expected_rows, expected_factor = rows.clone(), factor.clone()
    monkeypatch.setattr(projection, "COMPILED_BYTES", 1 << 40)
    project_rows(expected_rows, expected_factor, None, 100.0, 0.3)
    monkeypatch.setattr(projection, "COMPILED_BYTES", 0)
    calls = counted_kernel(monkeypatch)
    project_rows(rows, factor, None, 100.0, 0.3)
    assert len(calls) == 1
    torch.testing.assert_close(rows, expected_rows)
    torch.testing.assert_close(factor, expected_factor)


def test_compiled_projection_is_seen_by_autograd(one_thread, monkeypatch):
    calls = counted_kernel(monkeypatch)
    rows = torch.randn(2, 3, requires_grad=True)
    factor = torch.randn(2, 2, 3, requires_grad=True)
    loss = rows.square().sum() + factor.square().sum()
    with torch.no_grad():
        project_rows(rows, factor, None, 1.0, 1.0)
    assert calls
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_what_the_kernel_cannot_take_goes_to_torch(one_thread, monkeypatch):
    calls = counted_kernel(monkeypatch)
    last = torch.randn(4, 2, 3, 3).to(memory_format=torch.channels_last)
    for rows, dtype in ((last, torch.float32), (torch.randn(4, 18).bfloat16(), torch.bfloat16)):
        factor = torch.randn(4, 2, 18, dtype=dtype)
        project_rows(rows, factor, None, 1.0, 1.0)
        squares = row_squares(rows, factor, None, 1.0)
        torch.testing.assert_close(squares, torch.ones_like(squares), atol=0.02, rtol=0)
    project_rows(torch.randn(4, 18), torch.randn(4, 2, 18), torch.randn(4, 18), 1.0, 1.0)
    assert not calls


def test_without_numba_torch_projects(one_thread, monkeypatch):
    monkeypatch.setattr(projection, "_kernel", lambda: None)
    rows, factor = torch.randn(2, 3), torch.randn(2, 2, 3)
    project_rows(rows, factor, None, 1.0, 1.0)
    squares = row_squares(rows, factor, None, 1.0)
    torch.testing.assert_close(squares, torch.ones_like(squares))


@pytest.mark.parametrize("compiled", [False, True])
def test_projection_leaves_rows_of_zeros_and_shows_nan(one_thread, monkeypatch, compiled):
    monkeypatch.setattr(projection, "COMPILED_BYTES", 0 if compiled else 1 << 40)
    rows, factor = torch.zeros(2, 3), torch.zeros(2, 2, 3)
    rows[0, 0], factor[1, 1, 2] = 3.0, torch.nan
    project_rows(rows, factor, None, 4.0, 1.0)
    assert rows.tolist() == [[1.0, 0.0, 0.0], [0.0, 0.0, pytest.approx(float("nan"), nan_ok=True)]]
    assert torch.isnan(factor).sum() == 2


def test_projection_of_channels_leaves_channels_of_zeros_and_shows_nan():
    rows, factor = torch.zeros(3, 2), torch.zeros(3, 2, 2)
    rows[0, 0], factor[1, 1, 1] = 3.0, torch.nan
    project_channels(rows, factor, None, 4.0, 1.0)
    torch.testing.assert_close(rows[0], torch.tensor([2.0**0.5, 0.0]))
    assert torch.isnan(rows[1]).all()
    assert torch.isnan(factor[1]).all()
    assert not rows[2].any()
    assert not factor[2].any()
