"""The wire: messages, framing and checksum. The single source for the host's codec and the device's C header.

A frame is COBS(type, size of the fixed part, sequence number, fixed part, tail, CRC-32) followed by one zero byte; all
integers are little-endian. The fixed part is a struct; some messages have a tail of bytes after it. A receiver skips
what the fixed part has beyond the fields it knows, so that fields may be added at its end without a new version.

Requests that change state are carried out once and in order. The host numbers them one after another, from a random
number that HELLO names; the device carries out only the next one, keeps the replies to the last few and sends them
again when a request is repeated, and answers a gap with NAK, upon which the host sends again from there (go-back-N).
Requests that only read have numbers of their own, with the top bit set, and are answered as often as asked. What the
device says unasked, of samples of its own sensor, has such numbers too and may be lost.

A device that was reset knows no session. Its HELLO_REPLY says up to which request of which session its newest saved
head has learned; a host that kept what came after sends it again. docs/protocol.md says all of this to somebody who
writes another host.

What the model takes and gives stands in the region INTERFACE: one record for each input, then for each output. Its
bytes are a constant of the firmware, written by `pack_record` and read by `unpack_interface`.
"""

from __future__ import annotations

import enum
import itertools
import math
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from cobs import cobs
from msgspec import Struct

from edgelearn.errors import LearningRateError

#: Without a byte 3, as all of HELLO: docs/protocol.md, Sessions and numbers.
PROTOCOL_VERSION = 4
#: Type, size of the fixed part and sequence number before the payload, CRC-32 after it.
HEADER_BYTES = 6
CRC_BYTES = 4
#: Sequence numbers from here on are of requests that only read, and never carried out in order.
READING = 0x8000_0000


class MessageType(enum.IntEnum):
    """Requests are below 0x80; a reply is its request's type + 0x80. ACK answers what has no reply of its own.

    NAK says that a request was dropped because those before it did not arrive. SENSOR_EVENT is sent unasked.
    """

    HELLO = 0x01
    SAMPLE = 0x02
    READ = 0x03
    WRITE = 0x04
    RESET_HEAD = 0x05
    SET_LEARNING_RATE = 0x06
    STATISTICS = 0x07
    SAMPLE_PART = 0x08
    SAVE = 0x09
    FORGET = 0x0A
    SET_AUTOSAVE = 0x0B
    SET_CLASS = 0x0C
    SET_SENSOR = 0x0D
    GOODBYE = 0x0E
    HELLO_REPLY = 0x81
    RESULT = 0x82
    READ_REPLY = 0x83
    STATISTICS_REPLY = 0x87
    SENSOR_EVENT = 0x90
    NAK = 0xFE
    ACK = 0xFF


class Status(enum.IntEnum):
    """Why a request was refused."""

    OK = 0
    UNKNOWN_TYPE = 1
    BAD_LENGTH = 2
    NO_SESSION = 3
    BAD_REGION = 4
    BAD_LABEL = 5
    NOT_TRAINABLE = 6
    LEARNING_RATE = 7
    READ_ONLY = 8
    BAD_VERSION = 9
    BAD_TARGET = 10
    BAD_VALUE = 11
    NO_STORE = 12
    STORE_FAILED = 13
    BAD_CLASS = 14
    SENSOR_RUNS = 15
    NO_SENSOR = 16
    SENSOR_IDLE = 17


class SampleFlag(enum.IntFlag):
    """What to do with a sample."""

    TRAIN = 1
    HAS_LABEL = 2
    HAS_TARGETS = 4
    TARGET_IS_INPUT = 8
    SELF_LABEL = 16


class ResultFlag(enum.IntFlag):
    """What was done with a sample. HAS_LOSS: its loss is known, for it had a label or targets."""

    LEARNED = 1
    SELF_LABELLED = 2
    HAS_LOSS = 4


