"""Exactly once on the device itself: the C link under sanitizers, by single frames and over a line that breaks them.

A repeat is told by its number alone. Requests such as RESET_HEAD or WRITE do no harm when they are carried out twice,
so a repeat is also played by an impostor: another request under the same number, which must change nothing either.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgelearn.errors import DeviceResetError
from edgelearn.host.device import open_device
from edgelearn.host.link import LinkOptions
from edgelearn.protocol import (
    PROTOCOL_VERSION,
    Frame,
    MessageType,
    Region,
    SampleFlag,
    Status,
    decode_frame,
    encode_frame,
    pack,
    unpack,
)
from edgelearn.recipe import TrainingPlan
from edgelearn.training import make_head, plan_training
from tests.support.firmware import HostFirmware, build, generate
from tests.support.lossy_proxy import ALL_FAULTS, Faults, LossyProxy, teach
from tests.unit.training.heads import head_graph

FEATURES, OUTPUTS = 24, 5
SESSION = 0x1234_5678
UNKNOWN_TYPE = 0x55
#: Numbers of the requests by which a test waits until all before them were answered or dropped.
FENCE = 0xF000_0000
OPTIONS = LinkOptions(first_timeout_s=0.03, min_timeout_s=0.01, max_timeout_s=0.05, give_up_s=30.0)


def _plan() -> tuple[dict[str, str], TrainingPlan]:
    rng = np.random.default_rng(4)
    weights = rng.normal(size=(OUTPUTS, FEATURES)).astype(np.float32) * 0.1
    graph = head_graph(weights, rng.normal(size=OUTPUTS).astype(np.float32), feature_zero_point=-3)
    plan = plan_training(graph, learning_rate=1e-3)
    return generate(graph, training=plan, labels=tuple("abcde")), plan


@pytest.fixture(scope="module")
def plan() -> TrainingPlan:
    return _plan()[1]


@pytest.fixture(scope="module")
def program() -> Path:
    return build(_plan()[0])


class Wire:
    """Raw frames to a firmware that was just started."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("socket://").split(":")
        self._socket = socket.create_connection((host, int(port)), timeout=20)
        self._received = b""
        self._fence = FENCE

    def close(self) -> None:
        self._socket.close()

    def send(self, type_: int, sequence: int, payload: bytes = b"") -> list[bytes]:
        """All frames that came back, as bytes; [] for none."""
        self._fence += 1
        fence = encode_frame(UNKNOWN_TYPE, self._fence, b"")  # type: ignore[arg-type]
        self._socket.sendall(encode_frame(type_, sequence, payload) + fence)  # type: ignore[arg-type]
        replies: list[bytes] = []
        while True:
            reply = self._next()
            if decode_frame(reply).sequence == self._fence:
                return replies
            replies.append(reply)

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

    def hello(self, session: int = SESSION, *, version: int = PROTOCOL_VERSION) -> dict[str, float]:
        frame = self.ask(MessageType.HELLO, 0, pack(MessageType.HELLO, version=version, session=session))
        assert frame.type is MessageType.HELLO_REPLY
        return unpack(frame.type, frame.payload).values

    def statistic(self, name: str) -> int:
        return unpack(MessageType.STATISTICS_REPLY, self.ask(MessageType.STATISTICS, 0).payload).integer(name)

    def head(self) -> tuple[object, ...]:
        """All that learning changes: steps and the bytes of every array."""
        state: list[object] = [self.statistic("step")]
        for region in (Region.HEAD_WEIGHTS, Region.HEAD_RESIDUAL, Region.HEAD_BIAS, Region.HEAD_ROW_T):
            payload = pack(MessageType.READ, region=region, index=0, offset=0, length=200)
            state.append(unpack(MessageType.READ_REPLY, self.ask(MessageType.READ, 0, payload).payload).tail)
        return tuple(state)

    def rate(self) -> tuple[float, float]:
        values = self.hello()
        return values["learning_rate_mantissa"], values["learning_rate_exponent"]


