"""The drivers of every board with an emulator, each built with both compilers, booted, and put to work."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from edgelearn.board import Board, Core, MemoryKind, board_names, load_board
from edgelearn.firmware.emulator import QEMU_PROGRAMS, RunningEmulator, start
from edgelearn.firmware.toolchain import TOOLCHAINS, BuildResult, build_project
from tests.support.echo import RING_BYTES, EchoClient, write_echo_project
from tests.support.tools import require_tool, require_toolchain

BOARDS = [name for name in board_names() if (b := load_board(name)).emulator and b.port.sources]


class Running(NamedTuple):
    board: Board
    toolchain: str
    built: BuildResult
    emulator: RunningEmulator


@pytest.fixture(scope="module", params=[f"{board}-{toolchain}" for board in BOARDS for toolchain in TOOLCHAINS])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    name, _, toolchain = request.param.rpartition("-")
    board = load_board(name)
    require_toolchain(toolchain, name)
    if board.emulator and board.emulator.engine == "qemu":
        require_tool(QEMU_PROGRAMS[board.core])
    folder = write_echo_project(tmp_path_factory.mktemp(request.param), board)
    sanitize = board.core is Core.HOST and toolchain == "gnu"
    built = build_project(folder, core=board.core, toolchain=toolchain, sanitize=sanitize)
    with start(board, built.elf) as emulator:
        yield Running(board, toolchain, built, emulator)
        emulator.check()
        assert "Sanitizer" not in emulator.output
        assert "runtime error" not in emulator.output
    assert not emulator.alive


def test_every_byte_comes_back(running: Running) -> None:
    size = 100_000 if running.toolchain == "gnu" else 10_000
    data = random.Random(1).randbytes(size)
    with EchoClient(running.emulator.url) as client:
        assert client.echo(data) == data
        memory = client.memory()
    assert memory.overruns == 0
    if running.board.core is not Core.HOST:
        assert 0 < memory.ring <= RING_BYTES


def test_nothing_is_lost_while_the_device_is_busy_and_the_ring_is_full(running: Running) -> None:
    data = random.Random(2).randbytes(4 * RING_BYTES)
    with EchoClient(running.emulator.url) as client:
        assert client.echo_while_busy(20_000_000, data) == data
        memory = client.memory()
    assert memory.overruns == 0
    assert memory.ring == (0 if running.board.core is Core.HOST else RING_BYTES)


def test_clients_come_one_after_another(running: Running) -> None:
    for number in range(3):
        with EchoClient(running.emulator.url) as client:
            assert client.echo(bytes([number] * 100)) == bytes([number] * 100)


def test_counter_counts_every_instruction(running: Running) -> None:
    emulator = running.board.emulator
    assert emulator is not None
    with EchoClient(running.emulator.url) as client:
        if not emulator.ticks_per_instruction:
            assert client.loop_ticks(1000) == 0
            return
        counts = {
            turns: [round(client.loop_ticks(turns) / emulator.ticks_per_instruction) for _ in range(2)]
            for turns in (1, 10, 1_000, 100_000, 5_000_000)
        }
    around = counts[1][0] - 4
    assert 0 < around < 20, "calling the counter twice takes a few instructions"
    assert counts == {turns: [4 * turns + around] * 2 for turns in counts}


def test_counter_says_its_speed(running: Running) -> None:
    board = running.board
    speeds = {board.counter.hz}
    if "stm32f4_clock.c" in board.port.sources:
        # QEMU before 9.2 has no clock controller for it: the firmware finds none and stays on the 16 MHz oscillator.
        speeds.add(16_000_000 // board.counter.cycles_per_tick)
    with EchoClient(running.emulator.url) as client:
        assert client.counter_hz() in speeds


def test_stack_mark_and_static_ram(running: Running) -> None:
    with EchoClient(running.emulator.url) as client:
        before = client.memory()
        client.use_stack(2000)
        after = client.memory()
        client.use_stack(10)
        assert client.memory() == after
    if running.board.core is Core.HOST:
        assert before == after == (0, 0, 0, 0, 0)
        return
    assert before.stack_size == running.board.stack_bytes
    assert 32 <= before.stack < 1024
    assert before.stack + 1500 < after.stack < 3000
    # Start and end are on word boundaries, so the whole may be larger than the sum of the two sections.
    assert running.built.ram_bytes <= before.static_ram <= running.built.ram_bytes + 3


def test_stack_since_a_mark(running: Running) -> None:
    """What was used before does not count any more, but the most of all is not forgotten."""
    with EchoClient(running.emulator.url) as client:
        client.use_stack(2000)
        most = client.memory().stack
        for size in (1500, 300, 900, 0, 2000):
            client.mark_stack()
            at_rest = client.stack_since_mark()
            client.use_stack(size)
            used = client.stack_since_mark()
            assert client.stack_since_mark() == used
            assert client.memory().stack == most
            if running.board.core is Core.HOST:
                assert at_rest == used == most == 0
                continue
            assert 32 <= at_rest < 512
            # Of a frame of 2,048 bytes only so many are written, from its upper end on.
            assert size <= used <= max(at_rest, size + 512)


def test_sizes_are_those_of_the_image(running: Running) -> None:
    board, built = running.board, running.built
    assert 0 < built.flash_bytes < board.flash_bytes
    assert 0 < built.ram_bytes < board.ram_bytes
    sources = {symbol.name: symbol.source for symbol in built.symbols}
    assert sources["main"] == "runtime/main.c"
    assert sources["buffer"] == "runtime/main.c"
    assert sources["elearn_port_write"].startswith("port/")
    if board.core is not Core.HOST:
        (buffer,) = (symbol for symbol in built.symbols if symbol.name == "buffer")
        assert buffer.size_bytes == 256
        assert buffer.section == ".bss"
        for section in built.sections:
            kind = MemoryKind.RAM if section.in_ram else MemoryKind.FLASH
            (memory,) = (memory for memory in board.memory if memory.kind is kind)
            assert memory.origin <= section.address < memory.origin + memory.size_bytes
        assert sum(symbol.size_bytes for symbol in built.symbols) <= built.flash_bytes + built.ram_bytes


@pytest.mark.parametrize("name", BOARDS)
def test_make_alone_builds_the_same_sizes(name: str, tmp_path: Path) -> None:
    require_tool("make")
    require_toolchain("gnu", name)
    board = load_board(name)
    folder = write_echo_project(tmp_path, board)
    direct = build_project(folder, core=board.core, toolchain="gnu")
    make = ["make", "-s", "-C", str(folder), "CC=cc"] if board.core is Core.HOST else ["make", "-s", "-C", str(folder)]
    subprocess.run(make, check=True, capture_output=True)
    elf = folder / "build" / "firmware.elf"
    assert (folder / "build" / "command").is_file(), "make built it anew"
    from edgelearn.firmware.toolchain import section_sizes, symbol_sizes

    assert section_sizes(elf) == direct.sections
    assert symbol_sizes(elf) == direct.symbols
    before = elf.stat().st_mtime_ns
    subprocess.run(make, check=True, capture_output=True)
    assert elf.stat().st_mtime_ns == before, "nothing changed, nothing is built"
    if board.core is not Core.HOST:
        assert (folder / "build" / "firmware.hex").is_file()
        assert (folder / "build" / "firmware.bin").stat().st_size == direct.flash_bytes


def test_data_that_leaves_no_room_for_the_stack_is_refused(tmp_path: Path) -> None:
    from edgelearn.errors import BuildError

    for name in BOARDS:
        board = load_board(name)
        if board.core is Core.HOST:
            continue
        require_toolchain("gnu", name)
        size = board.ram_bytes - 100
        main = f"static volatile char big[{size}];\nint main(void);\nint main(void) {{ return big[1]; }}\n"
        folder = write_echo_project(tmp_path / name, board, main=main)
        with pytest.raises(BuildError) as caught:
            build_project(folder, core=board.core, toolchain="gnu")
        assert "no room for the stack" in caught.value.output
