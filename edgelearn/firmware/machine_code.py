"""Compile the C kernels for MicroPython: `make machine-code` writes what edgelearn/machine_code.py reads.

Only those who change a kernel need this, and arm-none-eabi-gcc: other versions than the one that was used give other
code, which is right too. Each library names what it was compiled from; a test compares.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import SymbolTableSection
from msgspec import Struct

from edgelearn import process, resources
from edgelearn.errors import BuildError
from edgelearn.machine_code import Field, Layout, Library, Link, Piece, folder
from edgelearn.protocol import c_header

#: Compilers' names of the processors, and what else each needs. Arguments in floating point would go by value in
#: integer registers, as those who call expect that know nothing of an FPU.
CORES = {
    "cortex-m0": ("-mcpu=cortex-m0", "-mfloat-abi=soft"),
    "cortex-m3": ("-mcpu=cortex-m3", "-mfloat-abi=soft"),
    "cortex-m4": ("-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", "-mfloat-abi=softfp"),
}
_PROGRAM = "arm-none-eabi-gcc"
#: Every address is taken relative to the instruction, every call is a BL, and no tables of jumps lie between.
_FLAGS = (
    *("-std=c99", "-g", "-O2", "-mthumb", "-ffp-contract=off", "-Wall", "-Wextra", "-Wconversion", "-Werror"),
    *("-ffunction-sections", "-fdata-sections", "-fPIE", "-fvisibility=hidden"),
    *("-fno-optimize-sibling-calls", "-fno-jump-tables", "-fno-tree-loop-distribute-patterns", "-fstack-usage"),
)
#: How a trainable layer keeps its weights is chosen when it is compiled. Floating point exists in C firmware only.
RESIDUALS = ("int8", "none", "stochastic")
_HEAD_SOURCES = ("elearn_head.c", "elearn_head_loss.c")
_OWN_SOURCES = ("elearn_calls.c", "elearn_support.c")
#: What computes in floating point for which the core has no instructions.
_IN_FLOAT64, _IN_FLOAT32 = "elearn_fully_connected_double_s8.c", "elearn_edges_s8.c"
#: What a function may take of the stack, which is MicroPython's own and holds some kilobytes. Kernels call three deep.
_MOST_FRAME_BYTES = 256
#: Of Arm's ELF, IHI0044, 4.6.1.
_R_ARM_REL32, _R_ARM_THM_CALL = 3, 10
#: Index files of exceptions, which C has none of.
_WITHOUT_MEANING = (".ARM.exidx", ".debug", ".ARM.attributes", ".comment", ".note")


class _Object(Struct, frozen=True, kw_only=True):
    """A compiled C file: sections by number, and its symbols; `suffix` tells variants of one file apart."""

    name: str
    suffix: str
    sections: dict[int, tuple[str, bytes]]
    functions: dict[str, tuple[int, int]]
    links: dict[int, tuple[tuple[int, int, str, int, int], ...]]


def build_libraries(cores: Iterable[str] = CORES) -> dict[str, bytes]:
    """The files of `edgelearn.machine_code.folder()`, by their names.

    Args:
        cores: for which to compile; the layouts of structs are the same for all.

    Raises:
        ProgramMissingError, ProcessError: there is no compiler, or it refused a kernel.
        BuildError: a kernel needs something that code without addresses cannot have.
    """
    files: dict[str, bytes] = {}
    layouts: dict[str, Layout] = {}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "elearn_protocol.h").write_text(c_header(), encoding="utf-8")
        for core in cores:
            objects = [_read_object(path, suffix) for path, suffix in _compile_all(core, work)]
            files[f"{core}.json"] = _encoded(_library(core, objects))
            for path in sorted((work / core).glob("*.o")):
                layouts |= _layouts(path)
    files["layouts.json"] = _encoded({name: layouts[name] for name in sorted(layouts)})
    return files


def sources_sha256(core: str) -> str:
    """What the library of a core depends on, as a checksum: it is out of date where it names another one."""
    runtime = resources.firmware_folder() / "runtime"
    waiting = [*_kernels(core), *(runtime / name for name in _HEAD_SOURCES), *(folder() / own for own in _OWN_SOURCES)]
    texts: dict[str, str] = {}
    while waiting:
        path = waiting.pop()
        if path.is_file() and path.name not in texts:
            texts[path.name] = path.read_text(encoding="utf-8")
            waiting += [path.parent / name for name in re.findall(r'#include "([^"]+)"', texts[path.name])]
    # Of the protocol only what the kernels name: the rest changes without them.
    named = set(re.findall(r"\bELEARN_\w+", "".join(texts.values())))
    protocol = [line for line in c_header().splitlines() if line.startswith("#define") and line.split()[1] in named]
    digest = hashlib.sha256(" ".join((*_FLAGS, *CORES[core], *protocol)).encode())
    for name in sorted(texts):
        digest.update(f"{name}\0{texts[name]}\0".encode())
    return digest.hexdigest()


def _kernels(core: str) -> list[Path]:
    """The C files of the kernels that the core can run."""
    runtime = resources.firmware_folder() / "runtime"
    left_out = (_IN_FLOAT64,) if "-mfloat-abi=softfp" in CORES[core] else (_IN_FLOAT64, _IN_FLOAT32)
    return sorted(p for p in runtime.glob("elearn_*_s8.c") if p.name not in left_out)


def _encoded(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"


def _compile_all(core: str, work: Path) -> Iterator[tuple[Path, str]]:
    """Compile every kernel; the objects, and what is added to the names of their functions."""
    runtime = resources.firmware_folder() / "runtime"
    for source in (*(folder() / own for own in _OWN_SOURCES), *_kernels(core)):
        yield _compile(core, source, "int8", work), ""
    for residual in RESIDUALS:
        for name in _HEAD_SOURCES:
            yield _compile(core, runtime / name, residual, work), f"@{residual}"


def _compile(core: str, source: Path, residual: str, work: Path) -> Path:
    config = work / residual / "elearn_config.h"
    config.parent.mkdir(exist_ok=True)
    config.write_text(
        f'#include "elearn_protocol.h"\n#define ELEARN_RESIDUAL ELEARN_RESIDUAL_{residual.upper()}\n', encoding="utf-8"
    )
    target = work / core / f"{source.stem}.{residual}.o"
    target.parent.mkdir(exist_ok=True)
    include = (f"-I{config.parent}", f"-I{work}", f"-I{resources.firmware_folder() / 'runtime'}", f"-I{folder()}")
    process.run([_PROGRAM, *_FLAGS, *CORES[core], *include, "-c", str(source), "-o", str(target)])
    for line in target.with_suffix(".su").read_text(encoding="utf-8").splitlines():
        function, size, _ = line.split("\t")
        if int(size) > _MOST_FRAME_BYTES:
            raise BuildError(
                f"{function.rpartition(':')[2]} takes {size} bytes of the stack, {_MOST_FRAME_BYTES} are left"
            )
    return target


def _read_object(path: Path, suffix: str) -> _Object:
    with path.open("rb") as file:
        elf = ELFFile(file)
        sections: dict[int, tuple[str, bytes]] = {}
        for number, section in enumerate(elf.iter_sections()):
            if section["sh_flags"] & 2 and section["sh_size"] and not section.name.startswith(_WITHOUT_MEANING):
                if section["sh_flags"] & 1 or section["sh_type"] != "SHT_PROGBITS":
                    raise BuildError(f"{path.stem}: {section.name} would have to be written to, or filled")
                sections[number] = (section.name, section.data())
        table = next(s for s in elf.iter_sections() if isinstance(s, SymbolTableSection))
        symbols = list(table.iter_symbols())
        functions = {
            symbol.name: (int(symbol["st_shndx"]), int(symbol["st_value"]))
            for symbol in symbols
            if symbol["st_info"]["type"] == "STT_FUNC" and symbol["st_info"]["bind"] == "STB_GLOBAL"
        }
        links: dict[int, tuple[tuple[int, int, str, int, int], ...]] = {}
        for section in elf.iter_sections():
            if isinstance(section, RelocationSection) and section["sh_info"] in sections:
                links[section["sh_info"]] = tuple(
                    (int(r["r_offset"]), int(r["r_info_type"]), *_target(symbols[r["r_info_sym"]]))
                    for r in section.iter_relocations()
                )
    local = path.name.split(".")[0]
    return _Object(name=f"{local}{suffix}", suffix=suffix, sections=sections, functions=functions, links=links)


def _target(symbol: Any) -> tuple[str, int, int]:
    """A symbol's name, and where it is: section and value, or -1 where another object defines it."""
    index = symbol["st_shndx"]
    is_section = symbol["st_info"]["type"] == "STT_SECTION"
    return "" if is_section else symbol.name, index if isinstance(index, int) else -1, int(symbol["st_value"])


