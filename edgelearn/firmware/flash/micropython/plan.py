"""plan(): what differs on the device, by hash, and how it becomes the package. Nothing is written."""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Mapping

from msgspec import Struct

from edgelearn.board import Board
from edgelearn.firmware.flash.micropython.found import Found, refused
from edgelearn.firmware.flash.micropython.raw_repl import DeviceRaisedError, RawRepl
from edgelearn.firmware.flash.micropython.rom import has_image, make_image
from edgelearn.firmware.flash.tool import Failure
from edgelearn.firmware.package import Package

MAIN = "main.py"
_WEIGHTS = "weights.bin"
#: The list of our files.
LIST = "edgelearn.json"
#: What was learned, and where it lies beside a package in ROM.
_HEADS = ("head.0", "head.1")
_BEFORE = "main_before"
_HASH_DIGITS = 16
_SLOW_S = 60.0

#: _hash(path): its bytes and SHA-256, None where there is no such file.
_HASHER = """\
from hashlib import sha256
def _hash(p):
 try:
  f=open(p,'rb')
 except OSError:
  return
 h=sha256()
 b=bytearray(512)
 m=memoryview(b)
 s=0
 while 1:
  n=f.readinto(b)
  if not n:
   break
  h.update(m[:n])
  s+=n
 f.close()
 return s,h.digest()
"""
#: _names(folder): what is in it; _remove(path): remove a file that may not be there.
_TOOLS = """\
import os
def _names(p):
 try:
  return os.listdir(p)
 except OSError:
  return []
def _remove(p):
 try:
  os.remove(p)
 except OSError as e:
  if e.errno!=2:
   raise
"""


class Deployment(Struct, frozen=True, kw_only=True):
    """What a deployment does to a board, in that order.

    Attributes:
        found: what answered.
        in_rom: whether the package lies in the ROM partition.
        aside: what somebody else's main.py is called from now on; empty where there is none.
        remove: files of ours that are replaced or needed no more, by their path from the folder of main.py.
        moved: files with what was learned: from where, to where.
        image: of the ROM partition where it must be written; empty where not.
        write: files to write; main.py is the last.
        files: path -> contents of all files that shall be in the file system.
        listed: our files of before, with the beginnings of their hashes.
        folder: the package's.
    """

    found: Found
    in_rom: bool
    aside: str
    remove: tuple[str, ...]
    moved: tuple[tuple[str, str], ...]
    image: bytes
    write: tuple[str, ...]
    files: Mapping[str, bytes]
    listed: tuple[tuple[str, str], ...]
    folder: str

    @property
    def steps(self) -> tuple[str, ...]:
        """The same for a person."""
        found = [f"rename {MAIN}, which is not edgelearn's, to {self.aside}"] if self.aside else []
        found += [f"remove {path}" for path in self.remove if path not in self.write]
        found += [f"move what was learned from {before} to {after}" for before, after in self.moved]
        if self.image:
            found.append(f"write the ROM partition ({len(self.image):,} bytes)")
        found += [f"write {path} ({len(self.files[path]):,} bytes)" for path in self.write]
        return (*found, "soft reset") if found else ("nothing to write: all is there", "soft reset")


class _There(Struct, frozen=True, kw_only=True):
    """Files on the device that concern us, by their path from the folder of main.py.

    Attributes:
        files: path -> (bytes, SHA-256).
        listed: our own: path -> first digits of the SHA-256.
        was_in_rom: whether the package lay in the ROM partition.
        names: what lies beside main.py, and in the package's folder.
        folder: the package's.
    """

    files: Mapping[str, tuple[int, bytes]]
    listed: Mapping[str, str]
    was_in_rom: bool
    names: tuple[frozenset[str], frozenset[str]]
    folder: str


def _see(repl: RawRepl, found: Found, contents: Mapping[str, bytes], folder: str) -> _There:
    repl.exec(_TOOLS + _HASHER)
    listed, was_in_rom = _read_list(repl, found)
    paths = list(dict.fromkeys((*contents, *listed, LIST)))
    hashes = repl.value(f"[_hash(p) for p in {[on_device(found, path) for path in paths]}]", timeout_s=_SLOW_S)
    names = repl.value(f"(_names({found.folder or '/'!r}),_names({on_device(found, folder)!r}))")
    return _There(
        files={path: hash_ for path, hash_ in zip(paths, hashes, strict=True) if hash_ is not None},
        listed=listed,
        was_in_rom=was_in_rom,
        names=(frozenset(names[0]), frozenset(names[1])),
        folder=folder,
    )


