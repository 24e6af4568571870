"""Carrying on a run whose host was killed: nothing that was received is lost, and nothing is learned twice."""

from __future__ import annotations

import io
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from edgelearn import pipeline
from edgelearn.cli import main
from edgelearn.errors import (
    DataError,
    DeviceResetError,
    OptionError,
    StorageError,
    WrongModelError,
)
from edgelearn.host import plots
from edgelearn.host.control import Action, Command
from edgelearn.host.device import Device, open_device
from edgelearn.host.monitor import MonitorOptions
from edgelearn.host.telemetry import (
    EVENTS,
    HEAD_BEFORE,
    RESULTS,
    SENT,
    SUMMARY,
    Sent,
    StreamOptions,
    read_run,
    read_sent,
)
from edgelearn.host.web.panel import Panel
from edgelearn.protocol import encode_learning_rate
from tests.support.fake_device import FakeDevice, Faults, Model, blobs
from tests.support.mortal import stream_with_kills

TRAIN = StreamOptions(train=True, learning_rate=0.02)
SAVES = Model(can_save=True)
#: Samples that go in parts.
LARGE = Model(inputs=150, window=8)


@pytest.fixture(autouse=True)
def no_plots(monkeypatch):
    monkeypatch.setattr(plots, "draw_plots", lambda path: ())


def save_blobs(path, samples, inputs=16):
    x, y = blobs(samples, inputs=inputs)
    np.savez(path, x=x, y=y)
    return path


def head_of(fake):
    return [array.tobytes() for array in (fake.q, fake.l, fake.bias)]


def taught_once(model, data, options):
    """A device that was taught without any trouble."""
    with FakeDevice(model) as fake, pipeline.connect(fake.url) as device:
        pipeline.stream(device, data, options)
        return fake


def anything(fake, device_resets, others):
    """What may happen between two hosts."""

    def happens(chance):
        if device_resets and chance.random() < 0.4:
            fake.boot()
        if others and chance.random() < 0.3:
            with open_device(fake.url) as device:
                device.read_head()

    return happens


