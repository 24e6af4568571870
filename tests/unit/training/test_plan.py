"""plan_training's numbers against their definitions, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from edgelearn.errors import HeadError, LearningRateError
from edgelearn.ir import LossKind
from edgelearn.recipe import NO_TRAINING, FloatRows, IntegerRows, Residual
from edgelearn.training import make_head, plan_training
from edgelearn.training.head import (
    GROWTH_BITS,
    LARGEST_ROW_T,
    LARGEST_TARGET_SHIFT,
    MOST_FEATURES,
    mantissa_and_exponent,
    smallest_exponent,
    smallest_row_t,
)
from tests.unit.training.heads import head_graph

PLAIN = settings(derandomize=True, deadline=None, database=None, max_examples=150)


@PLAIN
@given(st.floats(1e-30, 1e30))
def test_mantissas_have_15_bits_and_are_nearest(value):
    mantissa, exponent = mantissa_and_exponent(value)
    assert 2**14 <= mantissa < 2**15
    assert abs(math.ldexp(mantissa, -exponent) / value - 1) <= 2.0**-15


@PLAIN
@given(st.integers(1, MOST_FEATURES))
def test_smallest_row_t_is_the_smallest(features):
    t = smallest_row_t(features)
    assert features * 128 * 255 * 2**15 <= 2 ** (30 + t)
    assert t == 0 or features * 128 * 255 * 2**15 > 2 ** (29 + t)


@pytest.mark.parametrize("features", [1, 1029, 40_000, MOST_FEATURES])
@pytest.mark.parametrize("value", [-128, 127])
def test_no_row_leaves_int32_on_the_way_to_its_logit(features, value):
    """Weights and features at their ends, for every t that a row may have; the reference checks each intermediate."""
    weights = np.full((2, features), -128, np.int8)
    weights[1] = 127
    zero_point = 127 if value == -128 else -128
    scale = 2.0 ** -(smallest_row_t(features) + 1)
    graph = head_graph(
        weights, np.zeros(2, np.float32), row_scale=[scale], feature_scale=1.0, feature_zero_point=zero_point
    )
    plan = plan_training(graph, learning_rate=0.0)
    head, t_min = make_head(plan), plan.layers[0].row_t_min
    head.row_m[:] = 2**15 - 1
    x = np.full(features, value, np.int8)
    exact = weights.astype(np.int64).sum(axis=1) * (value - zero_point) * (2**15 - 1)
    for t in range(t_min, LARGEST_ROW_T + 1):
        head.row_t[:] = t
        logits = head.forward(x).logits
        assert np.abs(logits - exact / 2**t).max() <= 1
        assert np.abs(logits).max() <= 2**30


def test_one_feature_more_would_leave_int32():
    accumulator = (MOST_FEATURES + 1) * 128 * 255
    assert accumulator + 2 ** (LARGEST_ROW_T - 16) >= 2**31


@PLAIN
@given(
    seed=st.integers(0, 2**32 - 1),
    outputs=st.integers(1, 9),
    features=st.integers(1, 50),
    log_feature_scale=st.integers(-14, 4),
    log_weight=st.integers(-10, 5),
    log_bias=st.integers(-10, 20),
    loss=st.sampled_from(list(LossKind)),
    output_range=st.sampled_from([None, 0.01, 1.0, 300.0, 1e5]),
)
def test_rows_mean_the_weights(seed, outputs, features, log_feature_scale, log_weight, log_bias, loss, output_range):
    rng = np.random.default_rng(seed)
    feature_scale = 2.0**log_feature_scale * 1.3
    weights = (rng.normal(size=(outputs, features)) * 2.0**log_weight).astype(np.float32)
    weights *= (2.0 ** -rng.uniform(0, 8, (outputs, 1))).astype(np.float32)
    bias = (rng.normal(size=outputs) * 2.0**log_bias).astype(np.float32)
    graph = head_graph(weights, bias, loss=loss, feature_scale=feature_scale, output_range=output_range)
    try:
        plan = plan_training(graph, learning_rate=0.0)
    except HeadError:
        reject()
    (layer,) = plan.layers
    rows, bits = layer.rows, layer.logit_fraction_bits
    assert isinstance(rows, IntegerRows)
    # The scale of each row is the largest weight / 127, but not below 1/32 of the largest row's.
    largest = np.abs(weights).max(axis=1).astype(np.float64)
    row_scale = np.maximum(largest, largest.max() / 32) / 127
    np.testing.assert_allclose(
        [math.ldexp(r, -rho) for r, rho in zip(rows.row_r, rows.row_rho, strict=True)],
        256 * feature_scale / row_scale,
        rtol=2.0**-15,
    )
    products = 2.0**bits * feature_scale * row_scale
    for m, t, product in zip(rows.row_m, rows.row_t, products, strict=True):
        if m == 0:
            assert product < 2.0 ** (15 - LARGEST_ROW_T)
        else:
            assert abs(math.ldexp(m, -t) / product - 1) <= 2.0**-15
        assert layer.row_t_min <= t <= LARGEST_ROW_T
    head = make_head(plan)
    # Rows without a product are nothing in the logits, whatever their weights.
    kept = np.array(rows.row_m) > 0
    error = np.abs(head.real_weights() - weights)[kept] / row_scale[kept, None]
    # Half a step of 1/256, and the mantissa's 2^-15 of 127 steps; an end of the range is cut by half a step more.
    assert (error <= (0.5 / 256 + 127 * 2.0**-15) * 1.01).all()
    np.testing.assert_allclose(head.real_bias(), bias, atol=0.51 * 2.0 ** -(bits + 8), rtol=1e-6)
    assert max(map(abs, rows.bias)) < 2**30
    # The most fraction bits there can be.
    if bits < 16 and loss is LossKind.CROSS_ENTROPY:
        bias_fits = np.abs(bias).max() * 2.0 ** (bits + 9) < 2.0**30
        rows_fit = min(mantissa_and_exponent(p)[1] for p in products) - 1 >= layer.row_t_min + GROWTH_BITS
        assert not (bias_fits and rows_fit)
    if loss is LossKind.SQUARED_ERROR:
        assert layer.gradient_fraction_bits == bits - layer.error_shift
        assert layer.target_shift == layer.error_shift <= LARGEST_TARGET_SHIFT
        if output_range is not None:
            assert 2 * output_range * 2.0**bits / 2.0**layer.error_shift <= 32767
            assert layer.error_shift == 0 or 2 * output_range * 2.0**bits / 2.0 ** (layer.error_shift - 1) > 32767
    else:
        assert layer.gradient_fraction_bits == 15


@pytest.mark.parametrize("scales", [[0.01], [0.01, 0.02, 0.3]])
def test_int8_weights_stay_as_they_are(scales):
    q = np.random.default_rng(0).integers(-127, 128, (3, 5)).astype(np.int8)
    graph = head_graph(q, np.zeros(3, np.float32), row_scale=scales)
    (layer,) = plan_training(graph).layers
    assert layer.rows.weights == q.tobytes()
    assert layer.rows.residual == b""


def test_int8_rows_of_very_small_scales_are_brought_to_the_others():
    q = np.array([[127, -127], [127, -64]], np.int8)
    graph = head_graph(q, np.zeros(2, np.float32), row_scale=[1.0, 1e-4])
    plan = plan_training(graph, learning_rate=0.0)
    np.testing.assert_allclose(make_head(plan).real_weights()[1], [0.0127, -0.0064], atol=1 / 32 / 256)


def test_a_row_of_zeros_takes_the_largest_scale():
    weights = np.array([[1.0, -0.5], [0.0, 0.0], [0.25, 0.25]], np.float32)
    (layer,) = plan_training(head_graph(weights, np.zeros(3, np.float32))).layers
    assert layer.rows.row_r[1] == layer.rows.row_r[0]
    assert layer.rows.row_rho[1] == layer.rows.row_rho[0]
    assert layer.rows.weights[2:4] == b"\0\0"


def test_a_head_of_zeros_can_learn():
    graph = head_graph(np.zeros((3, 4), np.float32), np.zeros(3, np.float32))
    head = make_head(plan_training(graph, learning_rate=1e-2))
    features = np.array([100, -100, 0, 50], np.int8)
    for _ in range(200):
        head.learn(features, head.forward(features), label=2)
    assert head.forward(features).prediction == 2


def test_float_rows_are_the_weights():
    weights = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    (layer,) = plan_training(head_graph(weights, np.ones(3, np.float32)), residual=Residual.FLOAT).layers
    assert isinstance(layer.rows, FloatRows)
    np.testing.assert_allclose(np.frombuffer(layer.rows.weights, "<f4").reshape(3, 4), weights, atol=1e-4)
    assert np.frombuffer(layer.rows.bias, "<f4").tolist() == [1, 1, 1]


def test_nothing_to_train_gives_an_empty_plan():
    graph = head_graph(np.ones((2, 2), np.float32), np.zeros(2, np.float32))
    frozen = tuple(replace(tensor, training=None) for tensor in graph.tensors)
    assert plan_training(replace(graph, tensors=frozen, loss=None)) is NO_TRAINING


@pytest.mark.parametrize(
    ("weights", "bias", "feature_scale", "message"),
    [
        (1.0, 1e9, 0.05, "outputs of dense are too large"),
        (1e6, 0.0, 100.0, "outputs of dense are too large"),
        (1e-30, 0.0, 1e3, "too far apart"),
    ],
)
def test_numbers_beyond_the_fixed_point_are_refused(weights, bias, feature_scale, message):
    graph = head_graph(np.full((2, 3), weights, np.float32), np.full(2, bias, np.float32), feature_scale=feature_scale)
    with pytest.raises(HeadError, match=message):
        plan_training(graph, learning_rate=0.0)


def test_too_many_features_are_refused():
    graph = head_graph(np.zeros((1, MOST_FEATURES + 1), np.int8), np.zeros(1, np.float32), row_scale=[0.1])
    with pytest.raises(HeadError, match=f"at most {MOST_FEATURES:,}"):
        plan_training(graph)


@pytest.mark.parametrize("rate", [-1.0, math.nan, math.inf, 1e9, 1e-30])
def test_senseless_learning_rates_are_refused(rate):
    graph = head_graph(np.ones((2, 3), np.float32), np.zeros(2, np.float32))
    with pytest.raises(LearningRateError):
        plan_training(graph, learning_rate=rate)


def test_the_largest_learning_rate_is_named():
    graph = head_graph(np.full((2, 3), 1e-3, np.float32), np.zeros(2, np.float32))
    (layer,) = plan_training(graph, learning_rate=0.0).layers
    largest = math.ldexp(2**15 - 1, -smallest_exponent(layer))
    plan_training(graph, learning_rate=largest)
    with pytest.raises(LearningRateError, match=r"too large.*give at most") as caught:
        plan_training(graph, learning_rate=largest * 1.01)
    assert float(caught.value.hint.rsplit(" ", 1)[1]) == pytest.approx(largest, rel=0.01)
