"""For tests of flashing: stand-ins for flashers and for what is plugged in, images, and boards in every way.

bench.program("pyocd", output="...", code=1)     a program on PATH that says this and ends so
bench.calls("pyocd")                             the arguments that it was called with, call by call
bench.ports = [port("/dev/ttyACM0", ...)]        what pyserial lists
bench.on_call("bossac", lambda: ...)             what happens on USB while it runs
"""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgelearn import process
from edgelearn.board import Board, MemoryKind, Output, Usb, board_names, load_board
from edgelearn.board.ways import Way
from edgelearn.firmware.flash import drives, ports
from edgelearn.firmware.flash.image import FlashImage, make_image
from edgelearn.project import FORMAT_VERSION, Project, encode_project
from tests.support.tools import OPTIONAL

#: Writes down its arguments and plays the next of its answers; the last one again and again.
_STAND_IN = """\
#!{python} -SE
import json, pathlib, sys
folder = pathlib.Path({folder!r})
calls = folder / "calls"
count = len(list(calls.iterdir()))
(calls / f"{{count:03}}").write_text(json.dumps(sys.argv[1:]))
answers = json.loads((folder / "answers").read_text())
output, code = answers[min(count, len(answers) - 1)]
sys.stdout.write(output)
sys.exit(code)
"""


def port(
    device: str, vid: int | None = None, pid: int | None = None, serial_number: str = "", location: str = ""
) -> SimpleNamespace:
    """A serial port as pyserial lists it."""
    return SimpleNamespace(
        device=device, vid=vid, pid=pid, serial_number=serial_number or None, location=location, description="n/a"
    )