@pytest.mark.parametrize(
    ("model", "autosave_steps", "device_resets", "others"),
    [
        (Model(), None, False, False),
        (LARGE, None, False, False),
        (LARGE, None, False, True),
        (SAVES, 50, True, False),
        (SAVES, 50, True, True),
        # What cannot save begins anew.
        (Model(), None, True, True),
    ],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_hosts_teach_each_sample_once(tmp_path, model, autosave_steps, device_resets, others, seed):
    data = save_blobs(tmp_path / "blobs.npz", 700, model.inputs)
    options = StreamOptions(
        train=True, learning_rate=0.02, repeat=2, shuffle=True, seed=3, autosave_steps=autosave_steps
    )
    want = taught_once(model, data, options)
    with FakeDevice(model) as fake:
        happens = anything(fake, device_resets, others)
        lives = stream_with_kills(
            lambda: fake.url, data, tmp_path / "runs", options, samples=1400, kills=10, seed=seed, between=happens
        )
        assert head_of(fake) == head_of(want)
        assert fake.step == 1400
        if not device_resets:
            assert [sample for sample in fake.applied if sample[2]] == want.applied
    run = read_run(lives.run)
    assert lives.resumed >= 3
    assert run.summary.resumed == sum(event.kind == "resume" for event in run.events)
    assert len(run.records) + run.summary.lost_results == 1400
    assert run.summary.samples == len(run.records)
    assert run.records[-1].number == 1399
    assert run.summary.lost_results <= lives.killed * 2 * (1 + model.window)
    # The losses too are those of a run without trouble: each sample found the head that it should find.
    assert [record.step for record in run.records] == [record.number + 1 for record in run.records]


class Shaky(FakeDevice):
    """Loses its power now and then, in the middle of things."""

    def _dispatch(self, frame):
        if self.random.random() < 0.004:
            self.boot()
            return
        super()._dispatch(frame)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_killed_hosts_and_a_device_that_is_reset_while_they_stream(tmp_path, seed):
    data = save_blobs(tmp_path / "blobs.npz", 1000)
    options = StreamOptions(train=True, learning_rate=0.02, autosave_steps=60)
    want = taught_once(SAVES, data, options)
    with Shaky(SAVES, Faults(seed=seed)) as fake:
        lives = stream_with_kills(
            lambda: fake.url, data, tmp_path / "runs", options, samples=1000, kills=8, seed=seed, may_fail=True
        )
        assert head_of(fake) == head_of(want)
        assert fake.step == 1000
        assert fake.boots > 1
    run = read_run(lives.run)
    assert len(run.records) + run.summary.lost_results == 1000
    assert [record.step for record in run.records] == [record.number + 1 for record in run.records]


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_hosts_over_a_bad_line(tmp_path, seed):
    """The device stays up, and its results too are all there but those that nobody could have kept."""
    data = save_blobs(tmp_path / "blobs.npz", 600)
    faults = Faults(seed=seed, lose_request=0.02, lose_reply=0.02, corrupt_reply=0.02, duplicate_request=0.02)
    want = taught_once(Model(), data, TRAIN)
    with FakeDevice(faults=faults) as fake:
        stream_with_kills(lambda: fake.url, data, tmp_path / "runs", TRAIN, samples=600, kills=8, seed=seed)
        assert head_of(fake) == head_of(want)
        assert [sample for sample in fake.applied if sample[2]] == want.applied


def test_killed_hosts_that_label_themselves(tmp_path):
    data = save_blobs(tmp_path / "blobs.npz", 600)
    options = StreamOptions(train=True, learning_rate=0.02, self_label=0.5)

    def taught_to_see(fake):
        with pipeline.connect(fake.url) as device:
            pipeline.stream(device, data, StreamOptions(train=True, learning_rate=0.02, limit=100))

    with FakeDevice() as want:
        taught_to_see(want)
        with pipeline.connect(want.url) as device:
            pipeline.stream(device, data, options)
    assert 110 < want.step < 690
    with FakeDevice() as fake:
        taught_to_see(fake)
        stream_with_kills(lambda: fake.url, data, tmp_path / "runs", options, samples=600, kills=10, seed=1)
        assert head_of(fake) == head_of(want)
        assert fake.step == want.step


def test_killed_hosts_that_only_predict(tmp_path):
    data = save_blobs(tmp_path / "blobs.npz", 900)
    with FakeDevice() as fake:
        lives = stream_with_kills(
            lambda: fake.url, data, tmp_path / "runs", StreamOptions(train=False), samples=900, kills=6, seed=1
        )
    run = read_run(lives.run)
    assert [record.number for record in run.records] == list(range(900))
    assert not (lives.run / SENT).exists()


def interrupted(tmp_path, fake, data, options=TRAIN, samples=40, command=None, ask_at=28):
    """A run whose host was lost after so many results; a person may have asked for something before."""
    panel = Panel()
    with pipeline.connect(fake.url) as device:
        real, seen = device.result, []

        def was_changed():
            return any(line.change for path in (tmp_path / "runs").iterdir() for line in read_sent(path))

        def result(pending):
            if len(seen) >= samples and (command is None or was_changed()):
                raise KeyboardInterrupt
            if command and len(seen) == ask_at:
                panel.controls.ask(command)
            seen.append(real(pending))
            return seen[-1]

        device.result = result
        pipeline.stream(device, data, options, runs=tmp_path / "runs", port=fake.url, panel=panel if command else None)
    (path,) = (tmp_path / "runs").iterdir()
    (path / SUMMARY).unlink()
    # What is on its way to the device still arrives.
    with open_device(fake.url, earlier_session=fake.session):
        return path


NAMED = Model(labels=("zero", "one", "two", "three", ""), outputs=5, classes=4, label_bytes=12)
ASKED = {
    "reset": Command(action=Action.RESET),
    "rate": Command(action=Action.LEARNING_RATE, value=0.05),
    "class": Command(action=Action.ADD_CLASS, text="five"),
}


def taught_with(model, data, path, change, tmp_path):
    """A device that was taught without any trouble, and changed where the run says that it was."""
    sent = read_sent(path)
    (place,) = (number for number, line in enumerate(sent) if line.change)
    position = sent[place - 1].number + 1
    x, y = (np.load(data)[name] for name in "xy")
    np.savez(tmp_path / "rest.npz", x=x[position:], y=y[position:])
    with FakeDevice(model) as fake, pipeline.connect(fake.url) as device:
        pipeline.stream(device, data, msgspec.structs.replace(TRAIN, limit=position))
        change(device)
        pipeline.stream(device, tmp_path / "rest.npz", StreamOptions(train=True))
        return fake


CHANGED = {
    "reset": lambda device: device.reset_head(),
    "rate": lambda device: device.set_learning_rate(0.05),
    "class": lambda device: device.add_class("five"),
}


@pytest.mark.parametrize("device_resets", [False, True])
@pytest.mark.parametrize("samples", [30, 36])
@pytest.mark.parametrize("name", ASKED)
def test_what_was_changed_on_the_page_stays_where_it_was(tmp_path, name, samples, device_resets):
    """A board that saves has saved it at once: every sample is learned on the side of it where it was."""
    model = msgspec.structs.replace(NAMED, can_save=True)
    data = save_blobs(tmp_path / "blobs.npz", 60)
    with FakeDevice(model) as fake:
        path = interrupted(tmp_path, fake, data, samples=samples, command=ASKED[name])
        if device_resets:
            fake.boot()
        pipeline.resume(path)
        want = taught_with(model, data, path, CHANGED[name], tmp_path)
        assert head_of(fake) == head_of(want)
        assert (fake.step, fake.classes, fake.learning_rate) == (want.step, want.classes, want.learning_rate)


@pytest.mark.parametrize("samples", [30, 40])
@pytest.mark.parametrize("name", ASKED)
def test_what_was_changed_on_the_page_and_is_forgotten_ends_the_run(tmp_path, name, samples):
    data = save_blobs(tmp_path / "blobs.npz", 60)
    with FakeDevice(NAMED) as fake:
        path = interrupted(tmp_path, fake, data, samples=samples, command=ASKED[name])
        fake.boot()
        with pytest.raises(DeviceResetError, match="has forgotten what was changed on the page") as refused:
            pipeline.resume(path)
        assert fake.step == 0
        assert "not saved" in refused.value.cause
        assert "start a new run" in refused.value.hint


def test_a_change_before_the_first_sample_is_not_undone(tmp_path):
    data = save_blobs(tmp_path / "blobs.npz", 60)
    panel = Panel()
    panel.controls.ask(ASKED["rate"])
    with FakeDevice(NAMED) as fake:
        with pipeline.connect(fake.url) as device:

            def submit(*_, **__):
                raise KeyboardInterrupt

            device.submit = submit
            pipeline.stream(device, data, TRAIN, runs=tmp_path / "runs", port=fake.url, panel=panel)
        (path,) = (tmp_path / "runs").iterdir()
        rate = fake.learning_rate
        pipeline.resume(path)
        assert fake.learning_rate == rate == encode_learning_rate(0.05)


def test_results_that_the_device_has_kept_are_fetched(tmp_path):
    data = save_blobs(tmp_path / "blobs.npz", 100)
    with FakeDevice() as fake:
        path = interrupted(tmp_path, fake, data)
        assert fake.step > 40
        summary = pipeline.resume(path)
        assert fake.step == 100
    run = read_run(path)
    # The device keeps a window of results; a host may have received one more than it wrote.
    assert summary.lost_results <= Model().window
    assert len(run.records) + summary.lost_results == 100
    labels = np.load(data)["y"].tolist()
    assert [record.label for record in run.records] == [labels[record.number] for record in run.records]
    assert (summary.resumed, summary.samples) == (1, len(run.records))
    (event,) = (event for event in run.events if event.kind == "resume")
    assert "the device still knew" in event.text
    times = [record.time_s for record in run.records]
    assert times == sorted(times)


def test_results_that_nobody_has_are_counted(tmp_path):
    data = save_blobs(tmp_path / "blobs.npz", 100)
    with FakeDevice() as fake:
        path = interrupted(tmp_path, fake, data)
        with open_device(fake.url):
            learned = fake.step
        assert learned > 40
        summary = pipeline.resume(path)
        assert fake.step == 100
    run = read_run(path)
    assert summary.lost_results == learned - 40
    assert [record.number for record in run.records] == [*range(40), *range(learned, 100)]
    assert any("lost with a reset or with the host" in notice for notice in summary.notices)
    assert "lost" in run.events[-1].text or any("lost" in event.text for event in run.events)


@pytest.mark.parametrize("saves", [True, False])
def test_a_device_that_forgot_is_taught_again_without_a_second_result(tmp_path, saves):
    data = save_blobs(tmp_path / "blobs.npz", 100)
    options = StreamOptions(train=True, learning_rate=0.02, autosave_steps=15 if saves else None)
    model = SAVES if saves else Model()
    want = taught_once(model, data, options)
    with FakeDevice(model) as fake:
        path = interrupted(tmp_path, fake, data, options, 36)
        before = read_run(path).records
        fake.boot()
        assert fake.step == (30 if saves else 0)
        summary = pipeline.resume(path)
        assert head_of(fake) == head_of(want)
    run = read_run(path)
    assert run.records[:36] == before
    assert [record.number for record in run.records] == list(range(100))
    assert (summary.lost_results, summary.samples) == (0, 100)
    (event,) = (event for event in run.events if event.kind == "replay")
    assert event.text.startswith(f"{36 - (30 if saves else 0)} samples learned again")


def test_a_run_that_was_interrupted_or_failed_goes_on_too(tmp_path):
    data = save_blobs(tmp_path / "blobs.npz", 60)
    want = taught_once(SAVES, data, TRAIN)
    with FakeDevice(SAVES) as fake:
        with pipeline.connect(fake.url) as device:
            real = device.submit

            def submit(*args, **kwargs):
                if fake.step > 20:
                    raise OptionError("something went wrong")
                return real(*args, **kwargs)

            device.submit = submit
            with pytest.raises(OptionError):
                pipeline.stream(device, data, TRAIN, runs=tmp_path / "runs", port=fake.url)
        (path,) = (tmp_path / "runs").iterdir()
        assert read_run(path).summary.ended == "error"
        assert pipeline.resume(path).ended == "complete"
        assert head_of(fake) == head_of(want)
        assert len(read_run(path).records) == 60
        with pytest.raises(DataError, match="is complete"):
            pipeline.resume(path)
        assert fake.step == 60


def test_a_number_that_was_written_down_and_never_sent_may_be_taken_by_something_else(tmp_path, monkeypatch):
    data = save_blobs(tmp_path / "blobs.npz", 100)
    want = taught_once(SAVES, data, TRAIN)
    with FakeDevice(SAVES) as fake:
        path = interrupted(tmp_path, fake, data)
        with (path / SENT).open("ab") as file:
            file.write(msgspec.json.encode(Sent(fake.session, fake.next_sequence, fake.step)) + b"\n")

        def dies_after_saving(self, *args, **kwargs):
            self.save()
            raise KeyboardInterrupt

        with monkeypatch.context() as dying:
            dying.setattr(Device, "survive", dies_after_saving)
            pipeline.resume(path)
        (path / SUMMARY).unlink()
        assert pipeline.resume(path).ended == "complete"
        assert fake.step == 100
        assert head_of(fake) == head_of(want)


@pytest.mark.parametrize("name", [RESULTS, SENT, EVENTS])
def test_cut_at_any_byte_the_run_goes_on_and_teaches_each_sample_once(tmp_path, name):
    """As after a power cut of the host: the last lines of a file are gone, or torn."""
    data = save_blobs(tmp_path / "blobs.npz", 60)
    options = StreamOptions(train=True, learning_rate=0.02, autosave_steps=15)
    want = taught_once(SAVES, data, options)
    for cut in (1, 2, 17, 40, 300, 10**6):
        with FakeDevice(SAVES) as fake:
            path = interrupted(tmp_path / str(cut), fake, data, options, 35)
            whole = (path / name).read_bytes()
            (path / name).write_bytes(whole[: max(0, len(whole) - cut)])
            pipeline.resume(path)
            assert head_of(fake) == head_of(want)
            assert fake.step == 60
        run = read_run(path)
        numbers = [record.number for record in run.records]
        assert numbers == sorted(set(numbers))
        assert len(numbers) + run.summary.lost_results == 60


def test_other_options_data_models_and_sources_are_refused(tmp_path):
    data = save_blobs(tmp_path / "blobs.npz", 100)
    other = save_blobs(tmp_path / "other.npz", 101)
    with FakeDevice() as fake:
        path = interrupted(tmp_path, fake, data)
        learned = fake.step
        with pytest.raises(OptionError, match=r"learning rate 0.02, not 0.03"):
            pipeline.resume(path, options=StreamOptions(train=True, learning_rate=0.03))
        with pytest.raises(DataError, match=r"other.npz is not the data of the run"):
            pipeline.resume(path, data=other)
        data.unlink()
        with pytest.raises(DataError, match="does not exist"):
            pipeline.resume(path)
        with FakeDevice(Model(hash=b"another!")) as another, pytest.raises(WrongModelError):
            pipeline.resume(path, port=another.url)
        assert fake.step == learned
    assert len(read_run(path).records) == 40
    assert not (path / SUMMARY).exists()


def test_another_board_is_refused_and_both_are_named(tmp_path):
    data = save_blobs(tmp_path / "blobs.npz", 100)
    with FakeDevice() as fake:
        path = interrupted(tmp_path, fake, data)
    with FakeDevice(Model(board="another")) as fake, pytest.raises(OptionError, match=r"fakeboard.* another"):
        pipeline.resume(path, port=fake.url)
    assert len(read_run(path).records) == 40
    assert not (path / SUMMARY).exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--predict",), "the run has train on, not off"),
        (("--autosave-steps", "5"), "the run has autosave steps as the device has it, not 5"),
        (("--self-label", "0.5"), "the run has self label never, not 0.5"),
        (("--columns", "a,b"), "the run has columns all, not a, b"),
        (("--label-column", "y"), "the run has label column none, not y"),
    ],
)
def test_other_options_are_said_in_words(tmp_path, words, said):
    data = save_blobs(tmp_path / "blobs.npz", 100)
    with FakeDevice() as fake:
        path = interrupted(tmp_path, fake, data)
        assert said in edgelearn("stream", "--resume", path, *words).output
        assert "None" not in edgelearn("stream", "--resume", path, *words).output


