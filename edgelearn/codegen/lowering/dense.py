"""Kernel calls of dense layers."""

from __future__ import annotations

import numpy as np

from edgelearn.codegen.lowering.call import (
    DOT,
    Call,
    Constant,
    Lowerings,
    Source,
    Target,
    integers,
    offset_fields,
    scale_constant,
)
from edgelearn.codegen.lowering.cost import dense_in_fours, plain_dense
from edgelearn.codegen.lowering.matmul import MATMUL, Layer, eights, vector_stream
from edgelearn.codegen.requantize import Scale, dense_factors, exact_scale, output_range
from edgelearn.errors import UnsupportedOpError
from edgelearn.ir import Graph
from edgelearn.ir.dense import FullyConnected

_FOURS = Source(name="elearn_fully_connected_fours_s8.c", code_bytes=285)
_SOURCE = Source(name="elearn_fully_connected_s8.c", code_bytes=170)
#: LiteRT converts the product of a sum and a factor to int32 and adds a zero point, undefined in C++ beyond int32.
_PRODUCT_LIMIT = 2**31 - 256
#: With what of the compiler's library computes in float64.
_DOUBLE = Source(name="elearn_fully_connected_double_s8.c", code_bytes=1_500)


def _fully_connected(graph: Graph, op: FullyConnected, target: Target) -> tuple[Call, ...]:
    scales = _exact_scales(graph, op)
    if scales is None:
        return (_plain(graph, op, None),)
    plain = _plain(graph, op, scales)
    fours = _in_fours(graph, op, scales) if target.dsp else None
    return (plain, fours) if fours else (plain,)


def _exact_scales(graph: Graph, op: FullyConnected) -> tuple[Scale, ...] | None:
    """A Scale for each output with which every sum within reach is rounded as LiteRT does; None where one has none.

    Raises:
        UnsupportedOpError: a sum within reach gives a product beyond what LiteRT can convert.
    """
    x, weight, bias = (graph.tensor(name) for name in op.inputs)
    out = graph.tensor(op.output)
    factors = dense_factors(x, weight, out, weight.shape[0])
    largest_input = max(127 - x.zero_point, 128 + x.zero_point)
    weights = np.abs(weight.array().astype(np.int64)).sum(axis=1)
    # With its bias a sum may run on beyond 32 bits, and be anything.
    sums = np.minimum(np.abs(bias.array().astype(np.int64)) + largest_input * weights, 2**31)
    leaves_32_bits = bool((largest_input * weights >= 2**31).any())
    products = [factor * largest for factor, largest in zip(factors, sums.tolist(), strict=True)]
    if leaves_32_bits or max(products) >= _PRODUCT_LIMIT:
        raise UnsupportedOpError(
            (f"{op.TITLE} (op #{op.index}): its sums, or these in steps of its output, leave 32 bits",),
            hint="quantise the model again from calibration samples that are typical of its data",
        )
    reach: dict[float, int] = {}
    for factor, largest in zip(factors, sums.tolist(), strict=True):
        reach[factor] = max(largest, reach.get(factor, 0))
    found = {factor: exact_scale(factor, largest) for factor, largest in reach.items()}
    scales = [found[factor] for factor in factors]
    return tuple(scale for scale in scales if scale is not None) if None not in scales else None


def _in_fours(graph: Graph, op: FullyConnected, scales: tuple[Scale, ...]) -> Call | None:
    """The variant of four outputs at a time; None where its sums or constants would not be exact."""
    x, weight, bias = (graph.tensor(name) for name in op.inputs)
    out = graph.tensor(op.output)
    outputs, features = weight.shape
    rows = out.elements // outputs
    low, high = output_range(out, op.activation)
    layer = Layer(
        weights=weight.array().astype(np.int64),
        bias=bias.array().astype(np.int64),
        scales=scales,
        input_zero_point=x.zero_point,
        output_zero_point=out.zero_point,
        low=low,
        high=high,
    )
    stream = vector_stream(layer)
    if stream is None:
        return None
    count = eights(features)
    return Call(
        function="elearn_fully_connected_fours_s8",
        sources=(_FOURS, MATMUL),
        params_type="elearn_fully_connected_fours_params",
        params=(
            ("rows", rows),
            ("features", features),
            ("outputs", outputs),
            ("output_min", low),
            ("output_max", high),
            ("words_of_four", len(stream.words) // ((outputs + 3) // 4)),
            ("shift", stream.shift),
            ("is_uniform", int(bool(stream.constants))),
            ("constants", stream.constants or (0,) * 8),
            ("stream", "weights"),
        ),
        constants=(stream.constant(),),
        scratch_bytes=16 * count + 8,
        instructions=dense_in_fours(features=features, outputs=outputs, rows=rows),
    )


def _plain(graph: Graph, op: FullyConnected, scales: tuple[Scale, ...] | None) -> Call:
    """The plain kernel; without scales the one that requantises in float64, as LiteRT does."""
    x, weight, bias = (graph.tensor(name) for name in op.inputs)
    out, outputs = graph.tensor(op.output), weight.shape[0]
    if scales is None:
        requantisation = Constant(
            suffix="factors",
            c_type="double",
            elements=dense_factors(x, weight, out, outputs),
            size_bytes=8 * outputs,
        )
    else:
        requantisation = scale_constant(scales)
    return Call(
        function="elearn_fully_connected_s8" if scales else "elearn_fully_connected_double_s8",
        sources=(_SOURCE if scales else _DOUBLE, DOT),
        params_type="elearn_fully_connected_params" if scales else "elearn_fully_connected_double_params",
        params=(
            ("rows", out.elements // outputs),
            ("features", weight.shape[1]),
            ("outputs", outputs),
            ("offsets", offset_fields(x, out, *output_range(out, op.activation))),
            ("weights", "weights"),
            ("bias", "bias"),
            (requantisation.suffix, requantisation.suffix),
        ),
        constants=(integers("weights", "int8_t", weight), integers("bias", "int32_t", bias), requantisation),
        instructions=plain_dense(features=weight.shape[1], outputs=out.elements),
    )


LOWERINGS: Lowerings = {FullyConnected: _fully_connected}
