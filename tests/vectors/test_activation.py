"""Functions of one tensor: tables and generated C give the bytes of the LiteRT reference kernels.

A function of one element is compared on all 256 inputs, so each model is a whole proof for its scales and zero points.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given
from hypothesis import strategies as st

from edgelearn.codegen import functions
from edgelearn.convert.litert import ReferenceInterpreter
from edgelearn.convert.oracle import elus_as_tables
from edgelearn.errors import ModelFileError, UnsupportedOpError
from edgelearn.ir import activation as ir
from tests.support.firmware import generate, load_graph, plan, run_model
from tests.support.tflite_builder import TfliteBuilder
from tests.vectors.models import Drawn, assert_same_bytes, examples, samples

ALL = np.arange(-128, 128).astype(np.int8)
STEPS_OF_256 = (1 / 256, -128)
Quant = tuple[float, int]


def _options(code: str, **values: Any) -> Any:
    """The options that the schema has for an op, if any."""
    make = getattr(schema, f"{code}OptionsT", None)
    if make is None:
        return None
    options = make()
    for name, value in values.items():
        setattr(options, name, value)
    return options


OPTIONS = {
    "LEAKY_RELU": _options("LeakyRelu", alpha=0.25),
    "GELU": _options("Gelu", approximate=False),
    "ABS": _options("Abs"),
    "HARD_SWISH": _options("HardSwish"),
    "EXP": _options("Exp"),
    "NEG": _options("Neg"),
    "QUANTIZE": _options("Quantize"),
    "LOG_SOFTMAX": _options("LogSoftmax"),
}


def _function(b: TfliteBuilder, x: int, code: str, quant: Quant | None = None, options: Any = None) -> int:
    """The op behind a tensor, in the same quantisation unless another is given."""
    scale, zero_point = quant or b.quant(x)
    out = b.tensor(b.shape(x), scale=scale, zero_point=zero_point)
    return b.op(code, [x], out, options=options or OPTIONS.get(code))


def _with_input(code: str, x_quant: Quant) -> Any:
    """The op on an input requantised to another scale and zero point."""

    def make(b: TfliteBuilder, x: int) -> int:
        return _function(b, _function(b, x, "QUANTIZE", x_quant), code)

    return make


def _prelu(b: TfliteBuilder, x: int, alpha: np.ndarray, alpha_quant: Quant, quant: Quant) -> int:
    slopes = b.tensor(alpha.shape, scale=alpha_quant[0], zero_point=alpha_quant[1], data=alpha)
    out = b.tensor(b.shape(x), scale=quant[0], zero_point=quant[1])
    return b.op("PRELU", [x, slopes], out)


def _log_softmax(b: TfliteBuilder, x: int) -> int:
    return _function(b, x, "LOG_SOFTMAX", (1 / 16, 127))


#: Op -> the op on an input of 1x4x4x2.
SMALLEST = {
    ir.Requantize: lambda b, x: _function(b, x, "QUANTIZE", (0.5, 3)),
    ir.Relu: lambda b, x: _function(b, x, "RELU"),
    ir.Relu6: lambda b, x: _function(b, x, "RELU6"),
    ir.Relu0To1: lambda b, x: _function(b, x, "RELU_0_TO_1"),
    ir.ReluN1To1: lambda b, x: _function(b, x, "RELU_N1_TO_1"),
    ir.LeakyRelu: lambda b, x: _function(b, x, "LEAKY_RELU"),
    ir.Elu: lambda b, x: _function(b, x, "ELU"),
    ir.Gelu: lambda b, x: _function(b, x, "GELU"),
    ir.HardSwish: lambda b, x: _function(b, x, "HARD_SWISH"),
    ir.Logistic: lambda b, x: _function(b, x, "LOGISTIC", STEPS_OF_256),
    ir.Tanh: lambda b, x: _function(b, x, "TANH"),
    ir.Exp: lambda b, x: _function(b, x, "EXP"),
    ir.Log: _with_input("LOG", (0.1, -128)),
    ir.Abs: lambda b, x: _function(b, x, "ABS"),
    ir.Neg: _with_input("NEG", (0.1, 0)),
    ir.Prelu: lambda b, x: _prelu(b, x, np.array([-9, 90], np.int8), (0.01, 3), (0.1, 4)),
    ir.Softmax: lambda b, x: b.softmax(x),
    ir.LogSoftmax: lambda b, x: _log_softmax(b, x),
}


class Scales:
    """Scales and zero points at which rounding is hard: ratios of small whole numbers, and a bit beside them."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def scale(self, low: float, high: float) -> float:
        return float(np.float32(2.0 ** self.rng.uniform(low, high)))

    def zero_point(self) -> int:
        return int(self.rng.choice([-128, 127, 0, self.rng.integers(-128, 128)]))

    def nudged(self, value: float) -> float:
        found = np.float32(value)
        for _ in range(self.rng.integers(4)):
            found = np.nextafter(found, np.float32(self.rng.choice([0.0, np.inf])))
        return float(found)

    def pair(self) -> tuple[float, float]:
        kind = self.rng.integers(4)
        if kind == 0:
            return self.scale(-9, 2), self.scale(-12, 2)
        if kind == 1:
            return self.scale(-14, 8), self.scale(-14, 8)
        scale = self.scale(-14, 6)
        return scale, self.nudged(scale * self.rng.integers(1, 200) / self.rng.integers(1, 200))


