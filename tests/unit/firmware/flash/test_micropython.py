"""What a MicroPython board must be to run a package, and images of ROM partitions, without a board."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from edgelearn.board import board_names, load_board
from edgelearn.board.ways import EspTool
from edgelearn.errors import FlashError
from edgelearn.firmware.flash.micropython.found import Found, check
from edgelearn.firmware.flash.micropython.raw_repl import how_to_get
from edgelearn.firmware.flash.micropython.rom import make_image
from edgelearn.firmware.flash.tool import Failure
from edgelearn.firmware.package import Package
from tests.support.tools import require_package

BOARD = next(
    board
    for board in map(load_board, board_names())
    if board.micropython and board.micropython.architecture == "armv7emsp" and board.chip.startswith("STM32F4")
)
NAMES = ["none", "x86", "x64", "armv6", "armv6m", "armv7m", "armv7em", "armv7emsp", "armv7emdp", "xtensa", "xtensawin"]


def mpy(architecture: str, *, version: int = 6, sub_version: int = 3) -> int:
    """What `sys.implementation._mpy` is of such a firmware."""
    return NAMES.index(architecture) << 10 | sub_version << 8 | version


FOUND = Found(
    name="micropython",
    version=(1, 25, 0),
    mpy=mpy("armv7emsp"),
    machine=f"A board with {BOARD.chip[:9]}xx",
    build=f"{BOARD.micropython.board if BOARD.micropython else ''}-DOUBLE",
    heap_free_bytes=100_000,
    size_bytes=100_000,
)


def package(folder: Path, architecture: str, *, version: int = 6, sub_version: int = 3) -> Package:
    """A package with one file of bytecode and one of machine code."""
    (folder / "model").mkdir(exist_ok=True)
    (folder / "model/__init__.mpy").write_bytes(bytes([77, version, 0, 31]))
    (folder / "model/native.mpy").write_bytes(bytes([77, version, NAMES.index(architecture) << 2 | sub_version, 31]))
    return Package(
        folder=folder,
        sizes_bytes={"model/__init__.mpy": 4, "model/native.mpy": 4, "model/weights.bin": 0},
        compiler="some 6.3",
    )


def refused(found: Found, made: Package, failure: Failure) -> str:
    with pytest.raises(FlashError) as error:
        check(found, BOARD, made)
    assert (error.value.step, error.value.failure) == ("look", failure.value)
    return f"{error.value.message}\n{error.value.cause}\n{error.value.hint}"


@pytest.mark.parametrize(
    ("firmware", "code", "runs"),
    [
        ("armv7emsp", "armv7emsp", True),
        ("armv7emsp", "armv6m", True),
        ("armv7emdp", "armv7emsp", True),
        ("armv7emsp", "armv7emdp", False),
        ("armv6m", "armv7emsp", False),
        ("xtensawin", "armv6m", False),
        ("armv7emsp", "xtensawin", False),
        ("none", "armv6m", False),
        ("xtensawin", "xtensawin", True),
        ("none", "none", True),
    ],
)
def test_architecture(firmware: str, code: str, runs: bool, tmp_path: Path) -> None:
    found, made = replace(FOUND, mpy=mpy(firmware)), package(tmp_path, code)
    if runs:
        check(found, BOARD, made)
    else:
        text = refused(found, made, Failure.WRONG_CHIP)
        assert f"does not run machine code for {code}" in text
        assert f"model/native.mpy is for {BOARD.name}, the firmware there for {firmware}" in text


@pytest.mark.parametrize(
    ("found", "made", "says"),
    [
        ({"version": 7}, {}, "its version is 6, those that are loaded are of 7.3"),
        ({"sub_version": 2}, {}, "its version is 6.3, those that are loaded are of 6.2"),
        ({}, {"version": 5}, "its version is 5, those that are loaded are of 6.3"),
    ],
)
def test_version_of_files(found: dict[str, int], made: dict[str, int], says: str, tmp_path: Path) -> None:
    other = replace(FOUND, mpy=mpy("armv7emsp", **found))
    text = refused(other, package(tmp_path, "armv7emsp", **made), Failure.NOT_SUPPORTED)
    assert says in text
    assert "some 6.3" in text


def test_other_pythons_and_old_ones(tmp_path: Path) -> None:
    made = package(tmp_path, "armv7emsp")
    text = refused(replace(FOUND, name="circuitpython", version=(9, 2, 1)), made, Failure.NOT_SUPPORTED)
    assert "what answers is circuitpython 9.2.1, not MicroPython" in text
    text = refused(replace(FOUND, version=(1, 22, 2)), made, Failure.NOT_SUPPORTED)
    assert "MicroPython 1.22.2 on A board" in text
    assert "1.23 or later" in text
    check(replace(FOUND, version=(1, 23, 0), build=""), BOARD, made)
    text = refused(replace(FOUND, mpy=0), made, Failure.NOT_SUPPORTED)
    assert "are of none" in text


def test_another_board(tmp_path: Path) -> None:
    made = package(tmp_path, "armv7emsp")
    text = refused(replace(FOUND, build="ANOTHER_BOARD"), made, Failure.WRONG_CHIP)
    assert f"its MicroPython is ANOTHER_BOARD, that of {BOARD.name} is " in text
    # Before 1.25 only the chip's name tells.
    text = refused(replace(FOUND, build="", machine="Another with RP2040"), made, Failure.WRONG_CHIP)
    assert "another board answers: Another with RP2040" in text
    check(replace(FOUND, build="ANOTHER_BOARD"), BOARD, made, force=True)


def test_no_file_system(tmp_path: Path) -> None:
    made = package(tmp_path, "armv7emsp")
    assert f"{BOARD.name} has no file system at /flash" in refused(
        replace(FOUND, size_bytes=0, folder="/flash"), made, Failure.PROTECTED
    )


def test_missing_modules(tmp_path: Path) -> None:
    text = refused(
        replace(FOUND, missing=("hashlib.sha256", "select.poll")), package(tmp_path, "armv7emsp"), Failure.NOT_SUPPORTED
    )
    assert "MicroPython 1.25.0 on A board" in text
    assert "lacks hashlib.sha256, select.poll" in text
    assert "https://micropython.org/download/" in text


def test_how_micropython_is_got() -> None:
    boards = [load_board(name) for name in board_names()]
    espressif = next(board for board in boards if any(isinstance(way, EspTool) for way in board.flash))
    assert how_to_get(espressif).endswith("and add `--firmware FILE`")
    assert "its .bin file from https://micropython.org/download/" in how_to_get(espressif)
    assert how_to_get(BOARD).endswith("says how to put it on the board")


@pytest.mark.parametrize("size", [16, 100, 5000, 70_001])
def test_weights_are_aligned_in_rom(size: int) -> None:
    require_package("mpremote")
    weights = bytes(number * 7 & 255 for number in range(size))
    for more in range(4):
        files = {"model/__init__.mpy": bytes(more + 10), "model/weights.bin": weights, "model/zz.mpy": b"M" * more}
        image = make_image(files, aligned="model/weights.bin")
        assert len(image) % 2 == 0
        places = [at for at in range(0, len(image), 4) if image[at : at + size] == weights]
        assert places, more
