"""Takes the pictures of the documentation: `python -m benchmarks.pictures`, after `make demo`.

The demonstration's board learns in QEMU while the page is open in headless Chromium; Debian's chromium and
chromium-driver take the picture.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_DEMO = Path("runs/demo")
_IMAGES = Path("docs/images")
_SIZE = (1200, 1360)
#: Samples after which the picture of the page is taken.
_SAMPLES = 900
_WAIT_S = 90.0


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description="take the pictures of the documentation")
    parser.add_argument("--demo", type=Path, default=_DEMO, help="what `edgelearn demo` made")
    parser.add_argument("--output", type=Path, default=_IMAGES)
    arguments = parser.parse_args()
    if not (arguments.demo / "project").is_dir():
        parser.error(f"{arguments.demo} holds no demonstration: run `make demo` first")
    arguments.output.mkdir(parents=True, exist_ok=True)
    browser = _browser()
    try:
        _page(browser, arguments.demo.resolve(), arguments.output)
    finally:
        browser.quit()


def _browser() -> Any:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or "chromium"
    width, height = _SIZE
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "hide-scrollbars"):
        options.add_argument(f"--{argument}")
    options.add_argument(f"--window-size={width},{height}")
    return webdriver.Chrome(service=Service(shutil.which("chromedriver") or "chromedriver"), options=options)


def _page(browser: Any, demo: Path, output: Path) -> None:
    command = [sys.executable, "-m", "edgelearn", "stream", "--port", "emulate", "--project", str(demo / "project")]
    command += ["--data", str(demo / "stream.npz"), "--train", "--lr", "1e-3", "--rate-hz", "60"]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [*command, "--web", "--web-port", "0"], cwd=folder, stdout=subprocess.PIPE, text=True
        ) as stream,
    ):
        assert stream.stdout is not None
        line = stream.stdout.readline()
        found = re.fullmatch(r"watch at (\S+)\n", line)
        if found is None:
            sys.exit(f"edgelearn stream said: {line}")
        browser.get(found[1])
        end_s = time.monotonic() + _WAIT_S
        while time.monotonic() < end_s and _samples(browser) < _SAMPLES:
            time.sleep(0.5)
        browser.save_screenshot(str(output / "page.png"))
        stream.terminate()
        stream.stdout.read()


def _samples(browser: Any) -> int:
    (element,) = browser.find_elements("css selector", '[data-name="samples"]') or (None,)
    text = element.text.split(" ")[0].replace(",", "") if element else ""
    return int(text) if text.isdecimal() else 0


if __name__ == "__main__":
    main()
