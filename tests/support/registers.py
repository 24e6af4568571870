"""A model of peripheral registers that drivers run against on this machine.

The drivers of a board are compiled as C++, where ELEARN_REGISTER is an object whose reads and writes come here; the
constants are those of the board file. A test scripts what the hardware answers and looks at what was written, in order.

    model = Registers(board, ["stm32f4_clock.c"])
    model.on_write[RCC_CR] = lambda value: value | READY        # what the register holds then
    model.call("elearn_clock_init")
    assert (RCC_CFGR, 2) in model.writes
"""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from edgelearn import resources
from edgelearn.board import Board
from edgelearn.codegen.board_files import board_files
from edgelearn.protocol import c_header
from tests.support.tools import require_tool

BAUD = 115_200
_MODEL = """\
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
extern "C" uint32_t (*model_read)(uint32_t);
extern "C" void (*model_write)(uint32_t, uint32_t);
struct Register {
    uint32_t address;
    operator uint32_t() const { return model_read(address); }
    void operator=(uint32_t value) { model_write(address, value); }
    void operator|=(uint32_t bits) { model_write(address, model_read(address) | bits); }
    void operator&=(uint32_t bits) { model_write(address, model_read(address) & bits); }
};
#define ELEARN_REGISTER(address) (Register{(uint32_t)(address)})
/* Assembler is left out: what stands there are barriers and WFI. */
#define __asm
#define volatile(...)
"""
#: What other parts of the firmware give the drivers: a ring with room for one test's bytes.
_OTHERS = """\
#include "model.h"
extern "C" {
uint32_t (*model_read)(uint32_t);
void (*model_write)(uint32_t, uint32_t);
int ring_full;
uint32_t ring_count, ring_overruns;
uint8_t ring_bytes[64];
int elearn_ring_is_full(void) { return ring_full; }
void elearn_ring_put(uint8_t byte) { ring_bytes[ring_count++ % 64u] = byte; }
void elearn_ring_count_overrun(void) { ring_overruns++; }
void elearn_fault_handler(void) { ring_overruns = 0xFA017u; }
}
"""
_READ = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_uint32)
_WRITE = ctypes.CFUNCTYPE(None, ctypes.c_uint32, ctypes.c_uint32)


class Registers:
    """The registers of a board, and its drivers that work on them.

    Attributes:
        values: what each register holds that was written or set; others hold 0.
        writes: every write, in order.
        reads: how many reads there were.
        on_read, on_write: by address, what a register gives when it is read, and what it holds after a write.
    """

    def __init__(self, board: Board, sources: list[str], replace: Mapping[str, int] | None = None) -> None:
        self.values: dict[int, int] = {}
        self.writes: list[tuple[int, int]] = []
        self.reads = 0
        self.on_read: dict[int, Callable[[], int]] = {}
        self.on_write: dict[int, Callable[[int], int]] = {}
        with tempfile.TemporaryDirectory() as folder:
            # A library that is loaded twice would share its variables.
            program = Path(folder) / "drivers.so"
            program.write_bytes(_library(board.name, _header(board, replace or {}), tuple(sources)))
            self._library = ctypes.CDLL(str(program))
        self._callbacks = (_READ(self._read), _WRITE(self._write))
        for name, callback in zip(("model_read", "model_write"), self._callbacks, strict=True):
            ctypes.c_void_p.in_dll(self._library, name).value = ctypes.cast(callback, ctypes.c_void_p).value

    def call(self, name: str, *arguments: int | bytes) -> int:
        """Call a function of the drivers."""
        function = getattr(self._library, name)
        function.restype = ctypes.c_uint32
        return int(function(*(a if isinstance(a, bytes) else ctypes.c_uint32(a) for a in arguments)))

    def flag(self, name: str, *arguments: int | bytes) -> bool:
        """Call a function that returns bool."""
        return bool(self.call(name, *arguments) & 0xFF)

    def variable(self, name: str) -> ctypes.c_uint32:
        """A variable of the ring."""
        return ctypes.c_uint32.in_dll(self._library, name)

    def received(self) -> bytes:
        """The bytes that were put into the ring."""
        count = self.variable("ring_count").value
        return bytes((ctypes.c_uint8 * 64).in_dll(self._library, "ring_bytes"))[:count]

    def written(self, address: int) -> list[int]:
        """What was written to a register, in order."""
        return [value for at, value in self.writes if at == address]

    def last(self, address: int) -> int:
        """What was written to a register last."""
        return self.written(address)[-1]

    def _read(self, address: int) -> int:
        self.reads += 1
        hook = self.on_read.get(address)
        return hook() if hook else self.values.get(address, 0)

    def _write(self, address: int, value: int) -> None:
        self.writes.append((address, value))
        hook = self.on_write.get(address)
        self.values[address] = hook(value) if hook else value


def _header(board: Board, replace: Mapping[str, int]) -> str:
    files = board_files(board, runtime_sources=[], generated_sources=[], baud=BAUD, ring_bytes=256)
    lines = files["src/elearn_board.h"].splitlines()
    for name, value in replace.items():
        (place,) = (i for i, line in enumerate(lines) if line.startswith(f"#define {name} "))
        lines[place] = f"#define {name} {value}u"
    return "\n".join(lines) + "\n"


@cache
def _library(board: str, header: str, sources: tuple[str, ...]) -> bytes:
    """The drivers as a shared library."""
    require_tool("c++")
    firmware = resources.firmware_folder()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "elearn_board.h").write_text(header)
        (folder / "elearn_protocol.h").write_text(c_header())
        (folder / "model.h").write_text(_MODEL)
        (folder / "others.cpp").write_text(_OTHERS)
        for source in sources:
            text = f'#include "model.h"\nextern "C" {{\n#include "{source}"\n}}\n'
            (folder / f"{source}pp").write_text(text)
        includes = [f"-I{folder}", f"-I{firmware / 'runtime'}", f"-I{firmware / 'port'}"]
        units = ["others.cpp", *(f"{source}pp" for source in sources)]
        argv = ["c++", "-std=c++11", "-O1", "-w", "-shared", "-fPIC", *includes, "-o", f"{board}.so", *units]
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return (folder / f"{board}.so").read_bytes()
