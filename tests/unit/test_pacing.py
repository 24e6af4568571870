"""The line of limited speed that the goodput is measured with."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgelearn.host.device import open_device
from tests.support.fake_device import FakeDevice, blobs

if os.name == "nt":
    pytest.skip("optional: pseudo-terminals are POSIX's", allow_module_level=True)

from benchmarks.pacing import Direction, PacedLine


@given(
    baud=st.sampled_from([9600, 115_200, 1_000_000]),
    steps=st.lists(st.tuples(st.floats(0.0, 0.01), st.binary(max_size=40)), min_size=1, max_size=60),
)
def test_a_byte_arrives_when_it_has_been_shifted_out_and_not_before(baud, steps):
    line = Direction(baud, buffer_bytes=64)
    now_s, sent, received = 0.0, b"", b""
    #: When each byte has been shifted out at the earliest: ten bits after it came, and after the one before it.
    due_s: list[float] = []
    for wait_s, data in steps:
        now_s += wait_s
        arrived = line.arrived(now_s)
        received += arrived
        line.take(len(arrived))
        assert len(received) == sum(due <= now_s + 1e-6 * line.byte_s for due in due_s)
        data = data[: line.room_bytes]
        for _ in data:
            due_s.append(max(now_s, due_s[-1] if due_s else 0.0) + 10 / baud)
        line.put(data, now_s)
        sent += data
        assert 0 <= line.room_bytes <= 64
    assert sent.startswith(received)
    while (at_s := line.due_s()) is not None:
        now_s = max(now_s, at_s)
        arrived = line.arrived(now_s)
        assert arrived
        received += arrived
        line.take(len(arrived))
    assert received == sent


def test_a_device_answers_over_the_line():
    x, _ = blobs(40)
    with FakeDevice() as fake:
        with PacedLine(fake.url, baud=1_000_000) as line, open_device(line.port, baud=1_000_000) as device:
            for sample in (x * 64).round().clip(-128, 127).astype("int8"):
                device.predict(sample)
        assert len(fake.applied) == 40
    assert 0 < line.usage.line_s <= line.usage.all_s
    assert 0 < line.usage.device_s <= line.usage.all_s
