"""From an op to the call of its kernel: function, parameter struct and constants, all numbers worked out.

One function for each op type, found through LOWERINGS; a test checks that none is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from msgspec import Struct

from edgelearn.codegen.requantize import (
    LARGEST_SHIFT,
    Scale,
    convolution_scales,
    dense_scales,
    mean_scale,
    output_range,
    to_scale,
)
from edgelearn.errors import UnsupportedOpError
from edgelearn.ir import (
    Add,
    AnyOp,
    AveragePool2D,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Graph,
    MaxPool2D,
    Mean,
    Op,
    Pad,
    Reshape,
    Softmax,
    Tensor,
    Window,
)

#: LiteRT: kScaledDiffIntegerBits of the int8 softmax, and the headroom of the int8 ADD.
_SOFTMAX_INTEGER_BITS = 5
_ADD_LEFT_SHIFT = 20

#: A field's initializer: a number, a row of numbers for a nested struct, or the name of a constant.
Initializer = int | str | tuple[int, ...]


#: What the names of an op's constants end in.
CONSTANT_SUFFIXES = ("weights", "bias", "scales")


class Constant(Struct, frozen=True, kw_only=True):
    """An array in flash. `suffix` makes its name from the op's; `elements` are its initializers in order."""

    suffix: str
    c_type: str
    elements: tuple[Initializer, ...]
    size_bytes: int


class Call(Struct, frozen=True, kw_only=True):
    """The call of a kernel: function(&params, inputs..., output)."""

    function: str
    source: str
    params_type: str
    params: tuple[tuple[str, Initializer], ...]
    constants: tuple[Constant, ...] = ()


def _integers(suffix: str, c_type: str, tensor: Tensor) -> Constant:
    values = tuple(int(v) for v in tensor.array().reshape(-1))
    return Constant(suffix=suffix, c_type=c_type, elements=values, size_bytes=tensor.size_bytes)


def _scales(scales: tuple[Scale, ...]) -> Constant:
    return Constant(
        suffix="scales",
        c_type="elearn_scale",
        elements=tuple((scale.multiplier, scale.shift) for scale in scales),
        size_bytes=8 * len(scales),
    )


def _shape(tensor: Tensor) -> tuple[int, int, int]:
    """Height, width and channels; a vector is one pixel."""
    if len(tensor.shape) == 4:
        return tensor.shape[1], tensor.shape[2], tensor.shape[3]
    return 1, 1, tensor.elements


def _window(window: Window) -> tuple[int, ...]:
    return (
        window.kernel_h,
        window.kernel_w,
        window.stride_h,
        window.stride_w,
        window.dilation_h,
        window.dilation_w,
        window.pad_top,
        window.pad_left,
    )


def _offsets(x: Tensor, out: Tensor, low: int, high: int) -> tuple[int, ...]:
    return (x.zero_point, out.zero_point, low, high)


def _lower_convolution(graph: Graph, op: Conv2D | DepthwiseConv2D) -> Call:
    x, weight, bias = (graph.tensor(name) for name in op.inputs)
    out = graph.tensor(op.output)
    depthwise = isinstance(op, DepthwiseConv2D)
    scales = convolution_scales(x, weight, out, out.shape[3])
    name = "depthwise_conv2d" if depthwise else "conv2d"
    return Call(
        function=f"elearn_{name}_s8",
        source=f"elearn_{name}_s8.c",
        params_type="elearn_conv2d_params",
        params=(
            ("input", _shape(x)),
            ("output", _shape(out)),
            ("window", _window(op.window)),
            ("offsets", _offsets(x, out, *output_range(out, op.activation))),
            ("multiplier", op.multiplier if isinstance(op, DepthwiseConv2D) else 1),
            ("weights", "weights"),
            ("bias", "bias"),
            ("scales", "scales"),
        ),
        constants=(_integers("weights", "int8_t", weight), _integers("bias", "int32_t", bias), _scales(scales)),
    )


def _lower_fully_connected(graph: Graph, op: FullyConnected) -> Call:
    x, weight, bias = (graph.tensor(name) for name in op.inputs)
    out = graph.tensor(op.output)
    return Call(
        function="elearn_fully_connected_s8",
        source="elearn_fully_connected_s8.c",
        params_type="elearn_fully_connected_params",
        params=(
            ("features", x.elements),
            ("outputs", out.elements),
            ("offsets", _offsets(x, out, *output_range(out, op.activation))),
            ("weights", "weights"),
            ("bias", "bias"),
            ("scales", "scales"),
        ),
        constants=(
            _integers("weights", "int8_t", weight),
            _integers("bias", "int32_t", bias),
            _scales(dense_scales(x, weight, out, out.elements)),
        ),
    )


def _lower_pool(graph: Graph, op: AveragePool2D | MaxPool2D) -> Call:
    x, out = graph.tensor(op.inputs[0]), graph.tensor(op.output)
    low, high = output_range(out, op.activation)
    kind = "average" if isinstance(op, AveragePool2D) else "max"
    return Call(
        function=f"elearn_{kind}_pool2d_s8",
        source="elearn_pool2d_s8.c",
        params_type="elearn_pool2d_params",
        params=(
            ("input", _shape(x)),
            ("output", _shape(out)),
            ("window", _window(op.window)),
            ("output_min", low),
            ("output_max", high),
        ),
    )


