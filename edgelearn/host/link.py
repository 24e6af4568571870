"""Requests and replies over a transport that may lose, repeat, corrupt or delay bytes.

Requests that change state are numbered one after another and carried out by the device in that order; several may be
under way, as many as the device keeps replies and its receive buffer takes bytes. When one is lost the device says so
(NAK), or a time-out does, and everything from it on is sent again with the same numbers and bytes (go-back-N); what was
carried out already is answered from the device's memory. Requests that only read have numbers of their own and are
repeated one by one. What arrives under a number that nobody waits for is dropped and counted.

A link that keeps a journal survives resets of the device and breaks of the port: requests that were carried out stay in
it until the device says that they are in its newest saved head. `recovery` is called where the device has forgotten the
session or the port has failed; it opens both again, and `replay` sends what the device does not know any more.
"""

from __future__ import annotations

import functools
import itertools
import re
import secrets
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from edgelearn.errors import DeviceRefusedError, DeviceResetError, DeviceTimeoutError, PortError
from edgelearn.host.transport import Transport
from edgelearn.protocol import (
    READING,
    Frame,
    FrameError,
    FrameReader,
    MessageType,
    Payload,
    Status,
    encode_frame,
    encoded_bytes,
    message,
    unpack,
)
from edgelearn.words import count

#: The reply that each request expects.
REPLIES: dict[MessageType, MessageType] = {
    MessageType.HELLO: MessageType.HELLO_REPLY,
    MessageType.SAMPLE: MessageType.RESULT,
    MessageType.READ: MessageType.READ_REPLY,
    MessageType.WRITE: MessageType.ACK,
    MessageType.RESET_HEAD: MessageType.ACK,
    MessageType.SET_LEARNING_RATE: MessageType.ACK,
    MessageType.STATISTICS: MessageType.STATISTICS_REPLY,
    MessageType.SAMPLE_PART: MessageType.ACK,
    MessageType.SAVE: MessageType.ACK,
    MessageType.FORGET: MessageType.ACK,
    MessageType.SET_AUTOSAVE: MessageType.ACK,
    MessageType.SET_CLASS: MessageType.ACK,
    MessageType.SET_SENSOR: MessageType.ACK,
    MessageType.GOODBYE: MessageType.ACK,
}

#: What each refusal means to a person.
STATUS_TEXT: dict[Status, str] = {
    Status.OK: "carried out",
    Status.UNKNOWN_TYPE: "it does not know this kind of request",
    Status.BAD_LENGTH: "the request has the wrong length for its model",
    Status.NO_SESSION: "no session is open",
    Status.BAD_REGION: "it has no such region of memory, or the bytes are outside it",
    Status.BAD_LABEL: "the label is not one of its classes",
    Status.NOT_TRAINABLE: "its model has no trainable head",
    Status.LEARNING_RATE: "its integer update cannot represent this learning rate",
    Status.READ_ONLY: "that memory can only be read",
    Status.BAD_VERSION: "it speaks another version of the protocol",
    Status.BAD_TARGET: "the targets do not fit its loss",
    Status.BAD_VALUE: "the values are outside what its arithmetic can hold",
    Status.NO_STORE: "it has no memory that keeps a head without power",
    Status.STORE_FAILED: "its memory did not take the head; what was saved before, if anything, is still there",
    Status.BAD_CLASS: "it has no such class, no room for another, or the name is empty or too long",
    Status.SENSOR_RUNS: "it takes its samples from its own sensor just now, which has to be stopped first",
    Status.NO_SENSOR: "its firmware was generated without a sensor",
    Status.SENSOR_IDLE: "its sensor was not started, or has taken all the samples that it was started for",
}


#: Silence of this length is told, more where the device is known to take longer.
QUIET_S = 2.0
#: A repeat is answered by then, or it is worth telling.
REPEAT_ANSWERED_S = 0.5
#: While `Link.silence` listens, nothing is waited for longer than this at a time.
LISTEN_S = 0.2

