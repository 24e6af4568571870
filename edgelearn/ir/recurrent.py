"""Ops that carry a state from step to step of a sequence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from edgelearn.ir.op import Op, Tensors
from edgelearn.ir.tensor import DType, Quant

#: Input, forget, cell and output gate.
GATES = 4


class UnidirectionalSequenceLstm(Op, frozen=True, kw_only=True):
    """LSTM over the T steps of a sequence, from a state of zero in each inference, as Keras has it.

    Inputs: x [1,T,F] or [T,1,F] int8; of the input, forget, cell and output gate the input weights [U,F] int8, then the
    recurrent weights [U,U] int8, then the biases [U] int32. Output [1,T,U] or [T,1,U] int8. The cell state is int16 in
    steps of 2^cell_exponent, between -cell_clip and cell_clip steps unless that is 0.

    What a step gives is quantised as `hidden` and read by the next step as `state`; its bytes are the output, whatever
    quantisation the output has. LiteRT takes all three as they are; in a model as it ought to be they are the same.
    """

    TITLE: ClassVar[str] = "UNIDIRECTIONAL_SEQUENCE_LSTM"
    LIMITS: ClassVar[str] = "no projection, peephole, layer normalisation or coupled gates; scales per tensor"
    hidden: Quant
    state: Quant
    cell_exponent: int
    cell_clip: int = 0

    def problems(self, tensors: Tensors) -> Iterator[str]:
        """Shapes of weights, biases and sequences."""
        x, out = tensors[self.inputs[0]], tensors[self.output]
        if len(x.shape) != 3 or len(out.shape) != 3 or 1 not in x.shape[:2] or out.shape[:2] != x.shape[:2]:
            yield f"{x.shape} -> {out.shape} are no sequences of a batch of 1"
            return
        units, features = out.shape[2], x.shape[2]
        wanted = [((units, features), DType.INT8), ((units, units), DType.INT8), ((units,), DType.INT32)]
        if len(self.inputs) != 1 + len(wanted) * GATES:
            yield f"{len(self.inputs)} inputs"
            return
        for position, name in enumerate(self.inputs[1:]):
            shape, dtype = wanted[position // GATES]
            tensor = tensors[name]
            if tensor.shape != shape or tensor.dtype is not dtype or not tensor.is_constant:
                yield f"{name} {tensor.shape} is no constant {shape} {dtype.value}"
        if not -15 <= self.cell_exponent <= -9 or self.cell_clip < 0:
            yield f"cell state in steps of 2^{self.cell_exponent}, clipped at {self.cell_clip}"

    def multiply_accumulates(self, tensors: Tensors) -> int:
        """One for each weight and step."""
        x, out = tensors[self.inputs[0]], tensors[self.output]
        units = out.shape[2]
        return GATES * out.elements * (x.shape[2] + units)


RecurrentOp = UnidirectionalSequenceLstm
