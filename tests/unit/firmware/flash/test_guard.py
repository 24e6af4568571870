"""Bricking is impossible by default: for every board and every way, whatever byte an image touches."""

from __future__ import annotations

import datetime
import struct
from pathlib import Path

import msgspec
import pytest

from edgelearn.board import Board, MemoryKind, NonVolatileMemory, board_names, load_board
from edgelearn.board.ways import Bossac, Drive, DriveFormat, EspTool, Way
from edgelearn.errors import UnsafeImageError
from edgelearn.firmware.flash.choose import Candidate
from edgelearn.firmware.flash.drives import FoundDrive
from edgelearn.firmware.flash.guard import check_image
from edgelearn.firmware.flash.image import FlashImage, make_image
from edgelearn.firmware.flash.methods import erases_of, format_of
from edgelearn.firmware.flash.run import prepare, prepare_firmware, written_ranges
from edgelearn.firmware.flash.tool import Erases, Format
from edgelearn.firmware.flash.uf2 import to_uf2
from tests.support.flashing import image_for, vectors, ways, write_project

IMAGE_WAYS = [(name, way) for name, way in ways() if format_of(way) is not None]


def learning(board: Board) -> Board:
    """The board with pages that keep what was learned, at the end of its flash, whether or not it has drivers."""
    if board.nvm is not None:
        return board
    flash = next(memory for memory in board.memory if memory.kind is MemoryKind.FLASH)
    size = 0x2000
    nvm = NonVolatileMemory(
        source="x.c", address=flash.end - 2 * size, page_bytes=size, pages=2, write_bytes=4, erase_cycles=1, erase_ms=1
    )
    return msgspec.structs.replace(board, nvm=nvm)


def places(board: Board) -> list[tuple[int, str]]:
    """Addresses that no image may touch, with a word of the reason: both ends of all that is kept, and around flash."""
    found = [(at, kept.holder) for kept in board.kept for at in (kept.origin, kept.end - 1)]
    if board.nvm is not None:
        found += [(at, "what was learned") for at in (board.nvm.address, board.nvm.end - 1)]
    flash = [memory for memory in board.memory if memory.kind is MemoryKind.FLASH]
    for memory in flash:
        found += [
            (at, "")
            for at in (memory.origin - 1, memory.end)
            if at >= 0 and not any(other.origin <= at < other.end for other in flash)
        ]
    # UICR and option bytes: one bit there can lock a chip for good.
    found += [
        (at, "outside")
        for at in (0x1000_1208, 0x1FFF_C000, 0x2000_0000)
        if not any(m.origin <= at < m.end for m in flash)
    ]
    return list({at: (at, reason) for at, reason in reversed(found)}.values())


@pytest.mark.parametrize(("name", "way"), IMAGE_WAYS)
def test_a_byte_that_is_not_the_firmwares_is_refused(name: str, way: Way, tmp_path: Path) -> None:
    board = learning(load_board(name))
    good = image_for(board)
    format_ = format_of(way)
    assert format_ is not None
    candidate = Candidate(way=way, drive=FoundDrive(path=tmp_path, label="X"))
    checked = 0
    for at, reason in places(board):
        pieces = {segment.address: segment.data for segment in good.segments}
        bad = make_image({**pieces, at: b"\x55"})
        # A file of all bytes between the first and the last is written only where they are near.
        if format_ is Format.BIN and bad.end - bad.begin > 4 << 20:
            continue
        project = write_project(tmp_path / f"{at:x}", board, bad)
        with pytest.raises(UnsafeImageError) as error:
            prepare(board, project, candidate)
        assert reason in error.value.cause or error.value.message.startswith("flashing")
        assert "--force" in error.value.hint
        assert not list(project.glob("build/flash.*")), "nothing is left that could be flashed by mistake"
        prepare(board, project, candidate, force=True)
        checked += 1
    assert checked >= 2


