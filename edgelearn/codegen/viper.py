"""The viper kernels of MicroPython (firmware/micropython/device/kernels_*.py), and how to call them.

They read the same parameter structs as C, but some want constants in another order or form, and scratch. Viper has
32-bit integers only: what would need a wider one is worked out here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import cast

import numpy as np
import numpy.typing as npt
from msgspec import structs

from edgelearn import resources
from edgelearn.codegen.exponentials import exponentials
from edgelearn.codegen.lowering import Call, Constant
from edgelearn.codegen.render import render
from edgelearn.codegen.requantize import Scale
from edgelearn.errors import UnsupportedOpError
from edgelearn.recipe import Residual

#: Function -> file of the device code that has it; those of the trainable layer are called with `@` and the residual.
_FILES: Mapping[str, tuple[str, ...]] = {
    "kernels_conv2d": ("elearn_conv2d_s8",),
    "kernels_depthwise_conv2d": ("elearn_depthwise_conv2d_s8",),
    "kernels_fully_connected": ("elearn_fully_connected_s8",),
    "kernels_pool2d": ("elearn_max_pool2d_s8", "elearn_average_pool2d_s8"),
    "kernels_lookup": ("elearn_lookup_s8",),
    "kernels_add": ("elearn_add_folded_s8",),
    "kernels_softmax": ("elearn_softmax_table_s8",),
    "kernels_copy": ("elearn_copy_s8",),
    "kernels_log_softmax": ("elearn_log_softmax_s8",),
    "kernels_prelu": ("elearn_prelu_s8",),
    "kernels_elementwise": (
        "elearn_sum_s8",
        "elearn_sum_folded_s8",
        "elearn_mul_s8",
        "elearn_mul_right_s8",
        "elearn_maximum_s8",
        "elearn_minimum_s8",
    ),
    "kernels_reduce": ("elearn_mean_s8", "elearn_reduce_max_s8", "elearn_arg_max_s8"),
    "kernels_resize": ("elearn_resize_nearest_s8", "elearn_resize_bilinear_s8"),
    "kernels_transpose_conv": ("elearn_transpose_conv_s8",),
    "kernels_batch_matmul": (
        "elearn_batch_matmul_s8",
        "elearn_batch_matmul_by_constant_s8",
        "elearn_batch_matmul_of_constant_s8",
    ),
    "kernels_lstm": ("elearn_lstm_s8",),
    "kernels_edges": ("elearn_quantize_s8", "elearn_dequantize_s8"),
    "kernels_head": (
        "elearn_head_forward",
        "elearn_head_loss",
        "elearn_head_set_learning_rate",
        "elearn_head_reset",
        "elearn_head_accepts_row_t",
        "elearn_head_accepts_row_rho",
    ),
}
#: Files with the step of learning: this, and the residual.
_LEARN = "kernels_head_"
_PRECISIONS: Mapping[Residual, str] = {
    Residual.INT8: "8 more bits for each weight",
    Residual.NONE: "weights of int8 and no more",
    Residual.STOCHASTIC: "weights of int8 that are rounded at random",
}
_FILE_OF: Mapping[str, str] = {function: file for file, functions in _FILES.items() for function in functions}

#: What each file takes of MicroPython's heap once it is imported, measured on version 1.25 on a Cortex-M4F: about 200
#: bytes more than it has when it is compiled, which a test compares.
MODULE_HEAP_BYTES: Mapping[str, int] = {
    "kernels_conv2d": 2_520,
    "kernels_depthwise_conv2d": 2_260,
    "kernels_fully_connected": 1_800,
    "kernels_pool2d": 1_800,
    "kernels_lookup": 380,
    "kernels_add": 600,
    "kernels_softmax": 1_740,
    "kernels_copy": 1_340,
    "kernels_log_softmax": 2_500,
    "kernels_prelu": 960,
    "kernels_elementwise": 2_180,
    "kernels_reduce": 2_000,
    "kernels_resize": 1_220,
    "kernels_transpose_conv": 2_000,
    "kernels_batch_matmul": 1_680,
    "kernels_lstm": 4_060,
    "kernels_edges": 880,
    "kernels_head": 4_400,
    "kernels_head_int8": 1_980,
    "kernels_head_none": 1_860,
    "kernels_head_stochastic": 1_980,
}

Integers = npt.NDArray[np.int64]

#: Fraction bits of the near form of a requantisation: more are less often in doubt, but leave less room for sums.
_FRACTION_BITS, _DEPTHWISE_FRACTION_BITS = 18, 20
#: Results beyond it saturate, whatever the zero point, with a reserve for the near form's error.
_SATURATED = 512
#: A smaller factor of the near form would make its error there too large for that.
_SMALLEST_FACTOR = 64
_INT32_LIMIT = 2**31
#: So much scratch a convolution may take for being computed as a depthwise one.
_LARGEST_PLANE_BYTES = 1024


def file_of(function: str) -> str:
    """The file of the device code, without `.py`, that has a function of the tables.

    There it has the part of its name before `@`.
    """
    name, _, residual = function.partition("@")
    return f"{_LEARN}{residual}" if name == "elearn_head_learn" else _FILE_OF[name]


def source_of(file: str) -> str:
    """The text of a file that `file_of` names. A step of learning is written out for its residual."""
    if not file.startswith(_LEARN):
        path = resources.firmware_folder() / "micropython" / "device" / f"{file}.py"
        return path.read_text(encoding="utf-8")
    residual = Residual(file.removeprefix(_LEARN))
    return render(
        "micropython_head_learn.py.j2",
        residual=residual.value,
        precision=_PRECISIONS[residual],
        # What is below a weight of int8: half of its last bit, where nothing is kept.
        low="residual[i]" if residual is Residual.INT8 else "128",
    )


def adapt(call: Call) -> Call:
    """The call of the viper kernel of the same name.

    Raises:
        UnsupportedOpError: there is none.
    """
    change = _CHANGES.get(call.function)
    call = change(call) if change else call
    if call.function not in _FILE_OF:
        reason = _REASONS.get(call.function, "it is made for DSP instructions")
        raise UnsupportedOpError(
            (f"{call.function}: there is no viper kernel of it: {reason}",),
            hint="generate for a processor with machine code kernels, or bare metal C",
        )
    return call


_REASONS = {
    "elearn_fully_connected_double_s8": "it computes in float64; use a layer with fewer inputs or smaller biases",
}


def _array(call: Call, suffix: str) -> Integers:
    """The elements of a constant."""
    found = next(constant for constant in call.constants if constant.suffix == suffix)
    return np.array(found.elements, np.int64)


def _constant(suffix: str, c_type: str, values: Integers) -> Constant:
    size = {"uint8_t": 1, "int32_t": 4}[c_type]
    return Constant(
        suffix=suffix, c_type=c_type, elements=tuple(int(v) for v in values.reshape(-1)), size_bytes=size * values.size
    )


def _offsets(call: Call) -> tuple[int, int, int, int]:
    """Zero points of input and output, and the clamp."""
    return cast("tuple[int, int, int, int]", dict(call.params)["offsets"])


def _wrapped(values: Integers) -> Integers:
    """Modulo 2^32, as int32: the kernels' sums wrap."""
    return ((values + _INT32_LIMIT) & 0xFFFFFFFF) - _INT32_LIMIT


