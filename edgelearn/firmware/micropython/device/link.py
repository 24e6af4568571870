# The link to a host: `Link(load()).run()`. It does what elearn_link.c does; docs/protocol.md says it to people.
#
# Constants that are not set here are those of elearn_protocol.h, put in when this file is generated; most are
# offsets in a payload. A frame is: type, bytes of the fixed part, sequence number of four bytes, payload, CRC. A sample
# allocates nothing: numbers of 32 bits, which would be objects on the heap, stay bytes that only viper looks at.
import gc
import select
import struct
import sys
import time
from array import array

import micropython
from micropython import const

from . import facts
from .memory import add_crc, address

# Constants of the protocol

# Places in Model.counters.
_STEP = const(0)
_BOOT = const(1)
_AUTOSAVE_STEPS = const(2)
_CLASSES = const(5)
_SESSION = const(6)
_NEXT_SEQUENCE = const(7)

_SILENCE_MS = const(50)  # after which no frame goes on
_SILENCES = const(10)  # after which what came alone was meant for somebody else; a busy host may pause within a frame
_DATA_BYTES = const(64)  # that are read at once
# The same where a reader blocks. If a host dies within a frame, its next slice takes what a tool then sends, which must
# be no more than the carriage return, Ctrl-C, carriage return that it begins with.
_SLICE_BYTES = const(3)
_REPLY_BYTES = const(256)  # a reply with its CRC is one block of COBS: one byte, at most 254, and the zero
_MOST_READ = const(234)
_FRAMES_BYTES = const(512)
_KEPT_BYTES = const(39)  # header and payload of a RESULT, the longest reply that is kept
_WRITE_TRIES = const(1000)

# What receive() returns beside the size of a frame.
_BROKEN = const(-1)
_INTERRUPTED = const(-2)
_ENDED = const(-3)

# Places in the state of receive(): what of the data is left, the frame as far as it came, and who else may be there.
_AT = const(0)
_COUNT = const(1)
_SIZE = const(2)
_BLOCK = const(3)
_PENDING = const(4)
_BAD = const(5)
_STARTED = const(6)
_STALLED = const(7)
_ALONE = const(8)
_AT_REST = const(9)
_COUNTS = const(10)
_CAPACITY = const(11)
_WHOLE = const(12)
_QUIET = const(13)

# What came alone. 0: nothing, -1: other bytes too.
_CONTROLS = const(1)  # Ctrl-A to Ctrl-D last
_RETURNS = const(2)  # only carriage returns
_RETURNED = const(3)  # carriage returns last
_CALLED = const(4)  # carriage returns, then Ctrl-C


