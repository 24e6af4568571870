"""The passes over a loaded graph."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from edgelearn import ir
from edgelearn.convert import passes
from edgelearn.convert.passes import drop_unused, run_passes
from edgelearn.convert.tflite_loader import load_tflite
from edgelearn.errors import GraphError
from tests.support.tflite_builder import TfliteBuilder


def load(builder: TfliteBuilder, out: int) -> ir.Graph:
    return load_tflite(builder.build(out), name="model")


def test_idle_reshapes_and_pads_go_and_others_stay():
    builder = TfliteBuilder()
    x = builder.input((1, 4, 4, 2))
    x = builder.reshape(x, (1, 4, 4, 2))
    x = builder.pad(x, [(0, 0)] * 4)
    x = builder.pad(x, [(0, 0), (1, 0), (0, 0), (0, 0)])
    x = builder.reshape(x, (1, 40))
    graph = run_passes(load(builder, builder.fully_connected(x, units=3)))
    assert [op.TITLE for op in graph.ops] == ["PAD", "RESHAPE", "FULLY_CONNECTED"]
    assert graph.ops[0].inputs == graph.inputs


def test_an_idle_last_op_moves_the_output():
    builder = TfliteBuilder()
    x = builder.fully_connected(builder.input((1, 4)), units=3)
    graph = run_passes(load(builder, builder.reshape(x, (1, 3))))
    assert graph.output.source_index == x


def test_what_leads_nowhere_is_dropped():
    builder = TfliteBuilder()
    x = builder.fully_connected(builder.input((1, 4)), units=3, name="first")
    graph = load(builder, builder.fully_connected(x, units=2, name="second"))
    cut = drop_unused(replace(graph, outputs=("first",)))
    assert [op.name for op in cut.ops] == ["first"]
    assert {t.name for t in cut.tensors} == {"input_1", "first", "first_weight", "first_bias"}


def test_a_pass_that_breaks_the_graph_is_named(monkeypatch):
    monkeypatch.setattr(passes, "PASSES", (("tear apart", lambda graph: replace(graph, ops=())),))
    builder = TfliteBuilder()
    with pytest.raises(GraphError, match="after tear apart"):
        run_passes(load(builder, builder.softmax(builder.input((1, 4)))))
