"""Starting and ending emulators, and what is said when they do not start."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from edgelearn import process
from edgelearn.board import load_board
from edgelearn.errors import EmulatorError, EmulatorMissingError
from edgelearn.firmware import emulator as emulator_module
from edgelearn.firmware.emulator import QEMU_PROGRAMS, require_emulator, start
from edgelearn.firmware.toolchain import build_project
from tests.support.echo import EchoClient, write_echo_project
from tests.support.tools import require_tool, require_toolchain


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_toolchain("gnu", "host")
    board = load_board("host")
    return build_project(write_echo_project(tmp_path_factory.mktemp("host"), board), core=board.core).elf


def script(folder: Path, text: str) -> Path:
    path = folder / "image"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_given_port_is_taken_and_given_back(image: Path) -> None:
    port = free_port()
    for _ in range(2):
        with start(load_board("host"), image, port=port) as emulator:
            assert emulator.url == f"socket://127.0.0.1:{port}"
            with EchoClient(emulator.url) as client:
                assert client.echo(b"hello") == b"hello"


def is_alive(pid: int) -> bool:
    # One that has ended and that nobody has waited for is a zombie.
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def wait_for_the_end_of(pid: int) -> None:
    deadline = time.monotonic() + 20
    while is_alive(pid):
        assert time.monotonic() < deadline, "it outlives the one who started it"
        time.sleep(0.01)


STARTER = """
import sys, threading
from pathlib import Path
from edgelearn.board import load_board
from edgelearn.firmware.emulator import start
running = []
# In a thread that ends: the emulator belongs to the process.
thread = threading.Thread(target=lambda: running.append(start(load_board(sys.argv[1]), Path(sys.argv[2]))))
thread.start()
thread.join()
print(running[0]._child.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="optional: looks at processes in /proc")
@pytest.mark.parametrize("name", ["host", "mps2-an386"])
def test_it_ends_with_a_program_that_is_killed(name: str, tmp_path: Path) -> None:
    board = load_board(name)
    require_toolchain("gnu", name)
    if board.core in QEMU_PROGRAMS:
        require_tool(QEMU_PROGRAMS[board.core])
    image = build_project(write_echo_project(tmp_path / "p", board), core=board.core).elf
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, name, str(image)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        time.sleep(0.1)
        assert is_alive(pid), "it does not end with the thread that started it"
        starter.kill()
        try:
            wait_for_the_end_of(pid)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_a_guard_that_is_released_does_nothing(tmp_path: Path) -> None:
    child = process.spawn(["sleep", "60"], log_path=tmp_path / "log")
    guard = process.Guard(child)
    guard.release()
    guard.release()
    assert child.poll() is None
    child.kill()
    child.wait()