#: Ctrl-B, upon which MicroPython's prompt shows its version. To firmware of ours it is noise.
_ASK_FOR_PROMPT = b"\r\x02"
#: With this byte, Ctrl-C, MicroPython ends what it runs while it starts: its file system may never appear.
_INTERRUPT = 3
#: Of so many numbers, so far apart that all bytes but the highest change, one gives a HELLO without it, unless the
#: session's number has it.
_HARMLESS_WITHIN, _HARMLESS_STEP = 1000, 0x01_0101
_PROMPT_S = 1.0
#: A vendor's own build names a tag or a commit of its own.
_BANNER = re.compile(r"MicroPython \S+ on \d{4}-\d{2}-\d{2}; .+")
#: What was learned and not saved is kept up to this size, to send it again after a reset.
MOST_JOURNAL_BYTES = 64 * 2**20
#: What the device has said unasked is kept up to so many frames; then the oldest go.
MOST_UNASKED = 4096


def is_before(sequence: int, other: int) -> bool:
    """Whether a number comes before another; they wrap around at READING."""
    return (other - sequence - 1) % READING < READING // 2


def _was_reset(port: str) -> DeviceResetError:
    return DeviceResetError(
        f"the device at {port} was reset",
        cause="it no longer knows the session that was open",
        hint="what it had learned since it was last saved is lost; check its supply, then start again",
    )


class LinkOptions(Struct, frozen=True, kw_only=True):
    """Times of a link, in seconds.

    Attributes:
        first_timeout_s: before the first repeat of a kind of request whose round trip was not measured yet.
        min_timeout_s: the shortest time before a repeat.
        max_timeout_s: the longest time between two repeats.
        give_up_s: silence of this length ends it; more where the measured round trip is long, see `give_up_after`.
        first_give_up_s: the same for a kind of request whose round trip was not measured yet: a large model on a slow
            device takes long for its first answer.
        give_up_round_trips: never give up before that many measured round trips.
    """

    first_timeout_s: float = 2.0
    min_timeout_s: float = 0.2
    max_timeout_s: float = 5.0
    give_up_s: float = 10.0
    first_give_up_s: float = 30.0
    give_up_round_trips: float = 10.0


class Silence(NamedTuple):
    """The device was asked something, and nothing comes.

    Attributes:
        quiet_s: for how long.
        left_s: for how long it is asked again before that ends in an error.
    """

    quiet_s: float
    left_s: float


class LinkCounters(Struct, frozen=True, kw_only=True):
    """What the link has seen so far.

    Attributes:
        requests: requests answered.
        retries: frames sent again.
        bad_frames: pieces of received bytes that were no frame.
        stale_frames: good frames that nobody waited for: late or repeated replies.
        gaps: times that the device told of a request that did not arrive.
        round_trip_s: of the last answered request, 0 before the first.
        round_trip_mean_s: over all that were answered without a repeat.
        round_trip_p95_s: 95th percentile of the last 1,000 of these.
    """

    requests: int = 0
    retries: int = 0
    bad_frames: int = 0
    stale_frames: int = 0
    gaps: int = 0
    round_trip_s: float = 0.0
    round_trip_mean_s: float = 0.0
    round_trip_p95_s: float = 0.0


class RoundTrip:
    """The adaptive time-out of one kind of request, after RFC 6298.

    A smoothed mean plus four deviations. A round trip with a repeat says nothing (Karn), but the longer time-out that
    it needed is kept until one without a repeat was measured: a device that became slower is not asked twice for ever.
    """

    def __init__(self, options: LinkOptions) -> None:
        self._options = options
        self._mean_s: float | None = None
        self._deviation_s = 0.0
        self._backed_off_s = 0.0

    def measured(self, seconds: float) -> None:
        """Learn from a round trip that needed no repeat."""
        if self._mean_s is None:
            self._mean_s, self._deviation_s = seconds, seconds / 2
        else:
            self._deviation_s += (abs(seconds - self._mean_s) - self._deviation_s) / 4
            self._mean_s += (seconds - self._mean_s) / 8
        self._backed_off_s = 0.0

    def repeated(self, timeout_s: float) -> None:
        """Learn from an answer that came only after a repeat, with the time-out that was running then."""
        self._backed_off_s = timeout_s

    @property
    def timeout_s(self) -> float:
        """Seconds to wait before the first repeat."""
        options = self._options
        estimate = options.first_timeout_s if self._mean_s is None else self._mean_s + 4 * self._deviation_s
        longest = max(options.max_timeout_s, 1.5 * (self._mean_s or 0.0))
        return min(max(estimate, options.min_timeout_s, self._backed_off_s), longest)

    @property
    def quiet_s(self) -> float:
        """Seconds after which silence is worth telling; what lost frames have cost before does not count."""
        usual_s = self._options.first_timeout_s if self._mean_s is None else self._mean_s + 4 * self._deviation_s
        return max(QUIET_S, usual_s)

    @property
    def give_up_s(self) -> float:
        """Seconds of silence after which to give up."""
        if self._mean_s is None:
            return max(self._options.first_give_up_s, self._options.give_up_s)
        return max(self._options.give_up_s, self._options.give_up_round_trips * self._mean_s)


