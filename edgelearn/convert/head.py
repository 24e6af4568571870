"""Marks the head: the dense layer whose weight and bias the device trains, and the loss that judges it.

A softmax behind the head belongs to it and leaves the graph, so that the graph ends in float32 logits. The head starts
from the float model's weights where they are known, else from the int8 weights with their scales.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from msgspec.structs import replace

from edgelearn.convert.passes import drop_unused
from edgelearn.errors import HeadError, LabelError, OptionError
from edgelearn.ir import (
    Activation,
    AnyOp,
    DType,
    Graph,
    Loss,
    LossKind,
    ParamKind,
    Quant,
    Tensor,
    Training,
    constant,
    dequantize_array,
    verify,
)
from edgelearn.ir.activation import Softmax
from edgelearn.ir.dense import FullyConnected
from edgelearn.ir.edges import Dequantize
from edgelearn.ir.movement import Reshape
from edgelearn.words import count, noun

if TYPE_CHECKING:
    import numpy.typing as npt

NO_HEAD = "none"
#: Half a step of a quantised weight, and a little for the rounding of the scale itself.
_HALF_STEP = 0.5001


class FloatParameter(msgspec.Struct, frozen=True, kw_only=True):
    """A kernel or bias of the float model, with the layer it belongs to."""

    layer: str
    values: npt.NDArray[np.float32]


class MarkedHead(msgspec.Struct, frozen=True, kw_only=True):
    """A graph whose head is marked, or that has none.

    Attributes:
        graph: with a loss where there is a head.
        labels: one name for each output, spare ones included, or empty.
        notices: what was decided without being asked.
        spare_classes: outputs at the end that no class was named for.
        head: the name of the trainable op, or None.
        is_whole: whether the graph still computes what the model does, a softmax at its end apart.
    """

    graph: Graph
    labels: tuple[str, ...]
    notices: tuple[str, ...]
    head: str | None
    is_whole: bool
    spare_classes: int = 0


def mark_head(
    graph: Graph,
    *,
    head: str | None = None,
    loss: LossKind | None = None,
    classes: int | None = None,
    labels: Sequence[str] | None = None,
    parameters: Sequence[FloatParameter] = (),
) -> MarkedHead:
    """Make the final dense layer, or the named one, trainable.

    Args:
        graph: an int8 graph without a loss.
        head: name of a dense op or of its Keras layer; "none" for inference only; by default the dense layer that the
            model, or the first of its outputs that does, ends in, a softmax behind it or not. If it ends otherwise the
            graph stays as it is, with a notice. Outputs that do not depend on the head stay as they are.
        loss: by default cross-entropy where a softmax follows the head, else squared error with a notice.
        classes: number of outputs, spare ones included; at least the head's own.
        labels: a name for each output, or for each of the head's own outputs.
        parameters: kernels and biases of the float model, to start the head from.

    Raises:
        HeadError: the named head does not exist, there is none to apply `loss` or `classes` to, or `classes` are fewer
            than the head has.
        LabelError: the labels are too many, too few, empty or not distinct.
        OptionError: `loss` or `classes` together with "none".
    """
    check_options(head=head, loss=loss, classes=classes, labels=labels)
    if head == NO_HEAD:
        return _without_head(graph, labels, ())
    notices: list[str] = []
    if head is None:
        dense, why_not = _default_dense(graph)
        if dense is None:
            if loss is not None or classes is not None:
                raise HeadError(f"the model has no head: {why_not}", cause=_list_dense(graph), hint=_NAME_HINT)
            notice = f"{why_not}, so nothing in it is trainable; it converts for inference only (as with --head none)"
            return _without_head(graph, labels, (notice,))
        if len(graph.outputs) > 1:
            notices.append(
                f"the model has {len(graph.outputs)} outputs: {dense.name} is the head, the others stay frozen; "
                "--head NAME takes another"
            )
    else:
        dense = _named_dense(graph, head, parameters)
        if dense.rows(graph.tensors_by_name) > 1:
            raise HeadError(
                f"the dense layer {dense.name} {_takes_rows(graph, dense)}, and a head takes one",
                hint="name a dense layer that follows a flatten or a global pooling, or convert with --head none",
            )
    behind = _own_tail(graph, dense)
    softmax = next((op for op in behind if isinstance(op, Softmax)), None)
    dropped = _dropped(graph, dense, behind)
    if dropped:
        notices.append(f"dropped, because the head is {dense.name}: {', '.join(dropped)}")
    if dense.activation is not Activation.NONE:
        notices.append(f"the {dense.activation.value} of the head {dense.name} was dropped: a head ends in its sums")
    if loss is None:
        loss = LossKind.CROSS_ENTROPY if softmax is not None else LossKind.SQUARED_ERROR
        if softmax is None:
            notices.append(
                f"no softmax follows {dense.name}, so it trains with squared error; "
                "--loss cross-entropy makes it a classifier"
            )
    elif loss is LossKind.SQUARED_ERROR and softmax is not None:
        notices.append(f"the softmax behind {dense.name} was dropped: squared error is taken of its inputs")
    own_outputs = graph.tensor(dense.inputs[1]).shape[0]
    outputs = own_outputs if classes is None else classes
    if outputs < own_outputs:
        raise HeadError(
            f"{count(outputs, 'class is', 'classes are')} fewer than the {own_outputs} outputs of {dense.name}",
            hint=f"give --classes {own_outputs} or more",
        )
    weight, bias, weight_notices = _trainable(graph, dense, parameters, outputs)
    notices += weight_notices
    # The logits keep the calibrated quantisation: it tells their range.
    logits = Tensor(name=dense.output, shape=(1, outputs), dtype=DType.FLOAT32, quant=graph.tensor(dense.output).quant)
    trained = replace(dense, inputs=(dense.inputs[0], weight.name, bias.name), activation=Activation.NONE)
    others = tuple(t for t in graph.tensors if t.name not in {weight.name, bias.name, logits.name})
    marked = drop_unused(
        replace(
            graph,
            tensors=(*others, weight, bias, logits),
            ops=tuple(trained if op is dense else op for op in graph.ops),
            outputs=_marked_outputs(graph, dense),
            loss=Loss(kind=loss, prediction=logits.name),
        )
    )
    return MarkedHead(
        graph=verify(marked, after="mark head"),
        labels=_labels(labels, outputs, own_outputs, numbered=loss is LossKind.CROSS_ENTROPY),
        notices=tuple(notices),
        head=dense.name,
        spare_classes=outputs - max(own_outputs, len(labels or ())) if loss is LossKind.CROSS_ENTROPY else 0,
        is_whole=not dropped and dense.activation is Activation.NONE,
    )


def check_options(
    *, head: str | None, loss: LossKind | None, classes: int | None, labels: Sequence[str] | None
) -> None:
    """Refuse what cannot be right for any model, before one is loaded.

    Raises:
        OptionError: `loss` or `classes` together with "none".
        LabelError: labels are empty, occur twice, or are more than `classes`.
    """
    if head == NO_HEAD and (loss is not None or classes is not None):
        raise OptionError(
            "a model without a head has no loss and no spare classes",
            hint="leave out --loss and --classes, or --head none",
        )
    if labels is not None:
        _check_names(labels)
        if classes is not None and len(labels) > classes:
            raise LabelError(
                f"{count(len(labels), 'label does', 'labels do')} not fit {count(classes, 'output')}",
                hint=f"give --classes {len(labels)}, or fewer labels",
            )


_NAME_HINT = "name a dense layer with --head NAME, or convert for inference only with --head none"


def _dense_ops(graph: Graph) -> tuple[FullyConnected, ...]:
    return tuple(op for op in graph.ops if isinstance(op, FullyConnected))


def _list_dense(graph: Graph) -> str:
    names = [op.name for op in _dense_ops(graph)]
    return f"its dense layers are {', '.join(names)}" if names else "it has no dense layers"


def _takes_rows(graph: Graph, op: FullyConnected) -> str:
    return f"takes {op.rows(graph.tensors_by_name)} rows of {graph.tensor(op.inputs[1]).shape[1]} values"


def _default_dense(graph: Graph) -> tuple[FullyConnected | None, str]:
    """The dense layer that the model, or the first of its outputs that does, ends in; or None and how it ends."""
    found = [_final_dense(graph, output) for output in graph.outputs]
    return next((end for end in found if end[0] is not None), found[0])


def _final_dense(graph: Graph, output: str) -> tuple[FullyConnected | None, str]:
    """The dense layer that gives an output, or None and how it ends instead."""
    op = graph.producer(output)
    while isinstance(op, Reshape | Softmax | Dequantize) and len(graph.consumers(op.inputs[0])) == 1:
        op = graph.producer(op.inputs[0])
    if not isinstance(op, FullyConnected):
        ending = "nothing" if op is None else f"{op.name} ({op.TITLE})"
        return None, f"the model ends in {ending}, not in a dense layer"
    if op.rows(graph.tensors_by_name) > 1:
        return None, f"the model's last dense layer {op.name} {_takes_rows(graph, op)}"
    if op.activation is not Activation.NONE:
        return None, f"the model's last dense layer {op.name} has a fused {op.activation.value}"
    last = (op, *_own_tail(graph, op))[-1]
    if last.output != output:
        return None, f"what follows the last dense layer {op.name} is no plain softmax over its outputs"
    return op, ""


def _named_dense(graph: Graph, head: str, parameters: Sequence[FloatParameter]) -> FullyConnected:
    for op in _dense_ops(graph):
        if op.name == head:
            return op
    of_layer = [parameter for parameter in parameters if parameter.layer == head]
    for op in _dense_ops(graph):
        if _matching_kernel(graph, op, of_layer) is not None:
            return op
    other = next((op for op in graph.ops if op.name == head), None)
    raise HeadError(
        f"the model has no dense layer {head}" + (f"; {head} is a {other.TITLE}" if other is not None else ""),
        cause=_list_dense(graph),
        hint=_NAME_HINT,
    )


def _own_tail(graph: Graph, dense: FullyConnected) -> tuple[AnyOp, ...]:
    """The reshapes, the one plain softmax and the float edge behind a dense layer; nothing else reads between them."""
    tail: list[AnyOp] = []
    outputs = graph.tensor(dense.output).elements
    name = dense.output
    while True:
        readers = graph.consumers(name)
        if len(readers) != 1 or name in graph.outputs:
            return tuple(tail)
        op = readers[0]
        plain_softmax = (
            isinstance(op, Softmax)
            and not any(isinstance(earlier, Softmax) for earlier in tail)
            and op.beta == 1.0
            and graph.tensor(op.output).shape[-1] == outputs
        )
        if not (plain_softmax or isinstance(op, Reshape | Dequantize)):
            # A reshape that leads to something else is not the head's own.
            while tail and isinstance(tail[-1], Reshape):
                tail.pop()
            return tuple(tail)
        tail.append(op)
        name = op.output


def _marked_outputs(graph: Graph, dense: FullyConnected) -> tuple[str, ...]:
    """The outputs that do not depend on the head, and where the first that does stood, the head's own."""
    computed_from = {dense.output}
    for op in graph.ops:
        if not computed_from.isdisjoint(op.inputs):
            computed_from.update(op.outputs)
    outputs: list[str] = []
    for name in graph.outputs:
        if name not in computed_from:
            outputs.append(name)
        elif dense.output not in outputs:
            outputs.append(dense.output)
    return tuple(outputs)


