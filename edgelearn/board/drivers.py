"""What each driver of `firmware/port/` asks of a board file: read from the driver's own text, which says it once.

The first comment of a driver ends with the constants that the board file gives it:

     * The board file gives in port.defines:
     *   ELEARN_NAME: what it means
     *   ELEARN_NAME (0 to 15): with the numbers that make sense, or (1, 2, 4) with each of them
     *   ELEARN_NAME (may be left out): where the driver does without

The driver of pages of nvm says before that, core by core, which pages it drives:

     * The pages of nvm that it drives:
     *   cortex-m0, cortex-m3: of any size, programmed in 1
     *   cortex-m4f: of 2048 or 4096 bytes, programmed in 8

A test compares the list with what the driver's C uses, and `page` is docs/drivers.md.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import Struct

from edgelearn import resources

TITLE = "The board file gives in port.defines:"

PAGES_TITLE = "The pages of nvm that it drives:"

_PAGES = re.compile(r"([\w, -]+): of (any size|[\d or]+ bytes), programmed in (\d+)")
_ENTRY = re.compile(r"(ELEARN_[A-Z0-9_]+)(?: \(([^)]*)\))?: (.*)")
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_STRING = re.compile(r'"[^"\n]*"')
_INCLUDE = re.compile(r'^#include "([^"]+)"', re.MULTILINE)
_DECLARED = re.compile(r"^[\w *]+?\b(elearn_\w+)\([^)]*\);", re.MULTILINE)
_DEFINED = re.compile(r"^\w[^\n;]*?\b(elearn_\w+)\([^;{}]*\)\s*\{", re.MULTILINE)
_NAMED = re.compile(r"\belearn_\w+")
_MACRO = re.compile(r"\bELEARN_[A-Z0-9_]+\b")


class Define(Struct, frozen=True, kw_only=True):
    """A constant that a driver takes from the board file.

    Attributes:
        meaning: in words.
        numbers: that make sense, in words: `0 to 15` or `1, 2, 4`; empty where any may.
        required: whether the driver is not compiled without it.
    """

    name: str
    meaning: str
    numbers: str = ""
    required: bool = True

    def allows(self, value: int) -> bool:
        """Whether the number makes sense."""
        if not self.numbers:
            return True
        least, between, most = self.numbers.partition(" to ")
        if between:
            return int(least) <= value <= int(most)
        return value in {int(one) for one in self.numbers.split(", ")}


class Pages(Struct, frozen=True, kw_only=True):
    """Pages of nvm that a driver drives.

    Attributes:
        sizes_bytes: how large they may be; empty where they may be of any size.
        unit_bytes: what is programmed at once; a board file may say several times as many.
    """

    sizes_bytes: tuple[int, ...]
    unit_bytes: int


class Driver(Struct, frozen=True, kw_only=True):
    """A C file or header of `firmware/port/`.

    Attributes:
        purpose: the first sentence of its text.
        defines: what it takes from the board file.
        pages: that it drives, by the name of the core; empty where it drives none.
        includes: headers that it includes, of its own folder and of others.
        declared: functions that it declares for others.
        defined: functions that it gives others.
        named: all functions that it names.
        macros: all constants ELEARN_... that its C names.
    """

    name: str
    purpose: str
    defines: tuple[Define, ...]
    pages: dict[str, Pages]
    includes: frozenset[str]
    declared: frozenset[str]
    defined: frozenset[str]
    named: frozenset[str]
    macros: frozenset[str]


def driver_names() -> tuple[str, ...]:
    """The names of all drivers and their headers, sorted."""
    return tuple(sorted(path.name for path in _folder().iterdir() if path.suffix in (".c", ".h")))


def driver(name: str) -> Driver:
    """What a driver's text says.

    Raises:
        OSError: there is no such driver.
    """
    return _read(_folder() / name)


def runtime_functions(header: str) -> frozenset[str]:
    """The functions that a header of `firmware/runtime/` declares, such as those that the drivers have to give."""
    return _read(resources.firmware_folder() / "runtime" / header).declared


def defines_of(sources: Iterable[str]) -> dict[str, tuple[Define, tuple[str, ...]]]:
    """The constants that a board built from these drivers gives, each with the drivers that take it."""
    found: dict[str, tuple[Define, tuple[str, ...]]] = {}
    for source in sources:
        for define in driver(source).defines:
            first, takers = found.get(define.name, (define, ()))
            found[define.name] = (first, (*takers, source))
    return found


def page() -> str:
    """The page of all drivers, as Markdown."""
    sections = [_section(one) for one in map(driver, driver_names())]
    return _HEAD + "".join(sections)


_HEAD = """\
# Drivers

