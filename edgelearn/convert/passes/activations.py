"""Folds activations into the op before them, which clamps its output anyway."""

from __future__ import annotations

from msgspec.structs import replace

from edgelearn.convert.passes.unused import drop_unused
from edgelearn.ir import Activation, AnyOp, Graph
from edgelearn.ir.activation import Relu, Relu6
from edgelearn.ir.convolution import Conv2D, DepthwiseConv2D, TransposeConv
from edgelearn.ir.dense import FullyConnected
from edgelearn.ir.elementwise import Add, Mul, Sub
from edgelearn.ir.pooling import AveragePool2D, MaxPool2D

_Clamping = Conv2D | DepthwiseConv2D | TransposeConv | FullyConnected | Add | Sub | Mul | AveragePool2D | MaxPool2D


def fold_activations(graph: Graph) -> Graph:
    """Folds each RELU and RELU6 that keeps scale and zero point into the op before it, where nothing else reads that.

    With another scale or zero point it would round a second time.
    """
    for op in [op for op in graph.ops if isinstance(op, Relu | Relu6)]:
        source = op.inputs[0]
        producer = graph.producer(source)
        same_quant = graph.tensor(source).quant == graph.tensor(op.output).quant
        alone = len(graph.consumers(source)) == 1 and source not in graph.outputs
        if isinstance(producer, _Clamping) and same_quant and alone:
            narrower = isinstance(op, Relu6) or producer.activation is Activation.RELU6
            clamping = replace(
                producer, outputs=op.outputs, activation=Activation.RELU6 if narrower else Activation.RELU
            )
            graph = drop_unused(replace(graph, ops=_with(graph.ops, producer, clamping, without=op)))
    return graph


def _with(ops: tuple[AnyOp, ...], old: AnyOp, new: AnyOp, *, without: AnyOp) -> tuple[AnyOp, ...]:
    return tuple(new if op is old else op for op in ops if op is not without)
