"""A device in this process: speaks protocol.py over TCP the way the firmware does, with faults on demand.

Its head is a softmax (or linear) layer on the input itself, kept in the same arrays as the firmware's but computed in
floating point. What is faithful is the link: sessions, order, exactly-once, regions, refusals, saved heads.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time

import msgspec
import numpy as np
from msgspec import Struct

from edgelearn.protocol import (
    PROTOCOL_VERSION,
    READING,
    Frame,
    FrameError,
    FrameReader,
    LossCode,
    MessageType,
    Region,
    ResidualCode,
    ResultFlag,
    SampleFlag,
    SensorRun,
    Status,
    TensorInfo,
    TensorType,
    decode_learning_rate,
    encode_frame,
    encode_learning_rate,
    message,
    pack,
    pack_record,
    unpack,
)

FRACTION_BITS = 16
FEATURE_SCALE = 1 / 64


class Model(Struct, frozen=True, kw_only=True):
    """What the device claims to run."""

    hash: bytes = bytes(range(8))
    board: str = "fakeboard"
    labels: tuple[str, ...] = ("zero", "one", "two", "three")
    inputs: int = 16
    outputs: int = 4
    trainable: bool = True
    loss: LossCode = LossCode.CROSS_ENTROPY
    residual: ResidualCode = ResidualCode.INT8
    max_payload_bytes: int = 64
    #: The firmware may hold a shorter buffer for replies than for requests.
    max_reply_bytes: int = 60
    version: int = PROTOCOL_VERSION
    window: int = 4
    receive_bytes: int = 256
    #: Names that can be changed take so many bytes each; 0: they are constants.
    label_bytes: int = 0
    classes: int = 4
    can_save: bool = False
    #: Its memory refuses every head, as worn flash does, and as some emulators do.
    store_fails: bool = False
    error_shift: int = 3
    target_shift: int = 2
    #: A sensor of its own: see `sensor_samples`. So many samples a second by itself; 0: only by `take_sensor_samples`.
    has_sensor: bool = False
    sensor_hz: float = 0.0
    #: Of its heap, free and taken; C has none.
    heap_bytes: tuple[int, int] = (0, 0)
    #: That it says one inference has.
    multiply_accumulates: int = 0

    @property
    def interface(self) -> tuple[TensorInfo, ...]:
        """What it says of its input and output."""
        one = TensorInfo(name="x", is_input=True, type=TensorType.INT8, elements=self.inputs, scale=FEATURE_SCALE)
        if self.trainable:
            return one, TensorInfo(name="y", is_input=False, type=TensorType.LOGITS, elements=self.outputs)
        int8 = {"type": TensorType.INT8, "scale": 1 / 256, "zero_point": -128}
        return one, TensorInfo(name="y", is_input=False, elements=self.outputs, **int8)


class Faults(Struct, frozen=True, kw_only=True):
    """What goes wrong, as shares of the frames in each direction."""

    seed: int = 0
    lose_request: float = 0.0
    lose_reply: float = 0.0
    corrupt_request: float = 0.0
    corrupt_reply: float = 0.0
    duplicate_request: float = 0.0
    duplicate_reply: float = 0.0
    #: Sends the reply before this one once more, after this one.
    reorder_reply: float = 0.0
    #: Keeps the reply back until the next frame arrives.
    delay_reply: float = 0.0
    garbage: float = 0.0
    reset_after_frames: int = 0
    silent_after_frames: int = 0
    close_after_frames: int = 0


NO_FAULTS = Faults()


class FakeDevice:
    """Use as a context manager; `url` is its port."""

    def __init__(self, model: Model | None = None, faults: Faults = NO_FAULTS, *, compute_s: float = 0.0) -> None:
        self.model = model or Model()
        self.faults = faults
        self.compute_s = compute_s
        self.random = np.random.default_rng(faults.seed)
        #: One thing at a time: the link's thread, the sensor's, and whoever tests.
        self._lock = threading.RLock()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"socket://127.0.0.1:{self._server.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._sensor_thread = threading.Thread(target=self._sense, daemon=True)
        self._stopping = threading.Event()
        #: What its sensor gives, again and again: int8 [N, inputs], and its own label for each or -1.
        self.sensor_samples, self.sensor_labels = sensor_stream(self.model)
        self._connection: socket.socket | None = None
        self.frames_seen = 0
        self.boots = 0
        #: What survives boot(): the newest saved state.
        self.flash: dict[str, object] | None = None
        self.boot()

    def boot(self) -> None:
        """As after power on; from any thread, between two frames."""
        with self._lock:
            self._boot()

    def _boot(self) -> None:
        m = self.model
        self.session = 0
        self.next_sequence = 0
        self.kept: dict[int, bytes] = {}
        self.boots += 1
        self.gaps = 0
        self.events = 0
        self.parts = bytearray(m.inputs)
        self.autosave_steps = 0
        self.sensor = Sensor()
        self.held_until_s = 0.0
        self.saves, self.saved, self.saved_step = 0, (0, 0), 0
        self.previous_reply = b""
        self.held_reply = b""
        self.step = 0
        self.frames = 0
        self.repeats = 0
        #: (label or first input byte, trained) of every sample that was carried out, in order.
        self.applied: list[tuple[int, int, bool]] = []
        self.learning_rate = encode_learning_rate(0.01)
        self.reader = FrameReader(m.max_payload_bytes)
        self.reset_head()
        for name, value in (self.flash or {}).items():
            setattr(self, name, value.copy() if isinstance(value, np.ndarray) else value)

    def save(self) -> Status:
        if not self.model.can_save:
            return Status.NO_STORE
        if self.model.store_fails:
            return Status.STORE_FAILED
        names = ("q", "l", "bias", "row_t", "row_rho", "step", "learning_rate", "names", "classes", "autosave_steps")
        state = {name: getattr(self, name) for name in (*names, "sensor")}
        saves = self.flash["saves"] + 1 if self.flash else 1
        # Without a session it learns by itself, on top of what the newest saved head stands for.
        saved = (self.session, self.next_sequence) if self.session else self.saved
        self.flash = {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in state.items()}
        self.flash |= {"saves": saves, "saved": saved, "saved_step": self.step}
        self.saves, self.saved, self.saved_step = saves, saved, self.step
        return Status.OK

    def reset_head(self) -> None:
        m = self.model
        self.names = m.labels
        self.classes = m.classes if m.trainable and m.loss is LossCode.CROSS_ENTROPY else 0
        if m.residual is ResidualCode.FLOAT:
            self.q = np.zeros((m.outputs, m.inputs), np.float32)
            self.bias = np.zeros(m.outputs, np.float32)
        else:
            self.q = np.zeros((m.outputs, m.inputs), np.int8)
            self.bias = np.zeros(m.outputs, np.int32)
        self.l = np.full((m.outputs, m.inputs), 128, np.uint8)
        # s_w = 1/64 for each row: 2^16 s_x s_w = 16 = M 2^-t with M = 2^14, t = 10; 256 s_x / s_w = 256 = 2^14 2^-6.
        self.row_t = np.full(m.outputs, 10, np.int8)
        self.row_rho = np.full(m.outputs, 6, np.int8)
        self.row_m = np.full(m.outputs, 2**14, np.uint16)
        self.row_r = np.full(m.outputs, 2**14, np.uint16)

    def __enter__(self) -> FakeDevice:
        self._thread.start()
        if self.model.has_sensor and self.model.sensor_hz > 0:
            self._sensor_thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._server.close()
        # accept() is not woken by close() everywhere.
        try:
            port = int(self.url.rsplit(":", 1)[1])
            socket.create_connection(("127.0.0.1", port), timeout=0.2).close()
        except OSError:
            pass
        connection = self._connection
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(timeout=5)
        assert not self._thread.is_alive()
        if self._sensor_thread.ident is not None:
            self._sensor_thread.join(timeout=5)
            assert not self._sensor_thread.is_alive()

    def _serve(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self._connection = connection
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                try:
                    while data := connection.recv(65536):
                        with self._lock:
                            self._receive(data)
                except OSError:
                    continue

    def _happens(self, share: float) -> bool:
        return share > 0 and self.random.random() < share

    def _receive(self, data: bytes) -> None:
        # Whole frames as the host sent them, so that faults can be counted by the frame.
        *frames, rest = data.split(b"\0")
        for piece in frames:
            if not piece:
                continue
            copies = 0 if self._happens(self.faults.lose_request) else 1 + self._happens(self.faults.duplicate_request)
            for _ in range(copies):
                self._line_in(self._maybe_corrupt(piece, self.faults.corrupt_request) + b"\0")
        self._line_in(rest)

    def _maybe_corrupt(self, piece: bytes, share: float) -> bytes:
        if not self._happens(share):
            return piece
        broken = bytearray(piece)
        broken[self.random.integers(len(broken))] ^= 1 << int(self.random.integers(8))
        return bytes(broken)

    def _line_in(self, data: bytes) -> None:
        for frame in self.reader.feed(data):
            self.frames_seen += 1
            f = self.faults
            if self.held_reply:
                self._line_out(self.held_reply)
                self.held_reply = b""
            if f.close_after_frames and self.frames_seen == f.close_after_frames:
                assert self._connection is not None
                self._connection.shutdown(socket.SHUT_RDWR)
                return
            if f.silent_after_frames and self.frames_seen >= f.silent_after_frames:
                return
            if f.reset_after_frames and self.frames_seen == f.reset_after_frames:
                self.boot()
                return
            self._dispatch(frame)

    def _send(self, encoded: bytes) -> None:
        f = self.faults
        if self._happens(f.garbage):
            self._line_out(self.random.bytes(int(self.random.integers(1, 40))))
            self._line_out(b"\0" if self._happens(0.5) else b"")
        if self._happens(f.lose_reply):
            return
        if self._happens(f.delay_reply):
            self.held_reply = encoded
            return
        self._line_out(self._maybe_corrupt(encoded[:-1], f.corrupt_reply) + b"\0")
        if self._happens(f.duplicate_reply):
            self._line_out(encoded)
        if self._happens(f.reorder_reply):
            self._line_out(self.previous_reply)
        self.previous_reply = encoded

    def _line_out(self, data: bytes) -> None:
        if self._connection is not None and data:
            self._connection.sendall(data)

    def _acknowledge(self, sequence: int, status: Status) -> bytes:
        return encode_frame(MessageType.ACK, sequence, pack(MessageType.ACK, status=status))

    def _dispatch(self, frame: Frame) -> None:
        self.frames += 1
        try:
            fields = unpack(frame.type, frame.payload)
        except FrameError:
            self._send(self._acknowledge(frame.sequence, Status.BAD_LENGTH))
            return
        if frame.type >= 0x80:
            self._send(self._acknowledge(frame.sequence, Status.UNKNOWN_TYPE))
        elif frame.type is MessageType.HELLO:
            is_other = fields.integer("session") != self.session and not fields.integer("resume")
            if fields.integer("version") == self.model.version and is_other:
                self.session = fields.integer("session")
                self.next_sequence = fields.integer("first_sequence")
                self.kept = {}
            self._send(encode_frame(MessageType.HELLO_REPLY, frame.sequence, self._hello_reply()))
        elif self.session == 0:
            self._send(self._acknowledge(frame.sequence, Status.NO_SESSION))
        elif frame.type is MessageType.GOODBYE:
            if fields.integer("session") == self.session:
                self.session = 0
            self._send(self._acknowledge(frame.sequence, Status.OK))
        elif frame.type is MessageType.READ:
            self._send(self._read(frame.sequence, fields))
        elif frame.type is MessageType.STATISTICS:
            self._send(encode_frame(MessageType.STATISTICS_REPLY, frame.sequence, self._statistics()))
        else:
            self._change(frame)

    def _change(self, frame: Frame) -> None:
        behind = (self.next_sequence - frame.sequence) % READING
        if behind:
            if behind < READING // 2:
                self.repeats += 1
                if frame.sequence in self.kept:
                    self._send(self.kept[frame.sequence])
            else:
                self.gaps += 1
                payload = pack(MessageType.NAK, expected=self.next_sequence)
                self._send(encode_frame(MessageType.NAK, frame.sequence, payload))
            return
        carry_out = {
            MessageType.SAMPLE: self._sample,
            MessageType.SAMPLE_PART: self._sample_part,
            MessageType.WRITE: self._write,
            MessageType.RESET_HEAD: self._reset,
            MessageType.SET_LEARNING_RATE: self._set_learning_rate,
            MessageType.SAVE: lambda _: self.save(),
            MessageType.FORGET: self._forget,
            MessageType.SET_AUTOSAVE: self._set_autosave,
            MessageType.SET_CLASS: self._set_class,
            MessageType.SET_SENSOR: self._set_sensor,
        }[frame.type]
        answer = carry_out(frame.payload)
        if isinstance(answer, Status):
            reply = self._acknowledge(frame.sequence, answer)
        else:
            reply = encode_frame(MessageType.RESULT, frame.sequence, answer)
        self.kept[frame.sequence] = reply
        while len(self.kept) > self.model.window:
            del self.kept[next(iter(self.kept))]
        self.next_sequence = (frame.sequence + 1) % READING
        self._send(reply)
        self._autosave()

    def _autosave(self) -> None:
        if self.autosave_steps and self.step - self.saved_step >= self.autosave_steps:
            self.save()

    def _forget(self, _: bytes) -> Status:
        if not self.model.can_save:
            return Status.NO_STORE
        self.flash = None
        self.saved, self.saved_step = (0, 0), 0
        return Status.OK

    def _set_autosave(self, payload: bytes) -> Status:
        if not self.model.can_save:
            return Status.NO_STORE
        self.autosave_steps = unpack(MessageType.SET_AUTOSAVE, payload).integer("steps")
        return Status.OK

    def _set_class(self, payload: bytes) -> Status:
        fields = unpack(MessageType.SET_CLASS, payload)
        index = fields.integer("index")
        fits = 0 < len(fields.tail) <= self.model.label_bytes
        if not fits or index > self.classes or index >= self.model.outputs:
            return Status.BAD_CLASS
        if index == self.classes:
            self.classes += 1
            self.q[index], self.l[index], self.bias[index] = 0, 128, 0
        names = [*self.names, *[""] * (self.model.outputs - len(self.names))]
        names[index] = fields.tail.decode()
        self.names = tuple(names)
        return Status.OK

    def _set_sensor(self, payload: bytes) -> Status:
        m = self.model
        fields = unpack(MessageType.SET_SENSOR, payload)
        run = fields.integer("run")
        flags, label = SampleFlag(fields.integer("flags")), fields.integer("label")
        if not m.has_sensor:
            return Status.NO_SENSOR
        if run not in SensorRun._value2member_map_:
            return Status.BAD_VALUE
        if run == SensorRun.LABEL:
            has_label = flags & SampleFlag.HAS_LABEL
            if has_label and label >= m.outputs:
                return Status.BAD_LABEL
            self.sensor = msgspec.structs.replace(
                self.sensor,
                flags=self.sensor.flags & ~SampleFlag.HAS_LABEL | has_label,
                label=label if has_label else self.sensor.label,
            )
            return Status.OK
        if run == SensorRun.REPORT:
            self.sensor = msgspec.structs.replace(self.sensor, report_every=fields.integer("report_every"))
            return Status.OK
        lease_s = fields.integer("lease_ms") / 1000
        self.held_until_s = 0.0
        if run == SensorRun.STOP and lease_s:
            self.held_until_s = time.monotonic() + lease_s
            return Status.OK
        if run != SensorRun.START:
            goes_on = run == SensorRun.GO_ON and (self.sensor.runs or not self.sensor.is_done)
            self.sensor = msgspec.structs.replace(self.sensor, runs=goes_on)
            return Status.SENSOR_IDLE if run == SensorRun.GO_ON and not goes_on else Status.OK
        if flags & ~(SampleFlag.TRAIN | SampleFlag.HAS_LABEL | SampleFlag.TARGET_IS_INPUT | SampleFlag.SELF_LABEL):
            return Status.BAD_VALUE
        is_classifier = m.loss is LossCode.CROSS_ENTROPY
        if flags & SampleFlag.TRAIN and not m.trainable:
            return Status.NOT_TRAINABLE
        if flags & SampleFlag.HAS_LABEL and label >= m.outputs:
            return Status.BAD_LABEL
        if flags & SampleFlag.SELF_LABEL and not is_classifier:
            return Status.BAD_LABEL
        if flags & SampleFlag.TARGET_IS_INPUT and (is_classifier or m.inputs != m.outputs):
            return Status.BAD_TARGET
        if flags & SampleFlag.TRAIN and not is_classifier and not flags & SampleFlag.TARGET_IS_INPUT:
            return Status.BAD_TARGET
        self.sensor = Sensor(
            runs=True,
            is_set=True,
            flags=flags,
            label=label,
            threshold=fields.integer("threshold"),
            limit=fields.integer("samples"),
            report_every=fields.integer("report_every"),
        )
        return Status.OK

    def take_sensor_samples(self, count: int) -> None:
        """Let the sensor have so many samples ready, one after the other; nothing while it is stopped."""
        for _ in range(count):
            with self._lock:
                if self.sensor.runs and time.monotonic() >= self.held_until_s:
                    self._take_sensor_sample()

    def _sense(self) -> None:
        while not self._stopping.wait(1 / self.model.sensor_hz):
            with contextlib.suppress(OSError):
                self.take_sensor_samples(1)

    def _take_sensor_sample(self) -> None:
        sensor = self.sensor
        number = sensor.samples % len(self.sensor_samples)
        flags, label = sensor.flags & ~SampleFlag.TARGET_IS_INPUT, sensor.label
        own = int(self.sensor_labels[number])
        if not flags & SampleFlag.HAS_LABEL and 0 <= own < self.model.outputs:
            flags, label = flags | SampleFlag.HAS_LABEL, own
        if flags & SampleFlag.HAS_LABEL:
            flags &= ~SampleFlag.SELF_LABEL
        if self.model.loss is LossCode.SQUARED_ERROR:
            flags = sensor.flags
        elif not flags & (SampleFlag.HAS_LABEL | SampleFlag.SELF_LABEL):
            flags &= ~SampleFlag.TRAIN
        self.parts[:] = self.sensor_samples[number].tobytes()
        step = self.step
        values = self._judge(flags, label, sensor.threshold, b"")
        done = ResultFlag(int(values["flags"]))
        samples = sensor.samples + 1
        self.sensor = msgspec.structs.replace(
            sensor,
            runs=not sensor.limit or samples < sensor.limit,
            samples=samples,
            learned=sensor.learned + self.step - step,
        )
        if self.session and sensor.report_every and samples % sensor.report_every == 0:
            if done & ResultFlag.SELF_LABELLED:
                label = int(values["prediction"])
            elif not flags & SampleFlag.HAS_LABEL:
                label = 65535
            self.events = (self.events + 1) % READING
            payload = pack(MessageType.SENSOR_EVENT, **values, label=label, samples=samples, session=self.session)
            self._send(encode_frame(MessageType.SENSOR_EVENT, READING | self.events, payload))
        self._autosave()

    def _sample_part(self, payload: bytes) -> Status:
        if self.sensor.runs:
            return Status.SENSOR_RUNS
        fields = unpack(MessageType.SAMPLE_PART, payload)
        offset = fields.integer("offset")
        if offset + len(fields.tail) > self.model.inputs:
            return Status.BAD_LENGTH
        self.parts[offset : offset + len(fields.tail)] = fields.tail
        return Status.OK

    def _hello_reply(self) -> bytes:
        m = self.model
        low, high = struct.unpack("<II", m.hash)
        mantissa, exponent = self.learning_rate
        return pack(
            MessageType.HELLO_REPLY,
            version=m.version,
            session=self.session,
            model_hash_low=low,
            model_hash_high=high,
            max_payload_bytes=m.max_payload_bytes,
            feature_elements=m.inputs if m.trainable else 0,
            feature_scale=FEATURE_SCALE,
            feature_zero_point=0,
            logit_fraction_bits=FRACTION_BITS,
            error_shift=m.error_shift,
            target_shift=m.target_shift,
            loss=m.loss if m.trainable else LossCode.NONE,
            residual=m.residual,
            learning_rate_mantissa=mantissa,
            learning_rate_exponent=exponent,
            step=self.step,
            counter_hz=168_000_000,
            static_ram_bytes=24_000,
            stack_size_bytes=4096,
            boot=self.boots,
            next_sequence=self.next_sequence,
            window=m.window,
            receive_bytes=m.receive_bytes,
            classes=self.classes,
            label_bytes=m.label_bytes,
            can_save=m.can_save,
            saves=self.saves,
            saved_step=self.saved_step,
            saved_session=self.saved[0],
            saved_sequence=self.saved[1],
            autosave_steps=self.autosave_steps,
            has_sensor=m.has_sensor,
            sensor_runs=self.sensor.runs,
            multiply_accumulates=m.multiply_accumulates,
        )

    def _statistics(self) -> bytes:
        return pack(
            MessageType.STATISTICS_REPLY,
            step=self.step,
            frames=self.frames,
            crc_errors=self.reader.bad_frames,
            framing_errors=0,
            repeats=self.repeats,
            gaps=self.gaps,
            overruns=0,
            ring_bytes=10,
            stack_bytes=1000,
            static_ram_bytes=24_000,
            stack_size_bytes=4096,
            inference_stack_bytes=700,
            train_stack_bytes=300,
            save_stack_bytes=0,
            saves=self.saves,
            saved_step=self.saved_step,
            failed_saves=0,
            sensor_samples=self.sensor.samples,
            sensor_learned=self.sensor.learned,
            sensor_untold=0,
            heap_free_bytes=self.model.heap_bytes[0],
            heap_allocated_bytes=self.model.heap_bytes[1],
            heap_largest_free_bytes=self.model.heap_bytes[0] // 2,
            collections=3 if self.model.heap_bytes[0] else 0,
        )

    def _region(self, region: int) -> np.ndarray | bytes | None:
        m = self.model
        if region == Region.BOARD:
            return m.board.encode()
        if region == Region.INTERFACE:
            return b"".join(pack_record(tensor) for tensor in m.interface)
        if region == Region.LABELS:
            if m.label_bytes:
                names = [*self.names, *[""] * (m.outputs - len(self.names))]
                return b"".join(name.encode().ljust(m.label_bytes, b"\0") for name in names)
            return "\n".join(m.labels).encode() if m.labels else None
        if not m.trainable:
            return None
        arrays = {Region.HEAD_WEIGHTS: self.q, Region.HEAD_BIAS: self.bias}
        if m.residual is not ResidualCode.FLOAT:
            arrays |= {
                Region.HEAD_ROW_T: self.row_t,
                Region.HEAD_ROW_RHO: self.row_rho,
                Region.HEAD_ROW_M: self.row_m,
                Region.HEAD_ROW_R: self.row_r,
            }
        if m.residual is ResidualCode.INT8:
            arrays[Region.HEAD_RESIDUAL] = self.l
        return arrays.get(Region(region)) if region in Region._value2member_map_ else None

    def _read(self, sequence: int, fields) -> bytes:
        found = self._region(fields.integer("region"))
        offset = fields.integer("offset")
        data = found.tobytes() if isinstance(found, np.ndarray) else found
        if data is None or offset > len(data):
            return self._acknowledge(sequence, Status.BAD_REGION)
        room = self.model.max_reply_bytes - message(MessageType.READ_REPLY).size_bytes
        tail = data[offset : offset + min(fields.integer("length"), room)]
        payload = pack(
            MessageType.READ_REPLY,
            region=fields.integer("region"),
            index=0,
            offset=offset,
            total_bytes=len(data),
            tail=tail,
        )
        return encode_frame(MessageType.READ_REPLY, sequence, payload)

    def _write(self, payload: bytes) -> Status:
        fields = unpack(MessageType.WRITE, payload)
        number, offset = fields.integer("region"), fields.integer("offset")
        found = self._region(number)
        if found is None or offset + len(fields.tail) > memoryview(found).nbytes:
            return Status.BAD_REGION
        if not isinstance(found, np.ndarray) or number in (Region.HEAD_ROW_M, Region.HEAD_ROW_R):
            return Status.READ_ONLY
        found.reshape(-1).view(np.uint8)[offset : offset + len(fields.tail)] = np.frombuffer(fields.tail, np.uint8)
        return Status.OK

    def _reset(self, _: bytes) -> Status:
        if not self.model.trainable:
            return Status.NOT_TRAINABLE
        self.reset_head()
        self.step = 0
        return Status.OK

    def _set_learning_rate(self, payload: bytes) -> Status:
        fields = unpack(MessageType.SET_LEARNING_RATE, payload)
        asked = fields.integer("mantissa"), fields.integer("exponent")
        if decode_learning_rate(*asked) > 0.5:
            return Status.LEARNING_RATE
        self.learning_rate = asked
        return Status.OK

    def weights(self) -> np.ndarray:
        if self.model.residual is ResidualCode.FLOAT:
            return self.q.astype(np.float64)
        return (256.0 * self.q + self.l - 128.0) / 64 / 256

    def _learn(self, gradient: np.ndarray, x: np.ndarray) -> None:
        rate = decode_learning_rate(*self.learning_rate)
        weights = self.weights() - rate * np.outer(gradient, x)
        if self.model.residual is ResidualCode.FLOAT:
            self.q[:] = weights
            return
        u = np.clip(128 + np.round(256 * 64 * weights), -32768, 32767).astype(np.int64)
        self.q[:] = u >> 8
        if self.model.residual is ResidualCode.INT8:
            self.l[:] = u & 255

    def _sample(self, payload: bytes) -> Status | bytes:
        m = self.model
        if self.sensor.runs:
            return Status.SENSOR_RUNS
        fields = unpack(MessageType.SAMPLE, payload)
        flags, label = SampleFlag(fields.integer("flags")), fields.integer("label")
        offset = fields.integer("offset")
        expected = m.inputs - offset + (2 * m.outputs if flags & SampleFlag.HAS_TARGETS else 0)
        if offset > m.inputs or len(fields.tail) != expected:
            return Status.BAD_LENGTH
        train = bool(flags & SampleFlag.TRAIN)
        if train and not m.trainable:
            return Status.NOT_TRAINABLE
        if flags & SampleFlag.HAS_LABEL and label >= m.outputs:
            return Status.BAD_LABEL
        if self.compute_s:
            time.sleep(self.compute_s)
        self.parts[offset:] = fields.tail[: m.inputs - offset]
        values = self._judge(flags, label, fields.integer("threshold"), fields.tail[m.inputs - offset :])
        return pack(MessageType.RESULT, **values)

    def _judge(self, flags: SampleFlag, label: int, threshold: int, target_bytes: bytes) -> dict[str, float]:
        """Predict the sample in `parts` and learn it as the flags say; the fields of its RESULT."""
        m = self.model
        train = bool(flags & SampleFlag.TRAIN)
        done = ResultFlag(0)
        x = np.frombuffer(bytes(self.parts), np.int8) * FEATURE_SCALE
        logits = self.weights() @ x
        loss_a = loss_b = confidence = 0
        if m.loss is LossCode.CROSS_ENTROPY:
            exponentials = np.exp(logits - logits.max())
            probabilities = exponentials / exponentials.sum()
            confidence = round(32768 * probabilities.max())
            if flags & SampleFlag.HAS_LABEL:
                loss_a = round((logits.max() - logits[label]) * 2**FRACTION_BITS)
                loss_b = round(exponentials.sum() * 32768)
                done |= ResultFlag.HAS_LOSS
                gradient = probabilities - np.eye(m.outputs)[label]
        elif flags & (SampleFlag.HAS_TARGETS | SampleFlag.TARGET_IS_INPUT):
            if flags & SampleFlag.HAS_TARGETS:
                targets = np.frombuffer(target_bytes, "<i2") * 2.0 ** (m.target_shift - FRACTION_BITS)
            else:
                targets = x
            gradient = logits - targets
            g = np.round(gradient * 2.0 ** (FRACTION_BITS - m.error_shift)).astype(np.int64)
            loss_a, loss_b = divmod(int((g * g).sum()), 65536)
            done |= ResultFlag.HAS_LOSS
        if train and flags & SampleFlag.SELF_LABEL:
            label = int(np.argmax(logits))
            gradient = probabilities - np.eye(m.outputs)[label]
            train = confidence >= threshold
            done |= ResultFlag.SELF_LABELLED if train else ResultFlag(0)
        if train:
            self._learn(gradient, x)
            self.step += 1
            self.classes = max(self.classes, label + 1) if self.classes else 0
            done |= ResultFlag.LEARNED
        self.applied.append((label, self.parts[0], train))
        return {
            "prediction": int(np.argmax(logits)),
            "confidence": confidence,
            "loss_a": loss_a,
            "loss_b": loss_b,
            "step": self.step,
            "inference_ticks": 1234,
            "train_ticks": 567 if train else 0,
            "stack_bytes": 1000 + 8 * min(self.step, 20),
            "saved_sequence": self.saved[1] if self.saved[0] == self.session else 2**32 - 1,
            "flags": done,
        }


class Sensor(Struct, frozen=True, kw_only=True):
    """What SET_SENSOR has set, and how far the sensor has come."""

    runs: bool = False
    is_set: bool = False
    flags: SampleFlag = SampleFlag(0)
    label: int = 0
    threshold: int = 0
    limit: int = 0
    report_every: int = 0
    samples: int = 0
    learned: int = 0

    @property
    def is_done(self) -> bool:
        """Whether all samples that were asked for are taken, or none was asked for."""
        return not self.is_set or (0 < self.limit <= self.samples)


def sensor_stream(model: Model) -> tuple[np.ndarray, np.ndarray]:
    """What the synthetic sensor gives: blobs as the device takes them, int8 [N, inputs], and a label for every third
    sample, -1 for the others."""
    x, labels = blobs(300, inputs=model.inputs, classes=model.outputs, seed=7)
    own = np.where(np.arange(len(x)) % 3 == 0, labels, -1)
    return np.clip(np.round(x / FEATURE_SCALE), -128, 127).astype(np.int8), own


def blobs(samples: int = 400, *, inputs: int = 16, classes: int = 4, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Samples around one centre for each class: float32 [N, inputs] within the fake device's input range, int [N]."""
    random = np.random.default_rng(seed)
    centres = random.normal(0, 0.3, (classes, inputs))
    labels = random.integers(0, classes, samples)
    return (centres[labels] + random.normal(0, 0.45, (samples, inputs))).astype(np.float32), labels
