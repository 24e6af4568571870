"""The loop and the run folder: what is sent, what is kept, and how it ends."""

from __future__ import annotations

import datetime
import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgelearn.errors import (
    DataError,
    DeviceRefusedError,
    DeviceResetError,
    DeviceTimeoutError,
    HeadError,
    LearningRateError,
    OptionError,
    PortError,
    StorageError,
)
from edgelearn.host import plots, telemetry
from edgelearn.host.data import make_dataset
from edgelearn.host.device import open_device
from edgelearn.host.head import load_head
from edgelearn.host.stream import stream
from edgelearn.host.telemetry import StreamOptions, create_run, read_run
from edgelearn.host.view import PlainView
from edgelearn.protocol import LossCode
from tests.support.fake_device import FakeDevice, Faults, Model, blobs

TRAIN = StreamOptions(train=True, learning_rate=0.02)


@pytest.fixture(autouse=True)
def no_plots(request, monkeypatch):
    """Drawing takes a second; test_plots.py does it."""
    monkeypatch.setattr(plots, "draw_plots", lambda path: ())


def a_run(parent: Path, device, dataset, options) -> telemetry.RunFolder:
    return create_run(
        parent,
        info=device.info,
        port=device.port,
        source=dataset,
        options=options,
        command=("edgelearn", "stream"),
        bundle="d.elb",
        bundle_sha256="ab",
        board_ram_bytes=131072,
    )


def a_dataset(device, samples: int = 100, labelled: bool = True):
    x, y = blobs(samples)
    return make_dataset(x, y if labelled else None, device.info, name="blobs.npz", sha256="cd")


def test_training_learns_and_everything_is_kept(tmp_path):
    with FakeDevice() as fake, open_device(fake.url) as device:
        dataset = a_dataset(device)
        options = StreamOptions(train=True, learning_rate=0.05, repeat=3, shuffle=True, seed=4)
        folder = a_run(tmp_path, device, dataset, options)
        summary = stream(device, dataset, options, run_folder=folder)
        head = device.read_head()
        assert fake.step == 300
    assert summary.ended == "complete"
    assert summary.samples == summary.step == 300
    assert summary.accuracy_name == "prequential accuracy"
    assert summary.training_accuracy > summary.accuracy
    assert [score.prequential for score in summary.passes] == [True, False, False]
    assert summary.learning_rate == pytest.approx(0.05, rel=1e-4)
    assert (summary.inference_ticks, summary.train_ticks) == (1234, 567)
    run = read_run(folder.path)
    assert run.summary == summary
    assert [record.number for record in run.records] == list(range(300))
    assert [record.step for record in run.records] == list(range(1, 301))
    assert sorted(record.sample for record in run.records[:100]) == list(range(100))
    assert run.manifest.options == options
    assert run.manifest.device == device.info
    assert (run.manifest.data, run.manifest.data_sha256, run.manifest.bundle_sha256) == ("blobs.npz", "cd", "ab")
    assert load_head(folder.path / "head.npz").same_as(head)
    judged = [record.correct for record in run.records[:100]]
    assert sum(judged) / 100 == summary.accuracy


def test_prediction_changes_nothing(tmp_path):
    with FakeDevice() as fake, open_device(fake.url) as device:
        dataset = a_dataset(device)
        options = StreamOptions(train=False, limit=30)
        folder = a_run(tmp_path, device, dataset, options)
        summary = stream(device, dataset, options, run_folder=folder)
        assert fake.step == 0
        assert len(fake.applied) == 30
    assert summary.accuracy_name == "accuracy"
    assert summary.learning_rate is None
    assert not (folder.path / "head.npz").exists()


def test_prediction_without_labels():
    with FakeDevice() as fake, open_device(fake.url) as device:
        summary = stream(device, a_dataset(device, labelled=False), StreamOptions(train=False))
    assert (summary.accuracy, summary.passes[0].mean_loss) == (None, None)


def test_an_autoencoder_learns():
    model = Model(loss=LossCode.SQUARED_ERROR, outputs=16, labels=())
    with FakeDevice(model) as fake, open_device(fake.url) as device:
        dataset = a_dataset(device, labelled=False)
        summary = stream(device, dataset, StreamOptions(train=True, learning_rate=0.02, repeat=3))
    losses = [score.mean_loss for score in summary.passes]
    assert losses[2] < losses[0] / 2
    assert summary.accuracy is None


