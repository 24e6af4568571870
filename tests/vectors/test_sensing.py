"""Samples from a sensor on the board: the C firmware under sanitizers learns them with the bits of the reference."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from edgelearn.board import SANITIZE_FLAGS
from edgelearn.errors import DeviceRefusedError
from edgelearn.host import device as device_module
from edgelearn.host.device import Device, open_device
from edgelearn.host.transport import open_transport
from edgelearn.ir import LossKind, Quant, quantize_array
from edgelearn.protocol import (
    PROTOCOL_VERSION,
    READING,
    FrameReader,
    MessageType,
    SampleFlag,
    SensorRun,
    encode_frame,
    message,
    pack,
    unpack,
)
from edgelearn.recipe import Residual
from edgelearn.training import make_head, plan_training
from tests.support.firmware import HostFirmware, build, generate, load_graph, write_project
from tests.support.sensor import NO_LABEL, Rule, sensor_source, teach, told
from tests.support.tflite_builder import TfliteBuilder
from tests.unit.training.heads import head_graph

FEATURES, OUTPUTS, ROWS = 12, 5, 60


def table(seed: int = 1) -> tuple[np.ndarray, list[int]]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(NO_LABEL, OUTPUTS, ROWS)
    return rng.integers(-128, 128, (ROWS, FEATURES)).astype(np.int8), [int(label) for label in labels]


def model(loss: LossKind = LossKind.CROSS_ENTROPY, residual: Residual = Residual.INT8):
    rng = np.random.default_rng(4)
    outputs = OUTPUTS if loss is LossKind.CROSS_ENTROPY else FEATURES
    weights = rng.normal(size=(outputs, FEATURES)).astype(np.float32) * 0.1
    bias = rng.normal(size=outputs).astype(np.float32) * 0.1
    graph = head_graph(weights, bias, loss=loss, feature_zero_point=-3)
    return graph, plan_training(graph, residual=residual, learning_rate=3e-3)


def firmware(loss=LossKind.CROSS_ENTROPY, residual=Residual.INT8, *, own=False, ready_every=1) -> HostFirmware:
    graph, plan = model(loss, residual)
    x, labels = table()
    source = sensor_source(x, labels if own else None, ready_every=ready_every)
    names = tuple("abcde") if loss is LossKind.CROSS_ENTROPY else ()
    return HostFirmware(build(generate(graph, training=plan, labels=names, sensor=source)))


def wait_for_samples(device: Device, samples: int) -> list:
    events = []
    while device.statistics().sensor_samples < samples:
        events += device.sensor_events(0.01)
    return events + device.sensor_events()


CASES = {
    "labels of the host": (LossKind.CROSS_ENTROPY, Rule(train=True, label=3)),
    "its own labels": (LossKind.CROSS_ENTROPY, Rule(train=True)),
    "the host's before its own": (LossKind.CROSS_ENTROPY, Rule(train=True, label=1)),
    "the host's before its predictions": (LossKind.CROSS_ENTROPY, Rule(train=True, label=1, self_label=11000)),
    "its predictions": (LossKind.CROSS_ENTROPY, Rule(train=True, self_label=14000)),
    "its own, else its predictions": (LossKind.CROSS_ENTROPY, Rule(train=True, self_label=11000)),
    "nothing, with labels": (LossKind.CROSS_ENTROPY, Rule()),
    "nothing": (LossKind.CROSS_ENTROPY, Rule()),
    "its input": (LossKind.SQUARED_ERROR, Rule(train=True, target_is_input=True)),
    "nothing of its input": (LossKind.SQUARED_ERROR, Rule(target_is_input=True)),
}
OWN = ("its own labels", "the host's before its own", "its own, else its predictions", "nothing, with labels")


@pytest.mark.parametrize("residual", [Residual.INT8, Residual.STOCHASTIC])
@pytest.mark.parametrize("name", CASES)
def test_the_head_has_the_bits_of_the_reference(name, residual):
    loss, rule = CASES[name]
    x, labels = table()
    head = make_head(model(loss, residual)[1])
    expected = teach(head, x, labels if name in OWN else None, rule, samples=150)
    with firmware(loss, residual, own=name in OWN, ready_every=3) as running, open_device(running.url) as device:
        device.set_sensor(
            run=True,
            train=rule.train,
            label=rule.label,
            target_is_input=rule.target_is_input,
            self_label=None if rule.self_label is None else rule.self_label / 32768,
            samples=150,
        )
        events = wait_for_samples(device, 150)
        statistics = device.statistics()
        # A line that is not read for a while loses some, which are counted; what came is right.
        wanted = {event.samples: event for event in expected}
        assert len(events) == len(expected) - statistics.sensor_untold
        assert len(events) > 75
        assert [told(event) for event in events] == [wanted[event.samples] for event in events]
        assert (statistics.sensor_samples, statistics.sensor_learned) == (150, expected[-1].step)
        assert statistics.step == expected[-1].step
        learned = device.read_head()
        for name, mine in (("q", head.q), ("l", head.residual), ("bias", head.bias), ("row_t", head.row_t)):
            if getattr(learned, name) is not None:
                np.testing.assert_array_equal(getattr(learned, name), mine)
    if rule.self_label and rule.label is None:
        assert 0 < sum(event.self_labelled for event in expected) < 150


def test_losses_are_those_of_the_same_samples_from_the_host():
    x, labels = table()
    with firmware(own=True) as running, open_device(running.url) as device:
        device.set_sensor(run=True, samples=ROWS)
        events = wait_for_samples(device, ROWS)
        for row, label, event in zip(x, labels, events, strict=True):
            result = device.predict(row, label=None if label == NO_LABEL else label)
            assert (result.loss, result.prediction, result.confidence) == (
                event.loss,
                event.prediction,
                event.confidence,
            )


def test_the_host_is_answered_while_the_sensor_always_has_a_sample():
    with firmware() as running, open_device(running.url) as device:
        device.set_sensor(run=True, train=True, label=1, report_every=50)
        for _ in range(50):
            device.statistics()
            assert device.read_head().q.shape == (OUTPUTS, FEATURES)
        # Learning rates, classes and saves are as free as without a sensor.
        device.set_learning_rate(1e-4)
        device.set_class(2, "renamed")
        device.save()
        for refused in (
            lambda: device.train(np.zeros(FEATURES, np.int8), label=1),
            lambda: device.predict(table()[0][0]),
        ):
            with pytest.raises(DeviceRefusedError) as error:
                refused()
            assert "own sensor" in error.value.cause
        part = pack(MessageType.SAMPLE_PART, offset=0, tail=b"\x01")
        assert device.link.exchange(MessageType.SAMPLE_PART, part).status == 15
        device.set_sensor(run=False)
        stopped = device.statistics().sensor_samples
        time.sleep(0.02)
        assert device.statistics().sensor_samples == stopped > 0
        numbers = [event.samples for event in device.sensor_events()]
        assert numbers == [50 * (n + 1) for n in range(len(numbers))]
        assert device.train(np.zeros(FEATURES, np.int8), label=1).learned


def test_a_head_is_read_whole_while_it_learns():
    x, _ = table()
    head = make_head(model()[1])
    states = {head.q.astype(np.int8).tobytes() + head.bias.astype(np.int32).tobytes()}
    for number in range(3000):
        step = head.forward(x[number % ROWS])
        head.learn(x[number % ROWS], step, label=1)
        states.add(head.q.astype(np.int8).tobytes() + head.bias.astype(np.int32).tobytes())
    # About 500 samples a second, while each head takes several requests.
    with firmware(ready_every=10) as running, open_device(running.url) as device:
        device.set_learning_rate(3e-3)
        device.set_sensor(run=True, train=True, label=1, samples=3000)
        seen = set()
        for _ in range(40):
            read = device.read_head()
            seen.add(read.q.tobytes() + read.bias.tobytes())
            # However fast it is read, it goes on.
            before = device.statistics().sensor_samples
            while device.statistics().sensor_samples == before < 3000:
                pass
        assert seen <= states
        assert len(seen) > 3


def test_it_stops_goes_on_and_starts_anew():
    with firmware() as running, open_device(running.url) as device:
        assert not device.resume_sensor()
        assert device.statistics().sensor_samples == 0, "there was nothing to go on with"
        device.set_sensor(run=True, samples=20, train=True, label=0)
        wait_for_samples(device, 20)
        assert not device.resume_sensor()
        assert device.predict(np.zeros(FEATURES, np.int8)).step == 20, "all samples were taken"
        device.set_sensor(run=True, train=True, label=0)
        wait_for_samples(device, 5)
        device.set_sensor(run=False)
        taken = device.statistics().sensor_samples
        assert device.resume_sensor()
        assert device.resume_sensor(), "it runs already"
        wait_for_samples(device, taken + 5)
        device.set_sensor(run=False)
        statistics = device.statistics()
        assert statistics.step == 20 + statistics.sensor_samples


def hold(device: Device, lease_ms: int) -> None:
    fields = dict.fromkeys((field.name for field in message(MessageType.SET_SENSOR).fields), 0)
    payload = pack(MessageType.SET_SENSOR, **{**fields, "run": SensorRun.STOP, "lease_ms": lease_ms})
    device.link.request(MessageType.SET_SENSOR, payload)


def test_a_sensor_that_is_held_goes_on_by_itself():
    """Whoever holds it may be killed before it says so."""
    with firmware() as running, open_device(running.url) as device:
        device.set_sensor(run=True, train=True, label=1)
        wait_for_samples(device, 5)
        hold(device, 60_000)
        held = device.statistics().sensor_samples
        time.sleep(0.02)
        assert device.statistics().sensor_samples == held
        device.refresh()
        assert device.info.sensor_runs, "it only waits"
        with pytest.raises(DeviceRefusedError):
            device.predict(np.zeros(FEATURES, np.int8))
        hold(device, 100)
        wait_for_samples(device, held + 5)
        hold(device, 60_000)
        assert device.resume_sensor()
        wait_for_samples(device, device.statistics().sensor_samples + 5)
        device.set_sensor(run=False)
        hold(device, 1)
        device.refresh()
        assert not device.info.sensor_runs, "a lease does not start what is stopped"


def test_a_head_that_changed_while_it_was_read_is_read_again(monkeypatch):
    with firmware() as running, open_device(running.url) as device:
        device.set_sensor(run=True, train=True, label=1)
        wait_for_samples(device, 5)
        monkeypatch.setattr(device_module, "_LEASES_MS", (1, 60_000))
        read, slow = device.read_region, []

        def read_slowly(*arguments):
            time.sleep(0.005)
            slow.append(device.statistics().sensor_samples)
            return read(*arguments)

        device.read_region = read_slowly
        assert device.read_head().q.shape == (OUTPUTS, FEATURES)
        half = len(slow) // 2
        assert slow[0] < slow[half - 1], "the first lease was too short"
        assert len(set(slow[half:])) == 1
        monkeypatch.setattr(device_module, "_LEASES_MS", (1,))
        with pytest.raises(DeviceRefusedError, match="while its head was being read"):
            device.read_head()


def test_who_leaves_is_told_nothing_any_more():
    with firmware() as running:
        with open_device(running.url) as device:
            device.set_sensor(run=True, train=True, label=1)
            wait_for_samples(device, 5)
            session = device.session.number
        with contextlib.closing(open_transport(running.url)) as line:
            reader = FrameReader()
            assert not list(reader.feed(line.read(0.1))), "nobody is there, and nothing is said"
            hello = {"version": PROTOCOL_VERSION, "session": session, "first_sequence": 0}
            for resume in (True, False):
                request = pack(MessageType.HELLO, **hello, resume=resume)
                line.write(encode_frame(MessageType.HELLO, READING, request))
                frames = []
                while not frames:
                    frames += reader.feed(line.read(1.0))
                reply = unpack(MessageType.HELLO_REPLY, frames[0].payload)
                assert reply.integer("session") == 0, "it is not opened again, as by a late copy of its hello"
                assert reply.integer("sensor_runs") == 1


def test_a_late_farewell_does_not_end_the_next_session():
    with firmware() as running, open_device(running.url) as device:
        other = pack(MessageType.GOODBYE, session=device.session.number ^ 1)
        device.link.request(MessageType.GOODBYE, other)
        device.set_learning_rate(1e-4)


def test_it_learns_on_where_somebody_is_connected_and_does_not_read():
    with firmware() as running, open_device(running.url) as device:
        device.set_sensor(run=True, train=True, label=1)
        # Nobody reads: what is on its way fills up, and then the device must not wait.
        time.sleep(3.0)
        statistics = device.statistics()
        assert statistics.sensor_untold > 0
        device.set_sensor(run=False)
        events = device.sensor_events()
        assert device.statistics().sensor_samples >= len(events) + statistics.sensor_untold
        assert device.statistics().sensor_learned == device.statistics().sensor_samples


def test_events_are_numbered_and_name_their_session():
    with firmware() as running:
        for begun in range(2):
            with open_device(running.url) as device:
                device.set_sensor(run=True, samples=10)
                events = wait_for_samples(device, 10)
                assert [event.sequence for event in events] == list(range(10 * begun + 1, 10 * begun + 11))
                assert {event.session for event in events} == {device.session.number}


def test_how_often_it_reports_changes_nothing_else():
    with firmware() as running, open_device(running.url) as device:
        device.set_sensor(run=True, train=True, label=3, report_every=0)
        assert not wait_for_samples(device, 5)
        device.set_sensor_reports(10)
        events = []
        while len(events) < 20:
            events += device.sensor_events(0.05)
        assert all(event.samples % 10 == 0 and event.learned and event.label == 3 for event in events)
        device.set_sensor(run=False)
        statistics = device.statistics()
        assert statistics.sensor_samples == statistics.sensor_learned == statistics.step >= 200


def test_another_label_changes_nothing_else():
    with firmware() as running, open_device(running.url) as device:
        device.set_sensor(run=True, train=True, label=3, self_label=1.0)
        wait_for_samples(device, 5)
        device.set_sensor_label(1)
        taken = device.statistics().sensor_samples
        events = wait_for_samples(device, taken + 5)
        assert events[-1].label == 1
        assert events[-1].samples > taken
        device.set_sensor_label(None)
        taken = device.statistics().sensor_samples
        last = wait_for_samples(device, taken + 5)[-1]
        assert last.label is None, "its threshold is as it was, and no prediction is that sure"
        with pytest.raises(DeviceRefusedError, match="not one of its classes"):
            device.set_sensor_label(OUTPUTS)
        device.set_sensor(run=False)
        device.set_sensor_label(2)
        taken = device.statistics().sensor_samples
        device.sensor_events(0.05)
        assert not device.sensor_events(0.05), "it stays stopped"
        assert device.statistics().sensor_samples == taken
        device.resume_sensor()
        assert wait_for_samples(device, taken + 3)[-1].label == 2


def test_a_second_host_sees_that_it_runs():
    with firmware() as running:
        with open_device(running.url) as device:
            assert (device.info.has_sensor, device.info.sensor_runs) == (True, False)
            device.set_sensor(run=True, train=True, label=2)
        with open_device(running.url) as device:
            assert device.info.sensor_runs
            assert wait_for_samples(device, device.statistics().sensor_samples + 3)[-1].label == 2


REFUSED = {
    "label": ({"flags": SampleFlag.HAS_LABEL, "label": OUTPUTS}, LossKind.CROSS_ENTROPY, "not one of its classes"),
    "input": ({"flags": SampleFlag.TARGET_IS_INPUT}, LossKind.CROSS_ENTROPY, "targets do not fit"),
    "targets": ({"flags": SampleFlag.HAS_TARGETS}, LossKind.SQUARED_ERROR, "targets do not fit"),
    "no targets": ({"flags": SampleFlag.TRAIN}, LossKind.SQUARED_ERROR, "targets do not fit"),
    "self-label": ({"flags": SampleFlag.SELF_LABEL}, LossKind.SQUARED_ERROR, "not one of its classes"),
    "flags": ({"flags": 128}, LossKind.CROSS_ENTROPY, "outside what its arithmetic"),
    "run": ({"run": 5}, LossKind.CROSS_ENTROPY, "outside what its arithmetic"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_it_cannot_do_is_refused_and_changes_nothing(name):
    fields, loss, cause = REFUSED[name]
    values = dict.fromkeys((field.name for field in message(MessageType.SET_SENSOR).fields), 0)
    with firmware(loss) as running, open_device(running.url) as device:
        device.set_sensor(run=True, samples=7, report_every=0)
        wait_for_samples(device, 7)
        with pytest.raises(DeviceRefusedError) as refused:
            device.link.request(
                MessageType.SET_SENSOR, pack(MessageType.SET_SENSOR, **{**values, "run": SensorRun.START, **fields})
            )
        assert cause in refused.value.cause
        assert device.statistics().sensor_samples == 7


def test_without_a_sensor_nothing_of_it_is_there():
    graph, plan = model()
    files = generate(graph, training=plan)
    assert not [path for path in files if "sens" in path and path.endswith(".c")]
    assert "src/elearn_sensor.h" not in files
    assert "ELEARN_SENSOR 0" in files["src/elearn_config.h"]
    with HostFirmware(build(files)) as running, open_device(running.url) as device:
        assert not device.info.has_sensor
        for run in (True, False):
            with pytest.raises(DeviceRefusedError) as refused:
                device.set_sensor(run=run)
            assert "without a sensor" in refused.value.cause


def test_a_model_that_learns_nothing_is_only_run():
    b = TfliteBuilder(1)
    x = b.input((1, 4, 4, 1))
    graph = load_graph(b.build(b.softmax(b.mean(b.conv_2d(x, filters=4)))))
    rows = np.random.default_rng(2).integers(-128, 128, (9, 16)).astype(np.int8)
    program = build(generate(graph, sensor=sensor_source(rows)))
    with HostFirmware(program) as running, open_device(running.url) as device:
        device.set_sensor(run=True, samples=9)
        events = wait_for_samples(device, 9)
        assert [event.prediction for event in events] == [device.predict(row).prediction for row in rows]
        assert {(event.learned, event.loss, event.label) for event in events} == {(False, None, None)}
        with pytest.raises(DeviceRefusedError, match="set sensor"):
            device.set_sensor(run=True, train=True, label=0)


def test_values_are_quantised_as_the_host_does(tmp_path):
    """Ties, both ends and beyond, with the constants of the generated header."""
    graph, plan = model()
    files = generate(graph, training=plan, sensor="bool elearn_sensor_read(void);")
    scale, zero_point = 0.05, -3
    header = files["src/elearn_sensor.h"]
    assert f"ZERO_POINT {zero_point}" in header
    found = re.search(r"INPUT_0_SCALE ([\d.e-]+)f", header)
    assert found
    assert np.float32(found.group(1)) == np.float32(scale)
    rng = np.random.default_rng(3)
    values = np.concatenate(
        [
            (np.arange(-260, 260) / 2 * scale).astype(np.float32),
            rng.normal(0, 5, 500).astype(np.float32),
            np.array([0.0, -0.0, 1e30, -1e30], np.float32),
        ]
    )
    program = """#include <stdio.h>
