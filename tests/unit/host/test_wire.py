"""The wire: layouts, framing, the C header, learning rates. test_fuzz_wire.py has the random bytes."""

from __future__ import annotations

import math
import shutil
import struct
import zlib
from pathlib import Path

import pytest
from cobs import cobs
from hypothesis import given, settings
from hypothesis import strategies as st

from edgelearn import process, protocol
from edgelearn.errors import LearningRateError
from edgelearn.protocol import MESSAGES, Frame, FrameError, FrameReader, MessageType


@settings(deadline=None)
@given(st.tuples(st.sampled_from(MessageType), st.integers(0, 2**32 - 1), st.binary(max_size=600)))
def test_a_frame_survives_coding(made):
    encoded = protocol.encode_frame(*made)
    assert encoded[-1] == 0
    assert 0 not in encoded[:-1]
    assert protocol.decode_frame(encoded[:-1]) == made


@pytest.mark.parametrize("payload_bytes", [0, 1, 243, 244, 245, 246, 498, 499, 500, 753, 4000])
def test_encoded_bytes_is_a_bound_that_is_met_or_missed_by_one(payload_bytes):
    bound = protocol.encoded_bytes(payload_bytes)
    longest = max(
        len(protocol.encode_frame(MessageType.WRITE, 0x01010101 + i, b"\x01" * payload_bytes)) for i in range(20)
    )
    assert bound - 1 <= longest <= bound
    assert len(protocol.encode_frame(MessageType.WRITE, 0, b"\0" * payload_bytes)) <= bound


def test_a_frame_without_end_is_bounded_and_the_next_is_found():
    reader = FrameReader(max_payload_bytes=10)
    for _ in range(100):
        assert list(reader.feed(b"\x05" * 100)) == []
        assert len(reader._pending) <= protocol.encoded_bytes(10) + 1
    good = protocol.encode_frame(MessageType.ACK, 7, b"\0")
    assert list(reader.feed(b"\0" + good)) == [Frame(MessageType.ACK, 7, b"\0")]
    assert reader.bad_frames == 1


def test_bad_frames_are_counted_and_zeros_are_not():
    reader = FrameReader()
    good = protocol.encode_frame(MessageType.ACK, 7, b"\0")
    broken = bytes([good[0], good[1] ^ 1]) + good[2:]
    assert [frame.sequence for frame in reader.feed(b"\0\0" + broken + b"\0" + good)] == [7]
    assert reader.bad_frames == 1


def test_a_longer_fixed_part_is_accepted_where_there_is_no_tail():
    payload = protocol.pack(MessageType.ACK, status=3)
    assert protocol.unpack(MessageType.ACK, payload + b"later").integer("status") == 3


def parted(type_: MessageType, sequence: int, fixed: bytes, tail: bytes, *, claimed: int | None = None) -> bytes:
    """A frame between its zeros whose fixed part is of any length."""
    body = struct.pack("<BBI", type_, len(fixed) if claimed is None else claimed, sequence) + fixed + tail
    return bytes(cobs.encode(body + struct.pack("<I", zlib.crc32(body))))


@settings(deadline=None)
@given(st.sampled_from(MESSAGES), st.integers(0, 2**32 - 1), st.binary(max_size=60), st.binary(max_size=60), st.data())
def test_fields_of_a_later_version_are_skipped_and_the_tail_is_not(layout, sequence, more, tail, data):
    fixed = data.draw(st.binary(min_size=layout.size_bytes, max_size=layout.size_bytes))
    frame = protocol.decode_frame(parted(layout.type, sequence, fixed + more, tail))
    assert frame == Frame(layout.type, sequence, fixed + tail)


@pytest.mark.parametrize(
    "layout", [layout for layout in MESSAGES if layout.fields], ids=lambda layout: layout.type.name
)
def test_a_fixed_part_that_is_too_short_is_not_filled_up_from_the_tail(layout):
    for size in range(layout.size_bytes):
        frame = protocol.decode_frame(parted(layout.type, 7, bytes(size), b"\x55" * 80))
        if size < layout.least_bytes:
            with pytest.raises(FrameError, match=f"at least {layout.least_bytes}"):
                protocol.unpack(layout.type, frame.payload)
        else:
            assert not any(protocol.unpack(layout.type, frame.payload).values.values())


