"""The exact commands that build an Arduino library, with arduino-cli and with Debian's core."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from edgelearn import process
from edgelearn.errors import CompilerMissingError, ProjectError
from edgelearn.firmware import arduino_build
from edgelearn.firmware.arduino_build import SKETCH, AvrBoard, avr_board, avr_commands, build_library, cli_argv

#: As boards.txt of arduino-core-avr 1.8 has them.
BOARDS_TXT = """\
# a comment
one.name=One
one.build.mcu=chip328
one.build.f_cpu=16000000L
one.build.board=AVR_ONE
one.build.core=arduino
one.build.variant=standard

many.build.f_cpu=16000000L
many.build.board=AVR_MANY
many.build.core=arduino
many.build.variant=mega
many.menu.cpu.chip2560.build.mcu=chip2560
many.menu.cpu.chip2560.build.board=AVR_MANY2560
many.menu.cpu.chip1280.build.mcu=chip1280
"""
MANY = AvrBoard(mcu="chip2560", f_cpu="16000000L", define="AVR_MANY2560", core="arduino", variant="mega")


def test_a_board_with_a_menu() -> None:
    assert avr_board(BOARDS_TXT, "arduino:avr:many:cpu=chip2560") == MANY
    assert avr_board(BOARDS_TXT, "arduino:avr:many:cpu=chip1280").define == "AVR_MANY"


def test_a_board_without_one() -> None:
    found = avr_board(BOARDS_TXT, "arduino:avr:one")
    assert (found.mcu, found.variant) == ("chip328", "standard")


@pytest.mark.parametrize("fqbn", ["arduino:avr:none", "arduino:avr:many", "arduino:avr:many:cpu=chip99"])
def test_a_board_that_the_core_does_not_know(fqbn: str) -> None:
    with pytest.raises(CompilerMissingError, match="does not know"):
        avr_board(BOARDS_TXT, fqbn)


def test_commands_with_the_core_of_debian() -> None:
    core = Path("/core")
    compiled, steps = avr_commands(
        MANY, core, ["Print.cpp", "hooks.c", "wiring_pulse.S"], ["src/model.c", "src/port.cpp"]
    )
    board = [
        *("-mmcu=chip2560", "-DF_CPU=16000000L", "-DARDUINO=10819", "-DARDUINO_AVR_MANY2560", "-DARDUINO_ARCH_AVR"),
        *("-g", "-Os", "-ffunction-sections", "-fdata-sections"),
    ]
    folders = ["-I/core/cores/arduino", "-I/core/variants/mega"]
    assert list(compiled["build/src/model.o"]) == [
        *("avr-gcc", *board, "-std=gnu99", "-ffp-contract=off", "-Wall", "-Wextra", "-Wconversion", "-Wshadow"),
        *("-Wstrict-prototypes", "-Wmissing-prototypes", "-Werror", "-Waddr-space-convert", "-Isrc", *folders),
        *("-c", "-o", "build/src/model.o", "src/model.c"),
    ]
    cpp = ["-std=gnu++11", "-fno-exceptions", "-fno-threadsafe-statics", "-Wall", "-Wextra", "-Werror"]
    assert list(compiled["build/src/port.cpp.o"]) == [
        *("avr-g++", *board, *cpp, "-Isrc", *folders, "-c", "-o", "build/src/port.cpp.o", "src/port.cpp"),
    ]
    assert list(compiled["build/sketch/Learn.ino.o"]) == [
        *("avr-g++", *board, *cpp, "-x", "c++", "-include", "Arduino.h", "-Isrc", *folders),
        *("-c", "-o", "build/sketch/Learn.ino.o", "examples/Learn/Learn.ino"),
    ]
    assert list(compiled["build/core/hooks.c.o"]) == [
        *("avr-gcc", *board, "-std=gnu11", "-w", *folders),
        *("-c", "-o", "build/core/hooks.c.o", "/core/cores/arduino/hooks.c"),
    ]
    assert compiled["build/core/wiring_pulse.S.o"][-7:] == (
        *("assembler-with-cpp", *folders, "-c", "-o", "build/core/wiring_pulse.S.o"),
        "/core/cores/arduino/wiring_pulse.S",
    )
    archive, link, convert = steps
    core_objects = ("build/core/Print.cpp.o", "build/core/hooks.c.o", "build/core/wiring_pulse.S.o")
    assert archive == ("avr-gcc-ar", "rcs", "build/core/core.a", *core_objects)
    assert link == (
        *("avr-gcc", "-mmcu=chip2560", "-Os", "-g", "-Wl,--gc-sections", "-Wl,-Map=build/firmware.map"),
        *("-o", "build/firmware.elf", "build/sketch/Learn.ino.o", "build/sketch/avr_products.o"),
        *("build/src/model.o", "build/src/port.cpp.o", "build/core/core.a", "-lm"),
    )
    assert convert == ("avr-objcopy", "-O", "ihex", "-R", ".eeprom", "build/firmware.elf", "build/firmware.hex")


def library(folder: Path) -> Path:
    for path in (SKETCH, "src/model.c"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("")
    return folder


def stand_in(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An arduino-cli that runs a shell script."""
    program = folder / "bin" / "arduino-cli"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


