"""Small models that are nothing but a trainable head, and the reference run beside the C firmware."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edgelearn.ir import (
    DType,
    Graph,
    Loss,
    LossKind,
    ParamKind,
    Quant,
    Tensor,
    Training,
    constant,
    verify,
)
from edgelearn.ir.dense import FullyConnected
from edgelearn.protocol import MessageType, Region, ResultFlag, SampleFlag, Status, pack, unpack
from edgelearn.recipe import DenseHead, Residual
from edgelearn.training import IntegerHead
from tests.support.firmware import Request, joined, read_requests, talk


def head_graph(
    weights: npt.NDArray[np.generic],
    bias: npt.NDArray[np.float32],
    *,
    loss: LossKind = LossKind.CROSS_ENTROPY,
    feature_scale: float = 0.05,
    feature_zero_point: int = -128,
    row_scale: Sequence[float] = (),
    output_range: float | None = None,
) -> Graph:
    """A graph whose input is the features of a trainable dense layer.

    Args:
        weights: float32, or int8 with `row_scale`, [outputs, features].
        bias: float32 [outputs].
        output_range: what calibration found, where it was asked.
    """
    outputs, features = weights.shape
    quant = None
    if weights.dtype == np.int8:
        quant = Quant(scale=tuple(row_scale), zero_point=(0,) * len(row_scale), axis=0 if len(row_scale) > 1 else None)
    out_quant = None if output_range is None else Quant(scale=(output_range / 128,), zero_point=(0,))
    return verify(
        Graph(
            name="head",
            tensors=(
                Tensor(
                    name="x",
                    shape=(1, features),
                    dtype=DType.INT8,
                    quant=Quant(scale=(feature_scale,), zero_point=(feature_zero_point,)),
                ),
                constant("w", weights, quant=quant, training=Training(kind=ParamKind.WEIGHT)),
                constant("b", bias.astype(np.float32), training=Training(kind=ParamKind.BIAS)),
                Tensor(name="z", shape=(1, outputs), dtype=DType.FLOAT32, quant=out_quant),
            ),
            ops=(FullyConnected(name="dense", inputs=("x", "w", "b"), outputs=("z",), index=0),),
            inputs=("x",),
            outputs=("z",),
            loss=Loss(kind=loss, prediction="z"),
        ),
        after="test",
    )


class Judged(NamedTuple):
    """One streamed sample: features and what they are judged by (both None where the input is the target)."""

    features: npt.NDArray[np.int8]
    label: int | None = None
    targets: npt.NDArray[np.int16] | None = None
    train: bool = True


def sample_request(sample: Judged, loss: LossKind) -> Request:
    flags, tail = (SampleFlag.TRAIN if sample.train else SampleFlag(0)), sample.features.tobytes()
    if loss is LossKind.CROSS_ENTROPY:
        flags |= SampleFlag.HAS_LABEL
    elif sample.targets is None:
        flags |= SampleFlag.TARGET_IS_INPUT
    else:
        flags |= SampleFlag.HAS_TARGETS
        tail += sample.targets.astype("<i2").tobytes()
    return MessageType.SAMPLE, pack(MessageType.SAMPLE, flags=flags, label=sample.label or 0, tail=tail)


def rate_request(mantissa: int, exponent: int) -> Request:
    payload = pack(MessageType.SET_LEARNING_RATE, mantissa=mantissa, exponent=exponent)
    return MessageType.SET_LEARNING_RATE, payload


RESET: Request = (MessageType.RESET_HEAD, b"")
Event = Judged | tuple[int, int] | None


def assert_same_run(program: Path, head: IntegerHead, events: Sequence[Event]) -> None:
    """Play events (samples, learning rates as mantissa and exponent, None for a reset) on both; compare every bit.

    Every result is compared, the logits and probabilities of every 16th sample, the whole head at the end.
    """
    plan = head.plan
    requests: list[Request] = []
    expected: list[object] = []
    step = 0
    for number, event in enumerate(events):
        if event is None:
            requests.append(RESET)
            expected.append(Status.OK)
            head.reset()
            step = 0
        elif not isinstance(event, Judged):
            requests.append(rate_request(*event))
            expected.append(Status.OK)
            head._set(*event)
        else:
            requests.append(sample_request(event, plan.loss))
            result, logits, probabilities = _reference_step(head, event)
            step += event.train
            expected.append((*result, step, ResultFlag.HAS_LOSS | (ResultFlag.LEARNED if event.train else 0)))
            if number % 16 == 0:
                requests += read_requests(Region.LOGITS, 4 * plan.outputs)
                expected += [logits[start : start + 200] for start in range(0, len(logits), 200)]
                if probabilities:
                    requests += read_requests(Region.PROBABILITIES, 2 * plan.outputs)
                    expected += [probabilities[start : start + 200] for start in range(0, len(probabilities), 200)]
    state = head_state(head)
    reads = [read_requests(region, len(data)) for region, data in state.items()]
    replies = talk(program, requests + [request for group in reads for request in group])
    for number, (reply, want) in enumerate(zip(replies, expected, strict=False)):
        got: object
        if reply.type is MessageType.ACK:
            got = Status(reply.payload[0])
        elif reply.type is MessageType.RESULT:
            values = unpack(MessageType.RESULT, reply.payload)
            names = ("prediction", "confidence", "loss_a", "loss_b", "step", "flags")
            got = tuple(values.integer(name) for name in names)
        else:
            got = joined([reply])
        assert got == want, f"request {number}: {requests[number][0].name}"
    rest = replies[len(requests) :]
    for (region, data), group in zip(state.items(), reads, strict=True):
        assert joined(rest[: len(group)]) == data, region
        rest = rest[len(group) :]


def _reference_step(head: IntegerHead, sample: Judged) -> tuple[tuple[int, ...], bytes, bytes]:
    plan = head.plan
    step = head.forward(sample.features)
    targets = None
    if plan.loss is LossKind.SQUARED_ERROR:
        given = sample.targets
        targets = head.input_targets(sample.features) if given is None else head.scaled_targets(given)
    step = head.judge(step, label=sample.label, targets=targets)
    if sample.train:
        head.learn(sample.features, step, label=sample.label, targets=targets)
    classifies = plan.loss is LossKind.CROSS_ENTROPY
    confidence = int(step.probabilities[step.prediction]) if classifies else 0
    return (
        (step.prediction, confidence, step.loss_a, step.loss_b),
        step.logits.astype("<i4").tobytes(),
        step.probabilities.astype("<u2").tobytes() if classifies else b"",
    )


def head_state(head: IntegerHead) -> dict[Region, bytes]:
    """The bytes of the head's regions, as the device holds them."""
    state = {
        Region.HEAD_WEIGHTS: head.q.astype(np.int8).tobytes(),
        Region.HEAD_BIAS: head.bias.astype("<i4").tobytes(),
        Region.HEAD_ROW_T: head.row_t.astype(np.int8).tobytes(),
        Region.HEAD_ROW_RHO: head.row_rho.astype(np.int8).tobytes(),
        Region.HEAD_ROW_M: head.row_m.astype("<u2").tobytes(),
        Region.HEAD_ROW_R: head.row_r.astype("<u2").tobytes(),
    }
    if head.plan.residual is Residual.INT8:
        state[Region.HEAD_RESIDUAL] = head.residual.astype(np.uint8).tobytes()
    return state


def int16_targets(plan: DenseHead, real: npt.NDArray[np.float64]) -> npt.NDArray[np.int16]:
    """Real targets as they cross the link."""
    fixed = np.rint(real * 2.0 ** (plan.logit_fraction_bits - plan.target_shift))
    return np.clip(fixed, -32768, 32767).astype(np.int16)