@pytest.mark.parametrize(("name", "way"), IMAGE_WAYS)
def test_the_right_image_may_be_flashed_and_nothing_more_is_written(name: str, way: Way, tmp_path: Path) -> None:
    board = load_board(name)
    image = image_for(board, 3001)
    project = write_project(tmp_path, board, image)
    candidate = Candidate(way=way, drive=FoundDrive(path=tmp_path, label="X"))
    if erases_of(way) is Erases.CHIP and board.kept:
        with pytest.raises(UnsafeImageError, match="would erase"):
            prepare(board, project, candidate)
        return
    job = prepare(board, project, candidate)
    assert job.address == image.begin
    assert job.file.is_file()
    format_ = format_of(way)
    assert format_ is not None
    for begin, end in written_ranges(image, format_):
        assert not any(kept.origin < end and begin < kept.end for kept in board.kept)


@pytest.mark.parametrize("name", board_names())
def test_an_image_that_fills_all_of_the_flash_is_right_and_one_more_byte_is_not(name: str) -> None:
    board = load_board(name)
    flash = next(memory for memory in board.memory if memory.kind is MemoryKind.FLASH)
    size = board.usable_bytes(flash)
    begin = vectors(board, flash.origin, 64)
    end = make_image({flash.origin: begin, flash.origin + size - 4: b"last"})
    check_image(board, end, written_ranges(end, Format.HEX))
    more = make_image({flash.origin: begin, flash.origin + size - 3: b"last"})
    with pytest.raises(UnsafeImageError):
        check_image(board, more, written_ranges(more, Format.HEX))


def test_whole_pages_may_not_reach_what_is_kept() -> None:
    name = next(name for name in board_names() if load_board(name).kept)
    board = load_board(name)
    flash = next(memory for memory in board.memory if memory.kind is MemoryKind.FLASH)
    odd = msgspec.structs.replace(board, memory=(msgspec.structs.replace(flash, size_bytes=1000), *board.memory[1:]))
    image = make_image({flash.origin: vectors(board, flash.origin, 1000)})
    check_image(odd, image, written_ranges(image, Format.HEX))
    with pytest.raises(UnsafeImageError, match="would write over"):
        check_image(odd, image, written_ranges(image, Format.UF2))


def board_with_kept(*, above: bool) -> Board:
    board = next(board for board in map(load_board, board_names()) if board.kept and board.core.value == "cortex-m4f")
    flash = next(memory for memory in board.memory if memory.kind is MemoryKind.FLASH)
    kept = msgspec.structs.replace(board.kept[0], origin=flash.end if above else 0, size_bytes=0x1000)
    return msgspec.structs.replace(board, kept=(kept,))


def test_ways_that_erase_more_are_refused_where_something_is_kept(tmp_path: Path) -> None:
    drive = Drive(volume="X", format=DriveFormat.HEX)
    for way, above, refused in (
        (Bossac(offset=0), True, True),
        (Bossac(offset=0), False, False),
        (drive, True, True),
        (drive, False, True),
        (Drive(volume="X", format=DriveFormat.UF2, family=7), True, False),
    ):
        board = board_with_kept(above=above)
        project = write_project(tmp_path / f"{erases_of(way)}{above}", board, image_for(board))
        candidate = Candidate(way=way, drive=FoundDrive(path=tmp_path, label="X"))
        if refused:
            with pytest.raises(UnsafeImageError, match="in this way would erase") as error:
                prepare(board, project, candidate)
            assert board.kept[0].holder in error.value.message
        else:
            prepare(board, project, candidate)


@pytest.mark.parametrize("name", [name for name, way in ways() if isinstance(way, Bossac)])
def test_boards_that_are_erased_to_the_end_keep_nothing_there(name: str) -> None:
    board = load_board(name)
    assert all(
        kept.end <= memory.origin for kept in board.kept for memory in board.memory if memory.kind is MemoryKind.FLASH
    )


CORTEX_M = next(load_board(name) for name in board_names() if load_board(name).core.value == "cortex-m4f")


