"""Random int8 models for the vector tests, drawn by hypothesis, and the comparison with the LiteRT reference kernels.

What hypothesis draws are structure and magnitudes; bulk data comes from a drawn seed. Output scales are chosen so that
some bytes spread, some saturate and some lie on the edges of rounding.
"""

from __future__ import annotations

import math
import os
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema
from hypothesis import HealthCheck, Phase, reject, settings
from hypothesis import strategies as st

from edgelearn.codegen.lowering import Target
from edgelearn.convert.litert import ReferenceInterpreter
from edgelearn.errors import ModelFileError
from tests.support.firmware import generate, load_graph, run_model
from tests.support.tflite_builder import INT32, TfliteBuilder

#: More examples, drawn at random, for a search by hand: EDGELEARN_VECTOR_EFFORT=20 pytest tests/vectors
_EFFORT = int(os.environ.get("EDGELEARN_VECTOR_EFFORT", "1"))
ACTIVATIONS = ("none", "relu", "relu6")


def examples(count: int) -> settings:
    """Settings of a vector test: the same examples each time."""
    return settings(
        max_examples=count * _EFFORT,
        derandomize=_EFFORT == 1,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink) if _EFFORT == 1 else (Phase.generate,),
    )


class Drawn:
    """A model under construction: a TfliteBuilder and hypothesis' choices."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data
        self.builder = TfliteBuilder(self.integer(0, 2**32 - 1))
        self.rng = self.builder.rng

    def integer(self, low: int, high: int) -> int:
        return self._data.draw(st.integers(low, high))

    def choice(self, *values: Any) -> Any:
        return self._data.draw(st.sampled_from(values))

    def scale(self, low_exponent: int, high_exponent: int) -> float:
        """A float32 scale of any magnitude between two powers of two; powers themselves more often."""
        mantissa = self.choice(2**23, 2**24 - 1, None)
        if mantissa is None:
            mantissa = self.integer(2**23, 2**24 - 1)
        return math.ldexp(mantissa, self.integer(low_exponent, high_exponent) - 23)

    def near(self, scale: float, octaves: int) -> float:
        """A scale within some octaves of another."""
        return float(np.float32(scale * 2.0 ** self.rng.uniform(-octaves, octaves)))

    def zero_point(self) -> int:
        return self.choice(-128, 127, 0, self.integer(-128, 127))

    def image(self, largest_side: int = 7, largest_depth: int = 5, times: int = 1) -> int:
        """An input of a number of channels that is a multiple of `times`."""
        sides = (self.integer(1, largest_side), self.integer(1, largest_side))
        shape = (1, *sides, times * self.integer(1, largest_depth))
        return self.builder.input(shape, scale=self.scale(-16, 6), zero_point=self.zero_point())

    def rows(self, longest: int = 12) -> int:
        """An input of two to four axes."""
        shape = (1, *(self.integer(1, 4) for _ in range(self.integer(0, 2))), self.integer(1, longest))
        return self.builder.input(shape, scale=self.scale(-16, 6), zero_point=self.zero_point())

    def vector(self, longest: int = 40) -> int:
        shape = (1, self.integer(1, longest))
        return self.builder.input(shape, scale=self.scale(-16, 6), zero_point=self.zero_point())

    def window(self, x: int, *, dilated: bool) -> dict[str, Any]:
        """Kernel, stride, dilation and padding that fit the input."""
        padding = self.choice("same", "valid")
        _, height, width, _ = self.builder.shape(x)
        kernel, dilation = [], []
        strided = (self.integer(1, 3), self.integer(1, 3))
        for size in (height, width):
            k = self.integer(1, 5 if padding == "same" else min(size, 5))
            # The reference kernels take a stride or a dilation, as TensorFlow does.
            most = 3 if padding == "same" or k == 1 else (size - 1) // (k - 1)
            dilation.append(self.integer(1, max(1, min(3, most))) if dilated else 1)
            kernel.append(k)
        window = {"kernel": tuple(kernel), "stride": strided, "padding": padding}
        return window | ({"dilation": tuple(dilation)} if dilated else {})

    def weighted(
        self,
        x: int,
        kind: str,
        *,
        window: dict[str, Any] | None = None,
        outputs: int = 1,
        multiplier: int = 1,
        groups: int = 1,
        features: int | None = None,
        keep_axes: bool = False,
        any_scale: bool = True,
    ) -> int:
        """CONV_2D, DEPTHWISE_CONV_2D or FULLY_CONNECTED with weights, biases and scales of many magnitudes."""
        b, shape = self.builder, self.builder.shape(x)
        kernel = window["kernel"] if window else (1, 1)
        if kind in ("CONV_2D", "TRANSPOSE_CONV"):
            depth = shape[3] // groups
            weight_shape, axis, taps = (outputs, *kernel, depth), 0, math.prod(kernel) * depth
        elif kind == "DEPTHWISE_CONV_2D":
            outputs = shape[3] * multiplier
            weight_shape, axis, taps = (1, *kernel, outputs), 3, math.prod(kernel)
        else:
            taps = features or math.prod(shape)
            weight_shape, axis = (outputs, taps), 0
        per_channel = self.choice(False, True)
        limit = self.choice(1, 7, 127, 128) if any_scale else 127
        weights = self.rng.integers(-limit, min(limit, 127) + 1, weight_shape).astype(np.int8)
        largest = self.scale(-20, 2) if any_scale else self.scale(-9, -4)
        octaves = self.choice(0, 2, 12)
        scales = np.float32(largest) * 2.0 ** -self.rng.uniform(0, octaves, outputs if per_channel else 1)
        scales = scales.astype(np.float32)
        weight = b.tensor(weight_shape, scale=scales, axis=axis, data=weights)

        x_scale, _ = b.quant(x)
        sum_limit = taps * 255 * 128
        typical = 80.0 * limit * math.sqrt(taps) * 0.6 + 1
        bias_kind = self.choice("none", "usual", "huge") if any_scale else "usual"
        inputs = [x, weight]
        room = 2**31 - 1 - sum_limit
        if bias_kind != "none":
            reach = int(typical) if bias_kind == "usual" else room
            bias = self.rng.integers(-reach, reach + 1, outputs)
            if bias_kind == "huge":
                bias[self.rng.random(outputs) < 0.3] = room
                bias[self.rng.random(outputs) < 0.3] = -room
            bias_scale = np.float32(x_scale) * scales
            inputs.append(b.tensor((outputs,), INT32, scale=bias_scale, data=bias.astype(np.int32)))
        spread = self.choice(0.4, 5.0, 40.0, 150.0) if any_scale else 40.0
        reached = float(room) if bias_kind == "huge" and self.choice(True, False) else typical
        out_scale = float(np.float32(x_scale * float(scales.max()) * reached / spread))
        activation = self.choice(*ACTIVATIONS)
        options: Any
        if kind == "FULLY_CONNECTED":
            options = schema.FullyConnectedOptionsT()
            options.keepNumDims = keep_axes
            out_shape = (*shape[:-1], outputs) if keep_axes else (math.prod(shape) // taps, outputs)
        else:
            assert window is not None
            options = {
                "CONV_2D": schema.Conv2DOptionsT,
                "DEPTHWISE_CONV_2D": schema.DepthwiseConv2DOptionsT,
                "TRANSPOSE_CONV": schema.TransposeConvOptionsT,
            }[kind]()
            options.strideH, options.strideW = window["stride"]
            options.padding = getattr(schema.Padding, window["padding"].upper())
            if kind == "DEPTHWISE_CONV_2D":
                options.depthMultiplier = multiplier
            if kind == "TRANSPOSE_CONV":
                out_shape = (1, *window["output"], outputs)
                inputs = [b.tensor((4,), INT32, data=np.array(out_shape, np.int32)), weight, x, *inputs[2:]]
            else:
                dilation = window.get("dilation", (1, 1))
                options.dilationHFactor, options.dilationWFactor = dilation
                size = _output_size(shape[1:3], kernel, window["stride"], dilation, window["padding"])
                out_shape = (1, *size, outputs)
        options.fusedActivationFunction = getattr(schema.ActivationFunctionType, activation.upper())
        out = b.tensor(out_shape, scale=out_scale, zero_point=self.zero_point())
        return b.op(kind, inputs, out, options=options, version=4 if kind == "TRANSPOSE_CONV" else 3)


def _output_size(
    size: tuple[int, ...], kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int], padding: str
) -> tuple[int, ...]:
    if padding == "same":
        return tuple(-(-n // s) for n, s in zip(size, stride, strict=True))
    return tuple((n - (k - 1) * d - 1) // s + 1 for n, k, s, d in zip(size, kernel, stride, dilation, strict=True))


def samples(drawn: Drawn, x: int, count: int = 5) -> npt.NDArray[np.int8]:
    """Samples for an input [count, ...]: random, and all at the ends of the range."""
    shape = drawn.builder.shape(x)[1:]
    values = drawn.rng.integers(-128, 128, (count, *shape)).astype(np.int8)
    values[0] = drawn.choice(-128, 127)
    values[1] = np.where(drawn.rng.random(shape) < 0.5, -128, 127)
    return values


def assert_same_bytes(model: bytes, inputs: npt.NDArray[np.int8], *, dsp: bool | None = None) -> npt.NDArray[np.int8]:
    """The generated C gives the bytes of the LiteRT reference kernels; returns them, one row for each sample.

    Every other model runs with the plain kernels, the rest with the portable twins of those for DSP instructions;
    `dsp` says which, if given.
    """
    graph = load_graph(model)
    try:
        oracle = ReferenceInterpreter(model)
    except ModelFileError:
        reject()  # scales at which the clamp of an activation leaves the int32 range
    index = oracle.output_index
    expected = np.stack([oracle.run(sample, [index])[index].reshape(-1) for sample in inputs])
    target = Target(dsp=bool(zlib.crc32(model) & 1) if dsp is None else dsp)
    np.testing.assert_array_equal(run_model(generate(graph, target=target), inputs), expected)
    return expected


def check(drawn: Drawn, x: int, out: int) -> None:
    """Compare C and oracle on random and extreme samples of the input `x`."""
    assert_same_bytes(drawn.builder.build(out), samples(drawn, x))
