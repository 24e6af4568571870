"""The documentation's tables have a line for every model and every peer; the figures are `make bench`'s affair."""

from __future__ import annotations

import re

import pytest

from benchmarks.inference import COLUMNS, PAGE, PEERS, ROOT, Row, markdown, replace_between, with_peers
from benchmarks.models import model_names
from benchmarks.networks import NETWORKS
from edgelearn.errors import OptionError

README = ROOT / "README.md"


def table(path, mark):
    """The lines of the table between the marks, as lists of cells."""
    text = path.read_text(encoding="utf-8")
    between = text.partition(f"<!-- begin {mark} -->")[2].partition(f"<!-- end {mark} -->")[0]
    rows = [line.strip("|").split("|") for line in between.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows]


@pytest.mark.parametrize(
    ("path", "mark", "names"),
    [
        (PAGE, "table", [*PEERS, *(network.name for network in NETWORKS)]),
        (README, "benchmarks", [*PEERS]),
    ],
)
def test_the_committed_table_is_whole(path, mark, names):
    header, _, *rows = table(path, mark)
    assert header == list(COLUMNS)
    titles = [re.sub(r"^\*\*(\w+)\*\*.*|^- (.*)", r"\1\2", row[0]) for row in rows]
    assert sorted(titles) == sorted([*names, *(peer.name for peers in PEERS.values() for peer in peers)])
    for row in rows:
        assert len(row) == len(COLUMNS)
        if row[0].startswith("**"):
            assert all(re.fullmatch(r"[\d,]+(\.\d\d)?", cell) for cell in row[1:]), row


def test_peers_stand_below_their_model():
    rows = with_peers([Row(name="kws_ref_model", about="x", multiply_accumulates=1000, instructions=2500)])
    lines = markdown(rows).splitlines()
    assert lines[2] == "| **kws_ref_model**, x | 1,000 | 2,500 | 2.50 |  |  |  |  |"
    assert lines[3] == "| - CMSIS-NN |  | 7,415,000 | 7415.00 | 9,050,000 | 57,696 | 16,000 |  |"
    assert len(lines) == 2 + 1 + len(PEERS["kws_ref_model"])


def test_a_table_is_written_between_its_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- begin t -->\nold\n<!-- end t -->\nafter\n", encoding="utf-8")
    for _ in range(2):
        replace_between(page, "t", r"new \1")
        expected = "before\n<!-- begin t -->\n\nnew \\1\n\n<!-- end t -->\nafter\n"
        assert page.read_text(encoding="utf-8") == expected
    with pytest.raises(ValueError, match="no lines"):
        replace_between(page, "u", "new")


def test_an_unknown_model_is_named(tmp_path):
    assert model_names([tmp_path / "a.tflite"], ["mlp", "a"]) == ["a", "mlp"]
    with pytest.raises(OptionError, match=r"no model is called nothing.*small_cnn"):
        model_names([], ["nothing", "mlp"])