class Link:
    """Requests and replies of one host after another.

    Args:
        model: what load() gave.
        stream: what carries the bytes, such as a machine.UART; None takes the REPL's own.
        receive_bytes: what its buffer takes while the device computes; None is what the REPL's takes.
    """

    def __init__(self, model, stream=None, receive_bytes=None):
        self._model = model
        self._is_repl = stream is None
        reader = sys.stdin.buffer if stream is None else stream
        self._writer = sys.stdout.buffer if stream is None else stream
        self._receive_bytes = receive_bytes or facts.RECEIVE_BYTES
        poller = select.poll()
        poller.register(reader, select.POLLIN)
        capacity = 10 + facts.MAX_PAYLOAD_BYTES
        self._frame = bytearray(capacity)
        self._frame_at = address(self._frame)
        self._reply = bytearray(_REPLY_BYTES)
        self._kept = bytearray(_WINDOW * _KEPT_BYTES)
        self._crc = array("I", (0,))
        self._state = array("i", (0,) * 14)
        self._state[_CAPACITY] = capacity
        self._state[_COUNTS] = hasattr(reader, "any")
        # Where the bytes are not the REPL's nobody else is there to talk to.
        self._state[_AT_REST] = 0 if self._is_repl else -1
        self._waiting = (self._state, bytearray(_DATA_BYTES), self._frame, poller.ipoll, reader.readinto)
        self._any = getattr(reader, "any", None)
        self._input_bytes = sum(len(part) for part in model.inputs)
        # Bytes of a SAMPLE frame, as far as one can be sure of them: none where samples come in parts.
        whole = 10 + _SAMPLE_BYTES + self._input_bytes
        self._state[_WHOLE] = whole if whole <= capacity else 0
        self._has_head = bool(facts.OUTPUTS_OF_HEAD)
        self._is_classifier = self._has_head and facts.LOSS_KIND == _LOSS_CROSS_ENTROPY
        self._can_save = model.can_save()
        self._session_before = 0
        self._kept_count = 0
        self._frames = self._crc_errors = self._framing_errors = self._repeats = self._gaps = 0
        self._failed_saves = 0
        self._autosave_works = True
        self._flags = self._ticks = self._train_ticks = 0
        self._collections = 0
        gc.collect()
        self._heap_bytes = self._allocated = gc.mem_alloc()

    def run(self):
        """Answer until a person asks for the REPL, which raises KeyboardInterrupt, or the stream ends."""
        state, data, frame, ipoll, readinto = self._waiting
        for place in range(_ALONE):
            state[place] = 0
        state[_ALONE] = state[_AT_REST]
        # Where the link has a line of its own, Ctrl-C on the other ends it.
        micropython.kbd_intr(-1 if self._is_repl else 3)
        try:
            while True:
                size = receive(state, data, frame, ipoll, readinto, self._any, time.ticks_ms)
                if size >= 10:
                    if is_whole(frame, size, self._crc):
                        self._dispatch(size - 4)
                    else:
                        self._crc_errors += 1
                elif size >= _BROKEN:
                    self._framing_errors += 1
                elif size == _INTERRUPTED:
                    raise KeyboardInterrupt
                else:
                    return
        finally:
            if self._is_repl:
                micropython.kbd_intr(3)

    # Replies

    def _send(self, kind, fixed, tail=0):
        begin_reply(self._reply, kind, fixed, self._frame)
        self._write(6 + fixed + tail)

    # The reply of so many bytes, which is destroyed.
    def _write(self, size):
        size = seal(self._reply, size, self._crc)
        done = self._writer.write(self._reply, size)
        if done != size:
            self._write_rest(done or 0, size)

    # A UART that takes no more for a time; what is left out after that is repeated when the host asks again.
    def _write_rest(self, begin, size):
        for _ in range(_WRITE_TRIES):
            begin += self._writer.write(self._reply, begin, size - begin) or 0
            if begin == size:
                return
            time.sleep_ms(1)

    def _acknowledge(self, status):
        self._reply[7 + _ACK_STATUS] = status
        self._send(_MSG_ACK, _ACK_BYTES)

    # Requests

    def _dispatch(self, size):
        frame = self._frame
        kind = frame[0]
        sent = frame[1]
        size -= 6
        if sent > size:
            self._framing_errors += 1
            return
        self._frames += 1
        fixed = _FIXED_BYTES.get(kind, -1)
        if fixed >= 0 and sent != fixed:
            if sent < fixed:
                size = 0  # what is missing must not be filled up from the tail
            else:
                # Fields of a later version, before the tail.
                move(frame, 6 + fixed, frame, 6 + sent, size - sent)
                size -= sent - fixed
        if frame[5] & 128:
            self._read(kind, fixed, size)
        elif not is_set(self._model.counters, _SESSION):
            self._acknowledge(_STATUS_NO_SESSION)
        else:
            self._change(kind, fixed, size)

    # A request that changes state: carried out in its turn, answered as often as asked.
    def _change(self, kind, fixed, size):
        model = self._model
        counters = model.counters
        behind = count_behind(self._frame, counters)
        kept = (self._frame[2] & (_WINDOW - 1)) * _KEPT_BYTES
        if behind:
            if 0 < behind <= self._kept_count:
                self._repeats += 1
                size = 6 + self._kept[kept + 1]
                move(self._reply, 1, self._kept, kept, size)
                self._write(size)
            elif behind > 0:
                self._repeats += 1  # so old that nobody waits for it
            else:
                self._gaps += 1
                put_word(self._reply, 7 + _NAK_EXPECTED, counters, _NEXT_SEQUENCE)
                self._send(_MSG_NAK, _NAK_BYTES)
            return
        if fixed > size:
            status = _STATUS_BAD_LENGTH
        elif kind == _MSG_SAMPLE:
            status = self._sample(size)
        else:
            status = self._carry_out(kind, size)
        if kind == _MSG_SAMPLE and status == _STATUS_OK:
            put_result(self._reply, model.result, counters, model.saved, self._ticks, self._train_ticks)
            self._reply[7 + _RESULT_FLAGS] = self._flags
            kind, fixed = _MSG_RESULT, _RESULT_BYTES
        else:
            self._reply[7 + _ACK_STATUS] = status
            kind, fixed = _MSG_ACK, _ACK_BYTES
        begin_reply(self._reply, kind, fixed, self._frame)
        move(self._kept, kept, self._reply, 1, 6 + fixed)
        self._write(6 + fixed)
        count_on(counters)
        if self._kept_count < _WINDOW:
            self._kept_count += 1
        if self._autosave_works and model.is_save_due() and self._save() != _STATUS_OK:
            self._failed_saves += 1
            self._autosave_works = False

    def _read(self, kind, fixed, size):
        self._note_collection()
        if fixed < 0:
            self._acknowledge(_STATUS_UNKNOWN_TYPE)
        elif size < fixed:
            self._acknowledge(_STATUS_BAD_LENGTH)
        elif kind == _MSG_HELLO:
            self._hello()
        elif not is_set(self._model.counters, _SESSION):
            self._acknowledge(_STATUS_NO_SESSION)
        elif kind == _MSG_GOODBYE:
            self._goodbye()
        elif kind == _MSG_STATISTICS:
            self._statistics()
        elif kind == _MSG_READ:
            self._read_region()
        else:
            self._acknowledge(_STATUS_UNKNOWN_TYPE)

    def _carry_out(self, kind, size):
        if kind == _MSG_SAMPLE_PART:
            return self._sample_part(size)
        self._note_collection()
        if kind == _MSG_WRITE:
            return self._write_region(size)
        if kind == _MSG_SET_SENSOR:
            return _STATUS_NO_SENSOR
        if kind not in _OF_HEADS:
            return _STATUS_UNKNOWN_TYPE
        model = self._model
        if not self._has_head:
            return _STATUS_NOT_TRAINABLE
        if kind == _MSG_RESET_HEAD:
            model.reset()
            return _STATUS_OK
        if kind == _MSG_SET_LEARNING_RATE:
            rate = struct.unpack_from(_SET_LEARNING_RATE_FORMAT, self._frame, 6)
            return _STATUS_OK if model.set_rate(*rate) else _STATUS_LEARNING_RATE
        if kind == _MSG_SET_CLASS:
            (number,) = struct.unpack_from(_SET_CLASS_FORMAT, self._frame, 6)
            name = bytes(self._frame[6 + _SET_CLASS_BYTES : 6 + size])
            return _STATUS_OK if model.set_class(number, name) else _STATUS_BAD_CLASS
        if not self._can_save:
            return _STATUS_NO_STORE
        if kind == _MSG_SET_AUTOSAVE:
            (model.counters[_AUTOSAVE_STEPS],) = struct.unpack_from(_SET_AUTOSAVE_FORMAT, self._frame, 6)
            return _STATUS_OK
        if kind == _MSG_SAVE:
            return self._save()
        try:
            model.forget()
        except OSError:
            return _STATUS_STORE_FAILED
        return _STATUS_OK

    def _save(self):
        try:
            self._model.save()
        except (OSError, MemoryError):
            return _STATUS_STORE_FAILED
        self._autosave_works = True
        return _STATUS_OK

    # Sessions

    def _hello(self):
        model = self._model
        counters = model.counters
        version, wanted, first, resume = struct.unpack_from(_HELLO_FORMAT, self._frame, 6)
        # The hello that opened the session may arrive twice, and one of a session that is over late.
        over = (0, counters[_SESSION], self._session_before, model.saved[_SESSION])
        if version == _PROTOCOL_VERSION and not resume and wanted not in over:
            self._session_before = counters[_SESSION]
            counters[_SESSION] = wanted
            counters[_NEXT_SEQUENCE] = first & 0x7FFFFFFF
            self._kept_count = 0
        saved = model.saved
        head = (0, 0.0, 0, 0, 0, 0, 0, 0, 0, 0)
        if self._has_head:
            head = (
                facts.FEATURES,
                facts.FEATURE_SCALE,
                facts.FEATURE_ZERO_POINT,
                facts.LOGIT_FRACTION_BITS,
                facts.ERROR_SHIFT,
                facts.TARGET_SHIFT,
                facts.LOSS_KIND,
                facts.RESIDUAL,
            ) + struct.unpack("<HB", model.learning_rate_bytes)
        struct.pack_into(
            _HELLO_REPLY_FORMAT,
            self._reply,
            7,
            _PROTOCOL_VERSION,
            counters[_SESSION],
            *facts.IDENTITY[:2],
            facts.MAX_PAYLOAD_BYTES,
            *head,
            counters[_STEP],
            1000000,
            self._heap_bytes,
            0,
            counters[_BOOT],
            counters[_NEXT_SEQUENCE],
            _WINDOW,
            self._receive_bytes,
            counters[_CLASSES],
            facts.LABEL_BYTES,
            self._can_save,
            self._saves(),
            saved[_STEP],
            saved[_SESSION],
            saved[_NEXT_SEQUENCE],
            counters[_AUTOSAVE_STEPS],
            0,
            0,
            facts.MULTIPLY_ACCUMULATES,
            *(0,) * 7,
        )
        self._send(_MSG_HELLO_REPLY, _HELLO_REPLY_BYTES)

    def _saves(self):
        return self._model.store.number() if self._has_head else 0

    # The host leaves: the session that it names is over.
    def _goodbye(self):
        counters = self._model.counters
        if struct.unpack_from(_GOODBYE_FORMAT, self._frame, 6)[0] == counters[_SESSION]:
            self._session_before = counters[_SESSION]
            counters[_SESSION] = 0
        self._acknowledge(_STATUS_OK)

    def _statistics(self):
        counters = self._model.counters
        struct.pack_into(
            _STATISTICS_REPLY_FORMAT,
            self._reply,
            7,
            counters[_STEP],
            self._frames,
            self._crc_errors,
            self._framing_errors,
            self._repeats,
            self._gaps,
            0,
            0,
            0,
            self._heap_bytes,
            0,
            0,
            0,
            0,
            self._saves(),
            self._model.saved[_STEP],
            self._failed_saves,
            0,
            0,
            0,
            gc.mem_free(),
            gc.mem_alloc(),
            largest_free(),
            self._collections,
        )
        self._allocated = 0
        self._send(_MSG_STATISTICS_REPLY, _STATISTICS_REPLY_BYTES)

    # Samples allocate nothing, any other request far less than is free: where clearly less is allocated than at the one
    # before, there was one collection. MicroPython itself counts none. Frames of functions come and go without any.
    def _note_collection(self):
        allocated = gc.mem_alloc()
        if allocated + _FRAMES_BYTES < self._allocated:
            self._collections += 1
        self._allocated = allocated

    # Samples

    def _sample(self, size):
        frame = self._frame
        flags = frame[6 + _SAMPLE_FLAGS]
        offset = get_length(frame, 6 + _SAMPLE_OFFSET)
        expected = _SAMPLE_BYTES + self._input_bytes
        if flags & _SAMPLE_HAS_TARGETS and self._has_head:
            expected += 2 * facts.OUTPUTS_OF_HEAD
        if offset > self._input_bytes or size != expected - offset:
            return _STATUS_BAD_LENGTH
        label = frame[6 + _SAMPLE_LABEL] | frame[7 + _SAMPLE_LABEL] << 8
        status = self._check(flags, label)
        if status == _STATUS_OK:
            count = self._input_bytes - offset
            self._put_inputs(offset, 6 + _SAMPLE_BYTES, count)
            self._flags = self._learn(flags, label, 6 + _SAMPLE_BYTES + count)
        return status

    def _check(self, flags, label):
        if not self._has_head:
            return _STATUS_NOT_TRAINABLE if flags & _SAMPLE_TRAIN else _STATUS_OK
        if flags & _SAMPLE_HAS_LABEL and label >= facts.OUTPUTS_OF_HEAD:
            return _STATUS_BAD_LABEL
        if flags & _SAMPLE_TARGET_IS_INPUT and not facts.INPUT_IS_TARGET:
            return _STATUS_BAD_TARGET
        if flags & _SAMPLE_SELF_LABEL and not self._is_classifier:
            return _STATUS_BAD_LABEL
        if flags & _SAMPLE_TRAIN:
            if self._is_classifier:
                if not flags & (_SAMPLE_HAS_LABEL | _SAMPLE_SELF_LABEL):
                    return _STATUS_BAD_LABEL
            elif not flags & (_SAMPLE_HAS_TARGETS | _SAMPLE_TARGET_IS_INPUT):
                return _STATUS_BAD_TARGET
        return _STATUS_OK

    # Bytes of the frame into the inputs, which count as one after another.
    def _put_inputs(self, offset, begin, count):
        for part in self._model.inputs:
            size = len(part)
            if offset >= size:
                offset -= size
            else:
                size -= offset
                if size > count:
                    size = count
                move(part, offset, self._frame, begin, size)
                begin += size
                count -= size
                offset = 0

    # Forward pass, loss, and the update that is asked for; returns ResultFlags. The targets begin there in the frame.
    def _learn(self, flags, label, targets_begin):
        model = self._model
        self._train_ticks = 0
        start = time.ticks_us()
        model.predict()
        self._ticks = time.ticks_diff(time.ticks_us(), start)
        if not self._has_head:
            model.result[0] = model.prediction & 255
            model.result[1] = model.prediction >> 8
            return 0
        done = 0
        if self._is_classifier:
            if flags & _SAMPLE_HAS_LABEL:
                model.use_label(label)
                done = _RESULT_HAS_LOSS
        elif flags & (_SAMPLE_HAS_TARGETS | _SAMPLE_TARGET_IS_INPUT):
            if flags & _SAMPLE_HAS_TARGETS:
                model.use_targets(self._frame, targets_begin)
            else:
                model.use_targets(None)
            done = _RESULT_HAS_LOSS
        if done:
            model.measure()
        if not flags & _SAMPLE_TRAIN:
            return done
        if flags & _SAMPLE_SELF_LABEL:
            if not is_sure(model.result, self._frame, 6 + _SAMPLE_THRESHOLD):
                return done
            label = model.prediction
            model.use_label(label)
            done |= _RESULT_SELF_LABELLED
        start = time.ticks_us()
        model.train(label)
        self._train_ticks = time.ticks_diff(time.ticks_us(), start)
        return done | _RESULT_LEARNED

    def _sample_part(self, size):
        offset = get_length(self._frame, 6 + _SAMPLE_PART_OFFSET)
        count = size - _SAMPLE_PART_BYTES
        if offset > self._input_bytes or count > self._input_bytes - offset:
            return _STATUS_BAD_LENGTH
        self._put_inputs(offset, 6 + _SAMPLE_PART_BYTES, count)
        return _STATUS_OK

    # Memory that the host may read or write by name

    def _region(self, name, index):
        model = self._model
        if name == _REGION_LABELS:
            return model.head["names"] if facts.LABEL_BYTES else facts.LABELS
        if name == _REGION_BOARD:
            return facts.BOARD.encode()
        if name == _REGION_INTERFACE:
            return facts.INTERFACE
        if name == _REGION_INPUT:
            return model.inputs[index] if index < len(model.inputs) else None
        if name == _REGION_OUTPUT:
            return model.outputs[index] or None if index < len(model.outputs) else None
        if not self._has_head or index:
            return None
        if name == _REGION_FEATURES:
            return model.features
        if name == _REGION_HEAD_ROW_M:
            return model.constant(facts.ROW_M)
        if name == _REGION_HEAD_ROW_R:
            return model.constant(facts.ROW_R)
        if name == _REGION_LOGITS:
            return model.head["logits"]
        if name == _REGION_PROBABILITIES:
            return model.head.get("probabilities")
        return model.head.get(_WRITABLE.get(name))

    def _read_region(self):
        name, index, offset, length = struct.unpack_from(_READ_FORMAT, self._frame, 6)
        region = self._region(name, index)
        if region is None or offset > len(region):
            self._acknowledge(_STATUS_BAD_REGION)
            return
        length = min(length, len(region) - offset, _MOST_READ)
        struct.pack_into(_READ_REPLY_FORMAT, self._reply, 7, name, index, offset, len(region))
        move(self._reply, 7 + _READ_REPLY_BYTES, region, offset, length)
        self._send(_MSG_READ_REPLY, _READ_REPLY_BYTES, length)

    def _write_region(self, size):
        name, index, offset = struct.unpack_from(_WRITE_FORMAT, self._frame, 6)
        region = self._region(name, index)
        begin, count = 6 + _WRITE_BYTES, size - _WRITE_BYTES
        if region is None or offset > len(region) or count > len(region) - offset:
            return _STATUS_BAD_REGION
        if name not in _WRITABLE:
            return _STATUS_READ_ONLY
        is_row_t = name == _REGION_HEAD_ROW_T
        if (is_row_t or name == _REGION_HEAD_ROW_RHO) and not self._model.accepts(
            is_row_t, self._frame_at + begin, count
        ):
            return _STATUS_BAD_VALUE
        move(region, offset, self._frame, begin, count)
        return _STATUS_OK


