"""Tensors: element types, quantisation, constants, and the marks that say which of them train."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from edgelearn.errors import GraphError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class DType(enum.Enum):
    """Element types; the value is NumPy's name."""

    INT8 = "int8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    FLOAT32 = "float32"

    @property
    def size_bytes(self) -> int:
        """Bytes of one element."""
        return _SIZES_BYTES[self]


_SIZES_BYTES = {DType.INT8: 1, DType.INT16: 2, DType.INT32: 4, DType.INT64: 8, DType.FLOAT32: 4}


class Quant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Affine quantisation, real = scale * (q - zero_point), as the LiteRT int8 specification has it.

    One scale and zero point for the tensor, or one each along `axis` (zero points then are 0).
    """

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int | None = None

    @property
    def is_per_channel(self) -> bool:
        """Whether each slice along `axis` has a scale of its own."""
        return len(self.scale) > 1


class ParamKind(enum.Enum):
    """What a trainable parameter is to its op."""

    WEIGHT = "weight"
    BIAS = "bias"


class Training(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Marks a constant as trainable. How it is stored on the device is the recipe's choice, not the graph's."""

    kind: ParamKind


class Tensor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An activation (no data) or a constant. Activations keep their batch dimension, which is 1.

    `source_index` is the tensor's number in the model file it came from, so that it can be compared with the oracle.
    """

    name: str
    shape: tuple[int, ...]
    dtype: DType
    quant: Quant | None = None
    data: bytes | None = None
    training: Training | None = None
    source_index: int | None = None

    @property
    def elements(self) -> int:
        """Number of elements."""
        count = 1
        for dimension in self.shape:
            count *= dimension
        return count

    @property
    def size_bytes(self) -> int:
        """Bytes of all elements."""
        return self.elements * self.dtype.size_bytes

    @property
    def is_constant(self) -> bool:
        """Whether the tensor carries data."""
        return self.data is not None

    @property
    def scale(self) -> float:
        """The one scale of a per-tensor quantised tensor."""
        if self.quant is None or self.quant.is_per_channel:
            raise GraphError(f"tensor {self.name} has no single scale")
        return self.quant.scale[0]

    @property
    def zero_point(self) -> int:
        """The one zero point of a per-tensor quantised tensor."""
        if self.quant is None or self.quant.is_per_channel:
            raise GraphError(f"tensor {self.name} has no single zero point")
        return self.quant.zero_point[0]

    def array(self) -> npt.NDArray[Any]:
        """The constant as a read-only NumPy array of its shape."""
        import numpy as np

        if self.data is None:
            raise GraphError(f"tensor {self.name} is no constant")
        return np.frombuffer(self.data, dtype=np.dtype(self.dtype.value).newbyteorder("<")).reshape(self.shape)


def constant(
    name: str,
    values: npt.NDArray[np.generic],
    *,
    quant: Quant | None = None,
    training: Training | None = None,
) -> Tensor:
    """A constant tensor from an array of one of the element types."""
    import numpy as np

    dtype = DType(values.dtype.name)
    data = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<")).tobytes()
    shape = tuple(int(n) for n in values.shape)
    return Tensor(name=name, shape=shape, dtype=dtype, quant=quant, data=data, training=training)


def quantize_array(values: npt.ArrayLike, quant: Quant) -> npt.NDArray[np.int8]:
    """Real values as int8 with one scale and zero point, exactly as LiteRT's QUANTIZE does it.

    q = clamp(round(x / scale) + zero_point), divided in float32, halves rounded away from zero.

    Args:
        values: finite real values of any shape, in the tensor's units.
        quant: per-tensor quantisation.
    """
    import numpy as np

    ratio = np.asarray(values, dtype=np.float32) / np.float32(quant.scale[0])
    whole = np.trunc(ratio)
    rounded = whole + np.copysign(np.abs(ratio - whole) >= 0.5, ratio)
    quantised: npt.NDArray[np.int8] = np.clip(rounded + np.float32(quant.zero_point[0]), -128, 127).astype(np.int8)
    return quantised


def dequantize_array(values: npt.NDArray[np.generic], quant: Quant) -> npt.NDArray[np.float32]:
    """The float32 values that a quantised tensor stands for, scale * (q - zero_point).

    Args:
        values: int8 or int32 values; of a per-channel quantised tensor, in its full shape.
        quant: per-tensor or per-channel quantisation.
    """
    import numpy as np

    scale = np.asarray(quant.scale, dtype=np.float32)
    zero_point = np.asarray(quant.zero_point, dtype=np.int32)
    if quant.axis is not None and quant.is_per_channel:
        shape = [1] * values.ndim
        shape[quant.axis] = len(quant.scale)
        scale, zero_point = scale.reshape(shape), zero_point.reshape(shape)
    return ((values.astype(np.int32) - zero_point) * scale).astype(np.float32)


def tensor_problems(tensor: Tensor) -> Iterator[str]:
    """What is wrong with a tensor by itself."""
    if any(n < 1 for n in tensor.shape):
        yield f"tensor {tensor.name} has the shape {tensor.shape}"
    if tensor.data is not None and len(tensor.data) != tensor.size_bytes:
        yield f"tensor {tensor.name} has {len(tensor.data)} bytes of data, its shape needs {tensor.size_bytes}"
    if tensor.training is not None and not tensor.is_constant:
        yield f"tensor {tensor.name} is trainable but has no data"
    if tensor.quant is None:
        if tensor.dtype is DType.INT8:
            yield f"tensor {tensor.name} is int8 but has no quantisation"
        return
    quant = tensor.quant
    if len(quant.scale) != len(quant.zero_point) or not all(scale > 0.0 for scale in quant.scale):
        yield f"tensor {tensor.name} has a bad quantisation"
    if quant.is_per_channel and (quant.axis is None or tensor.shape[quant.axis] != len(quant.scale)):
        yield f"tensor {tensor.name} has {len(quant.scale)} scales, which do not fit its axis"
