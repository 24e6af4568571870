"""Firmware that meets a fault: the board resets itself, is reached again, and says what and where it was.

The fault is in the code of a sensor, which is somebody's own: at its n-th call it does what no code should.
"""

from __future__ import annotations

import time

import numpy as np
import pytest
from click.testing import CliRunner
from elftools.elf.elffile import ELFFile

from edgelearn.board import Core, load_board
from edgelearn.cli import main
from edgelearn.errors import DeviceResetError
from edgelearn.firmware.emulator import QEMU_PROGRAMS, start
from edgelearn.firmware.toolchain import build_project
from edgelearn.host.device import open_device
from edgelearn.host.telemetry import read_run
from edgelearn.protocol import ResetCause
from edgelearn.training import make_head, plan_training
from tests.support.firmware import generate, write_project
from tests.support.lossy_proxy import assert_same_head
from tests.support.sensor import Rule, sensor_source, teach
from tests.support.tools import require_tool, require_toolchain
from tests.unit.training.heads import head_graph

FEATURES, OUTPUTS, ROWS = 24, 5, 16
#: The n-th call of the sensor that fails.
LAST_CALL = 50
#: No board has anything there.
NOWHERE = 0xB000_0000
UNDEFINED = '__asm volatile("udf #7");'
BAD_READ = f"(void)*(volatile const uint32_t *)0x{NOWHERE:X}u;"
#: As if a pointer to a function had been overwritten: the address has no Thumb bit.
WILD_JUMP = "((void (*)(void))(uintptr_t)0x20000400u)();"
STACK = "overflow(0);"
_NAMES = {UNDEFINED: "undefined", BAD_READ: "read", WILD_JUMP: "jump", STACK: "stack"}
#: Uses more and more of the stack. The fault comes when it has left RAM.
OVERFLOW = """
static volatile uint32_t depth;
__attribute__((noinline)) static uint32_t overflow(uint32_t n)
{
    volatile uint8_t bytes[512];
    bytes[n % 512u] = (uint8_t)n;
    depth = n;
    return overflow(n + 1u) + bytes[n % 512u];
}
"""