def _lower_mean(graph: Graph, op: Mean) -> Call:
    x, out = graph.tensor(op.inputs[0]), graph.tensor(op.output)
    count = x.shape[1] * x.shape[2]
    scale = mean_scale(x, out, count)
    return Call(
        function="elearn_mean_s8",
        source="elearn_mean_s8.c",
        params_type="elearn_mean_params",
        params=(
            ("input", _shape(x)),
            ("output_zero_point", out.zero_point),
            ("sum_offset", count * x.zero_point),
            ("scale", (scale.multiplier, scale.shift)),
        ),
    )


def _lower_add(graph: Graph, op: Add) -> Call:
    a, b, out = graph.tensor(op.inputs[0]), graph.tensor(op.inputs[1]), graph.tensor(op.output)
    twice = 2.0 * max(a.scale, b.scale)
    scales = (to_scale(a.scale / twice), to_scale(b.scale / twice), to_scale(twice / (2**_ADD_LEFT_SHIFT * out.scale)))
    low, high = output_range(out, op.activation)
    return Call(
        function="elearn_add_s8",
        source="elearn_add_s8.c",
        params_type="elearn_add_params",
        params=(
            ("elements", out.elements),
            ("input1_zero_point", a.zero_point),
            ("input2_zero_point", b.zero_point),
            ("input1_scale", (scales[0].multiplier, scales[0].shift)),
            ("input2_scale", (scales[1].multiplier, scales[1].shift)),
            ("output_scale", (scales[2].multiplier, scales[2].shift)),
            ("output_zero_point", out.zero_point),
            ("output_min", low),
            ("output_max", high),
        ),
    )


def _lower_pad(graph: Graph, op: Pad) -> Call:
    x, out = graph.tensor(op.inputs[0]), graph.tensor(op.output)
    return Call(
        function="elearn_pad_s8",
        source="elearn_pad_s8.c",
        params_type="elearn_pad_params",
        params=(
            ("input", _shape(x)),
            ("output", _shape(out)),
            ("pad_top", op.pad_top),
            ("pad_left", op.pad_left),
            ("value", x.zero_point),
        ),
    )


def _lower_softmax(graph: Graph, op: Softmax) -> Call:
    x = graph.tensor(op.inputs[0])
    real = min(op.beta * x.scale * 2.0 ** (31 - _SOFTMAX_INTEGER_BITS), 2.0**31 - 1.0)
    scale = to_scale(real)
    if scale.shift < 0:
        # So narrow an input that all its exponentials are one: the kernel shifts to the left only.
        scale = Scale(multiplier=scale.multiplier >> -scale.shift, shift=0)
    radius = (2**_SOFTMAX_INTEGER_BITS - 1) * 2.0 ** (31 - _SOFTMAX_INTEGER_BITS) / 2.0**scale.shift
    columns = x.shape[-1]
    return Call(
        function="elearn_softmax_s8",
        source="elearn_softmax_s8.c",
        params_type="elearn_softmax_params",
        params=(
            ("rows", x.elements // columns),
            ("columns", columns),
            ("scale", (scale.multiplier, scale.shift)),
            ("difference_min", -int(np.floor(radius))),
        ),
    )


def _lower_reshape(_graph: Graph, _op: Reshape) -> None:
    """The output is the input under another shape: no code, and the same bytes in the arena."""


LOWERINGS: dict[type[Op], Callable[[Graph, Any], Call | None]] = {
    Conv2D: _lower_convolution,
    DepthwiseConv2D: _lower_convolution,
    FullyConnected: _lower_fully_connected,
    AveragePool2D: _lower_pool,
    MaxPool2D: _lower_pool,
    Mean: _lower_mean,
    Add: _lower_add,
    Pad: _lower_pad,
    Reshape: _lower_reshape,
    Softmax: _lower_softmax,
}


def lower(graph: Graph, op: AnyOp) -> Call | None:
    """The kernel call of a frozen op, or None where the op costs nothing.

    Raises:
        UnsupportedOpError: its scales are so far apart that the kernels' 32 bits cannot bridge them.
    """
    call = LOWERINGS[type(op)](graph, op)
    # A softmax caps its own factor and shifts a small difference only.
    if call is not None and not isinstance(op, Softmax) and any(s > LARGEST_SHIFT for s in _shifts(call)):
        raise UnsupportedOpError(
            (f"{op.TITLE} (op #{op.index}): the scales of its inputs and of its output are more than 2^30 apart",),
            hint="quantise the model again from calibration samples that are typical of its data",
        )
    return call


def _shifts(call: Call) -> Iterator[int]:
    values = [value for name, value in call.params if name == "scale" or name.endswith("_scale")]
    values += [element for constant in call.constants if constant.suffix == "scales" for element in constant.elements]
    for value in values:
        if isinstance(value, tuple):
            yield value[1]
