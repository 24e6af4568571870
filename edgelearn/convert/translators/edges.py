"""Translates the float edges of a model, and tells a QUANTIZE at an edge from one between layers."""

from __future__ import annotations

from edgelearn.convert.tflite_file import FileOp
from edgelearn.convert.translators import activation
from edgelearn.convert.translators.context import Context, UnsupportedParameter, contradiction
from edgelearn.ir.activation import FunctionOp
from edgelearn.ir.edges import Dequantize, EdgeOp, Quantize


def _quantize(c: Context, op: FileOp) -> EdgeOp | FunctionOp:
    x = c.file_tensor(op, 0)
    if x.type != "FLOAT32":
        return activation.requantize(c, op)
    out = c.output(op)
    if x.shape != out.shape:
        raise contradiction(op, "input and output differ in shape")
    source = c.activation_name(op, 0)
    name = c.take_name(f"{source}_int8")
    return Quantize(
        name=name,
        inputs=(source,),
        outputs=(c.define_output(op, name, out),),
        index=op.index,
    )


def _dequantize(c: Context, op: FileOp) -> EdgeOp:
    x, out = c.activation(op, 0, any_batch=True), c.output(op, types=("FLOAT32",))
    readers = c.readers(out.index)
    if any(reader.code != "QUANTIZE" for reader in readers) or not (readers or c.is_output(out.index)):
        raise UnsupportedParameter(
            "part of the model is still float; quantise it in full-integer mode, and replace what the converter has no "
            "int8 form of"
        )
    if x.shape != out.shape:
        raise contradiction(op, "input and output differ in shape")
    source = c.activation_name(op, 0)
    name = c.take_name(f"{source}_float")
    return Dequantize(
        name=name,
        inputs=(source,),
        outputs=(c.define_output(op, name, out),),
        index=op.index,
    )


TRANSLATORS = {"QUANTIZE": _quantize, "DEQUANTIZE": _dequantize}