_FIXED_BYTES = {
    _MSG_HELLO: _HELLO_BYTES,
    _MSG_SAMPLE: _SAMPLE_BYTES,
    _MSG_SAMPLE_PART: _SAMPLE_PART_BYTES,
    _MSG_READ: _READ_BYTES,
    _MSG_WRITE: _WRITE_BYTES,
    _MSG_SET_LEARNING_RATE: _SET_LEARNING_RATE_BYTES,
    _MSG_SET_AUTOSAVE: _SET_AUTOSAVE_BYTES,
    _MSG_SET_CLASS: _SET_CLASS_BYTES,
    _MSG_SET_SENSOR: _SET_SENSOR_BYTES,
    _MSG_GOODBYE: _GOODBYE_BYTES,
    _MSG_RESET_HEAD: 0,
    _MSG_STATISTICS: 0,
    _MSG_SAVE: 0,
    _MSG_FORGET: 0,
}
_OF_HEADS = (
    _MSG_RESET_HEAD,
    _MSG_SET_LEARNING_RATE,
    _MSG_SET_CLASS,
    _MSG_SET_AUTOSAVE,
    _MSG_SAVE,
    _MSG_FORGET,
)
_WRITABLE = {
    _REGION_HEAD_WEIGHTS: "weights",
    _REGION_HEAD_RESIDUAL: "residual",
    _REGION_HEAD_BIAS: "bias",
    _REGION_HEAD_ROW_T: "row_t",
    _REGION_HEAD_ROW_RHO: "row_rho",
}


