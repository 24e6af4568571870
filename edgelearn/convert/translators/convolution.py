"""Translates convolutions."""

from __future__ import annotations

from edgelearn.convert.tflite_file import FileOp
from edgelearn.convert.translators.context import (
    Context,
    contradiction,
    fused_activation,
    weight_quant,
    window,
)
from edgelearn.ir.convolution import Conv2D, ConvolutionOp, DepthwiseConv2D, TransposeConv


def _conv_2d(c: Context, op: FileOp) -> ConvolutionOp:
    x, weight = c.activation(op, 0, rank=4), c.constant(op, 1, "INT8", rank=4)
    out = c.output(op)
    groups = x.shape[3] // max(weight.shape[3], 1)
    if groups * weight.shape[3] != x.shape[3] or not groups or weight.shape[0] % groups:
        raise contradiction(op, f"weight {weight.shape} does not fit input {x.shape}")
    name = c.name_op(op, out, weight)
    quant = weight_quant(op, weight, axis=0)
    return Conv2D(
        name=name,
        inputs=(
            c.activation_name(op, 0),
            c.define_constant(name, "weight", weight, quant),
            c.bias(op, name, weight.shape[0], quant),
        ),
        outputs=(c.define_output(op, name, out),),
        index=op.index,
        window=window(op, x, (weight.shape[1], weight.shape[2])),
        activation=fused_activation(op),
    )


def _depthwise_conv_2d(c: Context, op: FileOp) -> ConvolutionOp:
    x, weight = c.activation(op, 0, rank=4), c.constant(op, 1, "INT8", rank=4)
    out = c.output(op)
    if x.shape[3] < 1 or weight.shape[0] != 1 or weight.shape[3] % x.shape[3]:
        raise contradiction(op, f"weight {weight.shape} does not fit input {x.shape}")
    name = c.name_op(op, out, weight)
    quant = weight_quant(op, weight, axis=3)
    return DepthwiseConv2D(
        name=name,
        inputs=(
            c.activation_name(op, 0),
            c.define_constant(name, "weight", weight, quant),
            c.bias(op, name, weight.shape[3], quant),
        ),
        outputs=(c.define_output(op, name, out),),
        index=op.index,
        window=window(op, x, (weight.shape[1], weight.shape[2])),
        multiplier=weight.shape[3] // x.shape[3],
        activation=fused_activation(op),
    )


def _transpose_conv(c: Context, op: FileOp) -> ConvolutionOp:
    # Input 0 is the shape of the output, which the output tensor has as well.
    c.activation(op, 2, rank=4)
    weight, out = c.constant(op, 1, "INT8", rank=4), c.output(op)
    if len(out.shape) != 4:
        raise contradiction(op, f"output {out.shape}")
    name = c.name_op(op, out, weight)
    quant = weight_quant(op, weight, axis=0)
    return TransposeConv(
        name=name,
        inputs=(
            c.activation_name(op, 2),
            c.define_constant(name, "weight", weight, quant),
            c.bias(op, name, weight.shape[0], quant, x=2, position=3),
        ),
        outputs=(c.define_output(op, name, out),),
        index=op.index,
        # LiteRT: the padding is that of a convolution from the output to the input (ComputePaddingHeightWidth).
        window=window(op, out, (weight.shape[1], weight.shape[2])),
        activation=fused_activation(op),
    )


TRANSLATORS = {
    "CONV_2D": _conv_2d,
    "DEPTHWISE_CONV_2D": _depthwise_conv_2d,
    "TRANSPOSE_CONV": _transpose_conv,
}
