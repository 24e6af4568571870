"""Where a stream goes on after its host crashed: what the device has learned, and which results it can still tell.

A sample that a device has learned is never sent to learn from again, unless the device was reset and has forgotten it.
Three things say where it stands: sent.jsonl (as which request of which session each sample went), HELLO_REPLY (which
session is open and which request it expects next; which session's head is saved, and up to which request), and the
number of training steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from edgelearn.errors import DataError, DeviceResetError, HeadError, OptionError
from edgelearn.host.data import Source
from edgelearn.host.device import Device
from edgelearn.host.head import load_head
from edgelearn.host.link import is_before
from edgelearn.host.tables import TableOptions
from edgelearn.host.telemetry import HEAD_BEFORE, SENSOR, Run, Sent, StreamOptions
from edgelearn.protocol import READING, MessageType

#: What a person may change on the page that samples learn from then on, as sent.jsonl names it.
CHANGES = {
    MessageType.RESET_HEAD: "the head was reset",
    MessageType.SET_LEARNING_RATE: "the learning rate was set",
    MessageType.SET_CLASS: "a class was added",
}


class Resumption(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run goes on.

    Attributes:
        run: as far as it came.
        first: number of the sample that the device is to learn next.
        recorded: results of the samples before this number are in the folder, or were given up for lost. Those from
            `first` on were learned, forgotten with a reset of the device, and are learned again.
        kept: of the samples between `recorded` and `first` those whose results the device can still tell: number and
            the sequence number of the request.
        was_sent: whether the device has ever been sent a sample of the run.
        is_set_up: whether the device has been told how to learn already, and must not be told again.
        survive: called when the device may be told new things; it makes the session survive resets.
    """

    run: Run
    first: int
    recorded: int
    kept: dict[int, int] = {}
    was_sent: bool = True
    is_set_up: bool = False
    survive: Callable[[], None] | None = None


def check_same(run: Run, *, options: StreamOptions, table: TableOptions) -> None:
    """Refuse to carry on a run with other options, or one that is complete.

    Raises:
        OptionError: an option is another one.
        DataError: the run is complete.
    """
    if run.summary is not None and run.summary.ended == "complete":
        raise DataError(f"the run {run.path.name} is complete", hint="start a new one, without --resume")
    for before, now in ((run.manifest.options, options), (run.manifest.table, table)):
        for name in before.__struct_fields__:
            was, asked = getattr(before, name), getattr(now, name)
            if was != asked:
                raise OptionError(
                    f"the run has {name.replace('_', ' ')} {_said(name, was)}, not {_said(name, asked)}",
                    hint="carry it on as it is, or start a new one, without --resume",
                )


def _said(name: str, value: object) -> str:
    """The value of an option, as a person would say it."""
    if value is None:
        return "never" if name == "self_label" else "as the device has it"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "all"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value) or "none"


def check_repeatable(run: Run, *, data_is_given: bool) -> None:
    """Refuse to carry on a run whose samples do not come again, or whose file nobody knows.

    Raises:
        DataError: so it is.
    """
    manifest = run.manifest
    if manifest.data == SENSOR and not manifest.data_sha256:
        raise DataError(
            "a run of a board's own sensor cannot be carried on",
            cause="its samples do not come again; the board learns from the next ones without any host",
            hint=f"watch it in a new run: `edgelearn monitor --port {manifest.port}`",
        )
    if not manifest.data_path and not data_is_given:
        raise DataError(
            f"a run of {manifest.data} cannot be carried on without its data",
            cause="no file is known that holds it" if manifest.data_sha256 else "its samples do not come again",
            hint="name the file with --data, or start a new run, without --resume"
            if manifest.data_sha256
            else "start a new run, without --resume",
        )


def check_board(run: Run, board: str) -> None:
    """Refuse to carry on a run on another board.

    Raises:
        OptionError: with both named.
    """
    if board != run.manifest.board:
        raise OptionError(
            f"the run is of the board {run.manifest.board or 'without a name'}, the device is "
            f"{board or 'one without a name'}",
            cause="times and memory of two boards do not make one run",
            hint="carry it on with the board of the run, or start a new one, without --resume",
        )


