"""A device over TCP: opening, typed calls, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgelearn.errors import (
    DataError,
    DeviceRefusedError,
    DeviceTimeoutError,
    HeadError,
    LearningRateError,
    PortError,
    ProtocolVersionError,
    WrongModelError,
)
from edgelearn.host.device import open_device
from edgelearn.host.head import load_head, save_head
from edgelearn.host.link import LinkOptions
from edgelearn.host.view import heap
from edgelearn.protocol import LossCode, Region, ResidualCode
from tests.support.fake_device import FakeDevice, Faults, Model

SQUARED = Model(loss=LossCode.SQUARED_ERROR, labels=(), outputs=16, max_payload_bytes=80)


def a_sample(seed: int = 0, elements: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).integers(-100, 100, elements).astype(np.int8)


def test_info_says_what_the_device_is():
    with FakeDevice() as fake, open_device(fake.url) as device:
        info = device.info
        assert device.port == fake.url
    assert info.board == "fakeboard"
    assert info.labels == ("zero", "one", "two", "three")
    assert info.model_hash == "0001020304050607"
    assert (info.input_elements, info.output_elements, info.feature_elements) == (16, 4, 16)
    assert info.loss is LossCode.CROSS_ENTROPY
    assert info.residual is ResidualCode.INT8
    assert info.learning_rate == pytest.approx(0.01, rel=1e-4)
    assert info.is_trainable
    assert info.label_name(1) == "one"
    assert info.label_name(9) == "9"


def test_labels_with_empty_names_keep_their_numbers():
    with FakeDevice(Model(labels=("zero", "", "two", ""))) as fake, open_device(fake.url) as device:
        assert device.info.labels == ("zero", "", "two", "")
        assert device.info.label_name(1) == "1"


def test_a_device_without_labels():
    with FakeDevice(Model(labels=())) as fake, open_device(fake.url) as device:
        assert device.info.labels == ()


@pytest.mark.parametrize("expected", ["0001020304050607" + "ab" * 24, "0001020304050607".upper(), None])
def test_the_expected_model_is_accepted(expected):
    with FakeDevice() as fake, open_device(fake.url, expected_model_hash=expected):
        pass


def test_another_model_is_refused_with_both_named():
    with FakeDevice() as fake, pytest.raises(WrongModelError) as caught:
        open_device(fake.url, expected_model_hash="ff" * 32, expected_model_name="digits.elb")
    for part in ("0001020304050607", "ff" * 8, "digits.elb"):
        assert part in str(caught.value)


def test_another_version_is_refused_with_both_named():
    with FakeDevice(Model(version=7)) as fake, pytest.raises(ProtocolVersionError, match=r"version 7 .* version 4"):
        open_device(fake.url)


@pytest.mark.parametrize("faults", [Faults(silent_after_frames=1), Faults(lose_reply=1.0)])
def test_silence_at_hello(faults):
    with FakeDevice(faults=faults) as fake, pytest.raises(DeviceTimeoutError, match="hello was sent"):
        open_device(fake.url, hello_timeout_s=0.6)


def test_a_port_that_closes_at_hello():
    with FakeDevice(faults=Faults(close_after_frames=1)) as fake, pytest.raises(PortError, match="broke off"):
        open_device(fake.url)


def test_a_device_that_boots_late_is_found():
    with FakeDevice(faults=Faults(reset_after_frames=1)) as fake, open_device(fake.url) as device:
        assert device.info.board == "fakeboard"


def test_a_second_session_starts_sequence_numbers_anew():
    with FakeDevice() as fake:
        for _ in range(3):
            with open_device(fake.url) as device:
                device.train(a_sample(), label=0)
        assert [trained for _, _, trained in fake.applied] == [True] * 3


def test_prediction_changes_nothing_and_has_no_loss():
    with FakeDevice() as fake, open_device(fake.url) as device:
        result = device.predict(a_sample())
        assert result.loss is None
        assert result.step == 0
        assert result.confidence == 0.25
        assert (result.inference_ticks, result.train_ticks) == (1234, 0)
        assert not fake.q.any()


def test_a_labelled_prediction_tells_the_loss():
    with FakeDevice() as fake, open_device(fake.url) as device:
        assert device.predict(a_sample(), label=2).loss == pytest.approx(math.log(4), abs=1e-4)
        assert fake.step == 0


def test_training_learns_and_the_loss_is_the_cross_entropy():
    with FakeDevice() as fake, open_device(fake.url) as device:
        device.set_learning_rate(0.05)
        x = a_sample()
        losses = []
        for _ in range(20):
            logits = fake.weights() @ (x / 64)
            expected = np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[2]
            result = device.train(x, label=2)
            assert result.loss == pytest.approx(expected, abs=2e-4)
            losses.append(result.loss)
        assert losses[-1] < losses[0] / 4
        assert result.prediction == 2
        assert result.step == 20


@pytest.mark.parametrize("how", ["targets", "input"])
def test_squared_error_is_the_mean_over_outputs(how):
    with FakeDevice(SQUARED) as fake, open_device(fake.url) as device:
        x = a_sample()
        targets = np.round(x / 64 * 2.0 ** (16 - 2)).astype(np.int16)
        given = {"targets": targets} if how == "targets" else {"target_is_input": True}
        assert device.predict(x, **given).loss == pytest.approx(np.mean((x / 64.0) ** 2), rel=1e-3)
        assert device.predict(x).loss is None
        device.set_learning_rate(0.01)
        losses = [device.train(x, **given).loss for _ in range(30)]
        assert losses[-1] < losses[0] / 4


def test_samples_that_do_not_fit_are_refused_here():
    with FakeDevice() as fake, open_device(fake.url) as device:
        with pytest.raises(DataError, match=r"15 elements of int8, the model takes 16"):
            device.predict(a_sample()[:15])
        with pytest.raises(DataError, match="float64"):
            device.predict(a_sample().astype(np.float64))
        with pytest.raises(DataError, match="targets are 3"):
            device.train(a_sample(), targets=np.zeros(3, np.int16))
        assert fake.applied == []


@pytest.mark.parametrize("inputs", [55, 56, 100, 999])
def test_a_sample_larger_than_the_buffer_goes_in_parts(inputs):
    x = np.random.default_rng(1).integers(-128, 128, inputs).astype(np.int8)
    with FakeDevice(Model(inputs=inputs, max_payload_bytes=64)) as fake, open_device(fake.url) as device:
        device.predict(x)
        assert bytes(fake.parts) == x.tobytes()
        other = device.submit(x[::-1].copy(), train=True, label=2)
        assert device.result(other).step == 1
        assert bytes(fake.parts) == x[::-1].tobytes()


def test_targets_that_leave_no_room_are_refused_here():
    model = Model(inputs=40, outputs=40, loss=LossCode.SQUARED_ERROR, max_payload_bytes=64)
    with (
        FakeDevice(model) as fake,
        open_device(fake.url) as device,
        pytest.raises(DeviceRefusedError, match="too few to work"),
    ):
        device.train(np.zeros(40, np.int8), targets=np.zeros(40, np.int16))


def test_a_label_beyond_the_classes_is_refused_by_the_device():
    with FakeDevice() as fake, open_device(fake.url) as device:
        with pytest.raises(DeviceRefusedError, match="not one of its classes"):
            device.train(a_sample(), label=4)
        # The refusal counts as the answer to its sequence number; the next request is carried out.
        assert device.train(a_sample(), label=3).step == 1


def test_regions_come_in_pieces():
    with FakeDevice(Model(inputs=50, max_payload_bytes=70, max_reply_bytes=32)) as fake:
        fake.q[:] = np.arange(200).reshape(4, 50).astype(np.uint8).view(np.int8)
        with open_device(fake.url) as device:
            assert device.read_region(Region.HEAD_WEIGHTS) == fake.q.tobytes()
            device.write_region(Region.HEAD_WEIGHTS, bytes(range(200))[::-1])
        assert fake.q.tobytes() == bytes(range(200))[::-1]


def test_regions_that_are_not_there():
    with FakeDevice() as fake, open_device(fake.url) as device:
        with pytest.raises(DeviceRefusedError, match="no such region"):
            device.read_region(Region.LOGITS)
        with pytest.raises(DeviceRefusedError, match="can only be read"):
            device.write_region(Region.BOARD, b"x")


@pytest.mark.parametrize("residual", list(ResidualCode))
def test_a_head_is_read_saved_loaded_and_written_back(residual, tmp_path):
    with FakeDevice(Model(residual=residual)) as fake, open_device(fake.url) as device:
        device.set_learning_rate(0.5)
        for i in range(10):
            device.train(a_sample(i), label=i % 4)
        head = device.read_head()
        np.testing.assert_allclose(head.weights(), fake.weights(), atol=1e-12)
        assert head.biases().shape == (4,)
        assert (head.l is not None) == (residual is ResidualCode.INT8)
        save_head(head, tmp_path / "head.npz")
        loaded = load_head(tmp_path / "head.npz")
        assert loaded.same_as(head)
        device.reset_head()
        assert not device.read_head().same_as(head)
        assert not fake.q.any()
        device.write_head(loaded)
        assert device.read_head().same_as(head)


def test_bias_values():
    with FakeDevice() as fake, open_device(fake.url) as device:
        fake.bias[:] = [1 << 24, -(1 << 24), 1 << 23, 0]
        assert device.read_head().biases().tolist() == [1.0, -1.0, 0.5, 0.0]


def test_heads_that_do_not_fit_are_refused_before_anything_is_written():
    with FakeDevice() as fake, open_device(fake.url) as device:
        head = device.read_head()
        with (
            FakeDevice(Model(inputs=8)) as small,
            open_device(small.url) as other,
            pytest.raises(HeadError, match=r"\[4, 16\], the device's is \[4, 8\]"),
        ):
            other.write_head(head)
        with (
            FakeDevice(Model(residual=ResidualCode.NONE)) as plain,
            open_device(plain.url) as other,
            pytest.raises(HeadError, match="residual"),
        ):
            other.write_head(head)
        fake.row_m[0] += 1
        with pytest.raises(HeadError, match="row_m differs"):
            device.write_head(head)


def test_a_file_that_holds_no_head(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 no")
    for path in (tmp_path / "x.npz", tmp_path / "none.npz"):
        with pytest.raises(HeadError, match="holds no learned head"):
            load_head(path)


def test_a_model_without_head():
    with FakeDevice(Model(trainable=False)) as fake, open_device(fake.url) as device:
        assert not device.info.is_trainable
        assert device.predict(a_sample()).loss is None
        for call in (device.read_head, lambda: device.write_head(None)):
            with pytest.raises(HeadError, match="no trainable head"):
                call()
        with pytest.raises(DeviceRefusedError, match="no trainable head"):
            device.train(a_sample(), label=0)
        with pytest.raises(DeviceRefusedError, match="no trainable head"):
            device.reset_head()


def test_the_learning_rate_that_was_set_is_returned():
    with FakeDevice() as fake, open_device(fake.url) as device:
        assert device.set_learning_rate(1e-3) == pytest.approx(1e-3, rel=2**-15)
        assert device.set_learning_rate(0.0) == 0.0
        with pytest.raises(LearningRateError, match=r"refused the learning rate 0\.75") as caught:
            device.set_learning_rate(0.75)
        assert "smaller" in caught.value.hint
        with pytest.raises(LearningRateError):
            device.set_learning_rate(-1.0)
        with pytest.raises(LearningRateError, match="out of range"):
            device.set_learning_rate(1.5)


def test_statistics():
    with FakeDevice() as fake, open_device(fake.url) as device:
        device.train(a_sample(), label=0)
        statistics = device.statistics()
        assert statistics.step == 1
        assert statistics.frames == fake.frames
        assert statistics.stack_size_bytes == 4096


def test_statistics_of_a_heap():
    with FakeDevice(Model(heap_bytes=(40_000, 88_000))) as fake, open_device(fake.url) as device:
        statistics = device.statistics()
    assert statistics.heap_bytes == 128_000
    assert heap(statistics) == "85.9 of 125.0 KiB, largest free block 19.5 KiB, 3 collections"


def keep_training(device):
    for _ in range(20):
        device.train(a_sample(), label=0)


def test_a_device_that_stops_answering():
    options = LinkOptions(first_timeout_s=0.05, min_timeout_s=0.02, give_up_s=0.3, first_give_up_s=0.3)
    with (
        FakeDevice(faults=Faults(silent_after_frames=12)) as fake,
        open_device(fake.url, options=options) as device,
        pytest.raises(DeviceTimeoutError, match="does not answer"),
    ):
        keep_training(device)
