"""A bad line and power cuts together, on real firmware: the head has every bit of the reference in the end.

EDGELEARN_SOAK_SAMPLES says how many samples (5,000; `make soak` asks for 100,000).
"""

from __future__ import annotations

import os

import numpy as np
import pytest

from edgelearn.board import Core, load_board
from edgelearn.firmware.emulator import QEMU_PROGRAMS
from edgelearn.firmware.toolchain import build_project
from edgelearn.training import make_head, plan_training
from tests.support.firmware import generate, write_project
from tests.support.soak import soak
from tests.support.tools import require_tool, require_toolchain
from tests.unit.training.heads import head_graph

SAMPLES = int(os.environ.get("EDGELEARN_SOAK_SAMPLES", "5000"))


@pytest.mark.parametrize("name", ["host", "mps2-an386", "microbit"])
def test_soak(name, tmp_path):
    board = load_board(name)
    require_toolchain("gnu", name)
    if board.core is not Core.HOST:
        require_tool(QEMU_PROGRAMS[board.core])
    rng = np.random.default_rng(4)
    weights = rng.normal(size=(5, 24)).astype(np.float32) * 0.1
    graph = head_graph(weights, rng.normal(size=5).astype(np.float32), feature_zero_point=-3)
    plan = plan_training(graph, learning_rate=1e-3)
    project = write_project(generate(graph, board=board, training=plan, labels=tuple("abcde")), tmp_path / "p")
    image = build_project(project, core=board.core, toolchain="gnu", sanitize=board.core is Core.HOST).elf
    found = soak(board, image, make_head(plan), kept=tmp_path / "kept.bin", samples=SAMPLES)
    assert found.resets >= SAMPLES // 5_000
    assert found.retries > SAMPLES // 50