@pytest.fixture
def wire(program: Path) -> Iterator[Wire]:
    with HostFirmware(program) as firmware:
        wire = Wire(firmware.url)
        yield wire
        wire.close()


def sample(label: int = 1, *, seed: int = 0, train: bool = True, size: int = FEATURES) -> bytes:
    x = np.random.default_rng(seed).integers(-128, 128, size).astype(np.int8)
    flags = SampleFlag.HAS_LABEL | (SampleFlag.TRAIN if train else SampleFlag(0))
    return pack(MessageType.SAMPLE, flags=flags, label=label, tail=x.tobytes())


def write(region: Region = Region.HEAD_WEIGHTS, data: bytes = b"\x01\x02\x03", offset: int = 0) -> bytes:
    return pack(MessageType.WRITE, region=region, index=0, offset=offset, tail=data)


def rate(mantissa: int, exponent: int) -> bytes:
    return pack(MessageType.SET_LEARNING_RATE, mantissa=mantissa, exponent=exponent)


CHANGES = {
    "sample": (MessageType.SAMPLE, sample()),
    "write": (MessageType.WRITE, write()),
    "reset": (MessageType.RESET_HEAD, b""),
    "rate": (MessageType.SET_LEARNING_RATE, rate(2**14 + 5, 26)),
}
IMPOSTORS = {
    "the same": None,
    "sample": (MessageType.SAMPLE, sample(2, seed=9)),
    "write": (MessageType.WRITE, write(data=b"\x70\x71")),
    "reset": (MessageType.RESET_HEAD, b""),
    "rate": (MessageType.SET_LEARNING_RATE, rate(2**14 + 77, 25)),
}


@pytest.mark.parametrize("impostor", IMPOSTORS.values(), ids=IMPOSTORS.keys())
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_repeat_gets_the_same_reply_and_changes_nothing(wire, change, impostor):
    wire.hello()
    for number in range(3):
        wire.ask(MessageType.SAMPLE, 10 + number, sample(number, seed=number))
    (first,) = wire.send(change[0], 20, change[1])
    assert decode_frame(first).type is (MessageType.RESULT if change[0] is MessageType.SAMPLE else MessageType.ACK)
    head, set_rate = wire.head(), wire.rate()
    repeat = impostor or change
    for count in range(1, 4):
        assert wire.send(repeat[0], 20, repeat[1]) == [first]
        assert wire.statistic("repeats") == count
        assert wire.head() == head
    assert wire.rate() == set_rate
    # The next number is new.
    assert wire.ask(MessageType.SAMPLE, 21, sample(3, seed=5)).type is MessageType.RESULT
    assert wire.head()[0] == head[0] + 1


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_an_older_request_is_dropped(wire, change):
    wire.hello()
    wire.ask(*change[:1], 20, change[1])
    (last,) = wire.send(MessageType.SAMPLE, 30, sample(3, seed=3))
    head, set_rate = wire.head(), wire.rate()
    for number in (20, 29, 1, 0):
        assert wire.send(change[0], number, change[1]) == []
    assert (wire.head(), wire.rate()) == (head, set_rate)
    assert wire.statistic("repeats") == 4
    # What is kept is still the reply to the last one.
    assert wire.send(MessageType.SAMPLE, 30, sample(3, seed=3)) == [last]
    assert wire.head() == head


def test_each_change_does_change_something(wire):
    """Without which the tests of repeats would prove nothing."""
    wire.hello()
    heads = [wire.head()]
    for number, (type_, payload) in enumerate([*CHANGES.values(), CHANGES["sample"]], start=1):
        before = wire.rate()
        wire.ask(type_, number, payload)
        if type_ is MessageType.SET_LEARNING_RATE:
            assert wire.rate() != before
        else:
            heads.append(wire.head())
    assert heads[0] != heads[1] != heads[2] != heads[3] == heads[0]
    assert heads[4] != heads[3]


