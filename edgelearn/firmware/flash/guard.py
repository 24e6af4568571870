"""check_image(board, image): nothing is written but the application's own flash, and what is written can start.

This is what keeps a board from being bricked: bootloaders, radio firmware and settings lie in what a board file lists
as kept, or outside of its flash regions, and neither is ever written without `--force`.
"""

from __future__ import annotations

from collections.abc import Iterable

from edgelearn.board import Board, Memory, MemoryKind
from edgelearn.board.ways import NO_SOFTDEVICE, Drive
from edgelearn.board.words import softdevice_words
from edgelearn.errors import UnsafeImageError
from edgelearn.firmware.flash.drives import INFO_UF2, FoundDrive
from edgelearn.firmware.flash.image import FlashImage
from edgelearn.firmware.flash.tool import Erases

_FORCE = "`--force` writes it all the same; a board that loses its bootloader is then mended with a debug probe only"
#: Stack pointer and reset handler are the first two words of a Cortex-M's vector table (Armv6-M ARM B1.5.3, Armv7-M
#: ARM B1.5.3).
_VECTORS_BYTES = 8


def check_image(
    board: Board, image: FlashImage, written: Iterable[tuple[int, int]], *, erases: Erases = Erases.PAGES
) -> None:
    """Refuse an image that must not go to a board.

    Args:
        board: what it goes to.
        image: as it was built.
        written: the addresses that are written, as pairs of the first and the one after the last; more than the image
            where a flasher writes whole pages, or all from the first to the last.
        erases: what the flasher erases.

    Raises:
        UnsafeImageError: it writes outside of the flash that is the application's, its vector table is wrong, or
            flashing it so would erase what is kept.
    """
    erased = [
        kept.holder
        for kept in board.kept
        if erases is Erases.CHIP or (erases is Erases.REST and kept.end > image.begin)
    ]
    if erased:
        raise UnsafeImageError(
            f"flashing {board.name} in this way would erase {', '.join(dict.fromkeys(erased))}",
            cause=f"it erases {erases.value}",
            hint=f"take another way with --method\n{_FORCE}",
        )
    problems = [problem for begin, end in written for problem in _overwritten(board, begin, end)]
    if problems:
        raise UnsafeImageError(
            f"the image would write over what is not the firmware's on {board.name}",
            cause="\n".join(dict.fromkeys(problems)),
            hint=f"was it built for another board? generate it for {board.name} and build it again\n{_FORCE}",
        )
    if board.core.value.startswith("cortex-m"):
        _check_vectors(board, image)


def check_firmware(board: Board, written: Iterable[tuple[int, int]]) -> None:
    """Refuse somebody else's firmware where it lies over what is kept: it may bring a bootloader of its own.

    Raises:
        UnsafeImageError: it does.
    """
    ranges = tuple(written)
    over = [kept.holder for kept in board.kept for begin, end in ranges if kept.origin < end and begin < kept.end]
    if over:
        raise UnsafeImageError(
            f"the firmware would write over what is on {board.name}: {', '.join(dict.fromkeys(over))}",
            cause="it lies " + ", ".join(f"from 0x{begin:x} to 0x{end:x}" for begin, end in ranges),
            hint="`--force` writes it: right where it is the maker's or MicroPython's firmware for this very board",
        )


def check_bootloader(board: Board, way: Drive, drive: FoundDrive, written: Iterable[tuple[int, int]]) -> None:
    """Refuse what the UF2 bootloader that offers the drive would not start, or would not write whole.

    Args:
        board: what it goes to.
        way: of its file.
        drive: with what the bootloader says of itself.
        written: the addresses that are written, as pairs of the first and the one after the last.

    Raises:
        UnsafeImageError: it starts programs elsewhere, behind another SoftDevice; or it is an earlier one, which writes
            less.
    """
    ranges = tuple(written)
    begin, end = min(first for first, _ in ranges), max(after for _, after in ranges)
    if way.programs_at and drive.softdevice:
        _check_softdevice(board, way, drive, begin)
    earlier = way.earlier
    if earlier and drive.built and drive.built < earlier.before and end > earlier.end:
        raise UnsafeImageError(
            f"the bootloader of this {board.name} writes up to 0x{earlier.end:x}, the image reaches 0x{end:x}",
            cause=f"it is of {drive.built}; those from {earlier.before} on write more",
            hint="bring the bootloader up to date as its maker describes, or make the model smaller: "
            f"`edgelearn inspect BUNDLE --board {board.name}` shows what takes most\n"
            "`--force` copies the image all the same, and its end is lost",
        )