class Bench:
    """A machine of which tests say what is plugged in and installed."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.ports: list[SimpleNamespace] = []
        self.usb = folder / "usb"
        self.media = folder / "media"
        self.bin = folder / "bin"
        for made in (self.usb, self.media, self.bin):
            made.mkdir(parents=True)
        self._see: Callable[[], list[Any]] | None = None
        self.touched: list[str] = []
        self.mounted: set[Path] = set()
        is_mount = os.path.ismount
        monkeypatch.setattr("os.path.ismount", lambda path: path in self.mounted or is_mount(path))
        monkeypatch.setenv("PATH", str(self.bin))
        monkeypatch.setattr(process, "OWN_FOLDER", self.bin)
        monkeypatch.setattr("serial.tools.list_ports.comports", self._comports)
        monkeypatch.setattr(ports, "USB_DEVICES", self.usb)
        monkeypatch.setattr(ports, "touch", self._touch)
        monkeypatch.setattr("edgelearn.firmware.flash.run.touch", self._touch)
        monkeypatch.setattr(drives, "ROOTS", (self.media,))
        monkeypatch.setattr(drives, "BLOCK_DEVICES", folder / "no block devices")
        self.after_touch: list[SimpleNamespace] | None = None

    def _comports(self) -> list[SimpleNamespace]:
        return list(self._see() if self._see else self.ports)

    def _touch(self, device: str) -> None:
        self.touched.append(device)
        if self.after_touch is not None:
            self.ports = self.after_touch

    def see(self, look: Callable[[], list[Any]]) -> None:
        """What pyserial lists from now on, at each look."""
        self._see = look

    def plug(self, name: str, vid: int, pid: int, *, serial: str = "", product: str = "") -> None:
        """A USB device without a serial port."""
        folder = self.usb / name
        folder.mkdir()
        for file, text in (
            ("idVendor", f"{vid:04x}"),
            ("idProduct", f"{pid:04x}"),
            ("serial", serial),
            ("product", product),
        ):
            (folder / file).write_text(f"{text}\n")

    def drive(self, label: str, info: str = "") -> Path:
        """A drive; every one has an INFO_UF2.TXT, by which it is known although nothing is mounted."""
        folder = self.media / label
        folder.mkdir()
        (folder / drives.INFO_UF2).write_text(info or "UF2 Bootloader v0\nModel: A Board\nBoard-ID: A-Board-v1\n")
        return folder

    def chip_drive(self, label: str, serial: str, at: str = "") -> Path:
        """A drive of an interface chip that says its serial number."""
        folder = self.media / at / label if at else self.media / label
        folder.mkdir(parents=True)
        (folder / drives.DETAILS).write_text(f"# DAPLink Firmware\nUnique ID: {serial}\nAuto Reset: 1\n")
        self.mounted.add(folder)
        return folder

    def program(self, name: str, *answers: tuple[str, int]) -> None:
        """A stand-in for a flasher: what it prints and its exit code, call by call."""
        if os.name == "nt":
            pytest.skip(f"{OPTIONAL}stand-ins are scripts, which Windows does not run by name")
        folder = self.folder / f"stand-in {name}"
        (folder / "calls").mkdir(parents=True, exist_ok=True)
        (folder / "answers").write_text(json.dumps(answers or [("", 0)]))
        script = self.bin / name
        script.write_text(_STAND_IN.format(python=sys.executable, folder=str(folder)))
        script.chmod(0o755)

    def calls(self, name: str) -> list[list[str]]:
        """The arguments of each call."""
        folder = self.folder / f"stand-in {name}" / "calls"
        return [json.loads(path.read_text()) for path in sorted(folder.iterdir())]


def ways() -> list[tuple[str, Way]]:
    """Every way of every board."""
    return [(name, way) for name in board_names() for way in load_board(name).flash]


def vectors(board: Board, begin: int, size_bytes: int = 1024) -> bytes:
    """A program for a Cortex-M: its vector table, then bytes that tell where they lie."""
    ram = next(memory for memory in board.memory if memory.kind is MemoryKind.RAM)
    table = struct.pack("<II", ram.end, (begin + 8) | 1)
    return table + bytes((begin + at) * 7 % 251 for at in range(8, size_bytes))


def image_for(board: Board, size_bytes: int = 1024) -> FlashImage:
    """An image that is right for a board."""
    begin = next(memory for memory in board.memory if memory.kind is MemoryKind.FLASH).origin
    return make_image({begin: vectors(board, begin, size_bytes)})


def write_elf(path: Path, image: FlashImage, *, virtual: int = 0x2000_0000) -> Path:
    """An ELF file of 32 bits for Arm that loads an image; its virtual addresses are others, as those of data are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count = len(image.segments)
    offset = 52 + 32 * count
    header = struct.pack("<16sHHIIIIIHHHHHH", b"\x7fELF\1\1\1", 2, 40, 1, 0, 52, 0, 0, 52, 32, count, 40, 0, 0)
    programs, contents = b"", b""
    for segment in image.segments:
        size = len(segment.data)
        programs += struct.pack("<8I", 1, offset + len(contents), virtual, segment.address, size, size, 5, 4)
        contents += segment.data
    path.write_bytes(header + programs + contents)
    return path


def write_project(
    folder: Path,
    board: Board,
    image: FlashImage | None = None,
    *,
    model_hash: str = "ab" * 32,
    output: Output | None = None,
) -> Path:
    """A project for a board, built: as much of it as flashing reads."""
    folder.mkdir(parents=True, exist_ok=True)
    project = Project(
        format_version=FORMAT_VERSION,
        edgelearn_version="0",
        name="net",
        board=board.name,
        model_hash=model_hash,
        residual="int8",
        buffers=(),
        constants=(),
        arena_bytes=0,
        code_estimate_bytes=0,
        state_estimate_bytes=0,
        stack_bytes=0,
        files={},
    )
    text = json.loads(encode_project(project))
    text["buffers"] = [{"symbol": "head_weights", "size_bytes": 1, "purpose": "head"}]
    if output is not None:
        text["output"] = output.value
    (folder / "project.json").write_text(json.dumps(text))
    (folder / "build").mkdir(exist_ok=True)
    if image is not None:
        write_elf(folder / "build" / "firmware.elf", image)
    return folder


def usb(board: Board, mode: str) -> Usb:
    """The board's identifier in a mode."""
    return next(usb for usb in board.usb if usb.mode.value == mode)


def boards_with(method: str) -> Sequence[str]:
    """The boards that list a method."""
    return [
        name for name in board_names() if any(way.__struct_config__.tag == method for way in load_board(name).flash)
    ]