def _piece_name(item: _Object, section: int) -> str:
    return f"{item.name}:{item.sections[section][0].removeprefix('.')}"


def _library(core: str, objects: list[_Object]) -> Library:
    functions: dict[str, str] = {}
    for item in objects:
        for name, (section, value) in item.functions.items():
            if value & ~1 == 0:
                functions.setdefault(name + item.suffix, _piece_name(item, section))
    pieces = {
        _piece_name(item, number): _piece(item, number, functions) for item in objects for number in item.sections
    }
    return Library(
        core=core,
        sources_sha256=sources_sha256(core),
        functions=dict(sorted(functions.items())),
        pieces=dict(sorted(pieces.items())),
    )


def _piece(item: _Object, section: int, functions: dict[str, str]) -> Piece:
    code = bytearray(item.sections[section][1])
    code += bytes(-len(code) % 4)
    links = []
    for at, kind, name, index, value in item.links.get(section, ()):
        if kind not in (_R_ARM_REL32, _R_ARM_THM_CALL):
            raise BuildError(f"{item.name}: a relocation of type {kind} by {name}, which no linker of ours knows")
        addend = 0 if kind == _R_ARM_THM_CALL else int.from_bytes(code[at : at + 4], "little", signed=True)
        if index >= 0:
            to, offset = _piece_name(item, index), value + addend
        else:
            found = functions.get(name + item.suffix) or functions.get(name)
            if found is None:
                raise BuildError(f"{item.name} calls {name}, which is not part of the kernels")
            to, offset = found, addend
        is_call = kind == _R_ARM_THM_CALL
        links.append(Link(at=at, to=to, offset=offset & ~1 if is_call else offset, is_call=is_call))
        code[at : at + 4] = bytes(4)
    return Piece(code=code.hex(), links=tuple(links))


