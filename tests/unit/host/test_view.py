"""What a person sees: plain lines, the live view at several sizes, and words for numbers."""

from __future__ import annotations

import builtins
import io

import pytest

from edgelearn.host.data import make_dataset
from edgelearn.host.device import open_device
from edgelearn.host.link import Silence
from edgelearn.host.stream import stream
from edgelearn.host.telemetry import StreamOptions
from edgelearn.host.view import Curve, LiveView, PlainView, choose_view
from edgelearn.host.words import duration, kib, part_of
from edgelearn.protocol import LossCode
from edgelearn.words import count
from tests.support.fake_device import FakeDevice, Model, blobs

#: Home, and clear the screen.
CLEARED = "\x1b[H\x1b[2J"


def run(view, *, model: Model | None = None, samples: int = 120, train: bool = True, repeat: int = 2) -> None:
    with FakeDevice(model) as fake, open_device(fake.url) as device:
        x, y = blobs(samples)
        squared = device.info.loss is LossCode.SQUARED_ERROR
        dataset = make_dataset(x, None if squared else y, device.info, name="blobs.npz")
        options = StreamOptions(train=train, learning_rate=0.02 if train else None, repeat=repeat)
        stream(device, dataset, options, view=view, board_ram_bytes=131072)


def test_plain_lines():
    out = io.StringIO()
    run(PlainView(out, every_s=0.0))
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("fakeboard: learning 240 samples of blobs.npz, learning rate 0.02")
    assert "1/240" in out.getvalue()
    assert any("prequential accuracy" in line for line in lines if line.startswith("120/240"))
    assert any("training accuracy" in line and "samples/s" in line for line in lines if line.startswith("200/240"))
    assert any(line.startswith("done: 240 samples") for line in lines)
    assert "\x1b" not in out.getvalue()


def test_plain_lines_are_few():
    out = io.StringIO()
    run(PlainView(out))
    assert len(out.getvalue().splitlines()) < 10


def live(width: int, height: int, **options) -> str:
    rich_console = pytest.importorskip("rich.console")
    out = io.StringIO()
    console = rich_console.Console(
        file=out, force_terminal=True, width=width, height=height, color_system=None, legacy_windows=False
    )
    run(LiveView(console), **options)
    return out.getvalue()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (110, 32), (200, 60), (40, 10), (20, 5)])
def test_the_live_view_fits_its_terminal(width, height):
    text = live(width, height)
    assert "done: 240 samples" in text
    frames = text.split("╭")
    assert len(frames) > 1
    for line in frames[-1].splitlines()[:-6]:
        assert len(line.replace("\x1b[2K", "")) <= width + 10


def test_the_live_view_shows_the_figures():
    text = live(120, 40)
    for part in (
        "prequential accuracy",
        "training accuracy",
        "loss, last 100",
        "static RAM",
        "23.4 of 128 KiB",
        "left",
    ):
        assert part in text


@pytest.mark.parametrize("width", [42, 60, 69])
def test_a_narrow_live_view_shows_its_figures_whole(width):
    frame = live(width, 30).split("╭")[-1]
    assert "…" not in frame.split("╮", 1)[1]
    for part in ("static RAM  23.4 of 128 KiB", "most stack  1.1 of 4.0 KiB", "samples/s", "left"):
        assert part in frame
    figures = [line for line in frame.splitlines() if "most stack" in line]
    assert all("static RAM" not in line for line in figures)


def test_one_sample_is_singular():
    out = io.StringIO()
    run(PlainView(out), samples=1, repeat=1)
    assert "learning 1 sample of" in out.getvalue()
    assert "done: 1 sample in" in out.getvalue()
    assert "stack 1008 of 4096 bytes" in out.getvalue()


def test_the_live_view_of_squared_error_has_no_accuracy_chart():
    text = live(100, 30, model=Model(loss=LossCode.SQUARED_ERROR, outputs=16, labels=()), repeat=1)
    assert "loss" in text


def test_without_plotext_there_are_figures_and_a_notice(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "plotext":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    text = live(100, 30)
    assert 'pip install "edgelearn[plot]"' in text
    assert "static RAM" in text


def test_the_view_is_chosen_by_the_terminal(monkeypatch):
    assert isinstance(choose_view(io.StringIO()), PlainView)

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(choose_view(Terminal()), LiveView)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(choose_view(Terminal()), PlainView)


def test_a_terminal_that_was_made_smaller_is_cleared_and_silence_is_shown():
    rich_console = pytest.importorskip("rich.console")
    out = io.StringIO()
    console = rich_console.Console(
        file=out, force_terminal=True, width=110, height=30, color_system=None, legacy_windows=False
    )
    view = LiveView(console)
    finish, frames = view.finish, []

    def shown(silence):
        view.silence(silence)
        out.seek(0)
        out.truncate()
        view._live.refresh()
        return out.getvalue()

    def before_the_end(summary):
        frames.append(shown(Silence(7.0, 23.0)))
        console.width = 60
        frames.append(shown(Silence(8.0, 22.0)))
        frames.append(shown(None))
        finish(summary)

    view.finish = before_the_end
    run(view)
    wide, narrow, again = frames
    assert "no answer for 7 s; trying again for 23 s; Ctrl-C ends" in wide
    assert "samples/s" not in wide
    assert CLEARED not in wide
    assert narrow.startswith(CLEARED)
    assert "no answer for 8 s" in narrow
    assert CLEARED not in again
    assert "samples/s" in again


def test_a_failing_stream_gives_the_terminal_back():
    class Recorder(PlainView):
        closed = 0

        def result(self, event):
            raise RuntimeError("a defect")

        def close(self):
            self.closed += 1

    view = Recorder(io.StringIO())
    with pytest.raises(RuntimeError, match="a defect"):
        run(view)
    assert view.closed == 1


def test_a_curve_stays_small_and_keeps_its_ends():
    curve = Curve()
    for i in range(10000):
        curve.add(i, -i)
    assert len(curve.x) < 400
    assert curve.x[0] == 0
    assert curve.x[-1] > 9900
    assert curve.y == [-x for x in curve.x]


def test_words():
    assert duration(2.34) == "2.3 s"
    assert duration(42.4) == "42 s"
    assert duration(125) == "2 min 05 s"
    assert duration(3725) == "1 h 02 min"
    assert kib(1000) == "1000 bytes"
    assert kib(2048) == "2.0 KiB"
    assert part_of(320, 4096) == "320 of 4096 bytes"
    assert part_of(468, 0) == "468 bytes"
    assert part_of(1160, 4096) == "1.1 of 4.0 KiB"
    assert count(1, "retry", "retries") == "1 retry"
    assert count(2, "sample") == "2 samples"