def check_data(run: Run, source: Source) -> None:
    """Refuse to carry on a run with other data.

    Raises:
        DataError: the samples are not those of the run, or do not come again.
    """
    if source.pass_samples == 0:
        raise DataError(
            f"a run of {source.name} cannot be carried on",
            cause="its samples do not come again",
            hint="start a new one",
        )
    if source.sha256 != run.manifest.data_sha256:
        raise DataError(
            f"{source.name} is not the data of the run",
            cause=f"its SHA-256 is {source.sha256[:16]}, that of the run's was {run.manifest.data_sha256[:16]}",
            hint="name the file of the run with --data",
        )


def last_session(sent: tuple[Sent, ...]) -> int:
    """The session that the host had open when it wrote last; 0 for none."""
    return sent[-1].session if sent else 0


def plan_resumption(run: Run, sent: tuple[Sent, ...], device: Device) -> Resumption:
    """Find out where a run goes on.

    Args:
        run: from `read_run`.
        sent: from `read_sent`.
        device: opened with `last_session(sent)` as its earlier session.

    Raises:
        DeviceResetError: the device knows something else than what the run taught it, or has forgotten what a person
            had changed.
    """
    recorded = run.records[-1].number + 1 if run.records else 0
    if not run.manifest.options.train:
        return Resumption(run=run, first=recorded, recorded=recorded)
    log = _Log(sent)
    kept: dict[int, int] = {}
    is_set_up = device.session.is_resumed and bool(log.changes)
    if device.session.is_resumed:
        expected, window = device.hello.integer("next_sequence"), device.hello.integer("window")
        first = log.applied(device.session.number, expected)
        steps = _by_steps(run, recorded, log, device)
        if steps is not None and steps > log.end:
            # The last lines were lost with the host's power.
            first = steps
        for number, sequence in log.of(device.session.number).items():
            if recorded <= number < first and (expected - sequence) % READING <= window:
                kept[number] = sequence
    else:
        first = _without_its_session(run, recorded, log, device)
    return Resumption(
        run=run, first=first, recorded=recorded, kept=kept, was_sent=log.end > 0, is_set_up=first > 0 or is_set_up
    )


def _by_steps(run: Run, recorded: int, log: _Log, device: Device) -> int | None:
    """The sample that the device's steps lead up to; None where a sample is not always a step, or they began anew."""
    if run.manifest.options.self_label is not None or log.was_reset:
        return None
    return recorded + device.info.step - _last_step(run)


def _last_step(run: Run) -> int:
    return run.records[-1].step if run.records else run.manifest.device.step


def _without_its_session(run: Run, recorded: int, log: _Log, device: Device) -> int:
    """The sample that a device is to learn next which was reset, or has opened another session since."""
    saved_session, saved_sequence = device.hello.integer("saved_session"), device.hello.integer("saved_sequence")
    is_as_saved = log.has(saved_session) and device.info.step == device.hello.integer("saved_step")
    first = _next_sample(run, recorded, log, device, is_as_saved=is_as_saved)
    forgotten = log.changes_after(saved_session, saved_sequence) if is_as_saved else log.changes_from(first)
    if forgotten:
        raise DeviceResetError(
            "the device was reset, and has forgotten what was changed on the page",
            cause=f"{', '.join(forgotten)}, and that was not saved",
            hint="start a new run, without --resume",
        )
    return first


