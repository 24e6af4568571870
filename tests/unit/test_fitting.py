"""Which boards hold a bundle: the same as `inspect` says, exact at the edges, and what is said to help helps."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edgelearn import convert, pipeline
from edgelearn.board import Arduino, Board, Core, MemoryKind, MicroPython, Output, board_names, load_board
from edgelearn.bundle import Bundle
from edgelearn.codegen import package_need
from edgelearn.codegen.micropython import HEAP_RESERVE_BYTES
from edgelearn.codegen.plan import plan_on
from edgelearn.fitting import OutputFit, fit_boards
from edgelearn.inspection import fit
from edgelearn.recipe import Residual
from tests.support.bundles import small_model, write_model
from tests.support.tflite_builder import TfliteBuilder

BOARDS = [load_board(name) for name in board_names()]
BARE_METAL = [board for board in BOARDS if Output.BARE_METAL in board.outputs and board.core is not Core.HOST]


def wide_model(units: int) -> bytes:
    """An int8 .tflite whose last layer has 512 x units weights, and little else."""
    builder = TfliteBuilder(5)
    x = builder.reshape(builder.input((1, 8, 8, 8)), (1, 512))
    return builder.build(builder.softmax(builder.fully_connected(x, units=units, name="classes")))


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    folder = tmp_path_factory.mktemp("models")
    write_model(folder / "small.tflite")
    (folder / "wide.tflite").write_bytes(wide_model(100))
    return {name: convert.convert_model(folder / f"{name}.tflite") for name in ("small", "wide")}


def wide(tmp_path: Path, units: int) -> Bundle:
    path = tmp_path / "wide.tflite"
    path.write_bytes(wide_model(units))
    return convert.convert_model(path)


def only(bundle: Bundle, board: Board, *, residual: Residual = Residual.INT8) -> dict[Output, OutputFit]:
    """What is said of one board."""
    (found,) = fit_boards(bundle, [board], residual=residual).boards
    assert found.fits == any(output.fits for output in found.outputs)
    return {output.output: output for output in found.outputs}


@pytest.mark.parametrize("residual", list(Residual), ids=lambda residual: residual.value)
@pytest.mark.parametrize("name", ["small", "wide"])
def test_a_plan_moved_to_a_board_is_the_boards_own(bundles: dict[str, Bundle], name: str, residual: Residual) -> None:
    for board in BOARDS:
        own = pipeline.plan(bundles[name], board, residual=residual)
        for other in (o for o in BOARDS if o.core is board.core):
            moved = plan_on(pipeline.plan(bundles[name], other, residual=residual), board)
            for field in ("buffers", "constants", "ring_bytes", "code_estimate_bytes", "flash_bytes", "ram_bytes"):
                assert getattr(moved, field) == getattr(own, field)
            assert moved.board == own.board
            break


def test_inspect_tells_a_board_that_takes_micropython_alone(bundles: dict[str, Bundle]) -> None:
    board = load_board("pico")
    alone = msgspec.structs.replace(board, arduino=None)
    assert alone.outputs == (Output.MICROPYTHON,)
    assert fit(pipeline.plan(bundles["wide"], alone)).fits
    told = fit(pipeline.plan(bundles["wide"], alone, residual=Residual.FLOAT))
    assert (told.fits, told.problem) == (False, "a head in floating point exists in C only")
    assert alone.micropython
    small = msgspec.structs.replace(alone, micropython=msgspec.structs.replace(alone.micropython, heap_bytes=40_000))
    told = fit(pipeline.plan(bundles["wide"], small))
    assert not told.fits
    assert "40,000" in told.problem
    assert "MicroPython's heap" in told.problem


@pytest.mark.parametrize("name", ["small", "wide"])
def test_bare_metal_is_what_inspect_says(bundles: dict[str, Bundle], name: str) -> None:
    found = {board.board: board for board in fit_boards(bundles[name], BARE_METAL).boards}
    assert set(found) == {board.name for board in BARE_METAL}
    verdicts = set()
    for board in BARE_METAL:
        inspected = fit(pipeline.plan(bundles[name], board))
        told = next(output for output in found[board.name].outputs if output.output is Output.BARE_METAL)
        flash, ram = told.needs
        assert (told.fits, told.problem, told.hint) == (inspected.fits, inspected.problem, inspected.hint)
        assert (flash.needed_bytes, flash.available_bytes) == (inspected.flash_bytes, inspected.flash_available_bytes)
        assert (ram.needed_bytes, ram.available_bytes) == (inspected.ram_bytes, inspected.ram_available_bytes)
        assert ram.margin_bytes == inspected.ram_available_bytes - inspected.ram_bytes
        verdicts.add(told.fits)
    assert verdicts == ({True} if name == "small" else {True, False}), "the wide one needs more than 100 KB of RAM"


def bare(bundles: dict[str, Bundle], ram_bytes: int) -> Board:
    """A board of plenty of flash and so much RAM, without pages for what was learned."""
    board = next(board for board in BARE_METAL if board.core is Core.CORTEX_M4F)
    memory = tuple(
        msgspec.structs.replace(m, size_bytes=ram_bytes if m.kind is MemoryKind.RAM else m.size_bytes)
        for m in board.memory
    )
    return msgspec.structs.replace(board.without_nvm(), memory=memory, arduino=None, micropython=None)


def test_to_the_byte(bundles: dict[str, Bundle]) -> None:
    """With the least ring there is, one byte of RAM decides."""
    short = only(bundles["wide"], bare(bundles, 60_000))[Output.BARE_METAL]
    needed_bytes = short.needs[1].needed_bytes
    assert not short.fits
    assert short.needs[1].margin_bytes == 60_000 - needed_bytes
    assert only(bundles["wide"], bare(bundles, needed_bytes))[Output.BARE_METAL].fits
    assert not only(bundles["wide"], bare(bundles, needed_bytes - 1))[Output.BARE_METAL].fits


def test_a_smaller_way_to_store_the_layer_helps_where_that_is_said(bundles: dict[str, Bundle]) -> None:
    board = bare(bundles, 80_000)
    short = only(bundles["wide"], board)[Output.BARE_METAL]
    assert short.residuals == (Residual.STOCHASTIC, Residual.NONE)
    for residual in Residual:
        assert only(bundles["wide"], board, residual=residual)[Output.BARE_METAL].fits == (residual in short.residuals)
    hopeless = only(bundles["wide"], bare(bundles, 20_000))[Output.BARE_METAL]
    assert hopeless.residuals == ()
    assert "--head none" in hopeless.hint
    fits_nowhere_near = only(bundles["wide"], board, residual=Residual.FLOAT)[Output.BARE_METAL]
    assert fits_nowhere_near.residuals == (Residual.STOCHASTIC, Residual.NONE)


def test_so_many_classes_less_and_it_fits(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    board = bare(bundles, 90_000)
    short = only(bundles["wide"], board)[Output.BARE_METAL]
    assert 0 < short.fewer_classes < 98
    assert only(wide(tmp_path, 100 - short.fewer_classes), board)[Output.BARE_METAL].fits
    assert not only(wide(tmp_path, 101 - short.fewer_classes), board)[Output.BARE_METAL].fits


def test_where_classes_do_not_help_they_are_not_offered(bundles: dict[str, Bundle]) -> None:
    assert only(bundles["wide"], bare(bundles, 4_096))[Output.BARE_METAL].fewer_classes == 0


def with_arduino(board: Board, *, core_flash_bytes: int, core_ram_bytes: int) -> Board:
    arduino = Arduino(fqbn="a:b:c", architecture="b", core_flash_bytes=core_flash_bytes, core_ram_bytes=core_ram_bytes)
    return msgspec.structs.replace(board, arduino=arduino)


def test_a_sketch_is_what_inspect_would_say(bundles: dict[str, Bundle]) -> None:
    for board in (board for board in BOARDS if board.arduino):
        told = only(bundles["wide"], board)[Output.ARDUINO]
        inspected = fit(pipeline.plan(bundles["wide"], board, output=Output.ARDUINO))
        assert (told.fits, told.problem, told.hint) == (inspected.fits, inspected.problem, inspected.hint)
        assert [need.needed_bytes for need in told.needs] == [inspected.flash_bytes, inspected.ram_bytes]


def test_a_sketch_to_the_byte(bundles: dict[str, Bundle]) -> None:
    """What the core takes counts."""
    board = bare(bundles, 60_000)
    short = only(bundles["wide"], with_arduino(board, core_flash_bytes=1, core_ram_bytes=9_000))[Output.ARDUINO]
    needed_bytes = short.needs[1].needed_bytes
    exact = with_arduino(bare(bundles, needed_bytes), core_flash_bytes=1, core_ram_bytes=9_000)
    assert only(bundles["wide"], exact)[Output.ARDUINO].fits
    tight = with_arduino(bare(bundles, needed_bytes), core_flash_bytes=1, core_ram_bytes=9_001)
    assert not only(bundles["wide"], tight)[Output.ARDUINO].fits


def with_micropython(board: Board, *, heap_bytes: int, romfs_bytes: int = 0) -> Board:
    python = MicroPython(board="A", architecture="armv7emsp", heap_bytes=heap_bytes, romfs_bytes=romfs_bytes)
    return msgspec.structs.replace(board, micropython=python)


def test_micropython_needs_weights_head_and_arena(bundles: dict[str, Bundle]) -> None:
    board = bare(bundles, 131_072)
    python = with_micropython(board, heap_bytes=0)
    parts = package_need(pipeline.plan(bundles["small"], python, output=Output.MICROPYTHON)).heap
    heap_bytes, weights_bytes = sum(parts.values()) + HEAP_RESERVE_BYTES, parts["weights"]

    def told(**memory: int) -> OutputFit:
        return only(bundles["small"], with_micropython(board, **memory))[Output.MICROPYTHON]

    enough = told(heap_bytes=heap_bytes)
    assert enough.fits
    assert enough.estimated == "all"
    assert [need.margin_bytes for need in enough.needs] == [0]
    short = told(heap_bytes=heap_bytes - 1)
    assert not short.fits
    assert "of heap" in short.problem
    assert told(heap_bytes=heap_bytes - weights_bytes, romfs_bytes=weights_bytes).fits, "weights are read in place"
    assert not told(heap_bytes=heap_bytes - weights_bytes, romfs_bytes=weights_bytes - 1).fits


def test_float_heads_exist_in_c_only(bundles: dict[str, Bundle]) -> None:
    board = with_micropython(bare(bundles, 131_072), heap_bytes=1 << 20)
    told = only(bundles["small"], board, residual=Residual.FLOAT)[Output.MICROPYTHON]
    assert not told.fits
    assert "C only" in told.problem
    assert set(told.residuals) == {Residual.INT8, Residual.STOCHASTIC, Residual.NONE}


def test_the_smallest_board_by_hand(tmp_path: Path) -> None:
    """10 x 512 weights at 2 bytes and 5,120 constants: too much for 8 KiB with Arduino's core, not for 16 KiB."""
    boards = {board.core: board for board in BOARDS}
    told = {b.board: b for b in fit_boards(wide(tmp_path, 10), BOARDS).boards}
    assert not told[boards[Core.AVR].name].fits
    assert told[boards[Core.CORTEX_M0].name].fits


def test_every_board_is_told_of_a_small_model(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(small_model())
    found = fit_boards(convert.convert_model(path), BOARDS)
    assert [board.board for board in found.boards] == [board.name for board in BOARDS]
    for told, board in zip(found.boards, BOARDS, strict=True):
        compared = (Output.BARE_METAL, Output.ARDUINO, Output.MICROPYTHON)
        assert tuple(output.output for output in told.outputs) == tuple(o for o in board.outputs if o in compared)
        assert told.fits, "some 5 KB of RAM are enough"
