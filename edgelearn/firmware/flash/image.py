"""read_image(elf): the bytes of an image that lie in flash, and the files in which flashers want them."""

from __future__ import annotations

import io
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from intelhex import IntelHex
from msgspec import Struct

from edgelearn.errors import UnsafeImageError, reason

#: What erased flash reads as: what lies between two segments is written as it was.
_ERASED = 0xFF
#: A file in which all bytes between the first and the last are written is refused beyond this size.
_MOST_BYTES = 64 << 20


class Segment(Struct, frozen=True, kw_only=True):
    """Bytes at an address."""

    address: int
    data: bytes

    @property
    def end(self) -> int:
        """The address after it."""
        return self.address + len(self.data)


class FlashImage(Struct, frozen=True, kw_only=True):
    """What is written to flash: segments by address, none empty, none touching another."""

    segments: tuple[Segment, ...]

    @property
    def begin(self) -> int:
        """The first address."""
        return self.segments[0].address

    @property
    def end(self) -> int:
        """The address after the last byte."""
        return self.segments[-1].end

    @property
    def size_bytes(self) -> int:
        """Bytes of all segments."""
        return sum(len(segment.data) for segment in self.segments)

    def read(self, address: int, size_bytes: int) -> bytes:
        """The bytes at an address, as many as one segment holds."""
        for segment in self.segments:
            if segment.address <= address < segment.end:
                return segment.data[address - segment.address :][:size_bytes]
        return b""


def make_image(pieces: dict[int, bytes]) -> FlashImage:
    """An image from pieces by address; pieces that touch become one segment.

    Raises:
        UnsafeImageError: two overlap, or there is nothing.
    """
    joined: list[Segment] = []
    for address, data in sorted(pieces.items()):
        if joined and data and address < joined[-1].end:
            raise UnsafeImageError(f"the image holds two different bytes for address 0x{address:x}")
        if joined and data and address == joined[-1].end:
            joined[-1] = Segment(address=joined[-1].address, data=joined[-1].data + data)
        elif data:
            joined.append(Segment(address=address, data=data))
    if not joined:
        raise UnsafeImageError("the image holds nothing for flash")
    return FlashImage(segments=tuple(joined))


def read_image(elf: Path) -> FlashImage:
    """What an ELF file loads into flash: the contents of its segments at their physical addresses.

    Raises:
        UnsafeImageError: it is no ELF file, or loads nothing.
    """
    try:
        with elf.open("rb") as file:
            loaded = {
                int(segment["p_paddr"]): segment.data()
                for segment in ELFFile(file).iter_segments("PT_LOAD")
                if segment["p_filesz"] > 0
            }
    except (OSError, ELFError) as error:
        raise UnsafeImageError(
            f"{elf} is no image that can be flashed", cause=reason(error), hint="`edgelearn build DIR` makes one"
        ) from error
    return make_image(loaded)


def to_bin(image: FlashImage) -> bytes:
    """All bytes from the first to the last; those between segments are as in erased flash.

    Raises:
        UnsafeImageError: the segments are too far apart for such a file.
    """
    if image.end - image.begin > _MOST_BYTES:
        raise UnsafeImageError(
            "the image cannot be written as one block",
            cause=f"it reaches from 0x{image.begin:x} to 0x{image.end:x}",
            hint="take a way to flash that writes segments, such as a debug probe",
        )
    out = bytearray([_ERASED]) * (image.end - image.begin)
    for segment in image.segments:
        out[segment.address - image.begin : segment.end - image.begin] = segment.data
    return bytes(out)


def to_hex(image: FlashImage) -> str:
    """Intel HEX, without what lies between segments."""
    out = IntelHex()
    for segment in image.segments:
        out.puts(segment.address, segment.data)
    text = io.StringIO()
    out.write_hex_file(text)
    return text.getvalue()
