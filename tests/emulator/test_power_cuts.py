"""Power cuts at any instant while a board learns and saves over the real link: it boots with the old or the new head.

EDGELEARN_POWER_CUTS cuts for each board (20; `make soak` asks for 200). The cut comes between two instructions; those
inside of a flash operation are the part of tests/vectors/test_store.py.
"""

from __future__ import annotations

import os
import random
import threading
import zlib

import numpy as np
import pytest

from edgelearn.board import Core, load_board
from edgelearn.errors import EdgelearnError
from edgelearn.firmware.emulator import QEMU_PROGRAMS, start
from edgelearn.firmware.toolchain import build_project
from edgelearn.host.device import Device, open_device
from edgelearn.training import IntegerHead, make_head, plan_training
from tests.support.firmware import generate, write_project
from tests.support.tools import require_tool, require_toolchain
from tests.unit.training.heads import head_graph

CUTS = int(os.environ.get("EDGELEARN_POWER_CUTS", "20"))
FEATURES, OUTPUTS, ROWS = 24, 5, 40
AUTOSAVE_STEPS = 7


class Reference:
    """The NumPy head after any number of steps on the table's samples, as a hash."""

    def __init__(self, head: IntegerHead, x: np.ndarray, labels: list[int]) -> None:
        self._head, self._x, self._labels = head, x, labels
        self._hashes = [self._hash()]

    def hash_after(self, steps: int) -> int:
        while len(self._hashes) <= steps:
            x, label = self.sample(len(self._hashes) - 1)
            self._head.learn(x, self._head.judge(self._head.forward(x), label=label), label=label)
            self._hashes.append(self._hash())
        return self._hashes[steps]

    def sample(self, step: int) -> tuple[np.ndarray, int]:
        return self._x[step % ROWS], self._labels[step % ROWS]

    def _hash(self) -> int:
        head = self._head
        return _hash(head.q, head.residual, head.bias, head.row_t, head.row_rho)


def _hash(*arrays: np.ndarray) -> int:
    return zlib.crc32(b"".join(array.astype(np.int64).tobytes() for array in arrays))


def hash_on(device: Device) -> int:
    head = device.read_head()
    assert head.l is not None
    return _hash(head.q, head.l, head.bias, head.row_t, head.row_rho)


@pytest.mark.parametrize("name", ["host", "microbit"])
def test_after_each_cut_it_has_the_old_or_the_new_head(name, tmp_path):
    board = load_board(name)
    require_toolchain("gnu", name)
    if board.core is not Core.HOST:
        require_tool(QEMU_PROGRAMS[board.core])
    rng = np.random.default_rng(4)
    weights = rng.normal(size=(OUTPUTS, FEATURES)).astype(np.float32) * 0.1
    graph = head_graph(weights, rng.normal(size=OUTPUTS).astype(np.float32), feature_zero_point=-3)
    plan = plan_training(graph, learning_rate=1e-3)
    project = write_project(generate(graph, board=board, training=plan, labels=tuple("abcde")), tmp_path / "p")
    image = build_project(project, core=board.core, toolchain="gnu", sanitize=board.core is Core.HOST).elf
    x = rng.integers(-128, 128, (ROWS, FEATURES)).astype(np.int8)
    reference = Reference(make_head(plan), x, [int(label) for label in rng.integers(OUTPUTS, size=ROWS)])
    moments, kept = random.Random(11), tmp_path / "kept.bin"
    saved = told = new = 0
    for cut in range(CUTS + 1):
        with start(board, image, nvm_file=kept) as running, open_device(running.url, hello_timeout_s=30) as device:
            info = device.info
            # Never less than what the device had said is saved, never more than it can have learned.
            assert saved <= info.saved_step == info.step <= told + AUTOSAVE_STEPS
            assert hash_on(device) == reference.hash_after(info.step)
            new += info.step > saved
            saved = told = info.step
            if cut == CUTS:
                break
            device.set_autosave(AUTOSAVE_STEPS)
            cutter = threading.Timer(moments.uniform(0.0, 0.1), running.cut_power)
            cutter.start()
            try:
                while True:
                    sample, label = reference.sample(told)
                    told = device.train(sample, label=label).step
                    if told % 25 == 0:
                        device.save()
                        saved = told
            except EdgelearnError:
                pass
            cutter.join()
    assert new > CUTS // 4, "it hardly saved anything"
    assert saved > 4 * CUTS
