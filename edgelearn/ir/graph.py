"""The graph: tensors and typed ops in execution order, how it is judged, and verify(), which runs after every pass."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import get_args

import msgspec

from edgelearn.errors import GraphError
from edgelearn.ir.activation import ActivationOp
from edgelearn.ir.convolution import ConvolutionOp
from edgelearn.ir.dense import DenseOp
from edgelearn.ir.edges import EdgeOp
from edgelearn.ir.elementwise import ElementwiseOp
from edgelearn.ir.movement import MovementOp
from edgelearn.ir.op import Op
from edgelearn.ir.pooling import PoolingOp
from edgelearn.ir.recurrent import RecurrentOp
from edgelearn.ir.reduction import ReductionOp
from edgelearn.ir.tensor import Tensor, tensor_problems

AnyOp = (
    EdgeOp | ConvolutionOp | DenseOp | RecurrentOp | PoolingOp | ReductionOp | ElementwiseOp | ActivationOp | MovementOp
)
#: All op types.
OP_TYPES: tuple[type[Op], ...] = get_args(AnyOp)


class LossKind(enum.Enum):
    """How a prediction is judged."""

    CROSS_ENTROPY = "cross-entropy"
    SQUARED_ERROR = "squared-error"


class Loss(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The loss that training minimises and the tensor it is taken of (logits, for cross-entropy)."""

    kind: LossKind
    prediction: str


class Graph(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A network in execution order. Bit-exactness is promised for every int8 tensor in it."""

    name: str
    tensors: tuple[Tensor, ...]
    ops: tuple[AnyOp, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    loss: Loss | None = None

    def tensor(self, name: str) -> Tensor:
        """The tensor of that name; GraphError if there is none."""
        for tensor in self.tensors:
            if tensor.name == name:
                return tensor
        raise GraphError(f"graph {self.name} has no tensor {name}")

    def producer(self, name: str) -> AnyOp | None:
        """The op that writes the tensor, or None for an input or a constant."""
        return next((op for op in self.ops if name in op.outputs), None)

    def consumers(self, name: str) -> tuple[AnyOp, ...]:
        """The ops that read the tensor."""
        return tuple(op for op in self.ops if name in op.inputs)

    def trains(self, op: Op) -> bool:
        """Whether any parameter of the op is trainable."""
        return any(self.tensor(name).training is not None for name in op.inputs)

    @property
    def trainable_ops(self) -> tuple[AnyOp, ...]:
        """The ops with trainable parameters, in execution order."""
        return tuple(op for op in self.ops if self.trains(op))

    @property
    def tensors_by_name(self) -> dict[str, Tensor]:
        """All tensors by name."""
        return {tensor.name: tensor for tensor in self.tensors}

    @property
    def input(self) -> Tensor:
        """The only input, or the first one."""
        return self.tensor(self.inputs[0])

    @property
    def output(self) -> Tensor:
        """The only output, or the first one."""
        return self.tensor(self.outputs[0])


def verify(graph: Graph, *, after: str) -> Graph:
    """Check every invariant of the graph and return it.

    Args:
        graph: the graph to check.
        after: the pass that made it, named in the error.

    Raises:
        GraphError: naming the pass, the node and what is wrong with it.
    """
    for problem in _problems(graph):
        raise GraphError(
            f"after {after}: {problem}", hint="this is a defect of edgelearn; please report it with the model"
        )
    return graph


def _problems(graph: Graph) -> Iterator[str]:
    tensors = {tensor.name: tensor for tensor in graph.tensors}
    if len(tensors) != len(graph.tensors):
        yield "two tensors have the same name"
    if len({op.name for op in graph.ops}) != len(graph.ops):
        yield "two ops have the same name"
    for tensor in graph.tensors:
        yield from tensor_problems(tensor)
    for name in (*graph.inputs, *graph.outputs):
        if name not in tensors:
            yield f"input or output {name} does not exist"
            return
    written = {*graph.inputs, *(t.name for t in graph.tensors if t.is_constant)}
    used = {*graph.inputs, *graph.outputs}
    for op in graph.ops:
        used.update(op.inputs, op.outputs)
        for name in (*op.inputs, *op.outputs):
            if name not in tensors:
                yield f"{op.name}: tensor {name} does not exist"
                return
        for name in op.inputs:
            if name not in written:
                yield f"{op.name}: reads {name} before it is written"
        for name in op.outputs:
            if name in written:
                yield f"{op.name}: writes {name}, which is already written"
            written.add(name)
        yield from (f"{op.name}: {problem}" for problem in op.problems(tensors))
    for name in graph.outputs:
        if name not in written:
            yield f"output {name} is never written"
    for name in tensors:
        if name not in used:
            yield f"tensor {name} is used by nothing"
    if graph.loss is not None:
        if graph.loss.prediction not in tensors:
            yield f"the loss reads {graph.loss.prediction}, which does not exist"
        if not graph.trainable_ops:
            yield "there is a loss but nothing to train"
    elif graph.trainable_ops:
        yield "there is something to train but no loss"
