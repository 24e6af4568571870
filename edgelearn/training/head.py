"""The head recipe: a trainable dense layer at the end, learnt from each streamed sample (TinyOL, Ren et al. 2021).

The layer is z = W x + b on int8 features x_q (scale s_x, zero point z_x). A weight is u = 256 q + l, its value
(u - 128) s_w / 256 with a scale s_w of its row. All operands are int32; rs(v, n) = (v + 2^(n-1)) >> n. A positive real
constant is a 15-bit mantissa with an exponent: lr = A 2^-a, 256 s_x / s_w = R 2^-rho, 2^f s_x s_w = M 2^-t, where f is
the number of fraction bits of z.

    logit     acc = sum q (x_q - z_x) = 2^15 hi + lo;  y = (hi M << (15-t)) + rs(lo M, t) for t <= 15,
              else rs(hi M + rs(lo M, 15), t-15);  z = y + rs(b, 8)
    gradient  g with G fraction bits: softmax(z) - onehot (G = 15), or rs(z - target, e) (G = f - e), within +-32767
    softmax   d = min(z_max - z in Q12, 65535);  v = d 23637 >> 10;  n = v >> 16, i = (v >> 10) & 63, w = v & 1023;
              e = (T[i] - rs((T[i] - T[i+1]) w, 10)) >> n, 0 for n > 15, T[i] = round(2^(15 - i/64));
              S = sum e;  p = (2^15 e + (S >> 1)) / S
    row       K = rs(A R, 15);  k = rs(g K, 15);  s = a + rho + G - 30
    weight    u = sat16(u - rs(k (x_q - z_x), s)), nothing where k = 0 or s > 24
    rescale   a row in which a weight saturated, while t > t_min: u = ((u - 127) >> 1) + 128, t -= 1, rho += 1
    bias      b = b - rs(g A, a + G - f - 8), saturating

t_min is the smallest t at which no logit of the layer can reach 2^30: 2^15 F 128 255 2^-t_min <= 2^30.
f is 16 where the layer's rows and biases allow it, fewer where its outputs are large.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from msgspec import structs

from edgelearn.errors import HeadError, LearningRateError
from edgelearn.ir import DType, Graph, LossKind
from edgelearn.ir.dense import FullyConnected
from edgelearn.protocol import encode_learning_rate, mantissa_and_exponent
from edgelearn.recipe import (
    DEFAULT_LEARNING_RATE,
    NO_TRAINING,
    DenseHead,
    FloatRows,
    IntegerRows,
    LearnedHead,
    LearningRate,
    Residual,
    TrainingPlan,
)
from edgelearn.words import count

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

#: Fraction bits of the logits, and of the biases beyond those of the logits.
MOST_FRACTION_BITS = 16
LEAST_FRACTION_BITS = 4
BIAS_EXTRA_BITS = 8
#: Doublings that each row's weights may grow before they saturate for good, where fraction bits can buy them.
GROWTH_BITS = 4
#: Largest t: a logit of a row beyond it rounds to nothing.
LARGEST_ROW_T = 45
#: The target must leave room for the logit in an int32.
LARGEST_TARGET_SHIFT = 14
SMALLEST_INPUT_TARGET_SHIFT = -6
#: More products of int8 weights and 9-bit inputs than this could leave an int32, with the half that is added to them
#: before the widest shift of a logit.
MOST_FEATURES = (2**31 - 1 - 2 ** (LARGEST_ROW_T - 16)) // (128 * 255)
#: No row's scale is below this part of the largest: its updates would soon need shifts to the left.
SMALLEST_ROW_SCALE = 1 / 32


def smallest_row_t(features: int) -> int:
    """The smallest t at which no logit of `features` products of int8 weights and 9-bit inputs reaches 2^30."""
    return max(0, (features * 128 * 255 - 1).bit_length() - 15)


def plan_training(
    graph: Graph,
    *,
    residual: Residual = Residual.INT8,
    learning_rate: float | None = None,
    learned: LearnedHead | None = None,
) -> TrainingPlan:
    """Decide how the graph's trainable parameters are stored and updated.

    Args:
        graph: the graph; nothing trainable in it gives an empty plan.
        residual: how weights are stored.
        learning_rate: the one the device starts with; None takes DEFAULT_LEARNING_RATE, or the largest that the
            integer update can represent where that is smaller.
        learned: the head as a device left it: where its weights are stored the same way, they start as these very bits,
            else as the real values in the graph.

    Raises:
        HeadError: something trains that this recipe cannot train, or a layer's numbers are beyond its fixed point.
        LearningRateError: the learning rate is out of range, or larger than the integer update can represent.
    """
    trainable = graph.trainable_ops
    if not trainable:
        return NO_TRAINING
    if len(trainable) > 1 or not isinstance(trainable[0], FullyConnected) or graph.consumers(trainable[0].output):
        raise HeadError(
            "only a dense layer at the end of the network can be trained by this recipe",
            cause=f"trainable: {', '.join(op.name for op in trainable)}",
        )
    layer = _plan_dense(graph, trainable[0], residual)
    if learned is not None and learned.residual is residual:
        layer = _as_learned(layer, learned)
    smallest = smallest_exponent(layer)
    largest_rate = math.ldexp(2**15 - 1, -smallest)
    if learning_rate is None:
        learning_rate = min(DEFAULT_LEARNING_RATE, largest_rate)
    mantissa, exponent = encode_learning_rate(learning_rate)
    if mantissa and exponent < smallest:
        raise LearningRateError(
            f"a learning rate of {learning_rate:g} is too large for the integer update of {layer.op}",
            hint=f"give at most {largest_rate:.3g}",
        )
    return TrainingPlan(layers=(layer,), learning_rate=LearningRate(mantissa=mantissa, exponent=exponent))


def smallest_exponent(layer: DenseHead) -> int:
    """The smallest exponent a of a learning rate A 2^-a at which no update of the layer, as it starts, shifts left."""
    if not isinstance(layer.rows, IntegerRows):
        return 0
    of_bias = layer.logit_fraction_bits + BIAS_EXTRA_BITS - layer.gradient_fraction_bits
    return max(0, of_bias, 31 - layer.gradient_fraction_bits - min(layer.rows.row_rho))


def _as_learned(layer: DenseHead, learned: LearnedHead) -> DenseHead:
    """The layer with the state that a device left it in."""
    weights = layer.outputs * layer.features
    rows = learned.rows
    lengths = [len(rows.weights) // (1 if isinstance(rows, IntegerRows) else 4)]
    if isinstance(rows, IntegerRows):
        lengths += [len(rows.residual)] if rows.residual else []
        per_row = (rows.bias, rows.row_m, rows.row_t, rows.row_r, rows.row_rho)
        lengths += [len(values) * layer.features for values in per_row]
    if any(length != weights for length in lengths):
        raise HeadError(
            f"the learned head does not fit {layer.op}, which has {count(layer.outputs, 'output')} of "
            f"{count(layer.features, 'feature')}",
            hint="the bundle is damaged; pull the head again",
        )
    bits = learned.logit_fraction_bits
    is_regression = layer.loss is LossKind.SQUARED_ERROR
    return structs.replace(
        layer,
        logit_fraction_bits=bits,
        gradient_fraction_bits=bits - learned.error_shift if is_regression else layer.gradient_fraction_bits,
        error_shift=learned.error_shift,
        target_shift=learned.error_shift,
        input_target=_rescaled(layer.input_target, bits - layer.logit_fraction_bits),
        rows=rows,
    )


def _rescaled(input_target: tuple[int, int], more_bits: int) -> tuple[int, int]:
    """The factor of targets for so many more fraction bits; (0, 0) stays, and is where that has no room."""
    mantissa, shift = input_target
    shift -= more_bits
    return (mantissa, shift) if mantissa and SMALLEST_INPUT_TARGET_SHIFT <= shift <= 30 else (0, 0)


def _plan_dense(graph: Graph, op: FullyConnected, residual: Residual) -> DenseHead:
    import numpy as np

    if graph.loss is None:
        raise HeadError(f"{op.name} is trainable but the model has no loss")
    features = graph.tensor(op.inputs[0])
    outputs = graph.tensor(op.output)
    weights, row_scale = _initial_weights(graph, op)
    bias = graph.tensor(op.inputs[2]).array().astype(np.float64)
    count = features.elements
    if count > MOST_FEATURES:
        raise HeadError(
            f"{op.name} has {count:,} inputs, at most {MOST_FEATURES:,} can be trained",
            hint="pool its input first, or convert with --head none",
        )
    t_min = smallest_row_t(count)
    bits = _logit_fraction_bits(op.name, features.scale * row_scale, bias, t_min)

    error_shift = 0
    gradient_bits = 15
    if graph.loss.kind is LossKind.SQUARED_ERROR:
        bits, error_shift = _error_shift(op.name, _output_range(graph, op, weights, row_scale, bias), bits)
        gradient_bits = bits - error_shift

    if residual is Residual.FLOAT:
        real = ((weights - 128) * (row_scale / 256.0)[:, None]).astype("<f4")
        rows: IntegerRows | FloatRows = FloatRows(weights=real.tobytes(), bias=bias.astype("<f4").tobytes())
    else:
        rows = _integer_rows(weights, row_scale, bias, features.scale, bits, keep_residual=residual is Residual.INT8)
    return DenseHead(
        op=op.name,
        features_tensor=features.name,
        features=count,
        outputs=outputs.elements,
        feature_scale=features.scale,
        feature_zero_point=features.zero_point,
        input_zero_point=graph.input.zero_point if graph.input.dtype is DType.INT8 else 0,
        loss=graph.loss.kind,
        residual=residual,
        logit_fraction_bits=bits,
        gradient_fraction_bits=gradient_bits,
        error_shift=error_shift,
        target_shift=error_shift,
        row_t_min=t_min,
        input_target=_input_target(graph, outputs.elements, bits),
        rows=rows,
    )


def _initial_weights(graph: Graph, op: FullyConnected) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Weights u [outputs, features] and row scales [outputs], from float weights or from int8 ones."""
    import numpy as np

    tensor = graph.tensor(op.inputs[1])
    if tensor.dtype is DType.INT8 and tensor.quant is not None:
        given = np.broadcast_to(np.asarray(tensor.quant.scale, np.float64), tensor.shape[:1])
        scales = np.maximum(given, given.max() * SMALLEST_ROW_SCALE)
        moved = np.rint(256.0 * tensor.array() * (given / scales)[:, None])
        return 128 + moved.astype(np.int64), scales
    real = tensor.array().astype(np.float64)
    largest = np.abs(real).max(axis=1)
    # A row of zeros, such as a spare class, has no scale of its own: it takes the largest of the others.
    fallback = float(largest.max()) or 1.0
    scales = np.where(largest > 0.0, np.maximum(largest, fallback * SMALLEST_ROW_SCALE), fallback) / 127.0
    return 128 + np.rint(256.0 * real / scales[:, None]).astype(np.int64), scales


