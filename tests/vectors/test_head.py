"""The integer head in C under sanitizers against its NumPy reference: the same bits after hundreds of steps.

Cases are drawn so that rows saturate and are rescaled, learning rates change on the way and every branch of the fixed
point is taken.
"""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgelearn.errors import HeadError, LearningRateError
from edgelearn.ir import LossKind
from edgelearn.protocol import Region, Status, encode_learning_rate
from edgelearn.recipe import Residual
from edgelearn.training import FloatHead, IntegerHead, make_head, plan_training
from edgelearn.training.head import smallest_exponent, smallest_row_t
from tests.support.firmware import build_piped, generate, joined, read_requests, talk
from tests.unit.training.heads import (
    Event,
    Judged,
    assert_same_run,
    head_graph,
    int16_targets,
    rate_request,
    sample_request,
)
from tests.vectors.models import Drawn, examples

INTEGER_RESIDUALS = (Residual.INT8, Residual.STOCHASTIC, Residual.NONE)


def _drawn_graph(drawn: Drawn, loss: LossKind, target_is_input: bool):
    rng = drawn.rng
    outputs, features = drawn.integer(2, 12), drawn.integer(1, 40)
    if target_is_input:
        outputs = features = drawn.integer(2, 30)
    feature_scale = drawn.scale(-14, 4)
    magnitude = 2.0 ** drawn.integer(-8, 4)
    weights = (rng.normal(size=(outputs, features)) * magnitude).astype(np.float32)
    weights *= (2.0 ** -rng.uniform(0, drawn.choice(0, 3, 9), (outputs, 1))).astype(np.float32)
    if drawn.choice(True, False):
        weights[-1] = 0  # a spare class
    usual = feature_scale * magnitude * 100
    bias = (rng.normal(size=outputs) * drawn.choice(0.0, usual, 30 * usual)).astype(np.float32)
    rows = ()
    if drawn.choice(False, False, True):
        rows = (np.abs(weights).max(axis=1) / 127 + 1e-6).tolist()
        weights = np.rint(weights / np.array(rows)[:, None]).astype(np.int8)
    return head_graph(
        weights,
        bias,
        loss=loss,
        feature_scale=feature_scale,
        feature_zero_point=drawn.zero_point(),
        row_scale=rows,
        output_range=drawn.choice(None, usual),
    )


def test_the_same_bits_after_many_steps():
    """Also that the cases took every branch: what is named was seen in at least three of them."""
    seen: Counter[str] = Counter()

    @examples(120)
    @given(st.data())
    def play(data):
        _play(data, seen)

    play()
    wanted = ["rescaled", "t > 15", "t <= 15", "at t_min", "fraction bits < 16", "fraction bits < 12", "error shift"]
    wanted += ["saturated for good", *(r.value for r in INTEGER_RESIDUALS), *(kind.value for kind in LossKind)]
    assert not [name for name in wanted if seen[name] < 3], seen


def _play(data: st.DataObject, seen: Counter[str]) -> None:
    drawn = Drawn(data)
    kind = drawn.choice("label", "targets", "input")
    loss = LossKind.CROSS_ENTROPY if kind == "label" else LossKind.SQUARED_ERROR
    residual = drawn.choice(*INTEGER_RESIDUALS)
    graph = _drawn_graph(drawn, loss, kind == "input")
    try:
        plan = plan_training(graph, residual=residual, learning_rate=0.0)
    except HeadError:
        seen["refused"] += 1
        return
    (layer,) = plan.layers
    if kind == "input" and layer.input_target == (0, 0):
        return
    # From the largest rate that the update takes down to usual ones.
    largest = smallest_exponent(layer)
    rates = [(drawn.integer(2**14, 2**15 - 1), min(63, largest + drawn.choice(0, 1, 3, 8))) for _ in range(3)]
    head = make_head(plan)
    rng, events = drawn.rng, list[Event]()
    prototypes = rng.integers(-128, 128, (layer.outputs, layer.features))
    for rate in rates:
        events.append(rate)
        for _ in range(drawn.choice(20, 60, 120)):
            label = int(rng.integers(layer.outputs))
            noise = rng.integers(-40, 41, layer.features)
            features = np.clip(prototypes[label] + noise, -128, 127).astype(np.int8)
            if rng.random() < 0.05:
                features[:] = rng.choice([-128, 127])
            targets = None
            if kind == "targets":
                targets = int16_targets(layer, rng.normal(size=layer.outputs) * 10 ** rng.uniform(-2, 4))
            judged_by = label if kind == "label" else None
            events.append(Judged(features, judged_by, targets, train=bool(rng.random() < 0.95)))
        if drawn.choice(False, False, False, True):
            # Rescaled rows may take a rate that the first ones do not: a reset with it is a test of its own.
            events += [rates[0], None]
    assert_same_run(build_piped(generate(graph, training=plan)), head, events)
    _count(head, seen)


