"""The copy of a model that the oracle runs, changed where LiteRT's reference kernels would not do what the model says.

SUM: the reference kernel reads int8 as uint8. A sum of n elements has the bytes of their mean where the mean's output
scale is the n-th part of the sum's. So each int8 SUM becomes a MEAN to a tensor of that scale, and a RESHAPE, which
looks at no scales, gives its bytes to the tensor of the sum.

Versions: TensorFlow's converter marks some ops with a version that the interpreter does not know yet, though nothing of
the op is new. They get the version before; a kernel that lacks what the op needs still refuses it.
"""

from __future__ import annotations

import copy
import math
import re
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
    changed = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model))
    for graph in changed.subgraphs:
        graph.operators = [made for op in graph.operators for made in _without_sum(schema, changed, graph, op)]
    return _packed(changed)


def with_older_op(model: bytes, complaint: str) -> bytes | None:
    """The model with the op that the interpreter does not know at the version before.

    Args:
        model: the bytes of a `.tflite`.
        complaint: what the interpreter says of it.

    Returns:
        None where it says something else, or there is no version before.
    """
    found = re.search(r"builtin opcode '(\w+)' version '(\d+)'", complaint)
    if found is None or int(found[2]) < 2:
        return None
    from ai_edge_litert import schema_py_generated as schema

    number, version = getattr(schema.BuiltinOperator, found[1], None), int(found[2])
    changed = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model))
    codes = [code for code in changed.operatorCodes if (_number(code), code.version) == (number, version)]
    for code in codes:
        code.version = version - 1
    return _packed(changed) if codes else None


def _number(code: Any) -> int:
    """The op of an operator code; files older than 2020 have only the deprecated field."""
    return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))


def _packed(model: Any) -> bytes:
    import flatbuffers  # type: ignore[import-untyped]

    packer = flatbuffers.Builder(1024)
    packer.Finish(model.Pack(packer), file_identifier=b"TFL3")
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
    x, out = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    is_sum = _number(model.operatorCodes[op.opcodeIndex]) == schema.BuiltinOperator.SUM
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
