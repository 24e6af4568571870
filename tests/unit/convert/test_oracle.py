"""The copy of a model that the oracle runs: versions that the interpreter does not know, and sums."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgelearn.convert.litert import ReferenceInterpreter
from edgelearn.convert.oracle import sums_as_means, with_older_op
from edgelearn.errors import ModelFileError
from tests.support.tflite_builder import INT32, TfliteBuilder


def _tiled(version: int) -> tuple[bytes, int]:
    b = TfliteBuilder(0)
    x = b.input((1, 2, 3), scale=0.5, zero_point=1)
    multiples = b.tensor((3,), INT32, data=np.array([1, 2, 1], np.int32))
    out = b.tensor((1, 4, 3), scale=0.5, zero_point=1)
    b.op("TILE", [x, multiples], out, options=schema.TileOptionsT(), version=version)
    return b.build(out), out


def test_an_op_of_a_later_version_runs():
    sample = np.arange(6, dtype=np.int8).reshape(1, 2, 3)
    for version in (2, 9):
        model, out = _tiled(version)
        found = ReferenceInterpreter(model).run(sample, [out])[out]
        np.testing.assert_array_equal(found, np.tile(sample, (1, 2, 1)))


def test_an_op_that_the_interpreter_does_not_have_is_refused():
    b = TfliteBuilder(0)
    x = b.input((1, 2))
    scale, zero_point = b.quant(x)
    out = b.op("CALL_ONCE", [x], b.tensor((1, 2), scale=scale, zero_point=zero_point), version=3)
    with pytest.raises(ModelFileError, match="interpreter refuses the model"):
        ReferenceInterpreter(b.build(out))


@pytest.mark.parametrize(
    "complaint", ["", "out of memory", "builtin opcode 'TILE' version '1'", "opcode 'X' version '3'"]
)
def test_other_complaints_change_nothing(complaint):
    assert with_older_op(_tiled(2)[0], complaint) is None


@pytest.mark.parametrize("model", [b"", b"no model at all", _tiled(2)[0]])
def test_what_has_no_sum_is_given_back(model):
    assert sums_as_means(model) is model


def test_a_sum_over_all_axes_gives_a_scalar():
    b = TfliteBuilder(0)
    x = b.input((1, 3), scale=1.0, zero_point=0)
    axes = b.tensor((2,), INT32, data=np.array([0, -1], np.int32))
    out = b.op("SUM", [x, axes], b.tensor((), scale=1.0, zero_point=0), options=schema.ReducerOptionsT(), version=2)
    found = ReferenceInterpreter(b.build(out)).run(np.array([[-5, 7, -30]], np.int8), [out])[out]
    assert found.shape == ()
    assert found == -28
