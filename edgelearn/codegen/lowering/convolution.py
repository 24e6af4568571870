"""Kernel calls of convolutions."""

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
from edgelearn.ir.convolution import Conv2D, DepthwiseConv2D

_CONV = Source(name="elearn_conv2d_s8.c", code_bytes=880)
_DEPTHWISE = Source(name="elearn_depthwise_conv2d_s8.c", code_bytes=650)


def _convolution(graph: Graph, op: Conv2D | DepthwiseConv2D, _target: Target) -> Call:
    x, weight, bias = (graph.tensor(name) for name in op.inputs)
    out = graph.tensor(op.output)
    depthwise = isinstance(op, DepthwiseConv2D)
    scales = convolution_scales(x, weight, out, out.shape[3])
    group_inputs = 1 if depthwise else weight.shape[3]
    name = "depthwise_conv2d" if depthwise else "conv2d"
    return Call(
        function=f"elearn_{name}_s8",
        sources=(_DEPTHWISE,) if depthwise else (_CONV, DOT),
        params_type="elearn_conv2d_params",
        params=(
            ("input", image_shape(x)),
            ("output", image_shape(out)),
            ("window", window_fields(op.window)),
            ("offsets", offset_fields(x, out, *output_range(out, op.activation))),
            ("group_inputs", group_inputs),
            ("group_outputs", out.shape[3] * group_inputs // x.shape[3]),
            ("weights", "weights"),
            ("bias", "bias"),
            ("scales", "scales"),
        ),
        constants=(integers("weights", "int8_t", weight), integers("bias", "int32_t", bias), scale_constant(scales)),
    )


LOWERINGS: Lowerings = {Conv2D: _convolution, DepthwiseConv2D: _convolution}
