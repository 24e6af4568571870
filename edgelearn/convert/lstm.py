"""LSTM layers of a frozen TensorFlow graph, made ready for the converter.

Keras writes an LSTM layer as a While loop over a list of the sequence's steps, which the converter cannot quantise. It
does have an op for a whole LSTM layer, and takes it where a function says of itself that it is one (TensorFlow:
PrepareCompositeFunctionsPass, ConvertKerasLSTMLayer). So each loop that looks like an LSTM is replaced by a call of
such a function; that it computes the same is left to the caller to check on samples.
"""

from __future__ import annotations

import copy
import re
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

_LOOPS = ("While", "StatelessWhile")
_GATES = 4
#: In a `.tflite`: positions of the two states among the op's inputs, of the hidden state among its intermediates.
_OUTPUT_STATE, _CELL_STATE, _HIDDEN = 18, 19, 4
#: The finest steps of a cell state that LiteRT's kernel has a hyperbolic tangent for (ApplyTanh).
_FINEST_CELL_STEP = 2.0**-15


class _NoLstmError(Exception):
    """Why a loop is no LSTM layer."""


class _Loop(msgspec.Struct, frozen=True, kw_only=True):
    """A loop that looks like an LSTM; numbers are positions among its inputs and outputs.

    Attributes:
        sequence: name of the tensor [steps, 1, features].
        written: the list of the outputs.
        hidden: the state that is the output.
        cell: the other state.
        keeps_sequence: whether the list has all outputs, or only the last.
        bias: zeros where there is none.
    """

    sequence: str
    steps: int
    written: int
    hidden: int
    cell: int
    keeps_sequence: bool
    kernel: npt.NDArray[np.float32]
    recurrent_kernel: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]


class FusedGraph(msgspec.Struct, frozen=True, kw_only=True):
    """A graph definition whose LSTM loops are calls.

    Attributes:
        definition: a GraphDef.
        layers: scopes of the layers that were found.
        refused: scope of every other loop, and why it is no LSTM.
    """

    definition: Any
    layers: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]


def fuse_lstm(tensorflow: Any, graph: Any, outputs: tuple[str, ...]) -> FusedGraph:
    """Replace LSTM loops of a frozen graph.

    Args:
        tensorflow: the module.
        graph: a graph without variables, batch 1, all shapes known.
        outputs: names of the operations that give its outputs.
    """
    definition = graph.as_graph_def()
    layers, refused = [], []
    for name in [node.name for node in definition.node if node.op in _LOOPS]:
        # Shapes behind a loop may be unknown until it is replaced.
        graph = tensorflow.Graph()
        with graph.as_default():
            tensorflow.graph_util.import_graph_def(definition, name="")
        node = next(node for node in definition.node if node.name == name)
        scope = name.rpartition("/")[0] or name
        try:
            _replace(tensorflow, graph, definition, node, _match(tensorflow, graph, definition, node))
            layers.append(scope)
        except _NoLstmError as error:
            refused.append((scope, str(error)))
    _drop_unused(definition, outputs)
    return FusedGraph(definition=definition, layers=tuple(layers), refused=tuple(refused))


def _drop_unused(definition: Any, outputs: tuple[str, ...]) -> None:
    """Drop the operations that no output needs."""
    by_name = {node.name: node for node in definition.node}
    needed: set[str] = set()
    waiting = list(outputs)
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += [reference.removeprefix("^").partition(":")[0] for reference in by_name[name].input]
    kept = [node for node in definition.node if node.name in needed]
    del definition.node[:]
    definition.node.extend(kept)


