"""Watching a device that takes samples from its own sensor."""

from __future__ import annotations

import io
import os
import signal
import threading
import time

import pytest
from click.testing import CliRunner

from edgelearn.cli import main
from edgelearn.errors import DeviceRefusedError, OptionError
from edgelearn.host.control import Action, Command
from edgelearn.host.device import SensorEvent, open_device
from edgelearn.host.monitor import MonitorOptions, SensorOrigin, monitor
from edgelearn.host.report import render_report
from edgelearn.host.runs import figures, list_runs
from edgelearn.host.telemetry import SUMMARY, create_run, read_run
from edgelearn.host.view import LiveView, closing
from edgelearn.host.web.panel import Panel
from edgelearn.protocol import LossCode, SampleFlag
from tests.support.fake_device import FakeDevice, Faults, Model, Sensor
from tests.support.tools import require_package
from tests.unit.host.test_desk import until

SENSOR = Model(has_sensor=True, sensor_hz=400.0)
KEEPING = Model(
    labels=("zero", "one", "two", ""), classes=3, label_bytes=12, can_save=True, has_sensor=True, sensor_hz=200.0
)
LEARN = MonitorOptions(start=True, train=True, samples=120)


def watched(fake, options, tmp_path):
    with open_device(fake.url) as device:
        folder = create_run(
            tmp_path, info=device.info, port=device.port, source=SensorOrigin(), options=options.as_stream(device.info)
        )
        summary = monitor(device, options, run_folder=folder)
    return summary, read_run(folder.path)


class Watching:
    """A monitor in a thread, with a panel."""

    def __init__(self, model, options):
        self.panel = Panel()
        self.fake = FakeDevice(model)
        self._options = options
        self.error = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        try:
            with open_device(self.fake.url) as device:
                monitor(device, self._options, panel=self.panel)
        except Exception as error:
            self.error = error

    def ask(self, action, **values):
        self.panel.controls.ask(Command(action=action, **values))

    def said(self, text):
        return any(text in notice.text for notice in self.panel.snapshot().notices)

    def __enter__(self):
        self.fake.__enter__()
        self._thread.start()
        until(lambda: self.panel.snapshot().state != "waiting")
        return self

    def __exit__(self, *_):
        # It watches for ever: the device going away ends it.
        self.fake.__exit__()
        self._thread.join(timeout=60)
        assert not self._thread.is_alive()


def test_it_shows_and_keeps_what_the_device_says(tmp_path):
    with FakeDevice(SENSOR) as fake:
        summary, run = watched(fake, LEARN, tmp_path)
        assert not fake.sensor.runs
    assert summary.ended == "complete"
    assert summary.samples == 120
    assert [record.sample for record in run.records] == list(range(120))
    # The synthetic sensor labels every third sample, and only those are learned.
    learned = [record for record in run.records if record.learned]
    assert [record.sample for record in learned] == list(range(0, 120, 3))
    assert summary.step == len(learned) == 40
    assert all((record.label is None) != record.learned for record in run.records)
    assert run.summary.accuracy is not None
    assert run.summary.statistics.sensor_learned == 40
    assert run.manifest.data == "its own sensor"
    assert not run.problems


def test_the_report_says_nothing_of_round_trips_that_never_were(tmp_path):
    require_package("matplotlib")
    with FakeDevice(SENSOR) as fake:
        _, run = watched(fake, LEARN, tmp_path)
    assert figures(run).round_trip_s is None
    page = render_report(run)
    assert "Accuracy over the samples" in page
    assert "round trip, ms" not in page
    assert "Distribution of the round trip" not in page


def test_what_the_device_named_itself_does_not_count_as_right(tmp_path):
    with FakeDevice(SENSOR) as fake:
        summary, run = watched(fake, MonitorOptions(start=True, train=True, self_label=0.0, samples=60), tmp_path)
    own = [record for record in run.records if record.self_labelled]
    assert own
    assert all(record.label is None for record in own)
    assert summary.samples == 60