def test_the_learning_rate_of_the_device_is_kept_without_one():
    with FakeDevice() as fake, open_device(fake.url) as device:
        summary = stream(device, a_dataset(device, 5), StreamOptions(train=True))
    assert summary.learning_rate == pytest.approx(0.01, rel=1e-4)


@pytest.mark.parametrize("self_label", [None, 0.0])
def test_spare_classes_that_are_taken_into_use_are_named_once(self_label):
    model = Model(labels=("zero", "one", "", ""), classes=2)
    with FakeDevice(model) as fake, open_device(fake.url) as device:
        x, _ = blobs(6)
        dataset = make_dataset(x, np.array([0, 1, 3, 3, 2, 1]), device.info)
        summary = stream(device, dataset, msgspec.structs.replace(TRAIN, self_label=self_label))
    said = [notice for notice in summary.notices if "into use" in notice]
    assert said == ([] if self_label is not None else ["classes 2, 3 are taken into use: sample 2 has that label"])


@pytest.mark.parametrize(
    ("model", "labelled", "options", "error"),
    [
        (Model(), False, TRAIN, DataError),
        (Model(trainable=False), True, TRAIN, HeadError),
        (Model(), True, StreamOptions(train=True, learning_rate=9.0), LearningRateError),
        (Model(), True, StreamOptions(train=True, repeat=0), OptionError),
        (Model(), True, StreamOptions(train=False, limit=-1), OptionError),
    ],
)
def test_what_cannot_work_is_refused_and_leaves_no_run(tmp_path, model, labelled, options, error):
    with FakeDevice(model) as fake, open_device(fake.url) as device:
        dataset = a_dataset(device, 5, labelled)
        folder = a_run(tmp_path, device, dataset, options)
        with pytest.raises(error):
            stream(device, dataset, options, run_folder=folder)
        assert fake.applied == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("faults", "error"),
    [
        (Faults(silent_after_frames=60), DeviceTimeoutError),
        (Faults(reset_after_frames=60), DeviceResetError),
        (Faults(close_after_frames=60), PortError),
    ],
)
def test_a_failure_keeps_what_was_received(tmp_path, impatient, faults, error):
    with FakeDevice(faults=faults) as fake, open_device(fake.url, options=impatient) as device:
        dataset = a_dataset(device)
        folder = a_run(tmp_path, device, dataset, TRAIN)
        with pytest.raises(error) as caught:
            stream(device, dataset, TRAIN, run_folder=folder)
    run = read_run(folder.path)
    assert run.summary.ended == "error"
    assert run.summary.error == str(caught.value)
    assert 20 < len(run.records) < 60
    assert run.summary.samples == len(run.records)
    assert not (folder.path / "head.npz").exists()
    assert any("the learned head could not be read" in notice for notice in run.summary.notices)


def test_ctrl_c_ends_after_the_result_under_way(tmp_path):
    with FakeDevice(compute_s=0.005) as fake, open_device(fake.url) as device:
        dataset = a_dataset(device, 400)
        folder = a_run(tmp_path, device, dataset, TRAIN)
        before = signal.getsignal(signal.SIGINT)
        timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
        timer.start()
        summary = stream(device, dataset, TRAIN, run_folder=folder)
        timer.join()
        assert signal.getsignal(signal.SIGINT) is before
        assert 0 < summary.samples < 400
        # Every sample that the device learned is in the run, and its head was read.
        assert fake.step == summary.samples
    assert summary.ended == "interrupted"
    assert (folder.path / "head.npz").exists()
    assert len(read_run(folder.path).records) == summary.samples


def test_ctrl_c_twice_does_not_wait_for_a_silent_device(tmp_path):
    with FakeDevice(faults=Faults(silent_after_frames=40)) as fake, open_device(fake.url) as device:
        dataset = a_dataset(device)
        folder = a_run(tmp_path, device, dataset, TRAIN)
        timers = [threading.Timer(t, lambda: os.kill(os.getpid(), signal.SIGINT)) for t in (0.5, 0.8)]
        for timer in timers:
            timer.start()
        start = time.monotonic()
        summary = stream(device, dataset, TRAIN, run_folder=folder)
        assert time.monotonic() - start < 8
        for timer in timers:
            timer.join()
    assert summary.ended == "interrupted"
    assert not (folder.path / "head.npz").exists()
    assert "the learned head was not read" in read_run(folder.path).summary.notices


