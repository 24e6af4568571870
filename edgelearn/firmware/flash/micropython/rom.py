"""The ROM partition of a MicroPython board: files there are read in place, so that weights take nothing of the heap.

An image is written so that a cut leaves none: its first bytes, without which nothing is mounted, are erased first and
written last. What is the same already is not written again, where the partition is erased in blocks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from edgelearn.firmware.flash.micropython.raw_repl import DeviceRaisedError, RawRepl

#: Where the firmware mounts the first ROM partition.
MOUNT = "/rom"
#: Words of weights are read in place.
_ALIGNMENT = 4
#: What flash chips write at once divides this.
_MULTIPLE = 256
_ERASE_S = 60.0

#: Bytes of the partition, bytes of a block that is erased at once (0: all), whether it is an object with methods.
_LOOK = """\
_rom=-1
try:
 import vfs,os
 if vfs.rom_ioctl(1)>0:
  _rom=vfs.rom_ioctl(2,0)
except (ImportError,AttributeError,OSError):
 pass
_rom_object=hasattr(_rom,'ioctl')
if isinstance(_rom,int):
 _rom_size=(0,0,_rom_object)
elif _rom_object:
 _rom_size=(_rom.ioctl(4,0)*_rom.ioctl(5,0),_rom.ioctl(5,0),_rom_object)
else:
 _rom_size=(len(_rom),max(vfs.rom_ioctl(6,0),0),_rom_object)
try:
 _rom_names=os.listdir('/rom') if _rom_size[0] else []
except OSError:
 _rom_names=[]
"""
_HASHER = """\
from hashlib import sha256
def _rom_hash(a,b):
 return sha256(memoryview(_rom)[a:b]).digest()
"""


class Rom(Struct, frozen=True, kw_only=True):
    """A ROM partition.

    Attributes:
        size_bytes: of it.
        block_bytes: that are erased at once; 0 where all is.
        is_object: whether it has methods of its own, as block devices have.
        names: of what lies at its root.
    """

    size_bytes: int
    block_bytes: int
    is_object: bool
    names: tuple[str, ...] = ()


def find_rom(repl: RawRepl) -> Rom | None:
    """The first ROM partition; None where there is none.

    Raises:
        FlashError: see `RawRepl.exec`.
    """
    (size_bytes, block_bytes, is_object), names = repl.value("(_rom_size,_rom_names)", after=_LOOK)
    if not size_bytes:
        return None
    return Rom(
        size_bytes=size_bytes,
        block_bytes=block_bytes,
        is_object=is_object,
        names=tuple(sorted(names)),
    )


def make_image(files: Mapping[str, bytes], *, aligned: str) -> bytes:
    """The image of these files, by mpremote's builder.

    Args:
        files: path -> contents; paths have at most one folder.
        aligned: path of the file whose contents begin at a multiple of four bytes.
    """
    # How long headers are depends on what comes behind them: where the contents begin is seen, not reckoned.
    place = hashlib.shake_256(b"contents").digest(len(files[aligned]))
    for behind in range(2):
        for before in range(_ALIGNMENT):
            if _image({**files, aligned: place}, before, behind).index(place) % _ALIGNMENT == 0:
                return _image(files, before, behind)
    raise AssertionError(f"{aligned} cannot be aligned")


def _image(files: Mapping[str, bytes], before: int, behind: int) -> bytes:
    """The image with so many more bytes before the files, and behind."""
    from mpremote.romfs import VfsRomWriter

    writer: Any = VfsRomWriter()
    writer.mkdata(bytes(before))
    folders: dict[str, dict[str, bytes]] = {}
    for path, data in sorted(files.items()):
        folder, _, name = path.rpartition("/")
        folders.setdefault(folder, {})[name] = data
    for folder, contents in sorted(folders.items()):
        if folder:
            writer.opendir(folder)
        for name, data in contents.items():
            writer.mkfile(name, data)
        if folder:
            writer.closedir()
    writer.mkdata(bytes(behind))
    return bytes(writer.finalise())


def has_image(repl: RawRepl, image: bytes) -> bool:
    """Whether that image is in the partition already.

    Raises:
        DeviceRaisedError, FlashError: see `RawRepl.exec`.
    """
    return not _different(repl, image, [0], len(image))


def _different(repl: RawRepl, image: bytes, starts: list[int], unit: int) -> list[int]:
    """Which of these blocks of the partition are not as in the image."""
    ends = [min(start + unit, len(image)) for start in starts]
    blocks = list(zip(starts, ends, strict=True))
    there = repl.value(f"[_rom_hash(a,b) for a,b in {blocks}]", after=_HASHER, timeout_s=_ERASE_S)
    wanted = [hashlib.sha256(image[start:end]).digest() for start, end in zip(starts, ends, strict=True)]
    return [start for start, is_, should in zip(starts, there, wanted, strict=True) if is_ != should]


def write_image(repl: RawRepl, rom: Rom, image: bytes) -> None:
    """Write an image, its first bytes last.

    Raises:
        DeviceRaisedError, FlashError: see `RawRepl.exec`.
    """
    repl.exec("import vfs\ntry:\n vfs.umount('/rom')\nexcept OSError:\n pass")
    unit = rom.block_bytes or len(image)
    blocks = [0, *_different(repl, image, list(range(unit, len(image), unit)), unit)]
    for start in blocks:
        _erase(repl, rom, start, min(unit, len(image) - start))
    pieces = [
        (piece, min(piece + repl.piece_bytes, start + unit, len(image)))
        for start in blocks
        for piece in range(start, min(start + unit, len(image)), repl.piece_bytes)
    ]
    for start, end in (*pieces[1:], pieces[0]):
        _write(repl, rom, start, image[start:end])
    if not rom.is_object:
        _ask(repl, "vfs.rom_ioctl(5,0)")


def _erase(repl: RawRepl, rom: Rom, start: int, size: int) -> None:
    if rom.is_object:
        repl.exec(f"_rom.ioctl(6,{start // rom.block_bytes})", timeout_s=_ERASE_S)
    elif rom.block_bytes:
        _ask(repl, f"vfs.rom_ioctl(3,0,{start},{size + -size % rom.block_bytes})")
    else:
        _ask(repl, f"vfs.rom_ioctl(3,0,{size})")


def _write(repl: RawRepl, rom: Rom, start: int, data: bytes) -> None:
    data += bytes(-len(data) % _MULTIPLE)
    if rom.is_object:
        repl.send(data, f"_rom.writeblocks({start // rom.block_bytes},_piece,{start % rom.block_bytes})")
    else:
        repl.send(data, f"_result=vfs.rom_ioctl(4,0,{start},_piece)\nif _result<0:\n raise OSError(-_result)")


def _ask(repl: RawRepl, call: str) -> None:
    """Carry out what gives a negative number where it fails.

    Raises:
        DeviceRaisedError: it did.
    """
    result = repl.value(call, timeout_s=_ERASE_S)
    if isinstance(result, int) and result < 0:
        raise DeviceRaisedError(f"OSError: {-result}")