def table_of(model: bytes) -> np.ndarray:
    """What the table of the model's last op gives for -128 to 127."""
    call = plan(load_graph(model)).steps[-1].call
    assert call is not None
    assert call.function == "elearn_lookup_s8"
    return np.roll(np.array(call.constants[0].elements, np.uint8).view(np.int8), 128)


def compare(
    code: str,
    seed: int,
    *,
    count: int = 250,
    x_zero_point: int | None = None,
    quant: Quant | None = None,
    options: Any = None,
) -> None:
    """Compare tables with the oracle for many scales and zero points, and the C for a few; refusals are the oracle's.

    Args:
        code: the op.
        seed: of the scales.
        count: of models.
        x_zero_point: of the input, if it has to be this one.
        quant: of the output likewise.
        options: from a Scales to the op's options.
    """
    scales = Scales(seed)
    refused = 0
    for number in range(count):
        b = TfliteBuilder(number)
        x_scale, scale = scales.pair()
        zero_point = scales.zero_point() if x_zero_point is None else x_zero_point
        x = b.input((1, 256), scale=x_scale, zero_point=zero_point)
        made = options(scales) if options else None
        out = _function(b, x, code, quant or (scale, scales.zero_point()), made)
        model = b.build(out)
        try:
            oracle = ReferenceInterpreter(model)
        except ModelFileError:
            refused += 1
            with pytest.raises(UnsupportedOpError):
                load_graph(model)
            continue
        expected = oracle.run(ALL, [out])[out].reshape(-1)
        np.testing.assert_array_equal(table_of(model), expected, err_msg=f"{x_scale} {zero_point} -> {b.quant(out)}")
        if number % 100 == 0:
            np.testing.assert_array_equal(run_model(generate(load_graph(model)), ALL[None])[0], expected)
    assert refused <= count // 3


def test_quantize():
    compare("QUANTIZE", 1)


def test_relu():
    compare("RELU", 2)


def test_relu6():
    compare("RELU6", 3)


def test_relu_0_to_1():
    compare("RELU_0_TO_1", 4)


def test_relu_n1_to_1():
    compare("RELU_N1_TO_1", 5)


def test_leaky_relu():
    def options(scales: Scales) -> Any:
        ratio = scales.nudged(scales.rng.integers(1, 50) / scales.rng.integers(1, 50))
        alphas = [0.2, np.float32(0.3), 0.0, 1.0, ratio, -ratio, -0.3, 2.0 ** scales.rng.uniform(-12, 3)]
        return _options("LeakyRelu", alpha=float(np.float32(scales.rng.choice(alphas))))

    compare("LEAKY_RELU", 6, count=400, options=options)


def test_elu():
    compare("ELU", 7)


def test_gelu():
    compare("GELU", 8, count=400, options=lambda scales: _options("Gelu", approximate=bool(scales.rng.integers(2))))


def test_hard_swish():
    compare("HARD_SWISH", 9, count=400)


def test_logistic():
    compare("LOGISTIC", 10, quant=STEPS_OF_256)


