"""Scales from one end of float32 to the other: refused by message, or lowered; never a traceback."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgelearn.codegen.requantize import LARGEST_SHIFT, to_scale
from edgelearn.errors import UnsupportedOpError
from tests.support.firmware import load_graph, plan
from tests.support.tflite_builder import TfliteBuilder

SMALLEST, LARGEST = 1.5e-45, 3e38


def function(code, x_scale, scale):
    """A model of one function of each element."""
    b = TfliteBuilder(0)
    x = b.input((1, 256), scale=x_scale, zero_point=3)
    options = schema.LeakyReluOptionsT() if code == "LEAKY_RELU" else None
    if options:
        options.alpha = 0.25
    out = b.tensor((1, 256), scale=scale, zero_point=4)
    inputs = [x, b.tensor((1,), scale=0.5, data=np.array([5], np.int8))] if code == "PRELU" else [x]
    return b.build(b.op(code, inputs, out, options=options))


@pytest.mark.parametrize("real", [2.0**31, 2.0**64, 1e300, math.inf])
def test_a_factor_beyond_the_kernels_is_told_by_its_shift(real):
    assert to_scale(real).shift > LARGEST_SHIFT


@pytest.mark.parametrize("code", ["QUANTIZE", "RELU", "LEAKY_RELU", "ABS", "ELU", "EXP", "TANH", "GELU", "PRELU"])
def test_functions_out_of_reach_are_refused(code):
    with pytest.raises(UnsupportedOpError, match=f"{code} .*2\\^30 apart"):
        plan(load_graph(function(code, LARGEST, SMALLEST)))


@pytest.mark.parametrize("code", ["QUANTIZE", "RELU", "RELU6", "LEAKY_RELU", "ABS", "ELU", "EXP", "TANH"])
def test_functions_of_next_to_nothing_are_constant(code):
    (step,) = plan(load_graph(function(code, SMALLEST, LARGEST))).steps
    assert set(step.call.constants[0].elements) == {4}
