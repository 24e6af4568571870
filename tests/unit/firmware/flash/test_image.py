"""Images: what of an ELF file is written, and the files for flashers. binutils is the oracle for HEX and BIN."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgelearn.errors import UnsafeImageError
from edgelearn.firmware.flash.image import FlashImage, make_image, read_image, to_bin, to_hex
from edgelearn.firmware.flash.uf2 import BLOCK_BYTES, PAGE_BYTES, from_uf2, pages, to_uf2
from tests.support.flashing import write_elf
from tests.support.tools import require_tool

OBJCOPY = "arm-none-eabi-objcopy"


@st.composite
def images(draw: st.DrawFn) -> FlashImage:
    """A few segments with gaps of all sizes, near boundaries of 64 KiB too."""
    address = draw(st.sampled_from([0, 0xFF, 0x1_0000, 0xFFF0, 0x800_0000, 0x1000_0000, 0x26000]))
    pieces = {}
    for size in draw(st.lists(st.integers(1, 700), min_size=1, max_size=4)):
        pieces[address] = draw(st.binary(min_size=size, max_size=size))
        address += size + draw(st.sampled_from([0, 1, 3, 200, 256, 70_000]))
    return make_image(pieces)


@given(images(), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_uf2_is_read_back(image: FlashImage, family: int) -> None:
    data = to_uf2(image, family)
    assert from_uf2(data) == (pages(image), family)


@given(images())
@settings(max_examples=60, deadline=None)
def test_uf2_blocks_are_as_the_format_wants_them(image: FlashImage) -> None:
    data = to_uf2(image, 0xADA5_2840)
    assert len(data) % BLOCK_BYTES == 0
    count = len(data) // BLOCK_BYTES
    addresses = []
    for number in range(count):
        block = data[number * BLOCK_BYTES :][:BLOCK_BYTES]
        words = struct.unpack_from("<8I", block)
        # README.md of github.com/microsoft/uf2, "File format"
        assert words[:2] == (0x0A324655, 0x9E5D5157)
        assert words[2] == 0x2000
        assert words[4:] == (PAGE_BYTES, number, count, 0xADA5_2840)
        assert struct.unpack_from("<I", block, 508) == (0x0AB16F30,)
        assert block[32 + PAGE_BYTES : 508] == bytes(476 - PAGE_BYTES)
        assert words[3] % PAGE_BYTES == 0
        addresses.append(words[3])
    assert addresses == sorted(set(addresses))


@given(images())
@settings(max_examples=60, deadline=None)
def test_pages_hold_the_image_and_erased_flash(image: FlashImage) -> None:
    filled = pages(image)
    assert all(segment.address % PAGE_BYTES == len(segment.data) % PAGE_BYTES == 0 for segment in filled.segments)
    for segment in image.segments:
        assert filled.read(segment.address, len(segment.data)) == segment.data
    held = b"".join(segment.data for segment in image.segments)
    more = sum(segment.data.count(0xFF) for segment in filled.segments) - held.count(0xFF)
    assert more == filled.size_bytes - image.size_bytes


@pytest.mark.parametrize(
    ("at", "byte", "cause"),
    [
        (0, 0x00, "magic"),
        (5, 0x00, "magic"),
        (508, 0x00, "magic"),
        (9, 0x00, "no family"),
        (17, 0x02, "512 bytes"),
        (20, 0x05, "block 5 of 2"),
        (24, 0x03, "block 0 of 3"),
    ],
)
def test_a_damaged_uf2_file_is_refused(at: int, byte: int, cause: str) -> None:
    data = bytearray(to_uf2(make_image({0: bytes(300)}), 7))
    data[at] = byte
    with pytest.raises(UnsafeImageError, match="block 0 of the UF2 file is wrong") as error:
        from_uf2(bytes(data))
    assert cause in error.value.cause


def test_other_files_are_no_uf2() -> None:
    with pytest.raises(UnsafeImageError, match="are not a UF2 file"):
        from_uf2(b"")
    with pytest.raises(UnsafeImageError, match="513 bytes are not a UF2 file"):
        from_uf2(bytes(513))
    one, other = (to_uf2(make_image({0: bytes(10)}), family) for family in (1, 2))
    with pytest.raises(UnsafeImageError):
        from_uf2(one + other)


def objcopy(source: Path, kind: str, target: str, made: Path) -> bytes:
    require_tool(OBJCOPY)
    subprocess.run([OBJCOPY, "-I", kind, "-O", target, source, made], check=True)
    return made.read_bytes()


def test_hex_and_bin_are_what_binutils_reads_and_writes(tmp_path: Path) -> None:
    for number, pieces in enumerate(
        (
            {0x800_0000: bytes(range(256)) * 5},
            {0x1_FFF3: bytes(range(100)), 0x3_0000: b"\xaa"},
            {0x26000: b"abc", 0x26100: bytes(40)},
        )
    ):
        image = make_image(pieces)
        ours = tmp_path / f"{number}.hex"
        ours.write_text(to_hex(image))
        elf = write_elf(tmp_path / f"{number}.elf", image)
        assert read_image(elf) == image
        gaps_filled = ["--gap-fill", "0xff"]
        require_tool(OBJCOPY)
        made = tmp_path / f"{number}.bin"
        subprocess.run([OBJCOPY, *gaps_filled, "-I", "ihex", "-O", "binary", ours, made], check=True)
        assert made.read_bytes() == to_bin(image)


def test_bytes_go_where_they_are_loaded_from(tmp_path: Path) -> None:
    image = make_image({0x1000: b"code", 0x1004: b"data", 0x2000: b"more"})
    assert len(image.segments) == 2
    assert (image.begin, image.end, image.size_bytes) == (0x1000, 0x2004, 12)
    assert read_image(write_elf(tmp_path / "a.elf", image, virtual=0x2000_0000)) == image


def test_no_image(tmp_path: Path) -> None:
    (tmp_path / "a.elf").write_bytes(b"no ELF")
    for path in (tmp_path / "a.elf", tmp_path / "absent.elf"):
        with pytest.raises(UnsafeImageError, match="no image that can be flashed"):
            read_image(path)
    with pytest.raises(UnsafeImageError, match="holds nothing"):
        make_image({0: b""})
    with pytest.raises(UnsafeImageError, match="two different bytes for address 0x2"):
        make_image({0: b"abc", 2: b"d"})
    with pytest.raises(UnsafeImageError, match="cannot be written as one block"):
        to_bin(make_image({0: b"a", 0x1000_0000: b"b"}))
