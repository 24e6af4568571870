"""The real flashers, where they are installed, with no board: they must understand our commands, and we what they say.

A command that a program does not understand ends in its usage text, which no symptom knows.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from edgelearn.board import load_board
from edgelearn.errors import FlashError
from edgelearn.firmware.flash.choose import Candidate
from edgelearn.firmware.flash.image import to_bin, to_hex
from edgelearn.firmware.flash.methods import METHODS, format_of, method_of
from edgelearn.firmware.flash.run import _version
from edgelearn.firmware.flash.tool import Failure, Format, Job, run_tool
from tests.support.flashing import boards_with, image_for
from tests.support.tools import optional_tool

#: What each says with nothing plugged in.
EXPECTED = {
    "pyocd": {Failure.NO_DEVICE},
    "openocd": {Failure.NO_DEVICE},
    "st-flash": {Failure.NO_DEVICE},
    "dfu-util": {Failure.NO_DEVICE},
    "bossac": {Failure.NO_DEVICE},
    "adafruit-nrfutil": {Failure.NO_DEVICE},
    "arduino-cli": {Failure.NOT_SUPPORTED, Failure.UNKNOWN},
    "esptool": {Failure.NO_DEVICE},
}


@pytest.mark.parametrize("method", EXPECTED)
def test_it_understands_our_command(method: str, tmp_path: Path) -> None:
    tool = METHODS[method]
    program = tool.program
    if shutil.which(program) is None and tool.other_program:
        program = tool.other_program
    optional_tool(program)
    board = load_board(boards_with(method)[0])
    way = next(way for way in board.flash if method_of(way) == method)
    image = image_for(board)
    file = tmp_path / "flash.hex"
    if format_of(way) is Format.HEX:
        file.write_text(to_hex(image))
    else:
        file.write_bytes(to_bin(image))
    job = Job(
        board=board,
        way=way,
        project=tmp_path,
        file=file,
        port="/dev/ttyACM99",
        serial_number="0A1B",
        address=image.begin,
        program=program,
        version=_version(Candidate(way=way, program=program)),
    )
    with pytest.raises(FlashError) as error:
        run_tool(tool, job)
    assert error.value.failure in {failure.value for failure in EXPECTED[method]}, error.value.cause


def test_pyocd_knows_the_option_that_keeps_it_from_unlocking() -> None:
    optional_tool("pyocd")
    said = subprocess.run(["pyocd", "--help-options"], capture_output=True, text=True, check=True).stdout
    assert "auto_unlock" in said
