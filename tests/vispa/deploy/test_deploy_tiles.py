"""The tile kernel: permission to use it, its two ways of counting, threads, forks, and other processors."""

import ctypes
import multiprocessing
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import vispa
from tests.vispa.deploy.kernels_here import tiles_first  # noqa: F401  a fixture
from vispa.deploy import layout, processor, stretches
from vispa.deploy.bits import PackSigns
from vispa.deploy.calls import Call
from vispa.deploy.kernels.extent import BY_TILES, BY_WORDS, CALLS, STEP, TIMES
from vispa.deploy.layers import PackedConv2d
from vispa.deploy.layout import KERNELS, best_kernel, checked_kernel

with_tiles = pytest.mark.skipif(
    not processor.may_use_tiles(), reason="no AMX here, or the system does not let this process use it"
)
NEVER = 2**60


def binary(inputs, outputs, size, seed=0, **options):
    layer = nn.Conv2d(inputs, outputs, size, bias=False, **options)
    generator = torch.Generator().manual_seed(seed)
    layer.weight.data = torch.randint(2, layer.weight.shape, generator=generator) * 2.0 - 1.0
    return layer


def counts(layer, bits, kernel, way=BY_TILES):
    """Numbers of differing signs by one kernel, of the tile kernel by one of its ways."""
    packed = PackedConv2d(layer, kernel=kernel)
    call = Call(bits, packed.words, packed.window.flat(), kernel)
    sums = call.empty(packed.channels, torch.int32)
    function, arguments = call.to_sums(sums)
    extents = next(array for array in arguments if array.dtype == np.int64 and array.shape[1:] == (7,))
    if kernel == "tile":
        extents[TIMES, :2] = NEVER
        extents[TIMES, way] = 0
    call.run((function, arguments))
    assert torch.all(sums >= 0)
    return sums, extents


@with_tiles
@settings(max_examples=40)
@given(
    inputs=st.one_of(st.integers(1, 70), st.sampled_from([128, 192, 320, 2048])),
    outputs=st.one_of(st.integers(1, 70), st.sampled_from([128])),
    window=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.sampled_from([1, 1, 1, 2, 3]),
    dilation=st.sampled_from([1, 1, 2]),
    groups=st.sampled_from([1, 1, 2]),
    size=st.tuples(st.integers(5, 20), st.integers(5, 40)),
    images=st.integers(0, 4),
    seed=st.integers(0, 2**31),
)
def test_both_ways_count_what_the_portable_kernel_counts(
    inputs, outputs, window, stride, dilation, groups, size, images, seed
):
    if groups == 2:
        inputs, outputs = -(-inputs // 64) * 64, -(-outputs // 64) * 64
    layer = binary(
        inputs, outputs, window, seed, stride=stride, dilation=dilation, groups=groups, padding=window[0] // 2
    )
    generator = torch.Generator().manual_seed(seed)
    bits = PackSigns()(torch.randn(images, inputs, *size, generator=generator))
    expected, _ = counts(layer, bits, "portable")
    for way in (BY_TILES, BY_WORDS):
        found, extents = counts(layer, bits, "tile", way)
        assert torch.equal(found, expected)
        assert extents[TIMES, way] < NEVER
        assert extents[TIMES, CALLS] == 1


@with_tiles
@pytest.mark.parametrize(
    ("inputs", "outputs", "size", "images", "lines"),
    [
        (64, 96, (56, 56), 1, True),  # one line of bytes
        (64, 32, (150, 150), 1, True),  # more lines than half of a cache holds
        (512, 512, (7, 7), 8, False),  # copies of windows, through all images
        (96, 96, (7, 7), 1, False),  # three words a pixel: no steps of two
        (512, 96, (1, 1), 1, True),
    ],
)
def test_pixels_lie_in_lines_where_that_costs_less(inputs, outputs, size, images, lines):
    layer = binary(inputs, outputs, 3, padding=1)
    bits = PackSigns()(torch.randn(images, inputs, *size, generator=torch.Generator().manual_seed(1)))
    found, extents = counts(layer, bits, "tile")
    assert torch.equal(found, counts(layer, bits, "portable")[0])
    assert (extents[BY_TILES, STEP] > 0) == lines


@with_tiles
def test_calls_go_on_by_the_way_that_was_faster_and_try_the_other_now_and_then():
    layer = PackedConv2d(binary(64, 64, 3, padding=1), kernel="tile", outputs="bits")
    call = Call(PackSigns()(torch.randn(1, 64, 8, 8)), layer.words, layer.window.flat(), "tile")
    outputs = call.empty(2, torch.int32)
    work = call.to_bits(layer.limits, layer.flips, outputs)
    times = work[1][-3][TIMES]
    for slow, fast in ((BY_TILES, BY_WORDS), (BY_WORDS, BY_TILES)):
        times[slow], times[fast], times[CALLS] = NEVER, 1000, 0
        call.run(work)
        assert times[slow] == NEVER
        assert times[fast] != 1000
        times[CALLS] = 63
        call.run(work)
        assert times[slow] < NEVER
    # one call that was interrupted changes little
    times[BY_TILES], times[BY_WORDS] = 8, NEVER
    times[CALLS] = 0
    call.run(work)
    assert times[BY_TILES] == 10


@with_tiles
def test_little_work_is_left_to_words(monkeypatch):
    monkeypatch.setattr(stretches, "LONG", 16)
    monkeypatch.setattr(stretches, "MANY", 7)
    for layer, size, dtype in (
        (binary(64, 32, 3), 9, np.uint64), (binary(64, 32, 1), 9, np.uint32), (binary(512, 32, 1), 2, np.uint32)
    ):  # fmt: skip
        packed = PackedConv2d(layer, kernel="tile")
        inputs = torch.randn(1, layer.in_channels, size, size, generator=torch.Generator().manual_seed(2))
        call = Call(PackSigns()(inputs), packed.words, packed.window.flat(), "tile")
        assert call.layer[3].dtype == dtype
        assert torch.equal(packed(inputs), packed.reference(inputs))


@with_tiles
def test_worker_threads_and_their_tiles_do_not_meet():
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(64, 64, 3, padding=1),
        nn.BatchNorm2d(64),
        vispa.SignActivation(),
        nn.Conv2d(64, 70, 3),
    ]
    model = vispa.harden(vispa.binarize(nn.Sequential(vispa.SignActivation(), *layers), keep=())).eval()
    packed = vispa.pack(model, kernel="tile")
    images = torch.randn(6, 2, 64, 12, 12)
    expected = [packed(image) for image in images]
    differ = []

    def work(number):
        differ.extend(not torch.equal(packed(images[number]), expected[number]) for _ in range(20))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(differ) == 120
    assert not any(differ)


