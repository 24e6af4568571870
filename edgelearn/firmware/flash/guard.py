"""check_image(board, image): nothing is written but the application's own flash, and what is written can start.

This is what keeps a board from being bricked: bootloaders, radio firmware and settings lie in what a board file lists
as kept, or outside of its flash regions, and neither is ever written without `--force`.
"""

from __future__ import annotations

from collections.abc import Iterable

from edgelearn.board import Board, Memory, MemoryKind
from edgelearn.errors import UnsafeImageError
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