def _with(call: Call, constants: tuple[Constant, ...], *, scratch_bytes: int) -> Call:
    """The call with other constants; a pointer to one that is gone is zero."""
    gone = {constant.suffix for constant in call.constants} - {constant.suffix for constant in constants}
    return structs.replace(
        call,
        params=tuple((name, 0 if value in gone else value) for name, value in call.params),
        constants=constants,
        scratch_bytes=scratch_bytes,
    )


def _in_fours(weights: Integers) -> Integers:
    """Rows of weights as offset binary (w + 128), each padded with zeros to a multiple of four."""
    padded: Integers = np.pad(weights + 128, ((0, 0), (0, -weights.shape[1] % 4)))
    return padded


def _near(multiplier: int, shift: int, zero_point: int, reach: int, fraction_bits: int) -> tuple[int, int, int, int]:
    """The near form of a requantisation that rounds twice: right, factor, offset, limit.

    near = (sum >> right) * factor + offset is the output + 128 with fraction bits. It is never above the true value,
    and below it by less than an error that is known. So where its fraction is not above limit = 1 - error, its whole
    part is the result.

    Args:
        multiplier: of the exact form.
        shift: of the exact form.
        zero_point: of the output.
        reach: the largest magnitude of a sum.
        fraction_bits: of `near`.
    """
    one = 1 << fraction_bits
    real = Fraction(multiplier, 1 << 31) * (Fraction(2) ** shift)
    found, least = (0, 0, 0, -1), one
    if not multiplier or shift >= 0 or reach >= 1 << 30:
        return found
    # Of the first rounding, and of the half that the second one may take for another.
    rounding = int(Fraction(3 * one, 2 << -shift)) + 1
    for right in range(17):
        exact = real * one * (1 << right)
        factor = round(exact)
        if factor < _SMALLEST_FACTOR:
            continue
        # A factor that is off by up to a half, at the largest sum that does not saturate.
        largest = min(reach, int(_SATURATED / real) + 1) >> right
        below = int(abs(exact - factor) * (largest + 1)) + 1 + rounding
        # What the shift cuts off is worth up to one factor.
        error = factor + 1 + 2 * below
        offset = (zero_point + 128 << fraction_bits) + one // 2 - below
        if error < least and ((reach >> right) + 1) * factor + abs(offset) < _INT32_LIMIT:
            found, least = (right, factor, offset, one - error - 1), error
    return found