def _layouts(path: Path) -> dict[str, Layout]:
    """The named structs of an object's debugging information."""
    found: dict[str, Layout] = {}
    with path.open("rb") as file:
        for unit in ELFFile(file).get_dwarf_info().iter_CUs():
            for entry in unit.iter_DIEs():
                if entry.tag != "DW_TAG_typedef" or "DW_AT_type" not in entry.attributes:
                    continue
                name = entry.attributes["DW_AT_name"].value.decode()
                struct = entry.get_DIE_from_attribute("DW_AT_type")
                if name.startswith("elearn_") and struct.tag == "DW_TAG_structure_type":
                    found[name] = Layout(
                        size_bytes=struct.attributes["DW_AT_byte_size"].value,
                        fields=tuple(_field(child) for child in struct.iter_children()),
                    )
    return found


def _field(entry: Any) -> Field:
    type_name, count = _type(entry.get_DIE_from_attribute("DW_AT_type"))
    return Field(
        name=entry.attributes["DW_AT_name"].value.decode(),
        offset=entry.attributes["DW_AT_data_member_location"].value,
        type=type_name,
        count=count,
    )


def _type(entry: Any) -> tuple[str, int]:
    """The name of a member's type without its qualifiers, and how many there are of it."""
    if entry.tag in ("DW_TAG_pointer_type", "DW_TAG_subroutine_type"):
        return "pointer", 1
    if entry.tag == "DW_TAG_array_type":
        count = 1
        for child in entry.iter_children():
            if child.tag == "DW_TAG_subrange_type":
                count *= child.attributes["DW_AT_upper_bound"].value + 1
        return _type(entry.get_DIE_from_attribute("DW_AT_type"))[0], count
    if entry.tag == "DW_TAG_typedef":
        name = entry.attributes["DW_AT_name"].value.decode()
        inner = entry.get_DIE_from_attribute("DW_AT_type")
        return (_type(inner)) if inner.tag == "DW_TAG_pointer_type" else (name, 1)
    if "DW_AT_type" in entry.attributes:
        return _type(entry.get_DIE_from_attribute("DW_AT_type"))
    return (entry.attributes["DW_AT_name"].value.decode() if "DW_AT_name" in entry.attributes else "unnamed"), 1


def main() -> None:
    """Write the libraries."""
    for name, contents in build_libraries().items():
        (folder() / name).write_bytes(contents)


if __name__ == "__main__":
    main()
