"""Builds small int8 `.tflite` models as flatbuffers, in milliseconds and without TensorFlow.

    builder = TfliteBuilder(seed=1)
    x = builder.input((1, 8, 8, 3))
    x = builder.conv_2d(x, filters=4, kernel=(3, 3), padding="same", activation="relu")
    x = builder.fully_connected(builder.mean(x, keep_dims=False), units=5)
    model = builder.build(builder.softmax(x))

Weights, scales and zero points are random from the seed unless given; the scale of an output is chosen so that its
bytes spread over the int8 range and some of them saturate. `single_op_model` makes a model of one op by its name.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

FLOAT32 = schema.TensorType.FLOAT32
INT8 = schema.TensorType.INT8
INT16 = schema.TensorType.INT16
INT32 = schema.TensorType.INT32
UINT8 = schema.TensorType.UINT8
_NUMPY = {FLOAT32: np.float32, INT8: np.int8, INT32: np.int32, UINT8: np.uint8}
_ACTIVATIONS = {
    "none": schema.ActivationFunctionType.NONE,
    "relu": schema.ActivationFunctionType.RELU,
    "relu6": schema.ActivationFunctionType.RELU6,
    "relu_n1_to_1": schema.ActivationFunctionType.RELU_N1_TO_1,
    "tanh": schema.ActivationFunctionType.TANH,
}
_PADDINGS = {"same": schema.Padding.SAME, "valid": schema.Padding.VALID}


class TfliteBuilder:
    """Collects tensors and ops; tensors are known by their number."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self._codes: list[schema.OperatorCodeT] = []
        self._buffers: list[schema.BufferT] = [schema.BufferT()]
        self._tensors: list[schema.TensorT] = []
        self._operators: list[schema.OperatorT] = []
        self._inputs: list[int] = []

    # Tensors

    def tensor(
        self,
        shape: Sequence[int],
        type_: int = INT8,
        *,
        scale: float | Sequence[float] | None = None,
        zero_point: int | Sequence[int] = 0,
        axis: int = 0,
        data: np.ndarray | None = None,
        name: str | None = None,
        signature: Sequence[int] | None = None,
        variable: bool = False,
    ) -> int:
        """Any tensor; a constant where data is given. Returns its number."""
        t = schema.TensorT()
        t.shape = [int(n) for n in shape]
        t.shapeSignature = None if signature is None else list(signature)
        t.type = type_
        t.isVariable = variable
        t.name = name if name is not None else f"tensor_{len(self._tensors)}"
        if scale is not None:
            q = schema.QuantizationParametersT()
            q.scale = [float(s) for s in np.atleast_1d(scale)]
            q.zeroPoint = [int(z) for z in np.broadcast_to(zero_point, len(q.scale))]
            q.quantizedDimension = axis
            t.quantization = q
        if data is not None:
            t.buffer = len(self._buffers)
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), dtype=np.uint8)
            self._buffers.append(buffer)
        self._tensors.append(t)
        return len(self._tensors) - 1

    def input(
        self,
        shape: Sequence[int],
        *,
        scale: float | None = None,
        zero_point: int | None = None,
        float_edge: bool = False,
        name: str = "input_1",
        signature: Sequence[int] | None = None,
    ) -> int:
        """The model's input; with `float_edge` a float32 tensor and a QUANTIZE behind it."""
        scale = self.random_scale() if scale is None else scale
        zero_point = self.random_zero_point() if zero_point is None else zero_point
        if float_edge:
            edge = self.tensor(shape, FLOAT32, name=name, signature=signature)
            self._inputs.append(edge)
            out = self.tensor(shape, scale=scale, zero_point=zero_point, name=f"{name}_int8")
            return self.op("QUANTIZE", [edge], out, options=schema.QuantizeOptionsT())
        number = self.tensor(shape, scale=scale, zero_point=zero_point, name=name, signature=signature)
        self._inputs.append(number)
        return number

    def shape(self, number: int) -> tuple[int, ...]:
        """Shape of a tensor."""
        return tuple(self._tensors[number].shape)

    def quant(self, number: int) -> tuple[float, int]:
        """Scale and zero point of a per-tensor quantised tensor."""
        q = self._tensors[number].quantization
        return q.scale[0], q.zeroPoint[0]

    def random_scale(self) -> float:
        """A scale between 0.004 and 0.1, representable as float32."""
        return float(np.float32(0.004 * 25 ** self.rng.random()))

    def random_zero_point(self) -> int:
        """Any int8, the ends more often."""
        return int(self.rng.choice([-128, 127, 0, *self.rng.integers(-128, 128, 5)]))

    # Ops

    def op(
        self,
        code: str,
        inputs: Sequence[int],
        output: int | Sequence[int],
        *,
        options: Any = None,
        version: int = 1,
        custom: str | None = None,
        intermediates: Sequence[int] | None = None,
    ) -> int:
        """Any op by its schema name; returns its first output."""
        number = getattr(schema.BuiltinOperator, code)
        operator_code = schema.OperatorCodeT()
        operator_code.builtinCode = number
        operator_code.deprecatedBuiltinCode = min(number, 127)
        operator_code.version = version
        operator_code.customCode = custom
        self._codes.append(operator_code)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self._codes) - 1
        operator.inputs = list(inputs)
        operator.outputs = [output] if isinstance(output, int) else list(output)
        operator.intermediates = None if intermediates is None else list(intermediates)
        if options is not None:
            operator.builtinOptions = options
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        self._operators.append(operator)
        return operator.outputs[0]

    def conv_2d(
        self,
        x: int,
        *,
        filters: int,
        kernel: tuple[int, int] = (3, 3),
        stride: tuple[int, int] = (1, 1),
        dilation: tuple[int, int] = (1, 1),
        padding: str = "valid",
        activation: str = "none",
        per_channel: bool = True,
        bias: bool = True,
        groups: int = 1,
        name: str | None = None,
    ) -> int:
        """CONV_2D with random weights; strides, dilations and kernels are (height, width)."""
        channels = self.shape(x)[3] // groups
        weight, scales = self._weights((filters, *kernel, channels), 0, per_channel, name)
        options = schema.Conv2DOptionsT()
        options.strideH, options.strideW = stride
        options.dilationHFactor, options.dilationWFactor = dilation
        options.padding = _PADDINGS[padding]
        options.fusedActivationFunction = _ACTIVATIONS[activation]
        size = _window_output(self.shape(x), kernel, stride, dilation, padding)
        return self._weighted(
            "CONV_2D", x, weight, scales, (1, *size, filters), kernel[0] * kernel[1] * channels, bias, options, name
        )

    def depthwise_conv_2d(
        self,
        x: int,
        *,
        multiplier: int = 1,
        kernel: tuple[int, int] = (3, 3),
        stride: tuple[int, int] = (1, 1),
        dilation: tuple[int, int] = (1, 1),
        padding: str = "valid",
        activation: str = "none",
        per_channel: bool = True,
        bias: bool = True,
        name: str | None = None,
    ) -> int:
        """DEPTHWISE_CONV_2D with random weights."""
        depth = self.shape(x)[3] * multiplier
        weight, scales = self._weights((1, *kernel, depth), 3, per_channel, name)
        options = schema.DepthwiseConv2DOptionsT()
        options.strideH, options.strideW = stride
        options.dilationHFactor, options.dilationWFactor = dilation
        options.depthMultiplier = multiplier
        options.padding = _PADDINGS[padding]
        options.fusedActivationFunction = _ACTIVATIONS[activation]
        size = _window_output(self.shape(x), kernel, stride, dilation, padding)
        return self._weighted(
            "DEPTHWISE_CONV_2D", x, weight, scales, (1, *size, depth), kernel[0] * kernel[1], bias, options, name
        )

    def transpose_conv(
        self,
        x: int,
        *,
        filters: int,
        kernel: tuple[int, int] = (3, 3),
        stride: tuple[int, int] = (2, 2),
        padding: str = "same",
        activation: str = "none",
        per_channel: bool = True,
        bias: bool = True,
        name: str | None = None,
    ) -> int:
        """TRANSPOSE_CONV with random weights, to the size that TensorFlow takes where it is not told."""
        _, height, width, channels = self.shape(x)
        weight, scales = self._weights((filters, *kernel, channels), 0, per_channel, name)
        options = schema.TransposeConvOptionsT()
        options.strideH, options.strideW = stride
        options.padding = _PADDINGS[padding]
        options.fusedActivationFunction = _ACTIVATIONS[activation]
        more = (0, 0) if padding == "same" else tuple(max(k - s, 0) for k, s in zip(kernel, stride, strict=True))
        shape = (1, height * stride[0] + more[0], width * stride[1] + more[1], filters)
        target = self.tensor((4,), INT32, data=np.array(shape, np.int32))
        taps = math.prod(kernel) * channels // math.prod(stride) + 1
        out = self._weighted("TRANSPOSE_CONV", x, weight, scales, shape, taps, bias, options, name)
        operator = self._operators[-1]
        operator.inputs = [target, weight, x, *operator.inputs[2:]]
        return out

    def fully_connected(
        self,
        x: int,
        *,
        units: int,
        activation: str = "none",
        per_channel: bool = False,
        bias: bool = True,
        rows: bool = False,
        weights: np.ndarray | None = None,
        weight_scale: float | Sequence[float] | None = None,
        name: str | None = None,
    ) -> int:
        """FULLY_CONNECTED; random weights unless int8 weights [units, features] and their scale are given.

        On all values of the input, or with `rows` on its last axis.
        """
        features = self.shape(x)[-1] if rows else math.prod(self.shape(x))
        if weights is None:
            weight, scales = self._weights((units, features), 0, per_channel, name)
        else:
            scales = np.atleast_1d(np.asarray(weight_scale, np.float32))
            weight = self.tensor((units, features), scale=scales, data=weights, name=f"{name or 'dense'}/MatMul")
        options = schema.FullyConnectedOptionsT()
        options.fusedActivationFunction = _ACTIVATIONS[activation]
        options.keepNumDims = rows
        out_shape = (*self.shape(x)[:-1], units) if rows else (1, units)
        return self._weighted("FULLY_CONNECTED", x, weight, scales, out_shape, features, bias, options, name)

    def unidirectional_sequence_lstm(
        self,
        x: int,
        *,
        units: int,
        cell_exponent: int = -11,
        cell_clip: float = 10.0,
        output_scale: float | None = None,
        name: str | None = None,
    ) -> int:
        """UNIDIRECTIONAL_SEQUENCE_LSTM as TensorFlow's converter writes Keras' LSTM, with random weights."""
        steps, features = self.shape(x)[1:]
        x_scale, _ = self.quant(x)
        output_quant = {"scale": output_scale or 1 / 150, "zero_point": self.random_zero_point()}
        weights, scales = [], []
        for count in (features,) * 4 + (units,) * 4:
            scale = float(np.float32(self.rng.uniform(0.004, 0.012) / math.sqrt(count)))
            data = self.rng.integers(-127, 128, (units, count)).astype(np.int8)
            weights.append(self.tensor((units, count), scale=scale, data=data, name=name and f"{name}/weight"))
            scales.append(scale)
        biases = []
        for scale in scales[:4]:
            bias_scale = np.float32(x_scale) * np.float32(scale)
            data = self.rng.integers(int(-1 / bias_scale), int(1 / bias_scale) + 1, units).astype(np.int32)
            biases.append(self.tensor((units,), INT32, scale=bias_scale, data=data))
        state = self.tensor((1, units), **output_quant, variable=True)
        cell = self.tensor((1, units), INT16, scale=2.0**cell_exponent, variable=True)
        intermediates = [self.tensor((0,), FLOAT32) for _ in range(4)] + [self.tensor((0,), **output_quant)]
        options = schema.UnidirectionalSequenceLSTMOptionsT()
        options.fusedActivationFunction = _ACTIVATIONS["tanh"]
        options.cellClip = cell_clip
        out = self.tensor((1, steps, units), **output_quant, name=name)
        none = -1
        inputs = [x, *weights, *(none,) * 3, *biases, *(none,) * 2, state, cell, *(none,) * 4]
        return self.op("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, out, options=options, intermediates=intermediates)

    def average_pool_2d(self, x: int, **window: Any) -> int:
        """AVERAGE_POOL_2D; kernel, stride, padding, activation, name."""
        return self._pool("AVERAGE_POOL_2D", x, **window)

    def max_pool_2d(self, x: int, **window: Any) -> int:
        """MAX_POOL_2D; kernel, stride, padding, activation, name."""
        return self._pool("MAX_POOL_2D", x, **window)

    def mean(
        self,
        x: int,
        *,
        keep_dims: bool = False,
        axes: Sequence[int] = (1, 2),
        same_quant: bool = False,
        name: str | None = None,
    ) -> int:
        """MEAN over axes, height and width by default."""
        shape = self.shape(x)
        reduced = {axis % len(shape) for axis in axes}
        out_shape = [1 if axis in reduced else n for axis, n in enumerate(shape) if keep_dims or axis not in reduced]
        scale, zero_point = self.quant(x)
        if not same_quant:
            # A mean is narrow: the output is centred near the input's middle so that it does not always saturate.
            ratio = self.rng.uniform(1.0, 4.0)
            zero_point = int(np.clip(zero_point * ratio + self.rng.integers(-60, 61), -128, 127))
            scale = float(np.float32(scale / ratio))
        out = self.tensor(out_shape, scale=scale, zero_point=zero_point, name=name)
        options = schema.ReducerOptionsT()
        options.keepDims = keep_dims
        axis = self.tensor((len(axes),), INT32, data=np.array(axes, np.int32))
        return self.op("MEAN", [x, axis], out, options=options, version=2)

    def add(self, a: int, b: int, *, activation: str = "none", name: str | None = None) -> int:
        """ADD of two tensors."""
        scale = float(np.float32((self.quant(a)[0] + self.quant(b)[0]) * self.rng.uniform(0.4, 1.2)))
        shape = np.broadcast_shapes(self.shape(a), self.shape(b))
        out = self.tensor(shape, scale=scale, zero_point=self.random_zero_point(), name=name)
        options = schema.AddOptionsT()
        options.fusedActivationFunction = _ACTIVATIONS[activation]
        options.potScaleInt16 = False
        return self.op("ADD", [a, b], out, options=options, version=2)

    def pad(self, x: int, paddings: Sequence[tuple[int, int]], *, name: str | None = None) -> int:
        """PAD; one (before, after) for each axis."""
        shape = [n + before + after for n, (before, after) in zip(self.shape(x), paddings, strict=True)]
        scale, zero_point = self.quant(x)
        out = self.tensor(shape, scale=scale, zero_point=zero_point, name=name)
        amounts = self.tensor((len(paddings), 2), INT32, data=np.array(paddings, np.int32))
        return self.op("PAD", [x, amounts], out, options=schema.PadOptionsT(), version=2)

    def reshape(self, x: int, new_shape: Sequence[int], *, name: str | None = None) -> int:
        """RESHAPE to a static shape."""
        scale, zero_point = self.quant(x)
        out = self.tensor(new_shape, scale=scale, zero_point=zero_point, name=name)
        target = self.tensor((len(new_shape),), INT32, data=np.array(new_shape, np.int32))
        options = schema.ReshapeOptionsT()
        options.newShape = list(new_shape)
        return self.op("RESHAPE", [x, target], out, options=options)

    def softmax(self, x: int, *, beta: float = 1.0, name: str | None = "Identity") -> int:
        """SOFTMAX over the last axis."""
        out = self.tensor(self.shape(x), scale=1 / 256, zero_point=-128, name=name)
        options = schema.SoftmaxOptionsT()
        options.beta = beta
        return self.op("SOFTMAX", [x], out, options=options, version=2)

    def dequantize(self, x: int, *, name: str | None = "Identity") -> int:
        """DEQUANTIZE to float32."""
        out = self.tensor(self.shape(x), FLOAT32, name=name)
        return self.op("DEQUANTIZE", [x], out, options=schema.DequantizeOptionsT(), version=2)

    def build(self, *outputs: int) -> bytes:
        """The model's bytes."""
        graph = schema.SubGraphT()
        graph.tensors = self._tensors
        graph.inputs = self._inputs
        graph.outputs = list(outputs)
        graph.operators = self._operators
        graph.name = "main"
        model = schema.ModelT()
        model.version = 3
        model.description = "edgelearn test model"
        model.operatorCodes = self._codes
        model.subgraphs = [graph]
        model.buffers = self._buffers
        packer = flatbuffers.Builder(1024)
        packer.Finish(model.Pack(packer), file_identifier=b"TFL3")
        return bytes(packer.Output())

    # Parts of ops

    def _weights(
        self, shape: tuple[int, ...], axis: int, per_channel: bool, name: str | None
    ) -> tuple[int, np.ndarray]:
        count = shape[axis] if per_channel else 1
        scales = (0.002 * 8 ** self.rng.random(count)).astype(np.float32)
        data = self.rng.integers(-127, 128, shape).astype(np.int8)
        return self.tensor(shape, scale=scales, axis=axis, data=data, name=name and f"{name}/weight"), scales

    def _weighted(
        self,
        code: str,
        x: int,
        weight: int,
        scales: np.ndarray,
        out_shape: Sequence[int],
        taps: int,
        bias: bool,
        options: Any,
        name: str | None,
    ) -> int:
        x_scale, _ = self.quant(x)
        spread = 74.0 * 74.0 * math.sqrt(taps)
        inputs = [x, weight]
        if bias:
            values = self.rng.integers(int(-spread), int(spread) + 1, out_shape[-1]).astype(np.int32)
            inputs.append(
                self.tensor(
                    (out_shape[-1],),
                    INT32,
                    scale=np.float32(x_scale) * scales,
                    data=values,
                    name=name and f"{name}/bias",
                )
            )
        out_scale = float(np.float32(x_scale * float(scales.mean()) * spread / 40 * self.rng.uniform(0.6, 1.5)))
        out = self.tensor(out_shape, scale=out_scale, zero_point=self.random_zero_point(), name=name)
        if not bias and code == "FULLY_CONNECTED":
            inputs.append(-1)  # as TensorFlow's converter writes it; convolutions have two inputs then
        return self.op(code, inputs, out, options=options, version=3)

    def _pool(
        self,
        code: str,
        x: int,
        *,
        kernel: tuple[int, int] = (2, 2),
        stride: tuple[int, int] = (2, 2),
        padding: str = "valid",
        activation: str = "none",
        name: str | None = None,
    ) -> int:
        options = schema.Pool2DOptionsT()
        options.filterHeight, options.filterWidth = kernel
        options.strideH, options.strideW = stride
        options.padding = _PADDINGS[padding]
        options.fusedActivationFunction = _ACTIVATIONS[activation]
        size = _window_output(self.shape(x), kernel, stride, (1, 1), padding)
        scale, zero_point = self.quant(x)
        out = self.tensor((1, *size, self.shape(x)[3]), scale=scale, zero_point=zero_point, name=name)
        return self.op(code, [x], out, options=options, version=2)


def single_op_model(
    op: str,
    *,
    seed: int = 0,
    shape: Sequence[int] = (1, 8, 8, 4),
    input_scale: float | None = None,
    input_zero_point: int | None = None,
    float_edges: bool = False,
    **parameters: Any,
) -> bytes:
    """A model of one op, named as the schema names it, on an int8 input; parameters go to the builder's method.

    ADD adds the input to itself pooled 1x1 with no change of value, so that it has two operands; with
    `other_scale=True` one operand goes through a 1x1 DEPTHWISE_CONV_2D first and so has a quantisation of its own.
    """
    builder = TfliteBuilder(seed)
    x = builder.input(shape, scale=input_scale, zero_point=input_zero_point, float_edge=float_edges)
    if op == "ADD":
        if parameters.pop("other_scale", False):
            other = builder.depthwise_conv_2d(x, kernel=(1, 1))
        else:
            other = builder.max_pool_2d(x, kernel=(1, 1), stride=(1, 1))
        out = builder.add(x, other, **parameters)
    else:
        out = getattr(builder, op.lower())(x, **parameters)
    return builder.build(builder.dequantize(out) if float_edges else out)


def _window_output(
    x: Sequence[int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: str,
) -> tuple[int, int]:
    if padding == "same":
        return math.ceil(x[1] / stride[0]), math.ceil(x[2] / stride[1])
    return (
        (x[1] - (kernel[0] - 1) * dilation[0] - 1) // stride[0] + 1,
        (x[2] - (kernel[1] - 1) * dilation[1] - 1) // stride[1] + 1,
    )
