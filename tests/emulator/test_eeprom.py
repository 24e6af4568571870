"""An Arduino library in simavr, which has the board's EEPROM: what was learned comes back after a loss of power.

The image is the one for the board, of Debian's core and compiler. Bytes of the EEPROM take their time there, are erased
and programmed each by itself, and power can be cut in the middle of any; every cut of the log itself, with other
geometries, is the part of tests/vectors/test_store.py.
"""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from click.testing import CliRunner

from edgelearn.board import Core, Output, board_names, load_board
from edgelearn.cli import main
from edgelearn.codegen import emit_arduino, plan_firmware
from edgelearn.errors import PortError
from edgelearn.firmware import arduino_build
from edgelearn.host.device import Device, open_device
from edgelearn.store import HEADER_BYTES, StoreLayout
from edgelearn.training import IntegerHead, make_head, plan_training
from tests.support.firmware import MODEL_HASH, write_project
from tests.support.lossy_proxy import assert_same_head
from tests.support.simavr import SimavrBoard, build_simavr
from tests.support.tools import require_tool
from tests.unit.training.heads import head_graph

BOARD = next(
    board
    for board in map(load_board, board_names())
    if board.core is Core.AVR and board.keeps(Output.ARDUINO) and board.nvm and not board.nvm.mapped
)
FEATURES, CLASSES, SCALE, ZERO_POINT = 16, 4, 0.05, -3
#: A byte of EEPROM that somebody else has left.
JUNK = 0x5A


class Sketch(NamedTuple):
    """What is on the board, and what it runs in.

    Attributes:
        head: the reference, as generated.
    """

    program: Path
    image: Path
    head: IntegerHead
    layout: StoreLayout

    def start(self, eeprom: Path, *, writes: int | None = None) -> SimavrBoard:
        return SimavrBoard(self.program, BOARD, self.image, eeprom, writes=writes)


@pytest.fixture(scope="module")
def sketch(tmp_path_factory) -> Sketch:
    require_tool("avr-gcc")
    assert arduino_build.DEBIAN_CORE.is_dir(), "the Debian package arduino-core-avr is not installed"
    folder = tmp_path_factory.mktemp("sketch")
    program = build_simavr(folder)
    rng = np.random.default_rng(9)
    weights = rng.normal(size=(CLASSES, FEATURES)).astype(np.float32) * 0.1
    bias = rng.normal(size=CLASSES).astype(np.float32)
    graph = head_graph(weights, bias, feature_scale=SCALE, feature_zero_point=ZERO_POINT)
    training = plan_training(graph, learning_rate=1e-3)
    plan = plan_firmware(graph, BOARD, training, model_hash=MODEL_HASH, labels=tuple("abcd"))
    assert plan.store is not None
    files = emit_arduino(plan, name="head")
    sources = [path for path in files if path.startswith("src/") and path.endswith((".c", ".cpp"))]
    assert BOARD.arduino is not None
    built = arduino_build.build_library(write_project(files, folder / "p"), fqbn=BOARD.arduino.fqbn, sources=sources)
    (image,) = (file for file in built.files if file.suffix == ".hex")
    return Sketch(program, image, make_head(training), plan.store)


