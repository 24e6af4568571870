"""The link over a scripted transport with a clock of its own: repeats, time-outs, refusals, counters."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from edgelearn.errors import DeviceRefusedError, DeviceResetError, DeviceTimeoutError, PortError
from edgelearn.host.link import STATUS_TEXT, Link, LinkOptions, RoundTrip
from edgelearn.protocol import READING, Frame, FrameReader, MessageType, Status, encode_frame, message, pack

OPTIONS = LinkOptions(first_timeout_s=1.0, min_timeout_s=0.1, max_timeout_s=4.0, give_up_s=10.0, first_give_up_s=20.0)

#: The payload of a STATISTICS_REPLY of a device that has seen nothing.
STATISTICS = bytes(message(MessageType.STATISTICS_REPLY).size_bytes)


class Scripted:
    """Answers each frame with what `answer` says: pairs of a delay and bytes. Reading moves the clock."""

    name = "scripted"
    byte_s = 0.0

    def __init__(self, answer: Callable[[int, Frame], list[tuple[float, bytes]]]) -> None:
        self.answer = answer
        self.now = 0.0
        self.written: list[bytes] = []
        self.sent_at: list[float] = []
        self.inbox: list[tuple[float, bytes]] = []
        self.reader = FrameReader()
        self.frames: list[Frame] = []

    def clock(self) -> float:
        return self.now

    def read(self, timeout_s: float) -> bytes:
        self.inbox.sort(key=lambda item: item[0])
        if self.inbox and self.inbox[0][0] <= self.now + timeout_s:
            at, data = self.inbox.pop(0)
            self.now = max(self.now, at)
            return data
        self.now += timeout_s
        return b""

    def write(self, data: bytes) -> None:
        self.written.append(data)
        self.sent_at.append(self.now)
        for frame in self.reader.feed(data):
            self.frames.append(frame)
            self.inbox += [(self.now + delay, reply) for delay, reply in self.answer(len(self.written), frame)]

    def close(self) -> None:
        pass


def ok(frame: Frame, status: int = Status.OK) -> bytes:
    return encode_frame(MessageType.ACK, frame.sequence, pack(MessageType.ACK, status=status))


def link_to(answer, options: LinkOptions = OPTIONS) -> tuple[Link, Scripted]:
    transport = Scripted(answer)
    return Link(transport, options=options, clock=transport.clock), transport


def test_sequence_numbers_grow_by_one():
    seen = []
    link, _ = link_to(lambda _, frame: (seen.append(frame.sequence), [(0.01, ok(frame))])[1])
    for _ in range(3):
        link.request(MessageType.RESET_HEAD)
    assert seen == [seen[0], seen[0] + 1, seen[0] + 2]


def test_a_lost_request_is_repeated_with_the_same_bytes():
    link, transport = link_to(lambda n, frame: [(0.01, ok(frame))] if n == 3 else [])
    link.request(MessageType.RESET_HEAD)
    first, second, third = transport.written
    assert second == third == b"\0" + first
    assert transport.sent_at == [0.0, 1.0, 3.0]
    assert link.retries == 2
    assert link.counters.requests == 1


def test_silence_ends_with_what_was_tried():
    link, transport = link_to(lambda _n, _frame: [])
    with pytest.raises(DeviceTimeoutError, match=r"reset head was sent 7 times in 20\.0 s") as caught:
        link.request(MessageType.RESET_HEAD)
    assert "scripted" in caught.value.message
    assert transport.now == 20.0


@pytest.mark.parametrize(
    "banner",
    [
        "MicroPython v1.25.0 on 2025-04-15; Raspberry Pi Pico with RP2040",
        "MicroPython v1.9.2-34-gd64154c73 on 2017-09-01; micro:bit v1.0.1 with nRF51822",
        "MicroPython 3c9546ea0-dirty on 2026-01-05; a board whose vendor builds it",
    ],
)
def test_the_prompt_of_micropython_is_told_from_silence(banner):
    link, transport = link_to(lambda _n, _frame: [])
    write = transport.write

    def show(data: bytes) -> None:
        write(data)
        if data.endswith(b"\x02"):  # Ctrl-B
            text = f'\r\n{banner}\r\nType "help()" for more information.\r\n>>> '
            transport.inbox.append((transport.now, text.encode()))

    transport.write = show
    with pytest.raises(DeviceTimeoutError, match="MicroPython's prompt answers at scripted") as caught:
        link.request(MessageType.HELLO)
    assert caught.value.cause == banner


def test_silence_is_told_when_a_repeat_is_not_answered_either():
    told = []
    link, transport = link_to(lambda n, _: [])
    link.silence = lambda silence: told.append((transport.now, silence))
    with pytest.raises(DeviceTimeoutError):
        link.request(MessageType.STATISTICS)
    (first_s, silence), *_, (_, last) = told
    assert 2.0 <= first_s <= 2.8
    assert silence.quiet_s == pytest.approx(first_s)
    assert silence.left_s == pytest.approx(20.0 - first_s)
    assert last.left_s < 0.5
    assert len(told) > 50


def test_a_lost_frame_is_no_silence():
    told = []
    options = replace(OPTIONS, first_timeout_s=3.0)
    link, _ = link_to(
        lambda n, frame: (
            [] if n % 2 else [(0.01, encode_frame(MessageType.STATISTICS_REPLY, frame.sequence, STATISTICS))]
        ),
        options,
    )
    link.silence = told.append
    for _ in range(5):
        link.request(MessageType.STATISTICS)
    assert told == []


def test_garbage_without_end_does_not_keep_a_request_alive():
    link, transport = link_to(lambda _n, _frame: [(0.01 * i, b"\x33\0") for i in range(5000)])
    with pytest.raises(DeviceTimeoutError, match="broken frames"):
        link.request(MessageType.RESET_HEAD)
    assert transport.now < 25.0
    assert link.bad_frames > 100


def test_the_link_works_again_after_silence():
    link, _ = link_to(lambda n, frame: [(0.01, ok(frame))] if n > 7 else [])
    with pytest.raises(DeviceTimeoutError):
        link.request(MessageType.RESET_HEAD)
    link.request(MessageType.RESET_HEAD)


def test_late_and_repeated_replies_are_dropped():
    replies: list[bytes] = []

    def answer(_n: int, frame: Frame) -> list[tuple[float, bytes]]:
        replies.append(ok(frame))
        return [(0.01, reply) for reply in replies] + [(0.01, replies[-1])]

    link, _ = link_to(answer)
    for _ in range(4):
        link.request(MessageType.RESET_HEAD)
    assert link.counters.requests == 4
    assert link.counters.stale_frames > 4
    assert link.retries == 0


def test_a_reply_of_the_wrong_type_is_not_taken():
    def answer(n: int, frame: Frame) -> list[tuple[float, bytes]]:
        if n == 1:
            return [(0.01, encode_frame(MessageType.RESULT, frame.sequence, b"\0" * 28))]
        return [(0.01, ok(frame))]

    link, _ = link_to(answer)
    link.request(MessageType.RESET_HEAD)
    assert (link.retries, link.counters.stale_frames) == (1, 1)


def test_a_reply_that_is_too_short_is_refused_not_raised_as_a_frame_error():
    link, _ = link_to(lambda _, frame: [(0.01, encode_frame(MessageType.STATISTICS_REPLY, frame.sequence, b"\1"))])
    with pytest.raises(DeviceRefusedError, match="broken reply"):
        link.request(MessageType.STATISTICS)


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.OK])
def test_refusals_are_said_in_words(status):
    link, _ = link_to(lambda _, frame: [(0.01, ok(frame, status))])
    with pytest.raises(DeviceRefusedError, match="refused reset head") as caught:
        link.request(MessageType.RESET_HEAD)
    assert caught.value.cause == STATUS_TEXT[status]


def test_an_unknown_status_is_named_by_its_number():
    link, _ = link_to(lambda _, frame: [(0.01, ok(frame, 200))])
    with pytest.raises(DeviceRefusedError, match="status 200"):
        link.request(MessageType.RESET_HEAD)


def test_no_session_means_a_reset_once_one_was_open():
    link, _ = link_to(lambda _, frame: [(0.01, ok(frame, Status.NO_SESSION))])
    link.session_opened(window=1, receive_bytes=0)
    with pytest.raises(DeviceResetError):
        link.request(MessageType.RESET_HEAD)


def a_window(answer, *, window: int = 4, receive_bytes: int = 1000) -> tuple[Link, Scripted]:
    link, transport = link_to(answer)
    link.session_opened(window=window, receive_bytes=receive_bytes)
    return link, transport


@pytest.mark.parametrize(("window", "receive_bytes", "expected"), [(4, 1000, 4), (1, 1000, 1), (8, 60, 3), (8, 10, 1)])
def test_no_more_is_under_way_than_the_device_has_room_for(window, receive_bytes, expected):
    """Each frame has 20 bytes; one that is longer than the buffer may go alone."""
    link, _ = a_window(lambda _, frame: [(0.5, ok(frame))], window=window, receive_bytes=receive_bytes)
    under_way = []
    for _ in range(9):
        link.submit(MessageType.WRITE, pack(MessageType.WRITE, region=0, index=0, offset=0, tail=b"12"))
        under_way.append(link.under_way)
    assert max(under_way) == expected


def numbers(transport: Scripted) -> list[int]:
    """The sequence numbers of all frames sent, from that of the first."""
    first = transport.frames[0].sequence
    return [(frame.sequence - first) % READING for frame in transport.frames]


def test_everything_from_a_gap_on_is_sent_again_once():
    """The device drops the second request and complains of each that follows."""
    expected: list[int] = []

    def answer(n: int, frame: Frame) -> list[tuple[float, bytes]]:
        if not expected:
            expected.append(frame.sequence)
        if n == 2:
            return []
        if frame.sequence != expected[0]:
            nak = encode_frame(MessageType.NAK, frame.sequence, pack(MessageType.NAK, expected=expected[0]))
            return [(0.01, nak)]
        expected[0] += 1
        return [(0.01, ok(frame))]

    link, transport = a_window(answer)
    waiting = [link.submit(MessageType.RESET_HEAD) for _ in range(4)]
    assert [link.wait(pending).status for pending in waiting] == [Status.OK] * 4
    assert numbers(transport) == [0, 1, 2, 3, 1, 2, 3]
    assert link.counters.gaps == 1
    assert transport.clock() < 0.1, "no time-out was waited for"


def test_a_lost_reply_is_asked_for_when_a_later_one_comes():
    def answer(n: int, frame: Frame) -> list[tuple[float, bytes]]:
        return [] if n == 1 else [(0.01, ok(frame))]

    link, transport = a_window(answer)
    waiting = [link.submit(MessageType.RESET_HEAD) for _ in range(3)]
    for pending in waiting:
        link.wait(pending)
    assert numbers(transport) == [0, 1, 2, 0]
    assert transport.clock() < 0.1


def test_only_the_oldest_is_repeated_after_a_time_out_then_what_follows():
    heard: set[int] = set()

    def answer(n: int, frame: Frame) -> list[tuple[float, bytes]]:
        if n <= 3:
            return []
        heard.add(frame.sequence)
        return [(0.01, ok(frame))]

    link, transport = a_window(answer)
    waiting = [link.submit(MessageType.RESET_HEAD) for _ in range(3)]
    for pending in waiting:
        link.wait(pending)
    assert numbers(transport) == [0, 1, 2, 0, 1, 2]
    assert len(heard) == 3


def test_a_read_passes_changes_under_way():
    def answer(_n: int, frame: Frame) -> list[tuple[float, bytes]]:
        if frame.sequence & READING:
            return [(0.01, encode_frame(MessageType.STATISTICS_REPLY, frame.sequence, STATISTICS))]
        return [(1.0, ok(frame))]

    link, transport = a_window(answer)
    change = link.submit(MessageType.RESET_HEAD)
    link.request(MessageType.STATISTICS)
    assert transport.clock() < 0.5
    assert link.wait(change).status is Status.OK


def test_a_complaint_about_a_number_of_nobody_is_dropped():
    def answer(n: int, frame: Frame) -> list[tuple[float, bytes]]:
        nak = encode_frame(
            MessageType.NAK, frame.sequence, pack(MessageType.NAK, expected=(frame.sequence + 5) % READING)
        )
        return [(0.01, nak), (0.02, ok(frame))]

    link, transport = a_window(answer)
    link.request(MessageType.RESET_HEAD)
    assert len(transport.frames) == 1
    assert link.counters.stale_frames == 1


@pytest.mark.parametrize("error", [PortError("gone"), KeyboardInterrupt()])
def test_a_request_that_was_broken_off_does_not_block_the_next(error):
    link, transport = link_to(lambda _, frame: [(0.01, ok(frame))])
    read = transport.read

    def fail(_timeout_s: float) -> bytes:
        raise error

    transport.read = fail
    with pytest.raises(type(error)):
        link.request(MessageType.RESET_HEAD)
    transport.read = read
    link.request(MessageType.RESET_HEAD)


def test_round_trips_are_measured():
    link, _ = link_to(lambda _, frame: [(0.25, ok(frame))])
    for _ in range(10):
        link.request(MessageType.RESET_HEAD)
    assert link.round_trip_s == pytest.approx(0.25)
    assert link.counters.round_trip_mean_s == pytest.approx(0.25)
    assert link.counters.round_trip_p95_s == pytest.approx(0.25)


def test_the_timeout_follows_the_round_trip():
    times = RoundTrip(OPTIONS)
    assert times.timeout_s == 1.0
    assert times.give_up_s == 20.0
    for _ in range(50):
        times.measured(0.3)
    assert 0.3 <= times.timeout_s < 0.35
    assert times.give_up_s == 10.0
    for _ in range(50):
        times.measured(0.001)
    assert times.timeout_s == 0.1


def test_a_device_that_became_slower_is_not_asked_twice_for_ever():
    delay = [0.01]
    link, _ = link_to(lambda _, frame: [(delay[0], ok(frame))])
    for _ in range(20):
        link.request(MessageType.RESET_HEAD)
    delay[0] = 2.5
    for _ in range(20):
        link.request(MessageType.RESET_HEAD)
    before = link.retries
    assert before < 25
    for _ in range(10):
        link.request(MessageType.RESET_HEAD)
    assert link.retries == before


def test_a_device_that_needs_longer_than_the_longest_timeout_is_waited_for():
    link, _ = link_to(lambda _, frame: [(6.0, ok(frame))])
    link.request(MessageType.RESET_HEAD)
    assert link.retries >= 1