def test_a_port_in_use_is_an_error(image: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(EmulatorError) as caught:
            start(load_board("host"), image, port=other.getsockname()[1])
    assert "in use" in caught.value.cause


def test_stopping_twice_and_after_its_death(image: Path) -> None:
    emulator = start(load_board("host"), image)
    emulator.check()
    child = emulator._child
    os.kill(child.pid, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while emulator.alive:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(EmulatorError):
        emulator.check()
    emulator.stop()
    emulator.stop()
    assert emulator.output == ""


def test_sigterm_ends_the_host_with_code_0_even_with_a_client(image: Path) -> None:
    emulator = start(load_board("host"), image)
    with EchoClient(emulator.url) as client:
        assert client.echo(b"x") == b"x"
        emulator.stop()
    assert emulator._child.returncode == 0


def test_an_image_that_dies_says_why(tmp_path: Path) -> None:
    with pytest.raises(EmulatorError) as caught:
        start(load_board("host"), script(tmp_path, "echo no luck today >&2; exit 3"))
    assert caught.value.cause == "no luck today"
    assert "code 3" in caught.value.message


def test_an_image_that_says_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_tool("sleep")
    monkeypatch.setattr(emulator_module, "_START_TIMEOUT_S", 0.2)
    with pytest.raises(EmulatorError, match="serial line"):
        start(load_board("host"), script(tmp_path, "exec sleep 30"))


def test_one_that_does_not_want_to_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulator_module, "_END_TIMEOUT_S", 0.2)
    stubborn = script(tmp_path, "trap '' TERM; echo port socket://127.0.0.1:1; while true; do sleep 0.05; done")
    emulator = start(load_board("host"), stubborn)
    emulator.stop()
    assert emulator._child.returncode == -signal.SIGKILL


def test_no_image(tmp_path: Path) -> None:
    with pytest.raises(EmulatorError, match="no image"):
        start(load_board("host"), tmp_path / "none.elf")


def test_a_file_that_cannot_be_run(tmp_path: Path) -> None:
    (tmp_path / "image").write_text("no program")
    with pytest.raises(EmulatorError, match="cannot be run"):
        start(load_board("host"), tmp_path / "image")


def test_missing_emulators(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    board = load_board("netduinoplus2")
    monkeypatch.setattr(process, "find_program", lambda name: None)
    with pytest.raises(EmulatorMissingError) as caught:
        require_emulator(board)
    assert "apt install qemu-system-arm" in caught.value.hint
    assert caught.value.exit_code == 40
    with pytest.raises(EmulatorMissingError, match="has no emulator"):
        start(msgspec.structs.replace(board, emulator=None, renode=None), tmp_path)
    require_emulator(load_board("host"))


def test_qemu_that_dies_says_why(tmp_path: Path) -> None:
    require_tool("qemu-system-arm")
    board = load_board("netduinoplus2")
    (tmp_path / "bad.elf").write_bytes(b"\x7fELF, not really" + bytes(100))
    assert board.emulator is not None
    unknown = msgspec.structs.replace(board, emulator=msgspec.structs.replace(board.emulator, machine="no-such-board"))
    for trace in (None, lambda piece: None):
        with pytest.raises(EmulatorError) as caught:
            start(unknown, tmp_path / "bad.elf", trace=trace)
        assert "no-such-board" in caught.value.cause or "unsupported machine" in caught.value.cause


def test_qemu_tries_another_port_when_one_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    require_tool("qemu-system-arm")
    require_toolchain("gnu", "netduinoplus2")
    board = load_board("netduinoplus2")
    elf = build_project(write_echo_project(tmp_path, board), core=board.core).elf
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))  # bound but not listening: taken, and nobody answers
        ports = iter([other.getsockname()[1], free_port()])
        monkeypatch.setattr(emulator_module, "_free_port", lambda: next(ports))
        with start(board, elf) as emulator:
            assert not emulator.url.endswith(f":{other.getsockname()[1]}")


def test_a_control_connection_that_does_not_answer() -> None:
    with pytest.raises(EmulatorError, match="control connection"):
        emulator_module._qmp(free_port(), ("stop", {}))


def test_a_control_command_that_is_refused(tmp_path: Path) -> None:
    require_tool("qemu-system-arm")
    require_toolchain("gnu", "microbit")
    board = load_board("microbit")
    elf = build_project(write_echo_project(tmp_path, board), core=board.core).elf
    kept = tmp_path / "kept.bin"
    with start(board, elf, nvm_file=kept) as emulator:
        assert emulator._flash is not None
        with pytest.raises(EmulatorError, match="refused `fly`"):
            emulator_module._qmp(emulator._flash._qmp_port or 0, ("fly", {}))
    assert board.nvm is not None
    assert len(kept.read_bytes()) == board.nvm.size_bytes


def test_an_eeprom_that_is_not_emulated_is_not_kept(image: Path, tmp_path: Path) -> None:
    require_tool("qemu-system-avr")
    with pytest.raises(EmulatorError, match="qemu does not emulate the memory in which mega2560 keeps") as caught:
        start(load_board("mega2560"), image, nvm_file=tmp_path / "kept.bin")
    assert caught.value.hint is not None
    assert "head pull" in caught.value.hint
    assert not (tmp_path / "kept.bin").exists()


def test_a_board_without_flash_of_its_own_keeps_none(image: Path, tmp_path: Path) -> None:
    with pytest.raises(EmulatorError, match="no non-volatile memory"):
        start(load_board("host").without_nvm(), image, nvm_file=tmp_path / "kept.bin")
