"""Lines of standard input become samples as they come; what cannot be read is passed over and told."""

from __future__ import annotations

import json
import queue
import re
import time

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from edgelearn.cli import main
from edgelearn.errors import DataError
from edgelearn.host.device import open_device
from edgelearn.host.live import LiveSource
from edgelearn.host.stream import stream
from edgelearn.host.tables import TableOptions
from edgelearn.host.telemetry import StreamOptions, read_run
from edgelearn.protocol import TensorInfo, TensorType
from tests.support.fake_device import FakeDevice, blobs
from tests.unit.host.test_host_data import INFO

SECOND = TensorInfo(name="more", is_input=True, type=TensorType.FLOAT32, elements=2)


def source(lines, info=INFO, *, train=True, **options):
    return LiveSource(lines, info, train=train, table=TableOptions(**options))


def lessons(live, **how):
    return [lesson for lesson in live.lessons(**how) if lesson is not None]


def test_rows_of_sensors():
    live = source(["x,y,label\n", *(f"{i},{i},dog\n" for i in range(7))], label_column="label")
    found = lessons(live)
    assert [lesson.label for lesson in found] == [1, 1, 1]
    assert [lesson.sample for lesson in found] == [0, 1, 2]
    assert found[1].inputs[0].tolist() == [-6, -6, -4, -4]
    assert live.problems == []


def test_lines_of_json():
    lines = [json.dumps({"x": [[0, 1], [2, 3]], "y": "eel"}), json.dumps({"image": [0, 0, 0, 0], "y": 1}), ""]
    found = lessons(source(lines))
    assert [lesson.label for lesson in found] == [2, 1]
    assert found[0].inputs[0].tolist() == [-10, -8, -6, -4]
    assert len(lessons(source(["[1, 2, 3, 4]"], train=False))) == 1


def test_several_inputs():
    info = msgspec.structs.replace(INFO, inputs=(*INFO.inputs, SECOND))
    (found,) = lessons(source([json.dumps({"image": [1, 2, 3, 4], "more": [0.25, 0.5], "y": 0})], info))
    assert found.inputs[1].tolist() == [0.25, 0.5]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"x": [1, 2, 3, 4], "y": 7}', "label 7.* not one of the classes"),
        ('{"x": [1, 2, 3], "y": 0}', "3 elements, the model takes 4"),
        ('{"x": [1, 2, 3, "a"], "y": 0}', "other things than numbers"),
        ('{"x": [[1, 2], [3]], "y": 0}', "other things than numbers"),
        ('{"z": [1, 2, 3, 4]}', "line 2 has no x"),
        ('{"x": [1, 2,', "line 2 is no JSON"),
        ('{"x": [1, 2, 3, 4]}', "no label"),
        ('{"x": [1, 2, 3, NaN], "y": 0}', "not a number"),
        ("1,2,3,oops", "line 2: 'oops' in column 4 is no number"),
    ],
)
def test_what_cannot_be_read_is_passed_over_and_told(line, words):
    good = '{"x": [1, 2, 3, 4], "y": 0}'
    live = source([good if line[0] == "{" else "0,0,0,0", line, good])
    found = lessons(live)
    assert found[-1].label == 0
    problem = live.problems[-1]
    assert problem.startswith("passed over: ")
    assert re.search(words, problem), problem


def test_many_bad_lines_are_told_a_few_times():
    live = source(["{"] * 50)
    assert lessons(live) == []
    assert len(live.problems) == 6
    assert "in silence" in live.problems[-1]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"x": [1, 2, 3, 4], "y": 7}', "passed over: line 2 has the label 7, which"),
        ('{"x": [1, 2, 3, NaN], "y": 0}', "passed over: line 2: x has a value that is not a number"),
        ('{"x": [1, 2, 3], "y": 0}', "passed over: line 2: a sample of x has 3 elements"),
    ],
)
def test_notes_name_the_line(line, words):
    live = source(['{"x": [1, 2, 3, 4], "y": 0}', line])
    lessons(live)
    assert live.problems[0].startswith(words)


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        ([], "it was empty"),
        (["{"] * 7, "7 lines were passed over, of 7 lines in all"),
        (["1,2", "3,4,5"], "1 line was passed over, of 2 lines in all"),
        (["1,2"], "1 line makes no whole sample"),
    ],
)
def test_nothing_that_can_be_read_is_an_error(tmp_path, lines, cause):
    with FakeDevice() as fake:
        options = ["--port", fake.url, "--data", "-", "--predict", "--runs", str(tmp_path / "runs")]
        result = CliRunner().invoke(main, ["stream", *options], input="".join(f"{line}\n" for line in lines))
    assert result.exit_code == DataError.exit_code, result.output
    assert "standard input gave no sample" in result.output
    assert cause in result.output
    (path,) = (tmp_path / "runs").iterdir()
    assert read_run(path).summary.ended == "error"


def test_the_limit_ends_an_endless_stream():
    def forever():
        while True:
            yield '{"x": [1, 2, 3, 4], "y": 0}'

    assert len(lessons(source(forever()), limit=5)) == 5


def test_results_are_taken_while_no_line_comes():
    x, y = blobs(3)
    waiting: queue.Queue[str | None] = queue.Queue()
    for sample, label in zip(x, y, strict=True):
        waiting.put(json.dumps({"x": sample.tolist(), "y": int(label)}))
    with FakeDevice() as fake, open_device(fake.url) as device:
        live = LiveSource(iter(waiting.get, None), device.info, train=True)

        class Ends:
            """Ends the stream once all results have been seen, and not before."""

            seen = 0

            def start(self, _):
                pass

            def result(self, event):
                Ends.seen = event.done
                if event.done == 3:
                    waiting.put(None)

            def notice(self, text):
                pass

            def finish(self, summary):
                pass

            def close(self):
                pass

        began = time.monotonic()
        summary = stream(device, live, StreamOptions(train=True), view=Ends())
    assert summary.samples == 3
    assert Ends.seen == 3
    assert time.monotonic() - began < 20
    assert np.isfinite(summary.passes[0].mean_loss)