The C files and headers in [edgelearn/firmware/port/](../edgelearn/firmware/port), one for each peripheral family, with
the constants that a board file gives them in `port.defines`. A board file names them in `port.sources`, headers too,
or in `nvm.source` alone where only a sketch uses one; what is missing is told when the file is read.
[CONTRIBUTING.md](../CONTRIBUTING.md) says how to add a board. This page is written by
`pytest tests/unit/test_drivers_page.py --update-golden`.
"""


def _section(one: Driver) -> str:
    with_it = sorted(header for header in one.includes if (_folder() / header).is_file())
    lines = [f"\n## {one.name}\n", f"{one.purpose}\n"]
    if with_it:
        lines.append(f"Wants beside it: {', '.join(f'`{header}`' for header in with_it)}.\n")
    if one.pages:
        lines += ["| core | pages of nvm | programmed in |", "|---|---|---|", *map(_pages_row, one.pages.items()), ""]
    if one.defines:
        lines += ["| constant | numbers | what it is |", "|---|---|---|", *map(_row, one.defines), ""]
    return "\n".join(lines)


def _pages_row(entry: tuple[str, Pages]) -> str:
    core, pages = entry
    sizes = f"{' or '.join(f'{size:,}' for size in pages.sizes_bytes)} bytes" if pages.sizes_bytes else "of any size"
    return f"| {core} | {sizes} | {pages.unit_bytes} |"


def _row(define: Define) -> str:
    meaning = define.meaning if define.required else f"{define.meaning}; may be left out"
    return f"| `{define.name}` | {define.numbers} | {meaning} |"


def _folder() -> Path:
    return resources.firmware_folder() / "port"


@functools.cache
def _read(path: Path) -> Driver:
    text = path.read_text(encoding="utf-8")
    code = _COMMENT.sub("", text)
    comment = [line.removeprefix(" *").rstrip() for line in text.split("*/", 1)[0].removeprefix("/*").splitlines()]
    begin = comment.index(f" {TITLE}") + 1 if f" {TITLE}" in comment else len(comment)
    pages = comment.index(f" {PAGES_TITLE}") + 1 if f" {PAGES_TITLE}" in comment else len(comment)
    return Driver(
        name=path.name,
        purpose=_first_sentence(comment),
        defines=_defines(comment[begin:]),
        pages=_pages(comment[pages:]),
        includes=frozenset(_INCLUDE.findall(code)),
        declared=frozenset(_DECLARED.findall(code)),
        defined=frozenset(_DEFINED.findall(code)),
        named=frozenset(_NAMED.findall(code)),
        macros=frozenset(_MACRO.findall(_STRING.sub("", code))),
    )


def _pages(lines: Sequence[str]) -> dict[str, Pages]:
    """The lines of the list, up to an empty one."""
    found = {}
    for line in itertools.takewhile(str.strip, lines):
        match = _PAGES.fullmatch(line.strip())
        assert match, line  # noqa: S101  (for the type checker)
        sizes = tuple(int(size) for size in re.findall(r"\d+", match.group(2)))
        for core in match.group(1).split(", "):
            found[core] = Pages(sizes_bytes=sizes, unit_bytes=int(match.group(3)))
    return found


def _first_sentence(comment: Sequence[str]) -> str:
    paragraph = " ".join(line.strip() for line in comment)
    return re.split(r"(?<=\.) ", paragraph.strip(), maxsplit=1)[0]


def _defines(lines: Sequence[str]) -> tuple[Define, ...]:
    """The constants of the list; a line that is set in further goes on with the one above."""
    entries: list[str] = []
    for line in (line for line in lines if line.strip()):
        if _ENTRY.fullmatch(line.strip()):
            entries.append(line.strip())
        else:
            entries[-1] += f" {line.strip()}"
    found = []
    for entry in entries:
        match = _ENTRY.fullmatch(entry)
        assert match  # noqa: S101  (for the type checker)
        name, note, meaning = match.groups(default="")
        optional = note == "may be left out"
        found.append(Define(name=name, meaning=meaning, numbers="" if optional else note, required=not optional))
    return tuple(found)
