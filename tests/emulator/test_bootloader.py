"""An image behind a bootloader that leaves everything on: it starts as after a reset.

The bootloader here is as bad as one can be that still jumps to the right place: interrupts enabled and pending, behind
two masks, SysTick running, memory protection that forbids all peripherals, the process stack in use, its own vectors.
"""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace

from edgelearn.board import COMPILERS, MemoryKind, load_board
from edgelearn.firmware.emulator import QEMU_PROGRAMS, start
from edgelearn.firmware.toolchain import TOOLCHAINS, build_project
from tests.support.echo import EchoClient, write_echo_project
from tests.support.tools import require_tool, require_toolchain

APPLICATION = 0x1_0000

BOOTLOADER = """
#include <stdint.h>
#define REGISTER(address) (*(volatile uint32_t *)(address))
void boot(void);
void trap(void);
void trap(void) { for (;;) { } }
__attribute__((section(".first"), used)) static const uintptr_t vectors[64] = {
    0x20001000u, (uintptr_t)boot, (uintptr_t)trap, (uintptr_t)trap, (uintptr_t)trap, (uintptr_t)trap, (uintptr_t)trap,
    [11] = (uintptr_t)trap, [14] = (uintptr_t)trap, [15] = (uintptr_t)trap, [16] = (uintptr_t)trap,
};
__attribute__((section(".application"), used, aligned(4))) static const uint8_t application[] = {
#include "application.inc"
};
void boot(void)
{
    const uint32_t *first = (const uint32_t *)APPLICATION;
    __asm volatile("cpsid i");
    REGISTER(0xE000E014u) = 50u;
    REGISTER(0xE000E018u) = 0u;
    REGISTER(0xE000E010u) = 7u;
    for (uint32_t i = 0; i < 8u; i++) {
        REGISTER(0xE000E100u + 4u * i) = 0xFFFFFFFFu;
        REGISTER(0xE000E200u + 4u * i) = 0xFFFFFFFFu;
    }
    for (uint32_t i = 0; i < 60u; i++) {
        REGISTER(0xE000E400u + 4u * i) = 0x40404040u;
    }
    REGISTER(0xE000ED04u) = 1u << 28;
    /* Sleep deeply, and again after each interrupt: QEMU does neither. */
    REGISTER(0xE000ED10u) = 6u;
    REGISTER(0xE000ED24u) = 7u << 16;
    /* Region 0: 512 MiB of peripherals, no access; the rest as without it. */
    REGISTER(0xE000ED98u) = 0u;
    REGISTER(0xE000ED9Cu) = 0x40000000u;
    REGISTER(0xE000EDA0u) = 28u << 1 | 1u;
    REGISTER(0xE000ED94u) = 5u;
    __asm volatile(
        "msr basepri, %1\\n\\t"
        "msr psp, %2\\n\\t"
        "movs r0, #2\\n\\t"
        "msr control, r0\\n\\t"
        "isb\\n\\t"
        "bx %0" : : "r"(first[1]), "r"(0x20), "r"(0x20000800u) : "r0");
}
"""
LINK = """
SECTIONS
{
    .text 0 : { KEEP(*(.first)) *(.text*) *(.rodata*) }
    .application APPLICATION : { KEEP(*(.application)) }
}
"""


def with_bootloader(application: Path, folder: Path, flags: tuple[str, ...]) -> Path:
    """One image of the bootloader and an application behind it."""
    raw = folder / "application.bin"
    subprocess.run(["arm-none-eabi-objcopy", "-O", "binary", application, raw], check=True)
    (folder / "application.inc").write_text(",".join(map(str, raw.read_bytes())))
    (folder / "boot.c").write_text(BOOTLOADER)
    (folder / "boot.ld").write_text(LINK.replace("APPLICATION", hex(APPLICATION)))
    argv = ["arm-none-eabi-gcc", *flags, "-O1", "-ffreestanding", "-nostdlib", f"-DAPPLICATION={APPLICATION}u"]
    subprocess.run([*argv, "-T", "boot.ld", "-o", "whole.elf", "boot.c"], cwd=folder, check=True)
    return folder / "whole.elf"


@pytest.mark.parametrize("toolchain", TOOLCHAINS)
@pytest.mark.parametrize("name", ["mps2-an385", "mps2-an386", "mps2-an500"])
def test_it_starts_whatever_a_bootloader_left_on(name: str, toolchain: str, tmp_path: Path) -> None:
    board = load_board(name)
    require_toolchain("gnu", name)
    require_toolchain(toolchain, name)
    require_tool(QEMU_PROGRAMS[board.core])
    memory = tuple(
        replace(one, origin=APPLICATION, size_bytes=one.size_bytes - APPLICATION)
        if one.kind is MemoryKind.FLASH
        else one
        for one in board.memory
    )
    folder = write_echo_project(tmp_path / "p", replace(board, memory=memory))
    built = build_project(folder, core=board.core, toolchain=toolchain)
    whole = with_bootloader(built.elf, tmp_path, COMPILERS[board.core].gnu)
    data = random.Random(3).randbytes(2_000)
    with start(board, whole) as running:
        with EchoClient(running.url) as client:
            assert client.echo(data) == data
            client.use_stack(1000)
            memory = client.memory()
            assert memory.overruns == 0
            assert 1000 < memory.stack < board.stack_bytes, "it runs on its own stack, which it has painted"
        running.check()
