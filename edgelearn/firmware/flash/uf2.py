"""UF2, the file format of bootloaders that offer a drive: written, and read back.

Microsoft, USB Flashing Format (UF2), https://github.com/microsoft/uf2: blocks of 512 bytes, each with magic numbers,
the address and up to 476 bytes for it. Bootloaders want 256 bytes in each block, at a multiple of 256, and ignore
blocks of another family than their chip's.
"""

from __future__ import annotations

import struct

from edgelearn.errors import UnsafeImageError
from edgelearn.firmware.flash.image import FlashImage, make_image

BLOCK_BYTES = 512
#: Bytes of flash that each block holds.
PAGE_BYTES = 256
_DATA_BYTES = 476
_MAGIC_BEGIN, _MAGIC_SECOND, _MAGIC_END = 0x0A32_4655, 0x9E5D_5157, 0x0AB1_6F30
_NOT_MAIN_FLASH, _HAS_FAMILY = 0x0000_0001, 0x0000_2000
_HEADER = struct.Struct("<8I")
_ERASED = b"\xff"


def pages(image: FlashImage) -> FlashImage:
    """The image in whole pages, filled up as erased flash reads: what its blocks write."""
    found: dict[int, bytearray] = {}
    for segment in image.segments:
        for address in range(segment.address & -PAGE_BYTES, segment.end, PAGE_BYTES):
            page = found.setdefault(address, bytearray(_ERASED * PAGE_BYTES))
            begin = max(address, segment.address)
            data = image.read(begin, address + PAGE_BYTES - begin)
            page[begin - address : begin - address + len(data)] = data
    return make_image({address: bytes(page) for address, page in found.items()})


def to_uf2(image: FlashImage, family: int) -> bytes:
    """The file of an image for a family of chips."""
    blocks = [
        (address, segment.data[address - segment.address :][:PAGE_BYTES])
        for segment in pages(image).segments
        for address in range(segment.address, segment.end, PAGE_BYTES)
    ]
    out = bytearray()
    for number, (address, data) in enumerate(blocks):
        out += _HEADER.pack(_MAGIC_BEGIN, _MAGIC_SECOND, _HAS_FAMILY, address, PAGE_BYTES, number, len(blocks), family)
        out += data.ljust(_DATA_BYTES, b"\0") + _MAGIC_END.to_bytes(4, "little")
    return bytes(out)


def from_uf2(data: bytes) -> tuple[FlashImage, int]:
    """The pages in a file, and the family of chips that it is for.

    Raises:
        UnsafeImageError: it is no UF2 file, not complete, or not for one family; says which block is wrong.
    """
    if not data or len(data) % BLOCK_BYTES:
        raise UnsafeImageError(f"{len(data):,} bytes are not a UF2 file", cause=f"its blocks have {BLOCK_BYTES} bytes")
    found: dict[int, bytes] = {}
    families = set()
    for number in range(len(data) // BLOCK_BYTES):
        block = data[number * BLOCK_BYTES :][:BLOCK_BYTES]
        first, second, flags, address, size_bytes, own_number, count, family = _HEADER.unpack_from(block)
        problem = (
            "its magic numbers are wrong"
            if (first, second, int.from_bytes(block[-4:], "little")) != (_MAGIC_BEGIN, _MAGIC_SECOND, _MAGIC_END)
            else f"it holds {size_bytes} bytes"
            if not 0 < size_bytes <= _DATA_BYTES
            else f"it says it is block {own_number} of {count}"
            if (own_number, count) != (number, len(data) // BLOCK_BYTES)
            else "it names no family"
            if not flags & _HAS_FAMILY
            else ""
        )
        if problem:
            raise UnsafeImageError(f"block {number} of the UF2 file is wrong", cause=problem)
        families.add(family)
        if not flags & _NOT_MAIN_FLASH:
            found[address] = block[_HEADER.size : _HEADER.size + size_bytes]
    if len(families) != 1:
        raise UnsafeImageError("the UF2 file is for several families of chips")
    return make_image(found), families.pop()
