"""Training over a line with every fault, by a device whose power is cut now and then: none lost, none doubled."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgelearn.board import Board
from edgelearn.errors import ResultLostError
from edgelearn.firmware.emulator import RunningEmulator, start
from edgelearn.host.device import PendingSample, open_device
from edgelearn.host.link import LinkOptions
from edgelearn.host.transport import reopener
from edgelearn.training import IntegerHead
from edgelearn.training.reference import HeadStep
from tests.support.lossy_proxy import Faults, LossyProxy

#: Every fault; all together about 5 % of the frames in each direction are lost or damaged.
SOAK_FAULTS = Faults(
    lose=0.01,
    cut=0.01,
    corrupt=0.01,
    swap=0.005,
    duplicate=0.02,
    hold=0.01,
    replay=0.02,
    pause=0.002,
    garbage=0.02,
    disconnect=0.0005,
)
OPTIONS = LinkOptions(first_timeout_s=0.1, min_timeout_s=0.02, max_timeout_s=0.4, give_up_s=60.0)
#: One reset in so many frames, at most.
RESET_FRAMES = 2_000


class Soaked(NamedTuple):
    """What happened.

    Attributes:
        resets, reconnects: that the host had to survive.
        lost_results: samples that were learned and saved, whose results a reset swallowed.
        retries: frames sent again.
    """

    resets: int
    reconnects: int
    lost_results: int
    retries: int


class _Breaker(threading.Thread):
    """Cuts the device's power after every so many frames, and starts it again with its flash."""

    def __init__(self, line: LossyProxy, running: RunningEmulator, boot: Callable[[], RunningEmulator]) -> None:
        super().__init__(daemon=True)
        self._line = line
        self.running = running
        self._boot = boot
        self._random = random.Random(3)
        self._ending = threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        next_at = RESET_FRAMES
        while not self._ending.wait(0.01):
            if self._line.to_device["frames"] < next_at:
                continue
            try:
                self.running.cut_power()
                self.running = self._boot()
            except BaseException as error:
                self.error = error
                return
            self._line.target = self.running.url
            next_at = self._line.to_device["frames"] + RESET_FRAMES + self._random.randrange(RESET_FRAMES)

    def finish(self) -> None:
        self._ending.set()
        self.join(timeout=60)
        if self.error:
            raise self.error


@contextmanager
def _broken_line(board: Board, image: Path, kept: Path, faults: Faults, seed: int) -> Iterator[LossyProxy]:
    def boot() -> RunningEmulator:
        return start(board, image, nvm_file=kept)

    running = boot()
    with LossyProxy(running.url, faults, seed=seed) as line:
        breaker = _Breaker(line, running, boot)
        breaker.start()
        try:
            yield line
        finally:
            breaker.finish()
            breaker.running.stop()


def soak(
    board: Board,
    image: Path,
    head: IntegerHead,
    *,
    kept: Path,
    samples: int,
    autosave_steps: int = 400,
    faults: Faults = SOAK_FAULTS,
    seed: int = 1,
) -> Soaked:
    """Train a model that is nothing but its head, and the reference, on the same samples; compare every bit.

    Args:
        board, image: the device.
        head: the reference.
        kept: file for the device's flash.
        samples: how many.
        autosave_steps: the device saves after that many.
        faults: of the line.
        seed: of faults and samples.
    """
    rng = np.random.default_rng(seed)
    waiting: deque[tuple[int, PendingSample, HeadStep]] = deque()
    lost = 0
    with (
        _broken_line(board, image, kept, faults, seed) as line,
        open_device(line.url, options=OPTIONS, hello_timeout_s=30) as device,
    ):
        device.survive(reopener(line.url), reopen_timeout_s=60)
        device.set_autosave(autosave_steps)

        def take() -> None:
            nonlocal lost
            number, pending, step = waiting.popleft()
            try:
                result = device.result(pending)
            except ResultLostError:
                lost += 1
                return
            got = (result.step, result.prediction, result.loss_a, result.loss_b)
            want = (number + 1, step.prediction, step.loss_a, step.loss_b)
            assert got == want, f"{got} != {want}, after {device.session.events}"

        for number in range(samples):
            x = rng.integers(-128, 128, head.plan.features).astype(np.int8)
            label = int(rng.integers(head.plan.outputs))
            step = head.judge(head.forward(x), label=label)
            waiting.append((number, device.submit(x, train=True, label=label), step))
            head.learn(x, step, label=label)
            while waiting and waiting[0][1].is_done:
                take()
        while waiting:
            take()
        learned = device.read_head()
        assert device.statistics().step == samples
        kinds = [event.kind for event in device.session.events]
        retries = device.counters.retries
    for mine, its in (
        (head.q, learned.q),
        (head.residual, learned.l),
        (head.bias, learned.bias),
        (head.row_t, learned.row_t),
        (head.row_rho, learned.row_rho),
    ):
        np.testing.assert_array_equal(mine, its)
    return Soaked(kinds.count("reset"), kinds.count("reconnect"), lost, retries)