def on_device(found: Found, path: str) -> str:
    """The whole path of a file on the device."""
    return f"{found.folder}/{path}"


def _read_list(repl: RawRepl, found: Found) -> tuple[dict[str, str], bool]:
    """Our files on the device with the beginnings of their hashes, and whether more of them are in ROM."""
    try:
        read = json.loads(repl.value(f"open({on_device(found, LIST)!r}).read()"))
        return {str(path): str(digits) for path, digits in read["files"].items()}, bool(read["rom"])
    except (DeviceRaisedError, ValueError, KeyError, TypeError, AttributeError):
        return {}, False


def plan(
    repl: RawRepl,
    found: Found,
    board: Board,
    package: Package,
    *,
    heap_bytes: int,
    romfs: bool | None = None,
    force: bool = False,
) -> Deployment:
    """What differs on the device, and how it becomes the package; nothing is written.

    Args:
        repl: of the device.
        found: what answered, checked.
        board: that the package is for.
        package: compiled.
        heap_bytes: that it needs, with its weights.
        romfs: whether it goes into the ROM partition; None: where the board's file says so, or the heap cannot hold
            it otherwise.
        force: write over what else lies in the ROM partition.

    Raises:
        FlashError: heap or file system are too small, both numbers said; or something stands in the way.
    """
    contents = {path: (package.folder / path).read_bytes() for path in package.files}
    weights = next(path for path in contents if posixpath.basename(path) == _WEIGHTS)
    there = _see(repl, found, contents, posixpath.dirname(weights))
    in_rom = {path: data for path, data in contents.items() if path != MAIN}
    image = make_image(in_rom, aligned=weights) if found.rom else b""
    why_not = _why_not_rom(found, there, image, force=force)
    takes_rom = _takes_rom(found, board, heap_bytes, romfs, why_not)
    saved_bytes = len(contents[weights]) if takes_rom else 0
    _check_heap(found, board, heap_bytes - saved_bytes, "" if takes_rom else why_not or "--no-romfs")
    wanted = {path: data for path, data in contents.items() if not (takes_rom and path in in_rom)}
    _check_shadows(there, wanted, takes_rom=takes_rom)
    wanted[LIST] = _list(wanted, takes_rom=takes_rom)
    wanted[MAIN] = wanted.pop(MAIN)
    different = [
        path
        for path in wanted
        if path not in there.files or there.files[path][1] != hashlib.sha256(wanted[path]).digest()
    ]
    obsolete = [path for path in there.listed if path in there.files and path not in wanted]
    moved = _moves(there, takes_rom=takes_rom)
    if not takes_rom or has_image(repl, image):
        image = b""
    main = there.files.get(MAIN)
    is_foreign = main is not None and MAIN in different and there.listed.get(MAIN) != main[1].hex()[:_HASH_DIGITS]
    if (different or obsolete or moved or image) and MAIN not in different:
        different.append(MAIN)
    replaced = [path for path in different if path in there.files and not (is_foreign and path == MAIN)]
    made = Deployment(
        found=found,
        in_rom=takes_rom,
        aside=_aside(there) if is_foreign else "",
        remove=tuple(sorted((*replaced, *obsolete), key=lambda path: path != MAIN)),
        moved=moved,
        image=image,
        write=tuple(different),
        files=wanted,
        listed=tuple(there.listed.items()),
        folder=there.folder,
    )
    _check_room(made, there, board)
    return made


def _list(files: Mapping[str, bytes], *, takes_rom: bool) -> bytes:
    """The list of our files, as it lies on the device."""
    hashes = {path: hashlib.sha256(data).hexdigest()[:_HASH_DIGITS] for path, data in files.items()}
    return list_text(hashes, takes_rom=takes_rom)


def list_text(hashes: Mapping[str, str], *, takes_rom: bool) -> bytes:
    """The list of our files as it lies on the device: path -> beginning of its hash."""
    return (json.dumps({"files": dict(sorted(hashes.items())), "rom": takes_rom}) + "\n").encode()