def _count(head: IntegerHead, seen: Counter[str]) -> None:
    plan = head.plan
    seen["rescaled"] += head.rescales > 0
    seen["t > 15"] += bool((head.row_t > 15).any())
    seen["t <= 15"] += bool((head.row_t <= 15).any())
    seen["at t_min"] += bool((head.row_t == plan.row_t_min).any())
    seen["fraction bits < 16"] += plan.logit_fraction_bits < 16
    seen["fraction bits < 12"] += plan.logit_fraction_bits < 12
    seen["error shift"] += plan.error_shift > 0
    seen["saturated for good"] += bool((np.abs(head.q) >= 127).any())
    seen[plan.residual.value] += 1
    seen[plan.loss.value] += 1


@examples(30)
@given(st.data())
def test_refused_learning_rates_are_the_same(data):
    drawn = Drawn(data)
    loss = drawn.choice(*LossKind)
    graph = _drawn_graph(drawn, loss, target_is_input=False)
    try:
        plan = plan_training(graph, learning_rate=0.0)
    except HeadError:
        return
    head = make_head(plan)
    boundary = smallest_exponent(plan.layers[0])
    exponents = [e for e in (boundary - 9, boundary - 2, boundary - 1, boundary, boundary + 1) if 0 <= e <= 63]
    rates = [(drawn.integer(2**14, 2**15 - 1), exponent) for exponent in exponents] + [(0, 0)]
    replies = talk(build_piped(generate(graph, training=plan)), [rate_request(*rate) for rate in rates])
    for (mantissa, exponent), reply in zip(rates, replies, strict=True):
        representable = mantissa == 0 or exponent >= boundary
        assert Status(reply.payload[0]) is (Status.OK if representable else Status.LEARNING_RATE)
        rate = math.ldexp(mantissa, -exponent)
        if rate > 1.0:
            continue  # no person may ask for it, whether an update could represent it or not
        accepted = True
        try:
            head.set_learning_rate(rate)
        except LearningRateError:
            accepted = False
        assert accepted == representable
        planned = True
        try:
            plan_training(graph, learning_rate=rate)
        except LearningRateError:
            planned = False
        assert planned == accepted


@pytest.mark.parametrize("features", [1, 7, 100, 1029, 40_000])
@pytest.mark.parametrize("zero_point", [-128, 127, 0])
@pytest.mark.parametrize("weight", [-128, 127])
def test_no_logit_reaches_2_to_the_30(features, zero_point, weight):
    """All weights and features at their ends in a row that has been rescaled to t_min."""
    weights = np.full((2, features), weight, np.int8)
    weights[1] = -128 if weight == 127 else 127
    scale = 2.0 ** -(smallest_row_t(features) + 1)
    graph = head_graph(
        weights, np.zeros(2, np.float32), row_scale=[scale], feature_scale=1.0, feature_zero_point=zero_point
    )
    plan = plan_training(graph, learning_rate=0.0)
    head = make_head(plan)
    head.row_t[:] = plan.layers[0].row_t_min
    head.row_m[:] = 2**15 - 1
    for value in (-128, 127):
        x = np.full(features, value, np.int8)
        logits = head.forward(x).logits
        assert np.abs(logits).max() < 2**30 + 2**15
    # One doubling more would not be safe, except where t cannot be lower.
    if head.plan.row_t_min > 0 and zero_point in (-128, 127):
        acc = features * 128 * 255
        assert acc * 2**15 >> (head.plan.row_t_min - 1) > 2**30