def test_reports_may_be_fewer_than_samples(tmp_path):
    options = MonitorOptions(start=True, train=True, samples=100, report_every=10)
    with FakeDevice(SENSOR) as fake:
        summary, run = watched(fake, options, tmp_path)
    assert summary.samples == 100
    assert [record.sample for record in run.records] == list(range(9, 100, 10))
    assert not summary.notices


def test_the_end_comes_without_a_report_of_the_last_sample(tmp_path):
    with FakeDevice(SENSOR) as fake:
        summary, run = watched(
            fake, MonitorOptions(start=True, train=True, samples=10, report_every=4), tmp_path / "between"
        )
    assert (summary.ended, summary.samples) == ("complete", 10)
    assert [record.sample for record in run.records] == [3, 7]
    assert not summary.notices
    # On a line that loses some, nothing waits for those.
    options = MonitorOptions(start=True, train=True, samples=40)
    with FakeDevice(SENSOR, Faults(lose_reply=0.2, seed=1)) as fake:
        summary, run = watched(fake, options, tmp_path / "lost")
    assert (summary.ended, summary.samples) == ("complete", 40)
    lost = 40 - len(run.records)
    assert lost > 1
    assert any(f"{lost} reports did not arrive" in notice for notice in summary.notices)


def test_samples_are_the_same_number_wherever_they_stand(tmp_path):
    options = MonitorOptions(start=True, train=True, samples=60, report_every=4)
    with FakeDevice(SENSOR) as fake:
        summary, run = watched(fake, options, tmp_path)
    assert (summary.samples, summary.results) == (60, 15)
    assert "done: 60 samples (15 reported)" in closing(summary)[0]
    found = figures(run)
    assert (found.samples, found.results) == (60, 15)
    assert list_runs(tmp_path)[0].samples == 60
    shown = CliRunner().invoke(main, ["runs", "show", "last", "--runs", str(tmp_path)]).output
    rows = [row.split() for row in shown.splitlines()]
    assert ["samples", "60"] in rows
    assert ["of", "these", "reported", "15"] in rows
    # Also where its host has crashed.
    (run.path / SUMMARY).unlink()
    assert figures(read_run(run.path)).samples == list_runs(tmp_path)[0].samples == 60


def told(samples, sequence, session):
    return SensorEvent(
        samples=samples,
        prediction=0,
        confidence=1.0,
        label=None,
        loss=None,
        step=samples,
        inference_ticks=0,
        train_ticks=0,
        stack_bytes=0,
        sequence=sequence,
        session=session,
    )


def test_an_old_report_is_no_restart(tmp_path):
    """Late, doubled, or of before a reset: only what is new counts, and a reset or a new start is told from that."""
    with FakeDevice(SENSOR) as fake, open_device(fake.url) as device:
        first = device.session.number
        second = first ^ 1
        told_so_far = [
            [told(5, 5, first), told(6, 6, first), told(7, 7, first)],
            [told(6, 6, first), told(7, 7, first), told(3, 3, first)],
            # It was started anew.
            [told(1, 8, first), told(2, 9, first)],
            # Of another program's session.
            [told(90, 90, first ^ 2)],
            # After a reset.
            [told(40, 1, second), told(41, 2, second)],
            [told(3, 10, first), told(41, 2, second)],
        ]

        def sensor_events(_):
            if len(told_so_far) == 2:
                device.session._number = second
            if not told_so_far:
                os.kill(os.getpid(), signal.SIGINT)
                return []
            return told_so_far.pop(0)

        device.sensor_events = sensor_events
        options = MonitorOptions()
        source = SensorOrigin()
        folder = create_run(tmp_path, info=device.info, port="x", source=source, options=options.as_stream(device.info))
        summary = monitor(device, options, run_folder=folder)
    assert [record.sample + 1 for record in read_run(folder.path).records] == [5, 6, 7, 1, 2, 40, 41]
    assert summary.samples == summary.results == 7


