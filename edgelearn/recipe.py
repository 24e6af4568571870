"""What a training recipe decided: the values that pass from `training`, which makes them, to everything after it.

The code generator stores and places what stands here, the host reads it back, verification compares it. The formulas
that give these numbers their meaning are in `edgelearn.training.head`.
"""

from __future__ import annotations

import enum

from msgspec import Struct

from edgelearn.ir import LossKind

#: What the device starts with where a person says nothing.
DEFAULT_LEARNING_RATE = 1e-3


class Residual(enum.Enum):
    """How the weights of a trainable layer are stored on the device.

    INT8 keeps int8 and 8 more bits beside it; STOCHASTIC int8 alone, rounded stochastically; NONE int8 alone, rounded
    to nearest; FLOAT float32, which stands outside the promise of bits.
    """

    INT8 = "int8"
    STOCHASTIC = "stochastic"
    NONE = "none"
    FLOAT = "float"

    @property
    def weight_bytes(self) -> int:
        """Bytes of RAM for each weight."""
        return {Residual.INT8: 2, Residual.STOCHASTIC: 1, Residual.NONE: 1, Residual.FLOAT: 4}[self]


class LearningRate(Struct, frozen=True, kw_only=True):
    """lr = mantissa 2^-exponent, with a mantissa of 15 bits."""

    mantissa: int
    exponent: int


class IntegerRows(Struct, frozen=True, kw_only=True, tag="integer"):
    """The rows of an integer head, as they start. Matrices are [outputs, features], row-major.

    Attributes:
        weights: int8 q.
        residual: uint8 l, the weight being (256 q + l - 128) s_w / 256; empty where every l is 128, or none is kept.
        bias: int32 with logit_fraction_bits + 8 fraction bits.
        row_m: with row_t, 2^logit_fraction_bits s_x s_w = m 2^-t.
        row_r: with row_rho, 256 s_x / s_w = r 2^-rho.
    """

    weights: bytes
    residual: bytes
    bias: tuple[int, ...]
    row_m: tuple[int, ...]
    row_t: tuple[int, ...]
    row_r: tuple[int, ...]
    row_rho: tuple[int, ...]


class FloatRows(Struct, frozen=True, kw_only=True, tag="float"):
    """The rows of a float head, as they start: little-endian float32, [outputs, features] and [outputs]."""

    weights: bytes
    bias: bytes


class LearnedHead(Struct, frozen=True, kw_only=True):
    """A head as a device left it, from which firmware can go on with the very same bits.

    Attributes:
        residual: how its weights are stored.
        logit_fraction_bits: fraction bits of its outputs.
        error_shift: squared error: gradient = rounded (output - target) >> shift.
        rows: the head itself.
        step: training steps that made it.
    """

    residual: Residual
    logit_fraction_bits: int
    error_shift: int
    rows: IntegerRows | FloatRows
    step: int


class DenseHead(Struct, frozen=True, kw_only=True):
    """A trainable dense layer on int8 features.

    Attributes:
        op: name of the graph's op.
        features_tensor: name of the int8 tensor it reads.
        logit_fraction_bits: fraction bits of its int32 outputs.
        gradient_fraction_bits: fraction bits of the 16-bit gradient by an output.
        error_shift: squared error: gradient = rounded (output - target) >> shift.
        target_shift: squared error: a target is int16 << shift, with the outputs' fraction bits.
        row_t_min: rows are not rescaled below this t.
        input_target: (mantissa, shift) of input_scale 2^logit_fraction_bits where the model's input can be the target,
            else (0, 0).
    """

    op: str
    features_tensor: str
    features: int
    outputs: int
    feature_scale: float
    feature_zero_point: int
    input_zero_point: int
    loss: LossKind
    residual: Residual
    logit_fraction_bits: int
    gradient_fraction_bits: int
    error_shift: int
    target_shift: int
    row_t_min: int
    input_target: tuple[int, int]
    rows: IntegerRows | FloatRows


class TrainingPlan(Struct, frozen=True, kw_only=True):
    """What trains on the device and how. Nothing, for inference only."""

    layers: tuple[DenseHead, ...]
    learning_rate: LearningRate


NO_TRAINING = TrainingPlan(layers=(), learning_rate=LearningRate(mantissa=0, exponent=0))
