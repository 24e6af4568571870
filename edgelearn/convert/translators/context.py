"""What every translator works with: the file's tensors, checked, and the graph's tensors as they are defined.

A translator reads an op's tensors through a `Context`, which refuses what edgelearn does not have, and names and
defines what the graph gets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from edgelearn.convert.naming import UniqueNames, op_name
from edgelearn.convert.tflite_file import FileModel, FileOp, FileTensor
from edgelearn.errors import ModelFileError
from edgelearn.ir import Activation, DType, Quant, Tensor, Window, constant

_ACTIVATIONS = {"NONE": Activation.NONE, "RELU": Activation.RELU, "RELU6": Activation.RELU6}


class UnsupportedParameter(Exception):  # noqa: N818 - never leaves the loader
    """A parameter of an op that edgelearn does not have."""


class Context:
    """The file being translated and the tensors of the graph so far.

    Attributes:
        tensors: the graph's tensors by name.
        has_problems: set once an op was refused; the graph is then never built.
    """

    def __init__(self, model: FileModel, layers: Mapping[str, str]) -> None:
        """Begin with no tensors.

        Args:
            model: the file.
            layers: part of a path in the file's names -> name of the layer, see `naming.layers_by_scope`.
        """
        self._layers = layers
        self._model = model
        self._names = UniqueNames()
        self._name_of: dict[int, str] = {}
        self.tensors: dict[str, Tensor] = {}
        self.has_problems = False

    def name_of(self, index: int) -> str | None:
        """The graph's name of a tensor of the file, if it is defined."""
        return self._name_of.get(index)

    def take_name(self, wanted: str) -> str:
        """A unique name."""
        return self._names.take(wanted)

    def file_tensor(self, op: FileOp, position: int) -> FileTensor:
        """The tensor at one of the op's inputs."""
        if position >= len(op.inputs) or op.inputs[position] < 0:
            raise contradiction(op, f"input {position} is missing")
        return self._model.tensors[op.inputs[position]]

    def intermediate(self, op: FileOp, position: int) -> FileTensor:
        """The tensor at one of the op's intermediates."""
        if position >= len(op.intermediates):
            raise contradiction(op, f"intermediate {position} is missing")
        return self._model.tensors[op.intermediates[position]]

    def activation(self, op: FileOp, position: int, *, rank: int | None = None, any_batch: bool = False) -> FileTensor:
        """The int8 activation at an input, checked; of a batch of 1 unless `any_batch`."""
        tensor = self.file_tensor(op, position)
        if tensor.data:
            raise UnsupportedParameter("its input is a constant")
        activation_quant(tensor, "its input")
        if not tensor.shape or (rank is not None and len(tensor.shape) != rank):
            raise UnsupportedParameter(
                f"an input of the shape {tensor.shape}" + (f"; {rank} axes are needed" if rank else "")
            )
        if tensor.shape[0] != 1 and not any_batch:
            raise UnsupportedParameter(f"a batch of {tensor.shape[0]}; export the model with a batch of 1")
        return tensor

    def activation_name(self, op: FileOp, position: int) -> str:
        """The graph's name of the activation at an input."""
        index = op.inputs[position]
        if index not in self._name_of:
            if not self.has_problems:
                raise contradiction(op, f"it reads tensor #{index} before it is written")
            return ""  # its producer was refused; the graph is never built
        return self._name_of[index]

    def output(self, op: FileOp, *, types: tuple[str, ...] = ("INT8",)) -> FileTensor:
        """The only output, checked: an int8 activation, or of other types where these are named."""
        if len(op.outputs) != 1:
            raise contradiction(op, f"it has {len(op.outputs)} outputs")
        return self.outputs(op, types=types)[0]

    def outputs(self, op: FileOp, *, types: tuple[str, ...] = ("INT8",)) -> tuple[FileTensor, ...]:
        """The outputs, checked: int8 activations, or of other types where these are named."""
        outs = tuple(self._model.tensors[n] for n in op.outputs)
        for out in outs:
            if out.type == "INT8" or out.type not in types:
                activation_quant(out, "its output")
            if any(axis != 0 for axis in out.dynamic_axes):
                raise UnsupportedParameter("an output of dynamic shape; export the model with a fixed one")
        return outs

    def constant(self, op: FileOp, position: int, type_: str, *, rank: int) -> FileTensor:
        """The constant at an input, checked."""
        tensor = self.file_tensor(op, position)
        what = {1: "weights", 2: "bias"}.get(position, f"input {position}")
        if not tensor.data or tensor.is_variable:
            raise UnsupportedParameter(f"{what} that are not constant")
        if tensor.is_sparse:
            raise UnsupportedParameter(f"sparse {what}; convert without sparsity")
        if tensor.type != type_:
            raise UnsupportedParameter(f"{what} of {tensor.type.lower()}; {type_.lower()} is needed")
        if len(tensor.shape) != rank:
            raise contradiction(op, f"{what} of the shape {tensor.shape}")
        if len(tensor.data) != math.prod(tensor.shape) * (1 if type_ == "INT8" else 4):
            raise contradiction(op, f"{what} of {len(tensor.data)} bytes for the shape {tensor.shape}")
        return tensor

    def integers(self, op: FileOp, position: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
        """The values of a constant of axes or amounts."""
        tensor = self.file_tensor(op, position)
        if not tensor.data or tensor.type not in ("INT32", "INT64"):
            raise UnsupportedParameter("axes or amounts that are not constant")
        dtype = np.dtype("<i4" if tensor.type == "INT32" else "<i8")
        if len(tensor.data) % dtype.itemsize:
            raise contradiction(op, f"{len(tensor.data)} bytes of {tensor.type.lower()}")
        return np.frombuffer(tensor.data, dtype=dtype).astype(np.int64)

    def bias(self, op: FileOp, name: str, channels: int, weight_quant: Quant, *, x: int = 0, position: int = 2) -> str:
        """Define the int32 bias at an input, zeros where there is none, for the activation `x`; returns its name."""
        x_quant = activation_quant(self.file_tensor(op, x), "its input")
        scale = tuple(float(np.float32(x_quant.scale[0]) * np.float32(s)) for s in weight_quant.scale)
        if not all(s > 0.0 for s in scale):
            raise contradiction(op, "its scales are too small")
        quant = Quant(scale=scale, zero_point=(0,) * len(scale), axis=0 if len(scale) > 1 else None)
        if len(op.inputs) <= position or op.inputs[position] < 0:
            tensor_name = self._names.take(f"{name}_bias")
            self.tensors[tensor_name] = constant(tensor_name, np.zeros(channels, np.int32), quant=quant)
            return tensor_name
        bias = self.file_tensor(op, position)
        if bias.type == "INT64":
            raise UnsupportedParameter("a bias of int64; int32 is needed")
        bias = self.constant(op, position, "INT32", rank=len(bias.shape))
        if math.prod(bias.shape) != channels:
            raise contradiction(op, f"bias of the shape {bias.shape} for {channels} channels")
        return self.define_constant(name, "bias", bias, quant, shape=(channels,))

    def is_output(self, index: int) -> bool:
        """Whether a tensor of the file is an output of the model."""
        return index in self._model.outputs

    def readers(self, index: int) -> tuple[FileOp, ...]:
        """The ops that read a tensor of the file."""
        return tuple(op for op in self._model.ops if index in op.inputs)

    def name_op(self, op: FileOp, out: FileTensor, weight: FileTensor | None = None) -> str:
        """A unique name for the op."""
        return self._names.take(op_name(op.code, out.name, weight.name if weight else "", layers=self._layers))

    def define_output(self, op: FileOp, name: str, out: FileTensor) -> str:
        """Add the output to the graph under the op's name."""
        if out.index in self._name_of or out.data:
            raise contradiction(op, f"it writes tensor #{out.index}, which is already written")
        return self.define(name, out, activation_quant(out, "its output") if out.type == "INT8" else None)

    def define_constant(
        self, op_name_: str, role: str, tensor: FileTensor, quant: Quant, *, shape: tuple[int, ...] | None = None
    ) -> str:
        """Add a constant to the graph, once; returns its name."""
        known = self._name_of.get(tensor.index)
        if known is not None and self.tensors[known].quant == quant:
            return known
        return self.define(self._names.take(f"{op_name_}_{role}"), tensor, quant, shape=shape)

    def define(
        self, name: str, tensor: FileTensor, quant: Quant | None, *, shape: tuple[int, ...] | None = None
    ) -> str:
        """Add a tensor of the file to the graph under a name."""
        self.tensors[name] = Tensor(
            name=name,
            shape=shape or tensor.shape,
            dtype=DType(tensor.type.lower()),
            quant=quant,
            data=tensor.data or None,
            source_index=tensor.index if tensor.is_in_file else None,
        )
        self._name_of[tensor.index] = name
        return name


def contradiction(op: FileOp, cause: str) -> ModelFileError:
    """The error for an op that contradicts itself."""
    return ModelFileError(
        "the .tflite file contradicts itself",
        cause=f"{op.code} (op #{op.index}): {cause}",
        hint="export the model again",
    )


def activation_quant(tensor: FileTensor, what: str) -> Quant:
    """The one scale and zero point of an int8 activation."""
    if tensor.type != "INT8":
        raise UnsupportedParameter(
            f"{what} is {tensor.type.lower()}, not int8; quantise the whole model to int8, and replace what the "
            "converter leaves in float"
        )
    quant = tensor.quant
    if quant is None or len(quant.scale) != 1 or len(quant.zero_point) > 1:
        raise UnsupportedParameter(f"{what} has no single scale and zero point; quantise activations per tensor")
    zero_point = quant.zero_point[0] if quant.zero_point else 0
    if not quant.scale[0] > 0.0 or not -128 <= zero_point <= 127:
        raise ModelFileError(
            "the .tflite file contradicts itself",
            cause=f"tensor #{tensor.index} has the scale {quant.scale[0]} and the zero point {zero_point}",
            hint="export the model again",
        )
    return Quant(scale=quant.scale, zero_point=(zero_point,))


def weight_quant(op: FileOp, weight: FileTensor, *, axis: int) -> Quant:
    """The scales of int8 weights, one or one for each slice along an axis."""
    quant = weight.quant
    if quant is None or not all(s > 0.0 for s in quant.scale):
        raise contradiction(op, "weights without scales")
    if any(quant.zero_point):
        raise UnsupportedParameter("weights with a zero point; quantise them symmetrically")
    if len(quant.scale) not in (1, weight.shape[axis]) or (len(quant.scale) > 1 and quant.axis != axis):
        raise UnsupportedParameter("weights with scales along another axis than the output channels")
    zero_points = (0,) * len(quant.scale)
    return Quant(scale=quant.scale, zero_point=zero_points, axis=axis if len(quant.scale) > 1 else None)


def require_same_quant(x: FileTensor, out: FileTensor) -> None:
    """Refuse an op that ought not to requantise but does."""
    if activation_quant(x, "its input") != activation_quant(out, "its output"):
        raise UnsupportedParameter(
            "input and output differ in scale or zero point; convert again with TensorFlow's converter"
        )


def fused_activation(op: FileOp) -> Activation:
    """The fused activation of the op's options."""
    name = op.word("FusedActivationFunction", "NONE")
    activation = _ACTIVATIONS.get(name)
    if activation is None:
        raise UnsupportedParameter(f"the fused activation {name}; use ReLU or ReLU6")
    return activation


def window(op: FileOp, x: FileTensor, kernel: tuple[int, int]) -> Window:
    """The window of an op's options over its input, SAME and VALID made explicit."""
    strides = (op.number("StrideH", 1), op.number("StrideW", 1))
    dilations = (op.number("DilationHFactor", 1), op.number("DilationWFactor", 1))
    if min(*kernel, *strides, *dilations) < 1:
        raise contradiction(op, f"kernel {kernel}, strides {strides}, dilations {dilations}")
    before, after = [0, 0], [0, 0]
    if op.word("Padding", "VALID") == "SAME":
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
