"""Float Keras models and SavedModels: loaded, run and quantised to full int8 by TensorFlow's converter.

TensorFlow is imported only when a float model is loaded. The model is traced with a batch of one and frozen, so that
the result has no dynamic shapes and the same input gives the same bytes.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgelearn.convert.head import FloatParameter
from edgelearn.convert.lstm import fuse_lstm, repair_lstm
from edgelearn.convert.naming import layers_by_scope, tensor_name
from edgelearn.convert.quiet import captured_output
from edgelearn.convert.tflite_loader import unknown_ops
from edgelearn.errors import EdgelearnError, MissingPackageError, ModelFileError, UnsupportedOpError
from edgelearn.ir.edges import Edges

if TYPE_CHECKING:
    import numpy.typing as npt

_PURPOSE = "converting a float model"
#: TensorFlow's ops of loops, branches and lists.
_CONTROL_FLOW = frozenset(
    {
        "While",
        "StatelessWhile",
        "If",
        "StatelessIf",
        "Case",
        "StatelessCase",
        "TensorListReserve",
        "TensorListFromTensor",
    }
)
#: What the converter writes for a loop and its lists.
_OF_LOOPS = frozenset({"WHILE", "IF", "TensorListReserve", "TensorListFromTensor", "TensorListStack"})
#: An LSTM's loop and its one op are compared on so many samples.
_COMPARED_SAMPLES = 8


class FloatModel:
    """A float model with float32 inputs, traced for a batch of one.

    Attributes:
        inputs: name, as the graph will have it, and shape, without the batch, of each input.
        parameters: its kernels, biases and other weights, with the layers they belong to.
        layers: part of a TensorFlow path -> name of the layer, see `naming.layers_by_scope`.
        size_bytes: bytes of all its weights in float32.
    """

    def __init__(
        self,
        tensorflow: Any,
        call: Callable[[Any], Any],
        *,
        inputs: Sequence[tuple[str, tuple[int, ...]]],
        variables: list[tuple[str, npt.NDArray[Any]]],
        layer_names: list[str],
    ) -> None:
        """Trace and freeze; `load_float_model` is the way to make one.

        Args:
            tensorflow: the module.
            call: from a tensor [1, *shape] for each input to the outputs, in any structure.
            inputs: name and shape of a sample of each input.
            variables: path and value of each weight.
            layer_names: names of the layers.

        Raises:
            UnsupportedOpError: the model holds loops or branches other than those of LSTM layers.
        """
        from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

        self._tensorflow = tensorflow
        specs = [
            tensorflow.TensorSpec((1, *shape), tensorflow.float32, name=_graph_name(name)) for name, shape in inputs
        ]
        concrete = tensorflow.function(call, autograph=False).get_concrete_function(*specs)
        self._frozen = convert_variables_to_constants_v2(concrete, lower_control_flow=False)
        self.inputs = tuple((tensor_name(_graph_name(name)), shape) for name, shape in inputs)
        self.parameters = tuple(
            FloatParameter(layer=_layer_of(path), values=value.astype(np.float32)) for path, value in variables
        )
        self.size_bytes = sum(parameter.values.nbytes for parameter in self.parameters)
        scopes = {part for op in self._frozen.graph.get_operations() for part in op.name.split("/")[:-1]}
        self.layers = layers_by_scope(scopes, layer_names)
        self._fused = self._with_fused_lstm()

    def _with_fused_lstm(self) -> Any | None:
        """The traced function with an op for each LSTM layer; None where there are no loops or branches."""
        if not _control_flow(self._frozen.graph.get_operations()):
            return None
        from tensorflow.python.eager.wrap_function import function_from_graph_def

        outputs = [tensor.name for tensor in self._frozen.outputs]
        fused = fuse_lstm(self._tensorflow, self._frozen.graph, tuple(name.partition(":")[0] for name in outputs))
        named = [(scope.rpartition("/")[2], reason) for scope, reason in fused.refused]
        loops = [f"{self.layers.get(scope, scope)}: {reason}" for scope, reason in named]
        left = loops or _control_flow(fused.definition.node)
        if left:  # the converter may end the whole process on these
            others = [op for op in self._unknown_ops() if op.partition(" ")[0] not in _OF_LOOPS]
            raise UnsupportedOpError(
                (*left, *others),
                hint="of recurrent layers and loops only LSTM layers as Keras makes them can be converted: tanh and "
                "sigmoid, no mask, no initial state; or give the layer unroll=True, or use convolutions over time",
            )
        function = function_from_graph_def(fused.definition, [tensor.name for tensor in self._frozen.inputs], outputs)
        for tensor, (_, shape) in zip(function.inputs, self.inputs, strict=True):
            tensor.set_shape((1, *shape))
        return function

    def predict(self, inputs: Sequence[npt.NDArray[np.float32]]) -> tuple[npt.NDArray[np.float32], ...]:
        """Each of the model's outputs [N, elements], in its own units, for samples [N, *shape] of each input."""
        return self._run(self._frozen, inputs)

    def _run(self, function: Any, inputs: Sequence[npt.NDArray[np.float32]]) -> tuple[npt.NDArray[np.float32], ...]:
        with captured_output():
            rows = [function(*(self._tensorflow.constant(x[n : n + 1]) for x in inputs)) for n in range(len(inputs[0]))]
        outputs = [[np.asarray(row[k]).reshape(-1) for row in rows] for k in range(len(rows[0]))]
        return tuple(np.stack(values).astype(np.float32) for values in outputs)

    def quantize(self, inputs: Sequence[npt.NDArray[np.float32]], edges: Edges = Edges.INT8) -> bytes:
        """The model as a full-int8 `.tflite`; the same bytes for the same input.

        Args:
            inputs: calibration samples [N, *shape] of each input, in the model's units.
            edges: whether its inputs and outputs are int8 or float.

        Raises:
            UnsupportedOpError: the converter has no int8 form of some op.
            ModelFileError: the converter fails otherwise.
        """
        names = [tensor.name.partition(":")[0] for tensor in self._frozen.inputs]

        def representative() -> Iterator[list[npt.NDArray[np.float32]] | dict[str, npt.NDArray[np.float32]]]:
            for n in range(len(inputs[0])):
                sample = [x[n : n + 1] for x in inputs]
                yield sample if self._fused is None else dict(zip(names, sample, strict=True))

        lite = self._tensorflow.lite
        self._check_fused([x[:_COMPARED_SAMPLES] for x in inputs])
        with captured_output() as captured, warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
            warnings.simplefilter("ignore")
            try:
                if self._fused is None:
                    converter = lite.TFLiteConverter.from_concrete_functions([self._frozen])
                else:  # only from a SavedModel does the converter read what functions are made for
                    module = self._tensorflow.Module()
                    module.call = self._fused
                    self._tensorflow.saved_model.save(module, folder, signatures=self._fused)
                    converter = lite.TFLiteConverter.from_saved_model(folder)
                converter.optimizations = [lite.Optimize.DEFAULT]
                converter.representative_dataset = representative
                converter.target_spec.supported_ops = [lite.OpsSet.TFLITE_BUILTINS_INT8]
                type_ = self._tensorflow.float32 if edges is Edges.FLOAT else self._tensorflow.int8
                converter.inference_input_type = converter.inference_output_type = type_
                converted = bytes(converter.convert())
                return converted if self._fused is None else repair_lstm(_in_order(converted, self._fused))
            except Exception as error:  # the converter raises whatever its C++ side does
                failure = error
        raise _converter_error(failure, captured.last_lines(), self._unknown_ops()) from failure

    def _unknown_ops(self) -> tuple[str, ...]:
        """What of the model edgelearn does not have, so that one error names all; none where that cannot be told.

        The converter stops at the first op without an int8 form. In float32 it takes nearly everything.
        """
        lite = self._tensorflow.lite
        with captured_output(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                converter = lite.TFLiteConverter.from_concrete_functions([self._frozen])
                converter.target_spec.supported_ops = [lite.OpsSet.TFLITE_BUILTINS, lite.OpsSet.SELECT_TF_OPS]
                converter.allow_custom_ops = True
                return unknown_ops(bytes(converter.convert()), layers=self.layers)
            except Exception:  # the first error is told in any case
                return ()

    def _check_fused(self, inputs: Sequence[npt.NDArray[np.float32]]) -> None:
        """Make sure that ops in the place of loops compute the same."""
        if self._fused is None:
            return
        pairs = zip(self._run(self._fused, inputs), self.predict(inputs), strict=True)
        if not all(np.abs(found - want).max() <= 1e-4 + 1e-3 * np.abs(want).max() for found, want in pairs):
            raise UnsupportedOpError(
                ("a recurrent layer that is no plain LSTM",), hint="use keras.layers.LSTM as it is"
            )


def _in_order(model: bytes, function: Any) -> bytes:
    """A `.tflite` made from a SavedModel, which forgets their order, with the inputs and outputs as the function's."""
    from tensorflow.lite.tools import flatbuffer_utils

    file = flatbuffer_utils.read_model_from_bytearray(bytearray(model))
    graph, signature = file.subgraphs[0], file.signatureDefs[0]
    inputs = {named.name.decode(): named.tensorIndex for named in signature.inputs}
    outputs = {named.name.decode(): named.tensorIndex for named in signature.outputs}
    graph.inputs = [inputs[tensor.name.partition(":")[0]] for tensor in function.inputs]
    graph.outputs = [outputs[f"output_{number}"] for number in range(len(function.outputs))]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(file))


