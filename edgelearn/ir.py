"""The graph: tensors, typed ops, what trains and how it is judged, and verify(), which runs after every pass.

A graph is frozen; a pass returns a new one. Tensors are known by unique names, activations have no data, constants
carry theirs as little-endian bytes. Nothing here assumes which parameters train: any constant may carry a
`Training`, and every op keeps the parameters that a backward pass needs.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from edgelearn.errors import GraphError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class DType(enum.Enum):
    """Element types; the value is NumPy's name."""

    INT8 = "int8"
    INT32 = "int32"
    FLOAT32 = "float32"

    @property
    def size_bytes(self) -> int:
        """Bytes of one element."""
        return 1 if self is DType.INT8 else 4


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
    """A constant tensor from an int8, int32 or float32 array."""
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


class Activation(enum.Enum):
    """Activation fused into an op; the plan turns it into the clamp of the int8 output."""

    NONE = "none"
    RELU = "relu"
    RELU6 = "relu6"


class Op(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="op",
    tag=lambda name: name,
):
    """Base of all ops. `index` is the op's place in the model file it came from, for messages."""

    #: The field's own name of the op, as the LiteRT schema spells it.
    TITLE: ClassVar[str]

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    index: int

    @property
    def output(self) -> str:
        """The name of the only output."""
        return self.outputs[0]


