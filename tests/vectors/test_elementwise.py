"""Arithmetic of two tensors: generated C under sanitizers gives the bytes of the LiteRT reference kernels."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgelearn.ir.elementwise import Add
from tests.vectors.models import ACTIVATIONS, Drawn, check, examples

#: Op -> the op on an input of 1x4x4x2.
SMALLEST = {Add: lambda b, x: b.add(x, x)}


@examples(150)
@given(st.data())
def test_add(data):
    from ai_edge_litert import schema_py_generated as schema

    drawn = Drawn(data)
    x = drawn.image(4, 4)
    b = drawn.builder
    # The other operand has a scale of its own: a 1x1 depthwise convolution gives it.
    window = {"kernel": (1, 1), "stride": (1, 1), "padding": "valid"}
    other = drawn.weighted(x, "DEPTHWISE_CONV_2D", window=window)
    first, second = (x, other) if drawn.choice(False, True) else (other, x)
    if drawn.choice(False, False, True):
        second = first
    largest = max(b.quant(first)[0], b.quant(second)[0])
    out = b.tensor(b.shape(x), scale=drawn.near(largest, drawn.choice(1, 6, 14)), zero_point=drawn.zero_point())
    options = schema.AddOptionsT()
    options.fusedActivationFunction = getattr(schema.ActivationFunctionType, drawn.choice(*ACTIVATIONS).upper())
    options.potScaleInt16 = False
    check(drawn, x, b.op("ADD", [first, second], out, options=options, version=2))