def test_tanh():
    compare("TANH", 11, quant=(1 / 128, 0))
    compare("TANH", 12)


def test_exp():
    compare("EXP", 13)


def test_log():
    compare("LOG", 14, x_zero_point=-128)


def test_abs():
    compare("ABS", 15)


def test_neg():
    for scale in (0.01, 3.0):
        b = TfliteBuilder(0)
        out = _function(b, b.input((1, 256), scale=scale, zero_point=0), "NEG")
        expected = assert_same_bytes(b.build(out), ALL[None])
        np.testing.assert_array_equal(table_of(b.build(out)), expected[0])


@pytest.mark.parametrize("elements", [*range(1, 10), 1023])
def test_lookup_of_any_length(elements):
    b = TfliteBuilder(elements)
    x = b.input((1, elements), scale=0.05, zero_point=3)
    inputs = b.rng.integers(-128, 128, (3, elements)).astype(np.int8)
    assert_same_bytes(b.build(_function(b, x, "TANH", (1 / 128, 0))), inputs)


@pytest.mark.parametrize(
    ("code", "x_quant", "quant", "words"),
    [
        ("LOGISTIC", (0.1, 0), (0.1, 0), "steps of 1/256"),
        ("HARD_SWISH", (1.0, 0), (1 / 128, 0), "1/128 of its input's"),
        ("LOG", (1.0, -127), (1.0, 0), "may be negative"),
        ("NEG", (1.0, 1), (1.0, 1), "zero point other than 0"),
        ("NEG", (1.0, 0), (2.0, 0), "differ in scale"),
        ("RELU6", (1.0, 0), (2.0**-28, 0), "too small"),
        ("LEAKY_RELU", (1.0, 0), (1.0, 0), "an alpha of inf"),
    ],
)
def test_what_is_out_of_reach_is_refused(code, x_quant, quant, words):
    b = TfliteBuilder(0)
    x = b.input((1, 8), scale=x_quant[0], zero_point=x_quant[1])
    options = _options("LeakyRelu", alpha=math.inf) if code == "LEAKY_RELU" else None
    with pytest.raises(UnsupportedOpError, match=words):
        load_graph(b.build(_function(b, x, code, quant, options)))


@pytest.mark.parametrize("code", ["QUANTIZE", "RELU", "LEAKY_RELU", "ABS", "HARD_SWISH"])
def test_scales_too_far_apart_are_refused(code):
    b = TfliteBuilder(0)
    x_scale, scale = (2.0**28, 2.0**24) if code == "HARD_SWISH" else (2.0**20, 2.0**-11)
    out = _function(b, b.input((1, 8), scale=x_scale, zero_point=0), code, (scale, 0))
    with pytest.raises(UnsupportedOpError, match="2\\^30 apart"):
        plan(load_graph(b.build(out)))


def test_without_the_c_library_tables_are_rounded_to_the_nearest(monkeypatch):
    """A step away in few entries of many tables, because the C library is not always right in the last bit."""
    different = []
    for seed in range(40):
        b = TfliteBuilder(seed)
        model = b.build(_function(b, b.input((1, 256)), "ELU", (b.random_scale(), 0)))
        expected = table_of(model).astype(int)
        with monkeypatch.context() as without:
            without.setattr(functions, "_c_function", lambda _name: None)
            different.append(np.abs(table_of(model) - expected))
    assert np.max(different) <= 1
    assert np.count_nonzero(different) <= 2


def test_a_model_without_elu_is_given_to_the_oracle_as_it_is():
    b = TfliteBuilder(0)
    model = b.build(b.softmax(b.input((1, 4))))
    assert elus_as_tables(model, None) is model
    assert elus_as_tables(b"", None) == b""


