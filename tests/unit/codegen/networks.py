"""Networks of the size of the MLPerf Tiny models, and the models themselves where they lie beside the checkout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgelearn.convert.head import mark_head
from edgelearn.ir import Graph
from tests.support.firmware import load_graph
from tests.support.tflite_builder import TfliteBuilder

#: `../shared/models` of the checkout, if it is there.
_BESIDE = Path(__file__).resolve().parents[4] / "shared" / "models"


def _usual(make: Callable[[float], tuple[TfliteBuilder, int, int]]) -> bytes:
    """The model with such an input scale that the features before its last layer have one of 0.05, as trained ones do.

    `make` takes the input's scale and gives the builder, the features and the output.
    """
    builder, features, _ = make(1.0)
    builder, _, out = make(0.05 / builder.quant(features)[0])
    return builder.build(out)


def _keyword_spotting(scale: float) -> tuple[TfliteBuilder, int, int]:
    b = TfliteBuilder(1)
    x = b.input((1, 49, 10, 1), scale=scale)
    x = b.conv_2d(x, filters=64, kernel=(10, 4), stride=(2, 2), padding="same", activation="relu")
    for _ in range(4):
        x = b.depthwise_conv_2d(x, padding="same", activation="relu")
        x = b.conv_2d(x, filters=64, kernel=(1, 1), activation="relu")
    x = b.reshape(b.average_pool_2d(x, kernel=(25, 5), stride=(25, 5)), (1, 64))
    return b, x, b.softmax(b.fully_connected(x, units=12))


def _residual_network(scale: float) -> tuple[TfliteBuilder, int, int]:
    b = TfliteBuilder(2)
    x = b.input((1, 32, 32, 3), scale=scale)
    x = b.conv_2d(x, filters=16, padding="same", activation="relu")
    y = b.conv_2d(b.conv_2d(x, filters=16, padding="same", activation="relu"), filters=16, padding="same")
    x = b.add(x, y, activation="relu")
    y = b.conv_2d(x, filters=32, stride=(2, 2), padding="same", activation="relu")
    y = b.conv_2d(y, filters=32, padding="same")
    x = b.add(b.conv_2d(x, filters=32, kernel=(1, 1), stride=(2, 2), padding="same"), y, activation="relu")
    x = b.mean(x)
    return b, x, b.softmax(b.fully_connected(x, units=10))


def _autoencoder(scale: float) -> tuple[TfliteBuilder, int, int]:
    b = TfliteBuilder(3)
    x = b.input((1, 640), scale=scale)
    for units in (128, 128, 128, 128, 8, 128, 128, 128, 128):
        x = b.fully_connected(x, units=units, activation="relu")
    return b, x, b.fully_connected(x, units=640, name="last")


def _small(scale: float) -> tuple[TfliteBuilder, int, int]:
    b = TfliteBuilder(4)
    x = b.max_pool_2d(b.conv_2d(b.input((1, 6, 6, 1), scale=scale), filters=3, activation="relu", name="first"))
    x = b.reshape(x, (1, 12))
    return b, x, b.softmax(b.fully_connected(x, units=3, name="head"))


def keyword_spotting() -> bytes:
    """Depthwise separable convolutions, as in MLPerf Tiny's keyword spotting."""
    return _usual(_keyword_spotting)


def residual_network() -> bytes:
    """Convolutions with branches, as in its image classification."""
    return _usual(_residual_network)


def autoencoder() -> bytes:
    """Dense layers to as many outputs as inputs, as in its anomaly detection."""
    return _usual(_autoencoder)


def small() -> bytes:
    """One convolution and a head."""
    return _usual(_small)


def models() -> dict[str, Callable[[], bytes]]:
    """The bytes of each model, by name."""
    made = {function.__name__: function for function in (keyword_spotting, residual_network, autoencoder, small)}
    return made | {path.stem: path.read_bytes for path in sorted(_BESIDE.glob("*.tflite"))}


def trainable(model: bytes) -> Graph:
    """The graph with its last dense layer as the head."""
    return mark_head(load_graph(model)).graph