def _next_sample(run: Run, recorded: int, log: _Log, device: Device, *, is_as_saved: bool) -> int:
    step, before, last = device.info.step, run.manifest.device.step, _last_step(run)
    saved_session, window = device.hello.integer("saved_session"), device.hello.integer("window")
    steps = _by_steps(run, recorded, log, device)
    if steps is None:
        if is_as_saved:
            return log.applied(saved_session, device.hello.integer("saved_sequence"))
        if step >= last and not log.was_reset:
            # Which of the last ones it has got cannot be told: none is risked twice.
            return max(recorded, log.end)
    else:
        # Where the last host left it: a window may have been under way, or more where it was sent things again.
        if (log.begun if log.is_again else log.left - 2 * window) <= steps <= log.left:
            return steps
        if is_as_saved and steps >= 0:
            return steps
        # With the host's power the last lines may be lost.
        if log.end < recorded <= steps <= recorded + 2 * window:
            return steps
    if step == before and _is_as_before(run, device):
        return 0
    raise DeviceResetError(
        "the device knows something else than what the run taught it",
        cause=f"it is at step {step}, the run had brought it to {last}, and what it has saved is not of the run",
        hint="start a new run, without --resume",
    )


def _is_as_before(run: Run, device: Device) -> bool:
    """Whether the device has the head with which the run began."""
    try:
        return load_head(run.path / HEAD_BEFORE).same_as(device.read_head())
    except HeadError:
        return False


class _Change(NamedTuple):
    """What a person changed: as which request, and before which sample."""

    session: int
    sequence: int
    what: str
    next_sample: int


class _Log:
    """What sent.jsonl says."""

    def __init__(self, sent: tuple[Sent, ...]) -> None:
        #: The samples before this number were perhaps sent; 0: none was.
        self.end = 0
        #: The last host, or the last one after a reset, sent the samples from this number on,
        self.begun = 0
        #: and up to before this one;
        self.left = 0
        #: whether that was no beginning.
        self.is_again = False
        #: What a person changed on the page.
        self.changes: list[_Change] = []
        self._sessions: dict[int, dict[int, int]] = {}
        self._lowest: dict[int, int] = {}
        for line in sent:
            if line.change:
                self._sessions.setdefault(line.session, {})
                self._lowest.setdefault(line.session, self.left)
                self.changes.append(_Change(line.session, line.sequence, line.change, self.left))
                continue
            if line.is_start or line.number < self.left:
                self.is_again = bool(self._sessions)
                self.begun = self.left = line.number
            numbers = self._sessions.setdefault(line.session, {})
            self._lowest[line.session] = min(self._lowest.get(line.session, line.number), line.number)
            if line.is_start:
                for number in reversed(tuple(numbers)):
                    if is_before(numbers[number], line.sequence):
                        break
                    del numbers[number]
                self.changes = [
                    change
                    for change in self.changes
                    if change.session != line.session or is_before(change.sequence, line.sequence)
                ]
            else:
                # The latest last.
                numbers.pop(line.number, None)
                numbers[line.number] = line.sequence
                self.left = line.number + 1
                self.end = max(self.end, line.number + 1)

    @property
    def was_reset(self) -> bool:
        """Whether a person has reset the head, so that its steps began anew."""
        return any(change.what == CHANGES[MessageType.RESET_HEAD] for change in self.changes)

    def changes_after(self, session: int, sequence: int) -> list[str]:
        """What a head lacks that was saved in that session before that request."""
        order = tuple(self._sessions)
        return _words(
            change
            for change in self.changes
            if order.index(change.session) > order.index(session)
            or (change.session == session and not is_before(change.sequence, sequence))
        )

    def changes_from(self, first: int) -> list[str]:
        """What a device lacks that has gone back to that sample."""
        return _words(change for change in self.changes if change.next_sample > first or first == 0)

    def has(self, session: int) -> bool:
        """Whether the session was one of the run's."""
        return session in self._sessions

    def of(self, session: int) -> dict[int, int]:
        """The requests of a session: sequence number by number of the sample."""
        return self._sessions.get(session, {})

    def applied(self, session: int, expected: int) -> int:
        """The first sample that a session has not learned yet, where it is at that request."""
        for number, sequence in reversed(self.of(session).items()):
            if is_before(sequence, expected):
                return number + 1
        return self._lowest[session]


def _words(changes: Iterable[_Change]) -> list[str]:
    """What was changed, each once."""
    return list(dict.fromkeys(change.what for change in changes))
