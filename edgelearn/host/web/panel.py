"""What the page shows: filled by the thread that talks to the device, read by the pages. Knows nothing of the web."""

from __future__ import annotations

import datetime
import shlex
import threading
from collections import deque

from msgspec import Struct

from edgelearn.host.control import Action, Controls
from edgelearn.host.device import DeviceInfo, Statistics
from edgelearn.host.link import Silence
from edgelearn.host.telemetry import StreamSummary
from edgelearn.host.view import Curve, StreamEvent, StreamStart, closing, heading
from edgelearn.protocol import LossCode

#: How a run may end.
ENDS = ("complete", "interrupted", "failed")
#: Notices that a page shows.
_MOST_NOTICES = 100


class ClassCount(Struct, frozen=True, kw_only=True):
    """How one class fared since the page's beginning.

    Attributes:
        samples: that were of it.
        correct: of those, predicted right.
        predicted: samples that were taken for it.
    """

    name: str
    samples: int
    correct: int
    predicted: int


class Notice(Struct, frozen=True, kw_only=True):
    """Something that happened.

    Attributes:
        time: of day, as people write it.
    """

    time: str
    text: str


class Line(Struct, frozen=True, kw_only=True):
    """A curve's points, (x, y)."""

    name: str
    points: tuple[tuple[float, float], ...]


class Snapshot(Struct, frozen=True, kw_only=True):
    """All that a page shows at one moment.

    Attributes:
        version: another one means that something changed.
        state: `waiting`, `running`, `paused`, `no answer` of the device, `ended`, or how it ended: one of ENDS.
        silence: how long the device has not answered; None where it does.
        outcome: once it has ended: why, where the run is, and the command that reports it.
        event: the last result.
        loss, accuracy: curves over the number of results.
        inference_ms, train_ms: of the last result, None without a counter.
        unavailable: for each action why it cannot be asked for, "" where it can; those that are not named do not exist.
        label: what the host says the samples are now, "" for nothing.
    """

    version: int
    state: str
    heading: str
    start: StreamStart | None
    info: DeviceInfo | None
    event: StreamEvent | None
    statistics: Statistics | None
    learning_rate: float | None
    loss: tuple[Line, ...]
    accuracy: tuple[Line, ...]
    inference_ms: float | None
    train_ms: float | None
    classes: tuple[ClassCount, ...]
    notices: tuple[Notice, ...]
    unavailable: dict[Action, str]
    label: str
    silence: Silence | None = None
    outcome: tuple[str, ...] = ()