class SensorRun(enum.IntEnum):
    """What SET_SENSOR does. STOP with a lease_ms only holds a sensor that runs, at most for so long.

    GO_ON starts again what was stopped or held, with its own settings and counts; where there is nothing to go on with,
    it is refused with SENSOR_IDLE.

    REPORT changes only report_every, and LABEL only HAS_LABEL and label, whether the sensor runs or not.
    """

    STOP = 0
    START = 1
    GO_ON = 2
    REPORT = 3
    LABEL = 4


class Region(enum.IntEnum):
    """Memory of the device that READ and WRITE reach. Head regions are the only ones that can be written.

    LABELS are UTF-8: for each output one name in label_bytes bytes filled up with zeros, or where label_bytes is 0
    joined by line feeds. Arrays are little-endian, matrices row-major, [outputs, features]. The index of INPUT and
    OUTPUT is the number of the input or output, elsewhere that of the trainable layer; an output that a trainable layer
    gives is read as its LOGITS.
    """

    LABELS = 0
    BOARD = 1
    INPUT = 2
    FEATURES = 3
    OUTPUT = 4
    LOGITS = 5
    PROBABILITIES = 6
    HEAD_WEIGHTS = 7
    HEAD_RESIDUAL = 8
    HEAD_BIAS = 9
    HEAD_ROW_T = 10
    HEAD_ROW_RHO = 11
    HEAD_ROW_M = 12
    HEAD_ROW_R = 13
    INTERFACE = 14


class ResetCause(enum.IntEnum):
    """Why a device started, as far as its hardware tells. FAULT: its own firmware met one, and reset the processor."""

    UNKNOWN = 0
    POWER_ON = 1
    PIN = 2
    SOFTWARE = 3
    WATCHDOG = 4
    LOCKUP = 5
    FAULT = 6


class LossCode(enum.IntEnum):
    """The loss on the wire."""

    NONE = 0
    CROSS_ENTROPY = 1
    SQUARED_ERROR = 2


class ResidualCode(enum.IntEnum):
    """How the head's weights are stored, on the wire."""

    NONE = 0
    INT8 = 1
    STOCHASTIC = 2
    FLOAT = 3


class TensorType(enum.IntEnum):
    """Element types of inputs and outputs, on the wire. LOGITS are int32 with the trainable layer's fraction bits."""

    INT8 = 0
    INT32 = 1
    INT64 = 2
    FLOAT32 = 3
    LOGITS = 4

    @property
    def size_bytes(self) -> int:
        """Bytes of one element."""
        return {TensorType.INT8: 1, TensorType.INT64: 8}.get(self, 4)


class FieldType(enum.Enum):
    """Types of fields; the value is struct's letter, little-endian."""

    U8 = "B"
    U16 = "H"
    U32 = "I"
    I8 = "b"
    I16 = "h"
    I32 = "i"
    F32 = "f"


class Field(NamedTuple):
    """One field of a message."""

    name: str
    type: FieldType
    meaning: str
    #: 0 where the sender leaves it out.
    optional: bool = False


class Message(Struct, frozen=True, kw_only=True):
    """The layout of one message."""

    type: MessageType
    fields: tuple[Field, ...]
    tail: str = ""
    changes_state: bool = False

    @property
    def format(self) -> str:
        """The struct format of the fixed part."""
        return "<" + "".join(field.type.value for field in self.fields)

    @property
    def size_bytes(self) -> int:
        """Bytes of the fixed part."""
        return struct.calcsize(self.format)

    @property
    def places(self) -> tuple[tuple[Field, int], ...]:
        """Each field with its offset in bytes."""
        sizes = (struct.calcsize("<" + field.type.value) for field in self.fields)
        return tuple(zip(self.fields, itertools.accumulate(sizes, initial=0), strict=False))

    @property
    def least_bytes(self) -> int:
        """Bytes of the fixed part as far as it must be there: of a reply, without the optional fields at its end."""
        fields = list(self.fields)
        while self.type >= 0x80 and fields and fields[-1].optional:
            fields.pop()
        return struct.calcsize("<" + "".join(field.type.value for field in fields))


