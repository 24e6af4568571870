"""The kernels for DSP instructions as they run on emulated cores: the same bytes as the LiteRT reference kernels.

The portable twins are compared on this machine in tests/vectors; here it is the instructions themselves.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from click.testing import CliRunner

from edgelearn.board import board_names, load_board
from edgelearn.cli import main
from edgelearn.codegen.lowering import Target, lower
from tests.support.firmware import load_graph
from tests.support.tflite_builder import TfliteBuilder
from tests.support.tools import require_tool, require_toolchain

#: A board of each core that has the instructions.
BOARDS = {
    load_board(name).core: name
    for name in board_names()
    if load_board(name).core.has_dsp and load_board(name).emulator is not None
}


def chain(seed: int) -> bytes:
    """Convolutions of all kinds and dense layers of odd and even sizes, strides, windows and activations."""
    b = TfliteBuilder(seed)
    rng = np.random.default_rng(seed)

    def one_of(*values):
        return values[rng.integers(len(values))]

    def activation():
        return one_of("none", "relu", "relu6")

    x = b.input((1, int(rng.integers(7, 14)), int(rng.integers(7, 14)), one_of(1, 2, 3, 4)))
    x = b.conv_2d(
        x,
        filters=one_of(5, 6, 8, 9),
        kernel=one_of((3, 3), (2, 5), (1, 1)),
        stride=one_of((1, 1), (2, 1)),
        padding=one_of("same", "valid"),
        activation=activation(),
    )
    for _ in range(3):
        kernel, stride = one_of(((3, 3), (1, 1)), ((3, 3), (2, 2)), ((5, 2), (1, 1)), ((3, 1), (1, 3)))
        x = b.depthwise_conv_2d(x, kernel=kernel, stride=stride, padding="same", activation=activation())
        x = b.conv_2d(
            x,
            filters=one_of(7, 8, 12, 16),
            kernel=one_of((1, 1), (3, 3)),
            padding="same",
            dilation=one_of((1, 1), (2, 2)),
            activation=activation(),
        )
    for kernel, stride in (one_of(((3, 3), (2, 2)), ((4, 4), (2, 2))), one_of(((3, 2), (1, 3)), ((1, 1), (2, 1)))):
        filters, padding = one_of(1, 5, 8, 12), one_of("same", "valid")
        x = b.transpose_conv(x, filters=filters, kernel=kernel, stride=stride, padding=padding, activation=activation())
    _, height, width, depth = b.shape(x)
    x = b.fully_connected(b.reshape(x, (1, height * width * depth)), units=one_of(9, 10, 12), activation=activation())
    return b.build(b.fully_connected(x, units=one_of(3, 4, 5)))


def recurrent(seed: int) -> bytes:
    """Two LSTM layers, one behind the other."""
    b = TfliteBuilder(seed)
    rng = np.random.default_rng(seed)
    x = b.input((1, int(rng.integers(3, 9)), int(rng.integers(1, 20))))
    x = b.unidirectional_sequence_lstm(x, units=int(rng.integers(1, 20)))
    return b.build(b.unidirectional_sequence_lstm(x, units=int(rng.integers(1, 12))))


def plain(seed: int) -> bytes:
    """Layers that the kernels for DSP instructions cannot do: groups, and more inputs than the sums of a pair allow."""
    b = TfliteBuilder(seed)
    x = b.input((1, 9, 8, 2 * (5, 8, 3)[seed]))
    x = b.conv_2d(x, filters=(40, 32, 36)[seed], kernel=((3, 3), (1, 1), (2, 5))[seed], padding="same", groups=2)
    elements = math.prod(b.shape(x))
    x = b.fully_connected(b.reshape(x, (1, elements)), units=7, activation="relu")
    return b.build(b.fully_connected(x, units=3))


def scaled(seed: int) -> bytes:
    """Channels times a factor each and plus a number each, as squeeze-and-excite has it."""
    b = TfliteBuilder(seed)
    x = b.conv_2d(b.input((1, 6, 5, 3)), filters=5 + seed, kernel=(3, 3))
    mean = b.mean(x, keep_dims=True)
    scale = b.quant(x)[0] * b.quant(mean)[0] * 90.0
    out = b.tensor(b.shape(x), scale=scale, zero_point=b.random_zero_point())
    options = schema.MulOptionsT()
    options.fusedActivationFunction = schema.ActivationFunctionType.NONE
    return b.build(b.add(mean, b.op("MUL", [x, mean], out, options=options, version=2), activation="relu"))


@pytest.mark.parametrize("board", BOARDS.values(), ids=[core.value for core in BOARDS])
@pytest.mark.parametrize(("seed", "toolchain"), [*((seed, "gnu") for seed in range(6)), (6, "zig"), (7, "zig")])
def test_dsp_kernels(board, seed, toolchain, tmp_path):
    assert_exact(chain(seed), board, toolchain, tmp_path)


@pytest.mark.parametrize("board", BOARDS.values(), ids=[core.value for core in BOARDS])
@pytest.mark.parametrize(("seed", "toolchain"), [(0, "gnu"), (1, "gnu"), (2, "zig")])
def test_dsp_kernels_of_lstm(board, seed, toolchain, tmp_path):
    assert_exact(recurrent(seed), board, toolchain, tmp_path)


@pytest.mark.parametrize("board", BOARDS.values(), ids=[core.value for core in BOARDS])
@pytest.mark.parametrize(("seed", "toolchain"), [(0, "gnu"), (1, "gnu"), (2, "zig")])
def test_plain_kernels(board, seed, toolchain, tmp_path):
    model = plain(seed)
    graph = load_graph(model)
    functions = {call.function for op in graph.ops if (call := lower(graph, op, Target(dsp=True)))}
    assert {"elearn_conv2d_s8", "elearn_fully_connected_s8"} <= functions
    assert_exact(model, board, toolchain, tmp_path)


@pytest.mark.parametrize("board", BOARDS.values(), ids=[core.value for core in BOARDS])
@pytest.mark.parametrize(("seed", "toolchain"), [(0, "gnu"), (1, "zig")])
def test_dsp_arithmetic_with_broadcasting(board, seed, toolchain, tmp_path):
    assert_exact(scaled(seed), board, toolchain, tmp_path)


def assert_exact(model: bytes, board: str, toolchain: str, tmp_path: Path) -> None:
    """What the board gives has the bytes of the LiteRT reference kernels."""
    require_tool("qemu-system-arm")
    require_toolchain(toolchain, board)
    (tmp_path / "chain.tflite").write_bytes(model)
    bundle = str(tmp_path / "chain.elb")
    for argv in (
        ["convert", str(tmp_path / "chain.tflite"), "-o", bundle, "--head", "none"],
        ["verify", bundle, "--board", board, "--toolchain", toolchain, "--samples", "12", "--json"],
    ):
        result = CliRunner().invoke(main, argv, catch_exceptions=False)
        assert result.exit_code == 0, result.output
    assert json.loads(result.output.splitlines()[-1])["output_bytes_different"] == 0
