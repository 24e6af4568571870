"""Models that between them hold every op, each small enough for an 8-bit core under emulation."""

from __future__ import annotations

from edgelearn.ir.edges import Dequantize, Quantize
from tests.support.tflite_builder import TfliteBuilder
from tests.vectors.test_completeness import SMALLEST

#: Ops at float edges have models of their own.
OPS = tuple((op, make) for op, make in SMALLEST.items() if op not in (Quantize, Dequantize))
PARTS = 3


def every_op(part: int, seed: int) -> bytes:
    """A model with one output for each op of a part, all of the same input."""
    builder = TfliteBuilder(seed)
    x = builder.input((1, 4, 4, 2))
    return builder.build(*(make(builder, x) for _, make in OPS[part::PARTS]))


def dense_layers(seed: int = 5, *, units: int = 6) -> bytes:
    """A small dense network."""
    builder = TfliteBuilder(seed)
    x = builder.input((1, 24))
    x = builder.fully_connected(x, units=20, activation="relu", name="hidden")
    x = builder.fully_connected(x, units=16, activation="relu", name="features")
    return builder.build(builder.softmax(builder.fully_connected(x, units=units, name="classes")))


def autoencoder(seed: int = 6) -> bytes:
    """A dense network whose output has the shape of its input."""
    builder = TfliteBuilder(seed)
    x = builder.input((1, 16))
    x = builder.fully_connected(x, units=8, activation="relu", name="narrow")
    return builder.build(builder.fully_connected(x, units=16, name="wide"))