def test_who_stops_watching_is_told_nothing_any_more():
    with FakeDevice(SENSOR) as fake:
        with open_device(fake.url) as device:
            device.set_sensor(run=True, train=True, label=2)
            timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
            timer.start()
            assert monitor(device, MonitorOptions()).ended == "interrupted"
            assert fake.session
        until(lambda: fake.session == 0)
        events, step = fake.events, fake.step
        until(lambda: fake.step > step + 10)
        assert fake.events == events


def test_time_that_the_sensor_was_stopped_is_not_in_the_rate():
    with Watching(KEEPING, MonitorOptions()) as run:
        time.sleep(1.0)
        run.ask(Action.START)
        until(lambda: run.panel.snapshot().event is not None and run.panel.snapshot().event.done > 20)
        event = run.panel.snapshot().event
        assert event.record.paused_s >= 0.9
        assert event.samples_per_s > event.done / (event.record.time_s - 0.9 + 1e-3)


def test_resets_and_what_was_asked_for_stand_in_the_run(tmp_path):
    panel = Panel()
    panel.controls.ask(Command(action=Action.LEARNING_RATE, value=0.02))
    options = MonitorOptions(start=True, train=True, label="one", samples=150)
    with FakeDevice(KEEPING) as fake, open_device(fake.url) as device:
        device.survive(None)
        source = SensorOrigin()
        folder = create_run(
            tmp_path, info=device.info, port=fake.url, source=source, options=options.as_stream(device.info)
        )
        timer = threading.Timer(0.3, fake.boot)
        timer.start()
        summary = monitor(device, options, run_folder=folder, panel=panel)
    run = read_run(folder.path)
    assert summary.learning_rate == 0.02
    assert {"command", "reset"} <= {event.kind for event in run.events}
    assert figures(run).resets == 1


def test_outputs_that_are_no_classes_are_not_shown_as_such():
    model = Model(
        loss=LossCode.SQUARED_ERROR, labels=(), outputs=16, inputs=16, classes=0, has_sensor=True, sensor_hz=200.0
    )
    with Watching(model, MonitorOptions(start=True, train=True)) as run:
        until(lambda: run.panel.snapshot().event is not None)
        assert run.panel.snapshot().classes == ()


def test_a_report_that_the_line_doubles_counts_once(tmp_path):
    with FakeDevice(SENSOR, Faults(duplicate_reply=0.2, seed=3)) as fake:
        summary, run = watched(fake, LEARN, tmp_path)
        assert fake.sensor.samples == 120
    assert summary.samples == 120
    assert [record.sample for record in run.records] == list(range(120))


def test_the_page_shows_the_name_of_a_class_that_was_given_by_number():
    with Watching(KEEPING, MonitorOptions(start=True, train=True, label="1")) as run:
        until(lambda: run.panel.snapshot().label == "one")


def test_naming_another_class_leaves_the_number_of_samples():
    with Watching(KEEPING, MonitorOptions(start=True, train=True, label="one", samples=80)) as run:
        until(lambda: run.fake.sensor.samples >= 20)
        run.ask(Action.LABEL, text="two")
        until(lambda: run.fake.sensor.label == 2)
        assert run.fake.sensor.limit == 80
        until(lambda: run.panel.snapshot().state == "complete")
        assert run.panel.snapshot().event.done == 80


def test_a_device_that_runs_is_left_as_it_is(tmp_path):
    """Only looking on changes neither settings nor counts; Ctrl-C ends the looking, not the learning."""
    with FakeDevice(SENSOR) as fake:
        with open_device(fake.url) as device:
            device.set_sensor(run=True, train=True, label=2, report_every=0)
            settings = (fake.sensor.flags, fake.sensor.label)
            timer = threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT))
            timer.start()
            summary = monitor(device, MonitorOptions())
            assert summary.ended == "interrupted"
            assert summary.samples > 20
            assert (fake.sensor.flags, fake.sensor.label) == settings
        assert fake.sensor.runs
        step = fake.step
        until(lambda: fake.step > step + 10)


