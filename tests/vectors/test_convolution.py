"""Convolutions: generated C under sanitizers gives the bytes of the LiteRT reference kernels."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgelearn.ir.convolution import Conv2D, DepthwiseConv2D
from tests.vectors.models import Drawn, check, examples

#: Op -> the op on an input of 1x4x4x2.
SMALLEST = {
    Conv2D: lambda b, x: b.conv_2d(x, filters=2),
    DepthwiseConv2D: lambda b, x: b.depthwise_conv_2d(x),
}


@examples(150)
@given(st.data())
def test_conv_2d(data):
    drawn = Drawn(data)
    x = drawn.image()
    window = drawn.window(x, dilated=drawn.choice(False, True))
    check(drawn, x, drawn.weighted(x, "CONV_2D", window=window, outputs=drawn.integer(1, 6)))


@examples(80)
@given(st.data())
def test_conv_2d_in_groups(data):
    drawn = Drawn(data)
    groups = drawn.integer(2, 4)
    x = drawn.image(largest_depth=3, times=groups)
    window = drawn.window(x, dilated=drawn.choice(False, True))
    outputs = groups * drawn.integer(1, 3)
    check(drawn, x, drawn.weighted(x, "CONV_2D", window=window, outputs=outputs, groups=groups))


@examples(150)
@given(st.data())
def test_depthwise_conv_2d(data):
    drawn = Drawn(data)
    x = drawn.image()
    window = drawn.window(x, dilated=drawn.choice(False, True))
    check(drawn, x, drawn.weighted(x, "DEPTHWISE_CONV_2D", window=window, multiplier=drawn.integer(1, 3)))
