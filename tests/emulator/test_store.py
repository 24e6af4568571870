"""The store on every emulated board: what is saved is there at the next start, wherever the power was cut.

The power of each board whose flash QEMU emulates, or which is a process, is cut at random instants while it saves:
EDGELEARN_POWER_CUTS times (20; `make soak` asks for 200). What is under way then is one store instruction of many;
cuts inside of an erase are the part of tests/vectors/test_store.py.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from edgelearn.board import Core, Output, board_names, load_board
from edgelearn.errors import EmulatorError
from edgelearn.firmware.emulator import QEMU_PROGRAMS, start
from edgelearn.store import store_layout
from tests.support.keeper import PAYLOAD_BYTES, KeeperClient, Loaded, build_keeper, payload_crc
from tests.support.power_cuts import has_torn_record
from tests.support.tools import require_tool, require_toolchain

CUTS = int(os.environ.get("EDGELEARN_POWER_CUTS", "20"))
KEEPING = [name for name in board_names() if (b := load_board(name)).emulator and b.keeps(Output.BARE_METAL)]
#: Its flash cannot be written under QEMU: see its board file.
READ_ONLY = [name for name in KEEPING if (e := load_board(name).emulator) and not e.saves]
WRITABLE = [name for name in KEEPING if name not in READ_ONLY]
#: The real driver of flash that QEMU emulates, and the process of this machine.
CUT = [name for name in WRITABLE if load_board(name).core in (Core.CORTEX_M0, Core.HOST)]


def image_for(name: str, folder: Path) -> Path:
    board = load_board(name)
    require_toolchain("gnu", name)
    if board.core is not Core.HOST:
        require_tool(QEMU_PROGRAMS[board.core])
    return build_keeper(folder, board, sanitize=board.core is Core.HOST)


@pytest.mark.parametrize("name", WRITABLE)
def test_what_was_saved_is_there_at_the_next_start(name, tmp_path):
    board = load_board(name)
    assert board.nvm is not None
    image, kept = image_for(name, tmp_path / "p"), tmp_path / "flash, kept.bin"
    with start(board, image, nvm_file=kept) as running, KeeperClient(running.url) as client:
        assert client.load().value == 0
        for value in range(1, 6):
            assert client.save(value)
            assert client.load() == Loaded(value, payload_crc(value), value)
        now = running.read_nvm()
        assert len(now) == board.nvm.size_bytes
    assert kept.read_bytes() == now
    with start(board, image, nvm_file=kept) as running, KeeperClient(running.url) as client:
        assert client.load() == Loaded(5, payload_crc(5), 5)
        assert client.save(6)
        assert client.forget()
        assert client.load().value == 0
    with start(board, image, nvm_file=kept) as running, KeeperClient(running.url) as client:
        assert client.load().value == 0
        assert client.save(9)
    with start(board, image, nvm_file=kept) as running, KeeperClient(running.url) as client:
        assert client.load()[:2] == (9, payload_crc(9))
        running.cut_power()
    assert not running.alive


@pytest.mark.parametrize("name", WRITABLE)
def test_what_was_saved_stays_whatever_becomes_of_the_emulator(name, tmp_path):
    board = load_board(name)
    image, kept = image_for(name, tmp_path / "p"), tmp_path / "kept.bin"
    with start(board, image, nvm_file=kept) as running, KeeperClient(running.url) as client:
        assert kept.exists()
        for value in range(1, 6):
            assert client.save(value)
        deadline = time.monotonic() + 30
        while kept.read_bytes() != running.read_nvm():
            assert time.monotonic() < deadline, "the file is not brought up to date"
            time.sleep(0.05)
        os.kill(running.pid, signal.SIGKILL)
        while running.alive:
            time.sleep(0.01)
    with start(board, image, nvm_file=kept) as running, KeeperClient(running.url) as client:
        assert client.load() == Loaded(5, payload_crc(5), 5)
    assert [path.name for path in tmp_path.glob("kept*")] == ["kept.bin"]


@pytest.mark.parametrize("name", READ_ONLY)
def test_flash_that_cannot_be_written_says_so(name, tmp_path):
    board = load_board(name)
    with start(board, image_for(name, tmp_path)) as running, KeeperClient(running.url) as client:
        assert client.load()[::2] == (0, 0)
        assert not client.save(1)
        assert client.load()[::2] == (0, 0)
        assert not client.forget()


@pytest.mark.parametrize("name", CUT)
def test_power_cut_at_any_instant_leaves_the_old_or_the_new(name, tmp_path):
    board = load_board(name)
    image, kept = image_for(name, tmp_path / "p"), tmp_path / "kept.bin"
    assert board.nvm is not None
    layout = store_layout(board.nvm, [PAYLOAD_BYTES])
    rng = random.Random(17)
    last = sequence = torn = 0
    for _ in range(CUTS):
        with start(board, image, nvm_file=kept) as running, KeeperClient(running.url) as client:
            found = client.load()
            assert found.value in (last, last + 1), "neither the old nor the new"
            if found.value:
                assert found.crc == payload_crc(found.value)
            assert found.sequence in (sequence, sequence + 1)
            last, sequence = found.value, found.sequence
            client.start_counting(last + 1)
            time.sleep(rng.uniform(0.0, 0.06))
            running.cut_power()
            saved = client.rest()
            assert saved == list(range(last + 1, last + 1 + len(saved)))
            last, sequence = last + len(saved), sequence + len(saved)
        torn += has_torn_record(kept.read_bytes(), layout)
    if board.core is not Core.HOST:
        assert torn > 0, "no cut came while a record was written"
    assert last > 2 * CUTS, "it hardly saved anything"


def test_a_file_of_another_board_is_refused(tmp_path):
    name = WRITABLE[-1]
    image, kept = image_for(name, tmp_path / "p"), tmp_path / "kept.bin"
    kept.write_bytes(b"short")
    with pytest.raises(EmulatorError, match="does not hold the flash"):
        start(load_board(name), image, nvm_file=kept)


def test_a_file_that_cannot_be_written_is_refused_at_the_start(tmp_path):
    name = WRITABLE[-1]
    with pytest.raises(EmulatorError, match="cannot be kept") as caught:
        start(load_board(name), image_for(name, tmp_path / "p"), nvm_file=tmp_path / "nosuch" / "kept.bin")
    assert caught.value.cause == "No such file or directory"


def test_reading_flash_wants_a_file(tmp_path):
    name = WRITABLE[-1]
    with start(load_board(name), image_for(name, tmp_path)) as running, pytest.raises(EmulatorError, match="a file"):
        running.read_nvm()