class Pending:
    """A request that waits for its reply, in `reply` once it has come."""

    def __init__(self, type_: MessageType, sequence: int, payload: bytes) -> None:
        self.type = type_
        self.sequence = sequence
        self.payload = payload
        self.data = encode_frame(type_, sequence, payload)
        #: Number of the sample that it carries, for whoever keeps a record.
        self.sample: int | None = None
        #: Whether it changes something that a person asked for meanwhile, see `Link.is_asked`.
        self.is_asked = False
        self.reply: Frame | None = None
        self.attempts = 0
        self.first_sent_s = 0.0
        self.last_sent_s = 0.0
        self.round_trip_s = 0.0
        #: Carried out and saved by the device, but it was reset before the reply arrived.
        self.is_reply_lost = False
        self.timeout_s = 0.0
        self.retry_at_s = 0.0
        self.give_up_at_s = 0.0


def _compare(one: Pending, other: Pending) -> int:
    if one.sequence == other.sequence:
        return 0
    return -1 if is_before(one.sequence, other.sequence) else 1


#: Sorts requests that change state into the order in which they are carried out.
_IN_ORDER = functools.cmp_to_key(_compare)


class Answer(NamedTuple):
    """A reply, or the status of a refusal."""

    payload: bytes
    status: Status | int


def harmless_number(bits: int) -> int:
    """A random number for HELLO that brings no Ctrl-C into its frame; no byte is 0 either, which COBS makes another."""
    while True:
        number = secrets.randbits(bits)
        if not {0, _INTERRUPT} & {*number.to_bytes(4, "little")}:
            return number


