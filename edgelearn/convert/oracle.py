"""The copy of a model that the oracle runs, changed where LiteRT's reference kernels would not do what the model says.

SUM: the reference kernel reads int8 as uint8. A sum of n elements has the bytes of their mean where the mean's output
scale is the n-th part of the sum's. So each int8 SUM becomes a MEAN to a tensor of that scale, and a RESHAPE, which
looks at no scales, gives its bytes to the tensor of the sum.

ELU: the resolver of the reference kernels has none, though LiteRT has one kernel for all resolvers, a table of 256
bytes. Each int8 ELU becomes a CAST, an ADD and a GATHER from a table that this kernel made.

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
    if not _has(schema, model, "SUM"):
        return model
    changed = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model))
    for graph in changed.subgraphs:
        graph.operators = [made for op in graph.operators for made in _without_sum(schema, changed, graph, op)]
    return _packed(changed)


def elus_as_tables(model: bytes, interpreter: Any) -> bytes:
    """The model with a look-up for each ELU of int8; tensors keep their numbers.

    Args:
        model: the bytes of a `.tflite`; anything else is given back.
        interpreter: the module of LiteRT's interpreter.
    """
    try:
        from ai_edge_litert import schema_py_generated as schema
    except ModuleNotFoundError:
        return model  # tflite_runtime, whose bits are not promised
    if not _has(schema, model, "ELU"):
        return model
    changed = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model))
    for graph in changed.subgraphs:
        graph.operators = [
            made for op in graph.operators for made in _without_elu(schema, changed, graph, op, interpreter)
        ]
    used = {op.opcodeIndex for graph in changed.subgraphs for op in graph.operators}
    for number, code in enumerate(changed.operatorCodes):
        if number not in used:  # the interpreter refuses a code that it does not know, used or not
            code.builtinCode, code.deprecatedBuiltinCode, code.version = 0, 0, 1
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


def _has(schema: Any, model: bytes, op: str) -> bool:
    try:
        file = schema.Model.GetRootAs(model)
        codes = [file.OperatorCodes(number) for number in range(file.OperatorCodesLength())]
        number = getattr(schema.BuiltinOperator, op)
        return any(max(c.BuiltinCode(), c.DeprecatedBuiltinCode()) == number for c in codes)
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


def _without_elu(schema: Any, model: Any, graph: Any, op: Any, interpreter: Any) -> list[Any]:
    """The op, or where it is an ELU of int8 the three that take its place."""
    x, out = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    is_elu = _number(model.operatorCodes[op.opcodeIndex]) == schema.BuiltinOperator.ELU
    if not is_elu or x.type != schema.TensorType.INT8:
        return [op]

    def tensor(like: Any, type_: int, shape: list[int], values: np.ndarray[Any, Any] | None = None) -> int:
        made = copy.deepcopy(like)
        made.type, made.shape, made.shapeSignature, made.buffer = type_, shape, None, 0
        if values is not None:
            made.buffer = len(model.buffers)
            model.buffers.append(schema.BufferT())
            model.buffers[-1].data = np.frombuffer(values.tobytes(), np.uint8)
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    def operator(name: str, inputs: list[int], output: int, options: Any) -> Any:
        made = schema.OperatorT()
        made.opcodeIndex = _code(schema, model, getattr(schema.BuiltinOperator, name))
        made.inputs, made.outputs, made.builtinOptions = inputs, [output], options
        made.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        return made

    shape, number = [int(n) for n in x.shape], schema.TensorType.INT32
    to_number, to_place, from_table = schema.CastOptionsT(), schema.AddOptionsT(), schema.GatherOptionsT()
    to_number.inDataType, to_number.outDataType = schema.TensorType.INT8, number
    values = tensor(x, number, shape)
    places = tensor(x, number, shape)
    offset = tensor(x, number, [1], np.array([128], np.int32))
    table = tensor(out, schema.TensorType.INT8, [256], _table_of_elu(schema, x, out, interpreter))
    return [
        operator("CAST", [int(op.inputs[0])], values, to_number),
        operator("ADD", [values, offset], places, to_place),
        operator("GATHER", [table, places], int(op.outputs[0]), from_table),
    ]


def _table_of_elu(schema: Any, x: Any, out: Any, interpreter: Any) -> np.ndarray[Any, Any]:
    """What LiteRT's kernel of ELU gives for -128 to 127."""
    model, graph, op, code = schema.ModelT(), schema.SubGraphT(), schema.OperatorT(), schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.ELU
    code.version = 1
    graph.tensors = [copy.deepcopy(x), copy.deepcopy(out)]
    for tensor in graph.tensors:
        tensor.shape, tensor.shapeSignature, tensor.buffer = [256], None, 0
    op.inputs, op.outputs = [0], [1]
    graph.inputs, graph.outputs, graph.operators = [0], [1], [op]
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [schema.BufferT()]
    runner = interpreter.Interpreter(
        model_content=_packed(model),
        num_threads=1,
        experimental_op_resolver_type=interpreter.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    runner.allocate_tensors()
    runner.set_tensor(runner.get_input_details()[0]["index"], np.arange(-128, 128).astype(np.int8))
    runner.invoke()
    values: np.ndarray[Any, Any] = runner.get_tensor(runner.get_output_details()[0]["index"])
    return values


def _code(schema: Any, model: Any, number: int) -> int:
    """The place of a new operator code."""
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = number, number, 1
    if number == schema.BuiltinOperator.MEAN:
        code.version = 2  # the first that takes int8
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1