def faulty_sensor(fault: str) -> str:
    """C text of a sensor that works until its last call."""
    rng = np.random.default_rng(8)
    text = sensor_source(rng.integers(-128, 128, (ROWS, FEATURES)).astype(np.int8), [i % OUTPUTS for i in range(ROWS)])
    before, name, after = text.partition("bool elearn_sensor_read")
    helper = OVERFLOW if fault == STACK else ""
    text = before + helper + name + after
    return text.replace(
        "    const uint32_t row", f"    if (sample->number == {LAST_CALL}u) {{ {fault} }}\n    const uint32_t row"
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Board, image and a head that has learned nothing, each built once."""
    done = {}

    def make(name, fault):
        if (name, fault) not in done:
            board = load_board(name)
            require_toolchain("gnu", name)
            require_tool(QEMU_PROGRAMS[board.core])
            rng = np.random.default_rng(4)
            weights = rng.normal(size=(OUTPUTS, FEATURES)).astype(np.float32) * 0.1
            graph = head_graph(weights, rng.normal(size=OUTPUTS).astype(np.float32), feature_zero_point=-3)
            plan = plan_training(graph, learning_rate=1e-3)
            files = generate(graph, board=board, training=plan, labels=tuple("abcde"), sensor=faulty_sensor(fault))
            folder = write_project(files, tmp_path_factory.mktemp("faults") / "p")
            done[name, fault] = board, build_project(folder, core=board.core, toolchain="gnu").elf, plan
        board, elf, plan = done[name, fault]
        return board, elf, make_head(plan)

    return make


def function_at(elf, address):
    """The function of an image that an address lies in."""
    with elf.open("rb") as file:
        for symbol in ELFFile(file).get_section_by_name(".symtab").iter_symbols():
            begin = symbol["st_value"] & ~1
            if symbol["st_info"]["type"] == "STT_FUNC" and begin <= address & ~1 < begin + symbol["st_size"]:
                return symbol.name
    return ""


def provoke(device):
    """Let the sensor run into its fault."""
    device.set_sensor(run=True, train=True, report_every=0)
    deadline = time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            device.statistics()
    except DeviceResetError:
        return
    raise AssertionError("there was no fault")


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        *((name, fault) for name in ("microbit", "mps2-an386") for fault in (UNDEFINED, BAD_READ, WILD_JUMP, STACK)),
        ("mps2-an500", BAD_READ),
        ("netduinoplus2", UNDEFINED),
    ],
    ids=lambda value: _NAMES.get(value, value),
)
def test_it_says_what_the_fault_was(name, fault, made):
    board, elf, _ = made(name, fault)
    with start(board, elf) as running:
        with open_device(running.url, hello_timeout_s=30) as device:
            boot = device.info.boot
            assert device.info.last_start.cause is ResetCause.UNKNOWN, "QEMU does not tell why it starts"
            provoke(device)
        with open_device(running.url, hello_timeout_s=30) as device:
            info = device.info
    assert info.boot == boot + 1, "it starts once, and does not fail again"
    assert info.last_start.cause is ResetCause.FAULT
    found = info.last_start.fault
    assert found.exception == 3
    text = str(info.last_start)
    assert text.startswith("a fault: HardFault")
    if fault == STACK:
        # What was kept lies below the stack and is overwritten on the way, then written anew; the frame is nowhere.
        assert "not known" in text or function_at(elf, found.pc)
        return
    if fault != WILD_JUMP:
        assert function_at(elf, found.pc) == "elearn_sensor_read"
        assert f"addr2line -fe firmware.elf 0x{found.pc:x}" in text
    assert function_at(elf, found.lr) or fault != WILD_JUMP
    if board.core is Core.CORTEX_M0:
        assert (found.status, found.hard, found.address) == (0, 0, 0)
        return
    assert found.hard >> 30 & 1, "forced: the fault itself has no handler"
    if fault == BAD_READ:
        assert found.address == NOWHERE
        assert f"data that could not be reached) of address 0x{NOWHERE:x} at 0x{found.pc:08x}" in text
    else:
        assert ("an undefined instruction" if fault == UNDEFINED else "code that is not Thumb") in text


def test_what_was_saved_is_still_there(made):
    board, elf, head = made("mps2-an386", UNDEFINED)
    rng = np.random.default_rng(8)
    x = rng.integers(-128, 128, (ROWS, FEATURES)).astype(np.int8)
    teach(head, x, [i % OUTPUTS for i in range(ROWS)], Rule(train=True), samples=30)
    with start(board, elf) as running:
        with open_device(running.url, hello_timeout_s=30) as device:
            device.set_sensor(run=True, train=True, samples=30)
            while device.statistics().sensor_samples < 30:
                pass
            device.save()
            provoke(device)
        with open_device(running.url, hello_timeout_s=30) as device:
            assert device.info.last_start.cause is ResetCause.FAULT
            assert device.info.step == 30
            assert_same_head(device, head)


def test_a_stream_survives_it_and_tells(made, tmp_path):
    """`monitor` on a board whose sensor fails: one line says so, and the run keeps it."""
    board, elf, _ = made("mps2-an386", BAD_READ)
    with start(board, elf) as running:
        arguments = ["monitor", "--port", running.url, "--train", "--samples", "80", "--runs", str(tmp_path)]
        result = CliRunner().invoke(main, [*arguments, "--autosave-steps", "10"])
        assert result.exit_code == DeviceResetError.exit_code
        said = result.output + result.stderr
        assert "the sensor is stopped since the device was reset" in said
        assert "by a fault: HardFault (data that could not be reached) of address 0xb0000000 at 0x" in said
    (path,) = tmp_path.iterdir()
    assert any("by a fault: HardFault" in event.text for event in read_run(path).events if event.kind == "reset")


def test_who_comes_later_is_told_too(made):
    board, elf, _ = made("microbit", UNDEFINED)
    with start(board, elf) as running:
        with open_device(running.url, hello_timeout_s=30) as device:
            provoke(device)
        result = CliRunner().invoke(main, ["head", "show", "--port", running.url])
        assert result.exit_code == 0, result.output
        assert "the device was reset before its start 2 by a fault: HardFault at 0x" in result.stderr
