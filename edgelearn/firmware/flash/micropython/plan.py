"""plan(): what differs on the device, by hash, and how it becomes the package. Nothing is written."""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from edgelearn.board import Board
from edgelearn.firmware.flash.micropython.found import Found, refused
from edgelearn.firmware.flash.micropython.raw_repl import RawRepl
from edgelearn.firmware.flash.micropython.rom import has_image, make_image
from edgelearn.firmware.flash.tool import Failure
from edgelearn.firmware.package import Package
from edgelearn.project import Project
from edgelearn.recipe import Residual

MAIN = "main.py"
_WEIGHTS = "weights.bin"
#: The list of our files.
LIST = "edgelearn.json"
#: What was learned, and where it lies beside a package in ROM.
_HEADS = ("head.0", "head.1")
#: What of a project's buffers is in such a file, and what else is: 32 bytes of counters, header, checksum, and what a
#: head that rounds at random goes on from.
_SAVED = ("head_weights", "head_bias", "head_row_t", "head_row_rho", "head_residual", "names")
_SAVED_BESIDE_BYTES, _SAVED_RANDOM_BYTES = 32 + 24 + 4, 4
_BEFORE = "main_before"
_HASH_DIGITS = 16
_SLOW_S = 60.0
#: In errors: what answers can run the package, so that another firmware would not help.
_STEP = "plan"

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
#: _names(folder): what is in it, with sizes; _remove(path): remove a file that may not be there; _text(path): None
#: without one, or where it is none. On a small heap every name counts: each takes some of it until the next reset.
_TOOLS = """\
import os
def _names(p):
 try:
  return [(e[0],e[3:4]) for e in os.ilistdir(p)]
 except OSError:
  return []
def _remove(p):
 try:
  os.remove(p)
 except OSError as e:
  if e.errno!=2:
   raise
def _text(p):
 try:
  with open(p) as f:
   return f.read()
 except (OSError,ValueError):
  pass
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
        was_in_rom: whether the package lay in the ROM partition.
        notes: what a person should know.
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
    was_in_rom: bool = False
    notes: tuple[str, ...] = ()

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
        listed: our own: path -> first digits of the SHA-256; empty where they are not known.
        has_list: whether the list of our own can be read.
        was_in_rom: whether the package lay in the ROM partition.
        heads_bytes: of each file with what was learned.
        names: what lies beside main.py, and in the package's folder.
        folder: the package's.
    """

    files: Mapping[str, tuple[int, bytes]]
    listed: Mapping[str, str]
    has_list: bool
    was_in_rom: bool
    heads_bytes: tuple[int, ...]
    names: tuple[frozenset[str], frozenset[str]]
    folder: str


def _see(repl: RawRepl, found: Found, contents: Mapping[str, bytes], weights: str) -> _There:
    folder = posixpath.dirname(weights)
    read = _read_list(repl, found)
    listed, was_in_rom = read or ({}, bool(found.rom and folder in found.rom.names))
    paths = list(dict.fromkeys((*contents, *listed, LIST, *map(new_name, (LIST, MAIN)))))
    hashes = repl.value(f"[_hash(p) for p in {[on_device(found, path) for path in paths]}]", timeout_s=_SLOW_S)
    files = {path: hash_ for path, hash_ in zip(paths, hashes, strict=True) if hash_ is not None}
    if read is None and weights in files:
        # A package whose list was lost: what has the names of this one is known, and goes where it is not wanted.
        listed = {path: "" for path in contents if path in files and path != MAIN}
    names = f"_names({found.folder or '/'!r}),_names({on_device(found, folder)!r})"
    beside, within = map(dict, repl.value(f"({names})"))
    repl.exec("del _names,_text\ngc.collect()")
    return _There(
        files=files,
        listed=listed,
        has_list=read is not None,
        was_in_rom=was_in_rom,
        heads_bytes=tuple(sum(names.get(name, ())) for names in (beside, within) for name in _HEADS),
        names=(frozenset(beside), frozenset(within)),
        folder=folder,
    )


def on_device(found: Found, path: str) -> str:
    """The whole path of a file on the device."""
    return f"{found.folder}/{path}"


def new_name(path: str) -> str:
    """What a file is called until it is whole."""
    return f"{path}.new"


