"""A device that takes samples from its own sensor: settings, events, refusals, resets, against the fake device."""

from __future__ import annotations

import math
import time

import msgspec
import numpy as np
import pytest

from edgelearn.errors import DeviceRefusedError
from edgelearn.host.device import open_device
from edgelearn.host.link import MOST_UNASKED
from edgelearn.protocol import LossCode, MessageType, SampleFlag, SensorRun, pack
from tests.support.fake_device import FakeDevice, Faults, Model

SENSING = Model(has_sensor=True, can_save=True)
ENCODING = Model(has_sensor=True, loss=LossCode.SQUARED_ERROR, inputs=16, outputs=16)


def everything(device, *, samples, timeout_s=10.0):
    """Events until that sample's has come."""
    events = []
    deadline = time.monotonic() + timeout_s
    while (not events or events[-1].samples < samples) and time.monotonic() < deadline:
        events += device.sensor_events(0.1)
    return events


def test_every_sample_is_told_and_learned():
    with FakeDevice(SENSING) as fake, open_device(fake.url) as device:
        assert device.info.has_sensor
        assert not device.info.sensor_runs
        device.set_sensor(run=True, train=True, label=2)
        fake.take_sensor_samples(30)
        events = everything(device, samples=30)
        assert [event.samples for event in events] == list(range(1, 31))
        assert [event.step for event in events] == list(range(1, 31))
        assert {(event.label, event.learned, event.self_labelled) for event in events} == {(2, True, False)}
        assert events[0].loss == pytest.approx(math.log(4), abs=1e-3)
        assert 0 < events[-1].confidence <= 1
        statistics = device.statistics()
        assert (statistics.sensor_samples, statistics.sensor_learned) == (30, 30)
        assert device.sensor_events() == []


def test_the_sensors_own_labels_are_used_where_the_host_gives_none():
    with FakeDevice(SENSING) as fake, open_device(fake.url) as device:
        device.set_sensor(run=True, train=True)
        fake.take_sensor_samples(6)
        events = everything(device, samples=6)
        assert [event.learned for event in events] == [True, False, False, True, False, False]
        assert [event.label for event in events[::3]] == list(fake.sensor_labels[:6:3])
        assert [event.label for event in events[1:3]] == [None, None]
        assert events[0].loss is not None
        assert events[1].loss is None
        assert device.statistics().sensor_learned == 2


def test_self_labels_are_the_predictions_it_is_sure_of():
    with FakeDevice(SENSING) as fake, open_device(fake.url) as device:
        device.set_learning_rate(0.1)
        device.set_sensor(run=True, train=True, samples=300, report_every=0)
        fake.take_sensor_samples(300)
        fake.sensor_labels[:] = -1
        device.set_sensor(run=True, train=True, self_label=0.6)
        fake.take_sensor_samples(60)
        events = everything(device, samples=60)
        labelled = [event for event in events if event.self_labelled]
        assert labelled
        assert all(event.confidence >= 0.6 and event.label == event.prediction for event in labelled)
        assert all(event.confidence < 0.6 for event in events if not event.learned)


def test_an_autoencoder_learns_its_own_input():
    with FakeDevice(ENCODING) as fake, open_device(fake.url) as device:
        device.set_sensor(run=True, train=True, target_is_input=True)
        fake.take_sensor_samples(40)
        events = everything(device, samples=40)
        assert all(event.learned and event.label is None and event.loss is not None for event in events)
        assert np.mean([event.loss for event in events[-10:]]) < np.mean([event.loss for event in events[:10]])


def test_it_stops_after_so_many_and_goes_on():
    with FakeDevice(SENSING) as fake, open_device(fake.url) as device:
        device.set_sensor(run=True, samples=10, report_every=4)
        fake.take_sensor_samples(7)
        device.set_sensor(run=False)
        fake.take_sensor_samples(5)
        assert device.statistics().sensor_samples == 7
        assert device.resume_sensor()
        fake.take_sensor_samples(20)
        assert device.statistics().sensor_samples == 10
        assert not device.resume_sensor()
        fake.take_sensor_samples(1)
        assert [event.samples for event in everything(device, samples=8)] == [4, 8]
        assert device.statistics().sensor_samples == 10


def test_who_only_looks_on_does_not_start_a_sensor_that_was_stopped():
    with FakeDevice(SENSING) as fake:
        with open_device(fake.url) as device:
            device.set_sensor(run=True)
            device.set_sensor(run=False)
        with open_device(fake.url) as device:
            device.set_sensor_reports(1)
            device.read_head()
            assert not fake.sensor.runs
            assert device.resume_sensor()
            device.set_sensor_reports(2)
            device.read_head()
            assert fake.sensor.runs


def test_samples_of_the_host_are_refused_while_it_runs():
    x = np.zeros(16, np.int8)
    with FakeDevice(SENSING) as fake:
        with open_device(fake.url) as device:
            device.set_sensor(run=True)
            with pytest.raises(DeviceRefusedError, match="refused sample") as refused:
                device.train(x, label=1)
            assert "its own sensor" in refused.value.cause
        with open_device(fake.url) as device:
            assert device.info.sensor_runs
            device.set_sensor(run=False)
            assert device.train(x, label=1).learned