@examples(120)
@given(st.data())
def test_prelu(data):
    drawn = Drawn(data)
    b, rng = drawn.builder, drawn.rng
    scales = Scales(drawn.integer(0, 2**32 - 1))
    x_scale, scale = scales.pair()
    shape = (1, *(drawn.integer(1, 6) for _ in range(drawn.integer(1, 3))))
    # Of each axis, and of axes altogether, alpha may have elements or serve all.
    alpha_shape = tuple(n if drawn.choice(True, True, False) else 1 for n in shape[drawn.integer(0, len(shape)) :])
    x = b.input(shape, scale=x_scale, zero_point=drawn.zero_point())
    alpha_scale = drawn.choice(scales.scale(-12, 2), scales.nudged(rng.integers(1, 50) / rng.integers(1, 500)))
    alpha = np.asarray(rng.integers(-128, 128, alpha_shape), np.int8)
    out = _prelu(b, x, alpha, (alpha_scale, drawn.zero_point()), (scale, drawn.zero_point()))
    assert_same_bytes(b.build(out), samples(drawn, x))


def test_prelu_of_too_many_axes_is_refused():
    b = TfliteBuilder(0)
    x = b.reshape(b.input((1, 16)), (1, 2, 2, 2, 2))
    with pytest.raises(UnsupportedOpError, match="at most 4 axes"):
        load_graph(b.build(_prelu(b, x, np.zeros(2, np.int8), (0.1, 0), (0.1, 0))))


def _softmax_function(model: bytes) -> str:
    call = plan(load_graph(model)).steps[-1].call
    assert call is not None
    return call.function