class Window(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sliding window over height and width: kernel, stride, dilation and explicit padding, in elements."""

    kernel_h: int
    kernel_w: int
    stride_h: int = 1
    stride_w: int = 1
    dilation_h: int = 1
    dilation_w: int = 1
    pad_top: int = 0
    pad_bottom: int = 0
    pad_left: int = 0
    pad_right: int = 0

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the output for an input of `height` x `width`."""
        extent_h = (self.kernel_h - 1) * self.dilation_h + 1
        extent_w = (self.kernel_w - 1) * self.dilation_w + 1
        return (
            (height + self.pad_top + self.pad_bottom - extent_h) // self.stride_h + 1,
            (width + self.pad_left + self.pad_right - extent_w) // self.stride_w + 1,
        )


class Conv2D(Op, frozen=True, kw_only=True):
    """Convolution. Inputs: x [1,H,W,I] int8, weight [O,KH,KW,I] int8 per channel, bias [O] int32."""

    TITLE: ClassVar[str] = "CONV_2D"
    window: Window
    activation: Activation = Activation.NONE


class DepthwiseConv2D(Op, frozen=True, kw_only=True):
    """Depthwise convolution. Inputs: x [1,H,W,I], weight [1,KH,KW,I*multiplier], bias [I*multiplier]."""

    TITLE: ClassVar[str] = "DEPTHWISE_CONV_2D"
    window: Window
    multiplier: int = 1
    activation: Activation = Activation.NONE


class FullyConnected(Op, frozen=True, kw_only=True):
    """Dense layer. Inputs: x [1,F] int8, weight [O,F], bias [O].

    With trainable parameters the weight is float32, or int8 with its scales, the bias is float32, and the output is a
    float32 logit [1,O]: the device keeps it in fixed point, see `edgelearn.training`.
    """

    TITLE: ClassVar[str] = "FULLY_CONNECTED"
    activation: Activation = Activation.NONE


class AveragePool2D(Op, frozen=True, kw_only=True):
    """Average pooling; border windows divide by the number of elements inside the input."""

    TITLE: ClassVar[str] = "AVERAGE_POOL_2D"
    window: Window
    activation: Activation = Activation.NONE


class MaxPool2D(Op, frozen=True, kw_only=True):
    """Max pooling."""

    TITLE: ClassVar[str] = "MAX_POOL_2D"
    window: Window
    activation: Activation = Activation.NONE


class Mean(Op, frozen=True, kw_only=True):
    """Mean over height and width of [1,H,W,C]; output [1,C] or [1,1,1,C]."""

    TITLE: ClassVar[str] = "MEAN"
    keep_dims: bool


class Add(Op, frozen=True, kw_only=True):
    """Elementwise sum of two int8 tensors of the same shape."""

    TITLE: ClassVar[str] = "ADD"
    activation: Activation = Activation.NONE


class Pad(Op, frozen=True, kw_only=True):
    """Pads height and width of [1,H,W,C] with the zero point."""

    TITLE: ClassVar[str] = "PAD"
    pad_top: int
    pad_bottom: int
    pad_left: int
    pad_right: int


class Reshape(Op, frozen=True, kw_only=True):
    """The same bytes under another shape; costs nothing on the device."""

    TITLE: ClassVar[str] = "RESHAPE"


class Softmax(Op, frozen=True, kw_only=True):
    """Softmax over the last axis, int8 to int8 (scale 1/256, zero point -128)."""

    TITLE: ClassVar[str] = "SOFTMAX"
    beta: float = 1.0


AnyOp = Conv2D | DepthwiseConv2D | FullyConnected | AveragePool2D | MaxPool2D | Mean | Add | Pad | Reshape | Softmax
OP_TYPES: tuple[type[Op], ...] = (
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    AveragePool2D,
    MaxPool2D,
    Mean,
    Add,
    Pad,
    Reshape,
    Softmax,
)


class LossKind(enum.Enum):
    """How a prediction is judged."""

    CROSS_ENTROPY = "cross-entropy"
    SQUARED_ERROR = "squared-error"


class Loss(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The loss that training minimises and the tensor it is taken of (logits, for cross-entropy)."""

    kind: LossKind
    prediction: str


class Graph(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A network in execution order. Bit-exactness is promised for every int8 tensor in it."""

    name: str
    tensors: tuple[Tensor, ...]
    ops: tuple[AnyOp, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    loss: Loss | None = None

    def tensor(self, name: str) -> Tensor:
        """The tensor of that name; GraphError if there is none."""
        for tensor in self.tensors:
            if tensor.name == name:
                return tensor
        raise GraphError(f"graph {self.name} has no tensor {name}")

    def producer(self, name: str) -> AnyOp | None:
        """The op that writes the tensor, or None for an input or a constant."""
        return next((op for op in self.ops if name in op.outputs), None)

    def consumers(self, name: str) -> tuple[AnyOp, ...]:
        """The ops that read the tensor."""
        return tuple(op for op in self.ops if name in op.inputs)

    def trains(self, op: Op) -> bool:
        """Whether any parameter of the op is trainable."""
        return any(self.tensor(name).training is not None for name in op.inputs)

    @property
    def trainable_ops(self) -> tuple[AnyOp, ...]:
        """The ops with trainable parameters, in execution order."""
        return tuple(op for op in self.ops if self.trains(op))

    @property
    def input(self) -> Tensor:
        """The only input."""
        return self.tensor(self.inputs[0])

    @property
    def output(self) -> Tensor:
        """The only output."""
        return self.tensor(self.outputs[0])


def multiply_accumulates(graph: Graph, op: AnyOp) -> int:
    """Multiply-accumulates of one execution of the op, padding included, the way MLPerf Tiny counts them."""
    out = graph.tensor(op.output)
    if isinstance(op, Conv2D):
        weight = graph.tensor(op.inputs[1])
        return out.elements * op.window.kernel_h * op.window.kernel_w * weight.shape[3]
    if isinstance(op, DepthwiseConv2D):
        return out.elements * op.window.kernel_h * op.window.kernel_w
    if isinstance(op, FullyConnected):
        return out.elements * graph.tensor(op.inputs[1]).shape[1]
    return 0


def verify(graph: Graph, *, after: str) -> Graph:
    """Check every invariant of the graph and return it.

    Args:
        graph: the graph to check.
        after: the pass that made it, named in the error.

    Raises:
        GraphError: naming the pass, the node and what is wrong with it.
    """
    for problem in _problems(graph):
        raise GraphError(
            f"after {after}: {problem}", hint="this is a defect of edgelearn; please report it with the model"
        )
    return graph


def _problems(graph: Graph) -> Iterator[str]:
    tensors = {tensor.name: tensor for tensor in graph.tensors}
    if len(tensors) != len(graph.tensors):
        yield "two tensors have the same name"
    if len({op.name for op in graph.ops}) != len(graph.ops):
        yield "two ops have the same name"
    for tensor in graph.tensors:
        yield from _tensor_problems(tensor)
    for name in (*graph.inputs, *graph.outputs):
        if name not in tensors:
            yield f"input or output {name} does not exist"
            return
    written = {*graph.inputs, *(t.name for t in graph.tensors if t.is_constant)}
    used = {*graph.inputs, *graph.outputs}
    for op in graph.ops:
        used.update(op.inputs, op.outputs)
        for name in (*op.inputs, *op.outputs):
            if name not in tensors:
                yield f"{op.name}: tensor {name} does not exist"
                return
        for name in op.inputs:
            if name not in written:
                yield f"{op.name}: reads {name} before it is written"
        for name in op.outputs:
            if name in written:
                yield f"{op.name}: writes {name}, which is already written"
            written.add(name)
        yield from (f"{op.name}: {problem}" for problem in _op_problems(graph, op))
    for name in graph.outputs:
        if name not in written:
            yield f"output {name} is never written"
    for name in tensors:
        if name not in used:
            yield f"tensor {name} is used by nothing"
    if graph.loss is not None:
        if graph.loss.prediction not in tensors:
            yield f"the loss reads {graph.loss.prediction}, which does not exist"
        if not graph.trainable_ops:
            yield "there is a loss but nothing to train"
    elif graph.trainable_ops:
        yield "there is something to train but no loss"


def _tensor_problems(tensor: Tensor) -> Iterator[str]:
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


def _op_problems(graph: Graph, op: AnyOp) -> Iterator[str]:
    x, out = graph.tensor(op.inputs[0]), graph.tensor(op.output)
    if x.shape[0] != 1 and not isinstance(op, Reshape):
        yield f"batch of {x.shape[0]}"
    if isinstance(op, Conv2D | DepthwiseConv2D):
        weight, bias = graph.tensor(op.inputs[1]), graph.tensor(op.inputs[2])
        depth = weight.shape[0] if isinstance(op, Conv2D) else weight.shape[3]
        if out.shape != (1, *op.window.output_size(x.shape[1], x.shape[2]), depth):
            yield f"output {out.shape} does not follow from input {x.shape} and {op.window}"
        if isinstance(op, Conv2D) and weight.shape[3] != x.shape[3]:
            yield f"weight {weight.shape} does not fit input {x.shape}"
        if isinstance(op, DepthwiseConv2D) and weight.shape[3] != x.shape[3] * op.multiplier:
            yield f"weight {weight.shape} does not fit input {x.shape} times {op.multiplier}"
        if bias.shape != (depth,) or bias.dtype is not DType.INT32:
            yield f"bias {bias.shape} {bias.dtype.value} is not [{depth}] int32"
    elif isinstance(op, FullyConnected):
        weight, bias = graph.tensor(op.inputs[1]), graph.tensor(op.inputs[2])
        if len(weight.shape) != 2 or x.elements != weight.shape[1] or out.elements != weight.shape[0]:
            yield f"weight {weight.shape} does not fit {x.shape} -> {out.shape}"
        if bias.shape != (weight.shape[0],):
            yield f"bias {bias.shape} does not fit weight {weight.shape}"
        if (weight.training is None) != (bias.training is None):
            yield "weight and bias must train together"
        if graph.trains(op) == (out.dtype is DType.INT8):
            yield f"output is {out.dtype.value}"
    elif isinstance(op, AveragePool2D | MaxPool2D):
        if out.shape != (1, *op.window.output_size(x.shape[1], x.shape[2]), x.shape[3]):
            yield f"output {out.shape} does not follow from input {x.shape} and {op.window}"
        if x.quant != out.quant:
            yield "input and output differ in quantisation"
    elif isinstance(op, Mean):
        if len(x.shape) != 4 or out.elements != x.shape[3]:
            yield f"mean of {x.shape} is not {out.shape}"
    elif isinstance(op, Add):
        if graph.tensor(op.inputs[1]).shape != x.shape or out.shape != x.shape:
            yield "operands differ in shape"
    elif isinstance(op, Pad):
        padded = (1, x.shape[1] + op.pad_top + op.pad_bottom, x.shape[2] + op.pad_left + op.pad_right, x.shape[3])
        if out.shape != padded or x.quant != out.quant:
            yield f"{x.shape} padded is {padded}, not {out.shape}, or the quantisation changed"
    elif isinstance(op, Reshape):
        if out.elements != x.elements or out.quant != x.quant:
            yield f"{x.shape} cannot become {out.shape}"
    elif isinstance(op, Softmax) and out.shape != x.shape:
        yield f"softmax of {x.shape} is not {out.shape}"