@pytest.mark.parametrize(("manifest", "cause"), [(b"", "manifest.json is empty"), (b"{", "manifest.json: ")])
def test_a_run_that_does_not_say_what_was_run_is_refused(tmp_path, manifest, cause):
    data = save_blobs(tmp_path / "blobs.npz", 100)
    with FakeDevice() as fake:
        path = interrupted(tmp_path, fake, data)
    (path / "manifest.json").write_bytes(manifest)
    with pytest.raises(DataError, match="does not say what was run") as caught:
        pipeline.resume(path)
    assert cause in caught.value.cause
    assert "edgelearn report" in caught.value.hint
    (path / "manifest.json").unlink()
    with pytest.raises(DataError, match="is not the folder of a run") as caught:
        pipeline.resume(path)
    assert caught.value.cause == "manifest.json: No such file or directory"


def test_what_a_board_has_sensed_does_not_come_again(tmp_path):
    with FakeDevice(Model(has_sensor=True, sensor_hz=400.0)) as fake, pipeline.connect(fake.url) as device:
        options = MonitorOptions(start=True, train=True, samples=5)
        path = Path(pipeline.monitor(device, options, runs=tmp_path / "runs", port=fake.url).run)
    (path / SUMMARY).unlink()
    for data in (None, save_blobs(tmp_path / "blobs.npz", 10)):
        with pytest.raises(DataError, match="own sensor") as caught:
            pipeline.resume(path, data=data)
        assert "--data" not in caught.value.hint
        assert f"edgelearn monitor --port {fake.url}" in caught.value.hint