def test_questions_are_answered_as_often_as_asked(wire):
    wire.hello()
    wire.ask(MessageType.SAMPLE, 5, sample())
    (last,) = wire.send(MessageType.SAMPLE, 6, sample())
    for number in (7, 7, 3, 100):
        assert wire.ask(MessageType.STATISTICS, number).type is MessageType.STATISTICS_REPLY
        read = pack(MessageType.READ, region=Region.BOARD, index=0, offset=0, length=9)
        assert wire.ask(MessageType.READ, number, read).type is MessageType.READ_REPLY
    assert wire.send(MessageType.SAMPLE, 6, sample()) == [last], "they do not disturb what is kept"
    assert wire.statistic("step") == 2


def test_the_hello_of_the_open_session_forgets_nothing(wire):
    wire.hello()
    (first,) = wire.send(MessageType.SAMPLE, 20, sample())
    head = wire.head()
    assert wire.hello()["session"] == SESSION
    assert wire.send(MessageType.SAMPLE, 20, sample()) == [first]
    assert wire.send(MessageType.SAMPLE, 19, sample()) == []
    assert wire.head() == head


def test_a_new_session_starts_numbers_anew_and_keeps_the_head(wire):
    wire.hello()
    wire.ask(MessageType.SAMPLE, 2**32 - 2**29, sample())
    head = wire.head()
    hello = wire.hello(SESSION + 1)
    assert hello["session"] == SESSION + 1
    assert hello["step"] == 1
    assert wire.head() == head
    for number in (0, 1):
        result = unpack(MessageType.RESULT, wire.ask(MessageType.SAMPLE, number, sample(seed=number)).payload)
        assert result.integer("step") == number + 2
    assert wire.send(MessageType.SAMPLE, 0, sample()) == []


def test_without_a_session_nothing_is_carried_out(wire):
    requests = [*CHANGES.values(), (MessageType.STATISTICS, b"")]
    requests += [(MessageType.READ, pack(MessageType.READ, region=Region.BOARD, index=0, offset=0, length=9))]
    for number, (type_, payload) in enumerate(requests, start=1):
        assert wire.status(type_, number, payload) is Status.NO_SESSION
    assert wire.hello()["step"] == 0
    assert wire.statistic("repeats") == 0
    assert wire.ask(MessageType.SAMPLE, 1, sample()).type is MessageType.RESULT, "the refusals used up no number"


@pytest.mark.parametrize("version", [0, PROTOCOL_VERSION + 1, 0xFFFF])
def test_a_host_of_another_version_opens_nothing(wire, version):
    hello = wire.hello(version=version)
    assert (hello["version"], hello["session"]) == (PROTOCOL_VERSION, 0)
    assert wire.status(MessageType.SAMPLE, 1, sample()) is Status.NO_SESSION
    wire.hello()
    (first,) = wire.send(MessageType.SAMPLE, 5, sample())
    assert wire.hello(SESSION + 1, version=version)["session"] == SESSION
    assert wire.send(MessageType.SAMPLE, 5, sample()) == [first]
    assert wire.statistic("step") == 1


@pytest.mark.parametrize("type_", [0x00, 0x08, 0x7F, 0x80, MessageType.RESULT, MessageType.ACK])
def test_unknown_types_are_refused_and_use_up_no_number(wire, type_):
    assert wire.status(type_, 3) is Status.UNKNOWN_TYPE
    wire.hello()
    for _ in range(2):
        assert wire.status(type_, 3, bytes(40)) is Status.UNKNOWN_TYPE
    assert wire.ask(MessageType.SAMPLE, 3, sample()).type is MessageType.RESULT


