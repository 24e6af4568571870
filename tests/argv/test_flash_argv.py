"""The exact commands that flash, for each flasher; each against the options that the real program knows.

What the programs take was seen in their own `--help`: pyOCD 0.46.0, OpenOCD 0.12.0 (manual, "The program command"),
stlink 1.7.0, dfu-util 0.11, BOSSA 1.9.1, adafruit-nrfutil 0.5.3.post16, esptool 5.6.0 and 4.7 (write_flash);
arduino-cli: its command reference, pages compile and upload. MicroPython boards get no command: mpremote is a library.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgelearn.board import load_board
from edgelearn.board.ways import DfuUtil, EspTool, MpRemote, Way
from edgelearn.firmware.flash import arduino_cli, bossac, dfu_util, esptool, nrfutil, openocd, pyocd, stlink
from edgelearn.firmware.flash.methods import METHODS, tool_of
from edgelearn.firmware.flash.tool import Job
from tests.support.flashing import ways


def test_pyocd() -> None:
    assert pyocd.argv("nrf", "a b.hex") == (
        *("pyocd", "flash", "--no-wait", "--no-config", "--target", "nrf", "--erase", "sector"),
        *("-O", "auto_unlock=false", "--format", "hex", "a b.hex"),
    )
    # J-Link numbers have leading zeros on USB and none in pyOCD, which takes any part of a number.
    assert pyocd.argv("nrf", "a.hex", serial_number="000683459357")[10:12] == ("--uid", "683459357")


def test_openocd() -> None:
    assert openocd.argv(("interface/a.cfg", "target/b.cfg"), "/my project/a.hex", serial_number="066E") == (
        *("openocd", "-f", "interface/a.cfg", "-f", "target/b.cfg", "-c", "adapter serial 066E"),
        *("-c", "gdb_port disabled; tcl_port disabled; telnet_port disabled"),
        *("-c", "program {/my project/a.hex} verify reset exit"),
    )
    assert "adapter" not in " ".join(openocd.argv((), "a.hex"))


def test_st_flash() -> None:
    assert stlink.argv("a.bin", 0x0800_0000) == ("st-flash", "--reset", "write", "a.bin", "0x08000000")
    assert stlink.argv("a.bin", 0x0801_0000, serial_number="066E") == (
        *("st-flash", "--reset", "--serial", "066E", "write", "a.bin", "0x08010000"),
    )


def test_dfu_util() -> None:
    st = DfuUtil(vid=0x0483, pid=0xDF11, enter="hold BOOT0")
    assert dfu_util.argv(st, "a.bin", 0x0800_0000) == (
        *("dfu-util", "--device", "0483:df11", "--alt", "0", "--dfuse-address", "0x08000000:leave"),
        *("--download", "a.bin"),
    )
    plain = DfuUtil(vid=0x2341, pid=0x0369, alternate=1, dfuse=False, enter="press reset twice")
    assert dfu_util.argv(plain, "a.bin", 0x4000, serial_number="35") == (
        *("dfu-util", "--device", "2341:0369", "--alt", "1", "--serial", "35", "--reset", "--download", "a.bin"),
    )


def test_bossac() -> None:
    common = ("bossac", "--port=/dev/ttyACM0", "--usb-port", "--info", "--erase", "--write", "--verify")
    assert bossac.argv("a.bin", "/dev/ttyACM0", 0) == (*common, "--reset", "a.bin")
    assert bossac.argv("a.bin", "/dev/ttyACM0", 0x16000) == (*common, "--offset=0x16000", "--reset", "a.bin")


def test_nrfutil() -> None:
    assert nrfutil.package_argv(0x52, 0xB6, "a.hex", "a.zip") == (
        *("adafruit-nrfutil", "dfu", "genpkg", "--dev-type", "0x0052", "--sd-req", "0x00b6"),
        *("--application", "a.hex", "a.zip"),
    )
    assert nrfutil.argv("a.zip", "/dev/ttyACM0") == (
        *("adafruit-nrfutil", "dfu", "serial", "--package", "a.zip", "--port", "/dev/ttyACM0"),
        *("--baudrate", "115200", "--singlebank"),
    )


def test_arduino_cli() -> None:
    assert arduino_cli.compile_argv("a:b:c", "lib", "lib/examples/Learn", "lib/build") == (
        *("arduino-cli", "compile", "--fqbn", "a:b:c", "--library", "lib", "--build-path", "lib/build"),
        "lib/examples/Learn",
    )
    assert arduino_cli.argv("a:b:c", "/dev/ttyACM0", "lib/examples/Learn", "lib/build") == (
        *("arduino-cli", "upload", "--fqbn", "a:b:c", "--port", "/dev/ttyACM0", "--input-dir", "lib/build"),
        "lib/examples/Learn",
    )


@pytest.mark.parametrize(
    ("version", "program", "command"),
    [
        ("5.6.0", "esptool", "write-flash"),
        ("4.7.0", "esptool", "write_flash"),
        ("4.8.1", "esptool.py", "write_flash"),
        ("", "esptool", "write-flash"),
    ],
)
def test_esptool(version: str, program: str, command: str) -> None:
    way = EspTool(chip="chip", offset=0x1000)
    assert esptool.argv(way, "mp.bin", "/dev/ttyUSB0", version=version, program=program) == (
        *(program, "--chip", "chip", "--port", "/dev/ttyUSB0", command, "0x1000", "mp.bin"),
    )


#: What would erase more than the image's own pages, or take a protection away, in the words of all these programs.
DANGEROUS = re.compile(
    r"mass|chip.?erase|erase.?(all|flash|chip)|unprotect|unlock(?!=false)|recover|\bforce\b|^erase$|security|--erase=chip"
)


@pytest.mark.parametrize(("name", "way"), ways())
def test_no_command_of_any_board_erases_the_chip(name: str, way: Way) -> None:
    job = Job(
        board=load_board(name),
        way=way,
        project=Path("project"),
        file=Path("project/build/flash.hex"),
        port="/dev/ttyACM0",
        serial_number="066E",
        address=0x1000,
        program=tool_of(way).program,
        drive=Path("/media/DRIVE"),
    )
    commands = tool_of(way).commands(job)
    assert bool(commands) != isinstance(way, MpRemote)
    for argv in commands:
        assert not [word for word in argv if DANGEROUS.search(word)], argv
        if argv[0] == "pyocd":
            assert argv[argv.index("--erase") + 1] == "sector"
            assert "auto_unlock=false" in argv


def test_the_search_for_dangerous_words_finds_them() -> None:
    for word in (
        "--erase=chip",
        "erase_flash",
        "erase-all",
        ":mass-erase:force",
        "nrf52_recover",
        "--mass-erase",
        "erase",
    ):
        assert DANGEROUS.search(word), word


def test_every_method_is_listed() -> None:
    listed = {way.__struct_config__.tag for _, way in ways()}
    assert listed <= set(METHODS)
    assert len(METHODS) == 10
