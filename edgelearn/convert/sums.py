"""Makes the oracle's SUM right: LiteRT's reference kernel of it reads int8 as uint8.

A sum of n elements has the bytes of their mean where the mean's output scale is the n-th part of the sum's. So in the
copy of a model that the interpreter runs, each int8 SUM is a MEAN to a tensor of that scale, and a RESHAPE, which looks
at no scales, gives its bytes to the tensor of the sum.
"""

from __future__ import annotations

import copy
import math
import struct
from typing import Any

import numpy as np

from edgelearn.ir.reduction import scale_of_mean


def sums_as_means(model: bytes) -> bytes:
    """The model with a MEAN and a RESHAPE for each SUM of int8; tensors keep their numbers.

    Args:
        model: the bytes of a `.tflite`; anything else is given back.
    """
    try:
        from ai_edge_litert import schema_py_generated as schema
    except ModuleNotFoundError:
        return model  # tflite_runtime, whose bits are not promised
    if not _has_sum(schema, model):
        return model
    import flatbuffers  # type: ignore[import-untyped]

    changed = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model))
    for graph in changed.subgraphs:
        graph.operators = [made for op in graph.operators for made in _without_sum(schema, changed, graph, op)]
    packer = flatbuffers.Builder(len(model))
    packer.Finish(changed.Pack(packer), file_identifier=b"TFL3")
    return bytes(packer.Output())


def _has_sum(schema: Any, model: bytes) -> bool:
    try:
        file = schema.Model.GetRootAs(model)
        codes = [file.OperatorCodes(number) for number in range(file.OperatorCodesLength())]
        return any(max(c.BuiltinCode(), c.DeprecatedBuiltinCode()) == schema.BuiltinOperator.SUM for c in codes)
    except (struct.error, LookupError, TypeError, ValueError):
        return False  # no model: let the interpreter say so


def _without_sum(schema: Any, model: Any, graph: Any, op: Any) -> list[Any]:
    """The op, or where it is a SUM of int8 the two that take its place."""
    code = model.operatorCodes[op.opcodeIndex]
    x, out = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    is_sum = max(code.builtinCode, code.deprecatedBuiltinCode) == schema.BuiltinOperator.SUM
    if not is_sum or x.type != schema.TensorType.INT8:
        return [op]
    axes = np.frombuffer(bytes(model.buffers[graph.tensors[op.inputs[1]].buffer].data), "<i4")
    count = math.prod(int(x.shape[axis]) for axis in {int(axis) % len(x.shape) for axis in axes})
    mean = copy.deepcopy(out)
    mean.name = b"mean"
    mean.quantization.scale = [scale_of_mean(float(out.quantization.scale[0]), count)]
    graph.tensors.append(mean)
    reshape, options = schema.OperatorT(), schema.ReshapeOptionsT()
    options.newShape = [] if out.shape is None else [int(n) for n in out.shape]
    reshape.builtinOptionsType, reshape.builtinOptions = schema.BuiltinOptions.ReshapeOptions, options
    reshape.inputs, reshape.outputs = [len(graph.tensors) - 1], [int(op.outputs[0])]
    reshape.opcodeIndex = _code(schema, model, schema.BuiltinOperator.RESHAPE)
    op.opcodeIndex, op.outputs = _code(schema, model, schema.BuiltinOperator.MEAN), [len(graph.tensors) - 1]
    return [op, reshape]


def _code(schema: Any, model: Any, number: int) -> int:
    """The place of a new operator code."""
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = number, number, 1
    if number == schema.BuiltinOperator.MEAN:
        code.version = 2  # the first that takes int8
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1
