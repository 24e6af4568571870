"""Trace: counts what an emulated board runs, by layer, from QEMU's log of executed blocks.

QEMU translates straight pieces of code, its blocks, and with `-d exec,nochain,in_asm` writes one line each time it runs
one, after writing the block's instructions when it translates it:

    IN: elearn_conv2d_s8
    0x00000388:  e92d 4ff0  push.w   {r4, r5, r6, r7, r8, sb, sl, fp, lr}
    ...
    Trace 0: 0x7f0a5c000100 [00000000/00000388/00000110/ff000601] elearn_conv2d_s8

Only addresses are taken from it; what the instructions are is read from the image. The log is some eighty bytes for
each block that runs, hundreds of megabytes for an inference: it is counted as it comes, and never kept.

Which layer a block belongs to follows from the call that led to it: `elearn_model_run` calls one kernel after the
other, without loops, so that the address of the call is the layer. What that function itself runs before a call counts
with the call.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from edgelearn.errors import EmulatorError
from edgelearn.firmware.cycles import CostTable, block_cycles
from edgelearn.firmware.image import Function, Image
from edgelearn.firmware.thumb import Instruction, Kind, decode

#: The function that runs the frozen layers, and those of the trainable one that are counted by themselves.
RUN_FUNCTION = "elearn_model_run"
FORWARD_FUNCTION = "elearn_head_forward"
LEARN_FUNCTION = "elearn_head_learn"

#: Sources whose functions call the model and are not of it.
_OUTSIDE_SOURCES = (
    "runtime/elearn_link.c",
    "runtime/elearn_frame.c",
    "runtime/main.c",
    "port/",
    "src/elearn_vectors.c",
)

_EXECUTED = re.compile(rb"Trace \d+: 0x[0-9a-f]+ \[[0-9a-f]+/([0-9a-f]+)/")
_INSTRUCTION = re.compile(rb"0x([0-9a-f]+):")
#: After a line with it, the block of the line before had not run.
_STOPPED = b"Stopped"
#: Stands after the last line.
_END = b""


class Work(Struct, frozen=True, kw_only=True):
    """What ran.

    Attributes:
        calls: the names of the kernel that was called; none where it is not known.
        instructions: executed, those that a condition skipped included, as the emulated counter counts.
        cycles: estimated.
        mix: instructions of each class.
    """

    calls: tuple[str, ...] = ()
    instructions: int = 0
    cycles: float = 0.0
    mix: Mapping[Kind, int] = {}


class Traced(Struct, frozen=True, kw_only=True):
    """The work of everything that was traced, over all samples.

    Attributes:
        layers: of each call of a kernel, in the order in which they were made.
        forward: of the trainable layer's outputs; None where there is none.
        learn: of its update; None where nothing was learned.
    """

    layers: tuple[Work, ...]
    forward: Work | None
    learn: Work | None


class _Block(Struct, frozen=True, kw_only=True):
    """A piece of code as QEMU runs it; `end` is the address after its last instruction."""

    begin: int
    end: int
    instructions: tuple[Instruction, ...]


class Trace:
    """Takes the log in pieces of any size, and counts."""

    def __init__(self, image: Image) -> None:
        """Find the functions whose blocks are told apart.

        Args:
            image: what the board runs; it holds `elearn_model_run`.
        """
        self._image = image
        functions = {name: function for function in image.functions for name in function.names}
        self._run = functions[RUN_FUNCTION]
        self._entries = {functions[n].address: n for n in (FORWARD_FUNCTION, LEARN_FUNCTION) if n in functions}
        self._outside = [f for f in image.functions if f.source.startswith(_OUTSIDE_SOURCES)]
        self._rest = b""
        #: Last instruction of the newest translation at each address.
        self._last: dict[int, int] = {}
        self._translating: int | None = None
        #: The block of each line, and the lines of blocks that always belong to what led to them.
        self._blocks: dict[bytes, _Block] = {}
        self._inner: set[bytes] = set()
        #: For each activity how often a line was followed by another: by the address of a call, or by name.
        self._counts: dict[int | str, Counter[tuple[bytes, bytes]]] = {}
        self._activity: int | str = ""
        self._previous: list[bytes] = []

    def feed(self, piece: bytes) -> None:
        """Count what is in a piece of the log; a last line that is not whole waits for the next piece."""
        lines = (self._rest + piece).split(b"\n")
        self._rest = lines.pop()
        self._count([line for line in lines if line in self._blocks or self._is_event(line)])

    def finish(self) -> None:
        """The log has ended."""
        self._count([_END])

    def _is_event(self, line: bytes) -> bool:
        """Take in a line that is not known yet; whether it tells of an execution, not of a translation."""
        executed = _EXECUTED.match(line)
        if executed:
            self._blocks[line] = block = self._block(int(executed.group(1), 16))
            if not self._is_marker(block):
                self._inner.add(line)
            return True
        if line.startswith(b"IN:"):
            self._translating = None
        instruction = _INSTRUCTION.match(line)
        if instruction:
            address = int(instruction.group(1), 16)
            if self._translating is None:
                self._translating = address
            self._last[self._translating] = address
        return line.startswith(_STOPPED)

    def _block(self, begin: int) -> _Block:
        """The newest translation at an address, which runs for the first time."""
        last = self._last.get(begin, begin)
        code = decode(self._image.read(begin, last + 4 - begin), begin)
        instructions = tuple(instruction for instruction in code if instruction.address <= last)
        if begin not in self._last or not instructions:
            raise EmulatorError(
                "the emulator's trace cannot be read",
                cause=f"it ran code at 0x{begin:08x} that it had not translated or that is not in the image",
                hint="this QEMU may write its log in another way: `edgelearn doctor` says which one is installed",
            )
        end = last + instructions[-1].size_bytes
        return _Block(begin=begin, end=end, instructions=instructions)

    def _is_marker(self, block: _Block) -> bool:
        return (
            block.begin in self._entries
            or _holds(self._run, block.begin)
            or any(_holds(function, block.begin) for function in self._outside)
        )

    def _count(self, lines: list[bytes]) -> None:
        """Count lines, each with the one after it; the last one waits for its successor."""
        lines = self._previous + lines
        self._previous = lines[-1:]
        begin = 0
        for position in [i for i, line in enumerate(lines) if line not in self._inner]:
            self._add(lines, begin, position)
            self._mark(lines[position])
            begin = position
        self._add(lines, begin, len(lines) - 1)

    def _add(self, lines: list[bytes], begin: int, end: int) -> None:
        if self._activity:
            pairs = zip(lines[begin:end], lines[begin + 1 : end + 1], strict=True)
            self._counts.setdefault(self._activity, Counter()).update(pairs)

    def _mark(self, line: bytes) -> None:
        """Go over to the activity that a line begins."""
        block = self._blocks.get(line)
        if block is None:
            return
        if _holds(self._run, block.begin):
            self._activity = block.instructions[-1].address
        else:
            self._activity = self._entries.get(block.begin, "")

    def result(self, table: CostTable) -> Traced:
        """What was counted, with cycles by a core's table of costs."""
        layers: list[Work] = []
        before = Work()
        for activity, counts in self._counts.items():
            if isinstance(activity, str):
                continue
            before = _sum(before, self._work(counts, table))
            called = self._called(activity)
            if called is not None:
                layers.append(msgspec.structs.replace(before, calls=called))
                before = Work()
        if layers:
            # What is left after the last call is the way back from it.
            layers[-1] = _sum(layers[-1], before)
        return Traced(
            layers=tuple(layers),
            forward=self._named(FORWARD_FUNCTION, table),
            learn=self._named(LEARN_FUNCTION, table),
        )

    def _called(self, address: int) -> tuple[str, ...] | None:
        """The kernel that the instruction at an address calls: its names, none where they are not known.

        Returns:
            None where it calls no kernel. The compiler may call its library to set up arguments.
        """
        (instruction,) = (i for i in self._run.instructions if i.address == address)
        if instruction.target is None:
            return () if instruction.is_indirect else None
        if _holds(self._run, instruction.target):
            return None
        function = self._image.function_at(instruction.target)
        return function.names if function and function.source else None

    def _named(self, name: str, table: CostTable) -> Work | None:
        counts = self._counts.get(name)
        return msgspec.structs.replace(self._work(counts, table), calls=(name,)) if counts else None

    def _work(self, counts: Counter[tuple[bytes, bytes]], table: CostTable) -> Work:
        instructions = 0
        cycles = 0.0
        mix: Counter[Kind] = Counter()
        for (line, after), number in counts.items():
            if after.startswith(_STOPPED) or line.startswith(_STOPPED):
                continue
            block = self._blocks[line]
            follows = after != _END and self._blocks[after].begin == block.end
            instructions += number * len(block.instructions)
            cycles += number * block_cycles(block.instructions, table, taken=not follows)
            for instruction in block.instructions:
                mix[instruction.kind] += number
        return Work(instructions=instructions, cycles=cycles, mix=mix)


def _holds(function: Function, address: int) -> bool:
    return function.address <= address < function.address + function.size_bytes


def _sum(one: Work, other: Work) -> Work:
    return Work(
        calls=one.calls or other.calls,
        instructions=one.instructions + other.instructions,
        cycles=one.cycles + other.cycles,
        mix=Counter(one.mix) + Counter(other.mix),
    )