@examples(180)
@given(st.data())
def test_softmax(data):
    drawn = Drawn(data)
    b = drawn.builder
    # From 512 columns on, equal inputs make the reference kernel shift by 32 and the interpreter abort.
    shape = drawn.choice(
        (1, drawn.integer(1, 12)),
        (1, drawn.integer(13, 511)),
        (1, 2, 3, drawn.integer(1, 9)),
        (1, drawn.integer(20, 60), drawn.integer(2, 4)),
    )
    x = b.input(shape, scale=drawn.scale(-12, 7), zero_point=drawn.zero_point())
    beta = drawn.choice(1.0, 0.25, 3.0, drawn.scale(-6, 4))
    inputs = samples(drawn, x, 8)
    # Rows in which one or two elements stand out, as trained networks give them.
    inputs[2] = np.clip(inputs[2].astype(np.int32) // 16 - 90, -128, 127)
    inputs[2].reshape(-1)[: 1 + drawn.integer(0, 1)] = drawn.integer(-60, 127)
    inputs[3] = np.clip(inputs[3].astype(np.int32) // 50, -128, 127)
    assert_same_bytes(b.build(b.softmax(x, beta=beta)), inputs)


@pytest.mark.parametrize(
    ("shape", "function"),
    [((1, 2), "elearn_softmax_s8"), ((1, 10), "elearn_softmax_table_s8"), ((1, 64, 2), "elearn_softmax_table_s8")],
)
def test_softmax_by_table_where_it_is_worth_its_flash(shape, function):
    b = TfliteBuilder(4)
    model = b.build(b.softmax(b.input(shape, scale=0.08)))
    assert _softmax_function(model) == function
    inputs = b.rng.integers(-128, 128, (200, *shape[1:])).astype(np.int8)
    assert_same_bytes(model, inputs)


@pytest.mark.parametrize("scale", [0.012, 0.031, 0.0625, 0.11, 0.4])
def test_softmax_at_the_end_of_what_counts(scale):
    """All differences to one large input, by both kernels."""
    b = TfliteBuilder(0)
    for shape in ((1, 2), (1, 40)):
        x = b.input(shape, scale=scale, zero_point=0)
        inputs = np.full((256, shape[1]), -128, np.int8)
        inputs[:, 0] = 127
        inputs[:, 1] = ALL
        assert_same_bytes(b.build(b.softmax(x)), inputs)
        b = TfliteBuilder(1)


@pytest.mark.parametrize("columns", [512, 1024, 5000, 8191])
def test_softmax_wider_than_the_reference_kernel_can(columns):
    builder = TfliteBuilder(0)
    x = builder.input((1, columns), scale=0.1, zero_point=0)
    files = generate(load_graph(builder.build(builder.softmax(x))))
    inputs = np.zeros((2, columns), np.int8)
    inputs[1, 7] = 127
    flat, peaked = run_model(files, inputs)
    assert (flat == -128).all()
    assert peaked.argmax() == 7
    assert peaked[7] > 100


def test_softmax_of_a_sum_beyond_32_bits_is_refused():
    builder = TfliteBuilder(0)
    model = builder.build(builder.softmax(builder.input((1, 8192), scale=0.1, zero_point=0)))
    with pytest.raises(UnsupportedOpError, match="rows of 8192 elements; at most 8191"):
        load_graph(model)


@pytest.mark.parametrize(("scale", "beta"), [(1e-9, 1.0), (2.0**-26, 1.0), (2.0**-25, 0.5), (1e-20, 1000.0)])
def test_softmax_of_an_input_narrower_than_the_reference_kernel_takes_is_refused(scale, beta):
    """The kernel would end the process, in `convert` and in `verify` alike."""
    b = TfliteBuilder(0)
    model = b.build(b.softmax(b.input((1, 4), scale=scale, zero_point=0), beta=beta))
    with pytest.raises(UnsupportedOpError, match="more than 2\\^-26: its input is nearly constant"):
        load_graph(model)


@pytest.mark.parametrize(("scale", "beta"), [(2.0**-26 * 1.0001, 1.0), (2.0**-25, 0.51)])
def test_softmax_of_the_narrowest_input(scale, beta):
    b = TfliteBuilder(0)
    x = b.input((1, 4), scale=scale, zero_point=0)
    assert_same_bytes(b.build(b.softmax(x, beta=beta)), np.array([[-128, 0, 5, 127]], np.int8))


@examples(250)
@given(st.data())
def test_log_softmax(data):
    drawn = Drawn(data)
    b = drawn.builder
    shape = drawn.choice(
        (1, drawn.choice(1, 2, 10, 1000, 4095, drawn.integer(1, 300))),
        (1, drawn.integer(2, 20), drawn.integer(1, 9)),
        (1, 2, 3, drawn.integer(1, 9)),
    )
    x = b.input(shape, scale=drawn.scale(*drawn.choice((-9, 1), (-25, 10))), zero_point=drawn.zero_point())
    rows = b.reshape(x, shape[1:]) if len(shape) == 2 and drawn.choice(True, False) else x
    inputs = samples(drawn, x, 8)
    # Rows that stand out as in `test_softmax`, and rows of few values.
    inputs[2] = np.clip(inputs[2].astype(np.int32) // 16 - 90, -128, 127)
    inputs[2].reshape(-1)[: 1 + drawn.integer(0, 1)] = drawn.integer(-60, 127)
    inputs[3] = np.clip(inputs[3].astype(np.int32) // 50, -128, 127)
    inputs[4] = np.where(inputs[4] < 120, drawn.integer(-128, 127), inputs[4])
    assert_same_bytes(b.build(_log_softmax(b, rows)), inputs)


@pytest.mark.parametrize(
    "scale", [2.0**-26 * 1.01, 0.004, 0.06, 0.0608, 0.0625, 0.126, 0.51, 1.0, 8.01, 15.9, 32.0, 1e9]
)
def test_log_softmax_of_every_difference(scale):
    """All differences to one large input, of which one or many set the sum."""
    for columns in (2, 3, 40, 1001):
        b = TfliteBuilder(columns)
        x = b.input((1, columns), scale=scale, zero_point=0)
        inputs = np.full((256, columns), -128, np.int8)
        inputs[:, 0] = 127
        inputs[:, 1] = ALL
        inputs[:, 2:] = b.rng.choice([-128, 127, 126], (256, 1))
        assert_same_bytes(b.build(_log_softmax(b, x)), inputs)


@pytest.mark.parametrize(
    ("columns", "x_scale", "quant", "words"),
    [
        (4, 2.0**-26, (1 / 16, 127), "more than 2\\^-26"),
        (4096, 0.1, (1 / 16, 127), "rows of 4096 elements"),
        (4, 0.1, (1 / 8, 127), "steps of 1/16 to 127"),
        (4, 0.1, (1 / 16, 126), "steps of 1/16 to 127"),
    ],
)
def test_log_softmax_out_of_reach_is_refused(columns, x_scale, quant, words):
    b = TfliteBuilder(0)
    x = b.input((1, columns), scale=x_scale, zero_point=0)
    with pytest.raises(UnsupportedOpError, match=words):
        load_graph(b.build(_function(b, x, "LOG_SOFTMAX", quant)))
