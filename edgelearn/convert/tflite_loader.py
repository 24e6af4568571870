"""From the bytes of an int8 `.tflite` to a Graph, or one error that names everything that stands in the way.

Float edges are stripped (the graph begins and ends with int8) unless they are asked for, SAME and VALID become explicit
padding, missing biases become zeros, and ops that only compute shapes vanish because shapes are static.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgelearn.convert.constants import constant_ops, with_constants
from edgelearn.convert.dilation import with_dilations
from edgelearn.convert.naming import layer_name, tensor_name
from edgelearn.convert.tflite_file import FileModel, FileOp, FileTensor, read_tflite
from edgelearn.convert.translators import TRANSLATORS
from edgelearn.convert.translators.context import Context, UnsupportedParameter, activation_quant, contradiction
from edgelearn.errors import GraphError, ModelFileError, NotQuantizedError, OptionError, UnsupportedOpError
from edgelearn.ir import AnyOp, Graph, Quant, verify
from edgelearn.ir.edges import Edges

#: What to do about ops that people meet most.
_ADVICE = {
    "DIV": "multiply by the reciprocal instead",
    "RSQRT": "use BatchNormalization, which becomes part of the layer before it, for LayerNormalization",
    "WHILE": "use LSTM for GRU or SimpleRNN, or unroll=True",
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


def load_tflite(data: bytes, *, name: str, layers: Mapping[str, str] | None = None, edges: Edges = Edges.INT8) -> Graph:
    """Read an int8 `.tflite` into a verified graph.

    Args:
        data: the bytes of the file.
        name: the graph's name.
        layers: part of a path in the file's names -> name of the layer, see `naming.layers_by_scope`.
        edges: what becomes of the QUANTIZE and DEQUANTIZE at float inputs and outputs.

    Raises:
        OptionError: float edges are asked for, and the file has none.
        ModelFileError: the bytes are no `.tflite`, are damaged, or contradict themselves.
        NotQuantizedError: its activations are not int8.
        UnsupportedOpError: naming every op and every parameter that is not supported.
        MissingPackageError: the `tflite` schema package is not installed; or the interpreter, which computes parts of
            the model that no input reaches.
    """
    model = with_dilations(read_tflite(data))
    found = constant_ops(model, _live_ops(model), TRANSLATORS, _VALUE_INPUTS)
    if found:
        model = with_constants(model, data, found)
    graph = _Loader(model, name, layers or {}, edges).graph()
    try:
        return verify(graph, after="load")
    except (GraphError, IndexError) as error:
        raise ModelFileError(
            "the .tflite file contradicts itself", cause=str(error), hint="export the model again"
        ) from error


def unknown_ops(data: bytes, *, layers: Mapping[str, str]) -> tuple[str, ...]:
    """The ops of a `.tflite`, of any types, that edgelearn does not have at all, each with its layer.

    Args:
        data: the bytes of the file.
        layers: as for `load_tflite`.

    Raises:
        ModelFileError: the bytes are no `.tflite` or are damaged.
    """
    model = read_tflite(data)
    found = []
    for op in _live_ops(model):
        if op.code not in TRANSLATORS:
            name = layer_name(model.tensors[op.outputs[0]].name, layers) if op.outputs else ""
            found.append(op.code.removeprefix("Flex") + (f" in {name}" if name else ""))
    return tuple(dict.fromkeys(found))


class _Loader:
    def __init__(self, model: FileModel, name: str, layers: Mapping[str, str], edges: Edges) -> None:
        self._layers = layers
        self._edges = edges
        self._model = model
        self._name = name
        self._problems: list[tuple[str, str]] = []  # what is not supported, and why
        self._advice: dict[str, str] = {}
        self._context = Context(model, layers)

    def graph(self) -> Graph:
        if not self._model.inputs or not self._model.outputs:
            raise ModelFileError("the model has no input or no output", hint="export the model again")
        live = _live_ops(self._model)
        self._require_int8(live)
        inputs, outputs, inner = self._ends(live)
        if not inner:
            raise ModelFileError("the model has no ops")
        tensors = self._model.tensors
        for file_index, index in zip(self._model.inputs, inputs, strict=True):
            self._add_input(tensors[index], tensor_name(tensors[file_index].name))
        ops = [op for file_op in inner for op in self._translated(file_op)]
        if self._problems:
            raise self._unsupported()
        if self._edges is Edges.FLOAT and all(tensors[index].type != "FLOAT32" for index in (*inputs, *outputs)):
            raise OptionError(
                "the model has no float edges: its file begins and ends in int8",
                hint="leave out --edges float, or convert the Keras model or SavedModel it was made from",
            )
        return Graph(
            name=self._name,
            tensors=tuple(self._context.tensors.values()),
            ops=tuple(ops),
            inputs=tuple(self._name_of_end(index) for index in inputs),
            outputs=tuple(self._name_of_end(index) for index in outputs),
        )

    def _name_of_end(self, index: int) -> str:
        name = self._context.name_of(index)
        if name is None:
            constant = bool(self._model.tensors[index].data)
            raise ModelFileError(
                "the .tflite file contradicts itself" if not constant else "an output of the model is a constant",
                cause="" if constant else f"nothing computes the output #{index}",
                hint="export the model again" + (" without that output" if constant else ""),
            )
        return name

    # The whole graph

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

    def _ends(self, live: list[FileOp]) -> tuple[list[int], list[int], list[FileOp]]:
        """Inputs, outputs and the ops between; without float edges, behind a QUANTIZE and before a DEQUANTIZE."""
        inputs, outputs = list(self._model.inputs), list(self._model.outputs)
        if len(set(inputs)) != len(inputs):
            raise ModelFileError("the .tflite file contradicts itself", cause="two inputs are the same tensor")
        for index in inputs:
            if not any(index in op.inputs for op in live) and index not in outputs:
                raise ModelFileError(
                    f"the model does not read its input {tensor_name(self._model.tensors[index].name)}",
                    hint="export the model without it",
                )
        inner = list(live)
        if self._edges is Edges.FLOAT:
            return inputs, outputs, inner
        tensors = self._model.tensors
        for number, index in enumerate(inputs):
            readers = [op for op in live if index in op.inputs]
            is_float = tensors[index].type == "FLOAT32" and index not in outputs
            if is_float and len(readers) == 1 and readers[0].code == "QUANTIZE" and len(readers[0].outputs) == 1:
                if tensors[readers[0].outputs[0]].shape != tensors[index].shape:
                    raise contradiction(readers[0], "input and output differ in shape")
                inputs[number] = readers[0].outputs[0]
                inner.remove(readers[0])
        for number, index in enumerate(outputs):
            writers = [op for op in live if index in op.outputs]
            read = any(index in op.inputs for op in live)
            is_float = tensors[index].type == "FLOAT32" and not read
            if is_float and len(writers) == 1 and writers[0].code == "DEQUANTIZE" and len(writers[0].inputs) == 1:
                outputs[number] = writers[0].inputs[0]
                if writers[0] in inner:
                    inner.remove(writers[0])
        return inputs, outputs, inner

    def _add_input(self, tensor: FileTensor, name: str) -> None:
        what = "the input" if len(self._model.inputs) == 1 else f"the input {name}"
        quant: Quant | None = None
        if self._edges is Edges.INT8 or tensor.type != "FLOAT32":
            try:
                quant = activation_quant(tensor, what)
            except UnsupportedParameter as problem:
                self._refuse(str(problem), "")
                return
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
        self._context.define(self._context.take_name(name), tensor, quant)

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


def _live_ops(model: FileModel) -> list[FileOp]:
    """The ops whose results reach the output as values, in order; what only computes shapes is left out."""
    needed = set(model.outputs)
    live = []
    for op in reversed(model.ops):
        if needed.isdisjoint(op.outputs):
            continue
        live.append(op)
        positions = _VALUE_INPUTS.get(op.code, range(len(op.inputs)))
        needed.update(op.inputs[position] for position in positions if position < len(op.inputs))
    return live[::-1]
