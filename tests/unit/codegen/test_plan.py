"""The plan's figures against what the compiler makes of them, and what does not fit a board."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from edgelearn.board import load_board
from edgelearn.codegen import check_fit, emit_project
from edgelearn.errors import DoesNotFitError
from edgelearn.firmware.toolchain import build_project
from edgelearn.ir import LossKind
from edgelearn.protocol import MessageType, message
from edgelearn.recipe import NO_TRAINING, Residual
from edgelearn.training import plan_training
from tests.support.firmware import load_graph, plan, write_project
from tests.support.tflite_builder import TfliteBuilder
from tests.support.tools import require_toolchain
from tests.unit.codegen.networks import autoencoder, models, small, trainable
from tests.unit.training.heads import head_graph

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
    counters = 56
    assert payload == counters + sum(b.size_bytes for b in planned.buffers if b.symbol.startswith("head_")) - sum(
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


def _head(outputs: int = 4, *, loss: LossKind = LossKind.CROSS_ENTROPY, features: int = 6, labels=None, **options):
    """The plan of a model that is nothing but its head."""
    rng = np.random.default_rng(1)
    weights, bias = rng.normal(size=(outputs, features)), rng.normal(size=outputs)
    if options.pop("other", False):
        weights[0] *= 1.5
    graph = head_graph(weights.astype(np.float32), bias.astype(np.float32), loss=loss, output_range=50.0)
    training = plan_training(graph, residual=options.pop("residual", Residual.INT8), learning_rate=1e-4)
    labels = tuple(f"c{i}" for i in range(outputs)) if labels is None else labels
    return plan(graph, training=training, labels=labels, **options)


@pytest.mark.parametrize(
    ("outputs", "labels", "label_bytes"),
    [
        (2, ("a", "b"), 16),
        (2, ("a" * 15, "b"), 16),
        # One byte more than the longest name, and whole words.
        (2, ("a" * 16, "b"), 20),
        (2, ("ä" * 19, "b"), 40),
        (2, ("ä" * 20, "b"), 0),
        (64, None, 16),
        (65, None, 0),
        (2, (), 0),
    ],
)
def test_names_that_can_be_changed_take_ram_where_there_is_room(outputs, labels, label_bytes):
    planned = _head(outputs, labels=labels)
    assert planned.label_bytes == label_bytes
    sizes = {buffer.symbol: buffer.size_bytes for buffer in (*planned.buffers, *planned.constants)}
    assert sizes.get("names", 0) == sizes.get("initial_names", 0) == outputs * label_bytes
    assert ("labels" in sizes) == (not label_bytes and bool(planned.labels))
    # What can be changed is saved.
    assert (outputs * label_bytes in planned.store_part_bytes) == bool(label_bytes)


def test_names_of_what_learns_no_classes_are_constants():
    assert _head(loss=LossKind.SQUARED_ERROR).label_bytes == 0
    frozen = plan(load_graph(small()), labels=("one", "two"))
    assert (frozen.label_bytes, frozen.classes, frozen.identity) == (0, 0, 0)


def test_spare_classes_are_not_in_use():
    assert (_head(5).classes, _head(5, spare_classes=2).classes) == (5, 3)
    assert _head(5, loss=LossKind.SQUARED_ERROR).classes == 0


def test_the_identity_tells_heads_apart_whose_bytes_mean_something_else():
    plans = [
        _head(),
        _head(5),
        _head(features=7),
        _head(other=True),
        _head(labels=("a" * 16, "b", "c", "d")),
        _head(labels=()),
        *(_head(residual=residual) for residual in Residual if residual is not Residual.INT8),
    ]
    assert len({planned.identity for planned in plans}) == len(plans)
    # What only the start differs in may load what was saved: other names, spare classes, a board.
    same = [_head(labels=("e", "f", "g", "h")), _head(spare_classes=1), _head(board=load_board("mps2-an386"))]
    assert {planned.identity for planned in same} == {plans[0].identity}


@pytest.mark.parametrize(
    ("features", "ring_bytes", "payload_bytes"),
    # A frame of the sample has 9 bytes before its inputs, 10 around it, and COBS's.
    [
        (6, 512, 256),
        (149, 512, 256),
        (150, 1024, 256),
        (247, 1024, 256),
        (248, 1024, 257),
        (319, 1024, 328),
        (320, 2048, 329),
        (1015, 4096, 1024),
        (5000, 4096, 1024),
    ],
)
def test_the_ring_holds_three_samples_and_large_ones_come_in_parts(features, ring_bytes, payload_bytes):
    planned = _head(2, features=features, board=load_board("netduinoplus2"))
    assert (planned.ring_bytes, planned.max_payload_bytes) == (ring_bytes, payload_bytes)
    sizes = {buffer.symbol: buffer.size_bytes for buffer in planned.buffers}
    assert sizes["ring"] == ring_bytes
    assert sizes["receive_buffer"] == payload_bytes + 10
    assert sizes["reply_buffer"] == 256 + 10
    # Eight replies, the longest of them RESULT.
    assert sizes["kept_replies"] == 8 * (6 + message(MessageType.RESULT).size_bytes)
    assert "ring" not in {buffer.symbol for buffer in _head(2, features=features).buffers}


def test_targets_come_with_the_last_part():
    """They are not cut: the receive buffer holds them all."""
    planned = _head(600, loss=LossKind.SQUARED_ERROR, features=2000, labels=())
    assert planned.max_payload_bytes == message(MessageType.SAMPLE).size_bytes + 1200


def test_a_board_with_little_ram_has_a_smaller_ring():
    roomy = _head(2, features=1500, board=load_board("netduinoplus2"))
    assert roomy.ring_bytes == 4096
    for less in (0, 1):
        board = _board_with(2**20, roomy.ram_bytes - less)
        planned = _head(2, features=1500, board=board)
        assert planned.ring_bytes == (2048 if less else 4096)
        check_fit(planned)
    # But never one that a frame of the link does not fit.
    assert _head(2, features=1500, board=_board_with(2**20, 8_000)).ring_bytes == 256


def test_exactly_enough_memory_fits():
    planned = plan(load_graph(small()), board=load_board("netduinoplus2"))
    check_fit(replace(planned, board=_board_with(planned.flash_bytes, planned.ram_bytes).without_nvm()))
    for flash, ram in ((1, 0), (0, 1)):
        less = _board_with(planned.flash_bytes - flash, planned.ram_bytes - ram).without_nvm()
        with pytest.raises(DoesNotFitError):
            check_fit(replace(planned, board=less))
