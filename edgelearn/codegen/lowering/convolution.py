"""Kernel calls of convolutions."""

from __future__ import annotations

import numpy as np

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
from edgelearn.codegen.lowering.cost import convolution_in_pairs, plain_convolution, plain_depthwise
from edgelearn.codegen.lowering.depthwise import depthwise_fours
from edgelearn.codegen.lowering.matmul import MATMUL, WINDOWS, Layer, eights, pixels_stream, windows_scratch_bytes
from edgelearn.codegen.requantize import convolution_scales, output_range
from edgelearn.ir import Graph
from edgelearn.ir.convolution import Conv2D, DepthwiseConv2D

_PAIRS = Source(name="elearn_conv2d_pairs_s8.c", code_bytes=480)
_CONV = Source(name="elearn_conv2d_s8.c", code_bytes=880)
_DEPTHWISE = Source(name="elearn_depthwise_conv2d_s8.c", code_bytes=650)


def _conv_2d(graph: Graph, op: Conv2D, target: Target) -> tuple[Call, ...]:
    plain = _convolution(graph, op, target)
    pairs = _in_pairs(graph, op) if target.dsp else None
    return (plain, pairs) if pairs else (plain,)


def _in_pairs(graph: Graph, op: Conv2D) -> Call | None:
    """The variant of two pixels by two output channels; None where its sums or constants would not be exact."""
    x, weight, bias = (graph.tensor(name) for name in op.inputs)
    out, window = graph.tensor(op.output), op.window
    channels, depth = x.shape[3], out.shape[3]
    if weight.shape[3] != channels:
        return None
    low, high = output_range(out, op.activation)
    layer = Layer(
        weights=weight.array().astype(np.int64).reshape(depth, -1),
        bias=bias.array().astype(np.int64),
        scales=convolution_scales(x, weight, out, depth),
        input_zero_point=x.zero_point,
        output_zero_point=out.zero_point,
        low=low,
        high=high,
    )
    stream = pixels_stream(layer)
    if stream is None:
        return None
    count, in_fours = eights(layer.weights.shape[1]), channels % 4 == 0
    return Call(
        function="elearn_conv2d_pairs_s8",
        sources=(_PAIRS, WINDOWS, MATMUL),
        params_type="elearn_conv2d_pairs_params",
        params=(
            ("input", image_shape(x)),
            ("output", image_shape(out)),
            ("window", window_fields(window)),
            ("offsets", offset_fields(x, out, low, high)),
            ("groups_of_eight", count),
            ("shift", stream.shift),
            ("stream", "weights"),
        ),
        constants=(stream.constant(),),
        scratch_bytes=windows_scratch_bytes(count, kernel_w=window.kernel_w, channels=channels)
        + (2 * (depth + 1) if depth % 2 else 0),
        instructions=convolution_in_pairs(count, pixels=out.shape[1] * out.shape[2], channels=depth, in_fours=in_fours),
    )


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
        instructions=plain_depthwise(op.window, outputs=out.elements)
        if depthwise
        else plain_convolution(op.window, channels=weight.shape[3], outputs=out.elements),
    )


def _depthwise_conv_2d(graph: Graph, op: DepthwiseConv2D, target: Target) -> tuple[Call, ...]:
    plain = _convolution(graph, op, target)
    fours = depthwise_fours(graph, op) if target.dsp else None
    return (plain, fours) if fours else (plain,)


LOWERINGS: Lowerings = {Conv2D: _conv_2d, DepthwiseConv2D: _depthwise_conv_2d}
