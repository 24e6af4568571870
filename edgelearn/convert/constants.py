"""Parts of a model that no input reaches: computed once, when the model is converted, by the reference kernels."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from msgspec.structs import replace

from edgelearn.convert.litert import ReferenceInterpreter
from edgelearn.convert.tflite_file import FileModel, FileOp

#: Ops that edgelearn does not have but that give the same in every run, beside those it has.
_COMPUTABLE = frozenset({"CAST", "FILL", "RANGE", "RANK", "SHAPE", "SUB", "DIV", "EXP", "SQRT", "RSQRT", "NEG", "POW"})


def constant_ops(
    model: FileModel, live: Sequence[FileOp], supported: Collection[str], value_inputs: Mapping[str, Sequence[int]]
) -> list[FileOp]:
    """The ops that read only constants, or one another's results.

    Args:
        model: the file.
        live: its ops that matter, in order.
        supported: ops that edgelearn has.
        value_inputs: of some ops, which inputs are values; the others only say shapes.
    """
    known = {tensor.index for tensor in model.tensors if tensor.data and not tensor.is_variable}
    found = []
    for op in live:
        positions = value_inputs.get(op.code, range(len(op.inputs)))
        values = [op.inputs[n] for n in positions if n < len(op.inputs) and op.inputs[n] >= 0]
        if values and known.issuperset(values) and (op.code in supported or op.code in _COMPUTABLE):
            found.append(op)
            known.update(op.outputs)
    return found


def with_constants(model: FileModel, data: bytes, ops: Sequence[FileOp]) -> FileModel:
    """The model with the results of ops that read only constants as constants.

    Args:
        model: the file.
        data: its bytes.
        ops: from `constant_ops`.

    Raises:
        MissingPackageError: the interpreter is not installed.
        ModelFileError: it fails on the model.
    """
    indices = [index for op in ops for index in op.outputs]
    values = ReferenceInterpreter(data).run_on_zeros(indices)
    tensors = list(model.tensors)
    for index in indices:
        found = values[index]
        little_endian = np.ascontiguousarray(found).astype(found.dtype.newbyteorder("<"))
        tensors[index] = replace(tensors[index], data=little_endian.tobytes(), shape=found.shape)
    left = tuple(op for op in model.ops if op not in ops)
    return replace(model, tensors=tuple(tensors), ops=left)