_U8, _U16, _U32, _I8, _I32, _F32 = (
    FieldType.U8,
    FieldType.U16,
    FieldType.U32,
    FieldType.I8,
    FieldType.I32,
    FieldType.F32,
)

_RESULT_FIELDS: tuple[Field, ...] = (
    Field("prediction", _U16, "largest logit before learning, else of the first output; of one integer, itself"),
    Field("confidence", _U16, "its probability, Q15 (0 for squared error)"),
    Field("loss_a", _U32, "cross-entropy: max logit - logit of the label; squared error: sum of (g*g >> 16)"),
    Field("loss_b", _U32, "cross-entropy: sum of exponentials, Q15; squared error: sum of (g*g & 0xFFFF)"),
    Field("step", _U32, "training steps since the head was as generated, this one included"),
    Field("inference_ticks", _U32, "counter ticks of the forward pass"),
    Field("train_ticks", _U32, "counter ticks of the update"),
    Field("stack_bytes", _U32, "high-water mark of the stack"),
    Field("saved_sequence", _U32, "requests of this session before it are saved; 2^32 - 1: none"),
    Field("flags", _U8, "ResultFlag"),
)

MESSAGES: tuple[Message, ...] = (
    Message(
        type=MessageType.HELLO,
        fields=(
            Field("version", _U16, "protocol version of the host"),
            Field("session", _U32, "chosen by the host, not 0, no byte 0 or 3"),
            Field("first_sequence", _U32, "number of a new session's first request that changes state, below 2^31"),
            Field("resume", _U8, "1: only where this session is still open; a device that was reset opens none", True),
        ),
    ),
    Message(
        type=MessageType.HELLO_REPLY,
        fields=(
            Field("version", _U16, "protocol version of the device"),
            Field("session", _U32, "the session now open, 0 if none"),
            Field("model_hash_low", _U32, "bytes 0 to 3 of the model hash"),
            Field("model_hash_high", _U32, "bytes 4 to 7 of the model hash"),
            Field("max_payload_bytes", _U32, "largest payload the device takes or sends"),
            Field("feature_elements", _U32, "int8 elements of the trainable layer's input, 0 without one"),
            Field("feature_scale", _F32, "real = scale * (q - zero_point)"),
            Field("feature_zero_point", _I8, "zero point of the features"),
            Field("logit_fraction_bits", _U8, "logits are int32 with that many fraction bits, biases with 8 more"),
            Field("error_shift", _U8, "squared error: gradient g = (output - target) >> shift, rounded"),
            Field("target_shift", _U8, "squared error: a target is int16, shifted left by this to a logit"),
            Field("loss", _U8, "a LossCode"),
            Field("residual", _U8, "a ResidualCode"),
            Field("learning_rate_mantissa", _U16, "A of lr = A 2^-a"),
            Field("learning_rate_exponent", _U8, "a of lr = A 2^-a"),
            Field("step", _U32, "training steps since the head was as generated"),
            Field("counter_hz", _U32, "ticks a second of the counter, 0 without one"),
            Field("static_ram_bytes", _U32, "data and bss; with MicroPython what is taken in the heap at the start"),
            Field("stack_size_bytes", _U32, "bytes reserved for the stack"),
            Field("boot", _U32, "starts of the device, as far as it remembers"),
            Field("next_sequence", _U32, "number of the next request that changes state"),
            Field("window", _U8, "replies that are kept: requests that may be under way"),
            Field("receive_bytes", _U32, "encoded bytes that may be under way; a single frame may be longer"),
            Field("classes", _U16, "classes in use, from 0 on; 0 without a trainable classifier"),
            Field("label_bytes", _U8, "of a name in LABELS that SET_CLASS can change, 0 where it cannot"),
            Field("can_save", _U8, "1 where the board has memory that keeps the head without power"),
            Field("saves", _U32, "number of the newest saved head, 0 without one"),
            Field("saved_step", _U32, "training steps in the newest saved head, 0 without one"),
            Field("saved_session", _U32, "session in which it was saved"),
            Field("saved_sequence", _U32, "its requests before this number are in it"),
            Field("autosave_steps", _U32, "the head is saved after that many steps, 0: only when asked"),
            Field("has_sensor", _U8, "1 where the firmware takes samples from a sensor of its own", True),
            Field("sensor_runs", _U8, "1 while it does", True),
            Field("multiply_accumulates", _U32, "of one inference, 0 where that is not known", True),
            Field("reset_cause", _U8, "a ResetCause: of the start that `boot` counted last", True),
            Field("fault", _U8, "with FAULT: number of the exception, 3: HardFault; 0: the firmware gave up", True),
            Field("fault_pc", _U32, "with FAULT: where it happened, 0 where that is not known", True),
            Field("fault_lr", _U32, "with FAULT: the link register there", True),
            Field("fault_status", _U32, "with FAULT: CFSR, what kind of fault; 0 on a core without it", True),
            Field("fault_hard", _U32, "with FAULT: HFSR, why it became a HardFault; 0 on a core without it", True),
            Field("fault_address", _U32, "with FAULT: the address that was not reached, 0 where not known", True),
        ),
    ),
    Message(
        type=MessageType.SAMPLE,
        fields=(
            Field("flags", _U8, "SampleFlag"),
            Field("label", _U16, "class number, with HAS_LABEL"),
            Field("threshold", _U16, "SELF_LABEL: learn the predicted class from this probability on, Q15", True),
            Field("offset", _U32, "bytes of the inputs that came before, in SAMPLE_PARTs", True),
        ),
        tail="the inputs in order from that byte on, then with HAS_TARGETS an int16 for each logit",
        changes_state=True,
    ),
    Message(
        type=MessageType.SAMPLE_PART,
        fields=(Field("offset", _U32, "first byte, of all inputs one after another"),),
        tail="bytes of the inputs",
        changes_state=True,
    ),
    Message(type=MessageType.RESULT, fields=_RESULT_FIELDS),
    Message(
        type=MessageType.READ,
        fields=(
            Field("region", _U8, "a Region"),
            Field("index", _U8, "of the trainable layer, input or output, 0 for the first"),
            Field("offset", _U32, "first byte"),
            Field("length", _U16, "bytes wanted"),
        ),
    ),
    Message(
        type=MessageType.READ_REPLY,
        fields=(
            Field("region", _U8, "as asked"),
            Field("index", _U8, "as asked"),
            Field("offset", _U32, "as asked"),
            Field("total_bytes", _U32, "size of the whole region"),
        ),
        tail="the bytes; fewer than asked at the end of the region",
    ),
    Message(
        type=MessageType.WRITE,
        fields=(
            Field("region", _U8, "a Region"),
            Field("index", _U8, "number of the trainable layer"),
            Field("offset", _U32, "first byte"),
        ),
        tail="the bytes",
        changes_state=True,
    ),
    Message(type=MessageType.RESET_HEAD, fields=(), changes_state=True),
    Message(
        type=MessageType.SET_LEARNING_RATE,
        fields=(
            Field("mantissa", _U16, "A of lr = A 2^-a, 2^14 <= A < 2^15, or 0 to stop learning"),
            Field("exponent", _U8, "a of lr = A 2^-a"),
        ),
        changes_state=True,
    ),
    Message(type=MessageType.SAVE, fields=(), changes_state=True),
    Message(type=MessageType.FORGET, fields=(), changes_state=True),
    Message(
        type=MessageType.SET_AUTOSAVE,
        fields=(Field("steps", _U32, "save after that many training steps; 0: only when asked"),),
        changes_state=True,
    ),
    Message(
        type=MessageType.SET_CLASS,
        fields=(Field("index", _U16, "a class in use, or their number, which adds one with zero weights"),),
        tail="its name, UTF-8, at most label_bytes",
        changes_state=True,
    ),
    Message(
        type=MessageType.SET_SENSOR,
        fields=(
            Field("run", _U8, "a SensorRun; the other fields mean something with START, some with REPORT and LABEL"),
            Field("flags", _U8, "SampleFlag: TRAIN, HAS_LABEL, TARGET_IS_INPUT, SELF_LABEL"),
            Field("label", _U16, "class number of every sample, with HAS_LABEL"),
            Field("threshold", _U16, "SELF_LABEL: learn the predicted class from this probability on, Q15"),
            Field("samples", _U32, "stop after so many, 0: never"),
            Field("report_every", _U32, "a SENSOR_EVENT for each n-th sample, 0: none"),
            Field(
                "lease_ms", _U32, "STOP: go on after so many milliseconds unless told before, 0: stop for good", True
            ),
        ),
        changes_state=True,
    ),
    Message(
        type=MessageType.SENSOR_EVENT,
        fields=(
            *_RESULT_FIELDS,
            Field("label", _U16, "class number that the sample had or, self-labelled, was given; 65535: none"),
            Field("samples", _U32, "samples since the sensor was started, this one included"),
            Field("session", _U32, "the session that is open", True),
        ),
    ),
    Message(
        type=MessageType.GOODBYE, fields=(Field("session", _U32, "that is over; where another is open, nothing is"),)
    ),
    Message(type=MessageType.STATISTICS, fields=()),
    Message(
        type=MessageType.STATISTICS_REPLY,
        fields=(
            Field("step", _U32, "training steps since the head was as generated"),
            Field("frames", _U32, "good frames received"),
            Field("crc_errors", _U32, "frames with a bad checksum"),
            Field("framing_errors", _U32, "frames too short, too long or not COBS"),
            Field("repeats", _U32, "repeated requests answered from memory or dropped"),
            Field("gaps", _U32, "requests dropped because one before them did not arrive"),
            Field("overruns", _U32, "bytes lost because the receive ring was full"),
            Field("ring_bytes", _U32, "high-water mark of the receive ring"),
            Field("stack_bytes", _U32, "high-water mark of the stack"),
            Field("static_ram_bytes", _U32, "as in HELLO_REPLY"),
            Field("stack_size_bytes", _U32, "bytes reserved for the stack"),
            Field("inference_stack_bytes", _U32, "most of it that one inference has used"),
            Field("train_stack_bytes", _U32, "most of it that one update has used"),
            Field("save_stack_bytes", _U32, "most of it that saving the head has used"),
            Field("saves", _U32, "number of the newest saved head, 0 without one"),
            Field("saved_step", _U32, "training steps in the newest saved head"),
            Field("failed_saves", _U32, "of the device itself, by SET_AUTOSAVE"),
            Field("sensor_samples", _U32, "samples since the sensor was started", True),
            Field("sensor_learned", _U32, "of these, how many were learned", True),
            Field("sensor_untold", _U32, "SENSOR_EVENTs not sent because the other side took no more bytes", True),
            Field(
                "heap_free_bytes", _U32, "free in the heap; C has none, and sends neither this nor what follows", True
            ),
            Field("heap_allocated_bytes", _U32, "taken in the heap, garbage included", True),
            Field("heap_largest_free_bytes", _U32, "the largest block that can be had, within 64", True),
            Field("collections", _U32, "collections of garbage that were noticed since the link began", True),
        ),
    ),
    Message(type=MessageType.NAK, fields=(Field("expected", _U32, "number of the next request that changes state"),)),
    Message(type=MessageType.ACK, fields=(Field("status", _U8, "a Status"),)),
)

