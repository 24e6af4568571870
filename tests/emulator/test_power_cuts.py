"""The whole firmware learns and saves over its link while its power is cut: it comes back with the old head or the new.

EDGELEARN_POWER_CUTS says how often for each board (12; `make soak` asks for 200). QEMU's `microbit` has the real driver
of a flash memory that is emulated; the process of this machine keeps its own in a file.
"""

from __future__ import annotations

import os

import numpy as np
import pytest

from edgelearn.board import Core, load_board
from edgelearn.firmware.emulator import QEMU_PROGRAMS
from edgelearn.firmware.toolchain import build_project
from edgelearn.training import make_head, plan_training
from tests.support.firmware import generate, plan, write_project
from tests.support.power_cuts import cut_power_often
from tests.support.tools import require_tool, require_toolchain
from tests.unit.training.heads import head_graph

CUTS = int(os.environ.get("EDGELEARN_POWER_CUTS", "12"))
FEATURES, OUTPUTS = 64, 8


@pytest.mark.parametrize("name", ["host", "microbit"])
def test_a_power_cut_while_it_learns_leaves_the_old_head_or_the_new(name, tmp_path):
    board = load_board(name)
    require_toolchain("gnu", name)
    if board.core is not Core.HOST:
        require_tool(QEMU_PROGRAMS[board.core])
    rng = np.random.default_rng(6)
    weights = rng.normal(size=(OUTPUTS, FEATURES)).astype(np.float32) * 0.1
    graph = head_graph(weights, rng.normal(size=OUTPUTS).astype(np.float32), feature_zero_point=-3)
    training = plan_training(graph, learning_rate=1e-3)
    labels = tuple("abcdefgh")
    layout = plan(graph, board=board, training=training, labels=labels).store
    assert layout is not None
    project = write_project(generate(graph, board=board, training=training, labels=labels), tmp_path / "p")
    image = build_project(project, core=board.core, toolchain="gnu", sanitize=board.core is Core.HOST).elf
    found = cut_power_often(board, image, make_head(training), layout, kept=tmp_path / "kept.bin", cuts=CUTS)
    assert found.old + found.new == CUTS
    assert found.saves > CUTS, "it hardly saved anything"
    if CUTS >= 100:
        assert min(found.old, found.new) > 0
        assert found.torn > 0 or board.core is Core.HOST, "no cut came while a record was written"