def _in_a_fork(layer, bits, connection):
    connection.send(counts(layer, bits, "tile")[0].sum().item())


@with_tiles
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_uses_tiles_too():
    layer, bits = binary(64, 32, 3), PackSigns()(torch.ones(1, 64, 9, 9))
    expected = counts(layer, bits, "tile")[0].sum().item()
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_in_a_fork, args=(layer, bits, sender))
    process.start()
    assert receiver.poll(60)
    assert receiver.recv() == expected
    process.join()
    assert process.exitcode == 0


IN_ANOTHER_PROCESS = """
import pickle, sys, torch
packed = pickle.loads(sys.stdin.buffer.read())
inputs = torch.linspace(-1, 1, 64 * 36).reshape(1, 64, 6, 6)
assert torch.equal(packed(inputs), packed.reference(inputs))
"""


@with_tiles
def test_a_pickled_layer_asks_for_tiles_again():
    packed = pickle.dumps(PackedConv2d(binary(64, 32, 3), kernel="tile"))
    environment = {"PATH": "", "PYTHONPATH": ":".join(sys.path)}
    command = [sys.executable, "-c", IN_ANOTHER_PROCESS]
    result = subprocess.run(command, input=packed, env=environment, capture_output=True)
    assert result.returncode == 0, result.stderr.decode()


@pytest.fixture
def refused(monkeypatch):
    """A system that gives no permission, on a processor that has the instructions."""
    asked = []

    class System:
        @staticmethod
        def syscall(*numbers):
            asked.append([number.value for number in numbers])
            return -1

    monkeypatch.setattr(processor, "has", lambda *features: True)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: System)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(processor.platform, "machine", lambda: "x86_64")
    processor.may_use_tiles.cache_clear()
    yield asked
    processor.may_use_tiles.cache_clear()


def test_words_are_counted_where_the_system_refuses_tiles(refused, monkeypatch):
    assert not processor.may_use_tiles()
    assert refused == [[158, 0x1023, 18]]
    monkeypatch.setattr(layout, "has", lambda *features: True)
    assert best_kernel() == "vector"
    assert checked_kernel("auto") == "vector"
    with pytest.raises(ValueError, match=r"'auto' or one of 'vector', .*'tile' needs a processor with AMX"):
        PackedConv2d(binary(32, 32, 1), kernel="tile")
    # a layer that was made where tiles are
    packed = PackedConv2d(binary(32, 32, 1), kernel="portable")
    packed.kernel = "tile"
    inputs = torch.randn(1, 32, 3, 3)
    assert torch.equal(packed(inputs), packed.reference(inputs))


@pytest.mark.parametrize(
    ("platform", "machine"), [("darwin", "x86_64"), ("win32", "AMD64"), ("linux", "aarch64")]
)
def test_other_systems_are_not_asked(refused, monkeypatch, platform, machine):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(processor.platform, "machine", lambda: machine)
    assert not processor.may_use_tiles()
    assert refused == []


def test_processors_without_tiles_are_told_what_runs(monkeypatch):
    monkeypatch.setattr(processor, "_features", lambda: {"avx2": True})
    processor.may_use_tiles.cache_clear()
    try:
        assert best_kernel() == "table"
        monkeypatch.setattr(processor, "_features", dict)
        assert best_kernel() == "portable"
        with pytest.raises(
            ValueError, match=r"one of 'vector', 'portable': 'table' needs a processor with AVX2"
        ):
            checked_kernel("table")
    finally:
        processor.may_use_tiles.cache_clear()
    assert next(iter(KERNELS)) == "tile"
