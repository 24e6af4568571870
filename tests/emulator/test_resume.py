"""Hosts that are killed while real firmware learns: the head has every bit of the reference in the end."""

from __future__ import annotations

import numpy as np
import pytest

from edgelearn.board import Core, load_board
from edgelearn.firmware.emulator import QEMU_PROGRAMS, start
from edgelearn.firmware.toolchain import build_project
from edgelearn.host.device import open_device
from edgelearn.host.telemetry import StreamOptions, read_run
from edgelearn.training import make_head, plan_training
from tests.support.firmware import generate, write_project
from tests.support.mortal import stream_with_kills
from tests.support.tools import require_tool, require_toolchain
from tests.unit.training.heads import head_graph

SAMPLES = 2500


@pytest.mark.parametrize("power_cuts", [False, True])
@pytest.mark.parametrize("name", ["host", "mps2-an386", "microbit"])
def test_killed_hosts_and_firmware(name, power_cuts, tmp_path):
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
    head = make_head(plan)
    x = rng.integers(-128, 128, (SAMPLES, 24)).astype(np.int8)
    y = rng.integers(5, size=SAMPLES)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    losses = []
    for sample, label in zip(x, y, strict=True):
        step = head.judge(head.forward(sample), label=int(label))
        losses.append((step.prediction, int(label)))
        head.learn(sample, step, label=int(label))
    kept = tmp_path / "kept.bin"
    running = start(board, image, nvm_file=kept)

    cuts = iter([False, True] * 10)

    def cut_power(_):
        nonlocal running
        if power_cuts and next(cuts):
            running.cut_power()
            running = start(board, image, nvm_file=kept)

    try:
        lives = stream_with_kills(
            lambda: running.url,
            tmp_path / "data.npz",
            tmp_path / "runs",
            StreamOptions(train=True, autosave_steps=200),
            samples=SAMPLES,
            kills=8,
            seed=5,
            between=cut_power,
        )
        with open_device(running.url) as device:
            learned = device.read_head()
            assert device.info.step == SAMPLES
    finally:
        running.stop()
    for mine, its in (
        (head.q, learned.q),
        (head.residual, learned.l),
        (head.bias, learned.bias),
        (head.row_t, learned.row_t),
        (head.row_rho, learned.row_rho),
    ):
        np.testing.assert_array_equal(mine, its)
    run = read_run(lives.run)
    assert lives.resumed >= 2
    assert len(run.records) + run.summary.lost_results == SAMPLES
    # Each sample that was recorded found the head of the reference.
    assert all((record.prediction, record.label) == losses[record.number] for record in run.records)
    if power_cuts:
        assert any(event.kind == "replay" for event in run.events)
