"""The link against a model of line and device, with a clock of its own: whatever gets lost, doubled or late.

The model device is what docs/protocol.md says and nothing more: the next number is carried out, the last few replies
are kept, a gap is told. It looks at every frame that the host sends: one number has one request, no more than the
window and the receive buffer hold is under way.
"""

from __future__ import annotations

import heapq
import itertools
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgelearn.errors import DeviceTimeoutError
from edgelearn.host.link import Link, LinkOptions
from edgelearn.protocol import (
    READING,
    Frame,
    FrameReader,
    MessageType,
    Status,
    encode_frame,
    encoded_bytes,
    message,
    pack,
)

OPTIONS = LinkOptions(first_timeout_s=1.0, min_timeout_s=0.1, max_timeout_s=4.0, give_up_s=40.0, first_give_up_s=60.0)
STATISTICS = bytes(message(MessageType.STATISTICS_REPLY).size_bytes)
#: What happens to a frame: seconds until it arrives, for each copy. The first is by far the most likely.
FATES: tuple[tuple[float, ...], ...] = (*[(0.01,)] * 12, (), (), (0.01, 0.02), (0.01, 0.9), (0.3,), (0.015, 2.5))


class Model:
    """Line and device; a transport whose reading moves the clock.

    Args:
        window, receive_bytes: of the device.
        fates: what happens to each frame, in both directions; afterwards all is well.
        compute_s: how long a request takes to be carried out.
    """

    name = "model"
    byte_s = 0.0

    def __init__(self, *, window: int, receive_bytes: int, fates: list[tuple[float, ...]], compute_s: float = 0.0):
        self.window, self.receive_bytes, self.compute_s = window, receive_bytes, compute_s
        self._fates = iter(fates)
        self.now = 0.0
        self._order = itertools.count()
        self._to_device: list[tuple[float, int, Frame]] = []
        self._to_host: list[tuple[float, int, bytes]] = []
        self._reader = FrameReader()
        self._busy_until = 0.0
        self.next: int | None = None
        self.kept: dict[int, bytes] = {}
        #: Payloads in the order in which they were carried out.
        self.done: list[bytes] = []
        #: Every frame that the host sent, and what each number stands for.
        self.sent: list[Frame] = []
        self.meaning: dict[int, tuple[MessageType, bytes]] = {}
        self.most = 0

    def clock(self) -> float:
        return self.now

    def close(self) -> None:
        pass

    def write(self, data: bytes) -> None:
        for frame in self._reader.feed(data):
            self.sent.append(frame)
            assert self.meaning.setdefault(frame.sequence, (frame.type, frame.payload)) == (frame.type, frame.payload)
            if not frame.sequence & READING and self.next is None:
                self.next = frame.sequence
            for delay in next(self._fates, (0.01,)):
                heapq.heappush(self._to_device, (self.now + delay, next(self._order), frame))

    def read(self, timeout_s: float) -> bytes:
        end = self.now + timeout_s
        while True:
            device_s = max(self._to_device[0][0], self._busy_until) if self._to_device else float("inf")
            host_s = self._to_host[0][0] if self._to_host else float("inf")
            if min(device_s, host_s) > end:
                self.now = end
                return b""
            if host_s <= device_s:
                at, _, data = heapq.heappop(self._to_host)
                self.now = max(self.now, at)
                return data
            _, _, frame = heapq.heappop(self._to_device)
            self._take(frame, device_s)

    def _take(self, frame: Frame, at: float) -> None:
        if frame.sequence & READING:
            reply = encode_frame(MessageType.STATISTICS_REPLY, frame.sequence, STATISTICS)
        else:
            assert self.next is not None
            behind = (self.next - frame.sequence) % READING
            if behind == 0:
                at += self.compute_s
                self._busy_until = at
                self.done.append(frame.payload)
                reply = encode_frame(MessageType.ACK, frame.sequence, pack(MessageType.ACK, status=Status.OK))
                self.kept[frame.sequence] = reply
                while len(self.kept) > self.window:
                    del self.kept[next(iter(self.kept))]
                self.next = (self.next + 1) % READING
            elif behind >= READING // 2:
                reply = encode_frame(MessageType.NAK, frame.sequence, pack(MessageType.NAK, expected=self.next))
            else:
                reply = self.kept.get(frame.sequence, b"")
        for delay in next(self._fates, (0.01,)) if reply else ():
            heapq.heappush(self._to_host, (at + delay, next(self._order), reply))


def write(number: int, size: int = 4) -> bytes:
    return pack(MessageType.WRITE, region=0, index=0, offset=0, tail=struct.pack("<I", number) + bytes(size - 4))


def open_link(model: Model, *, first: int | None = None) -> Link:
    link = Link(model, options=OPTIONS, clock=model.clock)
    if first is not None:
        link._next_change = first
    link.session_opened(window=model.window, receive_bytes=model.receive_bytes)
    return link


