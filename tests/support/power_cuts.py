"""A board whose power is cut at random instants while it learns and saves over its link; what it comes back with.

After each cut its flash is loaded again at the next start. The head must be the one of the newest save that was
finished for sure, or of one that was under way, with every bit of the reference at that step.
"""

from __future__ import annotations

import contextlib
import copy
import random
import threading
from collections import deque
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgelearn.board import Board, Core
from edgelearn.errors import PortError
from edgelearn.firmware.emulator import RunningEmulator, start
from edgelearn.host.device import Device, PendingSample, open_device
from edgelearn.host.link import LinkOptions, Pending
from edgelearn.protocol import READING, MessageType, Status
from edgelearn.store import HEADER_BYTES, StoreLayout
from edgelearn.training import IntegerHead
from tests.support.lossy_proxy import assert_same_head

#: The device learns for that long at most before a cut.
_MOST_S = 0.25
#: Nothing is lost on this line, and a repeat to a device that is gone would hide what it had still sent.
_OPTIONS = LinkOptions(first_timeout_s=60.0, min_timeout_s=60.0, max_timeout_s=60.0, give_up_s=90.0)
#: What RESULT tells where nothing of the session is saved.
_NOTHING_SAVED = 2**32 - 1


class Cuts(NamedTuple):
    """What happened in all.

    Attributes:
        old, new: starts with the newest save that was finished for sure, and with a later one.
        torn: cuts that left a record half written.
        saves: records written whole.
        step: training steps in the last head.
    """

    old: int
    new: int
    torn: int
    saves: int
    step: int


class _Save(NamedTuple):
    """A save that the device has to make.

    Attributes:
        step: training steps in it.
        request: number of requests answered when it is under way.
        before: the request from which on nothing is in it, as RESULT tells.
    """

    step: int
    request: int
    before: int


class _Life:
    """One start of the device, from HELLO to the cut.

    Attributes:
        heads: the reference at each step.
        saves: those that the device has to make, in order; the first is the one that it came back with.
    """

    def __init__(self, device: Device, head: IntegerHead, autosave_steps: int, rng: np.random.Generator) -> None:
        self._device = device
        self._head = head
        self._autosave_steps = autosave_steps
        self._rng = rng
        self._step = self._counted_from = device.info.step
        self._waiting: deque[PendingSample | Pending] = deque()
        self._sent = self._answered = 0
        self.heads = {self._step: copy.deepcopy(head)}
        self.saves = [_Save(self._step, -1, _NOTHING_SAVED)]

    def learn_one(self) -> None:
        """Send a sample, and keep the head that it makes."""
        plan = self._head.plan
        x = self._rng.integers(-128, 128, plan.features).astype(np.int8)
        label = int(self._rng.integers(plan.outputs))
        pending = self._device.submit(x, train=True, label=label)
        self._waiting.append(pending)
        self._sent += 1
        self._head.learn(x, self._head.judge(self._head.forward(x), label=label), label=label)
        self._step += 1
        self.heads[self._step] = copy.deepcopy(self._head)
        if self._step - self._counted_from >= self._autosave_steps:
            # It answers, then it saves.
            self._note_save(_Save(self._step, self._sent, (pending.request.sequence + 1) % READING))

    def save(self) -> None:
        """Ask for a save: the device saves, then it answers."""
        pending = self._device.link.submit(MessageType.SAVE)
        self._waiting.append(pending)
        self._note_save(_Save(self._step, self._sent, pending.sequence))
        self._sent += 1

    def _note_save(self, save: _Save) -> None:
        self.saves.append(save)
        self._counted_from = self._step

    def take(self) -> None:
        """What has been answered so far."""
        while self._waiting:
            first = self._waiting[0]
            if isinstance(first, Pending):
                if first.reply is None:
                    return
                assert self._device.link.answer(first).status is Status.OK
            else:
                if not first.is_done:
                    return
                done = [save for save in self.saves if save.request <= self._answered]
                assert self._device.result(first).saved_sequence == done[-1].before
            self._waiting.popleft()
            self._answered += 1

    def drain(self) -> None:
        """What the device had sent when its power was cut."""
        with contextlib.suppress(PortError):
            while True:
                self._device.link.poll(0.01)
                self.take()
        self.take()

    def possible(self, *, all_arrived: bool) -> dict[int, _Save]:
        """By its place, the newest save that was finished for sure, and those that may have been made after it.

        That are the autosave after the request that was answered last, and the one that the next request asks for;
        where answers may have been lost with the power, those after them too.
        """
        sure = max(place for place, save in enumerate(self.saves) if save.request < self._answered)
        last = self._answered if all_arrived else self._sent
        later = {place: save for place, save in enumerate(self.saves) if self._answered <= save.request <= last}
        return {sure: self.saves[sure], **later}


def cut_power_often(
    board: Board, image: Path, head: IntegerHead, layout: StoreLayout, *, kept: Path, cuts: int, seed: int = 5
) -> Cuts:
    """Let a model that is nothing but its head learn, cut its power, start it again, and compare.

    Args:
        board, image: the device.
        head: the reference, as generated.
        layout: how its records lie in flash.
        kept: file for the device's flash.
        cuts: how often.
        seed: of samples and instants.
    """
    chance = random.Random(seed)
    rng = np.random.default_rng(seed)
    heads = {0: copy.deepcopy(head)}
    #: Number of each save that it may come back with, the old one first.
    possible = {0: _Save(0, -1, _NOTHING_SAVED)}
    olds = torn = 0
    for _ in range(cuts):
        with (
            start(board, image, nvm_file=kept) as running,
            open_device(running.url, options=_OPTIONS, hello_timeout_s=30) as device,
        ):
            info = device.info
            assert info.saves in possible, f"save {info.saves} of step {info.step} is none of {possible}"
            expected = possible[info.saves]
            assert (info.step, info.saved_step) == (expected.step, expected.step)
            assert_same_head(device, heads[expected.step])
            olds += info.saves == min(possible)
            autosave_steps = chance.randrange(1, 6)
            device.set_autosave(autosave_steps)
            life = _Life(device, copy.deepcopy(heads[expected.step]), autosave_steps, rng)
            _learn_until_cut(life, running, chance)
            life.drain()
        heads = life.heads
        # A process that is killed takes with it what its socket had not delivered yet; QEMU stands still for a while.
        all_arrived = board.core is not Core.HOST
        possible = {info.saves + place: save for place, save in life.possible(all_arrived=all_arrived).items()}
        torn += has_torn_record(kept.read_bytes(), layout)
    return Cuts(olds, cuts - olds, torn, min(possible), possible[min(possible)].step)


def _learn_until_cut(life: _Life, running: RunningEmulator, chance: random.Random) -> None:
    errors: list[BaseException] = []

    def cut() -> None:
        try:
            running.cut_power()
        except BaseException as error:
            errors.append(error)

    cutter = threading.Timer(chance.uniform(0.0, _MOST_S), cut)
    cutter.start()
    try:
        with contextlib.suppress(PortError):
            while True:
                life.learn_one()
                if chance.random() < 0.2:
                    life.save()
                life.take()
    finally:
        cutter.join()
    if errors:
        raise errors[0]


def has_torn_record(flash: bytes, layout: StoreLayout) -> bool:
    """Whether a place has parts but no header."""
    for block in range(0, len(flash), layout.block_bytes):
        for place in range(layout.records_per_block):
            begin = block + place * layout.record_bytes
            record = flash[begin : begin + layout.record_bytes]
            if record[:HEADER_BYTES].strip(b"\xff") == b"" and record.strip(b"\xff"):
                return True
    return False
