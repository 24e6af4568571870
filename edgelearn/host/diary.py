"""What a run goes through beside its results: told to whoever looks and written down, with the time that it takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from edgelearn.host.metrics import Metrics
from edgelearn.host.session import Session
from edgelearn.host.telemetry import RunEvent, RunFolder
from edgelearn.host.view import View
from edgelearn.words import count


class RunClock:
    """Seconds since a run began, and how many of them it was paused.

    Args:
        clock: monotonic seconds; tests bring their own.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began_s = clock()
        self._paused_s = 0.0
        self._paused_at_s: float | None = None

    def begin(self, *, earlier_s: float = 0.0, earlier_paused_s: float = 0.0) -> None:
        """Begin now, after the time that earlier hosts have spent on the run."""
        self._began_s = self._clock() - earlier_s
        self._paused_s = earlier_paused_s

    @property
    def time_s(self) -> float:
        """Since the run began, pauses included."""
        return self._clock() - self._began_s

    @property
    def paused_s(self) -> float:
        """How much of `time_s` it was paused."""
        return self._paused_s + (0.0 if self._paused_at_s is None else self._clock() - self._paused_at_s)

    @property
    def active_s(self) -> float:
        """How much of `time_s` it was not paused: what a rate is formed with."""
        return self.time_s - self.paused_s

    def pause(self) -> None:
        """From now on it is paused; does nothing where it is."""
        if self._paused_at_s is None:
            self._paused_at_s = self._clock()

    def go_on(self) -> None:
        """It is no longer paused; does nothing where it was not."""
        self._paused_s = self.paused_s
        self._paused_at_s = None


class Diary:
    """Tells what happens: to the view, to the run folder, and at the end in the summary.

    Args:
        folder: where events are written down, None: nowhere.
        view: what a person sees.
        clock: of the run.
        metrics: of the run; they know how many results came before an event.
        notices: what a person should know from the beginning; these are not shown again.
    """

    def __init__(
        self, folder: RunFolder | None, view: View, clock: RunClock, metrics: Metrics, notices: Iterable[str] = ()
    ) -> None:
        self._folder = folder
        self._view = view
        self._clock = clock
        self._metrics = metrics
        #: Everything that was noted.
        self.notices = list(notices)

    def note(self, text: str) -> None:
        """Say something that a person should know."""
        self.notices.append(text)
        self._view.notice(text)

    def tell(self, kind: str, text: str, *, step: int | None = None, is_shown: bool = True) -> None:
        """Write an event down, and say it."""
        if self._folder is not None:
            time_s = round(self._clock.time_s, 6)
            event = RunEvent(kind=kind, time_s=time_s, results=self._metrics.samples, step=step, text=text)
            self._folder.append_event(event)
        if is_shown:
            self.note(text)

    def tell_session(self, session: Session) -> None:
        """Tell what happened to the session since the last call."""
        while session.events:
            event = session.events.pop(0)
            if event.kind == "reset":
                again = f"; {count(event.repeated, 'request')} sent again" if event.repeated else ""
                self.tell(event.kind, f"the device was reset (start {event.boot}){event.why}{again}")
            else:
                self.tell(event.kind, f"the port came back: {event.cause}")
