"""A board that learns by itself: samples of its sensor, power cuts, no host, and every bit of the reference.

The sensor's table is walked by the number of the sample, which is saved with the head: after a power cut the board
takes those samples again that it had learned and not saved, so that the head ends up as without the cut.
"""

from __future__ import annotations

import random
import time

import numpy as np
import pytest
from click.testing import CliRunner

from edgelearn.board import Core, load_board
from edgelearn.cli import main
from edgelearn.firmware.emulator import QEMU_PROGRAMS, _qmp, start
from edgelearn.firmware.toolchain import build_project
from edgelearn.host.device import open_device
from edgelearn.host.head import load_head
from edgelearn.host.telemetry import HEAD, read_run
from edgelearn.host.transport import reopener
from edgelearn.project import read_project
from edgelearn.protocol import MessageType, SensorRun, message, pack
from edgelearn.training import make_head, plan_training
from tests.support.firmware import generate, write_project
from tests.support.lossy_proxy import assert_same_head
from tests.support.sensor import NO_LABEL, Rule, sensor_source, teach, told
from tests.support.tools import require_tool, require_toolchain
from tests.unit.training.heads import head_graph

FEATURES, OUTPUTS, ROWS = 24, 5, 40
BOARDS = ["host", "mps2-an386", "microbit"]
#: So that a few thousand samples take about a second.
CALLS_A_SAMPLE = {"host": 2, "mps2-an386": 3, "microbit": 40}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Image, reference and table for a board, each built once."""
    done = {}

    def make(name, *, ready_every=1):
        if (name, ready_every) not in done:
            board = load_board(name)
            require_toolchain("gnu", name)
            if board.core is not Core.HOST:
                require_tool(QEMU_PROGRAMS[board.core])
            rng = np.random.default_rng(4)
            weights = rng.normal(size=(OUTPUTS, FEATURES)).astype(np.float32) * 0.1
            graph = head_graph(weights, rng.normal(size=OUTPUTS).astype(np.float32), feature_zero_point=-3)
            plan = plan_training(graph, learning_rate=1e-3)
            x = rng.integers(-128, 128, (ROWS, FEATURES)).astype(np.int8)
            labels = [int(label) for label in rng.integers(NO_LABEL, OUTPUTS, ROWS)]
            files = generate(
                graph,
                board=board,
                training=plan,
                labels=tuple("abcde"),
                sensor=sensor_source(x, labels, ready_every=ready_every),
            )
            folder = write_project(files, tmp_path_factory.mktemp("sensor") / "p")
            built = build_project(folder, core=board.core, toolchain="gnu", sanitize=board.core is Core.HOST)
            if board.core is not Core.HOST:
                project = read_project(folder)
                own = sum(
                    s.size_bytes for s in built.symbols if s.source.startswith("sensor/") and s.section == ".text"
                )
                code = built.flash_bytes - project.constants_bytes - own
                assert abs(project.code_estimate_bytes - code) < 0.1 * code
            image = built.elf
            done[name, ready_every] = board, image, plan, x, labels
        board, image, plan, x, labels = done[name, ready_every]
        return board, image, make_head(plan), x, labels

    return make


@pytest.mark.parametrize("ready_every", [1, 7])
@pytest.mark.parametrize("name", BOARDS)
def test_it_learns_with_the_bits_of_the_reference_while_the_host_asks(name, ready_every, made):
    board, image, head, x, labels = made(name, ready_every=ready_every)
    expected = teach(head, x, labels, Rule(train=True), samples=120)
    with start(board, image) as running, open_device(running.url, hello_timeout_s=30) as device:
        assert device.info.has_sensor
        device.set_sensor(run=True, train=True, samples=120)
        events = []
        while device.statistics().sensor_samples < 120:
            events += device.sensor_events(0.01)
        events += device.sensor_events()
        # A line that is not read for a while may lose some; what came is right.
        wanted = {event.samples: event for event in expected}
        assert len(events) > 60
        assert [told(event) for event in events] == [wanted[event.samples] for event in events]
        statistics = device.statistics()
        assert (statistics.sensor_samples, statistics.sensor_learned) == (120, expected[-1].step)
        assert_same_head(device, head)
        if board.core is not Core.HOST:
            assert 0 < statistics.inference_stack_bytes <= statistics.stack_bytes <= statistics.stack_size_bytes
            assert statistics.train_stack_bytes > 0


@pytest.mark.parametrize("name", BOARDS)
def test_power_cuts_while_it_learns_alone(name, made, tmp_path):
    """Nobody listens; at the end a host finds all samples learned, each once."""
    samples = 3000
    board, image, head, x, labels = made(name, ready_every=CALLS_A_SAMPLE[name])
    expected = teach(head, x, labels, Rule(train=True), samples=samples)
    kept = tmp_path / "kept.bin"
    rng = random.Random(5)
    with start(board, image, nvm_file=kept) as running:
        with open_device(running.url, hello_timeout_s=30) as device:
            device.set_autosave(100)
            device.set_sensor(run=True, train=True, samples=samples, report_every=0)
            device.save()
        time.sleep(rng.uniform(0.0, 0.1))
        running.cut_power()
    for _ in range(4):
        with start(board, image, nvm_file=kept) as running:
            time.sleep(rng.uniform(0.0, 0.2))
            running.cut_power()
    with start(board, image, nvm_file=kept) as running:
        with open_device(running.url, hello_timeout_s=30) as device:
            assert device.info.boot > 2, "it was hardly cut while it learned"
            deadline = time.monotonic() + 60
            while device.statistics().sensor_samples < samples and time.monotonic() < deadline:
                pass
            assert device.statistics().sensor_samples == samples
            assert device.statistics().step == expected[-1].step
            assert_same_head(device, head)
        running.cut_power()
    with start(board, image, nvm_file=kept) as running, open_device(running.url, hello_timeout_s=30) as device:
        assert not device.info.sensor_runs, "what has stopped by itself does not run again"
        assert device.info.step == expected[-1].step
        assert_same_head(device, head)


def test_a_session_goes_on_over_a_reset_of_a_board_that_learns_by_itself(made, tmp_path):
    board, image, _, _, _ = made("microbit")
    kept = tmp_path / "kept.bin"
    running = start(board, image, nvm_file=kept)
    try:
        with open_device(running.url, hello_timeout_s=30) as device:
            urls = [running.url]
            device.survive(lambda: reopener(urls[0])(), reopen_timeout_s=60)
            device.set_autosave(50)
            device.set_sensor(run=True, train=True, label=2)
            while device.statistics().saves < 3:
                pass
            assert 0 < device.statistics().save_stack_bytes <= board.stack_bytes, "saving by itself counts too"
            rate = device.set_learning_rate(2e-4)
            running.cut_power()
            running = start(board, image, nvm_file=kept)
            urls[0] = running.url
            time.sleep(0.5)  # it saves again, before the host has noticed
            assert device.statistics().sensor_samples > 100
            assert [event.kind for event in device.session.events] == ["reset"]
            device.set_sensor(run=False)
            device.save()
            assert device.predict(np.zeros(FEATURES, np.int8)).step == device.statistics().step
        with open_device(running.url, hello_timeout_s=30) as device:
            assert device.info.learning_rate == rate
    finally:
        running.stop()


@pytest.mark.parametrize("name", BOARDS)
def test_a_sensor_that_is_held_goes_on_by_the_boards_own_clock(name, made):
    """Whoever holds it may be killed before it says so."""
    board, image, _, _, _ = made(name)
    fields = dict.fromkeys((field.name for field in message(MessageType.SET_SENSOR).fields), 0)
    with start(board, image) as running, open_device(running.url, hello_timeout_s=30) as device:
        device.set_sensor(run=True, train=True, label=2, report_every=0)
        for lease_ms in (10_000_000, 300):
            payload = pack(MessageType.SET_SENSOR, **{**fields, "run": SensorRun.STOP, "lease_ms": lease_ms})
            device.link.request(MessageType.SET_SENSOR, payload)
            held = device.statistics().sensor_samples
            time.sleep(0.5)
            if lease_ms > 1000:
                assert device.statistics().sensor_samples == held
        deadline = time.monotonic() + 60
        while device.statistics().sensor_samples < held + 20:
            assert time.monotonic() < deadline, "it does not go on"
        assert not device.statistics().sensor_untold


@pytest.mark.parametrize("name", BOARDS)
def test_it_is_watched_from_the_command_line(name, made, tmp_path):
    """`edgelearn monitor` shows every sample and keeps the head, which has the bits of the reference."""
    board, image, head, x, labels = made(name)
    expected = teach(head, x, labels, Rule(train=True), samples=300)
    with start(board, image) as running:
        arguments = ["monitor", "--port", running.url, "--train", "--samples", "300", "--runs", str(tmp_path)]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        assert "300 samples" in result.output
    (path,) = tmp_path.iterdir()
    run = read_run(path)
    assert [(record.prediction, record.step, record.learned) for record in run.records] == [
        (event.prediction, event.step, event.learned) for event in expected
    ]
    kept = load_head(path / HEAD)
    np.testing.assert_array_equal(kept.q, head.q)
    np.testing.assert_array_equal(kept.l, head.residual)


@pytest.mark.parametrize("name", ["mps2-an386", "microbit"])
def test_starts_are_counted_over_resets_that_save_nothing(name, made, tmp_path):
    """A reset without loss of power leaves RAM as it is; a power cut takes the count back to what is saved."""
    board, image, _, _, _ = made(name)
    kept = tmp_path / "kept.bin"
    boots = []
    with start(board, image, nvm_file=kept) as running:
        for _ in range(3):
            with open_device(running.url, hello_timeout_s=30) as device:
                boots.append(device.info.boot)
            assert running._flash is not None
            _qmp(running._flash._qmp_port, ("system_reset", {}))
        with open_device(running.url, hello_timeout_s=30) as device:
            boots.append(device.info.boot)
            device.save()
        running.cut_power()
    with start(board, image, nvm_file=kept) as running, open_device(running.url, hello_timeout_s=30) as device:
        boots.append(device.info.boot)
    assert boots == [1, 2, 3, 4, 5]
