"""The graph that everything works on: tensors, typed ops, what trains and how it is judged.

A graph is frozen; a pass returns a new one. Tensors are known by unique names, activations have no data, constants
carry theirs as little-endian bytes. Nothing here assumes which parameters train: any constant may carry a
`Training`, and every op keeps the parameters that a backward pass needs. Ops stand in families, one file
each, and are imported from there.
"""

from edgelearn.ir.graph import OP_TYPES, AnyOp, Graph, Loss, LossKind, verify
from edgelearn.ir.op import Activation, Op, Tensors, Window
from edgelearn.ir.tensor import (
    DType,
    ParamKind,
    Quant,
    Tensor,
    Training,
    constant,
    dequantize_array,
    quantize_array,
)

__all__ = [
    "OP_TYPES",
    "Activation",
    "AnyOp",
    "DType",
    "Graph",
    "Loss",
    "LossKind",
    "Op",
    "ParamKind",
    "Quant",
    "Tensor",
    "Tensors",
    "Training",
    "Window",
    "constant",
    "dequantize_array",
    "quantize_array",
    "verify",
]
