"""What a `.tflite` file says, as plain structs: the flatbuffer is decoded here once, and nothing is judged.

The decoder trusts no byte: offsets and lengths of a damaged file lead anywhere, so every length is checked against the
file's size and whatever the flatbuffer library trips over becomes a ModelFileError.
"""

from __future__ import annotations

import inspect
import math
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from edgelearn.errors import MissingPackageError, ModelFileError

if TYPE_CHECKING:
    import numpy.typing as npt

_IDENTIFIER = b"TFL3"
_HINT = "give a .tflite, a Keras .keras or .h5 file, or a SavedModel folder"


#: The value of an op's option.
Option = int | float | str


class FileQuant(msgspec.Struct, frozen=True, kw_only=True):
    """Quantisation parameters of a tensor as they stand in the file."""

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int


class FileTensor(msgspec.Struct, frozen=True, kw_only=True):
    """A tensor of the file; `type` is the schema's name, such as "INT8". `data` is empty for an activation.

    `dynamic_axes` are the axes whose size the file leaves open. A tensor that is not in the file was put in place of
    others while it was read.
    """

    index: int
    name: str
    type: str
    shape: tuple[int, ...]
    dynamic_axes: tuple[int, ...]
    quant: FileQuant | None
    data: bytes
    is_sparse: bool
    is_variable: bool
    is_in_file: bool = True


class FileOp(msgspec.Struct, frozen=True, kw_only=True):
    """An op of the file. `code` is the schema's name, or the name of a custom op. Absent inputs are -1.

    `intermediates` are tensors that only tell the quantisation of what the op computes on its way.

    `options` are the numbers of its options table by the schema's names (`StrideH`), `Padding` and
    `FusedActivationFunction` as the schema's names of their values.
    """

    index: int
    code: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    intermediates: tuple[int, ...] = ()
    options: dict[str, Option]

    def number(self, name: str, default: int) -> int:
        """An option that is a whole number or a truth value."""
        return int(self.options.get(name, default))

    def real(self, name: str, default: float) -> float:
        """An option that is a real number."""
        return float(self.options.get(name, default))

    def word(self, name: str, default: str) -> str:
        """An option that is one of the schema's names."""
        return str(self.options.get(name, default))