def _control_flow(operations: Iterable[Any]) -> list[str]:
    """Types of the loops, branches and lists among operations of a graph or nodes of its definition."""
    types = {operation.type if hasattr(operation, "type") else operation.op for operation in operations}
    return sorted(types & _CONTROL_FLOW)


def load_float_model(path: Path) -> FloatModel:
    """Load a Keras 3 `.keras` or `.h5` file or a SavedModel folder.

    Raises:
        MissingPackageError: TensorFlow or Keras is not installed.
        ModelFileError: the file is damaged, needs classes that only its author has, or has an input of open shape or
            of another type than float32.
        UnsupportedOpError: it holds loops or branches other than those of LSTM layers.
    """
    tensorflow, keras = import_tensorflow()
    with captured_output() as captured, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _load_saved_model(tensorflow, path) if path.is_dir() else _load_keras(tensorflow, keras, path)
        except EdgelearnError:
            raise
        except Exception as error:  # a damaged file makes the loaders raise anything
            failure = error
    missing = re.search(r"(?:Could not locate (class|function) |Unknown (layer): )'(?:[^'>]*>)?(\w+)'", str(failure))
    if missing is not None:
        kind = "function" if missing[1] == "function" else "class"
        raise ModelFileError(
            f"{path.name} needs the {kind} {missing[3]}, which is not part of Keras",
            cause=f"a model file holds the name of a custom {kind}, but not its code",
            hint="export the model as a SavedModel where its code is at hand (model.export), and convert that folder",
        ) from failure
    raise ModelFileError(
        f"{path.name} cannot be loaded as a {'SavedModel' if path.is_dir() else 'Keras model'}",
        cause=_brief(failure) or captured.last_lines(1),
        hint="save the model again with the installed Keras; custom layers must be exported as a SavedModel "
        "(model.export)",
    ) from failure


