"""The page of a run: complete in itself, right, and harmless whatever the run holds."""

from __future__ import annotations

import builtins
import re
from html.parser import HTMLParser

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from edgelearn.cli import main
from edgelearn.errors import DataError, MissingPackageError, StorageError
from edgelearn.host.report import head_rows, render_report, write_report
from edgelearn.host.telemetry import (
    HEAD,
    HEAD_BEFORE,
    MANIFEST,
    RESULTS,
    SUMMARY,
    Manifest,
    RunEvent,
    read_run,
    reopen_run,
)
from edgelearn.host.view import closing
from edgelearn.protocol import LossCode
from tests.support.runs import make_run
from tests.support.tools import require_package

#: Elements that have no end tag.
VOID = {"meta", "br", "path", "use"}
#: What a page needs that stands alone; nothing of it loads or runs anything.
KNOWN = (
    {"html", "head", "meta", "title", "style", "body", "header", "main", "section", "footer", "details", "summary"}
    | {"h1", "h2", "h3", "p", "span", "ul", "li", "dl", "div", "dt", "dd", "small", "figure", "figcaption", "b", "i"}
    | {"table", "thead", "tbody", "tr", "th", "td", "svg", "defs", "g", "path", "use", "text", "clippath", "rect"}
)


class Page(HTMLParser):
    """Elements, attributes and texts of a page; fails where elements are not closed in order."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.texts, self.open = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []
        self.text = re.sub(r"\s+", " ", " ".join(self.texts))

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attributes]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attributes]

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.texts.append(data)


def page_of(path):
    require_package("matplotlib")
    text = render_report(read_run(path))
    page = Page(text)
    assert set(page.tags) <= KNOWN, set(page.tags) - KNOWN
    for tag, name, value in page.attributes:
        assert not name.startswith("on"), (tag, name)
        assert name not in ("src", "srcset", "action", "formaction", "data"), (tag, name, value)
        if name.endswith("href"):
            assert value.startswith("#"), (tag, value)
        if name == "style":
            assert not re.search(r"url\((?!#)|expression|@import", value), value
    assert "default-src 'none'" in text
    assert "@import" not in text
    assert re.findall(r"https?://[^\"' ]+", text) in ([], ["http://www.w3.org/1999/xlink"] * text.count("<svg"))
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    return page


def section(page, start, end):
    return page.text[page.text.index(start) : page.text.index(end)]


def test_it_says_what_the_results_say(tmp_path):
    path = make_run(tmp_path, 900, passes=3, events=True, heads=True, names=("zero", "one", "two"), classes=3)
    page = page_of(path)
    run = read_run(path)
    first = [record for record in run.records if record.pass_number == 0]
    accuracy = sum(record.correct for record in first) / len(first)
    assert f"{100 * accuracy:.1f} %" in page.text
    assert f"{np.mean([record.loss for record in first]):.4g}" in page.text
    matrix = np.zeros((3, 3), int)
    for record in first:
        matrix[record.label, record.prediction] += 1
    for label, name in enumerate(("zero", "one", "two")):
        assert f"{name} taken for two: {matrix[label, 2]} of {matrix[label].sum()}" in {
            value for _, attribute, value in page.attributes if attribute == "title"
        }
        row = f"{name} {matrix[label].sum()} {100 * matrix[label, label] / matrix[label].sum():.1f} %"
        assert row in section(page, "mistaken for", "Accuracy by class"), row
    times = 1000 * np.array([record.round_trip_s for record in run.records])
    assert f"Median {np.median(times):.3g} ms, 95 % within {np.quantile(times, 0.95):.3g} ms" in page.text
    for part in ("the device restarted", "820 bytes", "23.4 KiB", "digits.elb", "Nothing went wrong"):
        assert (part in page.text) == (part != "Nothing went wrong"), part
    for part in ("Accuracy over the samples", "Loss over", "Confusion matrix", "Change of the head by row", "RAM and"):
        assert part in page.text
    for part in ("Stack over", "Distribution of the round trip", "The link over", "Events", "What was run"):
        assert part in page.text


def test_the_head_by_row_and_the_stack_by_phase(tmp_path):
    path = make_run(tmp_path, 50, heads=True, classes=2, names=("up", "down"))
    run = read_run(path)
    statistics = msgspec.structs.replace(
        run.summary.statistics, inference_stack_bytes=700, train_stack_bytes=300, save_stack_bytes=0
    )
    (path / SUMMARY).write_bytes(msgspec.json.encode(msgspec.structs.replace(run.summary, statistics=statistics)))
    page = page_of(path)
    before, after = (np.load(path / name)["weights"] for name in ("head-before.npz", HEAD))
    for row, name in enumerate(("up", "down")):
        lengths = (np.linalg.norm(w) for w in (before[row], after[row], after[row] - before[row]))
        assert f"{name} {' '.join(f'{length:.3g}' for length in lengths)}" in page.text
    assert "inference 700 bytes 17.1 % update 300 bytes 7.3 % all of it 820 bytes 20.0 %" in page.text
    assert "saving" not in section(page, "Memory", "Stack by phase")


def test_the_heap_of_a_device_that_has_one(tmp_path):
    path = make_run(tmp_path, 50)
    assert "Heap" not in page_of(path).text
    run = read_run(path)
    statistics = msgspec.structs.replace(
        run.summary.statistics,
        heap_free_bytes=40_960,
        heap_allocated_bytes=90_112,
        heap_largest_free_bytes=30_720,
        collections=3,
    )
    summary = msgspec.structs.replace(run.summary, statistics=statistics)
    (path / SUMMARY).write_bytes(msgspec.json.encode(summary))
    page = page_of(path)
    memory = section(page, "Memory", "What was run")
    for part in ("Heap", "largest free block: 30.0 KiB", "taken: 88.0 KiB", "free elsewhere: 10.0 KiB"):
        assert part in memory, part
    assert "collections of garbage 3" in page.text
    assert "heap 88.0 of 128.0 KiB, largest free block 30.0 KiB, 3 collections" in closing(summary)


def test_a_row_that_was_empty_has_no_relative_change(tmp_path):
    path = make_run(tmp_path, 50, heads=True, classes=3, names=("up", "down", "new"))
    before = dict(np.load(path / HEAD_BEFORE))
    for name, zero in (("weights", 0), ("q", 0), ("l", 128)):
        before[name][2] = zero
    np.savez(path / HEAD_BEFORE, **before)
    page = page_of(path)
    figure = section(page, "change of the weights", "The head before and after")
    assert "Without 1 row that had no weights before." in figure
    notes = []
    assert [row.relative is None for row in head_rows(read_run(path), notes)] == [False, False, True]
    assert notes == []


@pytest.mark.parametrize(
    ("port", "said"),
    [
        ("emulate", "Emulated: times are the emulator's, not the board's."),
        ("socket://127.0.0.1:4000", "On a socket: if an emulator is behind it, times are the emulator's"),
        ("/dev/ttyACM0", ""),
    ],
)
def test_whose_times_these_are(tmp_path, port, said):
    path = make_run(tmp_path, 50)
    manifest = msgspec.json.decode((path / MANIFEST).read_bytes(), type=Manifest)
    (path / MANIFEST).write_bytes(msgspec.json.encode(msgspec.structs.replace(manifest, port=port)))
    page = page_of(path)
    times = section(page, "The round trip as the host measured it", "The link, as the host counted")
    assert said in times
    assert ("emulator" in page.text) == bool(said)
    shown = CliRunner().invoke(main, ["runs", "show", str(path)], catch_exceptions=False).output
    assert said[1:30] in shown
    assert ("emulator" in shown) == bool(said)


def test_no_table_of_times_where_none_was_measured(tmp_path):
    path = make_run(tmp_path, 20)
    lines = [
        msgspec.json.encode({**msgspec.json.decode(line), "round_trip_s": 0.0, "inference_ticks": 0, "train_ticks": 0})
        for line in (path / RESULTS).read_bytes().splitlines()
    ]
    (path / RESULTS).write_bytes(b"\n".join(lines) + b"\n")
    page = page_of(path)
    assert "as the host measured it" not in page.text
    assert "The link, as the host counted" in page.text


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style></svg></td></table><h1>",
    "{{ 7 * 7 }}{% raw %}",
    "$\\frac{1}{0}$ & <b>bold</b> -->",
    "' onmouseover='x",
    "var(--ink) #28303c url(//x)",
    "name\nof\ttwo lines\x01\u202e",
    "字" * 200,
    "&lt;i&gt;&#60;",
)


def test_what_others_wrote_is_only_text(tmp_path):
    path = make_run(tmp_path, 300, heads=True, events=True, names=HOSTILE)
    bad = HOSTILE[0] + HOSTILE[1] + HOSTILE[2]
    manifest = msgspec.json.decode((path / MANIFEST).read_bytes(), type=Manifest)
    changed = dict.fromkeys(("port", "board", "bundle", "data", "created_utc", "model_hash", "bundle_sha256"), bad)
    manifest = msgspec.structs.replace(manifest, command=("edgelearn", *HOSTILE), versions={bad: bad}, **changed)
    (path / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    summary = read_run(path).summary
    summary = msgspec.structs.replace(summary, ended=bad, error=bad, notices=HOSTILE, accuracy_name=bad)
    (path / SUMMARY).write_bytes(msgspec.json.encode(summary))
    with reopen_run(path) as folder:
        folder.append_event(RunEvent(kind=bad, time_s=1.0, results=3, text=bad))
    page = page_of(path)
    assert "{{ 7 * 7 }}" in page.text
    assert "alert(1)" in page.text
    assert page.tags.count("h1") == 1


@pytest.mark.parametrize("classes", [100, 1000])
def test_of_many_classes_the_worst_are_shown(tmp_path, classes):
    page = page_of(make_run(tmp_path, 3000, classes=classes, heads=True))
    assert f"The 24 of {classes:,}".replace(",", "") in page.text.replace(",", "")
    assert "others" in page.text
    assert "Most frequent mistakes" in page.text


@pytest.mark.parametrize(
    "made",
    [
        {"samples": 0, "ended": None},
        {"samples": 0},
        {"samples": 1, "ended": None},
        {"samples": 2, "train": False},
        {"samples": 40, "labelled": False, "train": False},
        {"samples": 40, "loss": LossCode.SQUARED_ERROR, "ended": "error", "heads": True},
        {"samples": 30, "classes": 1},
        {"samples": 7, "passes": 7, "ended": "interrupted"},
    ],
)
def test_every_kind_of_run_has_a_page(tmp_path, made):
    page = page_of(make_run(tmp_path, **made))
    assert ("it is still under way, or its host stopped" in page.text) == (made.get("ended", "") is None)
    assert "What was run" in page.text


@pytest.mark.parametrize("name", [MANIFEST, RESULTS, SUMMARY, HEAD])
def test_damage_is_named_on_the_page(tmp_path, name):
    path = make_run(tmp_path, 30, heads=True)
    (path / name).write_bytes((path / name).read_bytes()[:100] + b"\n{}\n")
    assert name in page_of(path).text


def test_the_command(tmp_path):
    require_package("matplotlib")
    path = make_run(tmp_path / "runs", 30)
    run = CliRunner().invoke
    done = run(main, ["report", "last", "--runs", str(tmp_path / "runs")], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    first = (path / "report.html").read_bytes()
    done = run(main, ["report", str(path), "-o", str(tmp_path / "a.html"), "--json"], catch_exceptions=False)
    assert f'"size_bytes":{len(first)}' in done.stdout
    # The same run gives the same page.
    assert (tmp_path / "a.html").read_bytes() == first
    assert run(main, ["report", str(tmp_path)]).exit_code == DataError.exit_code


def test_what_cannot_be_written_or_drawn(tmp_path, monkeypatch):
    require_package("matplotlib")
    path = make_run(tmp_path, 3)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        write_report(path, tmp_path / "file" / "a.html")
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == "matplotlib":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingPackageError, match="matplotlib") as caught:
        write_report(path)
    assert "edgelearn[plot]" in caught.value.hint
