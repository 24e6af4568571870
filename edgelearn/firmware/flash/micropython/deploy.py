"""deploy(): carries out the plan of a deployment, and starts the program.

main.py goes first and comes last: at any cut the board comes up at its REPL, and the next deployment goes on.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
from collections.abc import Callable, Mapping

from edgelearn.board import Board
from edgelearn.errors import FlashError
from edgelearn.firmware.flash.micropython.found import Found, check, look
from edgelearn.firmware.flash.micropython.plan import (
    LIST,
    MAIN,
    ROOM_HINT,
    Deployment,
    list_text,
    new_name,
    on_device,
    plan,
    room_text,
)
from edgelearn.firmware.flash.micropython.raw_repl import TITLE, DeviceRaisedError, RawRepl
from edgelearn.firmware.flash.micropython.rom import MOUNT, has_image, write_image
from edgelearn.firmware.flash.tool import Failure, Job, flash_error
from edgelearn.firmware.package import Package

_SLOW_S = 60.0
#: Of which there is never half: the list tells our files from others, and main.py runs at the next start.
_REPLACED = (LIST, MAIN)


def deploy(
    job: Job,
    package: Package,
    *,
    heap_bytes: int,
    head_bytes: int = 0,
    romfs: bool | None = None,
    force: bool = False,
    dry_run: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Deployment:
    """Put a package onto the board at a port, and start it.

    Args:
        job: board and port.
        package: compiled.
        heap_bytes: that it needs, with its weights.
        head_bytes: of each of the two files with what it learns; 0 where it learns nothing.
        romfs: see `plan`.
        force: see `plan` and `check`.
        dry_run: only look and say what would be done; what ran is started again.
        say: takes what a person should see as it happens.

    Raises:
        MissingPackageError: mpremote is not installed.
        FlashError: says at which step, why and what to do.
    """
    say(f"connecting to MicroPython at {job.port}")
    with RawRepl(job.port, job.board, say) as repl:
        try:
            found = look(repl)
            say(str(found))
            check(found, job.board, package, force=force)
            made = plan(
                repl,
                found,
                job.board,
                package,
                heap_bytes=heap_bytes,
                head_bytes=head_bytes,
                romfs=romfs,
                force=force,
            )
            if not dry_run:
                for note in made.notes:
                    say(f"note: {note}")
                _carry_out(repl, made, job.board, say)
        except DeviceRaisedError as error:
            raise _raised(error, job.board) from error
    return made


def _carry_out(repl: RawRepl, made: Deployment, board: Board, say: Callable[[str], None]) -> None:
    found = made.found
    path = ""
    try:
        if made.aside:
            say(f"keeping {MAIN}, which is not edgelearn's, as {made.aside}")
            repl.exec(f"os.rename({on_device(found, MAIN)!r},{on_device(found, made.aside)!r})")
        first = [path for path in made.remove if path == MAIN]
        _remove(repl, found, first)
        if LIST in made.write:
            # All that may be there from now on is ours, wherever this is cut.
            hashes = {**dict.fromkeys(made.files, ""), **dict(made.listed)}
            path = LIST
            _replace(repl, made, LIST, list_text(hashes, takes_rom=made.in_rom or made.was_in_rom), board)
        _remove(repl, found, [one for one in made.remove if one not in (*first, LIST)])
        _move(repl, made, say)
        if made.image:
            say(f"writing the ROM partition ({len(made.image):,} bytes)")
            path = MOUNT
            _write_rom(repl, made, board)
        for path in made.write:
            if path == MAIN:
                _verify(repl, made, {one: made.files[one] for one in made.write if one not in _REPLACED}, board)
            say(f"writing {path} ({len(made.files[path]):,} bytes)")
            if path in _REPLACED:
                _replace(repl, made, path, made.files[path], board)
            else:
                repl.write_file(on_device(found, path), made.files[path])
    except (DeviceRaisedError, FlashError) as error:
        # What is half there would take the room of what somebody needs, and an old main.py serves its owner.
        with contextlib.suppress(DeviceRaisedError, FlashError):
            if path in made.write and isinstance(error, DeviceRaisedError):
                _remove(repl, found, [new_name(path) if path in _REPLACED else path])
            if made.aside:
                repl.exec(f"os.rename({on_device(found, made.aside)!r},{on_device(found, MAIN)!r})")
        if isinstance(error, FlashError):
            raise
        raise _raised(error, board, made, path) from error


def _remove(repl: RawRepl, found: Found, paths: list[str]) -> None:
    if paths:
        repl.exec(f"for _path in {[on_device(found, path) for path in paths]}:\n _remove(_path)")


def _replace(repl: RawRepl, made: Deployment, path: str, data: bytes, board: Board) -> None:
    """Write a file under another name, verify and rename it: at any cut there is no half of it."""
    new = new_name(path)
    repl.write_file(on_device(made.found, new), data)
    _verify(repl, made, {new: data}, board)
    # Some file systems write when they please.
    repl.exec(
        f"if hasattr(os,'sync'):\n os.sync()\nos.rename({on_device(made.found, new)!r},{on_device(made.found, path)!r})"
    )


def _move(repl: RawRepl, made: Deployment, say: Callable[[str], None]) -> None:
    """Bring what was learned to where it is looked for; the package's folder is there afterwards, or is not."""
    folder = on_device(made.found, made.folder)
    if not made.in_rom:
        repl.exec(f"try:\n os.mkdir({folder!r})\nexcept OSError as e:\n if e.errno!=17:\n  raise")
    for before, after in made.moved:
        say(f"moving what was learned from {before} to {after}")
        repl.exec(f"os.rename({on_device(made.found, before)!r},{on_device(made.found, after)!r})")
    if made.in_rom:
        repl.exec(f"try:\n os.rmdir({folder!r})\nexcept OSError as e:\n if e.errno!=2:\n  raise")


