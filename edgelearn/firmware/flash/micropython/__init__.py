"""MicroPython boards: a package is put onto them through the raw REPL, with mpremote's transport as a library.

    raw_repl.py    the line: interrupt what runs, execute, send files, start main.py
    found.py       look: version, processor, heap, file system and ROM partition; refuse what cannot work
    rom.py         the ROM partition: files there are read in place
    plan.py        compare by hash, on the device: only what differs is written
    deploy.py      write, verify by hash, start

The package lies in the file system, or in a ROM partition where its weights take nothing of the heap; main.py always in
the file system. A list of what we have put there (`edgelearn.json`) tells our files from others, which stay: somebody
else's main.py under another name. What was learned stays too.
"""

from __future__ import annotations

from edgelearn.board import Output
from edgelearn.firmware.flash.tool import Job, Reach, Tool


def _no_commands(job: Job) -> tuple[tuple[str, ...], ...]:
    """No program is started."""
    return ()


TOOL = Tool(
    title="mpremote's transport",
    program="",
    install=(),
    output=Output.MICROPYTHON,
    reach=Reach.PORT,
    commands=_no_commands,
    symptoms=(),
)
