"""What a driver says it wants of a board file is what its C uses, and docs/drivers.md says the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgelearn import resources
from edgelearn.board import drivers
from edgelearn.protocol import c_header

PAGE = Path(__file__).parents[2] / "docs" / "drivers.md"
_GIVEN = re.compile(r"^ *# *define (ELEARN_\w+)", re.MULTILINE)


def test_the_page_of_drivers_is_true(update_golden: bool) -> None:
    text = drivers.page()
    if update_golden:
        PAGE.write_text(text, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == text


def given_by_others() -> set[str]:
    """The constants that do not come from port.defines: those of headers, and of what is generated for each board."""
    firmware = resources.firmware_folder()
    paths = [path for folder in ("runtime", "port") for path in (firmware / folder).glob("*.[ch]")]
    paths += [resources.templates_folder() / name for name in ("elearn_board.h.j2", "elearn_board_nvm.h.j2")]
    texts = [path.read_text(encoding="utf-8") for path in paths]
    return {name for text in (*texts, c_header()) for name in _GIVEN.findall(text)}


@pytest.mark.parametrize("name", drivers.driver_names())
def test_a_driver_declares_what_it_uses(name: str) -> None:
    found = drivers.driver(name)
    text = (resources.firmware_folder() / "port" / name).read_text(encoding="utf-8")
    assert {define.name for define in found.defines} == found.macros - given_by_others()
    assert found.purpose.endswith(".")
    for define in found.defines:
        assert define.meaning
        if not define.required:
            assert f"defined({define.name})" in text


def test_numbers_that_make_sense() -> None:
    few = drivers.Define(name="ELEARN_X", meaning="x", numbers="1, 2, 4")
    assert [value for value in range(6) if few.allows(value)] == [1, 2, 4]
    between = drivers.Define(name="ELEARN_X", meaning="x", numbers="2 to 4")
    assert [value for value in range(6) if between.allows(value)] == [2, 3, 4]
    assert drivers.Define(name="ELEARN_X", meaning="x").allows(1 << 31)


def test_what_cannot_be_read_as_numbers_is_not_written() -> None:
    for name in drivers.driver_names():
        for define in drivers.driver(name).defines:
            assert re.fullmatch(r"|\d+ to \d+|\d+(, \d+)+", define.numbers), f"{name}: {define.name}"