def _dropped(graph: Graph, dense: FullyConnected, own: tuple[AnyOp, ...]) -> list[str]:
    """Names of the ops that lead neither to the head nor to another output and are not its own tail."""
    cut = drop_unused(replace(graph, outputs=_marked_outputs(graph, dense)))
    kept = {op.name for op in cut.ops} | {op.name for op in own}
    return [op.name for op in graph.ops if op.name not in kept]


def _trainable(
    graph: Graph, dense: FullyConnected, parameters: Sequence[FloatParameter], outputs: int
) -> tuple[Tensor, Tensor, list[str]]:
    """Weight and bias of the head as trainable constants with `outputs` rows, and notices."""
    notices = []
    x = graph.tensor(dense.inputs[0])
    weight, bias = graph.tensor(dense.inputs[1]), graph.tensor(dense.inputs[2])
    if weight.quant is None:  # never, the loader refuses it
        raise HeadError(f"the weights of {dense.name} have no scales")
    spare = outputs - weight.shape[0]
    bias_scale = np.float32(x.scale) * np.asarray(weight.quant.scale, np.float32)
    bias_values = (bias.array() * bias_scale.astype(np.float64)).astype(np.float32)
    found = _matching_kernel(graph, dense, parameters)
    quant: Quant | None = None
    if found is not None:
        layer, weight_values = found
        same_layer_first = sorted(parameters, key=lambda parameter: parameter.layer != layer)
        for candidate in same_layer_first:
            limit = _HALF_STEP * bias_scale + 1e-6 * np.abs(bias_values)
            if candidate.values.shape == bias.shape and (np.abs(candidate.values - bias_values) <= limit).all():
                bias_values = candidate.values
                break
    else:
        weight_values, quant = weight.array(), weight.quant
        if quant.is_per_channel and spare:
            scales = (*quant.scale, *(max(quant.scale),) * spare)
            quant = Quant(scale=scales, zero_point=(0,) * len(scales), axis=quant.axis)
        if parameters:
            notices.append(
                f"the conversion changed the float weights of {dense.name}, so the head starts from the int8 ones"
            )
    return (
        constant(
            _own_name(graph, weight, dense),
            np.pad(weight_values, ((0, spare), (0, 0))),
            quant=quant,
            training=Training(kind=ParamKind.WEIGHT),
        ),
        constant(
            _own_name(graph, bias, dense),
            np.pad(bias_values.astype(np.float32), (0, spare)),
            training=Training(kind=ParamKind.BIAS),
        ),
        notices,
    )


