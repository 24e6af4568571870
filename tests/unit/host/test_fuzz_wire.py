"""Random and damaged bytes against the wire's decoder: nothing but FrameError leaves it, and good frames are found.

20,000 inputs in all; the environment variable EDGELEARN_FUZZ_INPUTS asks for more, as `make fuzz` does.
"""

from __future__ import annotations

import contextlib

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgelearn import protocol
from edgelearn.protocol import MESSAGES, FieldType, Frame, FrameError, FrameReader, MessageType
from tests.unit.host.conftest import FUZZ_INPUTS

#: The fuzz inputs are shared out among five tests.
fuzz = settings(
    max_examples=FUZZ_INPUTS // 5,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

RANGES = {
    FieldType.U8: st.integers(0, 2**8 - 1),
    FieldType.U16: st.integers(0, 2**16 - 1),
    FieldType.U32: st.integers(0, 2**32 - 1),
    FieldType.I8: st.integers(-(2**7), 2**7 - 1),
    FieldType.I16: st.integers(-(2**15), 2**15 - 1),
    FieldType.I32: st.integers(-(2**31), 2**31 - 1),
    FieldType.F32: st.floats(width=32, allow_nan=False),
}


@st.composite
def messages(draw):
    layout = draw(st.sampled_from(MESSAGES))
    values = {field.name: draw(RANGES[field.type]) for field in layout.fields}
    return layout.type, values, draw(st.binary(max_size=600)) if layout.tail else b""


frames = st.tuples(st.sampled_from(MessageType), st.integers(0, 2**32 - 1), st.binary(max_size=600))


@fuzz
@given(messages())
def test_pack_and_unpack_are_inverse(made):
    type_, values, tail = made
    payload = protocol.pack(type_, tail=tail, **values)
    assert len(payload) == protocol.message(type_).size_bytes + len(tail)
    assert protocol.unpack(type_, payload) == (values, tail)


@fuzz
@given(st.binary(max_size=700))
def test_random_bytes_give_a_frame_error_or_a_frame(data):
    with contextlib.suppress(FrameError):
        assert isinstance(protocol.decode_frame(data), Frame)


@fuzz
@given(frames, st.integers(0, 10**6), st.integers(1, 255), st.sampled_from(["flip", "insert", "delete", "cut"]))
def test_a_damaged_frame_is_never_taken_for_another(made, where, value, how):
    whole = protocol.encode_frame(*made)[:-1]
    place = where % len(whole)
    damaged = {
        "flip": whole[:place] + bytes([whole[place] ^ value]) + whole[place + 1 :],
        "insert": whole[:place] + bytes([value]) + whole[place:],
        "delete": whole[:place] + whole[place + 1 :],
        "cut": whole[:place],
    }[how]
    for piece in damaged.split(b"\0"):
        with contextlib.suppress(FrameError):
            assert protocol.decode_frame(piece) == made


@fuzz
@given(st.lists(st.binary(max_size=300), max_size=6), frames, st.integers(1, 50))
def test_a_good_frame_after_noise_is_found(noise, made, chunk):
    reader = FrameReader(max_payload_bytes=600)
    stream = b"".join(noise) + b"\0" + protocol.encode_frame(*made)
    found = [frame for i in range(0, len(stream), chunk) for frame in reader.feed(stream[i : i + chunk])]
    assert found[-1] == made
    assert len(reader._pending) <= protocol.encoded_bytes(600) + 1


@fuzz
@given(st.sampled_from(MessageType), st.binary(max_size=120))
def test_random_payloads_give_a_frame_error_or_fields(type_, payload):
    try:
        fields = protocol.unpack(type_, payload)
    except FrameError:
        assert len(payload) < protocol.message(type_).size_bytes
    else:
        assert len(fields.values) == len(protocol.message(type_).fields)
