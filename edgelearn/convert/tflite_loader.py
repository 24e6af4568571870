"""From the bytes of an int8 `.tflite` to a Graph, or one error that names everything that stands in the way.

Edges are stripped (the graph begins and ends with int8), SAME and VALID become explicit padding, missing biases become
zeros, and ops that only compute the shape of a RESHAPE vanish because shapes are static.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from edgelearn.convert.naming import UniqueNames, layer_name, op_name, tensor_name
from edgelearn.convert.tflite_file import FileModel, FileOp, FileTensor, read_tflite
from edgelearn.errors import GraphError, ModelFileError, NotQuantizedError, UnsupportedOpError
from edgelearn.ir import (
    Activation,
    Add,
    AnyOp,
    AveragePool2D,
    Conv2D,
    DepthwiseConv2D,
    DType,
    FullyConnected,
    Graph,
    MaxPool2D,
    Mean,
    Pad,
    Quant,
    Reshape,
    Softmax,
    Tensor,
    Window,
    constant,
    verify,
)

_ACTIVATIONS = {"NONE": Activation.NONE, "RELU": Activation.RELU, "RELU6": Activation.RELU6}
#: What to do about ops that people meet most.
_ADVICE = {
    "MUL": "scale the data before the model; a BatchNormalization must directly follow its convolution or dense layer",
    "SUB": "scale the data before it enters the model",
    "QUANTIZE": "requantisation inside the model; let one converter quantise the whole model",
    "DEQUANTIZE": "part of the model is still float; quantise it in full-integer mode",
    "RELU": "let the activation directly follow a convolution, dense layer or addition",
    "RELU6": "let the activation directly follow a convolution, dense layer or addition",
    "LEAKY_RELU": "use ReLU",
    "PRELU": "use ReLU",
    "HARD_SWISH": "use ReLU or ReLU6",
    "LOGISTIC": "use ReLU inside the model, and softmax over two outputs or more at its end",
    "TANH": "use ReLU",
    "TRANSPOSE": "export the model with channels last",
    "PADV2": "pad with zeros",
    "REDUCE_MAX": "use max pooling over the whole size, then flatten",
    "SQUEEZE": "use a reshape",
    "EXPAND_DIMS": "use a reshape",
}


class _Unsupported(Exception):  # noqa: N818 - never leaves this module
    """A parameter of an op that edgelearn does not have."""


def load_tflite(data: bytes, *, name: str, layers: Mapping[str, str] | None = None) -> Graph:
    """Read an int8 `.tflite` into a verified graph.

    Args:
        data: the bytes of the file.
        name: the graph's name.
        layers: part of a path in the file's names -> name of the layer, see `naming.layers_by_scope`.

    Raises:
        ModelFileError: the bytes are no `.tflite`, are damaged, or contradict themselves.
        NotQuantizedError: its activations are not int8.
        UnsupportedOpError: naming every op and every parameter that is not supported.
        MissingPackageError: the `tflite` schema package is not installed.
    """
    model = read_tflite(data)
    graph = _Loader(model, name, layers or {}).graph()
    try:
        return verify(graph, after="load")
    except (GraphError, IndexError) as error:
        raise ModelFileError(
            "the .tflite file contradicts itself", cause=str(error), hint="export the model again"
        ) from error


class _Loader:
    def __init__(self, model: FileModel, name: str, layers: Mapping[str, str]) -> None:
        self._layers = layers
        self._model = model
        self._name = name
        self._problems: list[tuple[str, str]] = []  # what is not supported, and why
        self._advice: dict[str, str] = {}
        self._names = UniqueNames()
        self._tensors: dict[str, Tensor] = {}
        self._name_of: dict[int, str] = {}
        self._translators: dict[str, Callable[[FileOp], AnyOp]] = {
            "CONV_2D": self._conv_2d,
            "DEPTHWISE_CONV_2D": self._depthwise_conv_2d,
            "FULLY_CONNECTED": self._fully_connected,
            "AVERAGE_POOL_2D": self._average_pool_2d,
            "MAX_POOL_2D": self._max_pool_2d,
            "MEAN": self._mean,
            "ADD": self._add,
            "PAD": self._pad,
            "RESHAPE": self._reshape,
            "SOFTMAX": self._softmax,
        }

    def graph(self) -> Graph:
        if not self._model.inputs or not self._model.outputs:
            raise ModelFileError("the model has no input or no output", hint="export the model again")
        live = self._live_ops()
        self._require_int8(live)
        if len(self._model.inputs) != 1 or len(self._model.outputs) != 1:
            raise several_ends(len(self._model.inputs), len(self._model.outputs))
        input_index, output_index, inner = self._without_edges(live)
        if not inner:
            raise ModelFileError("the model has no ops")
        self._add_input(self._model.tensors[input_index])
        ops = [op for file_op in inner if (op := self._translated(file_op)) is not None]
        if self._problems:
            raise self._unsupported()
        if output_index not in self._name_of:
            raise ModelFileError("the .tflite file contradicts itself", cause="nothing computes the output")
        return Graph(
            name=self._name,
            tensors=tuple(self._tensors.values()),
            ops=tuple(ops),
            inputs=(self._name_of[input_index],),
            outputs=(self._name_of[output_index],),
        )

    # The whole graph

    def _live_ops(self) -> list[FileOp]:
        """The ops whose results reach the output as values, in order; what only computes shapes is left out."""
        needed = set(self._model.outputs)
        live = []
        for op in reversed(self._model.ops):
            if needed.isdisjoint(op.outputs):
                continue
            live.append(op)
            needed.update(op.inputs[:1] if op.code == "RESHAPE" else op.inputs)
        return live[::-1]

    def _require_int8(self, live: list[FileOp]) -> None:
        tensors = self._model.tensors
        types = {tensors[n].type for op in live for n in op.outputs}
        types.update(tensors[n].type for n in self._model.inputs)
        if "INT8" not in types:
            found = ", ".join(sorted(t.lower() for t in types))
            raise NotQuantizedError(
                "the .tflite model is not int8",
                cause=f"its activations are {found}",
                hint="convert the Keras model or SavedModel it was made from with edgelearn (--calibration FILE.npz), "
                "or quantise it in full-integer mode",
            )

    def _without_edges(self, live: list[FileOp]) -> tuple[int, int, list[FileOp]]:
        """The int8 input and output behind a QUANTIZE and before a DEQUANTIZE, and the ops between."""
        tensors = self._model.tensors
        input_index, output_index = self._model.inputs[0], self._model.outputs[0]
        inner = list(live)
        if tensors[input_index].type == "FLOAT32":
            readers = [op for op in live if input_index in op.inputs]
            if len(readers) == 1 and readers[0].code == "QUANTIZE" and len(readers[0].outputs) == 1:
                if tensors[readers[0].outputs[0]].shape != tensors[input_index].shape:
                    raise _contradiction(readers[0], "input and output differ in shape")
                input_index = readers[0].outputs[0]
                inner.remove(readers[0])
        if tensors[output_index].type == "FLOAT32":
            writers = [op for op in live if output_index in op.outputs]
            if len(writers) == 1 and writers[0].code == "DEQUANTIZE" and len(writers[0].inputs) == 1:
                output_index = writers[0].inputs[0]
                inner.remove(writers[0])
        return input_index, output_index, inner

    def _add_input(self, tensor: FileTensor) -> None:
        try:
            quant = _activation_quant(tensor, "the input")
        except _Unsupported as problem:
            self._problems.append((str(problem), ""))
            quant = Quant(scale=(1.0,), zero_point=(0,))
        if any(axis != 0 for axis in tensor.dynamic_axes):
            raise ModelFileError(
                "the model's input has a dynamic shape, edgelearn needs a fixed one",
                hint="export the model with an input of fixed shape",
            )
        if tensor.shape and tensor.shape[0] != 1:
            raise ModelFileError(
                f"the model takes a batch of {tensor.shape[0]} samples, edgelearn takes one at a time",
                hint="export the model with a batch of 1",
            )
        self._define(self._names.take(tensor_name(tensor.name)), tensor, quant)

    def _translated(self, op: FileOp) -> AnyOp | None:
        translate = self._translators.get(op.code)
        if translate is None:
            self._problems.append((self._title(op), ""))
            if op.code in _ADVICE:
                self._advice[op.code] = _ADVICE[op.code]
            return None
        try:
            return translate(op)
        except _Unsupported as problem:
            self._problems.append((self._title(op), str(problem)))
            return None

    def _title(self, op: FileOp) -> str:
        """The op with its number and, where the file tells, its layer."""
        name = layer_name(self._model.tensors[op.outputs[0]].name, self._layers) if op.outputs else ""
        return f"{op.code} (op #{op.index})" + (f" in {name}" if name else "")

    def _unsupported(self) -> UnsupportedOpError:
        """One error for all problems; the same reason or advice stands in it once, behind all it is for."""
        titles: dict[str, list[str]] = {}
        for title, reason in self._problems:
            titles.setdefault(reason, []).append(title)
        plain = titles.pop("", [])
        ops = []
        for reason, of_reason in titles.items():
            ops += [*of_reason[:-1], f"{of_reason[-1]}: {reason}"]
        hint = ""
        if self._advice:
            advice = "; ".join(f"{code}: {text}" for code, text in self._advice.items())
            hint = f"{advice}; or cut the model before these layers and convert again"
        return UnsupportedOpError((*ops, *plain), hint=hint)

    # Ops

    def _conv_2d(self, op: FileOp) -> AnyOp:
        x, weight = self._activation(op, 0, rank=4), self._constant(op, 1, "INT8", rank=4)
        out = self._output(op)
        if weight.shape[3] != x.shape[3]:
            if weight.shape[3] and x.shape[3] % weight.shape[3] == 0:
                raise _Unsupported(
                    f"a grouped convolution of {x.shape[3] // weight.shape[3]} groups; use a separable or a full one"
                )
            raise _contradiction(op, f"weight {weight.shape} does not fit input {x.shape}")
        name = self._name_op(op, out, weight)
        quant = _weight_quant(op, weight, axis=0)
        return Conv2D(
            name=name,
            inputs=(
                self._activation_name(op, 0),
                self._define_constant(name, "weight", weight, quant),
                self._bias(op, name, weight.shape[0], quant),
            ),
            outputs=(self._define_output(op, name, out),),
            index=op.index,
            window=_window(op, x, (weight.shape[1], weight.shape[2])),
            activation=_activation(op),
        )

    def _depthwise_conv_2d(self, op: FileOp) -> AnyOp:
        x, weight = self._activation(op, 0, rank=4), self._constant(op, 1, "INT8", rank=4)
        out = self._output(op)
        if x.shape[3] < 1 or weight.shape[0] != 1 or weight.shape[3] % x.shape[3]:
            raise _contradiction(op, f"weight {weight.shape} does not fit input {x.shape}")
        name = self._name_op(op, out, weight)
        quant = _weight_quant(op, weight, axis=3)
        return DepthwiseConv2D(
            name=name,
            inputs=(
                self._activation_name(op, 0),
                self._define_constant(name, "weight", weight, quant),
                self._bias(op, name, weight.shape[3], quant),
            ),
            outputs=(self._define_output(op, name, out),),
            index=op.index,
            window=_window(op, x, (weight.shape[1], weight.shape[2])),
            multiplier=weight.shape[3] // x.shape[3],
            activation=_activation(op),
        )

    def _fully_connected(self, op: FileOp) -> AnyOp:
        x, weight = self._activation(op, 0), self._constant(op, 1, "INT8", rank=2)
        out = self._output(op)
        if op.options.weights_format != 0:
            raise _Unsupported("shuffled weights; convert without them")
        if math.prod(x.shape) != weight.shape[1]:
            if len(x.shape) > 2 and x.shape[-1] == weight.shape[1]:
                raise _Unsupported(f"a dense layer on the last axis of {x.shape}; flatten its input first")
            raise _contradiction(op, f"weight {weight.shape} does not fit input {x.shape}")
        name = self._name_op(op, out, weight)
        quant = _weight_quant(op, weight, axis=0)
        return FullyConnected(
            name=name,
            inputs=(
                self._activation_name(op, 0),
                self._define_constant(name, "weight", weight, quant),
                self._bias(op, name, weight.shape[0], quant),
            ),
            outputs=(self._define_output(op, name, out),),
            index=op.index,
            activation=_activation(op),
        )

    def _average_pool_2d(self, op: FileOp) -> AnyOp:
        name, source, output, window = self._pool(op)
        return AveragePool2D(
            name=name, inputs=(source,), outputs=(output,), index=op.index, window=window, activation=_activation(op)
        )

    def _max_pool_2d(self, op: FileOp) -> AnyOp:
        name, source, output, window = self._pool(op)
        return MaxPool2D(
            name=name, inputs=(source,), outputs=(output,), index=op.index, window=window, activation=_activation(op)
        )

    def _pool(self, op: FileOp) -> tuple[str, str, str, Window]:
        x, out = self._activation(op, 0, rank=4), self._output(op)
        _require_same_quant(x, out)
        _activation(op)
        window = _window(op, x, (op.options.kernel_h, op.options.kernel_w))
        name = self._name_op(op, out)
        return name, self._activation_name(op, 0), self._define_output(op, name, out), window

    def _mean(self, op: FileOp) -> AnyOp:
        x, out = self._activation(op, 0), self._output(op)
        axes = {int(axis) % max(len(x.shape), 1) for axis in self._integers(op, 1)}
        if len(x.shape) != 4 or axes != {1, 2}:
            listed = ", ".join(str(axis) for axis in sorted(axes))
            raise _Unsupported(
                f"a mean over the axes {listed} of {x.shape}; only height and width of images can be averaged, "
                "elsewhere use average pooling over the whole length"
            )
        name = self._name_op(op, out)
        return Mean(
            name=name,
            inputs=(self._activation_name(op, 0),),
            outputs=(self._define_output(op, name, out),),
            index=op.index,
            keep_dims=bool(op.options.keep_dims),
        )

    def _add(self, op: FileOp) -> AnyOp:
        for position in (0, 1):
            if self._file_tensor(op, position).data:
                raise _Unsupported("a constant operand; use the bias of a layer instead")
        a, b, out = self._activation(op, 0), self._activation(op, 1), self._output(op)
        if a.shape != b.shape:
            raise _Unsupported(f"operands of different shapes, {a.shape} and {b.shape}")
        name = self._name_op(op, out)
        return Add(
            name=name,
            inputs=(self._activation_name(op, 0), self._activation_name(op, 1)),
            outputs=(self._define_output(op, name, out),),
            index=op.index,
            activation=_activation(op),
        )

    def _pad(self, op: FileOp) -> AnyOp:
        x, out = self._activation(op, 0), self._output(op)
        amounts = self._integers(op, 1).reshape(-1)
        if len(x.shape) != 4 or len(amounts) != 8 or amounts[[0, 1, 6, 7]].any():
            raise _Unsupported("padding of other axes than height and width")
        if (amounts < 0).any():
            raise _Unsupported("negative padding")
        _require_same_quant(x, out)
        name = self._name_op(op, out)
        return Pad(
            name=name,
            inputs=(self._activation_name(op, 0),),
            outputs=(self._define_output(op, name, out),),
            index=op.index,
            pad_top=int(amounts[2]),
            pad_bottom=int(amounts[3]),
            pad_left=int(amounts[4]),
            pad_right=int(amounts[5]),
        )

    def _reshape(self, op: FileOp) -> AnyOp:
        x, out = self._activation(op, 0), self._output(op)
        _require_same_quant(x, out)
        name = self._name_op(op, out)
        return Reshape(
            name=name,
            inputs=(self._activation_name(op, 0),),
            outputs=(self._define_output(op, name, out),),
            index=op.index,
        )

    def _softmax(self, op: FileOp) -> AnyOp:
        self._activation(op, 0)
        out = self._output(op)
        quant = _activation_quant(out, "its output")
        if quant.scale != (1 / 256,) or quant.zero_point != (-128,):
            raise _Unsupported("an output that is not in steps of 1/256 from -128, as the int8 specification has it")
        if not 1e-3 <= op.options.beta <= 1e3:
            raise _Unsupported(f"a beta of {op.options.beta}")
        name = self._name_op(op, out)
        return Softmax(
            name=name,
            inputs=(self._activation_name(op, 0),),
            outputs=(self._define_output(op, name, out),),
            index=op.index,
            beta=float(op.options.beta),
        )

    # Tensors of an op

    def _file_tensor(self, op: FileOp, position: int) -> FileTensor:
        if position >= len(op.inputs) or op.inputs[position] < 0:
            raise _contradiction(op, f"input {position} is missing")
        return self._model.tensors[op.inputs[position]]

    def _activation(self, op: FileOp, position: int, *, rank: int | None = None) -> FileTensor:
        tensor = self._file_tensor(op, position)
        if tensor.data:
            raise _Unsupported("its input is a constant")
        _activation_quant(tensor, "its input")
        if not tensor.shape or (rank is not None and len(tensor.shape) != rank):
            raise _Unsupported(f"an input of the shape {tensor.shape}" + (f"; {rank} axes are needed" if rank else ""))
        if tensor.shape[0] != 1 and op.code != "RESHAPE":
            raise _Unsupported(f"a batch of {tensor.shape[0]}; export the model with a batch of 1")
        return tensor

    def _activation_name(self, op: FileOp, position: int) -> str:
        index = op.inputs[position]
        if index not in self._name_of:
            if not self._problems:
                raise _contradiction(op, f"it reads tensor #{index} before it is written")
            return ""  # its producer was refused; the graph is never built
        return self._name_of[index]

    def _output(self, op: FileOp) -> FileTensor:
        if len(op.outputs) != 1:
            raise _contradiction(op, f"it has {len(op.outputs)} outputs")
        out = self._model.tensors[op.outputs[0]]
        _activation_quant(out, "its output")
        if any(axis != 0 for axis in out.dynamic_axes):
            raise _Unsupported("an output of dynamic shape; export the model with a fixed one")
        return out

    def _constant(self, op: FileOp, position: int, type_: str, *, rank: int) -> FileTensor:
        tensor = self._file_tensor(op, position)
        what = ("input", "weights", "bias")[position]
        if not tensor.data or tensor.is_variable:
            raise _Unsupported(f"{what} that are not constant")
        if tensor.is_sparse:
            raise _Unsupported(f"sparse {what}; convert without sparsity")
        if tensor.type != type_:
            raise _Unsupported(f"{what} of {tensor.type.lower()}; {type_.lower()} is needed")
        if len(tensor.shape) != rank:
            raise _contradiction(op, f"{what} of the shape {tensor.shape}")
        if len(tensor.data) != math.prod(tensor.shape) * (1 if type_ == "INT8" else 4):
            raise _contradiction(op, f"{what} of {len(tensor.data)} bytes for the shape {tensor.shape}")
        return tensor

    def _integers(self, op: FileOp, position: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
        tensor = self._file_tensor(op, position)
        if not tensor.data or tensor.type not in ("INT32", "INT64"):
            raise _Unsupported("axes or amounts that are not constant")
        dtype = np.dtype("<i4" if tensor.type == "INT32" else "<i8")
        if len(tensor.data) % dtype.itemsize:
            raise _contradiction(op, f"{len(tensor.data)} bytes of {tensor.type.lower()}")
        return np.frombuffer(tensor.data, dtype=dtype).astype(np.int64)

    def _bias(self, op: FileOp, name: str, channels: int, weight_quant: Quant) -> str:
        x_quant = _activation_quant(self._file_tensor(op, 0), "its input")
        scale = tuple(float(np.float32(x_quant.scale[0]) * np.float32(s)) for s in weight_quant.scale)
        if not all(s > 0.0 for s in scale):
            raise _contradiction(op, "its scales are too small")
        quant = Quant(scale=scale, zero_point=(0,) * len(scale), axis=0 if len(scale) > 1 else None)
        if len(op.inputs) < 3 or op.inputs[2] < 0:
            tensor_name = self._names.take(f"{name}_bias")
            self._tensors[tensor_name] = constant(tensor_name, np.zeros(channels, np.int32), quant=quant)
            return tensor_name
        bias = self._file_tensor(op, 2)
        if bias.type == "INT64":
            raise _Unsupported("a bias of int64; int32 is needed")
        bias = self._constant(op, 2, "INT32", rank=len(bias.shape))
        if math.prod(bias.shape) != channels:
            raise _contradiction(op, f"bias of the shape {bias.shape} for {channels} channels")
        return self._define_constant(name, "bias", bias, quant, shape=(channels,))

    # Names

    def _name_op(self, op: FileOp, out: FileTensor, weight: FileTensor | None = None) -> str:
        return self._names.take(op_name(op.code, out.name, weight.name if weight else "", layers=self._layers))

    def _define_output(self, op: FileOp, name: str, out: FileTensor) -> str:
        if out.index in self._name_of or out.data:
            raise _contradiction(op, f"it writes tensor #{out.index}, which is already written")
        return self._define(name, out, _activation_quant(out, "its output"))

    def _define_constant(
        self, op_name_: str, role: str, tensor: FileTensor, quant: Quant, *, shape: tuple[int, ...] | None = None
    ) -> str:
        known = self._name_of.get(tensor.index)
        if known is not None and self._tensors[known].quant == quant:
            return known
        return self._define(self._names.take(f"{op_name_}_{role}"), tensor, quant, shape=shape)

    def _define(self, name: str, tensor: FileTensor, quant: Quant, *, shape: tuple[int, ...] | None = None) -> str:
        self._tensors[name] = Tensor(
            name=name,
            shape=shape or tensor.shape,
            dtype=DType.INT32 if tensor.type == "INT32" else DType.INT8,
            quant=quant,
            data=tensor.data or None,
            source_index=tensor.index,
        )
        self._name_of[tensor.index] = name
        return name


def several_ends(inputs: int, outputs: int) -> ModelFileError:
    """The error for a model that has not one input and one output."""
    counted = " and ".join(
        f"{count} {word}{'' if count == 1 else 's'}" for count, word in ((inputs, "input"), (outputs, "output"))
    )
    return ModelFileError(
        f"the model has {counted}, edgelearn takes one of each",
        hint="cut the model to one input and one output, keras.Model(input, output), and convert again",
    )


def _contradiction(op: FileOp, cause: str) -> ModelFileError:
    return ModelFileError(
        "the .tflite file contradicts itself",
        cause=f"{op.code} (op #{op.index}): {cause}",
        hint="export the model again",
    )


def _activation_quant(tensor: FileTensor, what: str) -> Quant:
    if tensor.type != "INT8":
        raise _Unsupported(f"{what} is {tensor.type.lower()}, not int8; quantise the whole model to int8")
    quant = tensor.quant
    if quant is None or len(quant.scale) != 1 or len(quant.zero_point) > 1:
        raise _Unsupported(f"{what} has no single scale and zero point; quantise activations per tensor")
    zero_point = quant.zero_point[0] if quant.zero_point else 0
    if not quant.scale[0] > 0.0 or not -128 <= zero_point <= 127:
        raise ModelFileError(
            "the .tflite file contradicts itself",
            cause=f"tensor #{tensor.index} has the scale {quant.scale[0]} and the zero point {zero_point}",
            hint="export the model again",
        )
    return Quant(scale=quant.scale, zero_point=(zero_point,))


def _weight_quant(op: FileOp, weight: FileTensor, *, axis: int) -> Quant:
    quant = weight.quant
    if quant is None or not all(s > 0.0 for s in quant.scale):
        raise _contradiction(op, "weights without scales")
    if any(quant.zero_point):
        raise _Unsupported("weights with a zero point; quantise them symmetrically")
    if len(quant.scale) not in (1, weight.shape[axis]) or (len(quant.scale) > 1 and quant.axis != axis):
        raise _Unsupported("weights with scales along another axis than the output channels")
    zero_points = (0,) * len(quant.scale)
    return Quant(scale=quant.scale, zero_point=zero_points, axis=axis if len(quant.scale) > 1 else None)


def _require_same_quant(x: FileTensor, out: FileTensor) -> None:
    if _activation_quant(x, "its input") != _activation_quant(out, "its output"):
        raise _Unsupported("input and output differ in scale or zero point; convert again with TensorFlow's converter")


def _activation(op: FileOp) -> Activation:
    activation = _ACTIVATIONS.get(op.options.activation)
    if activation is None:
        raise _Unsupported(f"the fused activation {op.options.activation}; use ReLU or ReLU6")
    return activation


def _window(op: FileOp, x: FileTensor, kernel: tuple[int, int]) -> Window:
    options = op.options
    strides, dilations = (options.stride_h, options.stride_w), (options.dilation_h, options.dilation_w)
    if min(*kernel, *strides, *dilations) < 1:
        raise _contradiction(op, f"kernel {kernel}, strides {strides}, dilations {dilations}")
    before, after = [0, 0], [0, 0]
    if options.padding == "SAME":
        for i, size in enumerate(x.shape[1:3]):
            outputs = -(-size // strides[i])
            extent = (kernel[i] - 1) * dilations[i] + 1
            total = max((outputs - 1) * strides[i] + extent - size, 0)
            before[i], after[i] = total // 2, total - total // 2
    return Window(
        kernel_h=kernel[0],
        kernel_w=kernel[1],
        stride_h=strides[0],
        stride_w=strides[1],
        dilation_h=dilations[0],
        dilation_w=dilations[1],
        pad_top=before[0],
        pad_bottom=after[0],
        pad_left=before[1],
        pad_right=after[1],
    )