def _logit_fraction_bits(
    name: str, product_scale: npt.NDArray[np.float64], bias: npt.NDArray[np.float64], t_min: int
) -> int:
    """The most fraction bits at which the biases fit int32 and each row may still grow."""
    largest_bias = float(abs(bias).max())
    smallest_t = min(mantissa_and_exponent(float(scale))[1] for scale in product_scale)
    for growth_bits in (GROWTH_BITS, 0):
        for bits in range(MOST_FRACTION_BITS, LEAST_FRACTION_BITS - 1, -1):
            if smallest_t - bits >= t_min + growth_bits and largest_bias * 2.0 ** (bits + BIAS_EXTRA_BITS) < 2.0**30:
                return bits
    raise HeadError(
        f"the outputs of {name} are too large for its fixed point",
        cause=f"the largest bias is {largest_bias:g}, the largest product of scales {float(product_scale.max()):g}",
        hint="normalise the model's inputs or outputs, or convert with --head none",
    )


def _output_range(
    graph: Graph,
    op: FullyConnected,
    weights: npt.NDArray[np.int64],
    row_scale: npt.NDArray[np.float64],
    bias: npt.NDArray[np.float64],
) -> float:
    """The largest magnitude that an output is expected to have: the calibrated one, else what one feature can do."""
    import numpy as np

    quant = graph.tensor(op.output).quant
    if quant is not None:
        zero_point = quant.zero_point[0]
        return float(max(127 - zero_point, 128 + zero_point) * quant.scale[0])
    norm = np.sqrt(((weights - 128.0) ** 2).sum(axis=1)) * row_scale / 256.0
    return float((norm * graph.tensor(op.inputs[0]).scale * 255 + np.abs(bias)).max())


