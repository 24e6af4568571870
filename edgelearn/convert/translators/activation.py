"""Translates functions of one tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgelearn.convert.tflite_file import FileOp
from edgelearn.convert.translators.context import (
    Context,
    UnsupportedParameter,
    activation_quant,
    contradiction,
    require_same_quant,
)
from edgelearn.ir.activation import (
    Abs,
    ActivationOp,
    Elu,
    Exp,
    FunctionOp,
    Gelu,
    HardSwish,
    LeakyRelu,
    Log,
    Logistic,
    LogSoftmax,
    Neg,
    Prelu,
    Relu,
    Relu0To1,
    Relu6,
    ReluN1To1,
    Requantize,
    Softmax,
    Tanh,
)

_MOST_PRELU_AXES = 4
#: LiteRT's sum of exponentials of at most 1, in Q12.19 of 32 bits, would be 0 for 8192 equal elements.
_MOST_SOFTMAX_COLUMNS = 8191
#: LiteRT adds up the exponentials of a row, of at most 1 each, in Q12.19 of int32.
_MOST_LOG_SOFTMAX_COLUMNS = 4095


def requantize(c: Context, op: FileOp) -> FunctionOp:
    """A QUANTIZE between layers."""
    return _function(c, op, Requantize)


def _function(c: Context, op: FileOp, kind: type[Any], **parameters: Any) -> FunctionOp:
    x, out = c.activation(op, 0, any_batch=True), c.output(op)
    if x.shape != out.shape:
        raise contradiction(op, "input and output differ in shape")
    name = c.name_op(op, out)
    made: FunctionOp = kind(
        name=name,
        inputs=(c.activation_name(op, 0),),
        outputs=(c.define_output(op, name, out),),
        index=op.index,
        **parameters,
    )
    return made


def _plain(kind: type[Any]) -> Callable[[Context, FileOp], FunctionOp]:
    return lambda c, op: _function(c, op, kind)


def _bounded(kind: type[Any], bound: float) -> Callable[[Context, FileOp], FunctionOp]:
    def translate(c: Context, op: FileOp) -> FunctionOp:
        scale = activation_quant(c.output(op), "its output").scale[0]
        if not bound / scale < 2.0**30:
            raise UnsupportedParameter(f"the output's scale {scale:g} is too small")
        return _function(c, op, kind)

    return translate


def _leaky_relu(c: Context, op: FileOp) -> FunctionOp:
    alpha = op.real("Alpha", 0.0)
    if not abs(alpha) <= 2.0**20:
        raise UnsupportedParameter(f"an alpha of {alpha}")
    return _function(c, op, LeakyRelu, alpha=alpha)


def _gelu(c: Context, op: FileOp) -> FunctionOp:
    return _function(c, op, Gelu, approximate=bool(op.number("Approximate", 0)))


def _hard_swish(c: Context, op: FileOp) -> FunctionOp:
    x, out = (
        activation_quant(t, what)
        for t, what in ((c.activation(op, 0, any_batch=True), "its input"), (c.output(op), "its output"))
    )
    # HardSwishPrepare demands it of this quotient.
    with np.errstate(over="ignore"):
        quotient = np.float32(1 / 128) * np.float32(x.scale[0]) / np.float32(out.scale[0])
    if not quotient < 1.0:
        raise UnsupportedParameter("an output whose scale is not more than 1/128 of its input's")
    return _function(c, op, HardSwish)


def _logistic(c: Context, op: FileOp) -> FunctionOp:
    _require_steps_of_256(c, op)
    return _function(c, op, Logistic)


def _log(c: Context, op: FileOp) -> FunctionOp:
    if activation_quant(c.activation(op, 0, any_batch=True), "its input").zero_point != (-128,):
        raise UnsupportedParameter("an input that may be negative")
    return _function(c, op, Log)


def _neg(c: Context, op: FileOp) -> FunctionOp:
    x, out = c.activation(op, 0, any_batch=True), c.output(op)
    require_same_quant(x, out)
    if activation_quant(x, "its input").zero_point != (0,):
        raise UnsupportedParameter("a zero point other than 0, which LiteRT's kernel does not look at")
    return _function(c, op, Neg)


def _prelu(c: Context, op: FileOp) -> ActivationOp:
    x, alpha, out = c.activation(op, 0, any_batch=True), c.file_tensor(op, 1), c.output(op)
    if len(x.shape) > _MOST_PRELU_AXES:
        raise UnsupportedParameter(f"an input of the shape {x.shape}; at most {_MOST_PRELU_AXES} axes")
    alpha = c.constant(op, 1, "INT8", rank=len(alpha.shape))
    quant = activation_quant(alpha, "its alpha")
    name = c.name_op(op, out)
    return Prelu(
        name=name,
        inputs=(c.activation_name(op, 0), c.define_constant(name, "alpha", alpha, quant)),
        outputs=(c.define_output(op, name, out),),
        index=op.index,
    )


def _softmax(c: Context, op: FileOp) -> ActivationOp:
    x, out = c.activation(op, 0, any_batch=True), c.output(op)
    _require_steps_of_256(c, op)
    if x.shape[-1] > _MOST_SOFTMAX_COLUMNS:
        raise UnsupportedParameter(
            f"rows of {x.shape[-1]} elements; at most {_MOST_SOFTMAX_COLUMNS}, or the sum of exponentials overflows"
        )
    beta = op.real("Beta", 1.0)
    if not 1e-3 <= beta <= 1e3:
        raise UnsupportedParameter(f"a beta of {beta}")
    _require_differences(activation_quant(x, "its input").scale[0] * beta)
    name = c.name_op(op, out)
    return Softmax(
        name=name,
        inputs=(c.activation_name(op, 0),),
        outputs=(c.define_output(op, name, out),),
        index=op.index,
        beta=beta,
    )


def _log_softmax(c: Context, op: FileOp) -> ActivationOp:
    x, out = c.activation(op, 0, any_batch=True), c.output(op)
    scale, quant = activation_quant(x, "its input").scale[0], activation_quant(out, "its output")
    if quant.scale != (1 / 16,) or quant.zero_point != (127,):
        raise UnsupportedParameter("an output that is not in steps of 1/16 to 127, as the int8 specification has it")
    _require_differences(scale)
    if x.shape[-1] > _MOST_LOG_SOFTMAX_COLUMNS:
        raise UnsupportedParameter(
            f"rows of {x.shape[-1]} elements; at most {_MOST_LOG_SOFTMAX_COLUMNS}, or LiteRT's sum overflows"
        )
    name = c.name_op(op, out)
    return LogSoftmax(
        name=name,
        inputs=(c.activation_name(op, 0),),
        outputs=(c.define_output(op, name, out),),
        index=op.index,
    )


def _require_differences(scale: float) -> None:
    """Refuse an input that is nearly constant: LiteRT (PreprocessSoftmaxScaling) ends the process at such a scale."""
    if not scale > 2.0**-26:
        raise UnsupportedParameter(
            f"an input scale of {scale:g}, while LiteRT demands more than 2^-26: its input is nearly constant; "
            "train the model, or give typical calibration samples"
        )


def _require_steps_of_256(c: Context, op: FileOp) -> None:
    quant = activation_quant(c.output(op), "its output")
    if quant.scale != (1 / 256,) or quant.zero_point != (-128,):
        raise UnsupportedParameter(
            "an output that is not in steps of 1/256 from -128, as the int8 specification has it"
        )


TRANSLATORS = {
    "RELU": _plain(Relu),
    "RELU6": _bounded(Relu6, 6.0),
    "RELU_0_TO_1": _bounded(Relu0To1, 1.0),
    "RELU_N1_TO_1": _bounded(ReluN1To1, 1.0),
    "LEAKY_RELU": _leaky_relu,
    "ELU": _plain(Elu),
    "GELU": _gelu,
    "HARD_SWISH": _hard_swish,
    "LOGISTIC": _logistic,
    "TANH": _plain(Tanh),
    "EXP": _plain(Exp),
    "LOG": _log,
    "ABS": _plain(Abs),
    "NEG": _neg,
    "PRELU": _prelu,
    "SOFTMAX": _softmax,
    "LOG_SOFTMAX": _log_softmax,
}
