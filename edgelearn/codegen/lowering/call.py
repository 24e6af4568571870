"""A kernel call: function, parameter struct, constants, memory; and the pieces that the families build calls from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from edgelearn.codegen.requantize import Scale
from edgelearn.errors import UnsupportedOpError
from edgelearn.ir import Graph, Op, Tensor, Window

#: A field's initializer: a number (float32 where it is a float), a row of initializers for a nested struct, or the name
#: of a constant.
Initializer = int | float | str | tuple["Initializer", ...]

#: What the names of an op's constants end in.
CONSTANT_SUFFIXES = ("weights", "bias", "scales", "factors", "table", "pieces", "phases", "axes", "rows", "columns")


class Target(Struct, frozen=True, kw_only=True):
    """What the kernels may use of the processor.

    Attributes:
        dsp: kernels made for Arm's DSP instructions are chosen where they are cheaper. They have a portable twin in
            the same file, so any processor runs them; it is only slower there than the plain kernels.
    """

    dsp: bool


class Source(Struct, frozen=True, kw_only=True):
    """A C file of the device code, and its size estimate.

    Attributes:
        name: in firmware/runtime/.
        code_bytes: measured on Cortex-M4 with arm-none-eabi-gcc 12.2 -O2; a test keeps it within 10 %.
    """

    name: str
    code_bytes: int


#: The inner product of the portable kernels and of the trainable head.
DOT = Source(name="elearn_dot_s8.c", code_bytes=130)


class Constant(Struct, frozen=True, kw_only=True):
    """An array in flash. `suffix` makes its name from the op's; `elements` are its initializers in order."""

    suffix: str
    c_type: str
    elements: tuple[Initializer, ...]
    size_bytes: int


class Call(Struct, frozen=True, kw_only=True):
    """The call of a kernel: function(&params, inputs..., outputs...[, scratch]).

    Attributes:
        in_arrays: inputs and outputs go to the kernel as two arrays of pointers, for ops of any number of them.
        sources: the C files that it needs.
        scratch_bytes: RAM that it needs while it runs; 0 leaves the argument out.
        in_place: numbers of the inputs whose bytes the first output may take over; the kernel reads each element
            before it writes over it.
        instructions: estimate of one execution, by which the plan chooses among variants; see `cost`.
    """

    function: str
    sources: tuple[Source, ...]
    params_type: str
    params: tuple[tuple[str, Initializer], ...]
    constants: tuple[Constant, ...] = ()
    in_arrays: bool = False
    scratch_bytes: int = 0
    in_place: tuple[int, ...] = ()
    instructions: float = 0.0

    @property
    def header(self) -> str:
        """The header that declares function and parameters: that of the first source."""
        return self.sources[0].name.removesuffix(".c") + ".h"


#: What a lowering gives: nothing where the op costs nothing, a call, or variants of one.
Lowered = Call | tuple[Call, ...] | None
#: Op type -> its lowering, from graph, op and target.
Lowerings = Mapping[type[Op], Callable[[Graph, Any, Target], Lowered]]


def too_far_apart(op: Op) -> UnsupportedOpError:
    """The error for scales that the kernels' 32 bits cannot bridge."""
    return UnsupportedOpError(
        (f"{op.TITLE} (op #{op.index}): the scales of its inputs and of its output are more than 2^30 apart",),
        hint="quantise the model again from calibration samples that are typical of its data",
    )


def integers(suffix: str, c_type: str, tensor: Tensor) -> Constant:
    """A constant of the graph as it is."""
    values = tuple(int(v) for v in tensor.array().reshape(-1))
    return Constant(suffix=suffix, c_type=c_type, elements=values, size_bytes=tensor.size_bytes)


def scale_constant(scales: tuple[Scale, ...]) -> Constant:
    """Multipliers and shifts, one pair for each output channel."""
    return Constant(
        suffix="scales",
        c_type="elearn_scale",
        elements=tuple((scale.multiplier, scale.shift) for scale in scales),
        size_bytes=8 * len(scales),
    )


def image_shape(tensor: Tensor) -> tuple[int, int, int]:
    """Height, width and channels; a vector is one pixel."""
    if len(tensor.shape) == 4:
        return tensor.shape[1], tensor.shape[2], tensor.shape[3]
    return 1, 1, tensor.elements


def window_fields(window: Window) -> tuple[int, ...]:
    """The members of elearn_window."""
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


def offset_fields(x: Tensor, out: Tensor, low: int, high: int) -> tuple[int, ...]:
    """The members of elearn_offsets."""
    return (x.zero_point, out.zero_point, low, high)
