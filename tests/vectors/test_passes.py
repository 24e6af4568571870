"""Each graph pass keeps the bits: generated C with and without it gives the bytes of the LiteRT reference kernels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from edgelearn.convert.litert import ReferenceInterpreter
from edgelearn.convert.passes import run_passes
from edgelearn.convert.tflite_loader import load_tflite
from edgelearn.errors import ModelFileError
from edgelearn.ir import Graph
from tests.support.firmware import generate, run_model
from tests.support.tflite_builder import TfliteBuilder
from tests.vectors.models import Drawn, examples, samples


def same_bytes_without(model: bytes, pass_name: str, inputs: npt.NDArray[np.int8]) -> tuple[Graph, Graph]:
    """Compare with the oracle with all passes and with all but one; returns both graphs."""
    loaded = load_tflite(model, name="model")
    graphs = run_passes(loaded), run_passes(loaded, without=[pass_name])
    try:
        oracle = ReferenceInterpreter(model)
    except ModelFileError:
        reject()  # scales at which the clamp of an activation leaves the int32 range
    index = oracle.output_index
    expected = np.stack([oracle.run(sample, [index])[index].reshape(-1) for sample in inputs])
    for graph in graphs:
        np.testing.assert_array_equal(run_model(generate(graph), inputs), expected)
    return graphs


def titles(graph: Graph) -> list[str]:
    return [op.TITLE for op in graph.ops]


@examples(60)
@given(st.data())
def test_fold_padding(data):
    drawn = Drawn(data)
    b = drawn.builder
    zero_point = drawn.choice(-128, drawn.zero_point())
    x = b.input((1, drawn.integer(1, 6), drawn.integer(1, 6), 2), scale=0.05, zero_point=zero_point)
    padded = x
    for _ in range(drawn.integer(1, 2)):
        amounts = [(drawn.integer(0, 3), drawn.integer(0, 3)) for _ in range(2)]
        padded = b.pad(padded, [(0, 0), *amounts, (0, 0)])
    kind = drawn.choice("CONV_2D", "DEPTHWISE_CONV_2D", "max", "average", "two convolutions", "conv and average")
    if kind in ("max", "average"):
        window = drawn.window(padded, dilated=False)
        out = b.max_pool_2d(padded, **window) if kind == "max" else b.average_pool_2d(padded, **window)
    elif kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        window = drawn.window(padded, dilated=drawn.choice(False, True))
        out = drawn.weighted(padded, kind, window=window, outputs=3, multiplier=drawn.integer(1, 2), any_scale=False)
    else:
        one = b.conv_2d(padded, filters=2, padding="same")
        same = {"kernel": (3, 3), "stride": (1, 1), "padding": "same"}
        other = (
            b.conv_2d(padded, filters=2, **same) if kind == "two convolutions" else b.average_pool_2d(padded, **same)
        )
        out = b.add(one, other)
    with_pass, without = same_bytes_without(b.build(out), "fold padding", samples(drawn, x))
    if kind in ("CONV_2D", "DEPTHWISE_CONV_2D", "two convolutions"):
        assert "PAD" not in titles(with_pass)
    if kind in ("average", "conv and average"):
        assert titles(with_pass) == titles(without)


@pytest.mark.parametrize(("zero_point", "amount", "folds"), [(-128, 1, True), (-127, 1, False), (-128, 2, False)])
def test_max_pooling_takes_padding_of_the_smallest_value_only(zero_point, amount, folds):
    b = TfliteBuilder(1)
    x = b.input((1, 4, 4, 2), zero_point=zero_point)
    out = b.max_pool_2d(b.pad(x, [(0, 0), (amount, 0), (0, amount), (0, 0)]), kernel=(2, 2), stride=(1, 1))
    inputs = np.random.default_rng(1).integers(-128, -120, (5, 4, 4, 2)).astype(np.int8)
    with_pass, _ = same_bytes_without(b.build(out), "fold padding", inputs)
    assert ("PAD" not in titles(with_pass)) == folds


def test_a_padded_tensor_that_is_an_output_too_stays():
    b = TfliteBuilder(1)
    padded = b.pad(b.input((1, 4, 4, 2)), [(0, 0), (1, 1), (1, 1), (0, 0)])
    inputs = np.random.default_rng(1).integers(-128, 128, (5, 4, 4, 2)).astype(np.int8)
    with_pass, _ = same_bytes_without(b.build(padded), "fold padding", inputs)
    assert titles(with_pass) == ["PAD"]