# Bytes of the largest block that can be had, within 64.
def largest_free():
    gc.collect()
    least, most = 0, gc.mem_free() + 64
    while most - least > 64:
        middle = (least + most) // 2
        try:
            bytearray(middle)
            least = middle
        except MemoryError:
            most = middle
    gc.collect()
    return least


# Wait for a whole frame: its size, without COBS and its zero, or one of the numbers above.
#
# Bytes that come alone, after a silence or a zero, are perhaps meant for the REPL: Ctrl-A to Ctrl-D that nothing
# follows, which a person types, or a carriage return, Ctrl-C and the next carriage return, with which tools begin
# without waiting for an answer. What comes after that is left for the REPL. No frame begins so.
@micropython.viper
def receive(state, data, frame, ipoll, readinto, waiting, now) -> int:
    s = ptr32(state)
    d = ptr8(data)
    f = ptr8(frame)
    # What is stored goes through pointers: see kernels_conv2d.py.
    at_at = ptr32(int(s) + 4 * _AT)
    count_at = ptr32(int(s) + 4 * _COUNT)
    size_at = ptr32(int(s) + 4 * _SIZE)
    block_at = ptr32(int(s) + 4 * _BLOCK)
    pending_at = ptr32(int(s) + 4 * _PENDING)
    bad_at = ptr32(int(s) + 4 * _BAD)
    started_at = ptr32(int(s) + 4 * _STARTED)
    stalled_at = ptr32(int(s) + 4 * _STALLED)
    alone_at = ptr32(int(s) + 4 * _ALONE)
    quiet_at = ptr32(int(s) + 4 * _QUIET)
    capacity = int(s[_CAPACITY])
    last = int(now())
    while True:
        at = int(s[_AT])
        count = int(s[_COUNT])
        size = int(s[_SIZE])
        block = int(s[_BLOCK])
        while at < count:
            byte = int(d[at])
            at += 1
            alone = int(s[_ALONE])
            if alone >= 0:
                if byte == 13:
                    if alone == _CALLED:
                        at_at[0] = at
                        return _INTERRUPTED
                    if alone == 0:
                        alone_at[0] = _RETURNS
                    elif alone == _CONTROLS:
                        alone_at[0] = _RETURNED
                elif byte and byte <= 4:
                    alone_at[0] = _CALLED if byte == 3 and alone >= _RETURNS else _CONTROLS
                else:
                    # The end of what came after a long wait may be meant so.
                    alone_at[0] = int(s[_STALLED]) - 1
            if byte == 0:
                broken = int(s[_BAD])
                if block:
                    broken = 1
                started = int(s[_STARTED])
                at_at[0] = at
                size_at[0] = 0
                block_at[0] = 0
                pending_at[0] = 0
                bad_at[0] = 0
                started_at[0] = 0
                alone_at[0] = s[_AT_REST]
                if started:
                    return _BROKEN if broken else size
                size = 0
                block = 0
            elif block:
                if size < capacity:
                    f[size] = byte
                    size += 1
                else:
                    bad_at[0] = 1
                block -= 1
            else:
                started_at[0] = 1
                if int(s[_PENDING]):
                    if size < capacity:
                        f[size] = 0
                        size += 1
                    else:
                        bad_at[0] = 1
                block = byte - 1
                pending_at[0] = 0 if byte == 255 else 1
        size_at[0] = size
        block_at[0] = block
        at_at[0] = 0
        count_at[0] = 0
        stalled_at[0] = 0
        if int(s[_ALONE]) < 0 and int(s[_AT_REST]) == 0:
            # Within a frame, on the REPL's line: what is sure to come is read without asking whether it is there.
            wanted = block + 1
            if size and f[0] == _MSG_SAMPLE and int(s[_WHOLE]) - size > wanted:
                wanted = int(s[_WHOLE]) - size
            if wanted > _SLICE_BYTES:
                wanted = _SLICE_BYTES
            got = readinto(data, wanted)
            if not got:
                return _ENDED
            count_at[0] = int(got)
            before = last
            last = int(now())
            if last - before >= _SILENCE_MS:
                alone_at[0] = 0
                stalled_at[0] = 1
            continue
        ready = False
        for _ in ipoll(_SILENCE_MS):
            ready = True
        if ready:
            quiet_at[0] = 0
            wanted = 1
            if int(s[_COUNTS]):
                wanted = int(waiting())
                if wanted < 1:
                    wanted = 1
                if wanted > _DATA_BYTES:
                    wanted = _DATA_BYTES
            got = readinto(data, wanted)
            if got:
                count_at[0] = int(got)
            elif not int(s[_COUNTS]):
                return _ENDED
            last = int(now())
        else:
            quiet = int(s[_QUIET]) + 1
            alone = int(s[_ALONE])
            if alone <= 0 or alone == _RETURNS:
                alone_at[0] = s[_AT_REST]
            elif quiet < _SILENCES:
                quiet_at[0] = quiet
            else:
                return _INTERRUPTED


