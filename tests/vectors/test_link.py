"""Order and exactly once on the device itself: the C link under sanitizers, by single frames and over a bad line.

A repeat is told by its number alone. Requests such as RESET_HEAD or WRITE do no harm when they are carried out twice,
so a repeat is also played by an impostor: another request under the same number, which must change nothing either.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from cobs import cobs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgelearn.board import load_board
from edgelearn.errors import DeviceResetError
from edgelearn.host.device import open_device
from edgelearn.host.link import LinkOptions, Pending
from edgelearn.ir import Graph
from edgelearn.protocol import (
    PROTOCOL_VERSION,
    READING,
    Frame,
    MessageType,
    Region,
    ResultFlag,
    SampleFlag,
    Status,
    decode_frame,
    encode_frame,
    message,
    pack,
    unpack,
)
from edgelearn.recipe import TrainingPlan
from edgelearn.training import make_head, plan_training
from tests.support.firmware import HostFirmware, build, generate, load_graph
from tests.support.lossy_proxy import ALL_FAULTS, Faults, LossyProxy, assert_same_head, teach
from tests.support.tflite_builder import TfliteBuilder
from tests.unit.training.heads import head_graph

FEATURES, OUTPUTS = 24, 5
SESSION = 0x1234_5678
UNKNOWN_TYPE = 0x55
#: Numbers of the requests by which a test waits until all before them were answered or dropped.
FENCE = 0xF000_0000
OPTIONS = LinkOptions(first_timeout_s=0.03, min_timeout_s=0.01, max_timeout_s=0.05, give_up_s=30.0)


def _model() -> tuple[Graph, TrainingPlan]:
    rng = np.random.default_rng(4)
    weights = rng.normal(size=(OUTPUTS, FEATURES)).astype(np.float32) * 0.1
    graph = head_graph(weights, rng.normal(size=OUTPUTS).astype(np.float32), feature_zero_point=-3)
    return graph, plan_training(graph, learning_rate=1e-3)


@pytest.fixture(scope="module")
def plan() -> TrainingPlan:
    return _model()[1]


@pytest.fixture(scope="module")
def program() -> Path:
    graph, plan = _model()
    return build(generate(graph, training=plan, labels=tuple("abcde")))


class Wire:
    """Raw frames to a firmware that was just started."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("socket://").split(":")
        self._socket = socket.create_connection((host, int(port)), timeout=20)
        self._received = b""
        self._fence = FENCE
        self._readings = itertools.count(READING)

    def close(self) -> None:
        self._socket.close()

    def send_raw(self, data: bytes) -> list[bytes]:
        """All frames that came back, as bytes; [] for none."""
        self._fence += 1
        self._socket.sendall(data + encode_frame(UNKNOWN_TYPE, self._fence, b""))  # type: ignore[arg-type]
        replies: list[bytes] = []
        while True:
            reply = self._next()
            if decode_frame(reply).sequence == self._fence:
                return replies
            replies.append(reply)

    def send(self, type_: int, sequence: int, payload: bytes = b"") -> list[bytes]:
        """The frames that answer a request."""
        return self.send_raw(encode_frame(type_, sequence, payload))  # type: ignore[arg-type]

    def _next(self) -> bytes:
        while b"\0" not in self._received:
            data = self._socket.recv(65536)
            assert data, "the firmware hung up"
            self._received += data
        frame, _, self._received = self._received.partition(b"\0")
        return frame

    def ask(self, type_: int, sequence: int, payload: bytes = b"") -> Frame:
        """The one reply."""
        (reply,) = self.send(type_, sequence, payload)
        frame = decode_frame(reply)
        assert frame.sequence == sequence
        return frame

    def status(self, type_: int, sequence: int, payload: bytes = b"") -> Status:
        """The status of an ACK."""
        frame = self.ask(type_, sequence, payload)
        assert frame.type is MessageType.ACK
        return Status(frame.payload[0])

    def expected(self, type_: int, sequence: int, payload: bytes = b"") -> int:
        """The number that a NAK names."""
        frame = self.ask(type_, sequence, payload)
        assert frame.type is MessageType.NAK
        return unpack(frame.type, frame.payload).integer("expected")

    def result(self, sequence: int, payload: bytes) -> dict[str, float]:
        """The result of a sample."""
        frame = self.ask(MessageType.SAMPLE, sequence, payload)
        assert frame.type is MessageType.RESULT
        return unpack(frame.type, frame.payload).values

    def hello(self, session: int = SESSION, first: int = 0, **others: int) -> dict[str, float]:
        frame = self.ask(MessageType.HELLO, next(self._readings), hello(session, first, **others))
        assert frame.type is MessageType.HELLO_REPLY
        return unpack(frame.type, frame.payload).values

    def statistic(self, name: str) -> int:
        frame = self.ask(MessageType.STATISTICS, next(self._readings))
        return unpack(MessageType.STATISTICS_REPLY, frame.payload).integer(name)

    def region(self, region: Region) -> bytes:
        payload = pack(MessageType.READ, region=region, index=0, offset=0, length=200)
        frame = self.ask(MessageType.READ, next(self._readings), payload)
        return unpack(MessageType.READ_REPLY, frame.payload).tail

    def region_bytes(self, region: Region) -> int:
        payload = pack(MessageType.READ, region=region, index=0, offset=0, length=1)
        frame = self.ask(MessageType.READ, next(self._readings), payload)
        return unpack(MessageType.READ_REPLY, frame.payload).integer("total_bytes")

    def head(self) -> tuple[object, ...]:
        """All that learning changes: steps and the bytes of every array."""
        regions = (Region.HEAD_WEIGHTS, Region.HEAD_RESIDUAL, Region.HEAD_BIAS, Region.HEAD_ROW_T, Region.LABELS)
        return (self.statistic("step"), *map(self.region, regions))

    def others(self) -> tuple[float, ...]:
        """What requests change beside the head."""
        values = self.hello()
        names = (
            "learning_rate_mantissa",
            "learning_rate_exponent",
            "autosave_steps",
            "classes",
            "saves",
            "next_sequence",
        )
        return tuple(values[name] for name in names)


@pytest.fixture
def wire(program: Path) -> Iterator[Wire]:
    with HostFirmware(program) as firmware:
        wire = Wire(firmware.url)
        yield wire
        wire.close()


def hello(session: int = SESSION, first: int = 0, *, version: int = PROTOCOL_VERSION, resume: int = 0) -> bytes:
    return pack(MessageType.HELLO, version=version, session=session, first_sequence=first, resume=resume)


def inputs(seed: int = 0, size: int = FEATURES) -> bytes:
    return np.random.default_rng(seed).integers(-128, 128, size).astype(np.int8).tobytes()


