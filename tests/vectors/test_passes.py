"""Each graph pass keeps the bits: generated C with and without it gives the bytes of the LiteRT reference kernels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, reject
from hypothesis import strategies as st

from edgelearn.convert.litert import ReferenceInterpreter
from edgelearn.convert.passes import run_passes
from edgelearn.convert.tflite_loader import load_tflite
from edgelearn.errors import ModelFileError
from edgelearn.ir import Graph
from tests.support.firmware import generate, run_model_bytes
from tests.support.tflite_builder import TfliteBuilder
from tests.vectors.models import Drawn, examples, samples

ALL = np.arange(-128, 128).astype(np.int8)


def same_bytes_without(model: bytes, pass_name: str, inputs: npt.NDArray[np.int8]) -> tuple[Graph, Graph]:
    """Compare every output with the oracle with all passes and with all but one; returns both graphs."""
    loaded = load_tflite(model, name="model")
    graphs = run_passes(loaded), run_passes(loaded, without=[pass_name])
    try:
        oracle = ReferenceInterpreter(model)
    except ModelFileError:
        reject()  # scales at which the clamp of an activation leaves the int32 range
    runs = [oracle.run(sample, oracle.output_indices) for sample in inputs]
    expected = b"".join(run[index].tobytes() for run in runs for index in oracle.output_indices)
    for graph in graphs:
        assert run_model_bytes(generate(graph), inputs.tobytes()) == expected
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


@examples(40)
@given(st.data())
def test_fold_activations(data):
    """RELU and RELU6 in a row behind all that clamps, of the same zero point or another, some read by others."""
    drawn = Drawn(data)
    b = drawn.builder
    x = b.input((1, 4, 5, 3), scale=drawn.scale(-8, 2), zero_point=drawn.zero_point())
    kind = drawn.choice("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "ADD", "SUB", "MUL", "max")
    if kind in ("ADD", "SUB", "MUL"):
        near = b.quant(x)[0] * drawn.choice(0.5, 1.0, 1.7)
        before = b.tensor(b.shape(x), scale=near, zero_point=drawn.zero_point())
        options = getattr(schema, f"{kind.title()}OptionsT")()
        options.fusedActivationFunction = drawn.choice(
            schema.ActivationFunctionType.NONE, schema.ActivationFunctionType.RELU6
        )
        before = b.op(kind, [x, x], before, options=options)
    elif kind == "max":
        before = b.max_pool_2d(x, kernel=(2, 2), stride=(1, 1), padding="same")
    elif kind == "TRANSPOSE_CONV":
        before = b.transpose_conv(x, filters=2, kernel=(2, 2), stride=(2, 2))
    elif kind == "FULLY_CONNECTED":
        before = b.fully_connected(x, units=4)
    else:
        before = drawn.weighted(
            x, kind, window=drawn.window(x, dilated=False), outputs=2, multiplier=1, any_scale=False
        )
    out, folds = before, True
    for _ in range(drawn.integer(1, 2)):
        scale, zero_point = b.quant(out)
        if drawn.choice(False, False, True):
            zero_point = drawn.zero_point()
        same = b.tensor(b.shape(out), scale=scale, zero_point=zero_point)
        folds = folds and b.quant(same) == b.quant(out)
        out = b.op(drawn.choice("RELU", "RELU6"), [out], same)
    outputs = (out, before) if drawn.choice(False, False, True) else (out,)
    with_pass, without = same_bytes_without(b.build(*outputs), "fold activations", samples(drawn, x))
    if folds and len(outputs) == 1:
        assert len(with_pass.ops) == 1
    if len(outputs) == 2 and titles(without).count("RELU") + titles(without).count("RELU6") == 1:
        assert titles(with_pass) == titles(without)


@pytest.mark.parametrize(("other", "folds"), [(None, True), ("scale", False), ("zero point", False), ("reader", False)])
def test_activations_that_round_again_or_are_not_alone_stay(other, folds):
    b = TfliteBuilder(1)
    before = b.conv_2d(b.input((1, 4, 4, 2)), filters=2)
    scale, zero_point = b.quant(before)
    quant = (scale * (1.5 if other == "scale" else 1), zero_point ^ (other == "zero point"))
    out = b.op("RELU", [before], b.tensor(b.shape(before), scale=quant[0], zero_point=quant[1]))
    if other == "reader":
        out = b.add(before, out)
    inputs = np.random.default_rng(1).integers(-128, 128, (5, 4, 4, 2)).astype(np.int8)
    with_pass, _ = same_bytes_without(b.build(out), "fold activations", inputs)
    assert ("RELU" not in titles(with_pass)) == folds


@examples(20)
@given(st.data())
def test_drop_idle_ops(data):
    """Ops that change nothing, and some that do, in a row behind the input, before the output and between."""
    drawn = Drawn(data)
    b = drawn.builder
    x = b.input((1, 4, 5, 3), scale=drawn.scale(-30, 30), zero_point=drawn.zero_point())
    idle = changing = 0
    now = x
    for place in range(2):
        for _ in range(drawn.integer(0, 3)):
            kind, changes = drawn.choice("QUANTIZE", "PAD", "RESHAPE"), drawn.choice(False, False, True)
            idle, changing = idle + (not changes), changing + changes
            if kind == "RESHAPE":
                now = b.reshape(now, (1, b.shape(now)[2], b.shape(now)[1], 3) if changes else b.shape(now))
            elif kind == "PAD":
                now = b.pad(now, [(0, 0), (0, int(changes)), (0, 0), (0, 0)])
            else:
                scale, zero_point = b.quant(now)
                quant = {"scale": scale * (1.25 if changes else 1), "zero_point": zero_point}
                now = b.op("QUANTIZE", [now], b.tensor(b.shape(now), **quant), options=schema.QuantizeOptionsT())
        if place == 0:
            now = b.max_pool_2d(now, kernel=(2, 2), stride=(1, 1))
    outputs = (now, x) if drawn.choice(False, False, True) else (now,)
    with_pass, without = same_bytes_without(b.build(*outputs), "drop idle ops", samples(drawn, x))
    assert len(with_pass.ops) <= 1 + changing
    assert len(with_pass.ops) <= len(without.ops)


@examples(40)
@given(st.data())
def test_merge_quantize_pairs(data):
    """All int8 values through float32 to scales near and far, read once or twice; the float may be an output."""
    drawn = Drawn(data)
    b = drawn.builder
    x = b.input((1, 256), scale=drawn.scale(-30, 20), zero_point=drawn.zero_point())
    before = b.reshape(x, (1, 16, 16, 1))
    real = b.dequantize(before)
    near = [drawn.near(b.quant(x)[0], drawn.choice(1, 8)) for _ in range(drawn.integer(1, 2))]
    outputs = []
    for scale in near:
        quant = drawn.choice((scale, drawn.zero_point()), b.quant(x))
        out = b.tensor((1, 16, 16, 1), scale=quant[0], zero_point=quant[1])
        out = b.op("QUANTIZE", [real], out, options=schema.QuantizeOptionsT())
        outputs.append(b.max_pool_2d(out, kernel=(1, 1), stride=(1, 1)))
    is_output = drawn.choice(False, False, True)
    model = b.build(*outputs, *([real] if is_output else []))
    with_pass, without = same_bytes_without(model, "merge quantize pairs", ALL.reshape(1, 256))
    assert titles(without).count("DEQUANTIZE") == 1
    assert titles(with_pass).count("DEQUANTIZE") == is_output


@pytest.mark.parametrize(("factor", "zero_point"), [(0.5, 0), (2.0, 3), (4.0, -7), (1 / 3, 0), (64.0, 127), (1.0, 1)])
def test_a_quantize_pair_of_every_value(factor, zero_point):
    """Where halves occur DEQUANTIZE and QUANTIZE round otherwise than QUANTIZE alone may."""
    b = TfliteBuilder(0)
    x = b.input((1, 256), scale=0.05, zero_point=-3)
    out = b.tensor((1, 256), scale=0.05 * factor, zero_point=zero_point)
    out = b.op("QUANTIZE", [b.dequantize(x)], out, options=schema.QuantizeOptionsT())
    with_pass, _ = same_bytes_without(b.build(out), "merge quantize pairs", ALL.reshape(1, 256))
    assert titles(with_pass) == ["QUANTIZE"]


def test_drop_unused_takes_nothing_that_is_read():
    b = TfliteBuilder(1)
    x = b.input((1, 4, 4, 2))
    out = b.add(b.conv_2d(x, filters=2, padding="same"), b.max_pool_2d(x, kernel=(2, 2), stride=(1, 1), padding="same"))
    inputs = np.random.default_rng(1).integers(-128, 128, (5, 4, 4, 2)).astype(np.int8)
    with_pass, without = same_bytes_without(b.build(out), "drop unused", inputs)
    assert with_pass == without


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


@examples(40)
@given(st.data())
def test_merge_reshapes(data):
    """Reshapes in a row, some back to where they began, some read by others too, around a sequence's padding."""
    drawn = Drawn(data)
    b = drawn.builder
    shapes = ((1, 4, 6, 2), (1, 24, 2), (1, 48), (1, 2, 12, 2), (1, 1, 24, 2))
    x = b.input(shapes[0])
    now = x
    made = []
    for _ in range(drawn.integer(1, 5)):
        now = b.reshape(now, drawn.choice(*shapes))
        made.append(now)
    if drawn.choice(True, False):
        now = b.reshape(now, (1, 24, 2))
        now = b.pad(now, [(0, 0), (drawn.integer(0, 3), drawn.integer(0, 2)), (0, 0)])
        now = b.reshape(now, (1, 1, *b.shape(now)[1:]))
        now = b.conv_2d(now, filters=2, kernel=(1, 3), dilation=(1, 2))
    else:
        now = b.fully_connected(b.reshape(now, (1, 48)), units=3)
    outputs = (drawn.choice(*made), now) if drawn.choice(True, False) else (now,)
    with_pass, without = same_bytes_without(b.build(*outputs), "merge reshapes", samples(drawn, x))
    assert len(with_pass.ops) <= len(without.ops)
    assert titles(with_pass).count("RESHAPE") <= 2 + len(outputs)


