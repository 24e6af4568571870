"""Run folders of made-up results, without a device: one call makes every kind of run that a report may meet."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np

from edgelearn.host.data import Dataset
from edgelearn.host.device import DeviceInfo, Statistics
from edgelearn.host.head import HeadState
from edgelearn.host.link import LinkCounters
from edgelearn.host.metrics import Metrics
from edgelearn.host.telemetry import Record, RunEvent, StreamOptions, StreamSummary, create_run
from edgelearn.protocol import LossCode, ResidualCode, TensorInfo, TensorType

NOW = datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)


def device_info(
    *, outputs: int = 10, labels: tuple[str, ...] = (), loss: LossCode = LossCode.CROSS_ENTROPY, board: str = "f405"
) -> DeviceInfo:
    """A device with a head of so many outputs on 16 features."""
    return DeviceInfo(
        board=board,
        labels=labels,
        protocol_version=2,
        model_hash="0011223344556677",
        max_payload_bytes=64,
        inputs=(TensorInfo(name="x", is_input=True, type=TensorType.INT8, elements=16, scale=1 / 64),),
        outputs=(TensorInfo(name="y", is_input=False, type=TensorType.LOGITS, elements=outputs),),
        feature_elements=16,
        feature_scale=1 / 64,
        feature_zero_point=0,
        logit_fraction_bits=16,
        error_shift=3,
        target_shift=2,
        loss=loss,
        residual=ResidualCode.INT8,
        learning_rate=0.01,
        step=0,
        counter_hz=168_000_000,
        static_ram_bytes=24_000,
        stack_size_bytes=4096,
    )


def a_head(outputs: int = 10, seed: int = 0) -> HeadState:
    """A head with random weights."""
    random = np.random.default_rng(seed)
    return HeadState(
        residual=ResidualCode.INT8,
        feature_scale=1 / 64,
        logit_fraction_bits=16,
        q=random.integers(-60, 60, (outputs, 16)).astype(np.int8),
        l=random.integers(0, 256, (outputs, 16)).astype(np.uint8),
        bias=random.integers(-5000, 5000, outputs).astype(np.int32),
        row_t=np.full(outputs, 10, np.int8),
        row_rho=np.full(outputs, 6, np.int8),
        row_m=np.full(outputs, 2**14, np.uint16),
        row_r=np.full(outputs, 2**14, np.uint16),
    )


def make_run(
    parent: Path,
    samples: int,
    *,
    classes: int = 10,
    passes: int = 1,
    train: bool = True,
    labelled: bool = True,
    loss: LossCode = LossCode.CROSS_ENTROPY,
    names: tuple[str, ...] = (),
    ended: str | None = "complete",
    events: bool = False,
    heads: bool = False,
    seed: int = 0,
    created: datetime.datetime = NOW,
) -> Path:
    """Write a run of so many results in all; `ended` None leaves it as a crash would. Returns its folder."""
    random = np.random.default_rng(seed)
    info = device_info(outputs=classes, labels=names, loss=loss)
    inputs = (np.zeros((max(1, samples // passes), 16), np.int8),)
    dataset = Dataset(name="made-up.npz", sha256="cd" * 32, inputs=inputs)
    options = StreamOptions(train=train, repeat=passes, learning_rate=0.01 if train else None)
    folder = create_run(
        parent,
        info=info,
        port="/dev/ttyACM0",
        source=dataset,
        options=options,
        command=("edgelearn", "stream", "--port", "/dev/ttyACM0", "--data", "made-up.npz", "--train"),
        board_ram_bytes=131_072,
        bundle="digits.elb",
        bundle_sha256="ab" * 32,
        now=created,
    )
    classified = loss is LossCode.CROSS_ENTROPY
    metrics = Metrics(trains=train, labels=names, pass_samples=max(1, samples // passes))
    labels = random.integers(0, classes, max(1, samples))
    known = random.random(max(1, samples)) < 0.5 + 0.45 * np.minimum(1, np.arange(max(1, samples)) / 500)
    wrong = random.integers(0, classes, max(1, samples))
    time_s = 0.0
    with folder:
        if heads:
            folder.write_head_before(a_head(classes))
            folder.write_head(a_head(classes, seed=1))
        for i in range(samples):
            round_trip_s = 0.009 + float(random.exponential(0.002)) + (0.2 if i % 97 == 96 else 0)
            time_s += round_trip_s
            record = Record(
                number=i,
                pass_number=i * passes // samples,
                sample=i % max(1, samples // passes),
                prediction=int(labels[i] if known[i] else wrong[i]) if classified else 0,
                confidence=round(float(random.random()), 6) if classified else 0.0,
                label=int(labels[i]) if labelled and classified else None,
                loss=round(float(3 * np.exp(-i / 400) + random.exponential(0.2)), 6) if labelled else None,
                step=i + 1 if train else 0,
                time_s=round(time_s, 6),
                round_trip_s=round(round_trip_s, 6),
                inference_ticks=200_000 + int(random.integers(0, 3000)),
                train_ticks=40_000 if train else 0,
                stack_bytes=700 + 4 * min(i, 30),
                retries=int(i % 97 == 96),
                crc_errors=int(i % 200 == 199),
            )
            folder.append(record)
            metrics.add(pass_number=record.pass_number, correct=record.correct, label=record.label, loss=record.loss)
        if events:
            folder.append_event(RunEvent(kind="save", time_s=1.0, results=samples // 3, step=samples // 3))
            folder.append_event(
                RunEvent(kind="reset", time_s=2.0, results=samples // 2, step=samples // 3, text="the device restarted")
            )
    scores = metrics.passes()
    if ended is not None:
        folder.write_summary(
            StreamSummary(
                ended=ended,
                error="the device stopped answering" if ended == "error" else "",
                samples=samples,
                step=samples if train else 0,
                learning_rate=0.01 if train else None,
                accuracy_name="prequential accuracy" if train else "accuracy",
                accuracy=scores[0].accuracy if scores else None,
                training_accuracy=scores[-1].accuracy if len(scores) > 1 and train else None,
                passes=scores,
                elapsed_s=round(time_s, 3),
                samples_per_s=round(samples / time_s, 3) if time_s else 0.0,
                inference_ticks=201_000.0,
                train_ticks=40_000.0 if train else 0.0,
                stack_bytes=820,
                static_ram_bytes=24_000,
                stack_size_bytes=4096,
                link=LinkCounters(requests=samples, retries=samples // 97, bad_frames=samples // 200),
                run=str(folder.path),
                notices=("one sample has no label",),
                statistics=Statistics(
                    step=samples,
                    frames=samples + 9,
                    crc_errors=2,
                    framing_errors=0,
                    repeats=1,
                    overruns=0,
                    ring_bytes=10,
                    stack_bytes=820,
                    static_ram_bytes=24_000,
                    stack_size_bytes=4096,
                ),
            )
        )
    return folder.path