def samples(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Bytes of the input, and classes."""
    rng = np.random.default_rng(seed)
    return rng.integers(-128, 128, (count, FEATURES)).astype(np.int8), rng.integers(0, CLASSES, count)


def taught(head: IntegerHead, x: np.ndarray, labels: np.ndarray) -> IntegerHead:
    """The reference after these."""
    head = copy.deepcopy(head)
    for features, label in zip(x, labels, strict=True):
        head.learn(features, head.judge(head.forward(features), label=int(label)), label=int(label))
    return head


def teach(device: Device, x: np.ndarray, labels: np.ndarray) -> None:
    for features, label in zip(x, labels, strict=True):
        device.train((features,), label=int(label))


def test_what_a_stream_has_taught_comes_back_after_a_loss_of_power(sketch, tmp_path):
    eeprom = tmp_path / "eeprom.bin"
    x, labels = samples(60, seed=1)
    np.savez(tmp_path / "d.npz", x=(x.astype(np.float32) - ZERO_POINT) * SCALE, y=labels)
    head = taught(sketch.head, x, labels)
    with sketch.start(eeprom) as running:
        argv = ["stream", "--port", running.url, "--data", tmp_path / "d.npz", "--train", "--lr", "1e-3"]
        argv += ["--runs", tmp_path / "runs"]
        done = CliRunner().invoke(main, [str(argument) for argument in argv], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        assert "60 samples" in done.output
    with sketch.start(eeprom) as running, open_device(running.url) as device:
        info = device.info
        assert (info.can_save, info.saves, info.step, info.saved_step) == (True, 1, 60, 60)
        assert_same_head(device, head)
        x, labels = samples(10, seed=2)
        teach(device, x[:8], labels[:8])
        device.save()
        teach(device, x[8:], labels[8:])
        statistics = device.statistics()
        assert (statistics.saves, statistics.saved_step, statistics.step) == (2, 68, 70)
        assert 0 < statistics.save_stack_bytes < BOARD.stack_bytes
    with sketch.start(eeprom) as running, open_device(running.url) as device:
        assert (device.info.saves, device.info.step) == (2, 68)
        assert_same_head(device, taught(head, x[:8], labels[:8]))
        device.forget()
    with sketch.start(eeprom) as running, open_device(running.url) as device:
        assert (device.info.saves, device.info.step) == (0, 0)
        assert_same_head(device, sketch.head)


@pytest.fixture(scope="module")
def saved_once(sketch, tmp_path_factory) -> Path:
    """An EEPROM with one head, of ten samples."""
    eeprom = tmp_path_factory.mktemp("saved") / "eeprom.bin"
    with sketch.start(eeprom) as running, open_device(running.url) as device:
        teach(device, *samples(10, seed=3))
        device.save()
    return eeprom


@pytest.mark.parametrize("before", ["blank", "junk"])
def test_a_power_cut_in_a_save_leaves_the_old_head_or_the_new(sketch, saved_once, before, tmp_path):
    first, second = samples(10, seed=3), samples(1, seed=4)
    old = taught(sketch.head, *first)
    new = taught(old, *second)
    start = tmp_path / "before.bin"
    used = sketch.layout.block_bytes
    content = saved_once.read_bytes()
    assert set(content[used:]) == {0xFF}
    start.write_bytes(content if before == "blank" else content[:used] + bytes([JUNK]) * (len(content) - used))

    def save(eeprom: Path, writes: int | None) -> None:
        with sketch.start(eeprom, writes=writes) as running, open_device(running.url) as device:
            assert_same_head(device, old)
            teach(device, *second)
            if writes is None:
                device.save()
                return
            with pytest.raises(PortError):
                device.save()
            running.wait_for_cut()

    def comes_back_with(eeprom: Path, step: int, head: IntegerHead) -> None:
        with sketch.start(eeprom) as running, open_device(running.url) as device:
            assert (device.info.step, device.info.saves) == (step, step - 9)
            assert_same_head(device, head)

    whole = tmp_path / "whole.bin"
    shutil.copy(start, whole)
    save(whole, None)
    comes_back_with(whole, 11, new)
    record = whole.read_bytes()[used : used + sketch.layout.record_bytes]
    # Whatever it looks like, because a power cut may have left a byte weak that reads as erased.
    erased = sketch.layout.block_bytes
    header = len(record[:HEADER_BYTES]) - record[:HEADER_BYTES].count(0xFF)
    writes = erased + len(record) - record.count(0xFF)
    for cut in {erased // 2, erased, erased + 40, writes - header, writes - 2, writes - 1}:
        eeprom = tmp_path / f"{cut}.bin"
        shutil.copy(start, eeprom)
        save(eeprom, cut)
        left = eeprom.read_bytes()
        assert left[:used] == content[:used], "the newest record is not touched"
        # Of the last byte the bits that had come over may have been all that were missing.
        is_whole = cut == writes - 1 and left[used:].startswith(record)
        comes_back_with(eeprom, *(11, new) if is_whole else (10, old))
