"""Small bundles for tests of everything behind `convert`, made in milliseconds without TensorFlow."""

from __future__ import annotations

from pathlib import Path

from tests.support.tflite_builder import TfliteBuilder


def small_model(*, seed: int = 3, softmax: bool = True, units: int = 4) -> bytes:
    """An int8 .tflite: convolution, pooling and two dense layers on an 8 x 8 image."""
    builder = TfliteBuilder(seed)
    x = builder.input((1, 8, 8, 1))
    x = builder.conv_2d(x, filters=4, kernel=(3, 3), padding="same", activation="relu", name="conv")
    x = builder.max_pool_2d(x, kernel=(2, 2), stride=(2, 2))
    x = builder.reshape(x, (1, 64))
    x = builder.fully_connected(x, units=12, activation="relu", name="features")
    x = builder.fully_connected(x, units=units, name="classes")
    return builder.build(builder.softmax(x) if softmax else x)


def write_model(path: Path, **options: int | bool) -> Path:
    """Write a small model; returns its path."""
    path.write_bytes(small_model(**options))  # type: ignore[arg-type]
    return path
