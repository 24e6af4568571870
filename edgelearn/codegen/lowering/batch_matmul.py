"""Kernel calls of products of matrices."""

from __future__ import annotations

import math

import numpy as np

from edgelearn.codegen.lowering.call import Call, Lowerings, Source, Target, integers
from edgelearn.codegen.requantize import to_scale
from edgelearn.ir import Graph, Tensor
from edgelearn.ir.dense import MOST_AXES, BatchMatMul

_SOURCE = Source(name="elearn_batch_matmul_s8.c", code_bytes=825)


def _batch_matmul(graph: Graph, op: BatchMatMul, _target: Target) -> Call:
    left, right = (graph.tensor(name) for name in op.inputs)
    out = graph.tensor(op.output)
    constant = next((tensor for tensor in (left, right) if tensor.is_constant), None)
    # LiteRT multiplies the scales in float32 (GetQuantizedConvolutionMultipler).
    product = float(np.float32(left.scale) * np.float32(right.scale))
    scale = to_scale(product / out.scale)
    ending = "" if constant is None else "_by_constant" if constant is right else "_of_constant"
    return Call(
        function=f"elearn_batch_matmul{ending}_s8",
        sources=(_SOURCE,),
        params_type="elearn_batch_matmul_params",
        params=(
            ("batches", _leading(out)),
            ("left_strides", _strides(left, op.adj_x)),
            ("right_strides", _strides(right, op.adj_y)),
            ("rows", out.shape[-2]),
            ("depth", left.shape[-2 if op.adj_x else -1]),
            ("columns", out.shape[-1]),
            ("left_zero_point", left.zero_point),
            ("right_zero_point", right.zero_point),
            ("output_zero_point", out.zero_point),
            ("scale", (scale.multiplier, scale.shift)),
            *((("constant", "weights"),) if constant else ()),
        ),
        constants=(integers("weights", "int8_t", constant),) if constant else (),
        scratch_bytes=2 * left.shape[-2 if op.adj_x else -1],
    )


def _leading(tensor: Tensor) -> tuple[int, ...]:
    """The axes before the matrices, three of them."""
    return (1,) * (MOST_AXES - len(tensor.shape)) + tensor.shape[:-2]


def _strides(tensor: Tensor, is_transposed: bool) -> tuple[int, ...]:
    """Elements from one to the next along the three leading axes (0 where one serves all), rows and columns."""
    shape = _leading(tensor)
    matrix = tensor.shape[-2] * tensor.shape[-1]
    leading = [math.prod(shape[axis + 1 :]) * matrix if shape[axis] > 1 else 0 for axis in range(len(shape))]
    return (*leading, *((1, tensor.shape[-1]) if is_transposed else (tensor.shape[-1], 1)))


LOWERINGS: Lowerings = {BatchMatMul: _batch_matmul}
