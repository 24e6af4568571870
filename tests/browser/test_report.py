"""The page of a run in headless Chromium: nothing is cut off at the widths of a window and of a telephone."""

from __future__ import annotations

import re
import subprocess

import pytest

from edgelearn.host.report import write_report
from tests.support.runs import make_run
from tests.support.tools import require_browser, require_package

#: Writes into the title which parts are wider than their place, and by how much.
_MEASURE = """<script>document.title = [...document.querySelectorAll(".scroll")].map(
e => e.parentElement.id + " " + (e.scrollWidth - e.clientWidth)).join()</script></body>"""
#: So many columns that a telephone has no room for them.
_WIDE = "over-time"


@pytest.mark.parametrize("width", [1000, 500])
def test_no_table_is_cut_off(tmp_path, width):
    require_package("matplotlib")
    program, _ = require_browser()
    page = tmp_path / "report.html"
    write_report(make_run(tmp_path, 3900, passes=3, heads=True, names=tuple("0123456789")), page)
    text = re.sub(r"<meta http-equiv[^>]*>", "", page.read_text(encoding="utf-8"))
    page.write_text(text.replace("</body>", _MEASURE), encoding="utf-8")
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", f"--window-size={width},900")
    done = subprocess.run([program, *options, page.as_uri()], capture_output=True, check=True, timeout=120)
    title = re.search(r"<title>([^<]*)</title>", done.stdout.decode())
    assert title is not None
    over = {name: int(pixels) for name, pixels in (part.split() for part in title.group(1).split(","))}
    assert {"by-class", "head-rows", "times", "passes"} <= over.keys()
    assert [name for name, pixels in over.items() if pixels > 0 and name != _WIDE] == []
