"""The loop: keeps the device supplied with samples, each predicted and then learned, and tells what comes back."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections import deque
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from edgelearn.errors import (
    DataError,
    DeviceRefusedError,
    DeviceTimeoutError,
    EdgelearnError,
    OptionError,
    PortError,
    ResultLostError,
    StorageError,
)
from edgelearn.host.control import Action, Command
from edgelearn.host.data import Lesson, Source, check_trainable
from edgelearn.host.desk import Desk
from edgelearn.host.device import NEVER_SAVED, Device, PendingSample, Result, Statistics
from edgelearn.host.diary import Diary, RunClock
from edgelearn.host.interrupt import StopOnInterrupt
from edgelearn.host.link import Pending
from edgelearn.host.metrics import Metrics
from edgelearn.host.patience import Patience
from edgelearn.host.resume import CHANGES, Resumption
from edgelearn.host.telemetry import Record, RunFolder, Sent, StreamOptions, StreamSummary
from edgelearn.host.view import SilentView, StreamEvent, StreamStart, View, Views
from edgelearn.host.web.panel import Panel
from edgelearn.protocol import READING, LossCode
from edgelearn.words import count

if TYPE_CHECKING:
    from typing_extensions import Self

#: So that Ctrl-C is heard while a sample waits for its turn.
_MOST_SLEEP_S = 0.1


def stream(
    device: Device,
    source: Source,
    options: StreamOptions,
    *,
    run_folder: RunFolder | None = None,
    view: View | None = None,
    board_ram_bytes: int | None = None,
    panel: Panel | None = None,
    resumption: Resumption | None = None,
) -> StreamSummary:
    """Stream samples to a device.

    Ctrl-C ends the stream after the result that is under way, with everything kept; a second one does not wait for it.
    A failure ends it too: the run folder is completed with what was received, then the error is raised.

    Args:
        device: with an open session.
        source: of samples for this device, from `load_dataset` or live.
        options: how.
        run_folder: where results are kept; it is closed at the end. The head is read back and the plots are drawn.
        view: what a person sees.
        board_ram_bytes: RAM of the board, for the view, where it is known.
        panel: where people ask for things meanwhile; it is shown everything that the view is.
        resumption: where the run in the folder goes on, from `plan_resumption`; None begins it.

    Raises:
        OptionError: options that make no sense.
        DeviceRefusedError: the device takes samples from its own sensor.
        HeadError: learning is asked for, and the model has no trainable head.
        DataError: learning is asked for, and the data does not say what to learn.
        LearningRateError: the device cannot hold the learning rate.
        StorageError: the run folder could not be written.
        EdgelearnError: what else the device or the port raises, see `Device`.
    """
    view = view or SilentView()
    if panel is not None:
        view = Views(view, panel)
    with _Stream(device, source, options, run_folder, view, board_ram_bytes, panel, resumption) as run:
        return run.run()


class _Stream:
    """One run of the loop, and what has to be tidied up after it."""

    def __init__(
        self,
        device: Device,
        source: Source,
        options: StreamOptions,
        run_folder: RunFolder | None,
        view: View,
        board_ram_bytes: int | None,
        panel: Panel | None,
        resumption: Resumption | None,
    ) -> None:
        self._device = device
        self._source = source
        self._options = options
        self._folder = run_folder
        self._view = view
        self._board_ram_bytes = board_ram_bytes
        self._metrics = Metrics(
            trains=options.train, labels=device.info.labels, window=options.window, pass_samples=source.pass_samples
        )
        self._accuracy_name = self._metrics.accuracy_name
        self._clock = RunClock()
        notices = [*source.notices, *device.info.last_start.notices(device.info.boot)]
        notices += [device.end_at_reset] if device.end_at_reset else []
        self._diary = Diary(run_folder, view, self._clock, self._metrics, notices)
        self._learning_rate: float | None = None
        #: Of the clock: without pauses when the loop began, with them and their sum when it ended.
        self._loop_s = 0.0
        self._elapsed_s = self._paused_s = 0.0
        self._ticks = [0, 0]
        self._stack_bytes = 0
        self._step = device.info.step
        #: In use on the device, as far as it was told.
        self._classes = 0
        #: Samples that were learned, but whose results were lost with a reset.
        self._lost = 0
        self._stop = StopOnInterrupt()
        self._desk: Desk | None = None
        if panel is not None:
            own = {Action.START: self._go_on, Action.PAUSE: self._pause}
            self._desk = Desk(device, panel, lambda text: self._diary.tell("command", text), own)
        self._resumption = resumption
        #: The sample that the device learns next when the loop begins, and the one whose result is next in the folder.
        self._first, self._recorded = (resumption.first, resumption.recorded) if resumption else (0, 0)
        self._earlier_s = self._earlier_paused_s = 0.0
        self._earlier_lost = 0
        self._resumed = 0
        #: Whether the device is worth asking at the end.
        self._answers = True
        self._saved_sequence = NEVER_SAVED
        self._saved_step = device.info.saved_step if device.info.can_save else None
        self._seen = (device.link.retries, device.link.bad_frames)
        if resumption is not None:
            self._take_over(resumption)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._view.close()
        if self._folder is not None:
            with contextlib.suppress(StorageError):
                self._folder.close()

    def run(self) -> StreamSummary:
        options = self._options
        try:
            self._prepare()
        except BaseException:
            if self._folder is not None and self._resumption is None:
                self._folder.discard()
            raise
        total = options.repeat * self._source.pass_samples
        if options.limit:
            total = min(total or options.limit, options.limit)
        self._view.start(
            StreamStart(
                port=self._device.port,
                data=self._source.name,
                total=total,
                options=options,
                info=self._device.info,
                learning_rate=self._learning_rate,
                board_ram_bytes=self._board_ram_bytes,
                run=str(self._folder.path) if self._folder else "",
            )
        )
        for notice in self._diary.notices:
            self._view.notice(notice)
        if self._desk is not None:
            self._desk.show()
        with Patience(self._device, self._diary, self._view, self._stop), self._stop:
            end = self._stream(total)
        try:
            summary = self._conclude(end)
        except EdgelearnError as error:
            # What went wrong first is what a person has to know.
            raise end.failure or error from error
        if end.failure is not None:
            raise end.failure
        return summary

    def _stream(self, total: int) -> _End:
        """The loop, then what the device is asked at the end."""
        ended = "complete"
        failure: EdgelearnError | None = None
        wants_head = self._options.train
        self._clock.begin(earlier_s=self._earlier_s, earlier_paused_s=self._earlier_paused_s)
        try:
            if self._resumption is not None:
                self._take_up(self._resumption, total)
            if not self._loop(total):
                ended = "interrupted"
            elif self._source.why_nothing:
                ended = "error"
                failure = DataError(
                    f"{self._source.name} gave no sample",
                    cause=self._source.why_nothing,
                    hint="give lines of CSV, one row each, or of JSON, one sample each",
                )
        except KeyboardInterrupt:
            # Nobody who wants to end has to wait for a device that does not answer, or presses Ctrl-C twice.
            ended = "interrupted"
            if wants_head and self._folder is not None:
                self._diary.note("the learned head was not read")
            wants_head = self._answers = False
        except EdgelearnError as error:
            if wants_head and self._folder is not None:
                gone = not isinstance(error, StorageError)
                self._diary.note(
                    f"the learned head could not be read: {error.message}" if gone else "the learned head was not read"
                )
            wants_head = self._answers = False
            if self._stop.requested and isinstance(error, PortError | DeviceTimeoutError):
                # Ctrl-C reaches an emulator in the same terminal too: that the port is gone is no failure then.
                ended = "interrupted"
            else:
                ended, failure = "error", error
        self._elapsed_s, self._paused_s = self._clock.time_s, self._clock.paused_s
        if failure is not None or not self._answers:
            return _End(ended, failure)
        try:
            lost = self._take_leave(wants_head=wants_head)
            if lost is not None and ended == "complete":
                return _End("error", lost)
            return _End(ended, None, self._statistics() if lost is None else None)
        except KeyboardInterrupt:
            if wants_head and self._folder is not None:
                self._diary.note("the learned head was not read")
            return _End("interrupted", None)
        except StorageError as error:
            return _End("error", error)

    def _prepare(self) -> None:
        """Refuse what cannot work before anything is sent, then set the learning rate."""
        options = self._options
        if options.repeat < 1 or options.limit < 0 or options.window < 1:
            raise OptionError("repeat and window must be at least 1, limit at least 0")
        if self._device.info.sensor_runs:
            raise DeviceRefusedError(
                f"the device at {self._device.port} takes its samples from its own sensor",
                cause="while that runs it refuses samples of the host, which would need the same buffers",
                hint=f"stop it: `edgelearn monitor --stop --port {self._device.port}`, or in a program "
                "Device.set_sensor(run=False)",
            )
        if not options.train:
            return
        check_trainable(self._device.info)
        if options.self_label is not None and self._device.info.loss is not LossCode.CROSS_ENTROPY:
            raise OptionError("only a classifier can label samples itself")
        if not self._source.can_train and options.self_label is None:
            raise DataError(f"{self._source.name} has no labels to learn from", hint="add them as the array y")
        self._learning_rate = self._device.info.learning_rate
        if self._resumption is None:
            self._set_up()
            self._log_from(self._folder)

    def _set_up(self) -> None:
        """Tell the device how to learn, and keep the head that it begins with."""
        options = self._options
        if options.learning_rate is not None:
            self._learning_rate = self._device.set_learning_rate(options.learning_rate)
        if options.autosave_steps is not None:
            self._device.set_autosave(options.autosave_steps)
        if self._folder is not None and (self._resumption is None or not self._resumption.was_sent):
            self._folder.write_head_before(self._device.read_head())

    def _log_from(self, folder: RunFolder | None) -> None:
        """From here on write down as which request each sample, and each change of a person, goes, before it goes."""
        if folder is None:
            return
        session, link = self._device.session, self._device.link

        def numbered(pending: Pending) -> None:
            if pending.sample is not None:
                folder.append_sent(Sent(session.number, pending.sequence, pending.sample))
            elif pending.type in CHANGES:
                folder.append_sent(Sent(session.number, pending.sequence, 0, change=CHANGES[pending.type]))

        folder.append_sent(Sent(session.number, link.first_sequence, self._first, is_start=True))
        link.numbered = numbered

    def _take_over(self, resumption: Resumption) -> None:
        """Count what an earlier host received."""
        records = resumption.run.records
        for record in records:
            self._count(record)
        if records:
            self._earlier_s, self._earlier_paused_s = records[-1].time_s, records[-1].paused_s
        self._earlier_lost = resumption.recorded - len(records)
        self._step = self._device.info.step
        self._resumed = 1 + sum(event.kind == "resume" for event in resumption.run.events)

    def _take_up(self, resumption: Resumption, total: int) -> None:
        """Fetch the results that the device has kept, then let it go on."""
        first, recorded = resumption.first, resumption.recorded
        if self._folder is not None:
            self._folder.remove_summary()
        lessons: Iterable[Lesson | None] = ()
        if resumption.kept:
            lessons = self._source.lessons(
                repeat=self._options.repeat, shuffle=self._options.shuffle, seed=self._options.seed, limit=first
            )
        for number, lesson in enumerate(lessons):
            sequence = resumption.kept.get(number)
            if lesson is not None and sequence is not None:
                has_targets = lesson.targets is not None or lesson.target_is_input
                result = self._device.ask_again(sequence, label=lesson.label, has_targets=has_targets)
                self._take(self._record(number, lesson, result), total)
        lost = max(0, first - recorded - len(resumption.kept))
        self._lost += lost
        self._recorded = max(first, recorded)
        if self._options.train:
            # Before anything takes a number that an earlier host had written down for a sample and never sent.
            self._log_from(self._folder)
        # Only now: what changes the device's state makes it forget the oldest result that it has kept.
        if resumption.survive is not None:
            resumption.survive()
            if self._device.end_at_reset:
                self._diary.note(self._device.end_at_reset)
        if self._options.train and first == 0 and not resumption.is_set_up:
            self._set_up()
        text = f"carried on after sample {recorded}"
        if resumption.kept:
            text += f"; the device still knew {count(len(resumption.kept), 'result')}"
        if lost:
            text += f"; {count(lost, 'result')} of samples that it has learned {'is' if lost == 1 else 'are'} lost"
        self._diary.tell("resume", text, step=self._device.info.step)
        if first < recorded:
            again = f"{count(recorded - first, 'sample')} learned again: the device was reset and had not saved them"
            self._diary.tell("replay", again)

    def _loop(self, total: int) -> bool:
        """Stream; False when it was interrupted."""
        options = self._options
        lessons = self._source.lessons(
            repeat=options.repeat,
            shuffle=options.shuffle,
            seed=options.seed,
            limit=options.limit,
        )
        self._loop_s = self._clock.active_s
        number, first = 0, self._first
        waiting: deque[_Sent] = deque()
        interrupted = False
        try:
            for lesson in lessons:
                self._tell_problems()
                self._serve_desk(waiting, total)
                if lesson is not None and number < first:
                    number += 1
                    continue
                if lesson is not None:
                    self._wait_for_turn(number, waiting, total)
                if self._stop.requested:
                    interrupted = True
                    break
                if lesson is None:
                    if waiting:
                        self._device.link.poll(0.0)
                else:
                    self._keep_within_reach(waiting, total)
                    waiting.append(_Sent(number, lesson, self._send(lesson, number)))
                    number += 1
                self._take_what_is_done(waiting, total)
            self._tell_problems()
            while waiting:
                self._take_next(waiting, total)
        except BaseException:
            # What was acknowledged before is not lost with what failed.
            self._take_what_is_done(waiting, total)
            raise
        return not interrupted

    def _wait_for_turn(self, number: int, waiting: deque[_Sent], total: int) -> None:
        """With a rate, wait until the sample is due; results that come meanwhile are taken."""
        rate_hz = self._options.rate_hz
        while rate_hz > 0 and not self._stop.requested:
            self._serve_desk(waiting, total)
            left_s = self._loop_s + (number - self._first) / rate_hz - self._clock.active_s
            if left_s <= 0:
                return
            if waiting:
                self._device.link.poll(left_s)
                self._take_what_is_done(waiting, total)
            else:
                time.sleep(min(left_s, _MOST_SLEEP_S))

    def _serve_desk(self, waiting: deque[_Sent], total: int) -> None:
        """Carry out what people ask for; returns when the stream is to go on."""
        desk = self._desk
        if desk is None:
            return
        self._serve(desk)
        if not desk.is_paused:
            return
        self._clock.pause()
        while desk.is_paused and not self._stop.requested:
            if waiting:
                self._device.link.poll(_MOST_SLEEP_S)
                self._take_what_is_done(waiting, total)
            else:
                time.sleep(_MOST_SLEEP_S)
            self._serve(desk)
        self._clock.go_on()

    def _serve(self, desk: Desk) -> None:
        link = self._device.link
        link.is_asked = True
        try:
            desk.serve()
        finally:
            link.is_asked = False

    def _pause(self, _: Command) -> str:
        assert self._desk is not None  # noqa: S101 - only it calls
        self._desk.is_paused = True
        return "paused"

    def _go_on(self, _: Command) -> str:
        assert self._desk is not None  # noqa: S101 - only it calls
        self._desk.is_paused = False
        return "going on"

    def _keep_within_reach(self, waiting: deque[_Sent], total: int) -> None:
        """Before a sample is sent, write down results until all that are not are among the replies the device keeps.

        A host that is killed then loses none of them: the next one asks for them again.
        """
        link = self._device.link
        while waiting:
            pending = waiting[0].pending
            begun = (link.first_sequence - pending.request.sequence) % READING
            if begun + len(pending.parts) + 1 <= link.window:
                return
            self._take_next(waiting, total)

    def _take_what_is_done(self, waiting: deque[_Sent], total: int) -> None:
        while waiting and waiting[0].pending.is_done:
            self._take_next(waiting, total)

    def _take_next(self, waiting: deque[_Sent], total: int) -> None:
        sent = waiting.popleft()
        try:
            result = self._device.result(sent.pending)
        except ResultLostError:
            self._lost += sent.number >= self._recorded
            return
        finally:
            self._diary.tell_session(self._device.session)
        self._note_save(result)
        self._step = result.step
        # What an earlier host has received is in the folder; the device had to learn it again.
        if sent.number >= self._recorded:
            self._take(self._record(sent.number, sent.lesson, result), total)

    def _record(self, number: int, lesson: Lesson, result: Result) -> Record:
        link, seen = self._device.link, self._seen
        self._seen = (link.retries, link.bad_frames)
        return Record(
            number=number,
            pass_number=lesson.pass_number,
            sample=lesson.sample,
            prediction=result.prediction,
            confidence=round(result.confidence, 6),
            label=lesson.label,
            loss=result.loss,
            step=result.step,
            time_s=round(self._clock.time_s, 6),
            round_trip_s=round(result.round_trip_s, 6),
            inference_ticks=result.inference_ticks,
            train_ticks=result.train_ticks,
            stack_bytes=result.stack_bytes,
            retries=link.retries - seen[0],
            crc_errors=link.bad_frames - seen[1],
            learned=result.learned,
            self_labelled=result.self_labelled,
            saved_step=self._saved_step,
            paused_s=round(self._clock.paused_s, 6),
        )

    def _note_save(self, result: Result) -> None:
        """Tell when the device has saved its head by itself: after the sample before this one."""
        if result.saved_sequence not in (self._saved_sequence, NEVER_SAVED):
            self._saved_sequence, self._saved_step = result.saved_sequence, self._step
            self._diary.tell("save", "the device has saved its head", step=self._step, is_shown=False)

    def _tell_problems(self) -> None:
        problems = self._source.problems
        while problems:
            self._diary.tell("notice", problems.pop(0))

    def _tell_new_class(self, lesson: Lesson) -> None:
        """Say that a label takes spare outputs into use, which the device does without being asked."""
        info, label = self._device.info, lesson.label
        self._classes = max(self._classes, info.classes_in_use)
        learns = self._options.train and self._options.self_label is None and info.classes_in_use > 0
        if not learns or label is None or label < self._classes:
            return
        new = [info.label_name(index) for index in range(self._classes, label + 1)]
        self._classes = label + 1
        which = f"class {new[0]} is" if len(new) == 1 else f"classes {', '.join(new)} are"
        self._diary.tell("notice", f"{which} taken into use: sample {lesson.sample} has that label")

    def _send(self, lesson: Lesson, number: int) -> PendingSample:
        self._tell_new_class(lesson)
        judgement: dict[str, Any] = {
            "label": lesson.label,
            "targets": lesson.targets,
            "target_is_input": lesson.target_is_input,
        }
        if not self._device.info.is_trainable:
            judgement = {}
        return self._device.submit(
            lesson.inputs,
            train=self._options.train,
            self_label=self._options.self_label if self._options.train else None,
            number=number,
            **judgement,
        )

    def _take(self, record: Record, total: int) -> None:
        if self._folder is not None:
            self._folder.append(record)
        self._count(record)
        metrics = self._metrics
        rate = metrics.samples / max(record.time_s - record.paused_s, 1e-6)
        self._view.result(
            StreamEvent(
                record=record,
                done=metrics.samples,
                total=total,
                accuracy_name=metrics.accuracy_name,
                accuracy=metrics.accuracy,
                window_accuracy=metrics.window_accuracy.value,
                window_loss=metrics.window_loss.value,
                samples_per_s=rate,
                left_s=(total - metrics.samples) / rate if total else 0.0,
                retries=self._device.link.retries,
                bad_frames=self._device.link.bad_frames,
            )
        )

    def _count(self, record: Record) -> None:
        self._metrics.add(pass_number=record.pass_number, correct=record.correct, label=record.label, loss=record.loss)
        self._step = record.step
        self._stack_bytes = max(self._stack_bytes, record.stack_bytes)
        self._ticks[0] += record.inference_ticks
        self._ticks[1] += record.train_ticks

    def _take_leave(self, *, wants_head: bool) -> EdgelearnError | None:
        """Let the device save its head, and read that; returns why it could not be read."""
        if not wants_head:
            return None
        if self._options.save and self._device.info.can_save:
            try:
                self._device.save()
                self._diary.tell("save", "the head was saved at the end", step=self._step, is_shown=False)
            except StorageError:
                raise
            except EdgelearnError as error:
                self._diary.note(f"the device has not saved its head: {error.cause or error.message}")
        if self._folder is not None:
            try:
                self._folder.write_head(self._device.read_head())
            except StorageError:
                raise
            except EdgelearnError as error:
                self._diary.note(f"the learned head could not be read: {error.message}")
                return error
        return None

    def _conclude(self, end: _End) -> StreamSummary:
        folder, again = self._folder, self._how_to_carry_on()
        if again and isinstance(end.failure, PortError | DeviceTimeoutError):
            hints = (end.failure.hint, f"then {again} carries the run on")
            end.failure.hint = "; ".join(part for part in hints if part)
        if self._lost:
            self._diary.note(
                f"{count(self._lost, 'sample')} learned, whose results were lost with a reset or with the host"
            )
        if self._options.train and self._desk is not None and self._desk.learning_rate is not None:
            self._learning_rate = self._desk.learning_rate
        samples = self._metrics.samples
        active_s = self._elapsed_s - self._paused_s
        passes = self._metrics.passes()
        if folder is not None:
            folder.close()
        summary = StreamSummary(
            ended=end.ended,
            error=str(end.failure) if end.failure else "",
            samples=samples,
            results=samples,
            step=self._step,
            learning_rate=self._learning_rate,
            accuracy_name=self._accuracy_name,
            accuracy=passes[0].accuracy if passes else None,
            training_accuracy=passes[-1].accuracy if len(passes) > 1 and self._options.train else None,
            passes=passes,
            elapsed_s=round(self._elapsed_s, 3),
            paused_s=round(self._paused_s, 3),
            samples_per_s=round(samples / active_s, 3) if active_s > 0 else 0.0,
            inference_ticks=self._ticks[0] / samples if samples else 0.0,
            train_ticks=self._ticks[1] / samples if samples else 0.0,
            stack_bytes=self._stack_bytes,
            static_ram_bytes=self._device.info.static_ram_bytes,
            stack_size_bytes=self._device.info.stack_size_bytes,
            link=self._device.counters,
            run=str(folder.path) if folder else "",
            notices=tuple(self._diary.notices),
            statistics=end.statistics,
            labels=self._device.info.labels,
            lost_results=self._earlier_lost + self._lost,
            resumed=self._resumed,
        )
        if folder is not None:
            # The summary first: nothing that goes wrong with a plot may cost it.
            folder.write_summary(summary)
            if not self._draw(folder):
                summary = msgspec.structs.replace(summary, notices=tuple(self._diary.notices))
                folder.write_summary(summary)
        self._view.finish(summary)
        if again and end.ended == "interrupted":
            self._view.notice(f"{again} carries it on")
        return summary

    def _how_to_carry_on(self) -> str:
        """The command; "" where there is no run, or its samples do not come again."""
        if self._folder is None or not self._source.sha256:
            return ""
        return f"`edgelearn stream --resume {shlex.quote(str(self._folder.path))}`"

    def _statistics(self) -> Statistics | None:
        """The device's own counters; None where it does not tell."""
        try:
            return self._device.statistics()
        except EdgelearnError:
            return None

    def _draw(self, folder: RunFolder) -> bool:
        """Draw the plots; where that fails, say so and go on."""
        from edgelearn.host.plots import draw_plots

        try:
            draw_plots(folder.path)
        except Exception as error:  # a plotting library fails in its own ways
            self._diary.note(f"no plots: {error}")
            return False
        return True


class _End(NamedTuple):
    """How the loop ended."""

    ended: str
    failure: EdgelearnError | None
    statistics: Statistics | None = None


class _Sent(NamedTuple):
    """A sample that is under way."""

    number: int
    lesson: Lesson
    pending: PendingSample