def _why_not_rom(found: Found, there: _There, image: bytes, *, force: bool) -> str:
    """Why the ROM partition cannot be used; empty where it can."""
    if found.rom is None:
        return "the board has no ROM partition"
    if len(image) > found.rom.size_bytes:
        return f"the ROM partition holds {found.rom.size_bytes:,} bytes, the package takes {len(image):,}"
    others = [name for name in found.rom.names if name != there.folder]
    if others and not force:
        return f"in the ROM partition lies what is not edgelearn's: {', '.join(others)}; --force writes over it"
    return ""


def _takes_rom(found: Found, board: Board, heap_bytes: int, romfs: bool | None, why_not: str) -> bool:
    if romfs is False or (romfs is None and why_not):
        return False
    if romfs and why_not:
        raise refused(
            Failure.NOT_SUPPORTED,
            f"the package cannot be put into a ROM partition of {board.name}",
            cause=why_not,
            hint="leave --romfs out: it then goes into the file system",
        )
    prefers = bool(board.micropython and board.micropython.romfs_bytes)
    return bool(romfs) or prefers or heap_bytes > found.heap_free_bytes


def _check_heap(found: Found, board: Board, heap_bytes: int, why_not_rom: str) -> None:
    if heap_bytes <= found.heap_free_bytes:
        return
    raise refused(
        Failure.TOO_LARGE,
        f"the model needs {heap_bytes:,} bytes of heap, on {board.name} {found.heap_free_bytes:,} are free",
        cause=f"its weights cannot be read in place: {why_not_rom}" if why_not_rom else "",
        hint="does boot.py import much? `edgelearn inspect BUNDLE --board BOARD` shows what takes most; bare-metal "
        "firmware leaves weights in flash, or choose a board with more RAM",
    )


def _check_shadows(there: _There, wanted: Mapping[str, bytes], *, takes_rom: bool) -> None:
    """Refuse what would be imported in place of the package."""
    beside, within = there.names
    if takes_rom:
        ours = {posixpath.basename(path) for path in there.listed if posixpath.dirname(path) == there.folder}
        first = [f"{there.folder}/{name}" for name in sorted(within - ours - set(_HEADS))]
        first += [name for name in (f"{there.folder}.py", f"{there.folder}.mpy") if name in beside]
    else:
        sources = (path.removesuffix(".mpy") + ".py" for path in wanted if path.endswith(".mpy"))
        first = [path for path in sources if posixpath.basename(path) in within and path not in there.listed]
    if first:
        raise refused(
            Failure.PROTECTED,
            f"what is not edgelearn's would be imported in place of the model: {', '.join(first)}",
            cause=f"it is on the board, and MicroPython finds it before the package `{there.folder}`",
            hint=f"take it away or rename it: `mpremote rm :{first[0]}`; edgelearn removes only what it has put there",
        )


def _moves(there: _There, *, takes_rom: bool) -> tuple[tuple[str, str], ...]:
    """Where what was learned goes: beside main.py where the package is in ROM."""
    beside, within = there.names
    inside = {name: posixpath.join(there.folder, name) for name in _HEADS}
    if takes_rom:
        return tuple((inside[name], name) for name in _HEADS if name in within)
    return tuple((name, inside[name]) for name in _HEADS if name in beside and there.was_in_rom)


def _aside(there: _There) -> str:
    """A name for somebody else's main.py that nothing has."""
    number, name = 1, f"{_BEFORE}.py"
    while name in there.names[0]:
        number += 1
        name = f"{_BEFORE}_{number}.py"
    return name


def _check_room(made: Deployment, there: _There, board: Board) -> None:
    """Refuse what the file system surely cannot hold, after what is replaced has gone."""
    found = made.found
    needed = sum(_room(found, len(made.files[path])) for path in made.write)
    given = found.free_bytes + sum(_room(found, there.files[path][0]) for path in made.remove)
    if needed > given:
        raise refused(
            Failure.TOO_LARGE,
            f"the file system of {board.name} is too small, or too full",
            cause=room_text(needed, given, found),
            hint=ROOM_HINT,
        )


ROOM_HINT = "remove files of yours that are not needed: `mpremote ls`, `mpremote rm :FILE`; what is there still works"


def room_text(needed: int, given: int, found: Found) -> str:
    """Both numbers of a file system that is too small, in bytes."""
    return (
        f"its files take {needed:,} bytes and more, as whole blocks of {found.block_bytes:,}; the file system at "
        f"{found.folder or '/'} has {given:,} for them"
    )


def _room(found: Found, size: int) -> int:
    """What a file takes at least: small ones may share a block."""
    return size + (-size % found.block_bytes if size > found.block_bytes else 0)