class FileModel(msgspec.Struct, frozen=True, kw_only=True):
    """The main graph of the file."""

    tensors: tuple[FileTensor, ...]
    ops: tuple[FileOp, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read_tflite(data: bytes) -> FileModel:
    """Decode the main graph of a `.tflite`.

    Args:
        data: the bytes of the file.

    Raises:
        MissingPackageError: the `tflite` schema package is not installed.
        ModelFileError: the bytes are no `.tflite`, or a damaged one.
    """
    try:
        import tflite
    except ModuleNotFoundError as error:
        raise MissingPackageError("tflite", extra="litert", purpose="reading a .tflite model") from error
    if data[4:8] != _IDENTIFIER:
        raise ModelFileError("the file is not a .tflite model", cause="it lacks the mark TFL3", hint=_HINT)
    try:
        return _Decoder(tflite, data).model()
    except (
        struct.error,
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        MemoryError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise ModelFileError(
            "the .tflite file is damaged",
            cause=f"{type(error).__name__}: {error}",
            hint="copy or export the model again",
        ) from error


class _Decoder:
    def __init__(self, tflite: Any, data: bytes) -> None:
        self._tflite = tflite
        self._data = data
        self._op_names = _enum_names(tflite.BuiltinOperator)
        self._type_names = _enum_names(tflite.TensorType)
        self._option_names = _enum_names(tflite.BuiltinOptions)
        self._value_names = {
            "FusedActivationFunction": _enum_names(tflite.ActivationFunctionType),
            "Padding": _enum_names(tflite.Padding),
        }

    def model(self) -> FileModel:
        model = self._tflite.Model.GetRootAsModel(self._data, 0)
        if self._count(model.SubgraphsLength()) < 1:
            raise ValueError("no graph")
        graph = model.Subgraphs(0)
        tensors = tuple(self._tensor(model, graph, n) for n in range(self._count(graph.TensorsLength())))
        ops = tuple(self._op(model, graph, n) for n in range(self._count(graph.OperatorsLength())))
        inputs = self._integers(graph.InputsLength(), graph.InputsAsNumpy)
        outputs = self._integers(graph.OutputsLength(), graph.OutputsAsNumpy)
        for op in ops:
            written = (*op.outputs, *op.intermediates)
            if any(not -1 <= n < len(tensors) for n in op.inputs) or any(not 0 <= n < len(tensors) for n in written):
                raise ValueError(f"op #{op.index} names a tensor that does not exist")
        if any(not 0 <= n < len(tensors) for n in (*inputs, *outputs)):
            raise ValueError("an input or output of the graph does not exist")
        return FileModel(tensors=tensors, ops=ops, inputs=inputs, outputs=outputs)

    def _count(self, length: int) -> int:
        # Each element of a vector takes at least one byte, so no honest count exceeds the file.
        if not 0 <= length <= len(self._data):
            raise ValueError(f"a list of {length} elements in a file of {len(self._data)} bytes")
        return length

    def _integers(self, length: int, values: Callable[[], npt.NDArray[Any]]) -> tuple[int, ...]:
        return tuple(int(n) for n in values()) if self._count(length) else ()

    def _tensor(self, model: Any, graph: Any, index: int) -> FileTensor:
        tensor = graph.Tensors(index)
        shape = self._integers(tensor.ShapeLength(), tensor.ShapeAsNumpy)
        signature = self._integers(tensor.ShapeSignatureLength(), tensor.ShapeSignatureAsNumpy)
        buffer_index = tensor.Buffer()
        if not 0 <= buffer_index < self._count(model.BuffersLength()):
            raise ValueError(f"tensor #{index} names a buffer that does not exist")
        buffer = model.Buffers(buffer_index)
        data = buffer.DataAsNumpy().tobytes() if self._count(buffer.DataLength()) else b""
        if not data and buffer.Offset() > 1:  # large models keep their data behind the flatbuffer
            data = self._data[buffer.Offset() : buffer.Offset() + buffer.Size()]
        if any(n < 0 for n in shape) or math.prod(shape) > 2**31:
            raise ValueError(f"tensor #{index} has the shape {shape}")
        return FileTensor(
            index=index,
            name=(tensor.Name() or b"").decode("utf-8", errors="replace"),
            type=self._type_names[tensor.Type()],
            shape=shape,
            dynamic_axes=tuple(axis for axis, n in enumerate(signature) if n < 0),
            quant=self._quant(tensor.Quantization(), index),
            data=data,
            is_sparse=tensor.Sparsity() is not None,
            is_variable=bool(tensor.IsVariable()),
        )

    def _quant(self, quant: Any, index: int) -> FileQuant | None:
        if quant is None or self._count(quant.ScaleLength()) == 0:
            return None
        scale = tuple(float(s) for s in quant.ScaleAsNumpy())
        zero_point = self._integers(quant.ZeroPointLength(), quant.ZeroPointAsNumpy)
        if not all(math.isfinite(s) for s in scale):
            raise ValueError(f"tensor #{index} has a scale that is no number")
        return FileQuant(scale=scale, zero_point=zero_point, axis=int(quant.QuantizedDimension()))

    def _op(self, model: Any, graph: Any, index: int) -> FileOp:
        op = graph.Operators(index)
        code_index = op.OpcodeIndex()
        if not 0 <= code_index < self._count(model.OperatorCodesLength()):
            raise ValueError(f"op #{index} has no op code")
        operator_code = model.OperatorCodes(code_index)
        # Files older than 2020 have only the deprecated one-byte code.
        number = max(operator_code.BuiltinCode(), operator_code.DeprecatedBuiltinCode())
        code = self._op_names.get(number, f"BUILTIN_{number}")
        if code == "CUSTOM":
            code = (operator_code.CustomCode() or b"CUSTOM").decode("utf-8", errors="replace")
        return FileOp(
            index=index,
            code=code,
            inputs=self._integers(op.InputsLength(), op.InputsAsNumpy),
            outputs=self._integers(op.OutputsLength(), op.OutputsAsNumpy),
            intermediates=self._integers(op.IntermediatesLength(), op.IntermediatesAsNumpy),
            options=self._decoded_options(op),
        )

    def _decoded_options(self, op: Any) -> dict[str, Option]:
        class_name = self._option_names.get(op.BuiltinOptionsType(), "NONE")
        table = op.BuiltinOptions()
        if class_name == "NONE" or table is None:
            return {}
        options = getattr(self._tflite, class_name)()
        options.Init(table.Bytes, table.Pos)
        values: dict[str, Option] = {}
        for name, read in inspect.getmembers(type(options), inspect.isfunction):
            # A field is read by a method without arguments; the others, and those of lists, are not needed.
            if len(inspect.signature(read).parameters) != 1 or name.endswith(("AsNumpy", "Length", "IsNone")):
                continue
            value = read(options)
            if isinstance(value, int | float):
                values[name] = self._value_names[name][int(value)] if name in self._value_names else value
        return values


def _enum_names(enum: Any) -> dict[int, str]:
    return {value: name for name, value in vars(enum).items() if isinstance(value, int) and not name.startswith("_")}