def test_padding_of_a_sequence_folds_into_its_convolution():
    """As TensorFlow's converter writes a causal Conv1D."""
    b = TfliteBuilder(1)
    padded = b.pad(b.input((1, 20, 3)), [(0, 0), (4, 0), (0, 0)])
    image = b.conv_2d(b.reshape(padded, (1, 1, 24, 3)), filters=4, kernel=(1, 3), dilation=(1, 2))
    inputs = np.random.default_rng(1).integers(-128, 128, (5, 20, 3)).astype(np.int8)
    with_pass, _ = same_bytes_without(b.build(b.reshape(image, (1, 20, 4))), "merge reshapes", inputs)
    assert titles(with_pass) == ["RESHAPE", "CONV_2D", "RESHAPE"]


@examples(40)
@given(st.data())
def test_merge_duplicates(data):
    """The same op on the same input twice, with constants of its own or not, chained; and one that differs a little."""
    drawn = Drawn(data)
    b = drawn.builder
    x = b.input((1, 5, 5, 2))
    seed = drawn.integer(0, 2**32 - 1)

    def layer(source: int, kind: str) -> int:
        b.rng = np.random.default_rng(seed)  # equal layers have equal weights and scales
        if kind == "conv":
            return b.conv_2d(source, filters=2, padding="same")
        return b.max_pool_2d(source, kernel=(2, 2), stride=(1, 1), padding="same")

    kind = drawn.choice("conv", "pool")
    one, other = layer(x, kind), layer(x, kind)
    if drawn.choice(True, False):
        one, other = layer(one, kind), layer(other, kind)
    outputs = [b.add(one, other)]
    different = drawn.choice("activation", "stride", "none")
    if different == "activation":
        b.rng = np.random.default_rng(seed)
        outputs.append(b.conv_2d(x, filters=2, padding="same", activation="relu"))
    elif different == "stride":
        outputs.append(b.max_pool_2d(x, kernel=(2, 2), stride=(2, 1), padding="same"))
    if drawn.choice(True, False):
        outputs += [other, one]
    with_pass, without = same_bytes_without(b.build(*outputs), "merge duplicates", samples(drawn, x))
    assert len(with_pass.ops) < len(without.ops)
    assert len(with_pass.outputs) == len(outputs)


def test_equal_ops_on_different_inputs_stay():
    b = TfliteBuilder(1)
    x = b.input((1, 4, 4, 2))
    first = b.max_pool_2d(x, kernel=(2, 2), stride=(1, 1), padding="same")
    out = b.add(first, b.max_pool_2d(first, kernel=(2, 2), stride=(1, 1), padding="same"))
    inputs = np.random.default_rng(1).integers(-128, 128, (5, 4, 4, 2)).astype(np.int8)
    with_pass, _ = same_bytes_without(b.build(out), "merge duplicates", inputs)
    assert titles(with_pass) == ["MAX_POOL_2D", "MAX_POOL_2D", "ADD"]
