"""From the bytes of an int8 `.tflite` to a Graph, or one error that names everything that stands in the way.

Edges are stripped (the graph begins and ends with int8), SAME and VALID become explicit padding, missing biases become
zeros, and ops that only compute the shape of a RESHAPE vanish because shapes are static.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgelearn.convert.naming import layer_name, tensor_name
from edgelearn.convert.tflite_file import FileModel, FileOp, FileTensor, read_tflite
from edgelearn.convert.translators import TRANSLATORS
from edgelearn.convert.translators.context import Context, UnsupportedParameter, activation_quant, contradiction
from edgelearn.errors import GraphError, ModelFileError, NotQuantizedError, UnsupportedOpError
from edgelearn.ir import AnyOp, Graph, Quant, verify

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
}

#: Of these ops only some inputs are values; the others say shapes, which the file tells of the outputs anyway.
_VALUE_INPUTS: dict[str, tuple[int, ...]] = {
    "RESHAPE": (0,),
    "SQUEEZE": (0,),
    "EXPAND_DIMS": (0,),
    "TILE": (0,),
    "BROADCAST_TO": (0,),
    "RESIZE_NEAREST_NEIGHBOR": (0,),
    "RESIZE_BILINEAR": (0,),
    "SLICE": (0, 1),
    "STRIDED_SLICE": (0, 1, 3),
    "TRANSPOSE_CONV": (1, 2, 3),
}


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
        self._context = Context(model, layers)

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
        ops = [op for file_op in inner for op in self._translated(file_op)]
        if self._problems:
            raise self._unsupported()
        context = self._context
        input_name, output_name = context.name_of(input_index), context.name_of(output_index)
        if input_name is None or output_name is None:
            raise ModelFileError("the .tflite file contradicts itself", cause="nothing computes the output")
        return Graph(
            name=self._name,
            tensors=tuple(context.tensors.values()),
            ops=tuple(ops),
            inputs=(input_name,),
            outputs=(output_name,),
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
            positions = _VALUE_INPUTS.get(op.code, range(len(op.inputs)))
            needed.update(op.inputs[position] for position in positions if position < len(op.inputs))
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
                    raise contradiction(readers[0], "input and output differ in shape")
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
            quant = activation_quant(tensor, "the input")
        except UnsupportedParameter as problem:
            self._refuse(str(problem), "")
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
        self._context.define(self._context.take_name(tensor_name(tensor.name)), tensor, quant)

    def _translated(self, op: FileOp) -> tuple[AnyOp, ...]:
        translate = TRANSLATORS.get(op.code)
        if translate is None:
            self._refuse(self._title(op), "")
            if op.code in _ADVICE:
                self._advice[op.code] = _ADVICE[op.code]
            return ()
        try:
            made = translate(self._context, op)
        except UnsupportedParameter as problem:
            self._refuse(self._title(op), str(problem))
            return ()
        return made if isinstance(made, tuple) else (made,)

    def _refuse(self, what: str, reason: str) -> None:
        self._problems.append((what, reason))
        self._context.has_problems = True

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


def several_ends(inputs: int, outputs: int) -> ModelFileError:
    """The error for a model that has not one input and one output."""
    counted = " and ".join(
        f"{count} {word}{'' if count == 1 else 's'}" for count, word in ((inputs, "input"), (outputs, "output"))
    )
    return ModelFileError(
        f"the model has {counted}, edgelearn takes one of each",
        hint="cut the model to one input and one output, keras.Model(input, output), and convert again",
    )
