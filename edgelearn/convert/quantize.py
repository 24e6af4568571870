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
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgelearn.convert.head import FloatParameter
from edgelearn.convert.lstm import fuse_lstm, untie_outputs
from edgelearn.convert.naming import layers_by_scope
from edgelearn.convert.quiet import captured_output
from edgelearn.convert.tflite_loader import several_ends
from edgelearn.errors import EdgelearnError, MissingPackageError, ModelFileError, UnsupportedOpError

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
#: An LSTM's loop and its one op are compared on so many samples.
_COMPARED_SAMPLES = 8


class FloatModel:
    """A float model with one float32 input and one output, traced for a batch of one.

    Attributes:
        input_shape: shape of one sample, without the batch.
        parameters: its kernels, biases and other weights, with the layers they belong to.
        layers: part of a TensorFlow path -> name of the layer, see `naming.layers_by_scope`.
        size_bytes: bytes of all its weights in float32.
    """

    def __init__(
        self,
        tensorflow: Any,
        call: Callable[[Any], Any],
        *,
        input_shape: tuple[int, ...],
        input_name: str,
        variables: list[tuple[str, npt.NDArray[Any]]],
        layer_names: list[str],
    ) -> None:
        """Trace and freeze; `load_float_model` is the way to make one.

        Args:
            tensorflow: the module.
            call: from a tensor [1, *input_shape] to the output tensor.
            input_shape: shape of one sample.
            input_name: name of the input.
            variables: path and value of each weight.
            layer_names: names of the layers.

        Raises:
            UnsupportedOpError: the model holds loops or branches other than those of LSTM layers.
        """
        from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

        self._tensorflow = tensorflow
        spec = tensorflow.TensorSpec((1, *input_shape), tensorflow.float32, name=input_name)
        concrete = tensorflow.function(call, autograph=False).get_concrete_function(spec)
        self._frozen = convert_variables_to_constants_v2(concrete, lower_control_flow=False)
        self.input_shape = input_shape
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
            raise UnsupportedOpError(
                tuple(left),
                hint="of recurrent layers and loops only LSTM layers as Keras makes them can be converted: tanh and "
                "sigmoid, no mask, no initial state; or give the layer unroll=True, or use convolutions over time",
            )
        function = function_from_graph_def(fused.definition, [tensor.name for tensor in self._frozen.inputs], outputs)
        function.inputs[0].set_shape((1, *self.input_shape))
        return function

    def predict(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The model's outputs [N, outputs], in its own units, for samples [N, *input_shape]."""
        with captured_output():
            outputs = [self._frozen(self._tensorflow.constant(sample[None]))[0].numpy().reshape(-1) for sample in x]
        return np.stack(outputs).astype(np.float32)

    def quantize(self, x: npt.NDArray[np.float32]) -> bytes:
        """The model as a full-int8 `.tflite`, input and output int8; the same bytes for the same input.

        Args:
            x: calibration samples [N, *input_shape] in the model's input units.

        Raises:
            UnsupportedOpError: the converter has no int8 form of some op.
            ModelFileError: the converter fails otherwise.
        """

        def representative() -> Iterator[list[npt.NDArray[np.float32]]]:
            for sample in x:
                yield [sample[None]]

        lite = self._tensorflow.lite
        self._check_fused(x[:_COMPARED_SAMPLES])
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
                converter.inference_input_type = self._tensorflow.int8
                converter.inference_output_type = self._tensorflow.int8
                converted = bytes(converter.convert())
                return converted if self._fused is None else untie_outputs(converted)
            except Exception as error:  # the converter raises whatever its C++ side does
                failure = error
        raise _converter_error(failure, captured.last_lines()) from failure

    def _check_fused(self, x: npt.NDArray[np.float32]) -> None:
        """Make sure that ops in the place of loops compute the same."""
        if self._fused is None:
            return
        expected = self.predict(x)
        with captured_output():
            found = np.stack([self._fused(self._tensorflow.constant(s[None]))[0].numpy().reshape(-1) for s in x])
        if not np.abs(found - expected).max() <= 1e-4 + 1e-3 * np.abs(expected).max():
            raise UnsupportedOpError(
                ("a recurrent layer that is no plain LSTM",), hint="use keras.layers.LSTM as it is"
            )


def _control_flow(operations: Iterable[Any]) -> list[str]:
    """Types of the loops, branches and lists among operations of a graph or nodes of its definition."""
    types = {operation.type if hasattr(operation, "type") else operation.op for operation in operations}
    return sorted(types & _CONTROL_FLOW)


def load_float_model(path: Path) -> FloatModel:
    """Load a Keras 3 `.keras` or `.h5` file or a SavedModel folder.

    Raises:
        MissingPackageError: TensorFlow or Keras is not installed.
        ModelFileError: the file is damaged, needs classes that only its author has, has several inputs or outputs, or
            an input of open shape or of another type than float32.
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
    inputs, outputs = list(getattr(model, "inputs", None) or ()), list(getattr(model, "outputs", None) or ())
    if not inputs:
        raise ValueError("the model was saved before its input shape was known")
    _require_one(len(inputs), len(outputs))
    return FloatModel(
        tensorflow,
        lambda x: _single(model(x, training=False)),
        input_shape=_fixed_shape(tuple(inputs[0].shape), str(inputs[0].dtype)),
        input_name=_graph_name(inputs[0].name),
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
    _require_one(len(inputs), len(signature.structured_outputs))
    ((key, spec),) = inputs.items()
    variables = [
        (variable.name.partition(":")[0], variable.numpy())
        for variable in loaded.variables
        if variable.dtype.is_floating
    ]
    return FloatModel(
        tensorflow,
        lambda x: _single(list(signature(**{key: x}).values())),
        input_shape=_fixed_shape(tuple(spec.shape), spec.dtype.name),
        input_name=_graph_name(key),
        variables=variables,
        layer_names=list(dict.fromkeys(_layer_of(path_) for path_, _ in variables)),
    )


def _require_one(inputs: int, outputs: int) -> None:
    if inputs != 1 or outputs != 1:
        raise several_ends(inputs, outputs)


def _fixed_shape(shape: tuple[int | None, ...], dtype: str) -> tuple[int, ...]:
    if dtype != "float32":
        raise ModelFileError(f"the model's input is {dtype}, edgelearn takes float32", hint="give it a float32 input")
    sizes = tuple(int(n) for n in shape[1:] if n is not None)
    if len(sizes) != len(shape) - 1:
        open_shape = ", ".join("?" if n is None else str(n) for n in shape[1:])
        raise ModelFileError(
            f"the model's input has the open shape [{open_shape}], edgelearn needs a fixed one",
            hint="give the model's input a fixed shape, keras.Input((height, width, channels))",
        )
    return sizes


def _leaf_layers(model: Any) -> list[str]:
    names = []
    for layer in model.layers:
        names += _leaf_layers(layer) if getattr(layer, "layers", None) else [str(layer.name)]
    return names


def _single(output: Any) -> Any:
    return (
        next(iter(output.values())) if isinstance(output, dict) else output[0] if isinstance(output, list) else output
    )


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


def _converter_error(error: Exception, output: str) -> EdgelearnError:
    text = f"{error}\n{output}"
    ops = re.findall(r"Quantization not yet supported for op: '?(\w+)", text)
    ops += re.findall(r"'?tf\.(\w+)'? op is neither a custom op nor a flex op", text)
    if ops:
        return UnsupportedOpError(tuple(dict.fromkeys(ops)))
    return ModelFileError(
        "TensorFlow's converter fails on the model",
        cause=_brief(error),
        hint="check that the model runs, and that it uses only layers that have an int8 form",
    )