def _own_name(graph: Graph, tensor: Tensor, dense: FullyConnected) -> str:
    """The constant's name, or a new one where a frozen op reads the same constant."""
    if graph.consumers(tensor.name) == (dense,):
        return tensor.name
    name = f"{tensor.name}_trainable"
    while any(t.name == name for t in graph.tensors):
        name += "_"
    return name


def _matching_kernel(
    graph: Graph, dense: FullyConnected, parameters: Sequence[FloatParameter]
) -> tuple[str, npt.NDArray[np.float32]] | None:
    """Layer and float kernel [C, F] that the op's int8 weights are the nearest steps of, or None."""
    weight = graph.tensor(dense.inputs[1])
    if weight.quant is None or weight.dtype is not DType.INT8:
        return None
    expected = dequantize_array(weight.array(), weight.quant)
    limit = _HALF_STEP * np.asarray(weight.quant.scale, np.float32).reshape(-1, 1)
    for parameter in parameters:
        if parameter.values.ndim != 2:
            continue
        for kernel in (parameter.values.T, parameter.values):
            if kernel.shape == weight.shape and (np.abs(kernel - expected) <= limit).all():
                return parameter.layer, np.ascontiguousarray(kernel, dtype=np.float32)
    return None


def _without_head(graph: Graph, labels: Sequence[str] | None, notices: tuple[str, ...]) -> MarkedHead:
    classes, numbered = _classes(graph)
    return MarkedHead(
        graph=graph,
        labels=_labels(labels, classes, classes, numbered=numbered, has_head=False),
        notices=notices,
        head=None,
        is_whole=True,
    )