def tool_versions() -> dict[str, str]:
    """Versions of the packages that convert float models, of those that are installed."""
    versions = {}
    for name in ("keras", "tensorflow"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def import_tensorflow() -> tuple[Any, Any]:
    """TensorFlow and Keras, imported without their chatter.

    Raises:
        MissingPackageError: one of them is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # its sums depend on the processor
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    with captured_output(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import tensorflow
        except ModuleNotFoundError as error:
            raise MissingPackageError("tensorflow", extra="convert", purpose=_PURPOSE) from error
        try:
            import keras
        except ModuleNotFoundError as error:
            raise MissingPackageError("keras", extra="convert", purpose=_PURPOSE) from error
        tensorflow.get_logger().setLevel("ERROR")
        from absl import logging

        logging.set_verbosity(logging.ERROR)
    return tensorflow, keras


def _load_keras(tensorflow: Any, keras: Any, path: Path) -> FloatModel:
    model = keras.models.load_model(path, compile=False)
    inputs = list(getattr(model, "inputs", None) or ())
    if not inputs:
        raise ValueError("the model was saved before its input shape was known")

    def call(*x: Any) -> Any:
        return tensorflow.nest.flatten(model(list(x) if len(x) > 1 else x[0], training=False))

    return FloatModel(
        tensorflow,
        call,
        inputs=[(x.name, _fixed_shape(tuple(x.shape), str(x.dtype), x.name)) for x in inputs],
        variables=[(variable.path, np.asarray(variable)) for variable in model.weights],
        layer_names=_leaf_layers(model),
    )


def _load_saved_model(tensorflow: Any, path: Path) -> FloatModel:
    loaded = tensorflow.saved_model.load(str(path))
    signatures = dict(loaded.signatures)
    signature = signatures.get("serving_default") or next(iter(signatures.values()), None)
    if signature is None:
        raise ValueError("it has no serving signature")
    inputs: dict[str, Any] = signature.structured_input_signature[1]
    keys = list(inputs)
    variables = [
        (variable.name.partition(":")[0], variable.numpy())
        for variable in getattr(loaded, "variables", signature.variables)
        if variable.dtype.is_floating
    ]
    return FloatModel(
        tensorflow,
        lambda *x: list(signature(**dict(zip(keys, x, strict=True))).values()),
        inputs=[(key, _fixed_shape(tuple(spec.shape), spec.dtype.name, key)) for key, spec in inputs.items()],
        variables=variables,
        layer_names=list(dict.fromkeys(_layer_of(path_) for path_, _ in variables)),
    )


def _fixed_shape(shape: tuple[int | None, ...], dtype: str, name: str) -> tuple[int, ...]:
    if dtype != "float32":
        raise ModelFileError(
            f"the model's input {name} is {dtype}, edgelearn takes float32", hint="give it a float32 input"
        )
    sizes = tuple(int(n) for n in shape[1:] if n is not None)
    if len(sizes) != len(shape) - 1:
        open_shape = ", ".join("?" if n is None else str(n) for n in shape[1:])
        raise ModelFileError(
            f"the model's input {name} has the open shape [{open_shape}], edgelearn needs a fixed one",
            hint="give the model's input a fixed shape, keras.Input((height, width, channels))",
        )
    return sizes


def _leaf_layers(model: Any) -> list[str]:
    names = []
    for layer in model.layers:
        names += _leaf_layers(layer) if getattr(layer, "layers", None) else [str(layer.name)]
    return names


def _layer_of(path: str) -> str:
    """The layer of a weight's path, `dense` of `model/dense/kernel`."""
    return (path.split("/")[-2:] or [path])[0]


def _graph_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]", "_", name) or "input"


def _brief(error: BaseException) -> str:
    # Keras prints whole configurations before it comes to the point.
    text = str(error).rpartition("Exception encountered:")[2]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def _converter_error(error: Exception, output: str, unknown: tuple[str, ...]) -> EdgelearnError:
    text = f"{error}\n{output}"
    ops = re.findall(r"Quantization not yet supported for op: '?(\w+)", text)
    ops += re.findall(r"'?tf\.(\w+)'? op is neither a custom op nor a flex op", text)
    # An op that edgelearn has in some form, but the converter not in int8, is not among the unknown ones.
    named = {op.partition(" ")[0].replace("_", "").lower() for op in unknown}
    ops = [op for op in dict.fromkeys(ops) if op.replace("_", "").lower() not in named]
    if ops or unknown:
        return UnsupportedOpError((*ops, *unknown))
    return ModelFileError(
        "TensorFlow's converter fails on the model",
        cause=_brief(error),
        hint="check that the model runs, and that it uses only layers that have an int8 form",
    )
