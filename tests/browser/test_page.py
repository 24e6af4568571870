"""The page in headless Chromium, served by the command line, with a device in this process."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request

import msgspec
import numpy as np
import pytest

from tests.support.fake_device import FakeDevice, Faults, Model, blobs
from tests.support.tools import require_browser, require_package

MODEL = Model(labels=("zero", "one", "two", "", ""), classes=3, outputs=5, label_bytes=12, can_save=True)
WAIT_S = 30.0


@pytest.fixture(scope="module")
def browser():
    require_package("selenium")
    program, its_driver = require_browser()
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = program
    # A container has no user namespaces and a small /dev/shm.
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1200,1000"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(service=Service(its_driver), options=options)
    yield driver
    driver.quit()


def streaming(fake, folder, *options, ends=False):
    """`edgelearn stream --web`."""
    x, y = blobs(4000, classes=3)
    np.savez(folder / "blobs.npz", x=x, y=y)
    common = ("stream", "--data", "blobs.npz", "--train", "--lr", "0.02", "--rate-hz", "40")
    return serving(fake, folder, *common, *options, ends=ends)


@contextlib.contextmanager
def serving(fake, folder, *arguments, ends=False):
    """A command with its page in a process of its own; the address it prints. `ends`: it ends by itself."""
    command = [sys.executable, "-m", "edgelearn", *arguments, "--port", fake.url, "--web", "--web-port", "0"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "default"}
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        line = process.stdout.readline()
        found = re.fullmatch(r"watch at (http://\S+)\n", line)
        assert found, line + (process.stdout.read() if process.poll() is not None else "")
        yield found[1]
        if ends:
            process.wait(timeout=20)
        assert ends or process.poll() is None, "it ended by itself"
    finally:
        process.terminate()
        process.wait(timeout=20)
        process.stdout.close()


def until(condition):
    end_s = time.monotonic() + WAIT_S
    while True:
        with contextlib.suppress(Exception):  # the page is drawn anew meanwhile
            if condition():
                return
        assert time.monotonic() < end_s, "it did not happen"
        time.sleep(0.1)


class Seen:
    """What stands on the page, by the name of its element."""

    def __init__(self, driver):
        self._driver = driver

    def find(self, name):
        return self._driver.find_element("css selector", f'[data-name="{name}"]')

    def text(self, name):
        return self.find(name).text

    def samples(self):
        return int(self.text("samples").split(" ")[0].replace(",", ""))

    def type_into(self, name, text):
        field = self._driver.find_element("css selector", f'input[data-name="{name}"]')
        from selenium.webdriver.common.keys import Keys

        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(text)

    def is_enabled(self, name):
        return self.find(name).is_enabled()


def test_the_page_shows_the_learning_and_takes_orders(browser, tmp_path):
    with FakeDevice(MODEL) as fake, streaming(fake, tmp_path) as url:
        browser.get(url)
        seen = Seen(browser)
        until(lambda: seen.samples() > 20)
        assert "fakeboard" in browser.page_source
        until(lambda: seen.text("state") == "running")
        assert not seen.is_enabled("start")
        assert re.fullmatch(r"\d+\.\d %", seen.text("accuracy"))
        # ECharts has drawn both curves.
        assert len(browser.find_elements("css selector", "canvas")) == 2
        rows = browser.find_elements("css selector", '[data-name="classes"] tbody tr')
        assert [row.text.split()[0] for row in rows][:3] == ["zero", "one", "two"]

        seen.find("pause").click()
        until(lambda: seen.text("state") == "paused")
        stopped_at = fake.step
        time.sleep(0.5)
        assert fake.step <= stopped_at + MODEL.window
        seen.find("start").click()
        until(lambda: seen.text("state") == "running" and fake.step > stopped_at + 20)

        seen.type_into("class-name", "three")
        seen.find("add-class").click()
        until(lambda: "class 3 is three" in seen.text("notices"))
        until(lambda: "three" in seen.text("classes"))
        assert fake.names[3] == "three"

        seen.type_into("rate", "abc")
        seen.find("set").click()
        until(lambda: "a number is needed" in browser.find_element("css selector", "body").text)
        seen.type_into("rate", "0.005")
        seen.find("set").click()
        until(lambda: "the learning rate is 0.005" in seen.text("notices"))

        saves = fake.saves
        seen.find("save").click()
        until(lambda: "the head is saved" in seen.text("notices"))
        assert fake.saves == saves + 1

        # Forgetting what was learned asks first.
        step = fake.step
        seen.find("reset").click()
        until(lambda: "Forget" in browser.find_element("css selector", ".q-dialog").text)
        assert fake.step >= step
        _button(browser, "Keep").click()
        until(lambda: not browser.find_elements("css selector", ".q-dialog__inner"))
        seen.find("reset").click()
        until(lambda: _button(browser, "Forget").is_displayed())
        _button(browser, "Forget").click()
        until(lambda: "the head is as generated" in seen.text("notices"))
        assert fake.step < step + 40

        seen.type_into("class-name", "two")
        seen.find("add-class").click()
        until(lambda: "not done: there is a class two already" in seen.text("notices"))
        errors = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        assert not errors


def test_a_device_that_learns_by_itself_is_told_what_it_sees(browser, tmp_path):
    model = msgspec.structs.replace(MODEL, has_sensor=True, sensor_hz=50.0)
    with FakeDevice(model) as fake, serving(fake, tmp_path, "monitor") as url:
        browser.get(url)
        seen = Seen(browser)
        until(lambda: seen.text("state") == "paused" and seen.is_enabled("start"))
        assert not fake.sensor.runs
        seen.find("label").click()
        until(lambda: _choose(browser, "two"))
        until(lambda: seen.text("state") == "running" and seen.samples() > 10)
        assert fake.sensor.label == 2
        assert fake.step > 5
        assert "two" in seen.text("notices")
        seen.find("pause").click()
        until(lambda: seen.text("state") == "paused")
        assert not fake.sensor.runs


def test_names_from_the_device_are_text(browser, tmp_path):
    hostile = '<img src=x onerror="document.title=1">'
    model = Model(labels=(hostile, "{{ 1 }}", "two"), outputs=3, board="<b>x")
    with FakeDevice(model) as fake, streaming(fake, tmp_path) as url:
        browser.get(url)
        seen = Seen(browser)
        until(lambda: hostile in seen.text("classes"))
        assert "{{ 1 }}" in seen.text("classes")
        assert browser.title == "edgelearn"
        assert "<b>x" in browser.find_element("css selector", "body").text


def test_the_page_learns_that_the_run_is_complete(browser, tmp_path):
    with FakeDevice(MODEL) as fake, streaming(fake, tmp_path, "--limit", "200", ends=True) as url:
        browser.get(url)
        seen = Seen(browser)
        until(lambda: seen.text("state") == "running")
    _is_left_alone(browser, "complete")
    assert re.search(r"run folder runs/\S+\nedgelearn report runs/\S+\n", seen.text("outcome"))
    assert seen.text("samples") == "200 of 200"
    assert not seen.is_enabled("pause")


def test_the_page_learns_that_the_run_has_failed(browser, tmp_path):
    with FakeDevice(MODEL) as fake, streaming(fake, tmp_path, ends=True) as url:
        browser.get(url)
        seen = Seen(browser)
        until(lambda: seen.samples() > 20)
        fake.faults = Faults(silent_after_frames=1)
        until(lambda: seen.text("state") == "no answer")
        assert "does not answer; trying again for" in seen.text("notices")
        until(lambda: "no answer for" in browser.find_element("css selector", "body").text)
    _is_left_alone(browser, "failed")
    assert "does not answer; sample was sent" in seen.text("outcome")
    assert "edgelearn stream --resume" in seen.text("outcome")


def test_the_page_learns_that_the_run_was_interrupted(browser, tmp_path):
    with FakeDevice(MODEL) as fake, streaming(fake, tmp_path) as url:
        browser.get(url)
        until(lambda: Seen(browser).samples() > 20)
    _is_left_alone(browser, "interrupted")


def _is_left_alone(browser, state):
    """The server has ended; the page shows how the run did, and no warning."""
    seen = Seen(browser)
    until(lambda: "The program that served this page has ended" in seen.text("outcome"))
    assert seen.text("state") == state
    time.sleep(1.0)
    assert not browser.find_element("id", "popup").is_displayed()


def test_light_and_dark_follow_the_person(browser, tmp_path):
    def ink(value):
        media = {"features": [{"name": "prefers-color-scheme", "value": value}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        browser.get(url)
        until(lambda: Seen(browser).samples() > 0)
        color = browser.execute_script("return getComputedStyle(document.body).color")
        return sum(int(part) for part in re.findall(r"\d+", color)[:3])

    with FakeDevice(MODEL) as fake, streaming(fake, tmp_path) as url:
        assert ink("light") < 150
        assert ink("dark") > 600


def test_elsewhere_the_page_needs_its_token(browser, tmp_path):
    with FakeDevice(MODEL) as fake, streaming(fake, tmp_path, "--web-address", "0.0.0.0") as url:
        port, token = re.fullmatch(r"http://[^:]+:(\d+)/\?token=(\S+)", url).groups()
        bare = f"http://127.0.0.1:{port}/"
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(bare)
        with refused.value as answer:
            assert answer.code == 401
        browser.get(f"{bare}?token={token}")
        until(lambda: Seen(browser).samples() > 5)
        assert "token" not in browser.current_url
        browser.delete_all_cookies()


def test_a_taken_port_and_a_foreign_address_are_named(tmp_path):
    import socket

    from click.testing import CliRunner

    from edgelearn.cli import main

    data = str(tmp_path / "x.npz")
    np.savez(data, x=np.zeros((1, 16), np.float32))
    with FakeDevice(MODEL) as fake, socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        common = ["stream", "--port", fake.url, "--data", data, "--predict", "--web"]
        for options in (["--web-port", port], ["--web-address", "203.0.113.7", "--web-port", "0"]):
            result = CliRunner().invoke(main, [*common, *options])
            assert result.exit_code == 55, result.output
            assert "cannot be served" in result.output
            assert "--web-port" in result.output


def _button(browser, text):
    (found,) = [b for b in browser.find_elements("css selector", ".q-dialog button") if b.text == text]
    return found


def _choose(browser, text):
    (found,) = [item for item in browser.find_elements("css selector", ".q-menu .q-item") if item.text == text]
    found.click()
    return True
