"""Watches a device that takes samples from its own sensor: what it says of them is shown and kept as of a stream.

The device does not need anybody who watches: it learns before, meanwhile and afterwards.
"""

from __future__ import annotations

import contextlib
import time

from msgspec import Struct

from edgelearn.errors import (
    DeviceRefusedError,
    DeviceResetError,
    DeviceTimeoutError,
    EdgelearnError,
    OptionError,
    PortError,
    StorageError,
)
from edgelearn.host.control import Action, Command
from edgelearn.host.desk import Desk
from edgelearn.host.device import Device, DeviceInfo, SensorEvent, Statistics
from edgelearn.host.diary import Diary, RunClock
from edgelearn.host.interrupt import StopOnInterrupt
from edgelearn.host.link import is_before
from edgelearn.host.metrics import Metrics
from edgelearn.host.patience import Patience
from edgelearn.host.session import SessionEvent
from edgelearn.host.telemetry import SENSOR, Record, RunFolder, StreamOptions, StreamSummary
from edgelearn.host.view import SilentView, StreamEvent, StreamStart, View, Views
from edgelearn.host.web.panel import Panel
from edgelearn.protocol import LossCode
from edgelearn.words import count

_WAIT_S = 0.1
#: Without a panel the device's counters are read so often, which shows that it is still there.
_COUNTERS_EVERY_S = 2.0


class MonitorOptions(Struct, frozen=True, kw_only=True):
    """How a device is watched.

    Attributes:
        start: start the sensor as the next four say; otherwise what runs is left as it is.
        train: learn from the samples.
        label: name or number of the class of all samples until another is named, "" for none.
        self_label: learn the predicted class where its probability is at least this.
        samples: stop the sensor after so many, 0: never.
        learning_rate: set before; None leaves the device's.
        autosave_steps: the device is to save its head after so many steps, 0 never; None leaves what it does.
        report_every: look at every so many samples.
        window: samples of the sliding means.
    """

    start: bool = False
    train: bool = False
    label: str = ""
    self_label: float | None = None
    samples: int = 0
    learning_rate: float | None = None
    autosave_steps: int | None = None
    report_every: int = 1
    window: int = 100

    def as_stream(self, info: DeviceInfo) -> StreamOptions:
        """What of it a run's record keeps; a device that is only looked at may well learn."""
        return StreamOptions(
            train=self.train if self.start else info.is_trainable,
            learning_rate=self.learning_rate,
            limit=self.samples,
            window=self.window,
            self_label=self.self_label,
            autosave_steps=self.autosave_steps,
            save=False,
        )


class SensorOrigin(Struct, frozen=True):
    """Where the samples come from, for a run's record."""

    name: str = SENSOR
    sha256: str = ""


def check_sensor(device: Device) -> None:
    """Refuse a device without a sensor of its own.

    Raises:
        DeviceRefusedError: it has none.
    """
    if not device.info.has_sensor:
        raise DeviceRefusedError(
            "the device takes no samples by itself",
            cause="its firmware was generated without a sensor",
            hint="generate it with --sensor FILE.c (with MicroPython main.py reads one); or stream samples to it and "
            "watch with `edgelearn stream --web`",
        )


def monitor(
    device: Device,
    options: MonitorOptions,
    *,
    run_folder: RunFolder | None = None,
    view: View | None = None,
    board_ram_bytes: int | None = None,
    panel: Panel | None = None,
) -> StreamSummary:
    """Watch until Ctrl-C, or until the sensor has taken the samples it was started for. The sensor is left as it is.

    Args:
        device: with an open session.
        options: how.
        run_folder: where results are kept; it is closed at the end, the head is read back.
        view: what a person sees.
        board_ram_bytes: RAM of the board, for the view, where it is known.
        panel: where people ask for things meanwhile; it is shown everything that the view is.

    Raises:
        DeviceRefusedError: the device has no sensor, or cannot learn that way.
        OptionError: options that make no sense.
        LearningRateError: the device cannot hold the learning rate.
        StorageError: the run folder could not be written.
        EdgelearnError: what else the device or the port raises, see `Device`.
    """
    view = view or SilentView()
    watch = _Monitor(device, options, run_folder, Views(view, panel) if panel else view, board_ram_bytes, panel)
    try:
        return watch.run()
    finally:
        view.close()
        if panel is not None:
            panel.close()
        if run_folder is not None:
            with contextlib.suppress(StorageError):
                run_folder.close()