def test_argv_of_arduino_cli() -> None:
    assert cli_argv(Path("/lib"), "vendor:arch:board") == (
        *("arduino-cli", "compile", "--fqbn", "vendor:arch:board"),
        *("--library", "/lib", "--build-path", "/lib/build/arduino", "/lib/examples/Learn"),
    )


def test_arduino_cli_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = library(tmp_path / "lib")
    stand_in(
        tmp_path,
        f"""[ "$1" = version ] && echo "arduino-cli  Version: 1.0.4" && exit
echo "$@" > {tmp_path}/argv
mkdir -p "$7" && printf 'no ELF' > "$7/Learn.ino.elf" && printf hex > "$7/Learn.ino.hex\"""",
        monkeypatch,
    )
    built = build_library(folder, fqbn="vendor:arch:board", sources=["src/model.c"])
    assert (tmp_path / "argv").read_text().split() == list(cli_argv(folder.resolve(), "vendor:arch:board"))[1:]
    assert built.elf.read_bytes() == b"no ELF"
    assert [path.name for path in built.files] == ["firmware.hex"]
    assert built.version == "arduino-cli  Version: 1.0.4"


def test_what_arduino_cli_says_of_a_missing_core_is_the_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message is that of arduino-cli 1.0, internal/cli/compile and commands/cmderrors."""
    said = "Error during build: Platform 'vendor:arch' not found: platform not installed"
    stand_in(tmp_path, f'[ "$1" = version ] && exit\necho "{said}"; exit 1', monkeypatch)
    with pytest.raises(CompilerMissingError, match="does not have the core for vendor:arch:board") as caught:
        build_library(library(tmp_path / "lib"), fqbn="vendor:arch:board", sources=["src/model.c"])
    assert caught.value.cause == said
    assert caught.value.hint == "arduino-cli core install vendor:arch"


def test_nothing_to_build_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "find_program", lambda name: None)
    with pytest.raises(CompilerMissingError, match="Arduino sketch for arduino:avr:one") as caught:
        build_library(library(tmp_path / "lib"), fqbn="arduino:avr:one", sources=["src/model.c"])
    assert "arduino-cli is not on PATH" in caught.value.cause
    assert "avr-gcc is not on PATH" in caught.value.cause
    assert "arduino-cli core install arduino:avr\n" in caught.value.hint
    assert "arduino-core-avr" in caught.value.hint
    # Without AVR, Debian has nothing; an index of its own goes with the core.
    url = "https://vendor.example/index.json"
    with pytest.raises(CompilerMissingError) as caught:
        build_library(
            library(tmp_path / "lib"), fqbn="vendor:arch:board:speed=9", sources=["src/model.c"], package_url=url
        )
    assert "avr" not in caught.value.cause + caught.value.hint
    assert caught.value.hint.endswith(f"then: arduino-cli core install vendor:arch --additional-urls {url}")


def test_a_library_that_is_not_whole(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="not complete"):
        build_library(library(tmp_path / "lib"), fqbn="arduino:avr:one", sources=["src/model.c", "src/gone.c"])


def test_the_core_is_where_debian_puts_it() -> None:
    assert Path("/usr/share/arduino/hardware/arduino/avr") == arduino_build.DEBIAN_CORE
