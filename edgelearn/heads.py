"""Learned heads between devices, bundles and files: pull, push, compare."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from edgelearn.bundle import Bundle, LearnedOn, bundle_bytes
from edgelearn.errors import HeadError, WrongModelError
from edgelearn.host.device import Device
from edgelearn.host.head import HeadState
from edgelearn.ir import Graph, quantize_array
from edgelearn.protocol import ResidualCode
from edgelearn.recipe import DenseHead, FloatRows, IntegerRows, LearnedHead, Residual
from edgelearn.training import plan_training
from edgelearn.words import count


class RowChange(msgspec.Struct, frozen=True, kw_only=True):
    """How one row of a head, the weights of one output, differs from another one; in real units.

    Attributes:
        name: of the class, or the output's number.
        changed: weights that differ.
        weights: of the row.
        rms: root of the mean square of the differences.
        largest: the largest difference.
        rms_before: root of the mean square of the weights before.
        bias: difference of the biases.
    """

    name: str
    changed: int
    weights: int
    rms: float
    largest: float
    rms_before: float
    bias: float


def pull(device: Device, bundle: Bundle, *, run: str = "") -> Bundle:
    """The bundle with the head, the classes and their names that the device has now.

    Args:
        device: that runs the bundle's model.
        bundle: that its firmware was generated from, or any with the same model.
        run: the run that taught it, for the provenance.

    Raises:
        WrongModelError: the device runs another model.
        HeadError: the model has no head, or one of another shape.
    """
    check_model(device, bundle.model_hash, bundle.name)
    info = device.info
    head = device.read_head()
    step = device.statistics().step
    labels = info.labels or bundle.labels
    classes = info.classes_in_use
    provenance = msgspec.structs.replace(
        bundle.provenance,
        parents=(*bundle.provenance.parents, hashlib.sha256(bundle_bytes(bundle)).hexdigest()),
        learned_on=LearnedOn(board=info.board, port=device.port, boot=info.boot, step=step, run=run),
    )
    return msgspec.structs.replace(
        bundle,
        graph=_with_head(bundle.graph, head),
        labels=labels,
        spare_classes=len(labels) - classes if classes and labels else bundle.spare_classes,
        learned=LearnedHead(
            residual=Residual[head.residual.name],
            logit_fraction_bits=info.logit_fraction_bits,
            error_shift=info.error_shift,
            rows=_rows(head),
            step=step,
        ),
        provenance=provenance,
    )


def push(device: Device, bundle: Bundle) -> str:
    """Give the device the head, the classes and the names of a bundle; it saves them where it can.

    Returns:
        Why they are not kept without power, "" where they are.

    Raises:
        WrongModelError: the bundle holds another model than the device.
        HeadError: the model has no head, or the device stores its weights in another way.
    """
    check_model(device, bundle.model_hash, bundle.name)
    residual = Residual[device.info.residual.name]
    head = head_of(bundle, residual)
    if head is None:
        raise HeadError(f"{bundle.name} has no trainable head", hint="convert it without `--head none`")
    device.check_head(head)
    classes = device.info.classes_in_use
    for index, name in enumerate(bundle.labels[: len(bundle.labels) - bundle.spare_classes]):
        if device.info.label_bytes and (index >= classes or name != device.info.label_name(index)):
            device.set_class(index, name)
    device.write_head(head)
    return device.keep()


def check_model(device: Device, model_hash: str, name: str) -> None:
    """Refuse a head of another model.

    Raises:
        WrongModelError: with both named.
    """
    if device.info.model_hash != model_hash[:16].lower():
        raise WrongModelError(
            f"{name or 'this head'} is not of the model on the device",
            cause=f"the device runs {device.info.model_hash}, {name or 'the head'} is of {model_hash[:16]}",
            hint="a head fits only the model it was learned with: flash that one, or give the bundle of this one",
        )


def head_of(bundle: Bundle, residual: Residual | None = None) -> HeadState | None:
    """The head that firmware of the bundle starts with; None where nothing trains.

    Args:
        bundle: with or without a learned head.
        residual: how weights are stored; by default as they were learned, else INT8.
    """
    residual = residual or (bundle.learned.residual if bundle.learned else Residual.INT8)
    layers = plan_training(bundle.graph, residual=residual, learned=bundle.learned).layers
    return _state(layers[0]) if layers else None


def compare(before: HeadState, after: HeadState, names: Sequence[str] = ()) -> list[RowChange]:
    """How each row differs.

    Raises:
        HeadError: the heads have other shapes.
    """
    if before.q.shape != after.q.shape:
        shapes = (f"{count(h.q.shape[0], 'output')} of {count(h.q.shape[1], 'feature')}" for h in (before, after))
        raise HeadError(
            f"the heads cannot be compared: {' and '.join(shapes)}",
            cause="they are of different models, or of other --classes",
            hint="take two heads of one model; `edgelearn inspect` and `edgelearn head show` say which model it is",
        )
    old, new = before.weights(), after.weights()
    moved, bias = new - old, after.biases() - before.biases()
    return [
        RowChange(
            name=names[row] if row < len(names) and names[row] else str(row),
            changed=int(np.count_nonzero(moved[row])),
            weights=moved.shape[1],
            rms=_rms(moved[row]),
            largest=float(np.abs(moved[row]).max()),
            rms_before=_rms(old[row]),
            bias=float(bias[row]),
        )
        for row in range(len(moved))
    ]


def _rms(values: npt.NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _rows(head: HeadState) -> IntegerRows | FloatRows:
    if head.residual is ResidualCode.FLOAT:
        return FloatRows(weights=head.bytes_of("q"), bias=head.bytes_of("bias"))

    def integers(name: str) -> tuple[int, ...]:
        return tuple(int(value) for value in getattr(head, name))

    return IntegerRows(
        weights=head.bytes_of("q"),
        residual=head.bytes_of("l") if head.residual is ResidualCode.INT8 else b"",
        bias=integers("bias"),
        row_m=integers("row_m"),
        row_t=integers("row_t"),
        row_r=integers("row_r"),
        row_rho=integers("row_rho"),
    )


def _state(layer: DenseHead) -> HeadState:
    shape = (layer.outputs, layer.features)
    rows = layer.rows
    if isinstance(rows, FloatRows):
        return HeadState(
            residual=ResidualCode.FLOAT,
            feature_scale=layer.feature_scale,
            logit_fraction_bits=layer.logit_fraction_bits,
            q=np.frombuffer(rows.weights, "<f4").reshape(shape),
            bias=np.frombuffer(rows.bias, "<f4"),
        )
    residual = None
    if layer.residual is Residual.INT8:
        given = np.frombuffer(rows.residual, np.uint8)
        residual = given.reshape(shape) if given.size else np.full(shape, 128, np.uint8)
    return HeadState(
        residual=ResidualCode[layer.residual.name],
        feature_scale=layer.feature_scale,
        logit_fraction_bits=layer.logit_fraction_bits,
        q=np.frombuffer(rows.weights, np.int8).reshape(shape),
        bias=np.array(rows.bias, np.int32),
        l=residual,
        row_t=np.array(rows.row_t, np.int8),
        row_rho=np.array(rows.row_rho, np.int8),
        row_m=np.array(rows.row_m, np.uint16),
        row_r=np.array(rows.row_r, np.uint16),
    )


def _with_head(graph: Graph, head: HeadState) -> Graph:
    """The graph with the head's real values in its trainable layer, for whoever stores weights in another way.

    Their type stays: it is part of the model's hash.
    """
    op = graph.trainable_ops[0]
    values = {op.inputs[1]: head.weights(), op.inputs[2]: head.biases()}
    tensors = []
    for tensor in graph.tensors:
        if tensor.name in values:
            array = values[tensor.name].reshape(tensor.shape).astype("<f4")
            data = array if tensor.quant is None else quantize_array(array, tensor.quant)
            tensor = msgspec.structs.replace(tensor, data=data.tobytes())
        tensors.append(tensor)
    return msgspec.structs.replace(graph, tensors=tuple(tensors))
