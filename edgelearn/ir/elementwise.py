"""Arithmetic of two tensors, element by element."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from edgelearn.ir.op import Activation, Op, Tensors

#: Axes that the kernels walk.
MOST_AXES = 5


class _Elementwise(Op, frozen=True, kw_only=True):
    """Two operands of shapes that go together as NumPy's broadcasting has it; one may be constant."""

    LIMITS: ClassVar[str] = f"at most {MOST_AXES} axes; not both operands constant"

    def problems(self, tensors: Tensors) -> Iterator[str]:
        """Shapes of operands and output."""
        first, second, out = (tensors[name].shape for name in (*self.inputs, self.output))
        if broadcast_shape(first, second) != out:
            yield f"operands {first} and {second} do not make the output {out}"


class Add(_Elementwise, frozen=True, kw_only=True):
    """Elementwise sum of two int8 tensors, with broadcasting."""

    TITLE: ClassVar[str] = "ADD"
    activation: Activation = Activation.NONE


class Sub(_Elementwise, frozen=True, kw_only=True):
    """Elementwise difference of two int8 tensors, with broadcasting."""

    TITLE: ClassVar[str] = "SUB"
    activation: Activation = Activation.NONE


class Mul(_Elementwise, frozen=True, kw_only=True):
    """Elementwise product of two int8 tensors, with broadcasting."""

    TITLE: ClassVar[str] = "MUL"
    activation: Activation = Activation.NONE


class Maximum(_Elementwise, frozen=True, kw_only=True):
    """The larger of two int8 tensors' elements, with broadcasting."""

    TITLE: ClassVar[str] = "MAXIMUM"
    LIMITS: ClassVar[str] = _Elementwise.LIMITS + "; one scale and zero point for all"


class Minimum(_Elementwise, frozen=True, kw_only=True):
    """The smaller of two int8 tensors' elements, with broadcasting."""

    TITLE: ClassVar[str] = "MINIMUM"
    LIMITS: ClassVar[str] = Maximum.LIMITS


def broadcast_shape(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape that two shapes make together, or None where they do not go together."""
    rank = max(len(first), len(second))
    pairs = list(zip((1,) * (rank - len(first)) + first, (1,) * (rank - len(second)) + second, strict=True))
    if any(a != b and 1 not in (a, b) for a, b in pairs):
        return None
    return tuple(b if a == 1 else a for a, b in pairs)


ElementwiseOp = Add | Sub | Mul | Maximum | Minimum