@pytest.mark.parametrize("interrupted", [True, False])
def test_a_device_that_is_gone_before_its_head_was_read(tmp_path, monkeypatch, interrupted):
    with FakeDevice() as fake, open_device(fake.url) as device:
        dataset = a_dataset(device, 10)
        folder = a_run(tmp_path, device, dataset, TRAIN)

        before = device.read_head()

        def gone(heads=[before]):  # noqa: B006 - read once before the first sample
            if not heads:
                raise PortError("the connection broke off")
            return heads.pop()

        monkeypatch.setattr(device, "read_head", gone)
        if interrupted:
            real = device.submit

            def submit(*args, **kwargs):
                os.kill(os.getpid(), signal.SIGINT)
                return real(*args, **kwargs)

            monkeypatch.setattr(device, "submit", submit)
            summary = stream(device, dataset, TRAIN, run_folder=folder)
            assert summary.samples == 1
        else:
            with pytest.raises(PortError):
                stream(device, dataset, TRAIN, run_folder=folder)
            summary = read_run(folder.path).summary
    assert summary.ended == ("interrupted" if interrupted else "error")
    assert any("head could not be read" in notice for notice in summary.notices)


def test_ctrl_c_that_ends_the_emulator_too_is_no_failure(tmp_path, monkeypatch):
    with FakeDevice() as fake, open_device(fake.url) as device:
        dataset = a_dataset(device, 10)
        folder = a_run(tmp_path, device, dataset, TRAIN)

        def submit(*args, **kwargs):
            os.kill(os.getpid(), signal.SIGINT)
            raise PortError("the connection broke off")

        monkeypatch.setattr(device, "submit", submit)
        summary = stream(device, dataset, TRAIN, run_folder=folder)
    assert summary.ended == "interrupted"
    assert any("broke off" in notice for notice in summary.notices)
    assert read_run(folder.path).summary == summary


def test_a_pass_that_ended_early_is_told_so():
    with FakeDevice() as fake, open_device(fake.url) as device:
        out = io.StringIO()
        options = StreamOptions(train=True, learning_rate=0.02, repeat=5, limit=83)
        summary = stream(device, a_dataset(device, 20), options, view=PlainView(out))
        assert [score.complete for score in summary.passes] == [True] * 4 + [False]
        lines = out.getvalue().splitlines()
        assert sum(line.endswith("(of the 3 samples of pass 5)") for line in lines) == 2
        assert "last pass" not in out.getvalue()
        out = io.StringIO()
        stream(device, a_dataset(device, 20), StreamOptions(train=True, repeat=2), view=PlainView(out))
        assert "(last pass)" in out.getvalue()
        assert "of the " not in out.getvalue()


def test_an_inference_only_device_predicts_beside_float_targets():
    with FakeDevice(Model(trainable=False, labels=())) as fake, open_device(fake.url) as device:
        x, _ = blobs(8)
        dataset = make_dataset(x, np.zeros((8, 4)), device.info)
        summary = stream(device, dataset, StreamOptions(train=False))
    assert (summary.samples, summary.accuracy) == (8, None)
    assert any("not compared" in notice for notice in summary.notices)


def test_a_device_whose_sensor_runs_is_left_alone():
    with FakeDevice(Model(has_sensor=True)) as fake:
        with open_device(fake.url) as device:
            device.set_sensor(run=True, train=True, label=1)
        with open_device(fake.url) as device, pytest.raises(DeviceRefusedError, match="its own sensor") as refused:
            stream(device, a_dataset(device, 5), TRAIN)
        assert "refuses samples of the host" in refused.value.cause
        assert "edgelearn monitor --stop --port socket://" in refused.value.hint
        assert fake.step == 0


def test_a_stream_in_another_thread_works():
    results = []
    with FakeDevice() as fake, open_device(fake.url) as device:
        thread = threading.Thread(target=lambda: results.append(stream(device, a_dataset(device, 5), TRAIN)))
        thread.start()
        thread.join()
    assert results[0].samples == 5


def test_a_full_disk_ends_the_stream_with_its_message(tmp_path, monkeypatch):
    with FakeDevice() as fake, open_device(fake.url) as device:
        dataset = a_dataset(device)
        folder = a_run(tmp_path, device, dataset, TRAIN)
        real = folder._results

        class Full(io.BytesIO):
            def write(self, data):
                raise OSError(28, "No space left on device")

        real.close()
        folder._results = Full()
        with pytest.raises(StorageError, match="could not be written") as caught:
            stream(device, dataset, TRAIN, run_folder=folder)
        assert "No space left" in caught.value.cause
        assert fake.step <= fake.model.window + 1, "nothing is sent after a failure"
    assert "the learned head was not read" in read_run(folder.path).summary.notices