def test_the_page_starts_labels_pauses_and_goes_on():
    with Watching(KEEPING, MonitorOptions()) as run:
        panel = run.panel
        assert panel.snapshot().state == "paused"
        run.ask(Action.LABEL, text="two")
        until(lambda: panel.snapshot().event is not None and panel.snapshot().event.record.label == 2)
        assert panel.snapshot().state == "running"
        assert panel.snapshot().label == "two"
        assert run.said("from now on the samples are two")
        run.ask(Action.PAUSE)
        until(lambda: run.said("the sensor is stopped"))
        assert not run.fake.sensor.runs
        samples = run.fake.sensor.samples
        run.ask(Action.START)
        until(lambda: run.said("the sensor goes on") and run.fake.sensor.samples > samples)
        assert run.fake.sensor.label == 2
        run.ask(Action.ADD_CLASS, text="three")
        until(lambda: run.said("class 3 is three"))
        run.ask(Action.LABEL, text="three")
        until(lambda: run.fake.sensor.label == 3)
        run.ask(Action.LABEL, text="no such")
        until(lambda: run.said("not done: the device has no class no such"))
        assert run.fake.sensor.label == 3
        run.ask(Action.LABEL)
        until(lambda: run.said("the samples have no label"))
        run.ask(Action.SAVE)
        until(lambda: run.said("the head is saved"))


def test_starting_a_sensor_that_has_taken_all_its_samples_starts_it_anew():
    with Watching(KEEPING, MonitorOptions()) as run:
        with run.fake._lock:
            run.fake.sensor = Sensor(is_set=True, flags=SampleFlag.TRAIN, limit=5, samples=5)
        run.ask(Action.START)
        until(lambda: run.said("the sensor goes on"))
        until(lambda: run.fake.sensor.runs and run.fake.sensor.samples > 5)


def test_starting_what_nobody_has_set_up_learns():
    with Watching(KEEPING, MonitorOptions()) as run:
        run.ask(Action.START)
        until(lambda: run.fake.step > 5)


@pytest.mark.parametrize(
    ("model", "options", "error", "text"),
    [
        (Model(), MonitorOptions(), DeviceRefusedError, "takes no samples by itself"),
        (SENSOR, MonitorOptions(report_every=0), OptionError, "at least 1"),
        (SENSOR, MonitorOptions(start=True, train=True, label="dog"), OptionError, "no class dog"),
    ],
)
def test_what_cannot_work_is_refused_and_leaves_no_run(model, options, error, text, tmp_path):
    with FakeDevice(model) as fake, pytest.raises(error, match=text):
        watched(fake, options, tmp_path)
    assert not list(tmp_path.iterdir())


def test_who_only_predicts_is_told_no_learning_rate(tmp_path):
    with FakeDevice(SENSOR) as fake:
        summary, _ = watched(fake, MonitorOptions(start=True, samples=5), tmp_path)
        assert summary.learning_rate is None
        assert summary.accuracy_name == "accuracy"
        summary, _ = watched(fake, MonitorOptions(start=True, train=True, samples=5), tmp_path)
        assert summary.learning_rate == pytest.approx(0.01, rel=1e-4)


def test_the_live_view_of_what_has_no_end_shows_none(tmp_path):
    rich_console = pytest.importorskip("rich.console")
    out = io.StringIO()
    console = rich_console.Console(
        file=out, force_terminal=True, width=110, height=30, color_system=None, legacy_windows=False
    )
    with FakeDevice(SENSOR) as fake, open_device(fake.url) as device:

        class Until(LiveView):
            def result(self, event):
                super().result(event)
                if event.done >= 20:
                    self._live.refresh()
                    raise OptionError("enough")

        with pytest.raises(OptionError, match="enough"):
            monitor(device, MonitorOptions(start=True, train=True), view=Until(console))
    frame = out.getvalue().split("╭")[-1]
    assert "samples/s" in frame
    assert "left" not in frame
    assert "━" not in frame
    assert "round trip" not in frame
    assert "link  0 retries" in frame