def _match(tensorflow: Any, graph: Any, definition: Any, node: Any) -> _Loop:
    """The loop as an LSTM: one list read, one written, a product with each step and one with a state."""
    body = next(f for f in definition.library.function if f.signature.name == node.attr["body"].func.name)
    arguments = [a.name for a in body.signature.input_arg]
    inner = {n.name: n for n in body.node_def}

    def origin(reference: str) -> str:
        """The argument or the operation of the body that a value comes from."""
        name = reference.partition(":")[0]
        while name in inner and inner[name].op == "Identity":
            name = inner[name].input[0].partition(":")[0]
        return name

    def position(reference: str) -> int:
        name = origin(reference)
        if name not in arguments:
            raise _NoLstmError("it is no plain recurrent layer")
        return arguments.index(name)

    def only(op: str) -> Any:
        found = [n for n in body.node_def if n.op == op]
        if len(found) != 1:
            raise _NoLstmError("it reads several sequences, as a mask" if found else "it is no recurrent layer")
        return found[0]

    read, write = only("TensorListGetItem"), only("TensorListSetItem")
    products = [n for n in body.node_def if n.op == "MatMul"]
    of_step = [n for n in products if origin(n.input[0]) == read.name]
    of_state = [n for n in products if origin(n.input[0]) in arguments]
    if len(products) != 2 or len(of_step) != 1 or len(of_state) != 1:
        raise _NoLstmError("it has not one product with the input and one with the state")
    hidden = position(of_state[0].input[0])

    def value(number: int) -> npt.NDArray[np.float32]:
        tensor = graph.get_tensor_by_name(_tensor_name(node.input[number]))
        while tensor.op.type == "Identity":
            tensor = tensor.op.inputs[0]
        constant = tensorflow.get_static_value(tensor)
        if constant is None:
            raise _NoLstmError("its weights or its initial state are not constant")
        return np.asarray(constant, np.float32)

    kernel, recurrent_kernel = value(position(of_step[0].input[1])), value(position(of_state[0].input[1]))
    units = recurrent_kernel.shape[0]
    if kernel.shape[1] != _GATES * units or recurrent_kernel.shape != (units, _GATES * units):
        raise _NoLstmError("it does not have the four gates of an LSTM")
    sigmoids, tangents = (sum(n.op == op for n in body.node_def) for op in ("Sigmoid", "Tanh"))
    if (sigmoids, tangents) != (_GATES - 1, 2):
        raise _NoLstmError("its activations are not sigmoid and tanh")
    taken = {hidden, position(of_step[0].input[1]), position(of_state[0].input[1])}
    shapes = [tuple(graph.get_tensor_by_name(_tensor_name(name)).shape.as_list() or ()) for name in node.input]
    floats = [t == tensorflow.float32.as_datatype_enum for t in node.attr["T"].list.type]
    others = [n for n in range(len(shapes)) if floats[n] and n not in taken]
    cells, biases = ([n for n in others if shapes[n] == shape] for shape in ((1, units), (_GATES * units,)))
    if len(cells) != 1 or len(biases) > 1 or len(others) != len(cells) + len(biases):
        raise _NoLstmError("it has not two states and a bias")
    if value(hidden).any() or value(cells[0]).any():
        raise _NoLstmError("its initial state is not zero")
    sequence = graph.get_tensor_by_name(_tensor_name(node.input[position(read.input[0])])).op
    if sequence.type != "TensorListFromTensor":
        raise _NoLstmError("its input is no sequence")
    steps, batch, features = sequence.inputs[0].shape.as_list()
    if batch != 1 or features != kernel.shape[0] or steps is None:
        raise _NoLstmError("its input is no sequence of a batch of 1")
    written = position(write.input[0])
    reserve = graph.get_tensor_by_name(_tensor_name(node.input[written])).op
    count = tensorflow.get_static_value(reserve.inputs[1]) if reserve.type == "TensorListReserve" else None
    if count not in (1, steps):
        raise _NoLstmError("its output is no sequence")
    return _Loop(
        sequence=sequence.inputs[0].name,
        steps=steps,
        written=written,
        hidden=hidden,
        cell=cells[0],
        keeps_sequence=count == steps,
        kernel=kernel,
        recurrent_kernel=recurrent_kernel,
        bias=value(biases[0]) if biases else np.zeros(_GATES * units, np.float32),
    )


