"""Board and its parts, loaded and validated from one strict TOML file in `boards/`.

    parts.py      what a board file says
    ways.py       the ways to flash, as it lists them
    drivers.py    what each driver asks of one
    checks.py     what is wrong in one beyond its schema
    wrong_value.py  what does not agree with the schema, in words
    load.py       boards by name or file
    words.py      the same in words, for people
    compilers.py  what each core needs from each compiler

No board or chip name appears in Python code: everything that tells one board from another is in its file, and the
file names the drivers of `firmware/port/` that it is built from together with their parameters.
"""

from __future__ import annotations

from edgelearn.board.compilers import (
    COMPILE_FLAGS,
    COMPILERS,
    INCLUDE_FLAGS,
    OPTIMIZATION,
    SANITIZE_FLAGS,
    CompilerFlags,
)
from edgelearn.board.load import BoardFileWarning, board_names, load_board, load_board_file
from edgelearn.board.parts import (
    Arduino,
    Board,
    Core,
    Counter,
    Emulator,
    Interrupt,
    Kept,
    Memory,
    MemoryKind,
    MicroPython,
    NonVolatileMemory,
    Output,
    PlatformIo,
    Port,
    Renode,
    Uart,
    Usb,
    UsbMode,
)

__all__ = [
    "COMPILERS",
    "COMPILE_FLAGS",
    "INCLUDE_FLAGS",
    "OPTIMIZATION",
    "SANITIZE_FLAGS",
    "Arduino",
    "Board",
    "BoardFileWarning",
    "CompilerFlags",
    "Core",
    "Counter",
    "Emulator",
    "Interrupt",
    "Kept",
    "Memory",
    "MemoryKind",
    "MicroPython",
    "NonVolatileMemory",
    "Output",
    "PlatformIo",
    "Port",
    "Renode",
    "Uart",
    "Usb",
    "UsbMode",
    "board_names",
    "load_board",
    "load_board_file",
]
