"""Which boards can hold a bundle, with what margin, and what would have to shrink where they cannot.

Figures of bare metal and of Arduino sketches are the plan's, those of a sketch with what Arduino's core takes.
MicroPython is an estimate: what the model needs beside Python itself, of the heap.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil
from typing import Protocol

import msgspec
from msgspec import Struct

from edgelearn import pipeline
from edgelearn.board import Board, Core, Output
from edgelearn.bundle import Bundle
from edgelearn.codegen import Plan, package_need
from edgelearn.codegen.plan import plan_on
from edgelearn.errors import UnsupportedOpError
from edgelearn.inspection import fit
from edgelearn.ir import LossKind
from edgelearn.machine_code import LIBRARIES
from edgelearn.recipe import Residual

#: Outputs that have a board to themselves; what becomes part of somebody's own firmware shares it.
_COMPARED = (Output.BARE_METAL, Output.ARDUINO, Output.MICROPYTHON)


class _Plans(Protocol):
    """What a single board of each core would ask for: planned once for each way to store the trainable layer."""

    def __call__(self, core: Core, residual: Residual, *, for_python: bool = False) -> Plan:
        """The plan; for_python: with the kernels that MicroPython has on that core."""


class Need(Struct, frozen=True, kw_only=True):
    """What is needed of one memory.

    Attributes:
        memory: `flash`, `RAM`, or `heap` for MicroPython's.
        needed_bytes: with what Arduino's core takes, where there is one.
        available_bytes: of the whole board, or of MicroPython's heap.
        margin_bytes: what stays free; below zero where so many bytes are missing.
    """

    memory: str
    needed_bytes: int
    available_bytes: int
    margin_bytes: int


class OutputFit(Struct, frozen=True, kw_only=True):
    """Whether what is generated for a board fits it.

    Attributes:
        estimated: of what is needed: `code` for bare metal, `code and core` for Arduino, `all` for MicroPython.
        problem: what does not fit and what is largest there; empty where it fits.
        hint: what would help.
        residuals: other ways to store the trainable layer with which it would fit; each was planned.
        fewer_classes: with about so many classes less it would fit too; 0 where that does not help.
    """

    output: Output
    fits: bool
    estimated: str
    needs: tuple[Need, ...]
    problem: str = ""
    hint: str = ""
    residuals: tuple[Residual, ...] = ()
    fewer_classes: int = 0


class BoardFit(Struct, frozen=True, kw_only=True):
    """Whether a board can hold a bundle, for each output that has it to itself, the default first."""

    board: str
    fits: bool
    outputs: tuple[OutputFit, ...]


class Fitting(Struct, frozen=True, kw_only=True):
    """What `edgelearn boards --fits` tells; the keys of its --json.

    Attributes:
        residual: how the trainable layer's weights would be stored.
        trains: whether anything is trained.
    """

    name: str
    model_hash: str
    residual: Residual
    trains: bool
    boards: tuple[BoardFit, ...]

    @property
    def fits(self) -> bool:
        """Whether any board can hold it."""
        return any(board.fits for board in self.boards)


def fit_boards(bundle: Bundle, boards: Iterable[Board], *, residual: Residual = Residual.INT8) -> Fitting:
    """Compare a bundle with boards.

    Args:
        bundle: what is to be held.
        boards: by whom.
        residual: how the trainable layer's weights would be stored; smaller ways are tried where it does not fit.

    Raises:
        UnsupportedOpError, OptionError: it can be planned for no board.
    """
    boards = tuple(boards)
    planned: dict[tuple[Core, Residual, bool], Plan] = {}

    def plan(core: Core, residual: Residual, *, for_python: bool = False) -> Plan:
        # With machine code the kernels are those of C.
        for_python = for_python and core not in LIBRARIES
        key = (core, residual, for_python)
        if key not in planned:
            output = Output.MICROPYTHON if for_python else None
            board = next(b for b in boards if b.core is core and (b.micropython or not for_python))
            planned[key] = pipeline.plan(bundle, board, residual=residual, output=output)
        return planned[key]

    return Fitting(
        name=bundle.name,
        model_hash=bundle.model_hash,
        residual=residual,
        trains=bundle.graph.loss is not None,
        boards=tuple(_board_fit(board, residual, plan) for board in boards),
    )


def _board_fit(board: Board, residual: Residual, plan: _Plans) -> BoardFit:
    outputs = tuple(_with_help(output, board, residual, plan) for output in board.outputs if output in _COMPARED)
    return BoardFit(board=board.name, fits=any(found.fits for found in outputs), outputs=outputs)


def _with_help(output: Output, board: Board, residual: Residual, plan: _Plans) -> OutputFit:
    """Whether the output fits; where it does not, with what would help."""
    asked = plan(board.core, residual)
    found = _output_fit(output, board, residual, plan)
    if found.fits or asked.head is None:
        return found
    smaller = [other for other in Residual if other.weight_bytes < residual.weight_bytes]
    return msgspec.structs.replace(
        found,
        residuals=tuple(o for o in smaller if _output_fit(output, board, o, plan).fits),
        fewer_classes=_fewer_classes(found, asked),
    )


def _output_fit(output: Output, board: Board, residual: Residual, plan: _Plans) -> OutputFit:
    try:
        if output is Output.MICROPYTHON:
            return _micropython_fit(board, residual, plan)
        found = fit(plan_on(plan(board.core, residual), board, output))
    except UnsupportedOpError as error:
        problem = f"{error.message}; {error.cause}" if error.cause else error.message
        return OutputFit(output=output, fits=False, estimated="code", needs=(), problem=problem, hint=error.hint)
    return OutputFit(
        output=output,
        fits=found.fits,
        estimated="code and core" if output is Output.ARDUINO else "code",
        needs=(
            _need("flash", found.flash_bytes, found.flash_available_bytes),
            _need("RAM", found.ram_bytes, found.ram_available_bytes),
        ),
        problem=found.problem,
        hint=found.hint,
    )


def _micropython_fit(board: Board, residual: Residual, plan: _Plans) -> OutputFit:
    if residual is Residual.FLOAT:
        return OutputFit(
            output=Output.MICROPYTHON,
            fits=False,
            estimated="all",
            needs=(),
            problem="float heads exist in C only",
            hint="take another --residual",
        )
    python = board.micropython
    heap_bytes = python.heap_bytes if python else 0
    package = package_need(plan_on(plan(board.core, residual, for_python=True), board, Output.MICROPYTHON))
    need = _need("heap", package.needed_bytes(board), heap_bytes)
    problem = hint = ""
    if need.margin_bytes < 0:
        largest = sorted(package.heap_on(board).items(), key=lambda part: -part[1])[:2]
        problem = (
            f"needs about {need.needed_bytes:,} bytes of heap, {board.name} has about {heap_bytes:,} bytes; "
            f"{' and '.join(f'{name} {size:,}' for name, size in largest)} bytes are most of it"
        )
        hint = "choose a board with more heap, or shrink the model"
    return OutputFit(
        output=Output.MICROPYTHON, fits=not problem, estimated="all", needs=(need,), problem=problem, hint=hint
    )


def _need(memory: str, needed_bytes: int, available_bytes: int) -> Need:
    return Need(
        memory=memory,
        needed_bytes=needed_bytes,
        available_bytes=available_bytes,
        margin_bytes=available_bytes - needed_bytes,
    )


def _fewer_classes(found: OutputFit, plan: Plan) -> int:
    """Classes to leave out, where RAM or heap is all that is missing and that suffices."""
    short = [need for need in found.needs if need.margin_bytes < 0]
    head = plan.head
    if head is None or head.loss is not LossKind.CROSS_ENTROPY or len(short) != 1 or short[0].memory == "flash":
        return 0
    # Every buffer of the head has the same bytes for each output.
    each_bytes = sum(b.size_bytes for b in plan.buffers if b.purpose == "head") // head.outputs
    fewer = ceil(-short[0].margin_bytes / each_bytes)
    return fewer if fewer <= head.outputs - 2 else 0