def _requantisation(call: Call, first_sums: Integers, reach: Integers, fraction_bits: int = _FRACTION_BITS) -> Constant:
    """The table of kernels_conv2d.py: what to begin with and how to requantise, for each output channel.

    Args:
        call: with its constant `scales`.
        first_sums: what the kernel begins a sum with.
        reach: the largest magnitude of each channel's sum.
        fraction_bits: of the near form.
    """
    zero_point = _offsets(call)[1]
    rows = [
        (first, *_near(multiplier, shift, zero_point, largest, fraction_bits), multiplier, shift)
        for first, largest, (multiplier, shift) in zip(
            _wrapped(first_sums).tolist(), reach.tolist(), _array(call, "scales").tolist(), strict=True
        )
    ]
    return _constant("scales", "int32_t", np.array(rows, np.int64))


def _reach(zero_point: int, bias: Integers, weights: Integers) -> Integers:
    """The largest magnitude of the sums of rows of weights."""
    reach: Integers = np.abs(bias) + max(127 - zero_point, 128 + zero_point) * np.abs(weights).sum(axis=1)
    return reach


def _conv2d(call: Call) -> Call:
    zero_point, bias = _offsets(call)[0], _array(call, "bias")
    weights = _array(call, "weights").reshape(len(bias), -1)
    if _is_like_depthwise(call):
        return _in_planes(call, weights)
    table = _requantisation(call, bias - (zero_point + 128) * weights.sum(axis=1), _reach(zero_point, bias, weights))
    in_fours = _in_fours(weights)
    return _with(call, (_constant("weights", "uint8_t", in_fours), table), scratch_bytes=in_fours.shape[1])


def _is_like_depthwise(call: Call) -> bool:
    """Whether each output sees one channel through 3x3 taps: few enough that the depthwise kernel is faster."""
    params = cast("Mapping[str, tuple[int, ...]]", dict(call.params))
    window = params["window"]
    return (
        dict(call.params)["group_inputs"] == 1
        and window[:2] == (3, 3)
        and window[5] == 1
        and _plane_bytes(call) <= _LARGEST_PLANE_BYTES
    )


def _plane_bytes(call: Call) -> int:
    """What the windows reach of one channel, with padding."""
    params = cast("Mapping[str, tuple[int, ...]]", dict(call.params))
    kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w = params["window"][:6]
    rows = (params["output"][0] - 1) * stride_h + (kernel_h - 1) * dilation_h + 1
    columns = (params["output"][1] - 1) * stride_w + (kernel_w - 1) * dilation_w + 1
    return rows * columns


def _depthwise_conv2d(call: Call) -> Call:
    return _in_planes(call, _array(call, "weights").reshape(-1, len(_array(call, "bias"))).T)


def _in_planes(call: Call, weights: Integers) -> Call:
    """The call of the depthwise kernel with weights [output channel, taps]."""
    zero_point, bias = _offsets(call)[0], _array(call, "bias")
    first_sums, reach = bias - (zero_point + 128) * weights.sum(axis=1), _reach(zero_point, bias, weights)
    table = _requantisation(call, first_sums, reach, _DEPTHWISE_FRACTION_BITS)
    changed = structs.replace(call, function="elearn_depthwise_conv2d_s8")
    return _with(changed, (_constant("weights", "int32_t", weights), table), scratch_bytes=_plane_bytes(call))


def _fully_connected(call: Call) -> Call:
    zero_point, bias, scales = _offsets(call)[0], _array(call, "bias"), _array(call, "scales")
    weights = _array(call, "weights").reshape(len(bias), -1)
    first_sums = _wrapped(bias - (zero_point + 128) * weights.sum(axis=1))
    table = _constant("scales", "int32_t", np.column_stack([first_sums, scales]))
    in_fours = _in_fours(weights)
    return _with(call, (_constant("weights", "uint8_t", in_fours), table), scratch_bytes=in_fours.shape[1])