def test_a_rate_that_only_rescaled_rows_could_take_falls_back_at_a_reset():
    rng = np.random.default_rng(5)
    graph = head_graph(rng.normal(size=(3, 6)).astype(np.float32) * 0.01, np.zeros(3, np.float32))
    plan = plan_training(graph, learning_rate=1e-4)
    boundary = smallest_exponent(plan.layers[0])
    head = make_head(plan)
    samples = [Judged(rng.integers(-128, 128, 6).astype(np.int8), int(rng.integers(3))) for _ in range(200)]
    events: list[Event] = [(2**14, boundary), *samples]
    probe = make_head(plan)
    probe._set(2**14, boundary)
    for sample in samples:
        step = probe.forward(sample.features)
        probe.learn(sample.features, step, label=sample.label)
    growth = int((probe.row_rho - np.array(plan.layers[0].rows.row_rho)).min())
    of_bias = plan.layers[0].logit_fraction_bits + 8 - 15
    larger = max(boundary - growth, of_bias)
    assert larger < boundary
    events += [(2**14, larger), samples[0], None, *samples[:20]]
    assert_same_run(build_piped(generate(graph, training=plan)), head, events)
    assert (head.mantissa, head.exponent) == encode_learning_rate(1e-4)


@pytest.mark.parametrize("residual", INTEGER_RESIDUALS)
def test_saturating_biases(residual):
    """Biases at the end of int32 neither wrap nor overflow, in the forward pass or in the update."""
    graph = head_graph(
        np.zeros((2, 1), np.float32), np.zeros(2, np.float32), loss=LossKind.SQUARED_ERROR, output_range=2.0**16
    )
    plan = plan_training(graph, residual=residual, learning_rate=0.0)
    head = make_head(plan)
    rate = (2**15 - 1, smallest_exponent(plan.layers[0]))
    samples = [Judged(np.array([-128], np.int8), None, np.array([32767, -32768], np.int16)) for _ in range(2000)]
    assert_same_run(build_piped(generate(graph, training=plan)), head, [rate, *samples])


@pytest.mark.parametrize("loss", list(LossKind))
def test_the_float_head_is_close_to_its_reference(loss):
    """Float stands outside the promise of bits: weights and biases agree to a few parts in ten thousand."""
    rng = np.random.default_rng(8)
    outputs, features, rate = 5, 20, 2e-3
    weights = (rng.normal(size=(outputs, features)) * 0.2).astype(np.float32)
    graph = head_graph(weights, rng.normal(size=outputs).astype(np.float32), loss=loss, output_range=8.0)
    plan = plan_training(graph, residual=Residual.FLOAT, learning_rate=rate)
    (layer,) = plan.layers
    head = FloatHead(layer, learning_rate=rate)
    requests = []
    for _ in range(300):
        x = rng.integers(-128, 0, features).astype(np.int8)
        z = head.forward(x)
        if loss is LossKind.CROSS_ENTROPY:
            label = int(rng.integers(outputs))
            head.learn(x, z, label=label)
            requests.append(sample_request(Judged(x, label), loss))
        else:
            targets = int16_targets(layer, rng.normal(size=outputs))
            fixed = targets * 2.0 ** (layer.target_shift - layer.logit_fraction_bits)
            head.learn(x, z, targets=fixed.astype(np.float32))
            requests.append(sample_request(Judged(x, None, targets), loss))
    reads = read_requests(Region.HEAD_WEIGHTS, 4 * weights.size)
    biases = read_requests(Region.HEAD_BIAS, 4 * outputs)
    replies = talk(build_piped(generate(graph, training=plan)), [*requests, *reads, *biases])
    learned = np.frombuffer(joined(replies[len(requests) : -len(biases)]), "<f4").reshape(outputs, features)
    moved = np.abs(head.weights - weights).max()
    assert moved > 0.05
    # The device's gradient comes from logits and probabilities in fixed point.
    np.testing.assert_allclose(learned, head.weights, atol=2e-3 * moved)
    np.testing.assert_allclose(np.frombuffer(joined(replies[-len(biases) :]), "<f4"), head.bias, atol=2e-3 * moved)