def _error_shift(name: str, output_range: float, most_bits: int) -> tuple[int, int]:
    """Fraction bits, and the shift at which an error of twice the output range fits 16 bits."""
    for bits in range(most_bits, LEAST_FRACTION_BITS - 1, -1):
        shift = max(0, math.ceil(math.log2(max(2.0 * output_range, 2.0**-bits) * 2.0**bits / 32767.0)))
        if shift <= LARGEST_TARGET_SHIFT:
            return bits, shift
    raise HeadError(
        f"the outputs of {name} reach {output_range:g}, too large for its fixed point",
        hint="normalise the model's outputs, or convert with --head none",
    )


def _input_target(graph: Graph, outputs: int, bits: int) -> tuple[int, int]:
    """Mantissa and shift that turn an input element into a target, or (0, 0) where this is not possible."""
    if len(graph.inputs) != 1 or graph.input.dtype is not DType.INT8 or graph.input.elements != outputs:
        return 0, 0
    mantissa, shift = mantissa_and_exponent(graph.input.scale * 2.0**bits)
    if shift > 30:
        return 0, 0
    return (mantissa, shift) if shift >= SMALLEST_INPUT_TARGET_SHIFT else (0, 0)


def _integer_rows(
    weights: npt.NDArray[np.int64],
    row_scale: npt.NDArray[np.float64],
    bias: npt.NDArray[np.float64],
    feature_scale: float,
    bits: int,
    *,
    keep_residual: bool,
) -> IntegerRows:
    import numpy as np

    products = [mantissa_and_exponent(2.0**bits * feature_scale * float(scale)) for scale in row_scale]
    ratios = [mantissa_and_exponent(256.0 * feature_scale / float(scale)) for scale in row_scale]
    if not all(-100 <= rho <= 100 for _, rho in ratios):
        raise HeadError(
            "the scales of the trainable layer's inputs and weights are too far apart for its fixed point",
            cause=f"its inputs have the scale {feature_scale:g}, its weights {float(row_scale.min()):g}",
            hint="normalise the model's inputs, or convert with --head none",
        )
    return IntegerRows(
        weights=(weights >> 8).astype(np.int8).tobytes(),
        residual=_residual(weights) if keep_residual else b"",
        bias=tuple(int(b) for b in np.rint(bias * 2.0 ** (bits + BIAS_EXTRA_BITS))),
        row_m=tuple(m if t <= LARGEST_ROW_T else 0 for m, t in products),
        row_t=tuple(min(t, LARGEST_ROW_T) for _, t in products),
        row_r=tuple(r for r, _ in ratios),
        row_rho=tuple(rho for _, rho in ratios),
    )


def _residual(weights: npt.NDArray[np.int64]) -> bytes:
    """The low bytes, or nothing where all are 128, as they are for weights that start from int8."""
    import numpy as np

    low = (weights & 255).astype(np.uint8)
    return b"" if (low == 128).all() else low.tobytes()