def assert_credit(link: Link, model: Model) -> None:
    """What is under way fits the device; one request alone may be longer."""
    waiting = list(link._changes.values())
    if len(waiting) > 1:
        span = (waiting[-1].sequence - waiting[0].sequence) % READING + 1
        assert span <= model.window
        assert sum(len(pending.data) for pending in waiting) <= model.receive_bytes
    model.most = max(model.most, len(waiting))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    window=st.sampled_from([1, 2, 4, 8]),
    receive_bytes=st.sampled_from([0, 60, 120, 1000]),
    fates=st.lists(st.sampled_from(FATES), max_size=150),
    sizes=st.lists(st.sampled_from([4, 4, 4, 20, 200, 0]), min_size=1, max_size=40),
    first=st.sampled_from([0, 77, READING - 1, READING - 9, READING // 2]),
    compute_s=st.sampled_from([0.0, 0.05, 1.4]),
)
def test_everything_is_carried_out_once_and_in_order(window, receive_bytes, fates, sizes, first, compute_s):
    model = Model(window=window, receive_bytes=receive_bytes, fates=fates, compute_s=compute_s)
    link = open_link(model, first=first)
    waiting = []
    payloads = []
    for number, size in enumerate(sizes):
        if size == 0:
            link.request(MessageType.STATISTICS)
        else:
            payloads.append(write(number, size))
            waiting.append(link.submit(MessageType.WRITE, payloads[-1]))
        assert_credit(link, model)
    for pending in waiting:
        assert link.wait(pending).status is Status.OK
        assert_credit(link, model)
    assert model.done == payloads
    assert link.under_way == 0
    assert link.counters.requests == len(sizes)
    # Nothing is sent without end: a fault costs no more than a window a few times.
    faults = sum(fate != (0.01,) for fate in fates)
    slow = 30 * len(sizes) if compute_s else 0
    assert len(model.sent) <= len(sizes) + (faults + 2) * 4 * window + slow


@pytest.mark.parametrize("window", [1, 4, 8])
def test_a_good_line_needs_no_repeat_and_the_window_is_full(window):
    model = Model(window=window, receive_bytes=1000, fates=[], compute_s=0.02)
    link = open_link(model)
    for number in range(50):
        link.submit(MessageType.WRITE, write(number))
        assert_credit(link, model)
    while link.under_way:
        link.poll()
    assert (len(model.sent), model.most) == (50, window)
    # Line and device work at the same time: with a window the line's 20 ms each way cost nothing.
    each_s = model.now / 50
    assert each_s == pytest.approx(0.04 if window == 1 else 0.02, rel=0.1)


class PacedModel(Model):
    """A line of limited speed in each direction, and a device that sends when it has computed and then goes on.

    Args:
        compute_s: for a request.
        byte_s: on the line.
        delay_s: of an adapter, after the last byte, in each direction.
    """

    def __init__(self, *, receive_bytes: int, compute_s: float, byte_s: float, delay_s: float = 0.0):
        super().__init__(window=8, receive_bytes=receive_bytes, fates=[], compute_s=compute_s)
        self._fates = itertools.repeat((0.0,))
        self._byte_s, self._delay_s = byte_s, delay_s
        self._sent_until = self._received_until = 0.0
        #: Bytes that the device has not begun to work on: what its ring has to hold.
        self.most_waiting = 0

    def write(self, data: bytes) -> None:
        self._sent_until = max(self._sent_until, self.now) + len(data) * self._byte_s
        for frame in self._reader.feed(data):
            self.sent.append(frame)
            if self.next is None:
                self.next = frame.sequence
            heapq.heappush(self._to_device, (self._sent_until + self._delay_s, next(self._order), frame))

    def _take(self, frame: Frame, at: float) -> None:
        waiting = [other for arrived, _, other in self._to_device if arrived <= at]
        self.most_waiting = max(self.most_waiting, sum(encoded_bytes(len(other.payload)) for other in waiting))
        replies: list[tuple[float, int, bytes]] = []
        self._to_host, queued = replies, self._to_host
        super()._take(frame, at)
        self._to_host = queued
        for done_s, order, reply in replies:
            self._received_until = max(self._received_until, done_s) + len(reply) * self._byte_s
            heapq.heappush(self._to_host, (self._received_until + self._delay_s, order, reply))


@pytest.mark.parametrize("baud", [115_200, 1_000_000])
# The rings of tests/unit/codegen/test_plan.py, for samples of so many bytes.
@pytest.mark.parametrize(
    ("size", "ring_bytes"), [(32, 512), (64, 512), (149, 512), (150, 1024), (490, 2048), (900, 4096)]
)
@pytest.mark.parametrize("load", [0.1, 0.5, 0.9, 1.0, 1.1, 2.0, 10.0])
def test_neither_line_nor_device_waits_for_the_other(baud, size, ring_bytes, load):
    """Nine tenths of what the slower one allows, through an adapter that delays by a millisecond each way."""
    byte_s = 10 / baud
    line_s = encoded_bytes(len(sample(size))) * byte_s
    compute_s = load * line_s
    model = PacedModel(receive_bytes=ring_bytes, compute_s=compute_s, byte_s=byte_s, delay_s=0.001)
    link = open_link(model)
    count = 300
    for _ in range(count):
        link.submit(MessageType.WRITE, sample(size))
    while link.under_way:
        link.poll()
    assert len(model.done) == len(model.sent) == count
    assert model.most_waiting <= ring_bytes
    assert count * max(line_s, compute_s) / model.now >= 0.9


def sample(size: int) -> bytes:
    """As long as a SAMPLE of so many bytes."""
    return pack(MessageType.WRITE, region=9, index=1, offset=0x01010101, tail=bytes([7]) * (size + 3))


def test_bytes_under_way_are_those_of_the_frames():
    """Three frames of a buffer of exactly three, and not one byte more."""
    frame = encoded_bytes(len(write(0)))
    for more, most in ((0, 3), (-1, 2)):
        model = Model(window=8, receive_bytes=3 * frame + more, fates=[], compute_s=0.5)
        link = open_link(model)
        for number in range(9):
            # No zeros in it, so that it is as long as any.
            link.submit(MessageType.WRITE, pack(MessageType.WRITE, region=9, index=1, offset=0x01010101, tail=b"abcd"))
            assert_credit(link, model)
            assert number >= most or link.under_way == number + 1
        assert model.most >= most


def test_the_window_counts_from_the_oldest_without_a_reply():
    """The device keeps only the last replies: one that is lost must not fall out of its memory."""
    lost_reply = [(0.01,)] + [()] + [(0.01,)] * 9
    model = Model(window=4, receive_bytes=1000, fates=lost_reply)
    link = open_link(model)
    waiting = [link.submit(MessageType.WRITE, write(number)) for number in range(4)]
    # All but the first are answered: nothing new may be sent, for the device would forget its first reply.
    model._fates = iter([()] * 40)
    for _ in range(3):
        link.poll(0.01)
    assert not link.has_room(4)
    model._fates = iter([])
    assert [link.wait(pending).status for pending in waiting] == [Status.OK] * 4
    assert model.done == [write(number) for number in range(4)]


def test_after_silence_nothing_overtakes_what_was_under_way():
    model = Model(window=4, receive_bytes=1000, fates=[()] * 400)
    link = open_link(model)
    first = link.submit(MessageType.WRITE, write(0))
    second = link.submit(MessageType.WRITE, write(1))
    with pytest.raises(DeviceTimeoutError):
        link.wait(first)
    model._fates = iter([])
    third = link.submit(MessageType.WRITE, write(2))
    for pending in (third, first, second):
        assert link.wait(pending).status is Status.OK
    assert model.done == [write(0), write(1), write(2)]


def test_questions_go_on_where_changes_are_lost():
    fates = [()] * 3 + [(0.01,)] * 10
    model = Model(window=4, receive_bytes=1000, fates=fates)
    link = open_link(model)
    waiting = [link.submit(MessageType.WRITE, write(number)) for number in range(3)]
    link.request(MessageType.STATISTICS)
    assert model.now < 0.1
    assert [link.wait(pending).status for pending in waiting] == [Status.OK] * 3
    assert model.done == [write(0), write(1), write(2)]


def test_one_gap_after_another_is_told_each_time():
    """Also the same gap again, where the repeat was lost too: then a time-out asks."""
    ok, lost = (0.01,), ()
    # Three requests, the first lost; two complaints; the repeat of the first lost again, and so on.
    model = Model(window=4, receive_bytes=1000, fates=[lost, ok, ok, ok, ok, lost, ok, ok, ok, ok, *[ok] * 20])
    link = open_link(model)
    waiting = [link.submit(MessageType.WRITE, write(number)) for number in range(3)]
    assert [link.wait(pending).status for pending in waiting] == [Status.OK] * 3
    assert model.done == [write(0), write(1), write(2)]
    assert len(model.sent) <= 12


def test_a_window_that_was_lost_as_a_whole_costs_one_time_out():
    """The answer to the repeat of the oldest shows that the others must be sent again too."""
    model = Model(window=8, receive_bytes=1000, fates=[()] * 8)
    link = open_link(model)
    for number in range(8):
        link.submit(MessageType.WRITE, write(number))
    while link.under_way:
        link.poll()
    assert model.done == [write(number) for number in range(8)]
    assert OPTIONS.first_timeout_s < model.now < OPTIONS.first_timeout_s + 0.2
    assert len(model.sent) == 16


def test_a_gap_whose_repeats_were_lost_is_acted_upon_again_after_the_time_out():
    ok, lost = (0.01,), ()
    # Three, the first lost; two complaints. Sent again: the first two lost, and the complaint about the third too.
    # The time-out's repeat is lost. What comes then is a fourth request, and a complaint about it.
    model = Model(window=8, receive_bytes=1000, fates=[lost, ok, ok, ok, ok, lost, lost, ok, lost, lost])
    link = open_link(model)
    for number in range(3):
        link.submit(MessageType.WRITE, write(number))
    while model.now < OPTIONS.first_timeout_s + 0.1:
        link.poll(0.1)
    link.submit(MessageType.WRITE, write(3))
    before = model.now
    while link.under_way:
        link.poll()
    assert model.done == [write(number) for number in range(4)]
    assert model.now - before < 0.2