def _classes(graph: Graph) -> tuple[int, bool]:
    """How many classes the first output tells apart, and whether it surely tells classes."""
    op = graph.producer(graph.outputs[0])
    if op is not None and graph.output.dtype in (DType.INT32, DType.INT64):  # ARG_MAX names the class itself
        return graph.tensor(op.inputs[0]).elements // graph.output.elements, True
    while isinstance(op, Reshape | Dequantize):
        op = graph.producer(op.inputs[0])
    return graph.output.elements, isinstance(op, Softmax)


def gives_classes(graph: Graph) -> bool:
    """Whether the first output of a graph without a head surely tells classes apart."""
    return _classes(graph)[1]


def _labels(
    labels: Sequence[str] | None, outputs: int, own_outputs: int, *, numbered: bool, has_head: bool = True
) -> tuple[str, ...]:
    if labels is None:
        return tuple(str(number) for number in range(outputs)) if numbered else ()
    if len(labels) not in (own_outputs, outputs):
        wanted = f"{outputs}" if outputs == own_outputs else f"{own_outputs} or {outputs}"
        hint = f"give {wanted} {noun(outputs, 'label')}, one for each output in order"
        if len(labels) > outputs and has_head:
            hint += f"; --classes {len(labels)} makes room for new ones"
        raise LabelError(
            f"{count(len(labels), 'label does', 'labels do')} not fit {count(outputs, 'output')}",
            cause=""
            if outputs == own_outputs
            else f"the model itself has {own_outputs}, the others are spare: either its own have names, or all",
            hint=hint,
        )
    names = (*labels, *(f"class {number}" for number in range(len(labels), outputs)))
    _check_names(names)
    return names


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if not name.isprintable():
            raise LabelError(f"the label {name!r} holds a control character", hint="give printable names")
    if any(not name.strip() for name in names):
        raise LabelError("a label is empty", hint="give each output a name")
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise LabelError(f"labels occur twice: {', '.join(twice)}", hint="give each output a name of its own")