#include "elearn_sensor.h"
int main(void)
{
    float value;
    while (fread(&value, 4, 1, stdin) == 1) {
        const int8_t q = elearn_sensor_quantize_0(value);
        (void)fwrite(&q, 1, 1, stdout);
    }
    return 0;
}
"""
    write_project({**files, "main.c": program}, tmp_path)
    argv = ["cc", *SANITIZE_FLAGS, "-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-Isrc", "-Iruntime"]
    subprocess.run([*argv, "-o", "quantise", "main.c"], cwd=tmp_path, check=True)
    done = subprocess.run([tmp_path / "quantise"], input=values.tobytes(), capture_output=True, check=True)
    expected = quantize_array(values, Quant(scale=(scale,), zero_point=(zero_point,)))
    np.testing.assert_array_equal(np.frombuffer(done.stdout, np.int8), expected)


def test_the_example_fills_windows():
    source = (Path(__file__).parents[2] / "examples" / "sensor_window.c").read_text(encoding="utf-8")
    graph, plan = model()
    program = build(generate(graph, training=plan, labels=tuple("abcde"), sensor=source))
    with HostFirmware(program) as running, open_device(running.url) as device:
        device.set_sensor(run=True, train=True, self_label=0.0, samples=300)
        events = wait_for_samples(device, 300)
        assert [event.step for event in events] == list(range(1, 301))
        assert len({round(event.confidence, 3) for event in events}) > 5, "windows differ"