_BY_TYPE = {message.type: message for message in MESSAGES}


class FrameError(ValueError):
    """A frame or a payload that cannot be decoded. It never leaves the host package: bad frames are counted."""


class Frame(NamedTuple):
    """One decoded frame."""

    type: MessageType
    sequence: int
    payload: bytes


def message(type_: MessageType) -> Message:
    """The layout of a message type."""
    return _BY_TYPE[type_]


def pack(type_: MessageType, *, tail: bytes = b"", **values: float) -> bytes:
    """The payload of a message from its fields by name; only optional ones may be left out."""
    layout = _BY_TYPE[type_]
    values = {**{field.name: 0 for field in layout.fields if field.optional}, **values}
    if set(values) != {field.name for field in layout.fields}:
        raise TypeError(f"{type_.name} has the fields {[field.name for field in layout.fields]}, got {sorted(values)}")
    if tail and not layout.tail:
        raise TypeError(f"{type_.name} has no tail")
    return struct.pack(layout.format, *(values[field.name] for field in layout.fields)) + tail


class Payload(NamedTuple):
    """The fields of a payload by name, and its tail."""

    values: dict[str, float]
    tail: bytes

    def integer(self, name: str) -> int:
        """A field as an integer."""
        return int(self.values[name])


def unpack(type_: MessageType, payload: bytes) -> Payload:
    """The fields of a payload; optional ones that an older device left out of its reply are 0.

    Raises:
        FrameError: it is shorter than the fixed part.
    """
    layout = _BY_TYPE[type_]
    if len(payload) < layout.least_bytes:
        raise FrameError(f"{type_.name} has {len(payload)} bytes, at least {layout.least_bytes} are needed")
    if len(payload) < layout.size_bytes:
        payload = payload.ljust(layout.size_bytes, b"\0")
    values = struct.unpack_from(layout.format, payload)
    named = {field.name: value for field, value in zip(layout.fields, values, strict=True)}
    return Payload(named, payload[layout.size_bytes :] if layout.tail else b"")