def test_wrong_lengths_are_refused(wire):
    short = pack(MessageType.HELLO, version=PROTOCOL_VERSION, session=SESSION)[:-1]
    assert wire.status(MessageType.HELLO, 0, short) is Status.BAD_LENGTH
    assert wire.status(MessageType.STATISTICS, 1) is Status.NO_SESSION
    wire.hello()
    head = wire.head()
    # Shorter than the fixed part: the request is none, its number stays free.
    for type_, payload in (
        (MessageType.SAMPLE, b"\x03\x01"),
        (MessageType.WRITE, write(data=b"")[:-1]),
        (MessageType.SET_LEARNING_RATE, rate(2**14, 26)[:-1]),
        (MessageType.READ, bytes(7)),
    ):
        assert wire.status(type_, 4, payload) is Status.BAD_LENGTH
    # The tail too short or too long.
    for number, size in enumerate((0, FEATURES - 1, FEATURES + 1), start=4):
        assert wire.status(MessageType.SAMPLE, number, sample(size=size)) is Status.BAD_LENGTH
    weights = FEATURES * OUTPUTS
    assert wire.status(MessageType.WRITE, 7, write(data=bytes(2), offset=weights - 1)) is Status.BAD_REGION
    assert wire.status(MessageType.WRITE, 8, write(data=bytes(1), offset=2**32 - 1)) is Status.BAD_REGION
    assert wire.head() == head
    assert wire.status(MessageType.WRITE, 9, write(data=b"", offset=weights)) is Status.OK
    # A field more than it knows, of a later host.
    assert wire.status(MessageType.RESET_HEAD, 10, bytes(3)) is Status.OK
    assert wire.head() == head


@pytest.mark.parametrize(
    ("type_", "payload", "status"),
    [
        (MessageType.SAMPLE, sample(OUTPUTS), Status.BAD_LABEL),
        (MessageType.SAMPLE, sample(size=FEATURES - 1), Status.BAD_LENGTH),
        (MessageType.WRITE, write(Region.BOARD), Status.READ_ONLY),
        (MessageType.WRITE, write(Region.HEAD_ROW_T, b"\xff"), Status.BAD_VALUE),
        (MessageType.SET_LEARNING_RATE, rate(2**15 - 1, 0), Status.LEARNING_RATE),
    ],
    ids=["label", "length", "read only", "value", "rate"],
)
def test_a_refusal_is_kept_like_any_reply(wire, type_, payload, status):
    wire.hello()
    (refusal,) = wire.send(type_, 8, payload)
    assert Status(decode_frame(refusal).payload[0]) is status
    head, set_rate = wire.head(), wire.rate()
    assert wire.send(type_, 8, payload) == [refusal]
    assert wire.send(MessageType.SAMPLE, 8, sample()) == [refusal], "its number is used up"
    assert wire.statistic("repeats") == 2
    assert (wire.head(), wire.rate()) == (head, set_rate)


def test_a_broken_frame_uses_up_no_number(wire):
    wire.hello()
    frame = bytearray(encode_frame(MessageType.SAMPLE, 9, sample()))
    frame[8] ^= 4
    wire._socket.sendall(bytes(frame))
    assert wire.statistic("step") == 0
    assert wire.statistic("crc_errors") + wire.statistic("framing_errors") == 1
    assert wire.ask(MessageType.SAMPLE, 9, sample()).type is MessageType.RESULT


def test_no_sample_is_lost_or_applied_twice_over_a_bad_line(program, plan):
    with (
        HostFirmware(program) as firmware,
        LossyProxy(firmware.url, ALL_FAULTS, seed=1) as line,
        open_device(line.url, options=OPTIONS) as device,
    ):
        teach(device, make_head(plan), samples=1500, seed=1)
        statistics = device.statistics()
    for name in Faults.__struct_fields__:
        if name != "pause_s":
            assert line.to_device[name] > 5, name
            assert line.to_host[name] > 5, name
    assert statistics.step == 1500
    assert statistics.repeats > 100
    assert statistics.crc_errors > 50
    assert device.counters.retries > 100
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