# Whether the CRC at the end of a frame is right.
@micropython.viper
def is_whole(frame, size: int, crc) -> bool:
    f = ptr8(frame)
    c = ptr32(crc)
    size -= 4
    c[0] = 0
    add_crc(frame, 0, size, crc)
    received = int(f[size]) | int(f[size + 1]) << 8 | int(f[size + 2]) << 16 | int(f[size + 3]) << 24
    return received == int(c[0])


# The header of a reply, which begins at 1: at 0 is room for COBS. Its number is that of the request.
@micropython.viper
def begin_reply(reply: ptr8, kind: int, fixed: int, frame: ptr8):
    at = 1
    reply[at] = kind
    reply[at + 1] = fixed
    for i in range(2, 6):
        reply[at + i] = frame[i]


# Put the CRC and COBS to a reply, header and payload of so many bytes; how many bytes to send.
@micropython.viper
def seal(reply, size: int, crc) -> int:
    r = ptr8(reply)
    c = ptr32(crc)
    c[0] = 0
    add_crc(reply, 1, size, crc)
    value = int(c[0])
    size += 1
    for i in range(4):
        r[size + i] = value >> (8 * i)
    size += 4
    last = 0
    for i in range(1, size):
        if r[i] == 0:
            r[last] = i - last
            last = i
    r[last] = size - last
    r[size] = 0
    return size + 1