def sample(label: int = 1, *, seed: int = 0, train: bool = True, size: int = FEATURES) -> bytes:
    flags = SampleFlag.HAS_LABEL | (SampleFlag.TRAIN if train else SampleFlag(0))
    return pack(MessageType.SAMPLE, flags=flags, label=label, tail=inputs(seed, size))


def write(region: Region = Region.HEAD_WEIGHTS, data: bytes = b"\x01\x02\x03", offset: int = 0) -> bytes:
    return pack(MessageType.WRITE, region=region, index=0, offset=offset, tail=data)


def rate(mantissa: int, exponent: int) -> bytes:
    return pack(MessageType.SET_LEARNING_RATE, mantissa=mantissa, exponent=exponent)


def a_class(index: int, name: bytes) -> bytes:
    return pack(MessageType.SET_CLASS, index=index, tail=name)


CHANGES = {
    "sample": (MessageType.SAMPLE, sample()),
    "write": (MessageType.WRITE, write()),
    "reset": (MessageType.RESET_HEAD, b""),
    "rate": (MessageType.SET_LEARNING_RATE, rate(2**14 + 5, 26)),
    "autosave": (MessageType.SET_AUTOSAVE, pack(MessageType.SET_AUTOSAVE, steps=100)),
    "class": (MessageType.SET_CLASS, a_class(2, b"renamed")),
    "save": (MessageType.SAVE, b""),
}
IMPOSTORS = {
    "the same": None,
    "sample": (MessageType.SAMPLE, sample(2, seed=9)),
    "write": (MessageType.WRITE, write(data=b"\x70\x71")),
    "reset": (MessageType.RESET_HEAD, b""),
    "rate": (MessageType.SET_LEARNING_RATE, rate(2**14 + 77, 25)),
    "class": (MessageType.SET_CLASS, a_class(3, b"impostor")),
    "save": (MessageType.SAVE, b""),
}


@pytest.mark.parametrize("impostor", IMPOSTORS.values(), ids=IMPOSTORS.keys())
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_repeat_gets_the_same_reply_and_changes_nothing(wire, change, impostor):
    wire.hello(first=17)
    for number in range(3):
        wire.ask(MessageType.SAMPLE, 17 + number, sample(number, seed=number))
    (first,) = wire.send(change[0], 20, change[1])
    assert decode_frame(first).type is (MessageType.RESULT if change[0] is MessageType.SAMPLE else MessageType.ACK)
    head, others = wire.head(), wire.others()
    repeat = impostor or change
    for count in range(1, 4):
        assert wire.send(repeat[0], 20, repeat[1]) == [first]
        assert wire.statistic("repeats") == count
        assert wire.head() == head
    assert wire.others() == others
    # The next number is new.
    assert wire.result(21, sample(3, seed=5))["step"] == head[0] + 1