def _verify(repl: RawRepl, made: Deployment, files: Mapping[str, bytes], board: Board) -> None:
    """Compare the hashes of files, on the device; what differs goes."""
    there = repl.value(f"[_hash(p) for p in {[on_device(made.found, path) for path in files]}]", timeout_s=_SLOW_S)
    wrong = [
        path
        for (path, data), hash_ in zip(files.items(), there, strict=True)
        if hash_ != (len(data), hashlib.sha256(data).digest())
    ]
    if wrong:
        _remove(repl, made.found, wrong)
        raise flash_error(
            Failure.VERIFY,
            title=TITLE,
            board=board,
            step="verify",
            cause=f"{', '.join(wrong)}: another hash than that of what was sent",
        )


def _write_rom(repl: RawRepl, made: Deployment, board: Board) -> None:
    if made.found.rom is None:
        raise AssertionError("an image without a partition")
    write_image(repl, made.found.rom, made.image)
    if not has_image(repl, made.image):
        raise flash_error(
            Failure.VERIFY,
            title=TITLE,
            board=board,
            step="verify",
            cause="the ROM partition has another hash than was sent",
        )


def _raised(error: DeviceRaisedError, board: Board, made: Deployment | None = None, path: str = "") -> FlashError:
    """What an error on the device means."""
    at = f"{path}: {error}" if path else str(error)
    if error.errno == errno.ENOSPC and made is not None:
        needed = sum(len(made.files[one]) for one in made.write)
        return FlashError(
            f"the file system of {board.name} is full",
            step="write",
            failure=Failure.TOO_LARGE.value,
            cause=f"{at}: {room_text(needed, made.found.free_bytes, made.found)}",
            hint=f"{ROOM_HINT}; then flash again: it goes on where it stopped",
        )
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENODEV):
        return FlashError(
            f"the file system of {board.name} cannot be written to",
            step="write",
            failure=Failure.PROTECTED.value,
            cause=at,
            hint="does boot.py mount it read-only, or has the computer mounted the board as a drive? Eject the drive, "
            "mend boot.py, and flash again",
        )
    return flash_error(
        Failure.UNKNOWN,
        title=TITLE,
        board=board,
        cause=at,
        hint="press its reset button and flash again: it goes on where it stopped",
    )