# The same at another place, where what is moved down may overlap.
@micropython.viper
def move(to: ptr8, begin: int, source: ptr8, first: int, count: int):
    for i in range(count):
        to[begin + i] = source[first + i]


@micropython.viper
def is_set(words: ptr32, index: int) -> bool:
    return words[index] != 0


# How far a request is behind the next one, at most 1000; below 0 where it comes too early. Numbers have 31 bits.
@micropython.viper
def count_behind(frame: ptr8, counters: ptr32) -> int:
    sequence = int(frame[2]) | int(frame[3]) << 8 | int(frame[4]) << 16 | int(frame[5]) << 24
    behind = ((int(counters[_NEXT_SEQUENCE]) - sequence) << 1) >> 1
    if behind < 0:
        return -1
    return behind if behind < 1000 else 1000


@micropython.viper
def count_on(counters: ptr32):
    place = _NEXT_SEQUENCE
    number = int(counters[place]) + 1
    counters[place] = number if number >= 0 else 0


# A length of 32 bits; one beyond all memory is cut, so that it needs no object.
@micropython.viper
def get_length(frame: ptr8, at: int) -> int:
    if int(frame[at + 3]):
        return 1 << 24
    return int(frame[at]) | int(frame[at + 1]) << 8 | int(frame[at + 2]) << 16


