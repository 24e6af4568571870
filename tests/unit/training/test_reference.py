"""The head's NumPy reference against independent statements: float SGD, the plain generator, the float softmax."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgelearn.ir import LossKind
from edgelearn.recipe import Residual
from edgelearn.training import FloatHead, make_head, plan_training
from edgelearn.training.reference import XorShift32, softmax_q15, softmax_table
from tests.unit.training.heads import head_graph, int16_targets

PLAIN = settings(derandomize=True, deadline=None, database=None, max_examples=60)


@PLAIN
@given(seed=st.integers(1, 2**32 - 1), counts=st.lists(st.integers(0, 300), max_size=4))
def test_random_numbers_are_the_plain_loops(seed, counts):
    generator, state = XorShift32(seed), seed
    for count in counts:
        plain = []
        for _ in range(count):
            state ^= state << 13 & 0xFFFFFFFF
            state ^= state >> 17
            state ^= state << 5 & 0xFFFFFFFF
            plain.append(state)
        assert generator.take(count).tolist() == plain
        assert generator.state == state


def test_softmax_table_is_what_the_firmware_holds():
    from edgelearn import resources

    source = (resources.firmware_folder() / "runtime" / "elearn_head.c").read_text()
    text = source.split("table[65] = {")[1].split("}")[0]
    assert [int(number) for number in text.split(",")] == softmax_table().tolist()


@PLAIN
@given(
    seed=st.integers(0, 2**32 - 1),
    outputs=st.integers(2, 200),
    bits=st.integers(4, 16),
    spread=st.sampled_from([0.1, 1.0, 5.0, 30.0, 1000.0]),
)
def test_softmax_is_close_to_the_float_softmax(seed, outputs, bits, spread):
    rng = np.random.default_rng(seed)
    real = rng.normal(size=outputs) * spread
    logits = np.rint(real * 2.0**bits).astype(np.int64)
    exact = np.exp((logits - logits.max()) * 2.0**-bits)
    probabilities, total = softmax_q15(logits, bits)
    # Distances are held in Q12 and exponentials in Q15: a relative 2^-12 each, and half a unit for each rounding.
    error = np.abs(probabilities / 2**15 - exact / exact.sum())
    assert error.max() < 2.0**-11
    assert np.abs(total / 2**15 - exact.sum()) < 2.0**-11 * outputs
    assert abs(int(probabilities.sum()) - 2**15) <= outputs
    assert probabilities.max() <= 2**15
    assert probabilities.argmax() == logits.argmax()


def _float_sgd(weights, bias, x, judged, *, loss, rate):
    """Independent float64 SGD; `judged` are classes or targets."""
    weights, bias = weights.astype(np.float64).copy(), bias.astype(np.float64).copy()
    for features, truth in zip(x, judged, strict=True):
        z = weights @ features + bias
        if loss is LossKind.CROSS_ENTROPY:
            e = np.exp(z - z.max())
            g = e / e.sum()
            g[truth] -= 1
        else:
            g = z - truth
        weights -= rate * np.outer(g, features)
        bias -= rate * g
    return weights, bias


@pytest.mark.parametrize("loss", list(LossKind))
@pytest.mark.parametrize("rate", [2e-3, 5e-4])
@pytest.mark.parametrize("residual", list(Residual))
def test_learns_what_float_sgd_learns(loss, rate, residual):
    rng = np.random.default_rng(3)
    outputs, features, steps = 5, 24, 800
    weights = (rng.normal(size=(outputs, features)) * 0.2).astype(np.float32)
    bias = (rng.normal(size=outputs) * 0.2).astype(np.float32)
    scale, zero_point = 0.02, -128
    graph = head_graph(weights, bias, loss=loss, feature_scale=scale, feature_zero_point=zero_point, output_range=8.0)
    plan = plan_training(graph, residual=residual, learning_rate=rate)
    (layer,) = plan.layers
    prototypes = rng.integers(-128, 128, (outputs, features))
    labels = rng.integers(0, outputs, steps)
    x_q = np.clip(prototypes[labels] + rng.integers(-60, 61, (steps, features)), -128, 127).astype(np.int8)
    x = (x_q.astype(np.float64) - zero_point) * scale
    truth = labels if loss is LossKind.CROSS_ENTROPY else x @ (rng.normal(size=(features, outputs)) * 0.2)
    expected_weights, expected_bias = _float_sgd(weights, bias, x, truth, loss=loss, rate=rate)

    if residual is Residual.FLOAT:
        float_head = FloatHead(layer, learning_rate=rate)
        for features_q, judged in zip(x_q, truth, strict=True):
            outputs_now = float_head.forward(features_q)
            if loss is LossKind.CROSS_ENTROPY:
                float_head.learn(features_q, outputs_now, label=int(judged))
            else:
                float_head.learn(features_q, outputs_now, targets=judged.astype(np.float32))
        learned_weights, learned_bias = float_head.weights, float_head.bias
    else:
        head = make_head(plan)
        for features_q, judged in zip(x_q, truth, strict=True):
            step = head.forward(features_q)
            if loss is LossKind.CROSS_ENTROPY:
                head.learn(features_q, step, label=int(judged))
            else:
                head.learn(features_q, step, targets=head.scaled_targets(int16_targets(layer, judged)))
        learned_weights, learned_bias = head.real_weights(), head.real_bias()
    moved = np.abs(expected_weights - weights).max()
    assert moved > 0.02
    # A step of int8 is moved by roundings; without a residual small updates are lost altogether.
    tolerance = {Residual.FLOAT: 1e-3, Residual.INT8: 0.08, Residual.STOCHASTIC: 0.6, Residual.NONE: 1.2}[residual]
    assert np.abs(learned_weights - expected_weights).max() < tolerance * moved
    assert np.abs(learned_bias - expected_bias).max() < tolerance * moved


def test_a_learning_rate_of_zero_learns_nothing():
    rng = np.random.default_rng(0)
    graph = head_graph(rng.normal(size=(3, 4)).astype(np.float32), np.zeros(3, np.float32))
    head = make_head(plan_training(graph, learning_rate=0.0))
    before = head.real_weights()
    features = np.array([1, 2, 3, 4], np.int8)
    head.learn(features, head.forward(features), label=1)
    assert (head.real_weights() == before).all()


def test_reset_forgets_weights_and_keeps_the_learning_rate():
    rng = np.random.default_rng(0)
    graph = head_graph(rng.normal(size=(3, 4)).astype(np.float32), np.zeros(3, np.float32))
    head = make_head(plan_training(graph, learning_rate=1e-3))
    before = head.real_weights()
    head.set_learning_rate(5e-3)
    rate = head.mantissa, head.exponent
    features = np.array([1, 2, 3, 4], np.int8)
    head.learn(features, head.forward(features), label=int(before.sum(axis=1).argmin()))
    assert (head.real_weights() != before).any()
    head.reset()
    assert (head.real_weights() == before).all()
    assert (head.mantissa, head.exponent) == rate