def _softmax(call: Call) -> Call:
    """By a table, whatever it costs: the polynomial of the other form has products of 64 bits."""
    params = dict(call.params)
    multiplier, shift = cast("tuple[int, int]", params["scale"])
    difference_min = cast("int", params["difference_min"])
    table = exponentials(Scale(multiplier=multiplier, shift=shift), difference_min)
    return structs.replace(
        call,
        function="elearn_softmax_table_s8",
        params_type="elearn_softmax_table_params",
        params=(
            ("rows", params["rows"]),
            ("columns", params["columns"]),
            ("exponentials", "table"),
            ("count", len(table)),
        ),
        constants=(_constant("table", "int32_t", np.array(table, np.int64)),),
    )


def _transpose_conv(call: Call) -> Call:
    bias, scales = _array(call, "bias"), _array(call, "scales")
    params = cast("Mapping[str, tuple[int, ...]]", dict(call.params))
    kernel_h, kernel_w, stride_h, stride_w = params["window"][:4]
    values = -(-kernel_h // stride_h) * -(-kernel_w // stride_w) * params["input"][2]
    weights = _constant("weights", "uint8_t", _array(call, "weights") + 128)
    table = _constant("scales", "int32_t", np.column_stack([bias, scales]))
    return _with(call, (weights, table), scratch_bytes=4 * values)


def _batch_matmul(call: Call) -> Call:
    # The kernel expands a row to words rather than half words.
    return structs.replace(call, scratch_bytes=2 * call.scratch_bytes)


def _lstm(call: Call) -> Call:
    kept = tuple(constant for constant in call.constants if constant.suffix != "weights")
    weights = _constant("weights", "uint8_t", _array(call, "weights") + 128)
    # Two bytes for the cell of each unit; before them the kernel keeps four words, of its gates.
    return _with(call, (weights, *kept), scratch_bytes=9 * call.scratch_bytes)


def _quantize(call: Call) -> Call:
    """The smallest float32 of each int8 above -128: what the kernel's division and rounding give never falls."""
    params = dict(call.params)
    scale, zero_point = np.float32(cast("float", params["scale"])), cast("int", params["zero_point"])
    wanted = np.arange(-127, 128)
    # Whole numbers in the order of the floats; the first of which that gives the wanted int8 lies in [low, high].
    largest = int(np.float32(np.inf).view(np.int32))
    low, high = np.full(255, -largest - 1, np.int64), np.full(255, largest + 1, np.int64)
    while (low < high).any():
        middle = (low + high) >> 1
        reaches = _quantized(np.minimum(middle, largest), scale, zero_point) >= wanted
        low, high = np.where(reaches | (low >= high), low, middle + 1), np.where(reaches, middle, high)
    return _by_table(call, low)


def _quantized(ordered: Integers, scale: np.float32, zero_point: int) -> Integers:
    """What elearn_quantize_s8 makes of floats, which are given as whole numbers of the same order."""
    bits = np.where(ordered < 0, ~ordered | -_INT32_LIMIT, ordered).astype(np.int32)
    with np.errstate(over="ignore"):
        ratio = np.clip(bits.view(np.float32) / scale, np.float32(-_SATURATED), np.float32(_SATURATED))
    whole = np.trunc(ratio)
    fraction = ratio - whole
    nearest: Integers = (whole + (fraction >= 0.5) - (fraction <= -0.5)).astype(np.int64)
    return np.clip(nearest + zero_point, -128, 127)


def _dequantize(call: Call) -> Call:
    params = dict(call.params)
    unsigned = np.arange(256)
    values = np.where(unsigned < 128, unsigned, unsigned - 256) - cast("int", params["zero_point"])
    floats = np.float32(cast("float", params["scale"])) * values.astype(np.float32)
    return _by_table(call, floats.view(np.int32).astype(np.int64))


def _by_table(call: Call, table: Integers) -> Call:
    return structs.replace(
        call,
        params_type="elearn_lookup_params",
        params=(("elements", dict(call.params)["elements"]), ("table", "table")),
        constants=(_constant("table", "int32_t", table),),
    )


_CHANGES: Mapping[str, Callable[[Call], Call]] = {
    "elearn_conv2d_s8": _conv2d,
    "elearn_depthwise_conv2d_s8": _depthwise_conv2d,
    "elearn_fully_connected_s8": _fully_connected,
    "elearn_softmax_s8": _softmax,
    "elearn_transpose_conv_s8": _transpose_conv,
    "elearn_batch_matmul_s8": _batch_matmul,
    "elearn_batch_matmul_by_constant_s8": _batch_matmul,
    "elearn_batch_matmul_of_constant_s8": _batch_matmul,
    "elearn_lstm_s8": _lstm,
    "elearn_quantize_s8": _quantize,
    "elearn_dequantize_s8": _dequantize,
}