def test_a_run_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with (
        FakeDevice() as fake,
        open_device(fake.url) as device,
        pytest.raises(StorageError, match="could not be written"),
    ):
        a_run(tmp_path / "file", device, a_dataset(device, 3), TRAIN)


def test_names_of_run_folders(tmp_path):
    now = datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
    with FakeDevice(Model(board="a/b c")) as fake, open_device(fake.url) as device:
        made = []
        for _ in range(2):
            with create_run(
                tmp_path, info=device.info, port="p", source=a_dataset(device, 3), options=TRAIN, now=now
            ) as folder:
                made.append(folder.path.name)
    assert made == ["20300102T030405Z-a-b-c-00010203", "20300102T030405Z-a-b-c-00010203-2"]


def test_a_crash_leaves_a_run_that_can_be_read(tmp_path):
    with FakeDevice() as fake, open_device(fake.url) as device:
        dataset = a_dataset(device, 20)
        folder = a_run(tmp_path, device, dataset, TRAIN)
        stream(device, dataset, TRAIN, run_folder=folder)
    results = folder.path / telemetry.RESULTS
    whole = results.read_bytes()
    (folder.path / telemetry.SUMMARY).unlink()
    lines = whole.split(b"\n")[:-1]
    starts = [sum(len(line) + 1 for line in lines[:n]) for n in range(len(lines) + 1)]
    for cut in range(len(whole)):
        results.write_bytes(whole[:cut])
        run = read_run(folder.path)
        complete = sum(start <= cut for start in starts) - 1
        # A line that lacks only its line feed is whole.
        assert len(run.records) in (complete, complete + 1)
        assert run.summary is None


def test_killing_the_host_loses_nothing_that_was_received(tmp_path):
    script = """
import sys, pathlib
from tests.unit.host.test_stream import TRAIN, a_dataset, a_run
from edgelearn.host.device import open_device
from edgelearn.host.stream import stream
with open_device(sys.argv[1]) as device:
    dataset = a_dataset(device, 5000)
    stream(device, dataset, TRAIN, run_folder=a_run(pathlib.Path(sys.argv[2]), device, dataset, TRAIN))
"""
    with FakeDevice() as fake:
        root = Path(__file__).resolve().parents[3]
        process = subprocess.Popen([sys.executable, "-c", script, fake.url, str(tmp_path)], cwd=root)
        while fake.step < 200 and process.poll() is None:
            time.sleep(0.005)
        process.kill()
        process.wait()
        applied = fake.step
    (folder,) = tmp_path.iterdir()
    run = read_run(folder)
    # The results under way when the host died are the only ones that may be missing.
    assert applied - fake.model.window <= len(run.records) <= applied


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_what_is_no_run(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="not the folder of a run"):
        read_run(tmp_path / name)


def test_summary_and_manifest_are_plain_json(tmp_path):
    with FakeDevice() as fake, open_device(fake.url) as device:
        dataset = a_dataset(device, 4)
        folder = a_run(tmp_path, device, dataset, TRAIN)
        stream(device, dataset, TRAIN, run_folder=folder)
    for name in (telemetry.MANIFEST, telemetry.SUMMARY):
        text = (folder.path / name).read_bytes()
        assert text.endswith(b"\n")
        assert isinstance(msgspec.json.decode(text), dict)


def test_a_missing_matplotlib_is_a_notice(tmp_path, monkeypatch):
    from edgelearn.errors import MissingPackageError

    def missing(_path):
        raise MissingPackageError("matplotlib", extra="plot", purpose="drawing plots")

    monkeypatch.setattr(plots, "draw_plots", missing)
    out = io.StringIO()
    with FakeDevice() as fake, open_device(fake.url) as device:
        dataset = a_dataset(device, 4)
        folder = a_run(tmp_path, device, dataset, TRAIN)
        summary = stream(device, dataset, TRAIN, run_folder=folder, view=PlainView(out))
    assert "edgelearn[plot]" in out.getvalue()
    assert any("edgelearn[plot]" in notice for notice in summary.notices)


def test_notices_of_the_data_are_told():
    out = io.StringIO()
    with FakeDevice() as fake, open_device(fake.url) as device:
        dataset = make_dataset(np.full((3, 16), 50.0), np.zeros(3, int), device.info)
        stream(device, dataset, StreamOptions(train=False), view=PlainView(out))
    assert "were clipped" in out.getvalue()