class TensorInfo(Struct, frozen=True, kw_only=True):
    """An input or output of the model on the device.

    Attributes:
        elements: in a sample.
        scale, zero_point: real = scale * (q - zero_point), of int8 or of the int8 behind a float edge; else 0.
    """

    name: str
    is_input: bool
    type: TensorType
    elements: int
    scale: float = 0.0
    zero_point: int = 0

    @property
    def size_bytes(self) -> int:
        """Bytes of all elements."""
        return self.elements * self.type.size_bytes


#: is_input, type, elements, scale, zero point, bytes of the name, which follows in UTF-8.
_RECORD = struct.Struct("<BBIfbB")
_MOST_NAME_BYTES = 40


def pack_record(tensor: TensorInfo) -> bytes:
    """The record of an input or output in the region INTERFACE; a long name is cut."""
    name = tensor.name.encode()[:_MOST_NAME_BYTES].decode(errors="ignore").encode()
    fixed = (tensor.is_input, tensor.type, tensor.elements, tensor.scale, tensor.zero_point, len(name))
    return _RECORD.pack(*fixed) + name


def unpack_interface(data: bytes) -> tuple[TensorInfo, ...]:
    """The inputs and outputs in the region INTERFACE.

    Raises:
        FrameError: it is cut short or holds an unknown type.
    """
    tensors = []
    offset = 0
    while offset < len(data):
        try:
            is_input, type_, elements, scale, zero_point, name_bytes = _RECORD.unpack_from(data, offset)
            kind = TensorType(type_)
        except (struct.error, ValueError) as error:
            raise FrameError(f"a broken record at byte {offset} of the interface: {error}") from error
        offset += _RECORD.size
        name = data[offset : offset + name_bytes]
        if len(name) != name_bytes:
            raise FrameError("the interface is cut short")
        offset += name_bytes
        tensors.append(
            TensorInfo(
                name=name.decode(errors="replace"),
                is_input=bool(is_input),
                type=kind,
                elements=elements,
                scale=scale,
                zero_point=zero_point,
            )
        )
    return tuple(tensors)