@pytest.mark.parametrize(
    ("stack", "reset", "message"),
    [
        (0x1234, None, "stack at 0x1234"),
        (0xFFFF_FFFF, None, "stack at 0xffffffff"),
        ("end - 4", None, "stack at"),
        (None, 0x0, "start at 0x0"),
        (None, "begin + 8", "start at"),
        (None, "end + 1", "start at"),
    ],
)
def test_a_wrong_vector_table_is_refused(stack: int | str | None, reset: int | str | None, message: str) -> None:
    begin = image_for(CORTEX_M).begin
    data = bytearray(vectors(CORTEX_M, begin))
    ram = next(memory for memory in CORTEX_M.memory if memory.kind is MemoryKind.RAM)
    if stack is not None:
        struct.pack_into("<I", data, 0, ram.end - 4 if isinstance(stack, str) else stack)
    if reset is not None:
        places = {"begin + 8": begin + 8, "end + 1": begin + len(data) + 1}
        struct.pack_into("<I", data, 4, places[reset] if isinstance(reset, str) else reset)
    image = make_image({begin: bytes(data)})
    with pytest.raises(UnsafeImageError, match=message):
        check_image(CORTEX_M, image, written_ranges(image, Format.HEX))


def test_an_image_that_begins_elsewhere_is_refused() -> None:
    begin = image_for(CORTEX_M).begin + 0x1000
    image = make_image({begin: vectors(CORTEX_M, begin)})
    with pytest.raises(UnsafeImageError, match="does not start a program"):
        check_image(CORTEX_M, image, written_ranges(image, Format.HEX))
    short = FlashImage(segments=make_image({begin - 0x1000: b"abc"}).segments)
    with pytest.raises(UnsafeImageError, match="no vector table"):
        check_image(CORTEX_M, short, written_ranges(short, Format.HEX))


@pytest.mark.parametrize(("name", "way"), [(name, way) for name, way in ways() if isinstance(way, EspTool)])
def test_a_firmware_with_its_own_bootloader_needs_force(name: str, way: EspTool, tmp_path: Path) -> None:
    board = load_board(name)
    file = tmp_path / "firmware.bin"
    file.write_bytes(b"\xe9" + bytes(100_000))
    with pytest.raises(UnsafeImageError, match="would write over what is on") as error:
        prepare_firmware(board, file, Candidate(way=way, program="esptool"))
    assert "--force" in error.value.hint
    prepare_firmware(board, file, Candidate(way=way, program="esptool"), force=True)
    file.write_bytes(b"PK\x03\x04")
    with pytest.raises(UnsafeImageError, match="is no firmware for"):
        prepare_firmware(board, file, Candidate(way=way, program="esptool"))
    with pytest.raises(UnsafeImageError, match="cannot be read"):
        prepare_firmware(board, tmp_path / "absent.bin", Candidate(way=way, program="esptool"))


UF2_WAYS = [(name, way) for name, way in ways() if isinstance(way, Drive) and way.format is DriveFormat.UF2]


@pytest.mark.parametrize(("name", "way"), UF2_WAYS)
def test_a_firmware_as_uf2(name: str, way: Drive, tmp_path: Path) -> None:
    board = load_board(name)
    file = tmp_path / "firmware.uf2"
    candidate = Candidate(way=way, drive=FoundDrive(path=tmp_path, label=way.volume))
    file.write_bytes(to_uf2(image_for(board), way.family))
    assert prepare_firmware(board, file, candidate).file == file
    file.write_bytes(to_uf2(image_for(board), way.family ^ 1))
    with pytest.raises(UnsafeImageError, match="is no firmware for") as error:
        prepare_firmware(board, file, candidate)
    assert f"the chip's is 0x{way.family:08x}" in error.value.cause
    for kept in board.kept:
        file.write_bytes(to_uf2(make_image({kept.end - 256: bytes(256)}), way.family))
        with pytest.raises(UnsafeImageError, match=kept.holder):
            prepare_firmware(board, file, candidate)
        prepare_firmware(board, file, candidate, force=True)


STARTED = [(name, way) for name, way in UF2_WAYS if way.programs_at]


