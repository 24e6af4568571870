"""What people ask for while samples are streamed, without a browser: commands in, the device and the panel changed."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from edgelearn.errors import OptionError
from edgelearn.host import plots
from edgelearn.host.control import Action, Command, Controls, available, carry_out
from edgelearn.host.data import make_dataset
from edgelearn.host.device import open_device
from edgelearn.host.runs import figures
from edgelearn.host.stream import stream
from edgelearn.host.telemetry import StreamOptions, create_run, read_run
from edgelearn.host.web.panel import Panel
from tests.support.fake_device import FakeDevice, Model, blobs

SPARE = Model(labels=("zero", "one", "two", ""), classes=3, label_bytes=12, can_save=True)


@pytest.fixture(autouse=True)
def no_plots(monkeypatch):
    monkeypatch.setattr(plots, "draw_plots", lambda path: ())


def until(condition, timeout_s=20.0):
    """Wait for what another thread does."""
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s, "it did not happen"
        time.sleep(0.01)


class Streaming:
    """A stream in a thread, slow enough to be asked for things."""

    def __init__(self, model=SPARE, *, samples=400, rate_hz=200.0):
        self.panel = Panel()
        self._fake = FakeDevice(model)
        self._options = StreamOptions(train=True, learning_rate=0.02, rate_hz=rate_hz)
        self._samples = samples
        self.summary = None
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        x, y = blobs(self._samples, classes=3)
        with open_device(self._fake.url) as device:
            dataset = make_dataset(x, y, device.info, name="blobs.npz", sha256="cd")
            self.summary = stream(device, dataset, self._options, panel=self.panel)

    def ask(self, action, **values):
        self.panel.controls.ask(Command(action=action, **values))

    def said(self, text):
        return any(text in notice.text for notice in self.panel.snapshot().notices)

    def __enter__(self):
        self._fake.__enter__()
        self._thread.start()
        until(lambda: self.panel.snapshot().event is not None)
        return self

    def __exit__(self, *_):
        self.ask(Action.START)
        self._thread.join(timeout=30)
        self._fake.__exit__()


def test_commands_come_in_order_and_none_is_lost():
    controls = Controls()
    assert controls.take() is None
    for value in range(3):
        controls.ask(Command(action=Action.LEARNING_RATE, value=value))
    assert [controls.take(0.01).value for _ in range(3)] == [0, 1, 2]
    assert controls.take(0.01) is None


def test_time_that_a_stream_was_paused_is_not_in_its_rate(tmp_path):
    panel = Panel()
    x, y = blobs(60, classes=3)
    panel.controls.ask(Command(action=Action.PAUSE))
    timer = threading.Timer(1.5, lambda: panel.controls.ask(Command(action=Action.START)))
    timer.start()
    options = StreamOptions(train=True, learning_rate=0.02)
    with FakeDevice(SPARE) as fake, open_device(fake.url) as device:
        dataset = make_dataset(x, y, device.info, name="blobs.npz", sha256="cd")
        folder = create_run(tmp_path, info=device.info, port="x", source=dataset, options=options)
        summary = stream(device, dataset, options, panel=panel, run_folder=folder)
    assert summary.elapsed_s >= summary.paused_s >= 1.0
    assert summary.samples_per_s > 60 / (summary.elapsed_s - 0.9)
    found = figures(read_run(folder.path))
    assert 1.0 <= found.paused_s <= found.elapsed_s
    assert found.samples_per_s > 60 / (found.elapsed_s - 0.9)
    assert panel.snapshot().event.samples_per_s > 60 / found.elapsed_s


def test_a_stream_pauses_and_goes_on_and_loses_nothing():
    with Streaming(samples=200) as run:
        run.ask(Action.PAUSE)
        until(lambda: run.panel.snapshot().state == "paused")
        # What was under way arrives; then nothing more does.
        until(lambda: run.said("paused"))
        done = run.panel.snapshot().event.done
        time.sleep(0.3)
        assert run.panel.snapshot().event.done <= done + SPARE.window
        run.ask(Action.START)
        until(lambda: run.panel.snapshot().state == "running")
    assert run.summary.samples == 200
    shown = run.panel.snapshot()
    assert shown.state == "complete"
    assert sum(entry.samples for entry in shown.classes) == 200
    assert shown.statistics is not None


def test_what_is_asked_for_reaches_the_device():
    with Streaming() as run:
        run.ask(Action.ADD_CLASS, text="three")
        until(lambda: run.said("class 3 is three"))
        shown = run.panel.snapshot()
        assert [entry.name for entry in shown.classes] == ["zero", "one", "two", "three"]
        assert shown.unavailable[Action.ADD_CLASS] == "all outputs are classes already"
        run.ask(Action.LEARNING_RATE, value=0.01)
        until(lambda: run.said("the learning rate is 0.01"))
        assert run.panel.snapshot().learning_rate == 0.01
        run.ask(Action.SAVE)
        until(lambda: run.said("the head is saved"))
        run.ask(Action.RESET)
        until(lambda: run.said("the head is as generated"))
        # The added class is forgotten too, and can be added again.
        until(lambda: run.panel.snapshot().info.classes_in_use == 3)
        assert not run.panel.snapshot().unavailable[Action.ADD_CLASS]
        run.ask(Action.ADD_CLASS, text="third")
        until(lambda: run.said("class 3 is third"))
    assert run.summary.ended == "complete"
    assert run.summary.samples == 400


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (Command(action=Action.ADD_CLASS, text="two"), "there is a class two already"),
        (Command(action=Action.ADD_CLASS, text=" "), "a class needs a name"),
        (Command(action=Action.ADD_CLASS, text="a name that is far too long"), "the device keeps 12"),
        (Command(action=Action.ADD_CLASS, text="a\ud800"), "letters that are none"),
        (Command(action=Action.LEARNING_RATE, value=1e9), "learning rate"),
    ],
)
def test_a_refusal_is_told_and_the_stream_goes_on(command, why):
    with Streaming(samples=100) as run:
        run.panel.controls.ask(command)
        until(lambda: run.said("not done") and run.said(why))
    assert run.summary.ended == "complete"
    assert run.summary.samples == 100


def test_what_was_asked_for_stands_in_the_run(tmp_path):
    panel = Panel()
    for command in (
        Command(action=Action.LEARNING_RATE, value=0.01),
        Command(action=Action.ADD_CLASS, text="two"),
        Command(action=Action.SAVE),
    ):
        panel.controls.ask(command)
    with FakeDevice(SPARE) as fake, open_device(fake.url) as device:
        source = make_dataset(*blobs(20, classes=3), device.info, name="blobs.npz", sha256="cd")
        options = StreamOptions(train=True, learning_rate=0.02)
        folder = create_run(tmp_path, info=device.info, port=fake.url, source=source, options=options)
        summary = stream(device, source, options, run_folder=folder, panel=panel)
    assert summary.learning_rate == 0.01
    told = [event.text for event in read_run(folder.path).events if event.kind == "command"]
    assert told[0] == "the learning rate is 0.01"
    assert told[1].startswith("not done: there is a class two already")
    assert told[2] == "the head is saved on the device"


def test_a_class_is_added_behind_those_that_labels_have_taken():
    model = Model(labels=("zero", "one", "", ""), classes=2, label_bytes=12)
    with FakeDevice(model) as fake, open_device(fake.url) as device:
        device.train(np.zeros(16, np.int8), label=2)
        assert device.add_class("three") == 3
        assert (device.info.classes_in_use, fake.classes) == (4, 4)


def test_what_a_device_cannot_do_is_said_beforehand():
    with FakeDevice(Model(trainable=False)) as fake, open_device(fake.url) as device:
        assert set(available(device).values()) == {"the model on the device has no trainable head"}
        with pytest.raises(OptionError, match="no trainable head"):
            carry_out(device, Command(action=Action.SAVE))
    with FakeDevice() as fake, open_device(fake.url) as device:
        found = available(device)
    assert "no memory" in found[Action.SAVE]
    assert "no names" in found[Action.ADD_CLASS]
    assert found[Action.RESET] == found[Action.LEARNING_RATE] == ""