class _Monitor:
    """One time of watching."""

    def __init__(
        self,
        device: Device,
        options: MonitorOptions,
        folder: RunFolder | None,
        view: View,
        board_ram_bytes: int | None,
        panel: Panel | None,
    ) -> None:
        self._device = device
        self._options = options
        self._folder = folder
        self._view = view
        self._board_ram_bytes = board_ram_bytes
        trains = options.as_stream(device.info).train
        self._metrics = Metrics(trains=trains, labels=device.info.labels, window=options.window)
        self._clock = RunClock()
        self._diary = Diary(folder, view, self._clock, self._metrics)
        self._number = 0
        self._lost = 0
        self._ticks = [0, 0]
        self._stack_bytes = 0
        #: Of the clock, when the watching ended.
        self._elapsed_s = self._paused_s = 0.0
        self._step = device.info.step
        #: Of the last event: its session and its number.
        self._session = device.session.number
        self._last_sequence: int | None = None
        #: Samples that the device says it has taken: in the last event, and in all since the first.
        #: The reset after which the sensor was stopped.
        self._stopped_by: SessionEvent | None = None
        self._last_samples: int | None = None
        self._taken = 0
        #: Samples after which the sensor stops, counted as the device does; 0: never, or it is not known.
        self._limit = 0
        self._read_at_s = 0.0
        self._desk: Desk | None = None
        if panel is not None:
            own = {Action.START: self._go_on, Action.PAUSE: self._pause, Action.LABEL: self._set_label}
            no_labels = "" if self._learns_classes else "the model on the device has no classes that it could learn"
            self._desk = Desk(
                device, panel, lambda text: self._diary.tell("command", text), own, {Action.LABEL: no_labels}
            )

    @property
    def _learns_classes(self) -> bool:
        info = self._device.info
        return info.is_trainable and info.loss is LossCode.CROSS_ENTROPY

    def run(self) -> StreamSummary:
        """Watch; the summary of what was seen."""
        try:
            learning_rate = self._prepare()
        except BaseException:
            if self._folder is not None:
                self._folder.discard()
            raise
        info = self._device.info
        self._view.start(
            StreamStart(
                port=self._device.port,
                data=SENSOR,
                total=self._options.samples if self._options.start else 0,
                options=self._options.as_stream(info),
                info=info,
                learning_rate=learning_rate,
                board_ram_bytes=self._board_ram_bytes,
                run=str(self._folder.path) if self._folder else "",
            )
        )
        self._clock.begin()
        for notice in (*info.last_start.notices(info.boot), self._device.end_at_reset):
            if notice:
                self._diary.note(notice)
        runs = self._options.start or info.sensor_runs
        if not runs:
            self._clock.pause()
        if self._desk is not None:
            self._desk.is_paused = not runs
            label = self._options.label
            self._desk.label = info.label_name(self._device.class_index(label)) if label else ""
            self._desk.show()
        elif not runs:
            self._diary.note(
                "the sensor is stopped; start it with --train, --predict or --self-label, or on the page of --web"
            )
        ended, statistics = "interrupted", None
        failure: EdgelearnError | None = None
        stop = StopOnInterrupt()
        with Patience(self._device, self._diary, self._view, stop), stop:
            try:
                try:
                    ended = self._watch(stop)
                finally:
                    self._elapsed_s, self._paused_s = self._clock.time_s, self._clock.paused_s
                statistics = self._take_leave()
            except KeyboardInterrupt:
                if self._folder is not None and info.is_trainable:
                    self._diary.note("the learned head was not read")
            except (PortError, DeviceTimeoutError) as error:
                if not stop.requested:
                    ended, failure = "error", error
            except EdgelearnError as error:
                ended, failure = "error", error
        try:
            summary = self._conclude(ended, failure, learning_rate, statistics)
        except StorageError as error:
            raise failure or error from error
        if failure is not None:
            raise failure
        return summary

    def _prepare(self) -> float | None:
        """Refuse what cannot work, then set the device as the options say; the learning rate where it learns."""
        device, options = self._device, self._options
        check_sensor(device)
        if options.report_every < 1 or options.window < 1 or options.samples < 0:
            raise OptionError("the reports and the window must be of at least 1 sample, the samples at least 0")
        if options.learning_rate is not None:
            device.set_learning_rate(options.learning_rate)
        if options.autosave_steps is not None:
            device.set_autosave(options.autosave_steps)
        if options.start:
            self._start(options.label)
        else:
            device.set_sensor_reports(options.report_every)
        if not device.info.is_trainable or (options.start and not options.train):
            return None
        return device.info.learning_rate if options.learning_rate is None else options.learning_rate

    def _start(self, label: str) -> None:
        device, options = self._device, self._options
        # Where it ran before, reports of that time may still come.
        self._last_samples = None if device.info.sensor_runs or self._taken else 0
        # Named anew, a class does not begin the count of samples anew.
        self._limit = max(1, options.samples - self._taken) if options.samples else 0
        # Who only gives a label, or starts what nobody has set up, wants it to learn.
        trains = device.info.is_trainable and (options.train or not options.start or bool(label))
        device.set_sensor(
            run=True,
            train=trains,
            label=device.class_index(label) if label else None,
            target_is_input=trains and device.info.loss is LossCode.SQUARED_ERROR,
            self_label=options.self_label,
            samples=self._limit,
            report_every=options.report_every,
        )

    def _watch(self, stop: StopOnInterrupt) -> str:
        counters: Statistics | None = None
        runs = self._options.start or self._device.info.sensor_runs
        while not stop.requested:
            if self._desk is not None:
                self._desk.serve()
                counters = self._desk.statistics
            elif time.monotonic() - self._read_at_s >= _COUNTERS_EVERY_S:
                self._read_at_s = time.monotonic()
                counters = self._device.statistics()
            for event in self._device.sensor_events(_WAIT_S):
                self._take(event)
            for change in self._device.session.events:
                if change.kind == "reset":
                    self._stopped_by = None if change.sensor_runs else change
            self._diary.tell_session(self._device.session)
            if self._stopped_by is not None and self._desk is None and runs:
                raise _sensor_is_stopped(self._stopped_by)
            if self._options.start and 0 < self._options.samples <= self._taken:
                return "complete"
            if counters is not None and 0 < self._limit <= counters.sensor_samples:
                # The last samples have no report, or it did not arrive.
                self._count_unreported()
                return "complete"
        return "interrupted"

    def _count_unreported(self) -> None:
        """Count the samples between the last report and the end."""
        last, every = self._last_samples or 0, self._options.report_every
        self._taken += max(0, self._limit - last)
        self._lost += max(0, self._limit // every - last // every)

    def _is_news(self, event: SensorEvent) -> bool:
        """Whether the line has neither doubled an event nor made it late."""
        if event.session != self._session:
            if event.session != self._device.session.number:
                return False
            # The device was reset: it numbers its events from 1 again.
            self._session, self._last_sequence, self._last_samples = event.session, None, None
        if self._last_sequence is not None and not is_before(self._last_sequence, event.sequence):
            return False
        self._last_sequence = event.sequence
        return True

    def _take(self, event: SensorEvent) -> None:
        if not self._is_news(event):
            return
        before = self._last_samples
        if before is None or event.samples <= before:
            # The first, or the sensor was started anew: it counts from 1 again.
            fresh = event.samples if before is not None else self._options.report_every
            missed = 0
        else:
            fresh = event.samples - before
            missed = max(0, fresh // self._options.report_every - 1)
        self._last_samples = event.samples
        self._taken += fresh
        self._lost += missed
        record = Record(
            number=self._number,
            pass_number=0,
            sample=event.samples - 1,
            prediction=event.prediction,
            confidence=round(event.confidence, 6),
            # What the device has named itself proves nothing.
            label=None if event.self_labelled else event.label,
            loss=event.loss,
            step=event.step,
            time_s=round(self._clock.time_s, 6),
            round_trip_s=0.0,
            inference_ticks=event.inference_ticks,
            train_ticks=event.train_ticks,
            stack_bytes=event.stack_bytes,
            learned=event.learned,
            self_labelled=event.self_labelled,
            taken=fresh,
            paused_s=round(self._clock.paused_s, 6),
        )
        self._number += 1
        if self._folder is not None:
            self._folder.append(record)
        metrics = self._metrics
        metrics.add(pass_number=0, correct=record.correct, label=record.label, loss=record.loss)
        self._step = record.step
        self._stack_bytes = max(self._stack_bytes, record.stack_bytes)
        self._ticks[0] += record.inference_ticks
        self._ticks[1] += record.train_ticks
        rate_hz = self._taken / max(self._clock.active_s, 1e-6)
        total = self._options.samples if self._options.start else 0
        self._view.result(
            StreamEvent(
                record=record,
                done=self._taken,
                total=total,
                accuracy_name=metrics.accuracy_name,
                accuracy=metrics.accuracy,
                window_accuracy=metrics.window_accuracy.value,
                window_loss=metrics.window_loss.value,
                samples_per_s=rate_hz,
                left_s=max(0, total - self._taken) / rate_hz if total else 0.0,
                retries=self._device.link.retries,
                bad_frames=self._device.link.bad_frames,
            )
        )

    def _take_leave(self) -> Statistics | None:
        """Read the device's counters and its head."""
        statistics = None
        try:
            statistics = self._device.statistics()
            if self._folder is not None and self._device.info.is_trainable:
                self._folder.write_head(self._device.read_head())
        except StorageError:
            raise
        except EdgelearnError as error:
            self._diary.note(f"the learned head could not be read: {error.message}")
        return statistics

    def _conclude(
        self, ended: str, failure: EdgelearnError | None, learning_rate: float | None, statistics: Statistics | None
    ) -> StreamSummary:
        folder, elapsed_s, paused_s = self._folder, self._elapsed_s, self._paused_s
        if self._lost:
            self._diary.note(f"{count(self._lost, 'report')} did not arrive; the device learned all the same")
        if learning_rate is not None and self._desk is not None and self._desk.learning_rate is not None:
            learning_rate = self._desk.learning_rate
        passes, shown = self._metrics.passes(), self._metrics.samples
        summary = StreamSummary(
            ended=ended,
            error=str(failure) if failure else "",
            samples=self._taken,
            results=shown,
            step=self._step,
            learning_rate=learning_rate,
            accuracy_name=self._metrics.accuracy_name,
            accuracy=passes[0].accuracy if passes else None,
            training_accuracy=None,
            passes=passes,
            elapsed_s=round(elapsed_s, 3),
            paused_s=round(paused_s, 3),
            samples_per_s=round(self._taken / (elapsed_s - paused_s), 3) if elapsed_s > paused_s else 0.0,
            inference_ticks=self._ticks[0] / shown if shown else 0.0,
            train_ticks=self._ticks[1] / shown if shown else 0.0,
            stack_bytes=self._stack_bytes,
            static_ram_bytes=self._device.info.static_ram_bytes,
            stack_size_bytes=self._device.info.stack_size_bytes,
            link=self._device.counters,
            run=str(folder.path) if folder else "",
            notices=tuple(self._diary.notices),
            statistics=statistics,
            labels=self._device.info.labels,
        )
        if folder is not None:
            folder.write_summary(summary)
        self._view.finish(summary)
        return summary

    def _go_on(self, _: Command) -> str:
        desk = self._the_desk
        if not self._device.resume_sensor():
            # Nobody has set it up, or it has taken all the samples that it was set up for.
            self._start(desk.label)
        self._note_running()
        return "the sensor goes on"

    def _pause(self, _: Command) -> str:
        self._device.set_sensor(run=False)
        self._the_desk.is_paused = True
        self._clock.pause()
        return "the sensor is stopped"

    def _set_label(self, command: Command) -> str:
        device, text = self._device, command.text
        if device.statistics().sensor_samples:
            device.set_sensor_label(device.class_index(text) if text else None)
        else:
            # Nobody has set it up.
            self._start(text)
            self._note_running()
        self._the_desk.label = text
        return f"from now on the samples are {text}" if text else "from now on the samples have no label"

    def _note_running(self) -> None:
        self._the_desk.is_paused = False
        self._clock.go_on()

    @property
    def _the_desk(self) -> Desk:
        assert self._desk is not None  # noqa: S101 - only it calls
        return self._desk


def _sensor_is_stopped(event: SessionEvent) -> DeviceResetError:
    return DeviceResetError(
        "the sensor is stopped since the device was reset",
        cause=f"it was reset{event.why}" if event.cause else "",
        hint="start it again with --train, --predict or --self-label; one that was saved with the head goes on by "
        "itself, unless it brings on one fault after the other",
    )