@pytest.mark.parametrize(("name", "way"), STARTED)
def test_a_bootloader_that_starts_programs_elsewhere_is_refused(name: str, way: Drive, tmp_path: Path) -> None:
    board = load_board(name)
    image = image_for(board)
    project = write_project(tmp_path, board, image)
    firmware = tmp_path / "firmware.uf2"
    firmware.write_bytes(to_uf2(image, way.family))
    right = {name for name, at in way.programs_at.items() if at == image.begin}
    assert len(right) == 1
    assert {"not found"} < set(way.programs_at)
    # A version that begins with the same figures is not the same.
    for said, fits in [
        ("", True),
        *((f"{name}.9.1", name in right) for name in way.programs_at if name != "not found"),
        *((f"{name}0.1", False) for name in right),
        ("not found", False),
        ("S999 1.0", False),
    ]:
        drive = FoundDrive(path=tmp_path, label=way.volume, info="X", softdevice=said)
        candidate = Candidate(way=way, drive=drive)
        if fits:
            assert prepare(board, project, candidate).file.is_file()
            prepare_firmware(board, firmware, candidate)
            continue
        for prepares in (
            lambda force=False, use=candidate: prepare(board, project, use, force=force),
            lambda force=False, use=candidate: prepare_firmware(board, firmware, use, force=force),
        ):
            with pytest.raises(UnsafeImageError, match=f"begins at 0x{image.begin:x}, where the bootloader") as error:
                prepares()
            assert (f"SoftDevice {said}" if said != "not found" else "no SoftDevice") in error.value.cause
            assert f"the image is for SoftDevice {next(iter(right))}" in error.value.cause
            assert f"put SoftDevice {next(iter(right))} on the board" in error.value.hint
            assert "INFO_UF2.TXT" in error.value.hint
            assert "--force" in error.value.hint
            prepares(force=True)


@pytest.mark.parametrize(("name", "way"), [(name, way) for name, way in UF2_WAYS if way.earlier])
def test_an_earlier_bootloader_writes_less(name: str, way: Drive, tmp_path: Path) -> None:
    board = load_board(name)
    assert way.earlier is not None
    begin = image_for(board).begin
    fits = way.earlier.end - begin
    for size_bytes, days, refused in ((fits, -1, False), (fits + 1, -1, True), (fits + 1, 0, False)):
        project = write_project(tmp_path / f"{size_bytes}{days}", board, image_for(board, size_bytes))
        built = way.earlier.before + datetime.timedelta(days=days)
        candidate = Candidate(way=way, drive=FoundDrive(path=tmp_path, label=way.volume, built=built))
        if refused:
            with pytest.raises(UnsafeImageError, match=f"writes up to 0x{way.earlier.end:x}") as error:
                prepare(board, project, candidate)
            assert str(built) in error.value.cause
            assert "bring the bootloader up to date" in error.value.hint
            prepare(board, project, candidate, force=True)
        else:
            prepare(board, project, candidate)
    unsaid = Candidate(way=way, drive=FoundDrive(path=tmp_path, label=way.volume))
    prepare(board, write_project(tmp_path / "unsaid", board, image_for(board, fits + 1)), unsaid)


def test_a_file_that_fills_gaps_may_not_fill_what_is_kept(tmp_path: Path) -> None:
    board = next(
        board for board in map(load_board, board_names()) if board.core.value == "cortex-m4f" and not board.kept
    )
    flash = next(memory for memory in board.memory if memory.kind is MemoryKind.FLASH)
    ram = next(memory for memory in board.memory if memory.kind is MemoryKind.RAM)
    low = msgspec.structs.replace(flash, size_bytes=0x4000)
    high = msgspec.structs.replace(flash, name="HIGH", origin=flash.origin + 0x8000, size_bytes=0x4000)
    kept = msgspec.structs.replace(board_with_kept(above=True).kept[0], origin=low.end, size_bytes=0x4000)
    split = msgspec.structs.replace(board, memory=(low, high, ram), kept=(kept,), nvm=None)
    image = make_image({low.origin: vectors(split, low.origin), high.origin: b"more"})
    check_image(split, image, written_ranges(image, Format.HEX))
    check_image(split, image, written_ranges(image, Format.UF2))
    with pytest.raises(UnsafeImageError, match="would write over"):
        check_image(split, image, written_ranges(image, Format.BIN))