class Link:
    """Requests and replies with one device.

    Args:
        transport: the open port; the link does not close it.
        options: its times.
        clock: monotonic seconds; tests bring their own.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        options: LinkOptions | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.transport = transport
        self.options = options or LinkOptions()
        #: Set once HELLO was answered: a device that knows of no session after that was reset.
        self.session_is_open = False
        self._clock = clock
        self._reader = FrameReader()
        # Random, so that a late reply from an earlier program on the same port is not taken for one of ours.
        self._next_reading = secrets.randbelow(2**30)
        self._next_change = secrets.randbelow(READING)
        self._window = 1
        self._receive_bytes = 0
        #: By sequence number, in the order of sending.
        self._changes: dict[int, Pending] = {}
        self._readings: dict[int, Pending] = {}
        self._naked: int | None = None
        #: Requests to be sent again, in order, before any new one.
        self._unsent: deque[Pending] = deque()
        #: Carried out, and perhaps not saved yet; None where none is kept.
        self._journal: deque[Pending] | None = None
        self._journal_bytes = 0
        #: Called with what happened; it opens the session again, or raises.
        self.recovery: Callable[[DeviceResetError | PortError], None] | None = None
        #: Called with each request that carries a sample, or was asked for, when it has got its number, before it goes.
        self.numbered: Callable[[Pending], None] | None = None
        #: Set while what a person asks for is carried out.
        self.is_asked = False
        self._is_recovering = False
        #: Called every moment while the device is silent, and with None when it answers again; may raise to end that.
        self.silence: Callable[[Silence | None], None] | None = None
        #: Whether the device was silent when something was last waited for.
        self.is_silent = False
        #: While `recovery` is at work: until when it tries.
        self.recovers_until_s: float | None = None
        self._heard_s = 0.0
        #: SENSOR_EVENTs that nobody has looked at yet.
        self.unasked: deque[Frame] = deque(maxlen=MOST_UNASKED)
        self._round_trips: dict[MessageType, RoundTrip] = {}
        self._recent_s: deque[float] = deque(maxlen=1000)
        self._total_s = 0.0
        self._measured = 0
        self._last_s = 0.0
        self._requests = 0
        self._retries = 0
        self._stale = 0
        self._gaps = 0

    @property
    def first_sequence(self) -> int:
        """The number of the next request that changes state: what HELLO tells the device."""
        return self._next_change

    @property
    def window(self) -> int:
        """Requests that may be under way; the device keeps as many replies."""
        return self._window

    @property
    def counters(self) -> LinkCounters:
        """A snapshot of what the link has seen."""
        recent = sorted(self._recent_s)
        return LinkCounters(
            requests=self._requests,
            retries=self._retries,
            bad_frames=self._reader.bad_frames,
            stale_frames=self._stale,
            gaps=self._gaps,
            round_trip_s=self._last_s,
            round_trip_mean_s=self._total_s / self._measured if self._measured else 0.0,
            round_trip_p95_s=recent[min(len(recent) - 1, len(recent) * 95 // 100)] if recent else 0.0,
        )

    @property
    def retries(self) -> int:
        """Frames sent again so far."""
        return self._retries

    @property
    def bad_frames(self) -> int:
        """Pieces of received bytes that were no frame, so far."""
        return self._reader.bad_frames

    @property
    def round_trip_s(self) -> float:
        """Seconds from the first sending of the last answered request to its reply."""
        return self._last_s

    def session_opened(self, *, window: int, receive_bytes: int, inference_s: float = 0.0) -> None:
        """From now on a device that knows no session was reset.

        Repeats and noise of the time before, when the board may have been starting, do not count.

        Args:
            window: requests that may be under way.
            receive_bytes: encoded bytes that may be under way; a single request may be longer.
            inference_s: how long the device computes at most, as far as anybody knows: it answers nothing meanwhile.
        """
        if not self.session_is_open:
            self._retries = 0
            self._stale = 0
            self._reader.bad_frames = 0
        self.session_is_open = True
        self._window = max(1, window)
        self._receive_bytes = receive_bytes
        options = self.options
        self.options = replace(
            options,
            first_timeout_s=max(options.first_timeout_s, 2 * inference_s),
            first_give_up_s=max(options.first_give_up_s, options.give_up_round_trips * inference_s),
        )

    def keep_journal(self) -> None:
        """From now on keep what was carried out until the device has saved it, to send it again after a reset."""
        self._journal = deque()
        self._journal_bytes = 0

    @property
    def journal_is_whole(self) -> bool:
        """Whether everything can be sent again that the device has not saved."""
        return self._journal is not None and self._journal_bytes <= MOST_JOURNAL_BYTES

    def renumber(self) -> None:
        """Choose a new first number, for a new session."""
        self._naked = None
        self._next_change = harmless_number(31)

    def continue_at(self, sequence: int) -> None:
        """Go on with a session that another program left: the device expects that number next."""
        self._naked = None
        self._next_change = sequence

    def ask_again(self, type_: MessageType, payload: bytes, sequence: int) -> Pending:
        """Ask for the reply that the device has kept to a request that another program sent; `wait` brings it."""
        pending = Pending(type_, sequence, payload)
        self._send_first(pending)
        return pending

    def reconnect(self, transport: Transport) -> None:
        """Go on over another transport to the same device, once HELLO was answered; see `resend` and `replay`."""
        self.transport = transport
        old, self._reader = self._reader, FrameReader()
        self._reader.bad_frames = old.bad_frames

    def resend(self) -> None:
        """Send again what is under way, with the same numbers: the device still knows the session."""
        now = self._clock()
        for pending in (*self._changes.values(), *self._readings.values()):
            pending.give_up_at_s = now + self._times(pending.type).give_up_s
            self._repeat(pending, now)

    def replay(self, saved_sequence: int | None) -> int:
        """Send again, with new numbers, what a device that was reset has not saved; returns how many requests.

        Args:
            saved_sequence: requests of the session that has ended before this number are saved; None: none of them.
        """
        # Replies may have come in another order than the requests were carried out in, or not at all.
        changes = [pending for pending in self._unsent if not pending.sequence & READING]
        questions = [pending for pending in self._unsent if pending.sequence & READING]
        everything = sorted([*(self._journal or ()), *self._changes.values(), *changes], key=_IN_ORDER)
        self._changes.clear()
        self._unsent.clear()
        if self._journal is not None:
            self._journal.clear()
            self._journal_bytes = 0
        for pending in everything:
            if saved_sequence is not None and is_before(pending.sequence, saved_sequence):
                # Only its reply is missing.
                if pending.reply is None:
                    pending.is_reply_lost = True
                    pending.reply = Frame(MessageType.ACK, pending.sequence, bytes([Status.OK]))
            else:
                self._unsent.append(pending)
        for pending in self._unsent:
            pending.sequence = self._next_change
            pending.data = encode_frame(pending.type, pending.sequence, pending.payload)
            pending.attempts = 0
            self._tell_number(pending)
            self._next_change = (pending.sequence + 1) % READING
        count = len(self._unsent)
        # Questions wait until the device is again what it was.
        self._unsent.extend((*self._readings.values(), *questions))
        self._readings.clear()
        self._send_unsent()
        return count

    @property
    def under_way(self) -> int:
        """Requests that change state and whose replies have not come."""
        return len(self._changes)

    def has_room(self, payload_bytes: int, *, changes_state: bool = True) -> bool:
        """Whether another request of that size may be sent now."""
        if changes_state and self._unsent:
            return False
        return self._has_room(encoded_bytes(payload_bytes), self._next_change if changes_state else None)

    def _tell_number(self, pending: Pending) -> None:
        if self.numbered is not None and (pending.sample is not None or pending.is_asked):
            self.numbered(pending)

    def _fits(self, pending: Pending) -> bool:
        return self._has_room(len(pending.data), pending.sequence)

    def _has_room(self, frame_bytes: int, sequence: int | None) -> bool:
        """Whether a frame may be sent now; `sequence` is that of a request that changes state."""
        if not self._changes:
            return True
        # Counted from the oldest: of a later one the reply may have come, and the device keeps only the last ones.
        oldest = next(iter(self._changes))
        if sequence is not None and (sequence - oldest) % READING >= self._window:
            return False
        waiting = sum(len(pending.data) for pending in (*self._changes.values(), *self._readings.values()))
        return waiting + frame_bytes <= self._receive_bytes

    def submit(
        self, type_: MessageType, payload: bytes = b"", *, give_up_s: float | None = None, sample: int | None = None
    ) -> Pending:
        """Send a request, as soon as there is room; `wait` brings its reply. `sample` is what `numbered` is told.

        Raises:
            DeviceTimeoutError: silence, while others were under way.
            PortError: the port failed.
        """
        changes = message(type_).changes_state
        if type_ is MessageType.HELLO:
            self._next_reading = self._harmless(type_, payload)
        else:
            while not self.has_room(len(payload), changes_state=changes):
                self.poll()
        pending = Pending(type_, self._next_change if changes else READING | self._next_reading, payload)
        pending.sample = sample
        pending.is_asked = changes and self.is_asked
        self._tell_number(pending)
        sequence = pending.sequence
        if changes:
            self._next_change = (sequence + 1) % READING
        else:
            self._next_reading = (self._next_reading + 1) % READING
        try:
            self._send_first(pending, give_up_s)
        except PortError as error:
            if type_ is MessageType.HELLO:
                self._readings.pop(sequence, None)
                raise
            self._recover(error)
        except BaseException:
            # One that changes state keeps its number and its place: it is sent again, or the session ends.
            self._readings.pop(sequence, None)
            raise
        return pending

    def _harmless(self, type_: MessageType, payload: bytes) -> int:
        """A number of reading with which a request holds no Ctrl-C; the next one where there is none.

        HELLO goes to boards that may be starting, see `_INTERRUPT`; all others wait for its first reply.
        """
        numbers = ((self._next_reading + skipped * _HARMLESS_STEP) % READING for skipped in range(_HARMLESS_WITHIN))
        harmless = (n for n in numbers if _INTERRUPT not in encode_frame(type_, READING | n, payload))
        return next(harmless, self._next_reading)

    def poll(self, timeout_s: float | None = None) -> None:
        """Take what has arrived and repeat what is due; waits for the first byte, at most until something is due.

        Where nothing is under way it waits for what the device says unasked, not at all without a time-out.

        Raises:
            DeviceTimeoutError: silence.
            PortError: the port failed.
        """
        try:
            self._poll(timeout_s)
        except PortError as error:
            self._recover(error)

    def _recover(self, error: DeviceResetError | PortError) -> None:
        """Let `recovery` open port and session again, where there is one; raises the error where there is none."""
        if self.recovery is None or self._is_recovering:
            raise error
        self._is_recovering = True
        self._heard_s = self._clock()
        try:
            self.recovery(error)
        finally:
            self._is_recovering = False

    def _poll(self, timeout_s: float | None) -> None:
        now = self._clock()
        if not self._is_recovering:
            self._send_unsent()
        self._repeat_what_is_due(now)
        waiting = [*self._first_change(), *self._readings.values()]
        due_s = min((min(p.retry_at_s, p.give_up_at_s) for p in waiting), default=now + (timeout_s or 0.0))
        wait_s = max(0.0, due_s - now)
        if self.silence is not None:
            wait_s = min(wait_s, LISTEN_S)
        data = self.transport.read(wait_s if timeout_s is None else min(wait_s, timeout_s))
        # All frames first: what one of them sets off may read more.
        for frame in list(self._reader.feed(data)):
            self._accept(frame)
        self._tell_silence()
        now = self._clock()
        for pending in (*self._first_change(), *self._readings.values()):
            if now >= pending.give_up_at_s:
                self._readings.pop(pending.sequence, None)
                # One that changes state stays under way: it was perhaps carried out, and nothing may overtake it.
                pending.give_up_at_s = now + self._times(pending.type).give_up_s
                raise self._silence(pending)

    def _tell_silence(self) -> None:
        """Tell when the device takes longer to answer than it ever did."""
        now = self._clock()
        if self.recovers_until_s is not None:
            self.tell_quiet(now - self._heard_s, self.recovers_until_s - now)
            return
        for pending in itertools.chain(self._first_change(), self._readings.values()):
            quiet_s = now - max(self._heard_s, pending.first_sent_s)
            if quiet_s < self._times(pending.type).quiet_s:
                return
            # One frame may be lost on any line: then a repeat is answered.
            if not self.is_silent and (pending.attempts < 2 or now - pending.last_sent_s < REPEAT_ANSWERED_S):
                return
            self.tell_quiet(quiet_s, pending.give_up_at_s - now)

    def tell_quiet(self, quiet_s: float, left_s: float) -> None:
        """Tell `silence` that nothing has come for so long, and that it is tried for so long yet."""
        self.is_silent = True
        if self.silence is not None:
            self.silence(Silence(quiet_s, max(0.0, left_s)))

    def wait(self, pending: Pending) -> Answer:
        """The reply to a request, which is sent again until it comes.

        Raises:
            DeviceTimeoutError: silence.
            PortError: the port failed.
        """
        try:
            while pending.reply is None:
                self.poll()
        finally:
            self._readings.pop(pending.sequence, None)
        return self.answer(pending)

    def answer(self, pending: Pending) -> Answer:
        """The reply that has come."""
        reply = pending.reply
        if reply is None:
            raise RuntimeError("the reply has not come yet")
        if reply.type is not MessageType.ACK:
            return Answer(reply.payload, Status.OK)
        try:
            number = unpack(MessageType.ACK, reply.payload).integer("status")
        except FrameError as error:
            raise DeviceRefusedError(f"the device answered {pending.type.name} with a broken reply") from error
        return Answer(reply.payload, Status(number) if number in Status._value2member_map_ else number)

    def exchange(self, type_: MessageType, payload: bytes = b"", *, give_up_s: float | None = None) -> Answer:
        """Send a request and return its reply, or the status it was refused with."""
        return self.wait(self.submit(type_, payload, give_up_s=give_up_s))

    def request(self, type_: MessageType, payload: bytes = b"") -> Payload:
        """Send a request and return the fields of its reply.

        Raises:
            DeviceRefusedError: the device refused it, or answered with a broken reply.
            DeviceResetError: the device was reset since the session was opened.
            DeviceTimeoutError: silence.
            PortError: the port failed.
        """
        answer = self.exchange(type_, payload)
        self.check(type_, answer)
        try:
            return unpack(REPLIES[type_], answer.payload)
        except FrameError as error:
            raise DeviceRefusedError(
                f"the device answered {type_.name} with a broken reply", cause=str(error)
            ) from error

    def check(self, type_: MessageType, answer: Answer) -> None:
        """Raise what the answer's status means, if it is a refusal."""
        if answer.status == Status.OK:
            return
        if answer.status == Status.NO_SESSION and self.session_is_open:
            raise _was_reset(self.transport.name)
        if isinstance(answer.status, Status):
            cause = STATUS_TEXT[answer.status]
        else:
            cause = f"status {answer.status}, which this edgelearn does not know"
        raise DeviceRefusedError(f"the device refused {type_.name.lower().replace('_', ' ')}", cause=cause)

    def _times(self, type_: MessageType) -> RoundTrip:
        return self._round_trips.setdefault(type_, RoundTrip(self.options))

    def _first_change(self) -> tuple[Pending, ...]:
        """The oldest request that changes state: only its time-out runs, the others wait for it."""
        return () if self._is_recovering else tuple(itertools.islice(self._changes.values(), 1))

    def _send_first(self, pending: Pending, give_up_s: float | None = None) -> None:
        times = self._times(pending.type)
        now = self._clock()
        pending.timeout_s = times.timeout_s
        pending.first_sent_s = now
        pending.give_up_at_s = now + (times.give_up_s if give_up_s is None else give_up_s)
        waiting = self._readings if pending.sequence & READING else self._changes
        waiting[pending.sequence] = pending
        self._send(pending, now)

    def _send_unsent(self) -> None:
        while self._unsent:
            pending = self._unsent[0]
            if self._changes if pending.sequence & READING else not self._fits(pending):
                return
            self._send_first(self._unsent.popleft())

    def _send(self, pending: Pending, now: float) -> None:
        # A zero first: whatever the device holds of a broken frame ends there, and ours starts clean.
        lead = b"\0" if pending.attempts or pending.type is MessageType.HELLO else b""
        pending.attempts += 1
        pending.last_sent_s = now
        ahead_bytes = sum(len(other.data) for other in self._changes.values())
        pending.retry_at_s = now + pending.timeout_s + max(ahead_bytes, len(pending.data)) * self.transport.byte_s
        self.transport.write(lead + pending.data)

    def _repeat(self, pending: Pending, now: float) -> None:
        self._retries += 1
        self._send(pending, now)

    def _repeat_what_is_due(self, now: float) -> None:
        for pending in (*self._first_change(), *self._readings.values()):
            if now >= pending.retry_at_s:
                pending.timeout_s = max(pending.timeout_s, min(2 * pending.timeout_s, self.options.max_timeout_s))
                self._naked = None
                self._repeat(pending, now)

    def _go_back(self, sequence: int, now: float) -> None:
        """Send again that request and everything after it."""
        is_after = False
        for pending in self._changes.values():
            is_after = is_after or pending.sequence == sequence
            if is_after:
                self._repeat(pending, now)

    def _accept(self, frame: Frame) -> None:
        self._heard_s = self._clock()
        if self.is_silent:
            self.is_silent = False
            if self.silence is not None:
                self.silence(None)
        if frame.type is MessageType.NAK:
            self._accept_nak(frame)
            return
        if frame.type is MessageType.SENSOR_EVENT:
            self.unasked.append(frame)
            return
        waiting = self._readings if frame.sequence & READING else self._changes
        pending = waiting.get(frame.sequence)
        if (
            pending is None
            or frame.type not in (REPLIES[pending.type], MessageType.ACK)
            or (frame.type is MessageType.ACK and not frame.payload)
        ):
            self._stale += 1
            return
        if self._tells_of_a_reset(frame):
            if not self._is_recovering:
                self._recover(_was_reset(self.transport.name))
            return
        now = self._clock()
        if waiting is self._changes:
            # Those before it were carried out too, but their replies did not come: ask for them.
            for earlier in itertools.takewhile(lambda other: other is not pending, tuple(waiting.values())):
                if earlier.attempts == 1:
                    self._repeat(earlier, now)
        del waiting[frame.sequence]
        pending.reply = frame
        pending.round_trip_s = now - pending.first_sent_s
        self._requests += 1
        self._last_s = pending.round_trip_s
        if pending.attempts == 1:
            self._times(pending.type).measured(self._last_s)
            self._recent_s.append(self._last_s)
            self._total_s += self._last_s
            self._measured += 1
        else:
            self._times(pending.type).repeated(pending.timeout_s)
        if waiting is self._changes:
            # First into the journal: sending may fail.
            self._note(pending)
            self._go_on_after(pending, now)

    def _tells_of_a_reset(self, frame: Frame) -> bool:
        is_unknown = frame.type is MessageType.ACK and frame.payload[0] == Status.NO_SESSION
        return is_unknown and self.session_is_open and self.recovery is not None

    def _note(self, pending: Pending) -> None:
        """Keep what was carried out, and forget what was saved."""
        if self._journal is None or pending.reply is None:
            return
        if pending.type is not MessageType.SAVE:
            place = len(self._journal)
            while place and is_before(pending.sequence, self._journal[place - 1].sequence):
                place -= 1
            self._journal.insert(place, pending)
            self._journal_bytes += len(pending.data)
        saved = None
        if pending.reply.type is MessageType.RESULT:
            saved = unpack(MessageType.RESULT, pending.reply.payload).integer("saved_sequence")
        elif pending.type is MessageType.SAVE and pending.reply.payload[0] == Status.OK:
            saved = pending.sequence
        while saved is not None and saved < READING and self._journal and is_before(self._journal[0].sequence, saved):
            self._journal_bytes -= len(self._journal.popleft().data)
        while self._journal_bytes > MOST_JOURNAL_BYTES and len(self._journal) > 1:
            # It stays broken: see journal_is_whole.
            self._journal.popleft()

    def _go_on_after(self, answered: Pending, now: float) -> None:
        """The next one's time-out starts to run; it is sent again at once where the device must have dropped it."""
        for pending in self._first_change():
            times = self._times(pending.type)
            pending.give_up_at_s = max(pending.give_up_at_s, now + times.give_up_s)
            if answered.attempts > 1 and pending.last_sent_s < answered.last_sent_s:
                self._go_back(pending.sequence, now)
            else:
                pending.retry_at_s = max(pending.retry_at_s, now + pending.timeout_s)

    def _accept_nak(self, frame: Frame) -> None:
        try:
            expected = unpack(MessageType.NAK, frame.payload).integer("expected")
        except FrameError:
            self._stale += 1
            return
        # One loss makes the device complain of every request after it: the first complaint is enough.
        if expected not in self._changes or expected == self._naked:
            self._stale += 1
            return
        self._gaps += 1
        self._naked = expected
        self._go_back(expected, self._clock())

    def _prompt(self) -> str:
        """What MicroPython says of itself where its prompt is at the other end; empty where it is not."""
        said = b""
        try:
            self.transport.write(_ASK_FOR_PROMPT)
            end_s = self._clock() + _PROMPT_S
            while self._clock() < end_s and not said.rstrip().endswith(b">>>"):
                said += self.transport.read(LISTEN_S)
        except PortError:
            return ""
        banner = _BANNER.search(said.decode(errors="replace"))
        return banner[0].strip() if banner else ""

    def _silence(self, pending: Pending) -> DeviceTimeoutError:
        seconds = self._clock() - pending.first_sent_s
        what = pending.type.name.lower().replace("_", " ")
        heard = (
            f"; {count(self.bad_frames, 'broken frame was', 'broken frames were')} received" if self.bad_frames else ""
        )
        prompt = self._prompt() if pending.type is MessageType.HELLO else ""
        if prompt:
            return DeviceTimeoutError(
                f"MicroPython's prompt answers at {self.transport.name}, no program of edgelearn",
                cause=prompt,
                hint=f"`mpremote connect {self.transport.name} reset`, or Ctrl-D at the prompt, starts main.py; "
                "`edgelearn flash DIR` puts it there",
            )
        return DeviceTimeoutError(
            f"the device at {self.transport.name} does not answer",
            cause=f"{what} was sent {count(pending.attempts, 'time')} in {seconds:.1f} s without a reply{heard}",
            hint="no edgelearn firmware runs there, or another program is connected to it: end that first"
            if "://" in self.transport.name
            else "check that the board has power, runs an edgelearn firmware, and uses the same baud rate",
        )
