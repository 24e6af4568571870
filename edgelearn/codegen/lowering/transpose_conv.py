"""Kernel calls of transposed convolutions."""

from __future__ import annotations

from edgelearn.codegen.lowering.call import (
    DOT,
    Call,
    Lowerings,
    Source,
    Target,
    image_shape,
    integers,
    offset_fields,
    scale_constant,
    window_fields,
)
from edgelearn.codegen.requantize import convolution_scales, output_range
from edgelearn.ir import Graph
from edgelearn.ir.convolution import TransposeConv

_SOURCE = Source(name="elearn_transpose_conv_s8.c", code_bytes=560)


def _transpose_conv(graph: Graph, op: TransposeConv, _target: Target) -> Call:
    x, weight, bias = (graph.tensor(name) for name in op.inputs)
    out = graph.tensor(op.output)
    return Call(
        function="elearn_transpose_conv_s8",
        sources=(_SOURCE, DOT),
        params_type="elearn_transpose_conv_params",
        params=(
            ("input", image_shape(x)),
            ("output", image_shape(out)),
            ("window", window_fields(op.window)),
            ("offsets", offset_fields(x, out, *output_range(out, op.activation))),
            ("weights", "weights"),
            ("bias", "bias"),
            ("scales", "scales"),
        ),
        constants=(
            integers("weights", "int8_t", weight),
            integers("bias", "int32_t", bias),
            scale_constant(convolution_scales(x, weight, out, out.shape[3])),
        ),
    )


LOWERINGS: Lowerings = {TransposeConv: _transpose_conv}
