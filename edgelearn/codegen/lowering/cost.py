"""The cost rule: about how many instructions each kernel variant takes, by which the plan chooses among them.

Measured on Cortex-M4 with arm-none-eabi-gcc 12.2 -O2 (`edgelearn profile` counts what really runs). The plan takes the
cheapest variant that gives the same bits; an estimate decides nothing else.
"""

from __future__ import annotations

from edgelearn.ir import Window


def _inner_product(count: int) -> float:
    """elearn_dot_s8 with DSP instructions: eight values at a time, the rest one by one."""
    return 2.3 * (count & ~7) + 6.5 * (count & 7)


def plain_convolution(window: Window, *, channels: int, outputs: int) -> float:
    """elearn_conv2d_s8: one inner product for each row of the window.

    Args:
        window: its size.
        channels: input channels that an output sees.
        outputs: elements of the output.
    """
    joined = window.kernel_w if window.dilation_w == 1 else 1
    rows = window.kernel_h * window.kernel_w // joined
    return outputs * (70.0 + rows * (30.0 + _inner_product(joined * channels)))


def convolution_in_pairs(eights: int, *, pixels: int, channels: int, in_fours: bool) -> float:
    """elearn_conv2d_pairs_s8: expand two pixels, then walk through all pairs of output channels.

    Args:
        eights: values under the window, in groups of eight.
        pixels: of the output.
        channels: of the output.
        in_fours: whether values are expanded in place or gathered first.
    """
    pair = 33.0 + 24.5 * eights
    return (pixels + 1) // 2 * (110.0 + eights * (17.0 if in_fours else 100.0) + (channels + 1) // 2 * pair)


def plain_transpose_conv(window: Window, *, channels: int, pixels: int, depth: int) -> float:
    """elearn_transpose_conv_s8: one inner product for each tap that reaches an output.

    Args:
        window: its size and stride.
        channels: of the input.
        pixels: of the output.
        depth: channels of the output.
    """
    taps = window.kernel_h * window.kernel_w / (window.stride_h * window.stride_w)
    return pixels * (80.0 + depth * (45.0 + taps * (22.0 + _inner_product(channels))))


def transpose_conv_in_pairs(eights: int, *, positions: int, channels: int, rows: int, in_fours: bool) -> float:
    """elearn_transpose_conv_pairs_s8, phases that are computed together: a convolution, whose channels are then copied.

    Args:
        eights: values under the window, in groups of eight.
        positions: of the window.
        channels: those of all phases.
        rows: of the phases.
        in_fours: whether values are expanded in place or gathered first.
    """
    copies = positions * (60.0 + 12.0 * rows + 4.0 * channels)
    return copies + convolution_in_pairs(eights, pixels=positions, channels=channels, in_fours=in_fours)


def plain_depthwise(window: Window, *, outputs: int) -> float:
    """elearn_depthwise_conv2d_s8; `outputs` are elements of the output."""
    return outputs * (60.0 + 10.0 * window.kernel_h + 8.0 * window.kernel_h * window.kernel_w)


def depthwise_in_fours(window: Window, *, outputs: int, inputs: int, threes: bool) -> float:
    """elearn_depthwise_conv2d_fours_s8.

    Args:
        window: its size.
        outputs: elements of the output.
        inputs: elements of the input.
        threes: whether the sweep for 3x3 windows does it.
    """
    sweep = 19.0 if threes else 40.0 + window.kernel_h * (8.0 + 4.0 * (window.kernel_w // 2 + 1))
    return 2.0 * inputs + outputs * sweep


def plain_dense(*, features: int, outputs: int) -> float:
    """elearn_fully_connected_s8; `outputs` are elements of the output."""
    return outputs * (50.0 + _inner_product(features))


def dense_in_fours(*, features: int, outputs: int, rows: int) -> float:
    """elearn_fully_connected_fours_s8; `outputs` are those of one row."""
    eights = (features + 7) // 8
    return rows * (120.0 + 12.0 * eights + (outputs + 3) // 4 * (45.0 + 28.5 * eights))


def plain_lstm(*, features: int, units: int, steps: int) -> float:
    """elearn_lstm_s8."""
    return steps * units * (950.0 + 12.0 * (features + units))


def lstm_in_fours(*, features: int, units: int, steps: int) -> float:
    """elearn_lstm_fours_s8."""
    eights = (features + 7) // 8 + (units + 7) // 8
    return steps * (250.0 + 12.0 * eights + units * (400.0 + 28.5 * eights))


#: What a byte of flash is worth: so many instructions of one inference.
FLASH_BYTE = 1.0


def softmax(*, rows: int, columns: int) -> float:
    """elearn_softmax_s8: two exponentials for each element."""
    return rows * (190.0 + 190.0 * columns)


def softmax_by_table(*, rows: int, columns: int, table_bytes: int) -> float:
    """elearn_softmax_table_s8, with the price of its table."""
    return rows * (190.0 + 27.0 * columns) + FLASH_BYTE * table_bytes