def _read_list(repl: RawRepl, found: Found) -> tuple[dict[str, str], bool] | None:
    """Our files on the device with the beginnings of their hashes, and whether more of them are in ROM; makes `_TOOLS`.

    None where no list can be read. FAT removes the old one before it renames the new one: then that is there alone.
    """
    paths = [on_device(found, path) for path in (LIST, new_name(LIST))]
    for text in repl.value(f"[_text(p) for p in {paths}]", after=_TOOLS + _HASHER):
        try:
            read = json.loads(text)
            return {str(path): str(digits) for path, digits in read["files"].items()}, bool(read["rom"])
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return None


def head_file_bytes(project: Project) -> int:
    """Bytes of a file with what was learned; 0 where nothing learns."""
    if not project.trains:
        return 0
    random_bytes = _SAVED_RANDOM_BYTES if project.residual == Residual.STOCHASTIC.value else 0
    saved = sum(buffer.size_bytes for buffer in project.buffers if buffer.symbol in _SAVED)
    return saved + random_bytes + _SAVED_BESIDE_BYTES


def plan(
    repl: RawRepl,
    found: Found,
    board: Board,
    package: Package,
    *,
    heap_bytes: int,
    head_bytes: int = 0,
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
        head_bytes: of each of the two files with what it learns; 0 where it learns nothing. What has no room for them
            is put there all the same, with a note.
        romfs: whether it goes into the ROM partition; None: where the board's file says so, or the heap cannot hold
            it otherwise.
        force: write over what else lies in the ROM partition.

    Raises:
        FlashError: with step `plan`: heap or file system are too small, both numbers said; or something stands in the
            way.
    """
    contents = {path: (package.folder / path).read_bytes() for path in package.sizes_bytes}
    weights = next(path for path in contents if posixpath.basename(path) == _WEIGHTS)
    there = _see(repl, found, contents, weights)
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
    obsolete = [
        path for path in (*there.listed, *map(new_name, (LIST, MAIN))) if path in there.files and path not in wanted
    ]
    moved = _moves(there, takes_rom=takes_rom)
    if not takes_rom or has_image(repl, image):
        image = b""
    main = there.files.get(MAIN)
    is_foreign = (
        main is not None
        and MAIN in different
        and there.listed.get(MAIN) != main[1].hex()[:_HASH_DIGITS]
        # Half of it, left by a tool that was cut.
        and main[1] != hashlib.sha256(contents[MAIN][: main[0]]).digest()
    )
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
        was_in_rom=there.was_in_rom,
    )
    left_bytes = _check_room(made, there, board)
    note = _no_room_to_save(found, there, left_bytes, head_bytes)
    return replace(made, notes=(note,)) if note else made


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
            step=_STEP,
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
        step=_STEP,
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
        lost = f"; {LIST}, which names edgelearn's files, cannot be read" if _is_damaged(there) else ""
        raise refused(
            Failure.PROTECTED,
            f"what is not edgelearn's would be imported in place of the model: {', '.join(first)}",
            cause=f"it is on the board, and MicroPython finds it before the package `{there.folder}`{lost}",
            hint=f"take it away or rename it: `mpremote rm :{first[0]}`; edgelearn removes only what it has put there",
            step=_STEP,
        )


def _is_damaged(there: _There) -> bool:
    return not there.has_list and (LIST in there.files or new_name(LIST) in there.files)


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


def _check_room(made: Deployment, there: _There, board: Board) -> int:
    """Refuse what the file system surely cannot hold, after what is replaced has gone; the bytes that it has left."""
    found = made.found
    needed = sum(_room(found, len(made.files[path])) for path in made.write)
    given = found.free_bytes + sum(_room(found, there.files[path][0]) for path in made.remove)
    if needed > given:
        raise refused(
            Failure.TOO_LARGE,
            f"the file system of {board.name} is too small, or too full",
            cause=room_text(needed, given, found),
            hint=ROOM_HINT,
            step=_STEP,
        )
    return given - needed


def _no_room_to_save(found: Found, there: _There, left_bytes: int, head_bytes: int) -> str:
    """Why what is learned cannot be kept; empty where it can. Files of before, of whatever model, are written over."""
    needed = 2 * _room(found, head_bytes)
    given = left_bytes + sum(_room(found, size) for size in there.heads_bytes)
    if needed <= given:
        return ""
    return (
        f"what it learns will not all be kept over a reset: two files of {head_bytes:,} bytes take {needed:,}, the "
        f"file system at {found.folder or '/'} has {given:,} for them; {ROOM_HINT}"
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