def _replace(tensorflow: Any, graph: Any, definition: Any, node: Any, loop: _Loop) -> None:
    """Put a call in the place of the loop, and what it gives in the place of what was read from the loop."""
    readers = [(n, i) for n in definition.node for i, name in enumerate(n.input) if _is_of(name, node.name)]
    stacks = []
    for reader, number in readers:
        output = int(_tensor_name(reader.input[number]).rpartition(":")[2])
        if output == loop.written and reader.op == "TensorListStack":
            stacks.append(reader)
        elif output != loop.hidden:
            raise _NoLstmError("its cell state is used behind it")
    units = len(loop.recurrent_kernel)
    name = f"{node.name}_lstm"

    def constant(own_name: str, values: npt.NDArray[Any]) -> str:
        added = definition.node.add(name=own_name, op="Const")
        added.attr["value"].tensor.CopyFrom(tensorflow.make_tensor_proto(values))
        added.attr["dtype"].type = tensorflow.as_dtype(values.dtype).as_datatype_enum
        return str(added.name)

    def reshaped(operation: Any, source: str, shape: tuple[int, ...]) -> None:
        """Make the operation a reshape of the source."""
        own_name = operation.name
        operation.Clear()
        operation.name, operation.op = own_name, "Reshape"
        operation.input.extend([source, constant(f"{own_name}/shape", np.array(shape, np.int32))])
        operation.attr["T"].type = tensorflow.float32.as_datatype_enum
        operation.attr["Tshape"].type = tensorflow.int32.as_datatype_enum

    # With a batch of 1, time first and batch first are the same bytes.
    batch_first = definition.node.add(name=f"{name}/input")
    reshaped(batch_first, _graph_input(loop.sequence), (1, loop.steps, len(loop.kernel)))
    function = _function(tensorflow, loop)
    # A name of its own: TensorFlow forgets a traced function together with its Python object.
    function.signature.name = re.sub(r"\W", "_", name)
    definition.library.function.append(function)
    call = definition.node.add(name=name, op="PartitionedCall")
    state = np.zeros((1, units), np.float32)
    call.input.extend([batch_first.name, constant(f"{name}/hidden", state), constant(f"{name}/cell", state)])
    for weight in ("kernel", "recurrent_kernel", "bias"):
        call.input.append(constant(f"{name}/{weight}", getattr(loop, weight)))
    call.attr["Tin"].list.type.extend([a.type for a in function.signature.input_arg])
    call.attr["Tout"].list.type.extend([a.type for a in function.signature.output_arg])
    call.attr["f"].func.name = function.signature.name
    for stack in stacks:
        if loop.keeps_sequence:
            reshaped(stack, f"{name}:1", (loop.steps, 1, units))
            continue
        reshaped(stack, name, (1, 1, units))
        for reader in [n for n in definition.node if n.op == "StridedSlice" and _is_of(n.input[0], stack.name)]:
            if graph.get_tensor_by_name(f"{reader.name}:0").shape.rank == 2:  # the only element of a list of one
                reshaped(reader, name, (1, units))
    for reader, number in readers:
        if reader not in stacks:
            reader.input[number] = name
    for other in definition.node:  # nothing has to wait for the loop any more
        waits = [n for n, reference in enumerate(other.input) if reference == f"^{node.name}"]
        for number in reversed(waits):
            del other.input[number]


def _function(tensorflow: Any, loop: _Loop) -> Any:
    """The FunctionDef of the layer; its arguments, results and attributes are what the converter expects."""

    def standard_lstm(x: Any, hidden: Any, cell: Any, kernel: Any, recurrent_kernel: Any, bias: Any) -> Any:
        outputs = []
        for step in range(loop.steps):
            sums = tensorflow.matmul(x[:, step], kernel) + tensorflow.matmul(hidden, recurrent_kernel) + bias
            opened, kept, new, shown = tensorflow.split(sums, _GATES, axis=1)
            cell = tensorflow.sigmoid(kept) * cell + tensorflow.sigmoid(opened) * tensorflow.tanh(new)
            hidden = tensorflow.sigmoid(shown) * tensorflow.tanh(cell)
            outputs.append(hidden)
        return hidden, tensorflow.stack(outputs, axis=1), hidden, cell, tensorflow.constant(1.0)

    shape = (1, len(loop.recurrent_kernel))
    shapes = [(1, loop.steps, len(loop.kernel)), shape, shape]
    shapes += [loop.kernel.shape, loop.recurrent_kernel.shape, loop.bias.shape]
    attributes = {"api_implements": f"lstm_{loop.steps}", "time_major": False, "go_backwards": False}
    function = tensorflow.function(standard_lstm, autograph=False, experimental_attributes=attributes)
    concrete = function.get_concrete_function(*(tensorflow.TensorSpec(s, tensorflow.float32) for s in shapes))
    return concrete.function_def


