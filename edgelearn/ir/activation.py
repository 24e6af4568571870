"""Functions of one tensor: of each element by itself, and softmax and its logarithm over rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from edgelearn.ir.op import Op, Tensors


class Function(Op, frozen=True, kw_only=True):
    """Base of the functions of each element by itself: the device looks them up in a table of 256 bytes."""

    def problems(self, tensors: Tensors) -> Iterator[str]:
        """The shape stays."""
        x, out = tensors[self.inputs[0]], tensors[self.output]
        if out.shape != x.shape:
            yield f"{x.shape} cannot become {out.shape}"


class Requantize(Function, frozen=True, kw_only=True):
    """From int8 to int8 of another scale or zero point, between layers.

    Attributes:
        through_float: whether it is a DEQUANTIZE and a QUANTIZE, which round otherwise.
    """

    TITLE: ClassVar[str] = "QUANTIZE"
    through_float: bool = False


class Relu(Function, frozen=True, kw_only=True):
    """The larger of x and 0, where it is not fused into the op before it."""

    TITLE: ClassVar[str] = "RELU"


class Relu6(Function, frozen=True, kw_only=True):
    """x within 0 and 6, where it is not fused into the op before it."""

    TITLE: ClassVar[str] = "RELU6"


class Relu0To1(Function, frozen=True, kw_only=True):
    """x within 0 and 1."""

    TITLE: ClassVar[str] = "RELU_0_TO_1"


class ReluN1To1(Function, frozen=True, kw_only=True):
    """x within -1 and 1."""

    TITLE: ClassVar[str] = "RELU_N1_TO_1"


class LeakyRelu(Function, frozen=True, kw_only=True):
    """x where it is positive, else alpha x."""

    TITLE: ClassVar[str] = "LEAKY_RELU"
    alpha: float


class Elu(Function, frozen=True, kw_only=True):
    """x where it is positive, else e^x - 1."""

    TITLE: ClassVar[str] = "ELU"


class Gelu(Function, frozen=True, kw_only=True):
    """x times the normal distribution's function of x, by erfc or (`approximate`) by tanh."""

    TITLE: ClassVar[str] = "GELU"
    approximate: bool


class HardSwish(Function, frozen=True, kw_only=True):
    """x (x + 3) / 6, the fraction within 0 and 1."""

    TITLE: ClassVar[str] = "HARD_SWISH"
    LIMITS: ClassVar[str] = "an output scale of more than 1/128 of the input's, as LiteRT demands"


class Logistic(Function, frozen=True, kw_only=True):
    """1 / (1 + e^-x)."""

    TITLE: ClassVar[str] = "LOGISTIC"
    LIMITS: ClassVar[str] = "an output in steps of 1/256 from -128, as LiteRT demands"


class Tanh(Function, frozen=True, kw_only=True):
    """The hyperbolic tangent."""

    TITLE: ClassVar[str] = "TANH"


class Exp(Function, frozen=True, kw_only=True):
    """e^x."""

    TITLE: ClassVar[str] = "EXP"


class Log(Function, frozen=True, kw_only=True):
    """The natural logarithm."""

    TITLE: ClassVar[str] = "LOG"
    LIMITS: ClassVar[str] = "an input with the zero point -128, so that it is never negative"


class Abs(Function, frozen=True, kw_only=True):
    """The amount of x."""

    TITLE: ClassVar[str] = "ABS"


class Neg(Function, frozen=True, kw_only=True):
    """-x. LiteRT negates the byte, and gives -128 for -128."""

    TITLE: ClassVar[str] = "NEG"
    LIMITS: ClassVar[str] = "input and output of one scale, with zero points of 0"


class Prelu(Op, frozen=True, kw_only=True):
    """x where it is positive, else alpha x, where alpha is a constant for each channel or each element."""

    TITLE: ClassVar[str] = "PRELU"
    LIMITS: ClassVar[str] = "a constant alpha of int8; at most 4 axes"

    def problems(self, tensors: Tensors) -> Iterator[str]:
        """The shape stays, and alpha's goes together with it from behind."""
        x, alpha, out = (tensors[name] for name in (*self.inputs, self.output))
        if out.shape != x.shape:
            yield f"{x.shape} cannot become {out.shape}"
        behind = x.shape[len(x.shape) - len(alpha.shape) :]
        fits = all(a in (1, n) for a, n in zip(alpha.shape, behind, strict=False))
        if not alpha.is_constant or len(alpha.shape) > len(x.shape) or not fits:
            yield f"alpha {alpha.shape} for {x.shape}"


class Softmax(Op, frozen=True, kw_only=True):
    """Softmax over the last axis, int8 to int8 (scale 1/256, zero point -128)."""

    TITLE: ClassVar[str] = "SOFTMAX"
    LIMITS: ClassVar[str] = "an input scale times beta of more than 2^-26; rows of at most 8191 elements"
    beta: float = 1.0

    def problems(self, tensors: Tensors) -> Iterator[str]:
        """The shape stays."""
        x, out = tensors[self.inputs[0]], tensors[self.output]
        if out.shape != x.shape:
            yield f"softmax of {x.shape} is not {out.shape}"


class LogSoftmax(Op, frozen=True, kw_only=True):
    """The logarithm of the softmax over the last axis, int8 to int8 (scale 1/16, zero point 127)."""

    TITLE: ClassVar[str] = "LOG_SOFTMAX"
    LIMITS: ClassVar[str] = "an input scale of more than 2^-26, as LiteRT demands; rows of at most 4095 elements"

    def problems(self, tensors: Tensors) -> Iterator[str]:
        """The shape stays."""
        x, out = tensors[self.inputs[0]], tensors[self.output]
        if out.shape != x.shape:
            yield f"the logarithm of softmax of {x.shape} is not {out.shape}"


#: The functions of each element by itself.
FunctionOp = (
    Requantize
    | Relu
    | Relu6
    | Relu0To1
    | ReluN1To1
    | LeakyRelu
    | Elu
    | Gelu
    | HardSwish
    | Logistic
    | Tanh
    | Exp
    | Log
    | Abs
    | Neg
)
ActivationOp = FunctionOp | Prelu | Softmax | LogSoftmax