def test_a_class_that_is_not_there_yet_can_be_added():
    with FakeDevice(KEEPING) as fake, open_device(fake.url) as device:
        with pytest.raises(OptionError, match="no class dog") as caught:
            monitor(device, MonitorOptions(start=True, train=True, label="dog"))
        assert f"`edgelearn head add-class dog --port {fake.url}` adds one" in caught.value.hint
    with FakeDevice(SENSOR) as fake, open_device(fake.url) as device:
        with pytest.raises(OptionError, match="no class dog") as caught:
            monitor(device, MonitorOptions(start=True, train=True, label="dog"))
        assert "add-class" not in caught.value.hint


def test_from_the_command_line(tmp_path):
    def call(*arguments):
        with FakeDevice(SENSOR) as fake:
            options = ["monitor", "--port", fake.url, "--runs", str(tmp_path / "runs"), *arguments]
            return CliRunner().invoke(main, options)

    result = call("--train", "--samples", "60", "--every", "2")
    assert result.exit_code == 0, result.output
    assert "fakeboard: learning 60 samples of its own sensor" in result.output
    assert "done: 60 samples" in result.output
    (folder,) = (tmp_path / "runs").iterdir()
    assert len(read_run(folder).records) == 30
    for arguments in (
        ("--predict", "--label", "one"),
        ("--label", "one", "--self-label", "0.5"),
        ("--samples", "5"),
    ):
        result = call(*arguments)
        assert result.exit_code == 2, result.output


def test_the_sensor_is_stopped_from_the_command_line():
    with FakeDevice(SENSOR) as fake:
        with open_device(fake.url) as device:
            device.set_sensor(run=True, train=True, label=2)
        result = CliRunner().invoke(main, ["monitor", "--port", fake.url, "--stop"])
        assert result.exit_code == 0, result.output
        assert "the sensor is stopped" in result.output
        assert not fake.sensor.runs
    with FakeDevice() as fake:
        result = CliRunner().invoke(main, ["monitor", "--port", fake.url, "--stop"])
        assert result.exit_code == 47
        assert "takes no samples by itself" in result.output


def test_a_run_that_only_looks_on_is_one_of_a_device_that_learns():
    with FakeDevice(SENSOR) as fake, open_device(fake.url) as device:
        assert MonitorOptions().as_stream(device.info).train
        assert not MonitorOptions(start=True).as_stream(device.info).train
    with FakeDevice(Model(trainable=False)) as fake, open_device(fake.url) as device:
        assert not MonitorOptions().as_stream(device.info).train


def test_a_class_that_was_added_meanwhile_has_its_name_in_the_run(tmp_path):
    panel = Panel()
    panel.controls.ask(Command(action=Action.ADD_CLASS, text="three"))
    options = MonitorOptions(start=True, train=True, samples=50)
    with FakeDevice(KEEPING) as fake, open_device(fake.url) as device:
        folder = create_run(
            tmp_path, info=device.info, port="x", source=SensorOrigin(), options=options.as_stream(device.info)
        )
        monitor(device, options, run_folder=folder, panel=panel)
    run = read_run(folder.path)
    assert run.manifest.device.label_name(3) == "3"
    assert run.label_name(3) == "three"


def test_options_of_the_page_want_a_page():
    for option in (("--web-port", "0"), ("--web-address", "0.0.0.0"), ("--web-token", "x")):
        result = CliRunner().invoke(main, ["monitor", "--port", "x", *option])
        assert result.exit_code == 2
        assert f"{option[0]} goes with --web" in result.output
    result = CliRunner().invoke(main, ["monitor", "--port", "x", "--web", "--web-address", ""])
    assert result.exit_code != 0
    assert "needs an address" in result.output