class Panel:
    """A View whose state can be read from other threads, and the way back for what people ask for there."""

    def __init__(self, controls: Controls | None = None) -> None:
        self.controls = controls or Controls()
        self._lock = threading.Lock()
        self._version = 0
        self._state = "waiting"
        self._start: StreamStart | None = None
        self._info: DeviceInfo | None = None
        self._event: StreamEvent | None = None
        self._statistics: Statistics | None = None
        self._learning_rate: float | None = None
        self._curves = {name: Curve() for name in ("loss", "accuracy", "window accuracy")}
        self._counts: dict[int, list[int]] = {}
        self._notices: deque[Notice] = deque(maxlen=_MOST_NOTICES)
        self._unavailable: dict[Action, str] = {}
        self._label = ""
        self._silence: Silence | None = None
        self._end = ""
        self._outcome: tuple[str, ...] = ()

    def start(self, start: StreamStart) -> None:
        """The stream begins."""
        with self._lock:
            self._start, self._info, self._learning_rate = start, start.info, start.learning_rate
            self._state = "running"
            self._version += 1

    def result(self, event: StreamEvent) -> None:
        """A result came."""
        record = event.record
        with self._lock:
            if self._event is not None and event.accuracy_name != self._event.accuracy_name:
                # Another measure: the samples were learned before. It must not continue the prequential curve.
                self._curves["accuracy"], self._curves["window accuracy"] = Curve(), Curve()
            self._event = event
            for name, value in (
                ("loss", event.window_loss),
                ("accuracy", _percent(event.accuracy)),
                ("window accuracy", _percent(event.window_accuracy)),
            ):
                if value is not None:
                    self._curves[name].add(event.done, value)
            self._counts.setdefault(record.prediction, [0, 0, 0])[2] += 1
            if record.label is not None:
                counts = self._counts.setdefault(record.label, [0, 0, 0])
                counts[0] += 1
                counts[1] += record.prediction == record.label
            self._version += 1

    def notice(self, text: str) -> None:
        """Something that a person should know."""
        with self._lock:
            self._notices.appendleft(Notice(time=f"{datetime.datetime.now():%H:%M:%S}", text=text))
            self._version += 1

    def silence(self, silence: Silence | None) -> None:
        """The device does not answer; None: it answers again."""
        with self._lock:
            self._silence = silence
            self._version += 1

    def finish(self, summary: StreamSummary) -> None:
        """The stream has ended."""
        for line in reversed(closing(summary)):
            self.notice(line)
        if summary.error:
            self.notice(summary.error)
        if summary.statistics is not None:
            self.statistics(summary.statistics)
        self.end(summary.ended if summary.ended in ENDS else "failed", summary.error, summary.run)

    def end(self, state: str, reason: str = "", run: str = "") -> None:
        """It is over: `complete`, `interrupted` or `failed`, and why; what was said first stays."""
        with self._lock:
            if self._end:
                return
            self._end = state
            self._outcome = tuple(
                line
                for line in (
                    reason,
                    f"run folder {run}" if run else "",
                    f"edgelearn report {shlex.quote(run)}" if run else "",
                )
                if line
            )
            self._version += 1

    @property
    def ended(self) -> str:
        """`complete`, `interrupted` or `failed`; "" while it goes on."""
        with self._lock:
            return self._end

    @property
    def version(self) -> int:
        """That a snapshot would have now."""
        with self._lock:
            return self._version

    def close(self) -> None:
        """Nothing more will come."""
        with self._lock:
            self._state = "ended"
            self._silence = None
            self._unavailable = dict.fromkeys(self._unavailable, "the stream has ended")
            self._version += 1

    def device(
        self,
        info: DeviceInfo,
        unavailable: dict[Action, str],
        *,
        paused: bool,
        learning_rate: float | None = None,
        label: str = "",
    ) -> None:
        """What the device is now, and what can be asked of it."""
        with self._lock:
            self._info, self._unavailable, self._label = info, dict(unavailable), label
            self._state = "paused" if paused else "running"
            if learning_rate is not None:
                self._learning_rate = learning_rate
            self._version += 1

    def statistics(self, statistics: Statistics) -> None:
        """The device's counters were read."""
        with self._lock:
            self._statistics = statistics
            self._version += 1

    def snapshot(self) -> Snapshot:
        """All that there is to show, at one moment."""
        with self._lock:
            info, event = self._info, self._event
            counter_hz = info.counter_hz if info else 0
            ms = 1000 / counter_hz if counter_hz else None
            learned = event is not None and event.record.train_ticks > 0
            return Snapshot(
                version=self._version,
                state=self._end or ("no answer" if self._silence else self._state),
                silence=self._silence,
                outcome=self._outcome,
                heading=heading(self._start) if self._start else "",
                start=self._start,
                info=info,
                event=event,
                statistics=self._statistics,
                learning_rate=self._learning_rate,
                loss=(self._line("loss"),),
                accuracy=(self._line("accuracy"), self._line("window accuracy")),
                inference_ms=ms * event.record.inference_ticks if event and ms else None,
                train_ms=ms * event.record.train_ticks if event and ms and learned else None,
                classes=self._classes(info),
                notices=tuple(self._notices),
                unavailable=dict(self._unavailable),
                label=self._label,
            )

    def _line(self, name: str) -> Line:
        curve = self._curves[name]
        return Line(name=name, points=tuple(zip(curve.x, curve.y, strict=True)))

    def _classes(self, info: DeviceInfo | None) -> tuple[ClassCount, ...]:
        if info is None or info.loss is LossCode.SQUARED_ERROR:
            # The outputs of a regression or an autoencoder are no classes.
            return ()
        named = range(info.classes_in_use or len(info.labels))
        return tuple(
            ClassCount(name=info.label_name(index), samples=samples, correct=correct, predicted=predicted)
            for index in sorted({*named, *self._counts})
            for samples, correct, predicted in (self._counts.get(index, (0, 0, 0)),)
        )


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
