"""The machine code for MicroPython: up to date with the C sources, whole, and linked as the processor reads it."""

from __future__ import annotations

import re
import struct
import subprocess
from pathlib import Path

import msgspec
import pytest

from edgelearn.errors import BuildError
from edgelearn.firmware import machine_code as builder
from edgelearn.machine_code import Library, Link, Piece, encode_call, folder, link, load_layouts, load_library
from tests.support.tools import require_tool

#: The compiler that the libraries were made with; another one gives other code.
_VERSION = "12.2.1"


def _disassembled(code: bytes, folder: Path) -> str:
    require_tool("arm-none-eabi-objdump")
    (folder / "code.bin").write_bytes(code)
    argv = ["arm-none-eabi-objdump", "-D", "-b", "binary", "-m", "arm", "-M", "force-thumb", str(folder / "code.bin")]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("core", builder.CORES)
def test_libraries_are_made_from_the_sources_of_today(core: str):
    assert load_library(core).sources_sha256 == builder.sources_sha256(core), "run `make machine-code`"


def test_compiling_again_gives_the_same_code():
    require_tool("arm-none-eabi-gcc")
    version = subprocess.run(["arm-none-eabi-gcc", "-dumpfullversion"], check=True, capture_output=True, text=True)
    if version.stdout.strip() != _VERSION:
        pytest.skip(f"optional: arm-none-eabi-gcc {_VERSION}, this is {version.stdout.strip()}")
    for name, contents in builder.build_libraries(("cortex-m4",)).items():
        assert contents == (folder() / name).read_bytes(), name


@pytest.mark.parametrize("core", builder.CORES)
def test_all_links_lead_somewhere(core: str):
    library = load_library(core)
    assert set(library.functions.values()) <= set(library.pieces)
    for name, piece in library.pieces.items():
        size = len(piece.code) // 2
        assert size % 4 == 0
        for place in piece.links:
            assert place.to in library.pieces
            assert place.at + 4 <= size
            assert bytes.fromhex(piece.code)[place.at : place.at + 4] == bytes(4), name


@pytest.mark.parametrize("distance", [0, 2, 250, -4, -1026, 0x3FFFFE, -0x400000, 0xFFFFFE, -0x1000000])
def test_a_call_reaches_what_the_disassembler_says(distance: int, tmp_path: Path):
    text = _disassembled(encode_call(distance), tmp_path)
    found = re.search(r"\bbl\s+0x([0-9a-f]+)", text)
    assert found
    assert (int(found.group(1), 16) - 4 - distance) % 2**32 == 0


@pytest.mark.parametrize("distance", [0x1000000, -0x1000002, 1])
def test_a_call_that_cannot_be_encoded_is_refused(distance: int):
    with pytest.raises(BuildError, match=str(distance)):
        encode_call(distance)


def test_linking_takes_what_is_needed_and_nothing_else(tmp_path: Path):
    pieces = {
        "a": Piece(code="00bf00bf00000000", links=(Link(at=4, to="b", is_call=True),)),
        "b": Piece(code="00000000", links=(Link(at=0, to="table", offset=8),)),
        "table": Piece(code="0102030405060708" * 2),
        "other": Piece(code="ffffffff"),
    }
    library = Library(core="any", sources_sha256="", functions={"fa": "a", "fb": "b", "fo": "other"}, pieces=pieces)
    linked = link(library, ("fa", "fb"))
    assert linked.offsets == {"fa": 0, "fb": 8}
    assert len(linked.code) == 8 + 4 + 16
    assert re.search(r"4:.*\bbl\s+0x8\b", _disassembled(linked.code, tmp_path))
    (distance,) = struct.unpack_from("<i", linked.code, 8)
    assert linked.code[8 + distance : 8 + distance + 4] == bytes([1, 2, 3, 4])
    assert b"\xff\xff" not in linked.code


def test_layouts_cover_all_parameters_of_c():
    layouts = load_layouts()
    assert {"elearn_conv2d_params", "elearn_head_params", "elearn_head_state", "elearn_head_result"} <= set(layouts)
    for layout in layouts.values():
        assert layout.size_bytes % 4 == 0 or all(field.type != "pointer" for field in layout.fields)
        offsets = [field.offset for field in layout.fields]
        assert offsets == sorted(offsets)


def test_a_library_of_another_format_is_not_read():
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"core": "x", "functions": {}, "pieces": {}, "more": 1}', type=Library)
