"""The exact commands that compile, link and emulate."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from edgelearn import process, resources
from edgelearn.board import Core, load_board
from edgelearn.firmware import toolchain
from edgelearn.firmware.emulator import emulator_argv

COMMON = [
    *("-O2", "-std=c99", "-g", "-ffunction-sections", "-fdata-sections", "-ffp-contract=off"),
    *("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wstrict-prototypes", "-Wmissing-prototypes", "-Werror"),
    *("-Isrc", "-Iruntime", "-Iport"),
]
SOURCES = ("port/uart_ring.c", "src/model.c")
OBJECTS = ["build/port/uart_ring.o", "build/src/model.o"]

GNU_M4F = ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"]
ZIG_M4F = [
    *(sys.executable, "-m", "ziglang", "cc"),
    *("-target", "thumb-freestanding-eabihf", "-mcpu=cortex_m4+vfp4d16sp", "-ffreestanding", "-fomit-frame-pointer"),
    *("-fno-unwind-tables", "-fno-asynchronous-unwind-tables", "-fno-sanitize=undefined"),
    *("-isystem", str(resources.firmware_folder() / "port" / "freestanding")),
]
CC_SANITIZED = ["cc", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
ZIG_HOST = [sys.executable, "-m", "ziglang", "cc", "-fomit-frame-pointer", "-fno-sanitize=undefined"]

Find = Callable[..., toolchain.Toolchain]


@pytest.fixture
def find(monkeypatch: pytest.MonkeyPatch) -> Find:
    """Finds compilers on a machine that has all of them."""
    monkeypatch.setattr(process, "run", lambda argv, **_: "some version 1.2\nmore\n")
    monkeypatch.setattr(process, "find_program", lambda name: Path("/usr/bin") / name)
    monkeypatch.setattr(toolchain.importlib.util, "find_spec", lambda name: object())
    return toolchain.find_toolchain


def compile_argv(tools: toolchain.Toolchain) -> list[str]:
    return list(toolchain.compile_argv(tools, "src/model.c"))


def link_argv(tools: toolchain.Toolchain) -> list[str]:
    return list(toolchain.link_argv(tools, SOURCES))


def compiling(program: Sequence[str]) -> list[str]:
    stack_usage = ["-fstack-usage"] if program[0] == GNU_M4F[0] else []
    return [*program, *COMMON, *stack_usage, "-c", "-o", "build/src/model.o", "src/model.c"]


def test_gnu_cortex_m4f(find: Find) -> None:
    tools = find(Core.CORTEX_M4F)
    assert (tools.name, tools.version) == ("gnu", "some version 1.2")
    assert tools.objcopy == ("arm-none-eabi-objcopy",)
    assert compile_argv(tools) == compiling(GNU_M4F)
    assert link_argv(tools) == [
        *GNU_M4F,
        *("-O2", "-nostartfiles", "--specs=nano.specs", "-Tlink.ld", "-Wl,--gc-sections"),
        *("-Wl,-Map=build/firmware.map", "-o", "build/firmware.elf"),
        *OBJECTS,
        "-lm",
    ]


@pytest.mark.parametrize(
    ("core", "gnu_flags", "zig_flags"),
    [
        (
            Core.CORTEX_M0,
            ["-mcpu=cortex-m0", "-mthumb", "-mfloat-abi=soft"],
            ["-target", "thumb-freestanding-eabi", "-mcpu=cortex_m0"],
        ),
        (
            Core.CORTEX_M3,
            ["-mcpu=cortex-m3", "-mthumb", "-mfloat-abi=soft"],
            ["-target", "thumb-freestanding-eabi", "-mcpu=cortex_m3"],
        ),
        (
            Core.CORTEX_M7F,
            ["-mcpu=cortex-m7", "-mthumb", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard"],
            ["-target", "thumb-freestanding-eabihf", "-mcpu=cortex_m7-fp64"],
        ),
    ],
)
def test_other_cores(find: Find, core: Core, gnu_flags: list[str], zig_flags: list[str]) -> None:
    assert compile_argv(find(core)) == compiling([GNU_M4F[0], *gnu_flags])
    zig = find(core, "zig")
    assert compile_argv(zig) == compiling([*ZIG_M4F[:4], *zig_flags, *ZIG_M4F[7:]])
    assert link_argv(zig)[: len(ZIG_M4F) + 1] == [*ZIG_M4F[:4], *zig_flags, *ZIG_M4F[7:], "-O2"]


def test_zig_cortex_m4f(find: Find) -> None:
    tools = find(Core.CORTEX_M4F, "zig")
    assert tools.name == "zig"
    assert compile_argv(tools) == compiling(ZIG_M4F)
    assert link_argv(tools) == [
        *ZIG_M4F,
        *("-O2", "-nostdlib", "-rtlib=compiler-rt", "-Wl,-e,elearn_reset_handler", "-Tlink.ld", "-Wl,--gc-sections"),
        *("-o", "build/firmware.elf"),
        *OBJECTS,
    ]


def test_host(find: Find) -> None:
    tools = find(Core.HOST)
    assert compile_argv(tools) == compiling(["cc"])
    assert link_argv(tools) == ["cc", "-O2", "-o", "build/firmware.elf", *OBJECTS, "-lm"]


def test_host_with_sanitizers(find: Find) -> None:
    tools = find(Core.HOST, sanitize=True)
    assert compile_argv(tools) == compiling(CC_SANITIZED)
    assert link_argv(tools) == [*CC_SANITIZED, "-O2", "-o", "build/firmware.elf", *OBJECTS, "-lm"]


def test_host_with_zig(find: Find) -> None:
    tools = find(Core.HOST, "zig")
    assert compile_argv(tools) == compiling(ZIG_HOST)
    assert link_argv(tools) == [*ZIG_HOST, "-O2", "-o", "build/firmware.elf", *OBJECTS]


def qemu(machine: str, shift: int) -> list[str]:
    return [
        *("qemu-system-arm", "-machine", machine, "-kernel", "x.elf", "-icount", f"shift={shift},sleep=on"),
        *("-display", "none", "-monitor", "none"),
        *("-chardev", "socket,id=uart0,host=127.0.0.1,port=4242,server=on,wait=off,nodelay=on"),
        *("-serial", "chardev:uart0"),
    ]


def test_emulators() -> None:
    image = Path("x.elf")
    assert list(emulator_argv(load_board("netduinoplus2"), image, port=4242)) == qemu("netduinoplus2", 0)
    assert list(emulator_argv(load_board("mps2-an386"), image, port=4242)) == qemu("mps2-an386", 7)
    assert list(emulator_argv(load_board("mps2-an385"), image, port=4242)) == qemu("mps2-an385", 7)
    assert list(emulator_argv(load_board("mps2-an500"), image, port=4242)) == qemu("mps2-an500", 7)
    assert list(emulator_argv(load_board("microbit"), image, port=4242)) == qemu("microbit", 7)
    traced = emulator_argv(load_board("mps2-an386"), image, port=4242, trace=True)
    assert list(traced) == [*qemu("mps2-an386", 7), "-d", "exec,nochain,in_asm"]
    program = str(image.absolute())
    assert list(emulator_argv(load_board("host"), image, port=0)) == [program]
    assert list(emulator_argv(load_board("host"), image, port=4242)) == ["env", "ELEARN_PORT=4242", program]


def test_emulators_that_keep_their_flash(tmp_path: Path) -> None:
    board, image, kept = load_board("microbit"), Path("x.elf"), tmp_path / "a, b.bin"
    control = ["-qmp", "tcp:127.0.0.1:4243,server=on,wait=off"]
    argv = emulator_argv(board, image, port=4242, nvm_file=kept, qmp_port=4243)
    assert list(argv) == [*qemu("microbit", 7), *control], "there is nothing to put back"
    kept.write_bytes(bytes(32768))
    argv = emulator_argv(board, image, port=4242, nvm_file=kept, qmp_port=4243)
    loader = f"loader,file={tmp_path}/a,, b.bin,addr=0x38000,force-raw=on"
    assert list(argv) == [*qemu("microbit", 7), "-device", loader, *control]
    program = str(image.absolute())
    argv = emulator_argv(load_board("host"), image, port=4242, nvm_file=kept)
    assert list(argv) == ["env", "ELEARN_PORT=4242", f"ELEARN_NVM_FILE={kept}", program]
    argv = emulator_argv(load_board("host"), image, port=0, nvm_file=kept)
    assert list(argv) == ["env", f"ELEARN_NVM_FILE={kept}", program]
