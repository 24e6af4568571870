"""Whatever the line does to the frames, each training sample is applied once and in order."""

from __future__ import annotations

import numpy as np
import pytest

from edgelearn.errors import DeviceResetError, PortError
from edgelearn.host.device import open_device
from tests.support.fake_device import FakeDevice, Faults

SAMPLES = 150
SHARE = 0.08

FAULTS = {
    "clean": Faults(),
    "lost requests": Faults(lose_request=SHARE),
    "lost replies": Faults(lose_reply=SHARE),
    "corrupted requests": Faults(corrupt_request=SHARE),
    "corrupted replies": Faults(corrupt_reply=SHARE),
    "duplicated requests": Faults(duplicate_request=0.3),
    "duplicated replies": Faults(duplicate_reply=0.3),
    "reordered replies": Faults(reorder_reply=0.3),
    "delayed replies": Faults(delay_reply=SHARE),
    "garbage": Faults(garbage=0.3),
    "all at once": Faults(
        lose_request=0.03,
        lose_reply=0.03,
        corrupt_request=0.03,
        corrupt_reply=0.03,
        duplicate_request=0.05,
        duplicate_reply=0.05,
        reorder_reply=0.05,
        delay_reply=0.03,
        garbage=0.05,
    ),
}


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS.keys())
def test_each_sample_is_applied_once_and_in_order(faults, impatient):
    random = np.random.default_rng(5)
    sent = []
    with FakeDevice(faults=faults) as fake, open_device(fake.url, options=impatient) as device:
        for i in range(SAMPLES):
            x = random.integers(-100, 100, 16).astype(np.int8)
            label, train = i % 4, i % 3 != 0
            result = (device.train if train else device.predict)(x, label=label)
            sent.append((label, int(x[0]) & 0xFF, train))
            assert result.step == sum(trained for _, _, trained in sent)
        assert fake.applied == sent
        counters = device.counters
    if faults == Faults():
        assert counters.bad_frames == 0
    if faults.corrupt_reply or faults.garbage:
        assert counters.bad_frames > 0
    if faults.lose_reply or faults.lose_request or faults.delay_reply:
        assert counters.retries > 0


def keep_training(device):
    for _ in range(60):
        device.train(np.zeros(16, np.int8), label=0)


def test_a_head_is_read_right_over_a_bad_line(impatient):
    with FakeDevice(faults=FAULTS["all at once"]) as fake, open_device(fake.url, options=impatient) as device:
        for i in range(5):
            device.train(np.full(16, 10 * i, np.int8), label=i % 4)
        head = device.read_head()
        assert head.q.tobytes() == fake.q.tobytes()
        assert head.l.tobytes() == fake.l.tobytes()


def test_a_device_that_was_reset_says_so(impatient):
    faults = Faults(reset_after_frames=30)
    with FakeDevice(faults=faults) as fake, open_device(fake.url, options=impatient) as device:
        with pytest.raises(DeviceResetError, match="was reset"):
            keep_training(device)
        assert fake.applied == []
    with FakeDevice() as fake, open_device(fake.url, options=impatient) as device:
        device.train(np.zeros(16, np.int8), label=0)


def test_a_port_that_vanishes_in_the_middle(impatient):
    faults = Faults(close_after_frames=30)
    with (
        FakeDevice(faults=faults) as fake,
        open_device(fake.url, options=impatient) as device,
        pytest.raises(PortError, match="broke off"),
    ):
        keep_training(device)
