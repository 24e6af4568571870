"""Pools, reductions, copies and resizing as they run on emulated cores: the same bytes as the LiteRT reference kernels.

Those with DSP instructions run other code there than in tests/vectors, where the portable twins are compared.
"""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from click.testing import CliRunner

from edgelearn.cli import main
from tests.emulator.test_kernels import BOARDS
from tests.support.tflite_builder import TfliteBuilder
from tests.support.tflite_ops import concatenation, reduce, resize, split, transpose
from tests.support.tools import require_tool, require_toolchain


def branches(seed: int) -> bytes:
    """Many ops on one image, their results one behind another."""
    b = TfliteBuilder(seed)
    rng = np.random.default_rng(seed)
    depth = int(rng.choice([3, 8, 21, 35]))
    x = b.input((1, int(rng.integers(5, 12)), int(rng.integers(5, 12)), depth))
    windows = [
        {"kernel": (2, 2), "stride": (2, 2), "padding": "valid"},
        {"kernel": (3, 3), "stride": (1, 2), "padding": "same"},
        {"kernel": b.shape(x)[1:3], "stride": (1, 1), "padding": "valid"},
    ]
    parts = []
    for window in windows:
        parts.append(b.average_pool_2d(x, **window, activation=rng.choice(["none", "relu"])))
        parts.append(b.max_pool_2d(x, **window, activation=rng.choice(["none", "relu6"])))
    for axes in ((1, 2), (3,), (1, 3)):
        parts += [reduce(b, x, code, axes) for code in ("MEAN", "REDUCE_MAX", "REDUCE_MIN")]
    parts.append(resize(b, x, "RESIZE_BILINEAR", (7, 13), align=False, half=True))
    parts.append(resize(b, x, "RESIZE_NEAREST_NEIGHBOR", (9, 4), align=False, half=False))
    parts.append(concatenation(b, split(b, transpose(b, x, (0, 3, 2, 1)), 1, [1, depth - 1], equal=False)[::-1], 1))
    flat = [b.reshape(part, (1, math.prod(b.shape(part)))) for part in parts]
    return b.build(concatenation(b, flat, 1))


@pytest.mark.parametrize("board", BOARDS.values(), ids=[core.value for core in BOARDS])
@pytest.mark.parametrize(("seed", "toolchain"), [(0, "gnu"), (1, "gnu"), (2, "gnu"), (3, "zig")])
def test_pools_and_reductions(board, seed, toolchain, tmp_path):
    require_tool("qemu-system-arm")
    require_toolchain(toolchain, board)
    (tmp_path / "model.tflite").write_bytes(branches(seed))
    bundle = str(tmp_path / "model.elb")
    for argv in (
        ["convert", str(tmp_path / "model.tflite"), "-o", bundle, "--head", "none"],
        ["verify", bundle, "--board", board, "--toolchain", toolchain, "--samples", "8", "--json"],
    ):
        result = CliRunner().invoke(main, argv, catch_exceptions=False)
        assert result.exit_code == 0, result.output
    found = json.loads(result.output.splitlines()[-1])
    assert found["output_bytes_compared"] > 8 * 1000
    assert found["output_bytes_different"] == 0
