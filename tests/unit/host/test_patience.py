"""A device that does not answer: that is said at once, and nobody who wants to end has to wait for it."""

from __future__ import annotations

import io
import os
import signal
import sys

import pytest

from edgelearn.errors import DeviceTimeoutError, PortError
from edgelearn.host import link, patience, plots
from edgelearn.host.data import make_dataset
from edgelearn.host.device import open_device
from edgelearn.host.link import LinkOptions, Silence
from edgelearn.host.monitor import MonitorOptions, monitor
from edgelearn.host.stream import stream
from edgelearn.host.telemetry import StreamOptions, create_run, read_run
from edgelearn.host.view import PlainView
from tests.support.fake_device import NO_FAULTS, FakeDevice, Faults, Model, Sensor, blobs

TRAIN = StreamOptions(train=True, learning_rate=0.02)
#: Who does not hear Ctrl-C waits longer than any test may last.
FOREVER = LinkOptions(first_timeout_s=0.05, max_timeout_s=0.1, give_up_s=3000.0, first_give_up_s=3000.0)
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="optional: POSIX signals")


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(plots, "draw_plots", lambda path: ())
    monkeypatch.setattr(link, "QUIET_S", 0.3)
    monkeypatch.setattr(link, "REPEAT_ANSWERED_S", 0.05)
    monkeypatch.setattr(patience, "QUIET_S", 0.3)


class Watching(PlainView):
    """Keeps what it was told; presses Ctrl-C, or does something else, when it is told of silence."""

    def __init__(self, at_silence):
        super().__init__(io.StringIO(), every_s=0.0)
        self.said = []
        self.silences = []
        self._at_silence = at_silence

    def notice(self, text):
        self.said.append(text)

    def silence(self, silence):
        self.silences.append(silence)
        if silence is not None:
            self._at_silence(silence)


def ctrl_c(_):
    os.kill(os.getpid(), signal.SIGINT)


def streamed(tmp_path, device, view, samples=200):
    x, y = blobs(samples)
    dataset = make_dataset(x, y, device.info, name="blobs.npz", sha256="cd")
    folder = create_run(tmp_path, info=device.info, port=device.port, source=dataset, options=TRAIN)
    try:
        return stream(device, dataset, TRAIN, run_folder=folder, view=view)
    finally:
        view.run = read_run(folder.path)


@POSIX
def test_silence_is_said_and_one_ctrl_c_ends_it(tmp_path):
    view = Watching(ctrl_c)
    with FakeDevice(faults=Faults(silent_after_frames=60)) as fake, open_device(fake.url, options=FOREVER) as device:
        summary = streamed(tmp_path, device, view)
    assert summary.ended == view.run.summary.ended == "interrupted"
    assert len(view.run.records) > 20
    (said,) = [text for text in view.said if "does not answer" in text]
    assert said.startswith(f"the device at {fake.url} does not answer; trying again for ")
    assert said.endswith("; Ctrl-C ends")
    assert view.silences[0].quiet_s >= 0.3
    assert view.said[-1] == f"`edgelearn stream --resume {summary.run}` carries it on"


@POSIX
def test_a_port_that_is_gone_is_said_and_one_ctrl_c_ends_it(tmp_path):
    view = Watching(ctrl_c)

    def reopen():
        raise PortError("not there")

    with FakeDevice(faults=Faults(close_after_frames=60)) as fake, open_device(fake.url) as device:
        device.survive(reopen, reopen_timeout_s=3000.0)
        summary = streamed(tmp_path, device, view)
    assert summary.ended == "interrupted"
    assert any("does not answer; trying again for 49 min" in text or "50 min" in text for text in view.said)


@POSIX
def test_ctrl_c_is_heard_while_the_head_is_read(tmp_path, monkeypatch):
    view = Watching(ctrl_c)
    with FakeDevice() as fake, open_device(fake.url, options=FOREVER) as device:
        read_head = device.read_head
        calls = []

        def silent_at_the_end():
            calls.append(1)
            if len(calls) == 2:
                fake.faults = Faults(silent_after_frames=1)
            return read_head()

        monkeypatch.setattr(device, "read_head", silent_at_the_end)
        summary = streamed(tmp_path, device, view, samples=20)
    assert summary.ended == "interrupted"
    assert summary.samples == 20
    assert "the learned head was not read" in view.run.summary.notices


@POSIX
def test_watching_ends_too(tmp_path):
    view = Watching(ctrl_c)
    model = Model(has_sensor=True, sensor_hz=100.0)
    with FakeDevice(model) as fake, open_device(fake.url, options=FOREVER) as device:
        silent = iter(range(10_000))

        def result(event):
            if next(silent) == 5:
                fake.faults = Faults(silent_after_frames=1)
                fake.sensor = Sensor()

        view.result = result
        summary = monitor(device, MonitorOptions(start=True, train=True), view=view)
    assert summary.ended == "interrupted"
    assert any("does not answer" in text for text in view.said)


def test_it_is_said_when_it_answers_again(tmp_path):
    with FakeDevice(faults=Faults(silent_after_frames=60)) as fake, open_device(fake.url, options=FOREVER) as device:

        def wake(_):
            fake.faults = NO_FAULTS

        view = Watching(wake)
        summary = streamed(tmp_path, device, view)
    assert summary.ended == "complete"
    assert summary.samples == fake.step == 200
    assert view.silences[-1] is None
    assert view.said.index("it answers again") == 1 + next(i for i, t in enumerate(view.said) if "not answer" in t)
    kinds = [event.kind for event in view.run.events]
    assert kinds == ["silence", "answer"]


def test_the_error_says_how_to_carry_on(tmp_path, impatient):
    with FakeDevice(faults=Faults(silent_after_frames=60)) as fake, open_device(fake.url, options=impatient) as device:
        view = Watching(lambda _: None)
        with pytest.raises(DeviceTimeoutError) as caught:
            streamed(tmp_path, device, view)
    assert f"`edgelearn stream --resume {view.run.path}` carries the run on" in caught.value.hint
    assert "or another program is connected to it" in caught.value.hint
    assert "baud" not in caught.value.hint


def test_a_second_host_is_told_that_there_may_be_a_first():
    with FakeDevice() as fake, open_device(fake.url), pytest.raises(DeviceTimeoutError) as caught:
        open_device(fake.url, hello_timeout_s=0.2)
    assert "or another program is connected to it" in caught.value.hint


def test_plain_lines_say_how_long_it_lasts_now_and_then():
    out = io.StringIO()
    view = PlainView(out)
    for second in range(2, 26):
        view.silence(Silence(second, 60 - second))
    view.silence(None)
    view.silence(Silence(11, 49))
    assert out.getvalue().splitlines() == [
        "no answer for 10 s; trying again for 50 s; Ctrl-C ends",
        "no answer for 20 s; trying again for 40 s; Ctrl-C ends",
        "no answer for 11 s; trying again for 49 s; Ctrl-C ends",
    ]
