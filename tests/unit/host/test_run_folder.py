"""The run folder after a crash: cut at every byte, with files missing or torn, and after the host was killed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgelearn.errors import DataError, HeadError, StorageError
from edgelearn.host.head import load_head
from edgelearn.host.telemetry import (
    EVENTS,
    HEAD,
    HEAD_BEFORE,
    MANIFEST,
    RESULTS,
    SUMMARY,
    Manifest,
    Record,
    RunEvent,
    create_run,
    read_run,
    reopen_run,
)
from tests.support.fake_device import FakeDevice, blobs
from tests.support.runs import a_head, make_run

ROOT = Path(__file__).resolve().parents[3]


def whole_lines(data: bytes, kind: type[msgspec.Struct]) -> int:
    """How many lines of a cut file are whole; the last one may lack its line feed."""
    *lines, last = data.split(b"\n")
    try:
        msgspec.json.decode(last, type=kind)
    except msgspec.MsgspecError:
        return len(lines)
    return len(lines) + 1


@pytest.mark.parametrize(("name", "kind"), [(RESULTS, Record), (EVENTS, RunEvent)])
def test_cut_at_every_byte_it_opens_with_what_was_whole(tmp_path, name, kind):
    path = make_run(tmp_path, 12, events=True)
    before = read_run(path)
    assert (len(before.records), len(before.events), before.problems) == (12, 2, ())
    whole = (path / name).read_bytes()
    for cut in range(len(whole) + 1):
        (path / name).write_bytes(whole[:cut])
        run = read_run(path)
        found = run.records if kind is Record else run.events
        assert len(found) == whole_lines(whole[:cut], kind)
        assert found == (before.records if kind is Record else before.events)[: len(found)]
        assert (run.manifest, run.summary, run.problems) == (before.manifest, before.summary, ())


@pytest.mark.parametrize("tail", [b"\0" * 4096, b"\xff\xfe", b'{"number":', b"[1]", b"null", b"{}"])
def test_what_a_failing_disk_leaves_at_the_end_is_left_out(tmp_path, tail):
    path = make_run(tmp_path, 5)
    with (path / RESULTS).open("ab") as file:
        file.write(tail)
    assert len(read_run(path).records) == 5


@pytest.mark.parametrize("bad", [b"x", b"\0\0", b"\xff", b'{"number":1}', b'"' + b"[" * 100_000])
def test_a_damaged_line_is_left_out_and_named(tmp_path, bad):
    path = make_run(tmp_path, 6)
    lines = (path / RESULTS).read_bytes().split(b"\n")
    lines[3] = bad
    (path / RESULTS).write_bytes(b"\n".join(lines))
    run = read_run(path)
    assert [record.number for record in run.records] == [0, 1, 2, 4, 5]
    assert run.problems == (f"{RESULTS}: 1 damaged line left out, the first is 4",)


@pytest.mark.parametrize("name", [MANIFEST, SUMMARY])
def test_a_document_cut_at_every_byte_costs_only_itself(tmp_path, name):
    path = make_run(tmp_path, 3)
    whole = (path / name).read_bytes()
    for cut in range(len(whole) - 1):  # the last byte is a line feed
        (path / name).write_bytes(whole[:cut])
        run = read_run(path)
        assert len(run.records) == 3
        assert len(run.problems) == 1
        assert name in run.problems[0]
        assert (run.summary is None) == (name == SUMMARY)
        assert (run.manifest.data == "made-up.npz") == (name == SUMMARY)


@pytest.mark.parametrize("name", [MANIFEST, RESULTS, EVENTS, SUMMARY, HEAD, HEAD_BEFORE])
def test_a_missing_file_costs_only_itself(tmp_path, name):
    path = make_run(tmp_path, 4, events=True, heads=True)
    (path / name).unlink()
    run = read_run(path)
    assert len(run.records) == (0 if name == RESULTS else 4)
    assert len(run.events) == (0 if name == EVENTS else 2)
    assert (run.summary is None) == (name == SUMMARY)
    assert bool(run.problems) == (name in (MANIFEST, RESULTS))


def test_a_folder_without_manifest_and_results_is_no_run(tmp_path):
    path = make_run(tmp_path, 0)
    (path / MANIFEST).write_bytes(b"{")
    with pytest.raises(DataError, match="does not say what was run"):
        read_run(path)
    (path / MANIFEST).unlink()
    with pytest.raises(DataError, match="not the folder of a run"):
        read_run(path)


def test_a_torn_head_is_refused_by_name(tmp_path):
    path = make_run(tmp_path, 1, heads=True)
    whole = (path / HEAD).read_bytes()
    for cut in range(0, len(whole), 101):
        (path / HEAD).write_bytes(whole[:cut])
        with pytest.raises(HeadError, match=r"head\.npz holds no learned head"):
            load_head(path / HEAD)


def test_a_newer_format_is_refused(tmp_path):
    path = make_run(tmp_path, 1)
    manifest = json.loads((path / MANIFEST).read_text()) | {"format_version": 2}
    (path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="a run of format 2, this edgelearn reads up to 1"):
        read_run(path)


def test_a_run_of_the_first_version_opens():
    path = Path(__file__).parent / "data" / "run-of-0.1"
    run = read_run(path)
    assert (len(run.records), run.problems) == (4, ())
    assert run.manifest.device.labels == ("zero", "one", "two", "three")
    assert run.summary is not None
    assert run.summary.samples == 4
    assert [record.correct for record in run.records] == [False, False, True, False]


def test_what_newer_versions_add_is_skipped(tmp_path):
    path = make_run(tmp_path, 2, events=True)
    for name in (RESULTS, EVENTS):
        lines = [json.loads(line) | {"added": [1]} for line in (path / name).read_text().splitlines()]
        (path / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = read_run(path)
    assert (len(run.records), len(run.events), run.problems) == (2, 2, ())


@pytest.mark.parametrize("cut", [0, 1, 40, 2])
def test_a_reopened_run_goes_on_after_its_last_whole_line(tmp_path, cut):
    path = make_run(tmp_path, 3, events=True)
    last = read_run(path).records[-1]
    for name in (RESULTS, EVENTS):
        data = (path / name).read_bytes()
        (path / name).write_bytes(data[: len(data) - cut])
    with reopen_run(path) as folder:
        folder.remove_summary()
        assert not (path / SUMMARY).exists()
        folder.append(msgspec.structs.replace(last, number=7))
        folder.append_event(RunEvent(kind="resume", time_s=3.0, results=3))
    run = read_run(path)
    kept = 3 if cut < 2 else 2
    assert [record.number for record in run.records] == [*[0, 1, 2][:kept], 7]
    assert [event.kind for event in run.events] == [*["save", "reset"][: kept - 1], "resume"]
    assert run.problems == ()


def test_only_a_run_can_be_reopened(tmp_path):
    with pytest.raises(DataError, match="not the folder of a run"):
        reopen_run(tmp_path)


def test_the_first_head_before_is_kept(tmp_path):
    path = make_run(tmp_path, 1, heads=True)
    with reopen_run(path) as folder:
        folder.write_head_before(a_head(seed=5))
    assert load_head(path / HEAD_BEFORE).same_as(a_head())


def test_a_discarded_folder_leaves_nothing(tmp_path):
    manifest = read_run(make_run(tmp_path / "made", 0)).manifest
    from edgelearn.host.data import Dataset

    data = Dataset(name="d", sha256="", inputs=(np.zeros((1, 1), np.int8),))
    options = manifest.options
    folder = create_run(tmp_path / "runs", info=manifest.device, port="p", source=data, options=options)
    folder.append_event(RunEvent(kind="notice", time_s=0.0, results=0))
    folder.write_head_before(a_head())
    folder.discard()
    assert list((tmp_path / "runs").iterdir()) == []


def test_events_that_cannot_be_written(tmp_path):
    path = make_run(tmp_path, 1)
    (path / EVENTS).mkdir()
    with reopen_run(path) as folder, pytest.raises(StorageError, match=r"events\.jsonl"):
        folder.append_event(RunEvent(kind="notice", time_s=0.0, results=1))
    assert "events.jsonl cannot be read" in read_run(path).problems[0]


def killed_stream(tmp_path: Path, after_steps: int, *, printed: bool = False) -> tuple[int, str, Path]:
    """Kill a real `edgelearn stream` once the device has learned so much (and a line was printed).

    Returns how many samples the device has learned, what was printed, and the run folder.
    """
    x, y = blobs(20_000)
    np.savez(tmp_path / "blobs.npz", x=x, y=y)
    log = tmp_path / "log"
    argv = ["--data", str(tmp_path / "blobs.npz"), "--train", "--runs", str(tmp_path / "runs")]
    if printed:
        # A line comes every two seconds; the stream must not end before.
        argv += ["--rate-hz", "500"]
    with FakeDevice() as fake, log.open("wb") as out:
        command = [sys.executable, "-m", "edgelearn", "stream", "--port", fake.url, *argv]
        process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT)
        while process.poll() is None and (
            fake.step < after_steps or (printed and not re.search(r"^\d+/", log.read_text(), re.M))
        ):
            time.sleep(0.001)
        process.kill()
        assert process.wait() < 0, log.read_text()
        # What is on its way to the device still arrives.
        learned = -1
        while learned != fake.step:
            learned = fake.step
            time.sleep(0.2)
    (folder,) = (tmp_path / "runs").iterdir()
    return learned, log.read_text(), folder


#: Requests that may be under way when the host dies: learned by the device, not yet received by the host.
MOST_UNDER_WAY = 32


@pytest.mark.parametrize("after_steps", [1, 7, 150, 1111])
def test_after_sigkill_everything_acknowledged_is_in_the_folder(tmp_path, after_steps):
    random = np.random.default_rng(after_steps)
    learned, _, folder = killed_stream(tmp_path, after_steps + int(random.integers(0, 1 + after_steps // 4)))
    run = read_run(folder)
    assert [record.number for record in run.records] == list(range(len(run.records)))
    assert learned - MOST_UNDER_WAY <= len(run.records) <= learned
    assert run.summary is None
    assert run.problems == ()


def test_after_sigkill_everything_printed_is_in_the_folder(tmp_path):
    learned, text, folder = killed_stream(tmp_path, 1, printed=True)
    said = max(int(number) for number in re.findall(r"^(\d+)/20000", text, re.M))
    assert 0 < said <= len(read_run(folder).records) <= learned


def test_killed_before_the_manifest_the_folder_is_named_as_no_run(tmp_path):
    path = make_run(tmp_path, 0)
    shutil.copy(path / MANIFEST, tmp_path / "kept")
    assert msgspec.json.decode((tmp_path / "kept").read_bytes(), type=Manifest).data == "made-up.npz"
    (path / MANIFEST).unlink()
    with pytest.raises(DataError, match="not the folder of a run"):
        read_run(path)