@pytest.mark.parametrize(
    ("model", "settings", "cause"),
    [
        (Model(), {}, "without a sensor"),
        (SENSING, {"label": 4}, "not one of its classes"),
        (SENSING, {"target_is_input": True}, "targets do not fit"),
        (ENCODING, {"train": True}, "targets do not fit"),
        (ENCODING, {"self_label": 0.5}, "not one of its classes"),
        (Model(has_sensor=True, trainable=False), {"train": True}, "no trainable head"),
    ],
)
def test_what_it_cannot_do_is_refused(model, settings, cause):
    with FakeDevice(model) as fake, open_device(fake.url) as device:
        with pytest.raises(DeviceRefusedError, match="refused set sensor") as refused:
            device.set_sensor(run=True, **settings)
        assert cause in refused.value.cause
        assert not fake.sensor.runs


def test_a_firmware_without_a_sensor_refuses_to_stop_one_too():
    with FakeDevice() as fake, open_device(fake.url) as device, pytest.raises(DeviceRefusedError):
        device.set_sensor(run=False)


def test_events_that_nobody_takes_are_bounded():
    with FakeDevice(SENSING) as fake, open_device(fake.url) as device:
        device.set_sensor(run=True)
        fake.take_sensor_samples(MOST_UNASKED + 100)
        while device.link.counters.requests == 0 or device.statistics().sensor_samples < MOST_UNASKED + 100:
            pass
        events = device.sensor_events()
        assert len(events) <= MOST_UNASKED
        assert events[-1].samples == MOST_UNASKED + 100


def test_lost_and_broken_events_are_gaps_and_nothing_else():
    faults = Faults(seed=3, lose_reply=0.1, corrupt_reply=0.1, duplicate_reply=0.1, garbage=0.1)
    with FakeDevice(SENSING, faults) as fake, open_device(fake.url) as device:
        device.set_sensor(run=True, train=True, label=0)
        for _ in range(20):
            fake.take_sensor_samples(10)
            device.statistics()
        events = device.sensor_events()
        numbers = [event.samples for event in events]
        assert 100 < len(set(numbers)) < 200
        assert numbers == sorted(numbers)
        assert device.statistics().sensor_learned == 200


def test_a_saved_sensor_goes_on_after_a_reset_without_a_host():
    with FakeDevice(SENSING) as fake:
        with open_device(fake.url) as device:
            device.set_autosave(10)
            device.set_sensor(run=True, train=True, label=1)
            fake.take_sensor_samples(25)
        fake.boot()
        assert fake.sensor.runs
        fake.take_sensor_samples(100)
        with open_device(fake.url) as device:
            assert device.info.sensor_runs
            assert device.info.step == 120
            assert device.statistics().sensor_samples == 120


def test_the_session_survives_a_reset_of_a_device_that_learns_by_itself():
    with FakeDevice(SENSING) as fake, open_device(fake.url) as device:
        device.survive()
        device.set_autosave(50)
        device.set_sensor(run=True, train=True, label=1)
        fake.take_sensor_samples(75)
        rate = device.set_learning_rate(0.02)
        fake.boot()
        # Saved once more before the host has noticed: nothing of its session is lost with that.
        fake.take_sensor_samples(60)
        assert device.statistics().step == 110
        (event,) = device.session.events
        assert (event.kind, event.repeated) == ("reset", 1)
        assert device.set_learning_rate(0.02) == rate
        assert fake.sensor.runs


def test_without_flash_a_reset_starts_the_sensor_again():
    model = msgspec.structs.replace(SENSING, can_save=False)
    with FakeDevice(model) as fake:
        with open_device(fake.url) as device:
            device.set_sensor(run=True, train=True, label=1)
            fake.take_sensor_samples(20)
        with open_device(fake.url) as device:
            device.survive()
            device.set_sensor(run=True, train=True, label=3)
            fake.take_sensor_samples(20)
            fake.boot()
            assert device.statistics().step == 0
            assert fake.sensor.runs
            (event,) = device.session.events
            assert event.repeated == 1


def test_a_sensor_of_its_own_speed():
    with FakeDevice(msgspec.structs.replace(SENSING, sensor_hz=500.0)) as fake, open_device(fake.url) as device:
        device.set_sensor(run=True, train=True, samples=20)
        events = everything(device, samples=20)
        assert [event.samples for event in events] == list(range(1, 21))


@pytest.mark.parametrize("fields", [{"run": 5}, {"run": SensorRun.START, "flags": SampleFlag.HAS_TARGETS}])
def test_unknown_values_are_refused(fields):
    rest = {"flags": 0, "label": 0, "threshold": 0, "samples": 0, "report_every": 0}
    with FakeDevice(SENSING) as fake, open_device(fake.url) as device:
        with pytest.raises(DeviceRefusedError) as refused:
            device.link.request(MessageType.SET_SENSOR, pack(MessageType.SET_SENSOR, **{**rest, **fields}))
        assert "outside" in refused.value.cause