@pytest.mark.parametrize("first", [0, 40, READING - 5])
def test_the_last_replies_are_kept(wire, first):
    """As many as the device says, over the end of the numbers too; what is older is dropped."""
    window = int(wire.hello(first=first)["window"])
    assert window >= 4
    numbers = [(first + n) % READING for n in range(window + 6)]
    replies = [wire.send(MessageType.SAMPLE, number, sample(n % OUTPUTS, seed=n)) for n, number in enumerate(numbers)]
    assert [unpack(MessageType.RESULT, decode_frame(r).payload).integer("step") for (r,) in replies] == list(
        range(1, window + 7)
    )
    head, others = wire.head(), wire.others()
    for number, reply in [*zip(numbers, replies, strict=True)][::-1]:
        kept = numbers.index(number) >= 6
        for type_, payload in (CHANGES["sample"], CHANGES["reset"], IMPOSTORS["write"]):
            assert wire.send(type_, number, payload) == (reply if kept else [])
    assert wire.statistic("repeats") == 3 * len(numbers)
    assert (wire.head(), wire.others()) == (head, others)
    assert wire.result((numbers[-1] + 1) % READING, sample())["step"] == len(numbers) + 1


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
@pytest.mark.parametrize("first", [0, 1000, READING - 1, READING // 2])
def test_an_older_request_is_dropped(wire, change, first):
    wire.hello(first=first)
    (last,) = wire.send(MessageType.SAMPLE, first, sample(3, seed=3))
    head, others = wire.head(), wire.others()
    olds = (1, 2, 9, 1000, READING // 2 - 2)
    for back in olds:
        assert wire.send(change[0], (first - back) % READING, change[1]) == []
    assert (wire.head(), wire.others()) == (head, others)
    assert (wire.statistic("repeats"), wire.statistic("gaps")) == (len(olds), 0)
    # What is kept is still the reply to the last one.
    assert wire.send(MessageType.SAMPLE, first, sample(3, seed=3)) == [last]
    assert wire.head() == head


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
@pytest.mark.parametrize("first", [0, 1000, READING - 3])
def test_a_gap_is_told_and_changes_nothing(wire, change, first):
    wire.hello(first=first)
    wire.result(first, sample(3, seed=3))
    head, others = wire.head(), wire.others()
    expected = (first + 1) % READING
    ahead = (1, 2, 7, 8, 9, 1000, READING // 2 - 1)
    for more in ahead:
        assert wire.expected(change[0], (expected + more) % READING, change[1]) == expected
    assert (wire.head(), wire.others()) == (head, others)
    assert (wire.statistic("repeats"), wire.statistic("gaps")) == (0, len(ahead))
    # What was ahead is carried out when its turn has come, and was not answered from memory.
    assert wire.result(expected, sample(2))["step"] == 2
    assert wire.ask(change[0], (expected + 1) % READING, change[1]).type is not MessageType.NAK


def test_any_order_of_arrival_is_carried_out_in_order(wire):
    """Frames of a window in random order, sent until all are answered: the same head as one by one."""
    random = np.random.default_rng(8)
    wire.hello(first=5)
    requests = [(n, sample(n % OUTPUTS, seed=n)) for n in range(5, 45)]
    for number, payload in requests:
        wire.result(number, payload)
    in_order = wire.head()
    wire.hello(SESSION + 1, 5)
    wire.status(MessageType.RESET_HEAD, 5)
    done = set()
    while len(done) < len(requests):
        first = len(done)
        window = [requests[n] for n in range(first, min(first + 8, len(requests)))]
        for place in random.permutation(len(window)):
            number, payload = window[place]
            frame = wire.ask(MessageType.SAMPLE, number + 1, payload)
            if frame.type is MessageType.RESULT:
                done.add(number)
                assert done == set(range(5, 5 + len(done)))
                assert unpack(frame.type, frame.payload).integer("step") == number - 4
            else:
                assert unpack(frame.type, frame.payload).integer("expected") == 6 + len(done)
    assert wire.head() == in_order


def test_each_change_does_change_something(wire):
    """Without which the tests of repeats would prove nothing."""
    wire.hello(first=1)
    for number, (type_, payload) in enumerate([*CHANGES.values(), CHANGES["sample"], CHANGES["reset"]], start=1):
        before = wire.head(), wire.others()[:-1]
        wire.ask(type_, number, payload)
        after = wire.head(), wire.others()[:-1]
        assert after != before, type_
        assert (after[0] != before[0]) == (type_ not in SETTINGS), type_


SETTINGS = (MessageType.SET_LEARNING_RATE, MessageType.SET_AUTOSAVE, MessageType.SAVE)


def test_questions_are_answered_as_often_as_asked(wire):
    wire.hello(first=5)
    wire.ask(MessageType.SAMPLE, 5, sample())
    (last,) = wire.send(MessageType.SAMPLE, 6, sample())
    for number in (7, 7, 3, 100, 2**31 - 1):
        assert wire.ask(MessageType.STATISTICS, READING | number).type is MessageType.STATISTICS_REPLY
        read = pack(MessageType.READ, region=Region.BOARD, index=0, offset=0, length=9)
        assert wire.ask(MessageType.READ, READING | number, read).type is MessageType.READ_REPLY
    assert wire.send(MessageType.SAMPLE, 6, sample()) == [last], "they do not disturb what is kept"
    assert wire.statistic("step") == 2
    assert wire.result(7, sample())["step"] == 3, "they use up no number"


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_under_a_number_of_reading_is_refused(wire, change):
    wire.hello(first=5)
    head, others = wire.head(), wire.others()
    for number in (READING, READING | 5, 2**32 - 1):
        assert wire.status(change[0], number, change[1]) is Status.UNKNOWN_TYPE
    assert (wire.head(), wire.others()) == (head, others)


@pytest.mark.parametrize("type_", [MessageType.HELLO, MessageType.READ, MessageType.STATISTICS])
def test_a_question_under_a_number_of_changes_is_refused_in_its_turn(wire, type_):
    payload = hello(SESSION + 1, 77) if type_ is MessageType.HELLO else bytes(8)
    assert wire.status(type_, 5, payload) is Status.NO_SESSION
    wire.hello(first=5)
    assert wire.expected(type_, 6, payload) == 5
    (refusal,) = wire.send(type_, 5, payload)
    assert Status(decode_frame(refusal).payload[0]) is Status.UNKNOWN_TYPE
    assert wire.send(MessageType.SAMPLE, 5, sample()) == [refusal], "its number is used up"
    assert wire.hello()["next_sequence"] == 6


def test_hello_says_how_much_there_is_to_compute(wire):
    """The model is nothing but its trainable layer: outputs times features."""
    opened = wire.hello()
    assert opened["multiply_accumulates"] == wire.region_bytes(Region.HEAD_WEIGHTS)


def test_the_hello_of_the_open_session_forgets_nothing(wire):
    wire.hello(first=20)
    (first,) = wire.send(MessageType.SAMPLE, 20, sample())
    head = wire.head()
    again = wire.hello(first=99)
    assert (again["session"], again["next_sequence"]) == (SESSION, 21)
    assert wire.send(MessageType.SAMPLE, 20, sample()) == [first]
    assert wire.send(MessageType.SAMPLE, 19, sample()) == []
    assert wire.expected(MessageType.SAMPLE, 99, sample()) == 21
    assert wire.head() == head


def test_a_late_hello_of_the_session_before_opens_nothing(wire):
    wire.hello(first=20)
    wire.result(20, sample())
    wire.hello(SESSION + 1, 500)
    (first,) = wire.send(MessageType.SAMPLE, 500, sample())
    late = wire.hello(first=20)
    assert (late["session"], late["next_sequence"]) == (SESSION + 1, 501)
    assert wire.send(MessageType.SAMPLE, 500, sample()) == [first]
    assert wire.expected(MessageType.SAMPLE, 502, sample()) == 501
    assert wire.hello(0, 7)["session"] == SESSION + 1, "0 is no session"
    assert wire.statistic("step") == 2


def test_resuming_opens_nothing(wire):
    assert wire.hello(first=20, resume=True)["session"] == 0
    assert wire.status(MessageType.SAMPLE, 20, sample()) is Status.NO_SESSION
    wire.hello(first=20)
    wire.result(20, sample())
    for session in (SESSION, SESSION + 1):
        told = wire.hello(session, 500, resume=True)
        assert (told["session"], told["next_sequence"]) == (SESSION, 21)
    assert wire.result(21, sample())["step"] == 2


def test_a_new_session_starts_numbers_anew_and_keeps_the_head(wire):
    wire.hello(first=READING - 1)
    wire.ask(MessageType.SAMPLE, READING - 1, sample())
    head = wire.head()
    opened = wire.hello(SESSION + 1, 3)
    assert (opened["session"], opened["step"], opened["next_sequence"]) == (SESSION + 1, 1, 3)
    assert wire.head() == head
    for number in (2, 0, READING - 1):
        assert wire.send(MessageType.SAMPLE, number, sample()) == [], "nothing is kept of the session before"
    for number in (3, 4):
        assert wire.result(number, sample(seed=number))["step"] == number - 1
    assert wire.send(MessageType.SAMPLE, 2, sample()) == []


def test_the_first_number_never_reads(wire):
    assert wire.hello(first=READING | 9)["next_sequence"] == 9
    assert wire.result(9, sample())["step"] == 1


def test_without_a_session_nothing_is_carried_out(wire):
    read = pack(MessageType.READ, region=Region.BOARD, index=0, offset=0, length=9)
    questions = [(MessageType.STATISTICS, b""), (MessageType.READ, read)]
    for number, (type_, payload) in enumerate(CHANGES.values()):
        assert wire.status(type_, number, payload) is Status.NO_SESSION
    for number, (type_, payload) in enumerate(questions):
        assert wire.status(type_, READING | number, payload) is Status.NO_SESSION
    opened = wire.hello()
    assert (opened["step"], opened["saves"], opened["autosave_steps"]) == (0, 0, 0)
    assert (wire.statistic("repeats"), wire.statistic("gaps")) == (0, 0)
    assert wire.result(0, sample())["step"] == 1, "the refusals used up no number"


@pytest.mark.parametrize("version", [0, PROTOCOL_VERSION - 1, PROTOCOL_VERSION + 1, 0xFFFF])
def test_a_host_of_another_version_opens_nothing(wire, version):
    refused = wire.hello(version=version)
    assert (refused["version"], refused["session"]) == (PROTOCOL_VERSION, 0)
    assert wire.status(MessageType.SAMPLE, 1, sample()) is Status.NO_SESSION
    wire.hello(first=5)
    (first,) = wire.send(MessageType.SAMPLE, 5, sample())
    assert wire.hello(SESSION + 1, version=version)["session"] == SESSION
    assert wire.send(MessageType.SAMPLE, 5, sample()) == [first]
    assert wire.statistic("step") == 1


@pytest.mark.parametrize("type_", [0x00, 0x1F, 0x7F, 0x80, MessageType.RESULT, MessageType.NAK, MessageType.ACK])
def test_unknown_types_are_refused(wire, type_):
    for number in (3, READING | 3):
        assert wire.status(type_, number) is Status.NO_SESSION if number == 3 else Status.UNKNOWN_TYPE
    wire.hello(first=3)
    for _ in range(2):
        assert wire.status(type_, READING | 3, bytes(40)) is Status.UNKNOWN_TYPE
    # It may be a change that a later device knows, so it has its turn like every other.
    assert wire.expected(type_, 4, bytes(40)) == 3
    (refusal,) = wire.send(type_, 3, bytes(40))
    assert Status(decode_frame(refusal).payload[0]) is Status.UNKNOWN_TYPE
    assert wire.send(type_, 3) == [refusal]
    assert wire.send(MessageType.SAMPLE, 3, sample()) == [refusal]
    assert wire.result(4, sample())["step"] == 1


def frame_of(type_: int, sequence: int, fixed: bytes, tail: bytes, *, fixed_bytes: int | None = None) -> bytes:
    """A frame whose fixed part may be longer or shorter than this version's, or than it claims."""
    size = len(fixed) if fixed_bytes is None else fixed_bytes
    body = struct.pack("<BBI", type_, size, sequence) + fixed + tail
    return bytes(cobs.encode(body + struct.pack("<I", zlib.crc32(body)))) + b"\0"


def parted(type_: MessageType, payload: bytes) -> tuple[bytes, bytes]:
    """A payload's fixed part and tail."""
    size = message(type_).size_bytes
    return payload[:size], payload[size:]


@pytest.mark.parametrize("extra", [1, 4, 60])
def test_fields_of_a_later_version_are_skipped(program, extra):
    """They lie between the fields that are known and the tail."""
    requests = [
        *CHANGES.values(),
        (MessageType.SAMPLE_PART, pack(MessageType.SAMPLE_PART, offset=3, tail=inputs(4, 8))),
        (MessageType.SAMPLE, pack(MessageType.SAMPLE, flags=0, label=0, offset=20, tail=inputs(5, 4))),
        (MessageType.FORGET, b""),
    ]
    seen = []
    for more in (b"", bytes(range(0xA0, 0xA0 + extra))):
        with HostFirmware(program) as firmware, contextlib.closing(Wire(firmware.url)) as wire:
            fixed, _ = parted(MessageType.HELLO, hello(first=1))
            replies = wire.send_raw(frame_of(MessageType.HELLO, READING, fixed + more, b""))
            for number, (type_, payload) in enumerate(requests, start=1):
                fixed, tail = parted(type_, payload)
                replies += wire.send_raw(frame_of(type_, number, fixed + more, tail))
            read = pack(MessageType.READ, region=Region.HEAD_WEIGHTS, index=0, offset=2, length=50)
            replies += wire.send_raw(frame_of(MessageType.READ, READING, read + more, b""))
            replies += wire.send_raw(frame_of(MessageType.STATISTICS, READING, more, b""))
            seen.append((replies, wire.head(), wire.others()))
    assert seen[0] == seen[1]
    types = [decode_frame(reply).type for reply in seen[0][0]]
    assert len(types) == len(requests) + 3
    assert types.count(MessageType.RESULT) == 2
    assert all(
        frame.payload[0] == Status.OK for frame in map(decode_frame, seen[0][0]) if frame.type is MessageType.ACK
    )


def test_a_fixed_part_that_is_too_short_is_refused(wire):
    """And is not filled up from the tail."""
    fixed, _ = parted(MessageType.HELLO, hello())
    for size in range(len(fixed)):
        (reply,) = wire.send_raw(frame_of(MessageType.HELLO, READING, fixed[:size], bytes(20)))
        assert Status(decode_frame(reply).payload[0]) is Status.BAD_LENGTH
    assert wire.status(MessageType.STATISTICS, READING) is Status.NO_SESSION
    wire.hello(first=1)
    head, others = wire.head(), wire.others()
    number = 0
    for type_, payload in [*CHANGES.values(), (MessageType.SAMPLE_PART, pack(MessageType.SAMPLE_PART, offset=0))]:
        fixed, tail = parted(type_, payload)
        for size in range(len(fixed)):
            number += 1
            (reply,) = wire.send_raw(frame_of(type_, number, fixed[:size], fixed[size:] + tail))
            assert Status(decode_frame(reply).payload[0]) is Status.BAD_LENGTH
            assert wire.send_raw(frame_of(type_, number, fixed, tail)) == [reply], "its number is used up"
    for size in range(message(MessageType.READ).size_bytes):
        (reply,) = wire.send_raw(frame_of(MessageType.READ, READING, bytes(size), bytes(20)))
        assert Status(decode_frame(reply).payload[0]) is Status.BAD_LENGTH
    assert wire.head() == head
    assert wire.others()[:-1] == others[:-1]


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_frame_whose_fixed_part_is_not_all_there_is_none(wire, change):
    wire.hello(first=1)
    head, others = wire.head(), wire.others()
    for claimed in (len(change[1]) + 1, 255):
        assert wire.send_raw(frame_of(change[0], 1, change[1], b"", fixed_bytes=claimed)) == []
    assert (wire.head(), wire.others()) == (head, others)
    assert wire.statistic("framing_errors") == 2


def test_wrong_lengths_of_the_tail_are_refused(wire):
    wire.hello(first=4)
    head = wire.head()
    for number, size in enumerate((0, FEATURES - 1, FEATURES + 1), start=4):
        assert wire.status(MessageType.SAMPLE, number, sample(size=size)) is Status.BAD_LENGTH
    weights = FEATURES * OUTPUTS
    assert wire.status(MessageType.WRITE, 7, write(data=bytes(2), offset=weights - 1)) is Status.BAD_REGION
    assert wire.status(MessageType.WRITE, 8, write(data=bytes(1), offset=2**32 - 1)) is Status.BAD_REGION
    assert wire.head() == head
    assert wire.status(MessageType.WRITE, 9, write(data=b"", offset=weights)) is Status.OK
    # Bytes after a request that has no tail, of a later host.
    assert wire.status(MessageType.RESET_HEAD, 10, bytes(3)) is Status.OK
    assert wire.head() == head


def in_parts(payload: bytes, cuts: Sequence[tuple[int, int]], rest: int) -> list[tuple[MessageType, bytes]]:
    """A sample in SAMPLE_PARTs from where to where, and SAMPLE with what comes from `rest` on."""
    _, tail = parted(MessageType.SAMPLE, payload)
    values = unpack(MessageType.SAMPLE, payload).values
    parts = [
        (MessageType.SAMPLE_PART, pack(MessageType.SAMPLE_PART, offset=start, tail=tail[start:end]))
        for start, end in cuts
    ]
    last = pack(MessageType.SAMPLE, **{**values, "offset": rest}, tail=tail[rest:])  # type: ignore[arg-type]
    return [*parts, (MessageType.SAMPLE, last)]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_sample_in_parts_is_the_same_sample(two_wires, data):
    """Cut anywhere, the parts in any order, some of them twice: the result and the head of the sample in one piece."""
    whole, cut = two_wires
    payload = sample(data.draw(st.integers(0, OUTPUTS - 1)), seed=data.draw(st.integers(0, 99)))
    places = sorted({0, *data.draw(st.lists(st.integers(0, FEATURES), max_size=5))})
    spans = list(itertools.pairwise(places))
    spans += data.draw(st.lists(st.sampled_from(spans), max_size=2)) if spans else []
    for type_, part in in_parts(payload, data.draw(st.permutations(spans)), places[-1]):
        reply = cut.wire.ask(type_, cut.next(), part)
    (expected,) = whole.wire.send(MessageType.SAMPLE, whole.next(), payload)
    assert reply.type is MessageType.RESULT
    assert reply.payload == decode_frame(expected).payload
    assert cut.wire.head() == whole.wire.head()
    assert cut.wire.region(Region.FEATURES) == inputs_of(payload)


def inputs_of(payload: bytes) -> bytes:
    return unpack(MessageType.SAMPLE, payload).tail


class Numbered:
    """A wire and the number of its next change."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self._numbers = itertools.count(1)
        wire.hello(first=1)

    def next(self) -> int:
        return next(self._numbers)


@pytest.fixture(scope="module")
def two_wires(program: Path) -> Iterator[tuple[Numbered, Numbered]]:
    with HostFirmware(program) as one, HostFirmware(program) as two:
        wires = Wire(one.url), Wire(two.url)
        yield Numbered(wires[0]), Numbered(wires[1])
        for wire in wires:
            wire.close()


def test_parts_outside_the_inputs_are_refused(wire):
    wire.hello(first=0)
    wire.result(0, sample(train=False))
    for number, (offset, size) in enumerate(
        ((FEATURES, 1), (FEATURES - 1, 2), (0, FEATURES + 1), (2**32 - 1, 1), (2**31, 0), (FEATURES + 1, 0)), start=1
    ):
        payload = pack(MessageType.SAMPLE_PART, offset=offset, tail=b"\x55" * size)
        assert wire.status(MessageType.SAMPLE_PART, number, payload) is Status.BAD_LENGTH
    assert wire.region(Region.INPUT) == inputs()
    assert wire.status(MessageType.SAMPLE_PART, 7, pack(MessageType.SAMPLE_PART, offset=FEATURES)) is Status.OK
    for number, (offset, size) in enumerate(((FEATURES + 1, 0), (2**32 - 1, 1), (3, FEATURES), (3, 20)), start=8):
        payload = pack(MessageType.SAMPLE, flags=0, label=0, offset=offset, tail=b"\x55" * size)
        assert wire.status(MessageType.SAMPLE, number, payload) is Status.BAD_LENGTH
    assert wire.region(Region.INPUT) == inputs()
    # Everything came in parts.
    assert wire.result(12, pack(MessageType.SAMPLE, flags=0, label=0, offset=FEATURES))["step"] == 0


def test_parts_of_several_inputs():
    """They count as one after another; a part may lie in two of them."""
    builder = TfliteBuilder(1)
    sizes = (5, 12, 3)
    ends = [builder.softmax(builder.fully_connected(builder.input((1, size)), units=2)) for size in sizes]
    whole = bytes(range(1, 21))
    read = [pack(MessageType.READ, region=Region.INPUT, index=i, offset=0, length=99) for i in range(3)]
    spans = [(0, 20), (3, 8), (4, 6), (5, 17), (16, 18), (17, 20), (1, 19), (5, 5), (20, 20)]
    with (
        HostFirmware(build(generate(load_graph(builder.build(*ends))))) as firmware,
        contextlib.closing(Wire(firmware.url)) as wire,
    ):
        wire.hello(first=0)
        number = 0
        for start, end in spans:
            blank = pack(MessageType.SAMPLE_PART, offset=0, tail=bytes(20))
            part = pack(MessageType.SAMPLE_PART, offset=start, tail=whole[start:end])
            for payload in (blank, part):
                assert wire.status(MessageType.SAMPLE_PART, number, payload) is Status.OK
                number += 1
            frames = [wire.ask(MessageType.READ, READING | i, payload) for i, payload in enumerate(read)]
            got = b"".join(unpack(MessageType.READ_REPLY, frame.payload).tail for frame in frames)
            assert got == bytes(start) + whole[start:end] + bytes(20 - end)


@pytest.mark.parametrize(
    ("type_", "payload", "status"),
    [
        (MessageType.SAMPLE, sample(OUTPUTS), Status.BAD_LABEL),
        (MessageType.SAMPLE, sample(size=FEATURES - 1), Status.BAD_LENGTH),
        (
            MessageType.SAMPLE,
            pack(MessageType.SAMPLE, flags=SampleFlag.TRAIN, label=0, tail=inputs()),
            Status.BAD_LABEL,
        ),
        (MessageType.WRITE, write(Region.BOARD), Status.READ_ONLY),
        (MessageType.WRITE, write(Region.LABELS), Status.READ_ONLY),
        (MessageType.WRITE, write(Region.HEAD_ROW_T, b"\xff"), Status.BAD_VALUE),
        (MessageType.SET_LEARNING_RATE, rate(2**15 - 1, 0), Status.LEARNING_RATE),
        (MessageType.SET_CLASS, a_class(OUTPUTS, b"x"), Status.BAD_CLASS),
    ],
    ids=["label", "length", "no label", "read only", "names", "value", "rate", "class"],
)
def test_a_refusal_is_kept_like_any_reply(wire, type_, payload, status):
    wire.hello(first=8)
    (refusal,) = wire.send(type_, 8, payload)
    assert Status(decode_frame(refusal).payload[0]) is status
    head, others = wire.head(), wire.others()
    assert wire.send(type_, 8, payload) == [refusal]
    assert wire.send(MessageType.SAMPLE, 8, sample()) == [refusal], "its number is used up"
    assert wire.statistic("repeats") == 2
    assert (wire.head(), wire.others()) == (head, others)


def test_a_broken_frame_uses_up_no_number(wire):
    wire.hello(first=9)
    frame = bytearray(encode_frame(MessageType.SAMPLE, 9, sample()))
    frame[8] ^= 4
    assert wire.send_raw(bytes(frame)) == []
    assert wire.statistic("step") == 0
    assert wire.statistic("crc_errors") + wire.statistic("framing_errors") == 1
    assert wire.result(9, sample())["step"] == 1


def names_of(labels: bytes) -> list[bytes]:
    size = len(labels) // OUTPUTS
    return [labels[size * i : size * (i + 1)].rstrip(b"\0") for i in range(OUTPUTS)]


def test_classes_are_renamed(wire):
    opened = wire.hello()
    longest = int(opened["label_bytes"])
    assert (opened["classes"], longest) == (OUTPUTS, 16)
    weights = wire.region(Region.HEAD_WEIGHTS)
    for number, (index, name) in enumerate(((1, b"B"), (4, b"x" * longest), (0, "äöü".encode()), (4, b"short"))):
        assert wire.status(MessageType.SET_CLASS, number, a_class(index, name)) is Status.OK
    assert names_of(wire.region(Region.LABELS)) == ["äöü".encode(), b"B", b"c", b"d", b"short"]
    for number, (index, name) in enumerate(((1, b""), (1, b"x" * (longest + 1)), (5, b"e"), (65535, b"e")), start=4):
        assert wire.status(MessageType.SET_CLASS, number, a_class(index, name)) is Status.BAD_CLASS
    assert names_of(wire.region(Region.LABELS)) == ["äöü".encode(), b"B", b"c", b"d", b"short"]
    assert wire.region(Region.HEAD_WEIGHTS) == weights
    assert wire.hello()["classes"] == OUTPUTS
    assert wire.status(MessageType.RESET_HEAD, 8) is Status.OK
    assert names_of(wire.region(Region.LABELS)) == [b"a", b"b", b"c", b"d", b"e"]


@pytest.fixture(scope="module")
def spare_program() -> Path:
    """Three classes, and two outputs that are none yet."""
    graph, plan = _model()
    return build(generate(graph, training=plan, labels=("a", "b", "c", "", ""), spare_classes=2))


def test_classes_are_added(spare_program):
    with HostFirmware(spare_program) as firmware, contextlib.closing(Wire(firmware.url)) as wire:
        assert wire.hello(first=0)["classes"] == 3
        assert wire.status(MessageType.SET_CLASS, 0, a_class(4, b"too early")) is Status.BAD_CLASS
        # What the spare rows hold is not inherited.
        noise = bytes(range(1, 2 * FEATURES + 1))
        assert wire.status(MessageType.WRITE, 1, write(data=noise, offset=3 * FEATURES)) is Status.OK
        assert wire.status(MessageType.WRITE, 2, write(Region.HEAD_RESIDUAL, noise, 3 * FEATURES)) is Status.OK
        assert wire.status(MessageType.WRITE, 3, write(Region.HEAD_BIAS, noise[:8], 12)) is Status.OK
        before = [wire.region(r) for r in (Region.HEAD_WEIGHTS, Region.HEAD_RESIDUAL, Region.HEAD_BIAS)]
        assert wire.status(MessageType.SET_CLASS, 4, a_class(3, b"d")) is Status.OK
        assert wire.hello()["classes"] == 4
        weights, residual, bias = (
            wire.region(r) for r in (Region.HEAD_WEIGHTS, Region.HEAD_RESIDUAL, Region.HEAD_BIAS)
        )
        row = slice(3 * FEATURES, 4 * FEATURES)
        assert (weights[row], residual[row], bias[12:16]) == (bytes(FEATURES), bytes([128] * FEATURES), bytes(4))
        for whole, was, cut in (
            (weights, before[0], row),
            (residual, before[1], row),
            (bias, before[2], slice(12, 16)),
        ):
            assert whole[: cut.start] + whole[cut.stop :] == was[: cut.start] + was[cut.stop :]
        assert names_of(wire.region(Region.LABELS)) == [b"a", b"b", b"c", b"d", b""]
        # Renaming does not forget what the class has learned.
        assert wire.result(5, sample(3))["step"] == 1
        learned = wire.region(Region.HEAD_WEIGHTS)
        assert wire.status(MessageType.SET_CLASS, 6, a_class(3, b"D")) is Status.OK
        assert wire.region(Region.HEAD_WEIGHTS) == learned
        assert wire.status(MessageType.SET_CLASS, 7, a_class(4, b"e")) is Status.OK
        assert wire.status(MessageType.SET_CLASS, 8, a_class(5, b"f")) is Status.BAD_CLASS
        assert wire.hello()["classes"] == 5
        assert wire.status(MessageType.RESET_HEAD, 9) is Status.OK
        assert wire.hello()["classes"] == 3


def test_a_label_brings_its_class_into_use(spare_program):
    with HostFirmware(spare_program) as firmware, contextlib.closing(Wire(firmware.url)) as wire:
        wire.hello(first=0)
        wire.result(0, sample(4, train=False))
        assert wire.hello()["classes"] == 3, "only learning does"
        wire.result(1, sample(4))
        assert wire.hello()["classes"] == 5
        assert wire.status(MessageType.SET_CLASS, 2, a_class(4, b"e")) is Status.OK


def self_labelled(threshold: int, *, label: int | None = None, seed: int = 0) -> bytes:
    flags = SampleFlag.TRAIN | SampleFlag.SELF_LABEL | (SampleFlag(0) if label is None else SampleFlag.HAS_LABEL)
    return pack(MessageType.SAMPLE, flags=flags, label=label or 0, threshold=threshold, tail=inputs(seed))


@pytest.mark.parametrize("label", [None, 0, 2])
def test_a_sample_is_learned_as_the_class_that_was_predicted(two_wires, label):
    """From the threshold on, not below it; a label is used for the loss alone."""
    mine, other = two_wires
    for seed in range(6):
        look = other.wire.result(other.next(), sample(label or 0, seed=seed, train=False))
        before = mine.wire.head()
        assert mine.wire.head() == other.wire.head()
        above = mine.wire.result(mine.next(), self_labelled(int(look["confidence"]) + 1, label=label, seed=seed))
        known = ResultFlag(0) if label is None else ResultFlag.HAS_LOSS
        assert (above["flags"], above["step"]) == (known, look["step"])
        assert above["train_ticks"] == 0
        assert mine.wire.head() == before
        result = mine.wire.result(mine.next(), self_labelled(int(look["confidence"]), label=label, seed=seed))
        assert result["flags"] == known | ResultFlag.LEARNED | ResultFlag.SELF_LABELLED
        if label is not None:
            assert (result["loss_a"], result["loss_b"]) == (look["loss_a"], look["loss_b"])
        taught = other.wire.result(other.next(), sample(int(look["prediction"]), seed=seed))
        assert taught["flags"] == ResultFlag.LEARNED | ResultFlag.HAS_LOSS
        assert taught["step"] == result["step"]
        assert mine.wire.head() == other.wire.head()


def test_what_was_not_learned_is_told_so(wire):
    wire.hello(first=0)
    assert wire.result(0, sample(train=False))["flags"] == ResultFlag.HAS_LOSS
    assert wire.result(1, sample())["flags"] == ResultFlag.LEARNED | ResultFlag.HAS_LOSS
    none = wire.result(2, sample(train=False, seed=3))
    assert (none["flags"], none["step"], none["saved_sequence"]) == (ResultFlag.HAS_LOSS, 1, 2**32 - 1)


def test_saving_is_told(wire):
    wire.hello(first=READING - 2)
    wire.result(READING - 2, sample())
    assert wire.status(MessageType.SAVE, READING - 1) is Status.OK
    opened = wire.hello()
    assert (opened["can_save"], opened["saves"], opened["saved_step"]) == (1, 1, 1)
    # The request that saves is itself not in what it saved: its number is the next.
    assert (opened["saved_session"], opened["saved_sequence"]) == (SESSION, READING - 1)
    assert wire.result(0, sample())["saved_sequence"] == READING - 1
    assert wire.status(MessageType.SET_AUTOSAVE, 1, pack(MessageType.SET_AUTOSAVE, steps=2)) is Status.OK
    told = [int(wire.result(number, sample(seed=number))["saved_sequence"]) for number in range(2, 6)]
    # A sample's own save comes after its answer: it is told with the next.
    assert told == [READING - 1, 3, 3, 5]
    assert (wire.statistic("saves"), wire.statistic("saved_step"), wire.statistic("failed_saves")) == (3, 5, 0)
    wire.hello(SESSION + 1, 40)
    assert wire.result(40, sample(train=False))["saved_sequence"] == 2**32 - 1, "nothing of this session is saved"
    assert wire.status(MessageType.FORGET, 41) is Status.OK
    forgotten = wire.hello(SESSION + 1)
    assert (forgotten["saves"], forgotten["saved_step"], forgotten["saved_session"]) == (0, 0, 0)
    assert forgotten["step"] == 6, "what was learned is still there"
    # It is saved again only after as many steps as ever.
    wire.result(42, sample())
    assert wire.hello(SESSION + 1)["saves"] == 0
    wire.result(43, sample())
    assert wire.hello(SESSION + 1)["saved_step"] == 8
    assert wire.status(MessageType.RESET_HEAD, 44) is Status.OK
    wire.result(45, sample())
    assert wire.hello(SESSION + 1)["saved_step"] == 8, "a reset of the head is not saved by itself"
    wire.result(46, sample())
    assert wire.hello(SESSION + 1)["saved_step"] == 2


def test_a_reset_brings_back_what_was_saved(program, tmp_path, monkeypatch):
    """Head, names, steps, rate, autosave, and where the session stood; the session itself is over."""
    monkeypatch.setenv("ELEARN_NVM_FILE", str(tmp_path / "flash"))
    head: tuple[object, ...] = ()
    for boot in range(1, 4):
        with HostFirmware(program) as firmware, contextlib.closing(Wire(firmware.url)) as wire:
            opened = wire.hello(SESSION + boot, 100 * boot)
            if boot == 1:
                assert (opened["boot"], opened["saves"], opened["step"]) == (1, 0, 0)
            else:
                assert wire.head() == head
                assert opened["boot"] == boot
                assert (opened["saves"], opened["step"], opened["saved_step"]) == (boot - 1, head[0], head[0])
                assert opened["autosave_steps"] == 90 + boot - 1
                assert opened["learning_rate_mantissa"] == 2**14 + boot - 1
                assert (opened["saved_session"], opened["saved_sequence"]) == (SESSION + boot - 1, 100 * boot - 100 + 7)
                # The hello of the session that was saved may still be on its way.
                assert wire.hello(SESSION + boot - 1)["session"] == SESSION + boot
            number = 100 * boot
            wire.status(MessageType.SET_AUTOSAVE, number, pack(MessageType.SET_AUTOSAVE, steps=90 + boot))
            wire.status(MessageType.SET_LEARNING_RATE, number + 1, rate(2**14 + boot, 26))
            wire.status(MessageType.SET_CLASS, number + 2, a_class(2, b"boot %d" % boot))
            for more in range(3, 7):
                wire.result(number + more, sample(more % OUTPUTS, seed=number + more))
            assert wire.status(MessageType.SAVE, number + 7) is Status.OK
            head = wire.head()
            # Not saved, and gone.
            wire.result(number + 8, sample(seed=number + 8))
            assert wire.head() != head


def test_the_late_hello_of_the_saved_session_opens_nothing(program, tmp_path, monkeypatch):
    monkeypatch.setenv("ELEARN_NVM_FILE", str(tmp_path / "flash"))
    with HostFirmware(program) as firmware, contextlib.closing(Wire(firmware.url)) as wire:
        wire.hello(first=3)
        assert wire.status(MessageType.SAVE, 3) is Status.OK
    with HostFirmware(program) as firmware, contextlib.closing(Wire(firmware.url)) as wire:
        late = wire.hello(first=3)
        assert (late["session"], late["saved_session"]) == (0, SESSION)
        assert wire.status(MessageType.SAMPLE, 4, sample()) is Status.NO_SESSION


def test_forgotten_heads_do_not_come_back(program, tmp_path, monkeypatch):
    monkeypatch.setenv("ELEARN_NVM_FILE", str(tmp_path / "flash"))
    with HostFirmware(program) as firmware, contextlib.closing(Wire(firmware.url)) as wire:
        wire.hello(first=0)
        generated = wire.head()
        wire.result(0, sample())
        assert wire.status(MessageType.SAVE, 1) is Status.OK
        assert wire.status(MessageType.FORGET, 2) is Status.OK
    with HostFirmware(program) as firmware, contextlib.closing(Wire(firmware.url)) as wire:
        assert wire.hello(SESSION + 1)["boot"] == 1
        assert wire.head() == generated


@pytest.mark.parametrize("trains", [True, False], ids=["no flash", "nothing trains"])
def test_what_cannot_be_saved_is_refused(trains):
    graph, plan = _model()
    if trains:
        files = generate(graph, board=load_board("host").without_nvm(), training=plan, labels=tuple("abcde"))
        status = Status.NO_STORE
    else:
        builder = TfliteBuilder(1)
        files = generate(
            load_graph(builder.build(builder.fully_connected(builder.input((1, FEATURES)), units=OUTPUTS)))
        )
        status = Status.NOT_TRAINABLE
    assert "runtime/elearn_store.c" not in files
    with HostFirmware(build(files)) as firmware, contextlib.closing(Wire(firmware.url)) as wire:
        assert wire.hello(first=0)["can_save"] == 0
        for number, type_ in enumerate((MessageType.SAVE, MessageType.FORGET, MessageType.SET_AUTOSAVE)):
            assert wire.status(type_, number, CHANGES["autosave"][1] * (number == 2)) is status
        after = wire.result(3, sample(train=trains))
        assert (after["saved_sequence"], after["step"]) == (2**32 - 1, int(trains))
        if trains:
            return
        assert wire.status(MessageType.SAMPLE, 4, sample()) is Status.NOT_TRAINABLE
        assert wire.status(MessageType.RESET_HEAD, 5) is Status.NOT_TRAINABLE
        assert wire.status(MessageType.SET_LEARNING_RATE, 6, rate(2**14, 26)) is Status.NOT_TRAINABLE
        assert wire.status(MessageType.SET_CLASS, 7, a_class(0, b"x")) is Status.NOT_TRAINABLE


def test_no_sample_is_lost_or_applied_twice_over_a_bad_line(program, plan):
    with (
        HostFirmware(program) as firmware,
        LossyProxy(firmware.url, ALL_FAULTS, seed=1) as line,
        open_device(line.url, options=OPTIONS) as device,
    ):
        teach(device, make_head(plan), samples=1500, seed=1)
        statistics = device.statistics()
    for name in Faults.__struct_fields__:
        if name not in ("pause_s", "disconnect"):
            assert line.to_device[name] > 5, name
            assert line.to_host[name] > 5, name
    assert statistics.step == 1500
    assert statistics.repeats > 100
    assert statistics.gaps > 100
    assert statistics.crc_errors > 50
    assert device.counters.retries > 100
    assert device.counters.gaps > 30
    assert device.counters.bad_frames > 50


def test_resets_rates_and_writes_over_a_bad_line(program, plan):
    """What a late copy of one of them would do to the head is not forgiven by the samples after it."""
    head = make_head(plan)
    with (
        HostFirmware(program) as firmware,
        LossyProxy(firmware.url, ALL_FAULTS, seed=3) as line,
        open_device(line.url, options=OPTIONS) as device,
    ):
        for turn in range(12):
            teach(device, head, samples=20, seed=turn)
            if turn % 3 == 0:
                kept = device.read_head()
                teach(device, head, samples=4, seed=100 + turn, compare=False)
                device.write_head(kept)
                head.q, head.residual, head.bias = (np.array(a, np.int64) for a in (kept.q, kept.l, kept.bias))
                head.row_t, head.row_rho = (np.array(a, np.int64) for a in (kept.row_t, kept.row_rho))
            elif turn % 3 == 1:
                device.set_learning_rate(1e-3 / (turn + 1))
                head.set_learning_rate(1e-3 / (turn + 1))
            else:
                device.reset_head()
                head.reset()
        teach(device, head, samples=20, seed=99)


@pytest.mark.parametrize("seed", [7, 8])
def test_changes_of_every_kind_under_way_together(program, plan, seed):
    """Samples, whole and in parts, resets, rates and names with a full window and reading between them."""
    random = np.random.default_rng(seed)
    head = make_head(plan)
    names = [b"a", b"b", b"c", b"d", b"e"]
    step = most = 0
    waiting: deque[tuple[MessageType, Pending, tuple[int, ...]]] = deque()
    with (
        HostFirmware(program) as firmware,
        LossyProxy(firmware.url, ALL_FAULTS, seed=seed) as line,
        open_device(line.url, options=OPTIONS) as device,
    ):
        link = device.link

        def submit(type_: MessageType, payload: bytes = b"", want: tuple[int, ...] = (Status.OK,)) -> None:
            waiting.append((type_, link.submit(type_, payload), want))

        def take() -> None:
            type_, pending, want = waiting.popleft()
            answer = link.wait(pending)
            got: tuple[int, ...] = (answer.status,)
            if type_ is MessageType.SAMPLE:
                values = unpack(MessageType.RESULT, answer.payload)
                got = tuple(values.integer(name) for name in ("step", "prediction", "loss_a", "loss_b"))
            assert got == want

        for number in range(800):
            kind = random.choice(["sample"] * 6 + ["parts"] * 2 + ["reset", "rate", "class", "read"])
            if kind == "reset":
                submit(MessageType.RESET_HEAD)
                head.reset()
                names, step = [b"a", b"b", b"c", b"d", b"e"], 0
            elif kind == "rate":
                mantissa = int(random.integers(2**14, 2**15))
                submit(MessageType.SET_LEARNING_RATE, rate(mantissa, 25))
                head._set(mantissa, 25)
            elif kind == "class":
                index = int(random.integers(OUTPUTS))
                names[index] = b"n%d" % number
                submit(MessageType.SET_CLASS, a_class(index, names[index]))
            elif kind == "read":
                link.request(MessageType.STATISTICS)
                assert device.read_region(Region.BOARD) == b"host"
            else:
                label = int(random.integers(OUTPUTS))
                payload = sample(label, seed=number)
                x = np.frombuffer(inputs_of(payload), np.int8)
                judged = head.judge(head.forward(x), label=label)
                head.learn(x, judged, label=label)
                step += 1
                want = (step, judged.prediction, judged.loss_a, judged.loss_b)
                cuts = [(9, 17), (0, 9)] if kind == "parts" else []
                for type_, part in in_parts(payload, cuts, 17 if cuts else 0):
                    submit(type_, part, want if type_ is MessageType.SAMPLE else (Status.OK,))
            most = max(most, link.under_way)
            while waiting and waiting[0][1].reply is not None:
                take()
        while waiting:
            take()
        assert_same_head(device, head)
        assert names_of(device.read_region(Region.LABELS)) == names
        assert device.statistics().gaps > 20
    assert most > 4


def test_a_firmware_that_is_started_anew_says_so(program):
    with contextlib.ExitStack() as stack:
        before = stack.enter_context(contextlib.ExitStack())
        line = stack.enter_context(LossyProxy(before.enter_context(HostFirmware(program)).url))
        device = stack.enter_context(open_device(line.url, options=OPTIONS))
        x = np.zeros(FEATURES, np.int8)
        for _ in range(10):
            device.train(x, label=1)
        before.close()
        line.target = stack.enter_context(HostFirmware(program)).url
        with pytest.raises(DeviceResetError, match="was reset"):
            device.train(x, label=1)
        with pytest.raises(DeviceResetError, match="was reset"):
            device.statistics()
