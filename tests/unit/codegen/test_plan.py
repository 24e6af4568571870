"""The plan's figures against what the compiler makes of them, and what does not fit a board."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from edgelearn.board import load_board
from edgelearn.codegen import check_fit, emit_project
from edgelearn.errors import DoesNotFitError
from edgelearn.firmware.toolchain import build_project
from edgelearn.recipe import NO_TRAINING, Residual
from edgelearn.training import plan_training
from tests.support.firmware import load_graph, plan, write_project
from tests.support.tflite_builder import TfliteBuilder
from tests.support.tools import require_toolchain
from tests.unit.codegen.networks import autoencoder, models, small, trainable

MODELS = models()


def _cases():
    for name in MODELS:
        yield pytest.param(name, None, id=f"{name}-frozen")
        if name in ("small", "keyword_spotting", "kws_ref_model"):
            for residual in Residual:
                yield pytest.param(name, residual, id=f"{name}-{residual.value}")
        elif "ad01" not in name:
            yield pytest.param(name, Residual.STOCHASTIC, id=f"{name}-stochastic")


@pytest.mark.parametrize("board_name", ["host", "netduinoplus2"])
@pytest.mark.parametrize(("name", "residual"), list(_cases()))
def test_planned_sizes_are_the_built_ones(name, residual, board_name, tmp_path):
    require_toolchain("gnu", board_name)
    board = load_board(board_name)
    graph = load_graph(MODELS[name]()) if residual is None else trainable(MODELS[name]())
    training = NO_TRAINING if residual is None else plan_training(graph, residual=residual, learning_rate=1e-5)
    planned = plan(graph, board=board, training=training, labels=("one", "zwei"))
    check_fit(planned)
    write_project(emit_project(planned, name=name), tmp_path)
    built = build_project(tmp_path, core=board.core)
    sizes = {symbol.name: symbol.size_bytes for symbol in built.symbols}
    for buffer in (*planned.buffers, *planned.constants):
        assert sizes[buffer.symbol] == buffer.size_bytes, buffer.symbol
    if board_name == "host":
        return
    # No array of the model is left out of the plan, and the estimate of the rest is within 10 %.
    known = {buffer.symbol for buffer in (*planned.buffers, *planned.constants)}
    arrays = {
        s.name: s.size_bytes
        for s in built.symbols
        if s.source == "src/model.c" and s.section not in (".text",) and s.size_bytes > 200
    }
    assert set(arrays) <= known
    assert abs(built.flash_bytes - planned.flash_bytes) <= 0.1 * built.flash_bytes
    needed = built.ram_bytes + (0 if _stack_is_counted(built) else board.stack_bytes)
    assert abs(needed - planned.ram_bytes) <= 0.1 * needed


def _stack_is_counted(built) -> bool:
    return any("stack" in section.name and section.in_ram for section in built.sections)


def test_a_head_that_needs_more_ram_is_refused_with_both_numbers():
    board = load_board("netduinoplus2")
    graph = trainable(autoencoder())
    planned = plan(graph, board=board, training=plan_training(graph, residual=Residual.INT8, learning_rate=1e-6))
    with pytest.raises(DoesNotFitError) as caught:
        check_fit(planned)
    error = caught.value
    assert (error.memory, error.needed_bytes, error.available_bytes) == ("RAM", planned.ram_bytes, board.ram_bytes)
    assert "163,840 bytes" in error.cause
    assert "640 x 128" in error.cause
    assert f"{planned.ram_bytes:,}" in error.message
    assert f"{board.ram_bytes:,}" in error.message
    assert "--residual stochastic" in error.hint
    assert "81,920" in error.hint
    check_fit(plan(graph, board=board, training=plan_training(graph, residual=Residual.STOCHASTIC, learning_rate=1e-6)))


def _board_with(flash_bytes: int, ram_bytes: int):
    board = load_board("netduinoplus2")
    sizes = {"flash": flash_bytes, "ram": ram_bytes}
    memory = tuple(replace(part, size_bytes=sizes[part.kind.value]) for part in board.memory)
    return replace(board, memory=memory)


def test_a_model_that_needs_more_flash_is_refused_and_the_largest_layer_named():
    board = _board_with(100_000, 128 * 1024)
    planned = plan(load_graph(autoencoder()), board=board)
    with pytest.raises(DoesNotFitError, match=f"{planned.flash_bytes:,} bytes of flash.*100,000 bytes") as caught:
        check_fit(planned)
    assert "last" in caught.value.cause
    assert "dense layers" in caught.value.hint


def test_an_arena_that_does_not_fit_names_the_layer():
    board = _board_with(2**20, 20_000)
    planned = plan(load_graph(MODELS["residual_network"]()), board=board)
    with pytest.raises(DoesNotFitError, match="of RAM") as caught:
        check_fit(planned)
    assert f"{planned.arena_bytes:,} bytes, most of it for {planned.peak_layer}" in caught.value.cause


def test_the_layer_of_the_peak_is_named_with_its_scratch():
    """The first layer has the largest tensors; the second needs more, to expand what is under its window."""
    b = TfliteBuilder(1)
    x = b.input((1, 16, 16, 4))
    x = b.max_pool_2d(x, kernel=(4, 4), stride=(4, 4))
    x = b.conv_2d(x, filters=32, kernel=(1, 1), name="first")
    wide = b.conv_2d(x, filters=4, kernel=(5, 5), padding="same", name="wide")
    planned = plan(load_graph(b.build(wide)), board=load_board("netduinoplus2"))
    assert planned.peak_layer == "wide"
    assert planned.placement.alive_bytes[planned.placement.peak_step] == planned.arena_bytes
    scratch = planned.steps[-1].call.scratch_bytes
    assert planned.arena_bytes == 4 * 4 * 32 + 4 * 4 * 4 + scratch


def test_a_record_of_what_was_learned_must_fit_twice():
    board = load_board("microbit")
    graph = trainable(small())
    training = plan_training(graph, residual=Residual.INT8, learning_rate=1e-3)
    planned = plan(graph, board=board, training=training)
    payload = sum(planned.store_part_bytes)
    assert payload == sum(b.size_bytes for b in planned.buffers if b.symbol.startswith("head_")) - sum(
        b.size_bytes for b in planned.buffers if b.symbol in ("head_row_k", "head_logits", "head_probabilities")
    )
    check_fit(planned)
    page_bytes = 64
    pages = -(-(32 + payload) // page_bytes)
    for more in (0, 1):
        nvm = replace(board.nvm, page_bytes=page_bytes, pages=2 * pages - 1 + more)
        smaller = replace(planned, board=replace(board, nvm=nvm))
        if more:
            check_fit(smaller)
            continue
        with pytest.raises(DoesNotFitError, match=f"needs {2 * pages * page_bytes:,} bytes of non-volatile") as caught:
            check_fit(smaller)
        assert f"{pages} pages of {page_bytes} bytes" in caught.value.cause
        assert "[nvm]" in caught.value.hint
        assert "--residual stochastic" in caught.value.hint
    check_fit(replace(planned, board=replace(board, nvm=None)))
    frozen = plan(load_graph(small()), board=board)
    assert frozen.store_part_bytes == ()
    assert frozen.board.flash_bytes == board.flash_bytes + board.nvm.size_bytes
    assert "runtime/elearn_store.c" in emit_project(planned, name="small")
    assert not {"runtime/elearn_store.c", "port/nrf5_nvmc.c"} & emit_project(frozen, name="small").keys()


def test_exactly_enough_memory_fits():
    planned = plan(load_graph(small()), board=load_board("netduinoplus2"))
    check_fit(replace(planned, board=_board_with(planned.flash_bytes, planned.ram_bytes)))
    for flash, ram in ((1, 0), (0, 1)):
        less = _board_with(planned.flash_bytes - flash, planned.ram_bytes - ram)
        with pytest.raises(DoesNotFitError):
            check_fit(replace(planned, board=less))
