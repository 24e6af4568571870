"""Readable names from the names in model files."""

from __future__ import annotations

import pytest

from edgelearn.convert.naming import UniqueNames, layers_by_scope, op_name, tensor_name

LONG = (
    "functional_1/activation_2/Relu;functional_1/batch_normalization_2/FusedBatchNormV3;"
    "functional_1/conv2d_1/BiasAdd/ReadVariableOp/resource;functional_1/conv2d_1/BiasAdd;"
    "functional_1/conv2d_4/Conv2D;functional_1/conv2d_1/Conv2D1"
)


@pytest.mark.parametrize(
    ("code", "output", "weight", "name"),
    [
        ("CONV_2D", LONG, "functional_1/conv2d_1/Conv2D", "conv2d_1"),
        ("CONV_2D", "m/batch_normalization_2/FusedBatchNormV3;m/conv2d_2/Conv2D", "m/conv2d_2/Conv2D", "conv2d_2"),
        ("CONV_2D", "conv", "conv/weight", "conv"),
        ("CONV_2D", "tensor_7", "tensor_3", "conv2d"),
        ("DEPTHWISE_CONV_2D", "m/re_lu_1/Relu6;m/dw_1/depthwise;m/bn/Rsqrt1", "m/bn/mul;m/dw_1/depthwise", "dw_1"),
        ("FULLY_CONNECTED", "Identity", "functional_1/dense_9/MatMul", "dense_9"),
        ("FULLY_CONNECTED", "StatefulPartitionedCall:0", "", "dense"),
        ("FULLY_CONNECTED", "m/dense_1/Tensordot;m/dense_1/Relu", "m/dense_1/Tensordot/MatMul", "dense_1"),
        ("FULLY_CONNECTED", "m/dense_1/Tensordot", "", "dense_1"),
        ("CONV_2D", "convolution2", "convolution", "conv2d"),
        ("UNIDIRECTIONAL_SEQUENCE_LSTM", "tfl.unidirectional_sequence_lstm", "arith.constant", "lstm"),
        ("ADD", "model/activation_2/Relu;model/add/add", "", "add"),
        ("SOFTMAX", "Identity_int8", "", "softmax"),
        ("SOFTMAX", "model/probs/Softmax", "", "probs"),
        ("MAX_POOL_2D", "f/max_pooling2d_1/MaxPool2d", "", "max_pooling2d_1"),
        ("RESHAPE", "my flatten-1", "", "my_flatten_1"),
        ("RESHAPE", "", "", "reshape"),
    ],
)
def test_op_names(code, output, weight, name):
    assert op_name(code, output, weight) == name


@pytest.mark.parametrize(
    ("name", "expected"),
    [("serving_default_input_layer:0", "input_layer"), ("input_1", "input_1"), ("", "input"), ("1x", "_1x")],
)
def test_input_names(name, expected):
    assert tensor_name(name) == expected


def test_names_stay_unique():
    names = UniqueNames()
    assert [names.take("a"), names.take("a"), names.take("a_2"), names.take("a")] == ["a", "a_2", "a_2_2", "a_3"]


def test_scopes_that_keras_numbered_twice_are_mapped_back():
    layers = ["dense", "dense_1", "pool"]
    assert layers_by_scope({"f", "dense_1", "dense_1_2", "pool_1"}, layers) == {
        "dense_1": "dense",
        "dense_1_2": "dense_1",
        "pool_1": "pool",
    }
    assert layers_by_scope({"f", "dense", "dense_1", "pool"}, layers) == {}