def test_what_else_a_device_has_learned_is_refused(tmp_path):
    data = save_blobs(tmp_path / "blobs.npz", 100)
    with FakeDevice() as fake:
        path = interrupted(tmp_path, fake, data)
        with pipeline.connect(fake.url) as device:
            pipeline.stream(device, data, TRAIN)
        with pytest.raises(DeviceResetError, match="something else"):
            pipeline.resume(path)
        # Reset, and with the head as generated, it would do; but not with another one.
        fake.boot()
        fake.q[:] = 3
        with pytest.raises(DeviceResetError, match="something else"):
            pipeline.resume(path)
        fake.boot()
        (path / HEAD_BEFORE).unlink()
        with pytest.raises(DeviceResetError, match="something else"):
            pipeline.resume(path)


def edgelearn(*argv):
    return CliRunner().invoke(main, [str(word) for word in argv], catch_exceptions=False)


def test_the_command_needs_nothing_but_the_run(tmp_path):
    data = save_blobs(tmp_path / "blobs.npz", 100)
    with FakeDevice() as fake:
        path = interrupted(tmp_path, fake, data)
        moved = data.rename(tmp_path / "moved.npz")
        runs = ("--runs", tmp_path / "runs")
        assert edgelearn("stream", "--resume", "last", *runs).exit_code == DataError.exit_code
        for words in (("--lr", "0.5"), ("--predict",), ("--window", "3"), ("--columns", "a,b"), ("--repeat", "2")):
            refused = edgelearn("stream", "--resume", "last", *runs, "--data", moved, *words)
            assert refused.exit_code == OptionError.exit_code, words
            assert "the run has" in refused.output
        same = ("--train", "--lr", "0.02", "--port", fake.url, "--data", moved)
        done = edgelearn("stream", "--resume", "last", *runs, *same)
        assert done.exit_code == 0, done.output
        assert fake.step == 100
    run = read_run(path)
    assert len(run.records) + run.summary.lost_results == 100
    assert "is complete" in edgelearn("stream", "--resume", path).output


def test_without_a_run_port_and_data_are_needed():
    assert "--port" in edgelearn("stream", "--train").output
    assert edgelearn("stream", "--train", "--port", "x").exit_code == 2


def test_what_came_on_standard_input_does_not_come_again(tmp_path, monkeypatch):
    lines = "".join(",".join(["0.1"] * 16) + "\n" for _ in range(20))
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    with FakeDevice() as fake, pipeline.connect(fake.url) as device:
        options = StreamOptions(train=False, limit=5)
        pipeline.stream(device, Path("-"), options, runs=tmp_path / "runs", port=fake.url)
    (path,) = (tmp_path / "runs").iterdir()
    (path / SUMMARY).unlink()
    with pytest.raises(DataError, match="without its data") as caught:
        pipeline.resume(path)
    assert "do not come again" in caught.value.cause
    assert "--data" not in caught.value.hint


def test_a_run_that_is_under_way_is_left_alone(tmp_path):
    data = save_blobs(tmp_path / "blobs.npz", 100)
    with FakeDevice() as fake:
        path = interrupted(tmp_path, fake, data)
        from edgelearn.host.telemetry import reopen_run

        with reopen_run(path), pytest.raises(StorageError, match="still being written"):
            pipeline.resume(path)
