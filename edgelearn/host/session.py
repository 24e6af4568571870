"""A session with a device: opens it, and opens it again where the port failed or the device was reset.

A device that was reset comes back with its newest saved head and says up to which request of which session that has
learned. The link kept what came after and sends it again, in order, so that the head ends up with the same bits as
without the reset. Where that is impossible, because what the device had learned before the session is not saved, or
because more came than is kept, the session ends with DeviceResetError.

A device that takes samples from its own sensor learns between the host's requests. What it learned by itself since it
was last saved goes with a reset, and the session goes on: only the host's requests are sent again.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable

from msgspec import Struct

from edgelearn.errors import (
    DeviceRefusedError,
    DeviceResetError,
    DeviceTimeoutError,
    PortError,
    ProtocolVersionError,
    WrongModelError,
)
from edgelearn.host.link import Link, LinkOptions, harmless_number
from edgelearn.host.starts import last_start
from edgelearn.host.transport import Transport
from edgelearn.protocol import (
    PROTOCOL_VERSION,
    FrameError,
    LossCode,
    MessageType,
    Payload,
    ResidualCode,
    Status,
    pack,
    unpack,
)

#: HELLO is repeated fast at first: a board that is just starting hears none of the first ones.
_HELLO_TIMES = LinkOptions(first_timeout_s=0.1, min_timeout_s=0.1, max_timeout_s=0.5)
_REOPEN_PAUSE_S = 0.1
#: Who leaves waits no longer for an answer.
_GOODBYE_S = 2.0
#: What an inference takes at most: portable kernels on the smallest core, whose counter may count something else.
_CLOCKS_PER_MAC, _SLOWEST_HZ = 16, 16_000_000


def expected_inference_s(multiply_accumulates: int, counter_hz: int) -> float:
    """How long one inference takes at most, roughly: before one was measured nobody must give up sooner.

    Args:
        multiply_accumulates: of one inference.
        counter_hz: of the device's counter, which on many cores counts the core's clock.
    """
    return multiply_accumulates * _CLOCKS_PER_MAC / max(counter_hz, _SLOWEST_HZ)


class SessionEvent(Struct, frozen=True, kw_only=True):
    """Something that happened to a session.

    Attributes:
        kind: `reset` of the device, or `reconnect` of the port.
        time_s: by the monotonic clock.
        boot: the device's count of its starts.
        repeated: requests that were sent again because the device had not saved them.
        cause: why, as a person reads it: of a reset by what, as the device says, empty where it does not know.
        sensor_runs: whether the device takes samples from its own sensor after it.
    """

    kind: str
    time_s: float
    boot: int
    repeated: int = 0
    cause: str = ""
    sensor_runs: bool = False

    @property
    def why(self) -> str:
        """By what a reset came, as the end of a sentence; empty where nobody knows."""
        return f" by {self.cause}" if self.cause else ""


class Session:
    """The session that is open over a link.

    Args:
        link: to the device.
        expected_model_hash: the SHA-256, in hex, of the model that must run there (its first 8 bytes are compared);
            None takes any.
        expected_model_name: what to call that model in a message.
        hello_timeout_s: how long to ask before giving up; a board may have to boot first.
    """

    def __init__(
        self,
        link: Link,
        *,
        expected_model_hash: str | None = None,
        expected_model_name: str = "",
        hello_timeout_s: float = 10.0,
    ) -> None:
        self.link = link
        #: What happened to it, for whoever looks.
        self.events: list[SessionEvent] = []
        self._expected = (expected_model_hash, expected_model_name)
        self._hello_timeout_s = hello_timeout_s
        self._number = 0
        #: The session that the requests in the link's journal were numbered in: another one while a device that was
        #: reset is brought back, until it has been sent them anew.
        self._journal_of = 0
        #: Session and sequence number that the device's newest saved head stands for.
        self._saved = (0, 0)
        self._reopen: Callable[[], Transport] | None = None
        self._reopen_timeout_s = 0.0
        self._starts_clean = False
        #: Whether `open` found the earlier session that it was asked for.
        self.is_resumed = False

    @property
    def number(self) -> int:
        """The number of the session that is open."""
        return self._number

    def open(self, *, earlier: int = 0) -> Payload:
        """Open a new session; returns HELLO_REPLY.

        Args:
            earlier: the number of a session that another program left; where the device still has it open, go on with
                it instead.

        Raises:
            DeviceTimeoutError: nobody answers.
            ProtocolVersionError: the device speaks another version.
            WrongModelError: the device runs another model.
            DeviceRefusedError: it opens no session.
            PortError: the port failed.
        """
        hello = self._find(earlier) if earlier else None
        self.is_resumed = hello is not None
        if hello is None:
            self._number = harmless_number(32)
            self.link.renumber()
            hello = self._hello()
        if hello.integer("session") != self._number:
            raise DeviceRefusedError("the device opened no session", hint="reset the board and try again")
        check_model(model_hash(hello), *self._expected)
        self._saved = (hello.integer("saved_session"), hello.integer("saved_sequence"))
        # What a sensor has taught is not the host's to bring back.
        self._starts_clean = hello.integer("step") == hello.integer("saved_step") or bool(hello.integer("sensor_runs"))
        return hello

    def ask(self) -> Payload:
        """HELLO_REPLY as it is now; the session stays as it is.

        Raises:
            EdgelearnError: as for any request.
        """
        # Answered after all that is under way; and where the device was reset, this brings the session back.
        self.link.request(MessageType.STATISTICS)
        return self._hello(resume=True)

    def _find(self, earlier: int) -> Payload | None:
        """HELLO_REPLY of a session that may still be open; None where it is not."""
        self._number = earlier
        hello = self._hello(resume=True)
        if hello.integer("session") != earlier:
            return None
        self.link.continue_at(hello.integer("next_sequence"))
        return hello

    def survive(self, reopen: Callable[[], Transport] | None, *, reopen_timeout_s: float, was_saved: bool) -> None:
        """From now on open it again by itself where the port fails or the device is reset.

        Args:
            reopen: opens the port anew, raises PortError as long as it is not there; None where it cannot.
            reopen_timeout_s: how long to try.
            was_saved: the device has just saved its head in this session.
        """
        self._reopen = reopen
        self._reopen_timeout_s = reopen_timeout_s
        self._starts_clean = self._starts_clean or was_saved
        self._journal_of = self._number
        self.link.keep_journal()
        self.link.recovery = self._recover

    def close(self) -> None:
        """Say that the session is over: the device tells nothing more unasked. Nobody waits long for its answer.

        Nothing is said where requests are still under way, or nothing came lately: the device does not answer.

        Raises:
            DeviceTimeoutError: it does not answer.
            PortError: the port failed.
        """
        self.link.recovery = None
        self.link.options = _HELLO_TIMES
        if self.link.under_way == 0 and not self.link.is_silent:
            self.link.exchange(
                MessageType.GOODBYE, pack(MessageType.GOODBYE, session=self._number), give_up_s=_GOODBYE_S
            )

    def _recover(self, error: DeviceResetError | PortError) -> None:
        if isinstance(error, PortError) and self._reopen is None:
            raise error
        self.link.recovers_until_s = time.monotonic() + self._reopen_timeout_s
        try:
            self._try_until(self.link.recovers_until_s, error)
        finally:
            self.link.recovers_until_s = None

    def _try_until(self, deadline: float, error: DeviceResetError | PortError) -> None:
        broke_s = time.monotonic()
        while True:
            try:
                if isinstance(error, PortError):
                    self._open_port(error, deadline, broke_s)
                    if self._goes_on(error):
                        return
                    error = DeviceResetError(f"the device at {self.link.transport.name} was reset")
                self._go_on_after_reset(error)
                return
            except PortError as another:
                if self._reopen is None or time.monotonic() >= deadline:
                    raise
                error = another
            except DeviceTimeoutError:
                # A board that appears and is gone again, or a port that opens before its board has started.
                if time.monotonic() >= deadline:
                    raise

    def _open_port(self, error: PortError, deadline: float, broke_s: float) -> None:
        assert self._reopen is not None  # noqa: S101 - _recover sees to it
        self.link.transport.close()
        while True:
            try:
                transport = self._reopen()
            except PortError:
                if time.monotonic() >= deadline:
                    raise error from None
                self.link.tell_quiet(time.monotonic() - broke_s, deadline - time.monotonic())
                time.sleep(_REOPEN_PAUSE_S)
            else:
                self.link.reconnect(transport)
                return

    def _goes_on(self, error: PortError) -> bool:
        """Whether the device still knows the session; then what was under way is sent again."""
        if self._number != self._journal_of:
            # The port failed while a reset device was brought back: it may know the new session, but not what was lost.
            return False
        hello = self._hello(resume=True)
        check_model(model_hash(hello), *self._expected)
        if hello.integer("session") != self._number:
            return False
        self._tell("reconnect", hello, 0, str(error))
        self.link.resend()
        return True

    def _go_on_after_reset(self, error: DeviceResetError) -> None:
        if not self._starts_clean:
            raise DeviceResetError(
                error.message,
                cause="it had learned what was not saved before this session, and has lost that",
                hint="start again; `edgelearn head save`, before a stream that is not to save, keeps what was learned",
            )
        if not self.link.journal_is_whole:
            raise error
        ended, saved_before = self._journal_of, self._saved
        hello = self.open()
        if self._saved[0] == ended:
            saved_sequence = self._saved[1]
        elif self._saved == saved_before:
            saved_sequence = None
        else:
            raise DeviceResetError(
                error.message,
                cause="the head that it has saved is not of this session",
                hint="what it had learned since it was last saved is lost; start again",
            )
        self._starts_clean = True
        self._journal_of = self._number
        self._tell("reset", hello, self.link.replay(saved_sequence), str(last_start(hello)))

    def _tell(self, kind: str, hello: Payload, repeated: int, cause: str) -> None:
        event = SessionEvent(
            kind=kind,
            time_s=time.monotonic(),
            boot=hello.integer("boot"),
            repeated=repeated,
            cause=cause,
            sensor_runs=bool(hello.integer("sensor_runs")),
        )
        self.events.append(event)

    def _hello(self, *, resume: bool = False) -> Payload:
        request = pack(
            MessageType.HELLO,
            version=PROTOCOL_VERSION,
            session=self._number,
            # Who only asks whether a session is open says no number.
            first_sequence=0 if resume else self.link.first_sequence,
            resume=resume,
        )
        usual = self.link.options
        self.link.options = _HELLO_TIMES
        try:
            answer = self.link.exchange(MessageType.HELLO, request, give_up_s=self._hello_timeout_s)
        finally:
            self.link.options = usual
        if answer.status == Status.BAD_VERSION:
            raise _other_version("another version")
        self.link.check(MessageType.HELLO, answer)
        # The version comes first in every version, so that it can be read whatever follows it.
        if len(answer.payload) >= 2:
            (version,) = struct.unpack_from("<H", answer.payload)
            if version != PROTOCOL_VERSION:
                raise _other_version(f"version {version}")
        try:
            hello = unpack(MessageType.HELLO_REPLY, answer.payload)
            LossCode(hello.integer("loss"))
            ResidualCode(hello.integer("residual"))
        except (FrameError, ValueError) as error:
            raise DeviceRefusedError("the device answered HELLO with a broken reply", cause=str(error)) from error
        if hello.integer("session") == self._number:
            self.link.session_opened(
                window=hello.integer("window"),
                receive_bytes=hello.integer("receive_bytes"),
                inference_s=expected_inference_s(hello.integer("multiply_accumulates"), hello.integer("counter_hz")),
            )
        return hello


def model_hash(hello: Payload) -> str:
    """The first 8 bytes of the model's hash, 16 hex digits."""
    return struct.pack("<II", hello.integer("model_hash_low"), hello.integer("model_hash_high")).hex()


def check_model(actual: str, expected: str | None, name: str) -> None:
    """Refuse a device with another model than the expected one.

    Raises:
        WrongModelError: with both named.
    """
    if expected is None or expected.lower()[:16] == actual:
        return
    raise WrongModelError(
        "the device runs another model",
        cause=f"it runs {actual}, {name or 'the model asked for'} is {expected.lower()[:16]}",
        hint="flash the board with this model, or give the bundle that it was flashed with",
    )


def _other_version(theirs: str) -> ProtocolVersionError:
    return ProtocolVersionError(
        f"the device speaks {theirs} of the protocol, this edgelearn speaks version {PROTOCOL_VERSION}",
        hint="generate the firmware with this edgelearn and flash it, or use the edgelearn that made it",
    )