def encode_frame(type_: MessageType, sequence: int, payload: bytes) -> bytes:
    """The bytes of one frame on the wire, its closing zero included."""
    layout = _BY_TYPE.get(type_)
    fixed_bytes = min(len(payload), layout.size_bytes if layout else 255)
    body = struct.pack("<BBI", type_, fixed_bytes, sequence) + payload
    return bytes(cobs.encode(body + struct.pack("<I", zlib.crc32(body)))) + b"\0"


def decode_frame(encoded: bytes) -> Frame:
    """One frame from the bytes between two zeros.

    Raises:
        FrameError: not COBS, too short, a bad checksum, an unknown type, or a fixed part longer than the frame.
    """
    try:
        body = bytes(cobs.decode(encoded))
    except cobs.DecodeError as error:
        raise FrameError(str(error)) from error
    if len(body) < HEADER_BYTES + CRC_BYTES:
        raise FrameError(f"{len(body)} bytes are too few for a frame")
    (crc,) = struct.unpack("<I", body[-CRC_BYTES:])
    if crc != zlib.crc32(body[:-CRC_BYTES]):
        raise FrameError("bad checksum")
    type_, fixed_bytes, sequence = struct.unpack_from("<BBI", body)
    if type_ not in MessageType._value2member_map_:
        raise FrameError(f"unknown message type {type_:#x}")
    fixed, tail = body[HEADER_BYTES : HEADER_BYTES + fixed_bytes], body[HEADER_BYTES + fixed_bytes : -CRC_BYTES]
    if HEADER_BYTES + fixed_bytes > len(body) - CRC_BYTES:
        raise FrameError(f"a fixed part of {fixed_bytes} bytes in a frame of {len(body)}")
    known_bytes = _BY_TYPE[MessageType(type_)].size_bytes
    # Too short a fixed part must not be filled up from the tail.
    return Frame(MessageType(type_), sequence, fixed if fixed_bytes < known_bytes else fixed[:known_bytes] + tail)