def _check_softdevice(board: Board, way: Drive, drive: FoundDrive, begin: int) -> None:
    """Refuse an image that does not begin where the bootloader starts programs."""
    starts = next(
        (at for name, at in way.programs_at.items() if f"{drive.softdevice}.".startswith(f"{name}.")),
        None,
    )
    if starts == begin:
        return
    wanted = " or ".join(softdevice_words(name) for name, at in way.programs_at.items() if at == begin)
    there = softdevice_words(drive.softdevice)
    known = f"programs start at 0x{starts:x}" if starts is not None else "the board file does not know it"
    raise UnsafeImageError(
        f"the image begins at 0x{begin:x}, where the bootloader of this {board.name} does not start a program",
        cause=f"on the board is {there}: {known}; the image is for {wanted or 'something else'}",
        hint=(
            f"put {wanted} on the board, which its maker's or Adafruit's package of bootloader and SoftDevice does; "
            if wanted and softdevice_words(NO_SOFTDEVICE) not in wanted
            else ""
        )
        + f"or is it another board? {drive.path / INFO_UF2} says what it is\n"
        "`--force` writes it all the same, also over the end of a SoftDevice that is larger",
    )


def _overwritten(board: Board, begin: int, end: int) -> list[str]:
    """What is wrong with writing to these addresses."""
    kept = [(kept.origin, kept.end, f"belongs to {kept.holder}") for kept in board.kept]
    if board.nvm is not None:
        kept.append((board.nvm.address, board.nvm.end, "keeps what was learned"))
    problems = [
        f"0x{max(begin, first):x} to 0x{min(end, after):x} {holder}"
        for first, after, holder in kept
        if begin < after and first < end
    ]
    at = begin
    for memory in sorted(_flash(board), key=lambda memory: memory.origin):
        if at < end and at < memory.end and memory.origin < end:
            if at < memory.origin:
                problems.append(f"0x{at:x} to 0x{memory.origin:x} is outside of the flash that firmware may use")
            at = memory.end
    if at < end:
        problems.append(f"0x{at:x} to 0x{end:x} is outside of the flash that firmware may use")
    return problems


def _flash(board: Board) -> list[Memory]:
    return [memory for memory in board.memory if memory.kind is MemoryKind.FLASH]


def _check_vectors(board: Board, image: FlashImage) -> None:
    hint = "build the project again; an image of another program is not flashed"
    if image.begin not in {memory.origin for memory in _flash(board)}:
        origins = " or ".join(f"0x{memory.origin:x}" for memory in _flash(board))
        raise UnsafeImageError(
            f"the image begins at 0x{image.begin:x}, where {board.name} does not start a program",
            cause=f"its vector table must lie at {origins}",
            hint=hint,
        )
    table = image.read(image.begin, _VECTORS_BYTES)
    if len(table) < _VECTORS_BYTES:
        raise UnsafeImageError("the image holds no vector table", cause=f"it has {len(table)} bytes", hint=hint)
    stack, reset = (int.from_bytes(table[at : at + 4], "little") for at in (0, 4))
    in_ram = any(m.origin < stack <= m.end for m in board.memory if m.kind is MemoryKind.RAM)
    if not in_ram or stack % 8:
        raise UnsafeImageError(
            f"the image would start with its stack at 0x{stack:x}",
            cause=f"that is {'not a multiple of 8' if in_ram else f'outside of the RAM of {board.name}'}",
            hint=hint,
        )
    if not reset & 1 or not image.read(reset & ~1, 1):
        raise UnsafeImageError(
            f"the image would start at 0x{reset:x}",
            cause="that is no Thumb code" if not reset & 1 else "that lies outside of the image",
            hint=hint,
        )
