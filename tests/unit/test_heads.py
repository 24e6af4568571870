"""Learned heads between devices and bundles: what is pulled is exactly what the device had."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgelearn import heads, pipeline
from edgelearn.board import load_board
from edgelearn.bundle import read_bundle, write_bundle
from edgelearn.codegen import emit_project
from edgelearn.commands.head import _read_head
from edgelearn.errors import BundleError, HeadError, WrongModelError
from edgelearn.host.device import open_device
from edgelearn.host.head import save_head
from edgelearn.ir import LossKind
from edgelearn.protocol import Region
from edgelearn.recipe import Residual
from edgelearn.training import make_head
from tests.support.bundles import write_model
from tests.support.firmware import HostFirmware, build


@functools.cache
def classifier_bundle():
    """Four classes of its own and a spare one."""
    return converted(labels=("a", "b", "c", "d"), classes=5)


@functools.cache
def regression_bundle():
    return converted(softmax=False, loss=LossKind.SQUARED_ERROR)


def converted(*, softmax=True, **how):
    with tempfile.TemporaryDirectory() as folder:
        model = write_model(Path(folder) / "m.tflite", softmax=softmax)
        return pipeline.convert(model, Path(folder) / "m.elb", **how)


def firmware(bundle, residual=Residual.INT8) -> Path:
    plan = pipeline.plan(bundle, load_board("host"), residual=residual)
    return build(emit_project(plan, name=bundle.name))


def teach(device, samples=60, seed=0):
    rng = np.random.default_rng(seed)
    info = device.info
    for _ in range(samples):
        x = rng.integers(-128, 128, info.input_elements).astype(np.int8)
        device.train(x, label=int(rng.integers(info.output_elements)))


def learned_from(bundle, residual=Residual.INT8, **how):
    with HostFirmware(firmware(bundle, residual)) as running, open_device(running.url) as device:
        teach(device, **how)
        return heads.pull(device, bundle, run="r1"), device.read_head()


@pytest.mark.parametrize("residual", list(Residual))
def test_a_pulled_head_goes_on_with_the_same_bits(residual, tmp_path):
    bundle = classifier_bundle()
    pulled, state = learned_from(bundle, residual)
    write_bundle(pulled, tmp_path / "p.elb")
    again = read_bundle(tmp_path / "p.elb")
    assert again == pulled
    assert again.model_hash == bundle.model_hash
    assert again.learned.step == 60
    assert again.provenance.learned_on.run == "r1"
    assert len(again.provenance.parents) == 1
    assert heads.head_of(again).same_as(state)
    with HostFirmware(firmware(again, residual)) as running, open_device(running.url) as device:
        assert device.read_head().same_as(state)
        assert device.statistics().step == 0


def test_it_learns_on_as_the_reference_does():
    pulled, _ = learned_from(classifier_bundle())
    head = make_head(pipeline.plan(pulled, load_board("host")).training)
    with HostFirmware(firmware(pulled)) as running, open_device(running.url) as device:
        rng = np.random.default_rng(5)
        for _ in range(50):
            x = rng.integers(-128, 128, device.info.input_elements).astype(np.int8)
            label = int(rng.integers(4))
            device.train(x, label=label)
            features = np.frombuffer(device.read_region(Region.FEATURES), np.int8)
            head.learn(features, head.judge(head.forward(features), label=label), label=label)
        np.testing.assert_array_equal(device.read_head().q, head.q)
        np.testing.assert_array_equal(device.read_head().l, head.residual)


def test_another_residual_starts_from_the_learned_values():
    pulled, state = learned_from(classifier_bundle())
    other = heads.head_of(pulled, Residual.STOCHASTIC)
    assert np.abs(other.weights() - state.weights()).max() <= np.abs(state.weights()).max() / 127


def test_classes_and_names_are_carried():
    bundle, index = classifier_bundle(), 4
    program = firmware(bundle)
    with HostFirmware(program) as running:
        with open_device(running.url) as device:
            assert device.info.classes_in_use == index
            device.set_class(index, "new one")
            device.set_class(0, "other")
        with open_device(running.url) as device:
            teach(device, 20)
            pulled = heads.pull(device, bundle)
            state = device.read_head()
    assert pulled.labels[0] == "other"
    assert pulled.labels[index] == "new one"
    assert pulled.spare_classes == 0
    with HostFirmware(program) as running:
        with open_device(running.url) as device:
            heads.push(device, pulled)
        with open_device(running.url) as device:
            assert device.info.labels == pulled.labels
            assert device.info.classes_in_use == len(pulled.labels)
            assert device.read_head().same_as(state)
            assert device.info.saved_step == 0
            assert device.info.saves == 1, "pushed heads are saved"


def test_a_head_of_another_model_is_refused():
    pulled, _ = learned_from(classifier_bundle())
    other = regression_bundle()
    with HostFirmware(firmware(other)) as running, open_device(running.url) as device:
        before = device.read_head()
        for action in (lambda: heads.push(device, pulled), lambda: heads.pull(device, pulled)):
            with pytest.raises(WrongModelError) as caught:
                action()
            assert device.info.model_hash in caught.value.cause
            assert pulled.model_hash[:16] in caught.value.cause
        assert device.read_head().same_as(before)


def test_a_head_stored_in_another_way_is_rounded():
    pulled, state = learned_from(classifier_bundle())
    with HostFirmware(firmware(pulled, Residual.NONE)) as running, open_device(running.url) as device:
        device.reset_head()
        heads.push(device, pulled)
        weights = device.read_head().weights()
    assert np.abs(weights - state.weights()).max() <= np.abs(state.weights()).max() / 127


def test_rows_that_changed_are_told():
    bundle = classifier_bundle()
    pulled, _ = learned_from(bundle)
    rows = heads.compare(heads.head_of(bundle), heads.head_of(pulled), ("a", ""))
    assert [row.name for row in rows[:2]] == ["a", "1"]
    assert all(row.changed > 0 and row.largest >= row.rms > 0 for row in rows)
    same = heads.compare(heads.head_of(bundle), heads.head_of(bundle))
    assert all((row.changed, row.rms, row.largest, row.bias) == (0, 0, 0, 0) for row in same)
    with pytest.raises(HeadError, match="cannot be compared"):
        heads.compare(heads.head_of(bundle), heads.head_of(regression_bundle()))


def test_a_damaged_learned_head_is_refused(tmp_path):
    pulled, _ = learned_from(classifier_bundle())
    rows = msgspec.structs.replace(pulled.learned.rows, weights=pulled.learned.rows.weights[:-1])
    broken = msgspec.structs.replace(pulled, learned=msgspec.structs.replace(pulled.learned, rows=rows))
    with pytest.raises(HeadError, match="does not fit"):
        pipeline.plan(broken, load_board("host"))
    write_bundle(pulled, tmp_path / "p.elb")
    data = (tmp_path / "p.elb").read_bytes()
    at = data.index(b'"logit_fraction_bits"')
    (tmp_path / "p.elb").write_bytes(data[:at] + b"#" + data[at + 1 :])
    with pytest.raises(BundleError):
        read_bundle(tmp_path / "p.elb")


def test_the_head_of_a_run_is_read_too(tmp_path):
    _, state = learned_from(classifier_bundle())
    save_head(state, tmp_path / "head.npz")
    found, names = _read_head(tmp_path / "head.npz")
    assert found.same_as(state)
    assert names == ()