def test_only_replies_may_leave_out_fields_that_came_later():
    hello = protocol.message(MessageType.HELLO_REPLY)
    whole = protocol.pack(MessageType.HELLO_REPLY, **{field.name: 1 for field in hello.fields})
    older = whole[: hello.least_bytes]
    assert 0 < len(older) < len(whole)
    assert protocol.unpack(MessageType.HELLO_REPLY, older).integer("autosave_steps") == 1
    assert protocol.unpack(MessageType.HELLO_REPLY, older).integer("has_sensor") == 0
    sample = protocol.message(MessageType.SAMPLE)
    assert sample.least_bytes == sample.size_bytes


@pytest.mark.parametrize("claimed", [4, 255])
def test_a_fixed_part_longer_than_its_frame_is_refused(claimed):
    assert protocol.decode_frame(parted(MessageType.READ, 7, b"abc", b"", claimed=3)).payload == b"abc"
    with pytest.raises(FrameError, match=f"fixed part of {claimed} bytes"):
        protocol.decode_frame(parted(MessageType.READ, 7, b"abc", b"", claimed=claimed))


def test_optional_fields_are_left_out_as_zeros():
    fields = protocol.unpack(MessageType.SAMPLE, protocol.pack(MessageType.SAMPLE, flags=1, label=2, tail=b"x"))
    assert fields == ({"flags": 1, "label": 2, "threshold": 0, "offset": 0}, b"x")


def test_changes_are_what_the_device_answers_once():
    reading = {layout.type for layout in MESSAGES if layout.type < 0x80 and not layout.changes_state}
    assert reading == {MessageType.HELLO, MessageType.READ, MessageType.STATISTICS, MessageType.GOODBYE}
    assert not any(layout.changes_state for layout in MESSAGES if layout.type >= 0x80)


def test_pack_wants_every_field_and_no_other():
    with pytest.raises(TypeError, match="version"):
        protocol.pack(MessageType.HELLO, session=1)
    with pytest.raises(TypeError, match="no tail"):
        protocol.pack(MessageType.ACK, status=0, tail=b"x")


def test_every_request_has_its_reply_and_its_refusal():
    from edgelearn.host.link import REPLIES, STATUS_TEXT

    assert set(REPLIES) == {type_ for type_ in MessageType if type_ < 0x80}
    assert set(STATUS_TEXT) == set(protocol.Status)
    for request, reply in REPLIES.items():
        assert reply in (request + 0x80, MessageType.ACK)


def test_the_header_compiles_and_its_offsets_are_those_of_struct(tmp_path: Path):
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler (cc)")
    (tmp_path / "elearn_protocol.h").write_text(protocol.c_header())
    lines = ['#include "elearn_protocol.h"', '#include "elearn_protocol.h"']
    for layout in MESSAGES:
        name = layout.type.name
        lines.append(f'_Static_assert(ELEARN_MSG_{name} == {int(layout.type)}, "{name}");')
        lines.append(f'_Static_assert(ELEARN_{name}_BYTES == {layout.size_bytes}, "{name}");')
        for i, field in enumerate(layout.fields):
            offset = struct.calcsize("<" + "".join(before.type.value for before in layout.fields[:i]))
            lines.append(f'_Static_assert(ELEARN_{name}_{field.name.upper()} == {offset}, "{field.name}");')
    for status in protocol.Status:
        lines.append(f'_Static_assert(ELEARN_STATUS_{status.name} == {int(status)}, "{status.name}");')
    source = tmp_path / "check.c"
    source.write_text("\n".join(lines) + "\n")
    process.run([compiler, "-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", str(source)], cwd=tmp_path)


@settings(deadline=None)
@given(st.floats(2.0**-45, protocol.MOST_LEARNING_RATE))
def test_a_learning_rate_is_coded_to_15_bits(rate):
    mantissa, exponent = protocol.encode_learning_rate(rate)
    assert 2**14 <= mantissa < 2**15
    assert 0 <= exponent <= 63
    assert math.isclose(protocol.decode_learning_rate(mantissa, exponent), rate, rel_tol=2**-15)


def test_learning_rates_at_the_edges():
    assert protocol.encode_learning_rate(0.0) == (0, 0)
    assert protocol.decode_learning_rate(0, 0) == 0.0
    assert protocol.encode_learning_rate(1.0) == (2**14, 14)
    just_below_one = math.nextafter(1.0, 0.0)
    assert protocol.decode_learning_rate(*protocol.encode_learning_rate(just_below_one)) == 1.0
    for rate in (-1e-3, math.nan, math.inf, 1e-30, 1e30, math.nextafter(1.0, 2.0), 5.0):
        with pytest.raises(LearningRateError):
            protocol.encode_learning_rate(rate)
