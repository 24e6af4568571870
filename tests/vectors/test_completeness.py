"""Every op type is whole: translated, lowered, with a kernel, a vector test and a row in docs/operators.md.

A vector test of the op TITLE is a function test_title in tests/vectors/, and its module's SMALLEST makes the op.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path

import pytest

from edgelearn import resources
from edgelearn.codegen.lowering import LOWERINGS
from edgelearn.convert.translators import TRANSLATORS
from edgelearn.ir import OP_TYPES, Op
from edgelearn.ir.edges import Dequantize, Edges, Quantize
from tests.support.firmware import load_graph, plan
from tests.support.tflite_builder import TfliteBuilder

MODULES = [
    importlib.import_module(f"tests.vectors.{path.stem}")
    for path in sorted(Path(__file__).parent.glob("test_*.py"))
    if path.stem != "test_completeness"
]
SMALLEST: dict[type[Op], Callable[[TfliteBuilder, int], int]] = {
    op: make for module in MODULES for op, make in getattr(module, "SMALLEST", {}).items()
}
OPERATORS = Path(__file__).parents[2] / "docs" / "operators.md"
_HEAD = """\
# Operators

What edgelearn converts, int8, with the same bytes as the LiteRT reference kernels. A model with anything else is
refused when it is converted, with every op that stands in the way. This table is written by
`pytest tests/vectors/test_completeness.py --update-golden`.

| operator | what it does | limits |
|---|---|---|
"""


@pytest.mark.parametrize("op_type", OP_TYPES, ids=lambda op_type: op_type.TITLE)
def test_every_op_is_complete(op_type: type[Op]):
    assert op_type in LOWERINGS
    assert op_type.TITLE in TRANSLATORS
    assert any(hasattr(module, f"test_{op_type.TITLE.lower()}") for module in MODULES), "no vector test"
    builder = TfliteBuilder(1)
    out = SMALLEST[op_type](builder, builder.input((1, 4, 4, 2)))
    edges = Edges.FLOAT if op_type in (Quantize, Dequantize) else Edges.INT8
    graph = load_graph(builder.build(out), edges=edges)
    assert op_type in {type(op) for op in graph.ops}
    step = next(step for step in plan(graph).steps if type(step.op) is op_type)
    if step.call is None:
        assert op_type.TITLE == "RESHAPE"
        return
    folder = resources.firmware_folder() / "runtime"
    assert f"void {step.call.function}(" in (folder / step.call.sources[0].name).read_text()
    assert f"void {step.call.function}(" in (folder / step.call.header).read_text()


def test_nothing_is_kept_for_ops_that_do_not_exist():
    assert set(LOWERINGS) == set(OP_TYPES)
    assert set(SMALLEST) == set(OP_TYPES)


def test_the_page_of_operators_is_true(update_golden: bool):
    rows = sorted((op.TITLE, _sentences(op), op.LIMITS) for op in OP_TYPES)
    text = _HEAD + "".join(f"| {title} | {does} | {limits} |\n" for title, does, limits in rows)
    if update_golden:
        OPERATORS.parent.mkdir(exist_ok=True)
        OPERATORS.write_text(text, encoding="utf-8")
    assert OPERATORS.read_text(encoding="utf-8") == text


def _sentences(op_type: type[Op]) -> str:
    """The first paragraph of the op's docstring."""
    return " ".join((inspect.getdoc(op_type) or "").split("\n\n")[0].split())