def encoded_bytes(payload_bytes: int) -> int:
    """Bytes on the wire of a frame with that payload: one byte of COBS for each begun 254, and the zero."""
    body = HEADER_BYTES + payload_bytes + CRC_BYTES
    return body + body // 254 + 1 + 1


class FrameReader:
    """Splits a stream of bytes into frames, in step again at the next zero byte after any noise.

    Bad frames are counted by kind and dropped; what is kept of an unfinished frame is bounded.
    """

    def __init__(self, max_payload_bytes: int = 65535) -> None:
        self._limit_bytes = encoded_bytes(max_payload_bytes)
        self._pending = bytearray()
        self.bad_frames = 0

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that these bytes complete."""
        for piece in self._pieces(data):
            try:
                yield decode_frame(piece)
            except FrameError:
                self.bad_frames += 1

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        *ended, rest = data.split(b"\0")
        for piece in ended:
            self._pending += piece
            whole = bytes(self._pending)
            self._pending.clear()
            if len(whole) > self._limit_bytes:
                self.bad_frames += 1
            elif whole:
                yield whole
        # One byte over the limit marks the frame as too long without keeping the rest of it.
        self._pending += rest[: self._limit_bytes + 1 - len(self._pending)]


def mantissa_and_exponent(value: float) -> tuple[int, int]:
    """The nearest m 2^-e to a positive value, with 2^14 <= m < 2^15: the form of every real factor on the device."""
    fraction, exponent = math.frexp(value)
    mantissa = round(fraction * 2**15)
    if mantissa == 2**15:
        mantissa, exponent = 2**14, exponent + 1
    return mantissa, 15 - exponent


#: Learning rates are from 0, which learns nothing, to this; edgelearn.h says the same of el_set_learning_rate().
MOST_LEARNING_RATE = 1.0
_MOST_EXPONENT = 63


def encode_learning_rate(learning_rate: float) -> tuple[int, int]:
    """Mantissa A and exponent a of the nearest lr = A 2^-a with 2^14 <= A < 2^15; (0, 0) for 0.

    The one place that checks a learning rate by itself; a layer may ask for a smaller one.

    Raises:
        LearningRateError: not a number, out of range, or too small for the exponent.
    """
    if learning_rate == 0.0:
        return 0, 0
    if not 0.0 < learning_rate <= MOST_LEARNING_RATE:
        raise LearningRateError(
            f"a learning rate of {learning_rate:g} is out of range", hint=f"give one from 0 to {MOST_LEARNING_RATE:g}"
        )
    mantissa, a = mantissa_and_exponent(learning_rate)
    if a > _MOST_EXPONENT:
        raise LearningRateError(
            f"a learning rate of {learning_rate:g} is less than the device can hold",
            hint="give one from 1e-14 on, or 0 to learn nothing",
        )
    return mantissa, a


def decode_learning_rate(mantissa: int, exponent: int) -> float:
    """The learning rate A 2^-a."""
    return math.ldexp(mantissa, -exponent)


_C_ENUMS: tuple[tuple[str, type[enum.IntEnum] | type[enum.IntFlag]], ...] = (
    ("MSG", MessageType),
    ("STATUS", Status),
    ("SAMPLE", SampleFlag),
    ("RESULT", ResultFlag),
    ("SENSOR", SensorRun),
    ("REGION", Region),
    ("RESET", ResetCause),
    ("LOSS", LossCode),
    ("RESIDUAL", ResidualCode),
)


def constant_values() -> dict[str, int | str]:
    """The protocol's constants by their names in C, without ELEARN_; NAME_FORMAT is a message's format for struct."""
    values: dict[str, int | str] = {"PROTOCOL_VERSION": PROTOCOL_VERSION}
    for prefix, codes in _C_ENUMS:
        values |= {f"{prefix}_{code.name}": int(code) for code in codes}
    for layout in MESSAGES:
        name = layout.type.name
        values |= {f"{name}_{field.name.upper()}": offset for field, offset in layout.places}
        values |= {f"{name}_BYTES": layout.size_bytes, f"{name}_FORMAT": layout.format}
    return values


def c_header() -> str:
    """The C header with the same messages: one constant for each type, code, field offset and fixed size."""
    lines = [
        "/* The wire protocol: message types, codes, and the offset of each field in its payload.",
        " * Generated from edgelearn/protocol.py; do not edit. */",
        "#ifndef ELEARN_PROTOCOL_H",
        "#define ELEARN_PROTOCOL_H",
        "",
        f"#define ELEARN_PROTOCOL_VERSION {PROTOCOL_VERSION}u",
        f"#define ELEARN_FRAME_HEADER_BYTES {HEADER_BYTES}u",
        f"#define ELEARN_FRAME_CRC_BYTES {CRC_BYTES}u",
        f"#define ELEARN_READING 0x{READING:08X}u /* sequence numbers of requests that only read have this bit */",
    ]
    for prefix, codes in _C_ENUMS:
        lines += ["", f"/* {(codes.__doc__ or '').splitlines()[0]} */"]
        lines += [f"#define ELEARN_{prefix}_{code.name} {int(code)}u" for code in codes]
    for layout in MESSAGES:
        name = layout.type.name
        lines += ["", f"/* {name}{': then ' + layout.tail if layout.tail else ''} */"]
        lines += [
            f"#define ELEARN_{name}_{field.name.upper()} {offset}u /* {field.type.name.lower()}: {field.meaning} */"
            for field, offset in layout.places
        ]
        lines.append(f"#define ELEARN_{name}_BYTES {layout.size_bytes}u")
    return "\n".join([*lines, "", "#endif", ""])