@micropython.viper
def put_word(reply: ptr8, at: int, words: ptr32, index: int):
    value = int(words[index])
    for i in range(4):
        reply[at + i] = value >> (8 * i)


# Whether the confidence of a result has reached the threshold of the sample.
@micropython.viper
def is_sure(result: ptr8, frame: ptr8, at: int) -> bool:
    return int(result[2]) | int(result[3]) << 8 >= int(frame[at]) | int(frame[at + 1]) << 8


# A RESULT but for its flags. It begins like elearn_head_result.
@micropython.viper
def put_result(reply, result, counters, saved, ticks: int, train_ticks: int):
    r = ptr8(reply)
    head = ptr8(result)
    c = ptr32(counters)
    s = ptr32(saved)
    for i in range(12):
        r[7 + i] = head[i]
    step = int(c[_STEP])
    learned = -1
    if c[_SESSION] == s[_SESSION]:
        learned = int(s[_NEXT_SEQUENCE])
    for i in range(4):
        shift = 8 * i
        r[7 + _RESULT_STEP + i] = step >> shift
        r[7 + _RESULT_INFERENCE_TICKS + i] = ticks >> shift
        r[7 + _RESULT_TRAIN_TICKS + i] = train_ticks >> shift
        r[7 + _RESULT_STACK_BYTES + i] = 0
        r[7 + _RESULT_SAVED_SEQUENCE + i] = learned >> shift