def repair_lstm(model: bytes) -> bytes:
    """Mend what the converter gets wrong about the quantisation of LSTM layers.

    Outputs: CONCATENATION wants one scale for all its inputs, and the converter writes it over that of the LSTM's
    output, though the op gives the bytes of its hidden state as they are. The output and the state that the next step
    reads get the hidden state's quantisation again, and a QUANTIZE leads to what the op behind wants.

    Cell states: where they stay below 1/2, the converter takes finer steps than the op can. Nothing else depends on
    these steps.

    Args:
        model: an int8 `.tflite` as the converter writes it; returned as it is where nothing is to be mended.
    """
    import flatbuffers  # type: ignore[import-untyped]
    from tensorflow.lite.python import schema_py_generated as schema

    content = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(model, 0))
    (graph,) = content.subgraphs
    lstm = _code(content, schema.BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_LSTM)
    layers = [op for op in graph.operators if op.opcodeIndex == lstm]
    tied = [op for op in layers if _is_tied(graph, op)]
    cells = [graph.tensors[op.inputs[_CELL_STATE]].quantization for op in layers]
    too_fine = [quant for quant in cells if quant.scale[0] < _FINEST_CELL_STEP]
    if not tied and not too_fine:
        return model
    for quant in too_fine:
        quant.scale = [_FINEST_CELL_STEP]
    if tied:
        _untie_outputs(schema, content, graph, tied)
    packer = flatbuffers.Builder(len(model))
    packer.Finish(content.Pack(packer), file_identifier=b"TFL3")
    return bytes(packer.Output())


def _untie_outputs(schema: Any, content: Any, graph: Any, tied: list[Any]) -> None:
    """Give the LSTM layers their own quantisation, and a QUANTIZE behind each."""
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.QUANTIZE
    code.version = 2
    content.operatorCodes.append(code)
    operators = []
    for op in graph.operators:
        operators.append(op)
        if op not in tied:
            continue
        hidden, wanted = graph.tensors[op.intermediates[_HIDDEN]].quantization, graph.tensors[op.outputs[0]]
        own = copy.deepcopy(wanted)
        own.name = wanted.name + b"_lstm"
        own.quantization = graph.tensors[op.inputs[_OUTPUT_STATE]].quantization = hidden
        graph.tensors.append(own)
        requantise = schema.OperatorT()
        requantise.opcodeIndex = len(content.operatorCodes) - 1
        requantise.inputs, requantise.outputs = [len(graph.tensors) - 1], list(op.outputs)
        requantise.builtinOptionsType = schema.BuiltinOptions.QuantizeOptions
        requantise.builtinOptions = schema.QuantizeOptionsT()
        op.outputs = [len(graph.tensors) - 1]
        operators.append(requantise)
    graph.operators = operators


def _code(content: Any, builtin: int) -> int | None:
    return next((n for n, code in enumerate(content.operatorCodes) if code.builtinCode == builtin), None)


def _is_tied(graph: Any, op: Any) -> bool:
    numbers = (op.intermediates[_HIDDEN], op.inputs[_OUTPUT_STATE], op.outputs[0])
    quants = [graph.tensors[number].quantization for number in numbers]
    return len({(quant.scale[0], quant.zeroPoint[0]) for quant in quants}) > 1


def _tensor_name(reference: str) -> str:
    """`name:0` of `name`, as a graph's definition has it."""
    return reference if ":" in reference else f"{reference}:0"


def _graph_input(tensor_name: str) -> str:
    return tensor_name.removesuffix(":0")


def _is_of(reference: str, node: str) -> bool:
    return reference.partition(":")[0] == node
