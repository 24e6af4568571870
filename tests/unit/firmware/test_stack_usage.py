"""The bound of the stack of small programs whose calls are known."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edgelearn.board import Board, Core, board_names, load_board
from edgelearn.firmware.stack_usage import StackBound, read_stack_usage, stack_bound
from edgelearn.firmware.toolchain import TOOLCHAINS, build_project
from tests.support.echo import write_echo_project
from tests.support.tools import require_toolchain

EMULATED = [board for board in map(load_board, board_names()) if board.emulator]
BOARD = next(board for board in EMULATED if board.core is Core.CORTEX_M4F)
SMALL_BOARD = next(board for board in EMULATED if board.core is Core.CORTEX_M3)

#: Functions in assembler, so that what each takes is known.
ASSEMBLER = """
#include "elearn_port.h"
int main(void);
void leaf(void);
void eight(void);
__attribute__((naked, noinline, used)) void leaf(void)
{
    __asm volatile("push {r4-r11, lr}\\n sub sp, #20\\n add sp, #20\\n pop {r4-r11, pc}");
}
__attribute__((naked, noinline, used)) void eight(void)
{
    __asm volatile("push {r4, lr}\\n bl leaf\\n pop {r4, pc}");
}
"""


def bound(folder: Path, main: str, *, toolchain: str = "gnu", board: Board = BOARD) -> StackBound:
    require_toolchain(toolchain, board.name)
    write_echo_project(folder, board, main=ASSEMBLER + main)
    return stack_bound(build_project(folder, core=board.core, toolchain=toolchain).elf, board)


CALLS = "int main(void) { elearn_port_init(); eight(); eight(); return 0; }"


@pytest.mark.parametrize("toolchain", TOOLCHAINS)
def test_the_deepest_chain_with_an_interrupt_on_top(tmp_path: Path, toolchain: str) -> None:
    found = bound(tmp_path, CALLS, toolchain=toolchain)
    assert found.problem == ""
    assert [name for name, _ in found.chain] == ["elearn_reset_handler", "elearn_start", "main", "eight", "leaf"]
    assert dict(found.chain)["eight"] == 8
    assert dict(found.chain)["leaf"] == 9 * 4 + 20
    assert found.interrupt[0] == ("an interrupt", 108)
    assert found.interrupt[1][0] == "elearn_uart_interrupt"
    assert found.size_bytes == sum(own for _, own in (*found.chain, *found.interrupt))


def test_without_an_fpu_an_interrupt_takes_less(tmp_path: Path) -> None:
    assert bound(tmp_path, CALLS, board=SMALL_BOARD).interrupt[0] == ("an interrupt", 36)


def test_a_non_maskable_interrupt_comes_on_top(tmp_path: Path) -> None:
    assert BOARD.nvm is not None
    without = bound(tmp_path / "without", CALLS)
    handler = "void elearn_flash_nmi(void);\nvoid elearn_flash_nmi(void) { eight(); }\n"
    nvm = msgspec.structs.replace(BOARD.nvm, nmi_handler="elearn_flash_nmi")
    found = bound(tmp_path / "with", handler + CALLS, board=msgspec.structs.replace(BOARD, nvm=nvm))
    assert without.size_bytes is not None
    assert found.interrupt[: len(without.interrupt)] == without.interrupt
    on_top = found.interrupt[len(without.interrupt) :]
    assert [name for name, _ in on_top] == ["an interrupt", "elearn_flash_nmi", "eight", "leaf"]
    assert found.size_bytes == without.size_bytes + sum(own for _, own in on_top)


@pytest.mark.parametrize("toolchain", TOOLCHAINS)
def test_a_call_through_a_pointer_reaches_what_has_its_address_taken(tmp_path: Path, toolchain: str) -> None:
    main = """
    static void (*volatile pointer)(void) = eight;
    int main(void) { elearn_port_init(); pointer(); return 0; }
    """
    found = bound(tmp_path, main, toolchain=toolchain)
    assert [name for name, _ in found.chain][-2:] == ["eight", "leaf"]


@pytest.mark.parametrize("toolchain", TOOLCHAINS)
def test_an_address_in_code_is_taken_too(tmp_path: Path, toolchain: str) -> None:
    main = """
    void (*volatile pointer)(void);
    int main(void) { elearn_port_init(); pointer = eight; pointer(); return 0; }
    """
    found = bound(tmp_path, main, toolchain=toolchain)
    assert [name for name, _ in found.chain][-2:] == ["eight", "leaf"]


@pytest.mark.parametrize("toolchain", TOOLCHAINS)
def test_recursion_has_no_bound(tmp_path: Path, toolchain: str) -> None:
    main = """
    __attribute__((naked, noinline, used)) void first(void);
    __attribute__((naked, noinline, used)) void second(void);
    void first(void) { __asm volatile("push {r4, lr}\\n bl second\\n pop {r4, pc}"); }
    void second(void) { __asm volatile("push {r4, lr}\\n bl first\\n pop {r4, pc}"); }
    int main(void) { elearn_port_init(); first(); return 0; }
    """
    found = bound(tmp_path, main, toolchain=toolchain)
    assert found.size_bytes is None
    assert found.problem == "recursion: first calls second calls first"


@pytest.mark.parametrize("toolchain", TOOLCHAINS)
def test_an_array_of_variable_length_has_no_bound(tmp_path: Path, toolchain: str) -> None:
    main = """
    volatile unsigned size = 3;
    int main(void)
    {
        volatile char array[size];
        elearn_port_init();
        array[size - 1u] = 1;
        return array[0];
    }
    """
    found = bound(tmp_path, main, toolchain=toolchain)
    assert found.size_bytes is None
    assert "main" in found.problem


def test_assembler_that_sets_the_stack_pointer_has_no_bound(tmp_path: Path) -> None:
    main = """
    __attribute__((naked, noinline, used)) void odd(void);
    void odd(void) { __asm volatile("mov r12, sp\\n mov sp, r0\\n mov sp, r12\\n bx lr"); }
    int main(void) { elearn_port_init(); odd(); return 0; }
    """
    found = bound(tmp_path, main)
    assert found.problem == "odd sets the stack pointer in a way that cannot be followed"


def test_instructions_take_what_the_compiler_says(tmp_path: Path) -> None:
    """Two ways to the same figure: for C, pushes and subtractions are what -fstack-usage says."""
    require_toolchain("gnu", BOARD.name)
    write_echo_project(tmp_path, BOARD)
    elf = build_project(tmp_path, core=BOARD.core, toolchain="gnu").elf
    said = read_stack_usage(elf.parent)
    assert len(said) > 15
    found = stack_bound(elf, BOARD)
    sources = {name: use.size_bytes for (_, name), use in said.items()}
    for name, own in (*found.chain, *found.interrupt[1:]):
        assert sources[name] == own


def test_stack_usage_files(tmp_path: Path) -> None:
    (tmp_path / "runtime").mkdir()
    (tmp_path / "runtime" / "elearn_x.su").write_text(
        "runtime/elearn_x.c:7:10:elearn_x\t40\tstatic\n"
        "runtime/elearn_x.c:9:1:helper.constprop\t16\tdynamic,bounded\n"
        "runtime/elearn_x.c:30:1:odd\t16\tdynamic\n"
    )
    found = read_stack_usage(tmp_path)
    assert {name: (use.size_bytes, use.is_bounded) for (_, name), use in found.items()} == {
        "elearn_x": (40, True),
        "helper.constprop": (16, True),
        "odd": (16, False),
    }
    assert {source for source, _ in found} == {"runtime/elearn_x.c"}
