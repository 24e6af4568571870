"""Ten typical Keras networks for microcontrollers, with samples like those they would meet.

Nothing is trained: the weights are random, from a fixed seed, the statistics of the normalisations are those of the
samples, and the last layer is scaled so that the outputs differ from sample to sample. So every layer works with ranges
as a trained network has them, and the same packages give the same networks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import Struct

FloatArray = npt.NDArray[np.float32]

_SEED = 7
#: Standard deviation of the sums that the last softmax or sigmoid takes; random weights alone give almost none.
_SPREAD = 3.0


class Network(Struct, frozen=True, kw_only=True):
    """A network and where its samples come from.

    Attributes:
        name: also of its files.
        about: what it is, for the table.
        build: from the module `keras` and the variant (True for the small one that tests take) to an untouched model,
            which ends in an activation of its own layer.
        samples: from a generator, a number n and the input's shape to samples [n, *shape].
        classes: of a network that ends in a dense layer and a softmax, which edgelearn can train; 0 for others.
    """

    name: str
    about: str
    build: Callable[[Any, bool], Any]
    samples: Callable[[np.random.Generator, int, tuple[int, ...]], FloatArray]
    classes: int = 0


def make(network: Network, keras: Any, calibration: int = 100, *, small: bool = False) -> tuple[Any, FloatArray]:
    """The network with its weights, and the samples its ranges were set with, [calibration, *shape]."""
    keras.utils.set_random_seed(_SEED)
    generator = np.random.default_rng(_SEED)
    model = network.build(keras, small)
    x = network.samples(generator, calibration, tuple(model.input_shape[1:]))
    for weight in model.weights:
        kind = weight.path.rpartition("/")[2]
        if kind in ("bias", "beta"):
            weight.assign(weight + generator.normal(0.0, 0.1, weight.shape))
        elif kind == "gamma":
            weight.assign(generator.normal(1.0, 0.1, weight.shape))
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0  # the statistics become those of the one batch that follows
    model(x, training=True)
    _spread(keras, model, x)
    return model, x


def _spread(keras: Any, model: Any, x: FloatArray) -> None:
    """Scale the last layer with weights so that what it gives varies from sample to sample, around zero."""
    last = model.layers[-2]
    sums = np.asarray(keras.Model(model.input, last.output)(x)).reshape(-1, last.bias.shape[0])
    factor = _SPREAD / sums.std(axis=0)
    last.kernel.assign(np.asarray(last.kernel) * factor)
    last.bias.assign((np.asarray(last.bias) - sums.mean(axis=0)) * factor)


# The samples


def photographs(generator: np.random.Generator, number: int, shape: tuple[int, ...]) -> FloatArray:
    """Pieces of scikit-learn's two photographs, each 1 to 8 times as large as the sample, 0 to 1."""
    from sklearn.datasets import load_sample_images

    height, width, channels = shape
    samples = np.empty((number, *shape), np.float32)
    pictures = [picture.astype(np.float32) / 255.0 for picture in load_sample_images().images]
    for sample in samples:
        picture = pictures[generator.integers(len(pictures))]
        largest = min(8, picture.shape[0] // height, picture.shape[1] // width)
        step = int(generator.integers(1, largest + 1))
        top = int(generator.integers(picture.shape[0] - step * height + 1))
        left = int(generator.integers(picture.shape[1] - step * width + 1))
        piece = picture[top : top + step * height, left : left + step * width]
        piece = piece.reshape(height, step, width, step, 3).mean(axis=(1, 3))
        sample[:] = piece if channels == 3 else piece.mean(axis=2, keepdims=True)
    return samples


def motion(generator: np.random.Generator, number: int, shape: tuple[int, ...]) -> FloatArray:
    """Windows of an accelerometer in g, [steps, axes]: gravity, a movement that repeats, drift and noise; 50 Hz."""
    steps, axes = shape
    seconds = np.arange(steps)[:, None] / 50.0
    samples = np.empty((number, *shape), np.float32)
    for sample in samples:
        gravity = generator.normal(size=axes)
        wave = np.zeros((steps, axes))
        for harmonic in (1, 2, 3):
            size = generator.exponential(0.5 / harmonic, axes)
            frequency = harmonic * generator.uniform(0.5, 3.0)
            wave += size * np.sin(2 * np.pi * (frequency * seconds + generator.uniform(size=axes)))
        drift = generator.normal(0.0, 0.02, shape).cumsum(axis=0)
        sample[:] = gravity / np.linalg.norm(gravity) + wave + drift + generator.normal(0.0, 0.03, shape)
    return samples


def spectrogram(generator: np.random.Generator, number: int, shape: tuple[int, ...]) -> FloatArray:
    """Logarithms of the power of a sound, [frames, bands, 1]: tones with overtones that come and go over noise."""
    frames, bands = shape[:2]
    hop, rate = 160, 16_000
    time_s = np.arange(frames * hop) / rate
    edges = np.geomspace(3, hop + 1, bands + 1).astype(int)
    edges = np.maximum(edges, np.arange(bands + 1))
    samples = np.empty((number, *shape), np.float32)
    for sample in samples:
        sound = generator.normal(0.0, 0.01, len(time_s))
        for _ in range(3):
            start, length = generator.uniform(0, time_s[-1]), generator.uniform(0.05, 0.4)
            pitch = generator.uniform(90, 400) * np.exp(generator.normal(0.0, 0.3) * time_s)
            phase = 2 * np.pi * np.cumsum(pitch) / rate
            envelope = np.exp(-(((time_s - start) / length) ** 2))
            sound += envelope * sum(np.sin(k * phase) / k for k in range(1, 20))
        power = np.abs(np.fft.rfft(sound.reshape(frames, hop) * np.hanning(hop), 2 * hop, axis=1)) ** 2
        for band in range(bands):
            sample[:, band, 0] = np.log10(power[:, edges[band] : edges[band + 1] + 1].mean(axis=1) + 1e-6)
    return samples


def features(generator: np.random.Generator, number: int, shape: tuple[int, ...]) -> FloatArray:
    """The spectra of three axes of `motion`, one after another."""
    bins = shape[0] // 3
    windows = motion(generator, number, (2 * bins, 3))
    spectra = np.abs(np.fft.rfft(windows, axis=1))[:, 1 : bins + 1] / bins
    return np.log10(spectra + 1e-3).transpose(0, 2, 1).reshape(number, -1).astype(np.float32)


# The networks


def _small_cnn(keras: Any, small: bool) -> Any:
    layers = keras.layers
    size, width = (12, 4) if small else (32, 16)
    x = inputs = keras.Input((size, size, 3))
    for factor in (1, 2, 4)[: 2 if small else 3]:
        x = layers.Conv2D(width * factor, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Dense(4 * width, activation="relu")(layers.Flatten()(x))
    return keras.Model(inputs, layers.Softmax()(layers.Dense(10)(x)))


def _ds_cnn(keras: Any, small: bool) -> Any:
    # Zhang et al., "Hello Edge: Keyword Spotting on Microcontrollers" (2017), DS-CNN of medium size.
    layers = keras.layers
    frames, width, blocks = (20, 12, 2) if small else (49, 172, 4)
    x = inputs = keras.Input((frames, 10, 1))
    x = layers.Conv2D(width, (10, 4), strides=(2, 1), padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    for block in range(blocks):
        stride = 2 if block == 0 else 1
        x = layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.Conv2D(width, 1, use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Softmax()(layers.Dense(12)(x)))


def _mobilenet(keras: Any, small: bool) -> Any:
    # Howard et al., "MobileNets" (2017), then Sandler et al., "MobileNetV2" (2018), with Keras's own way of padding.
    layers = keras.layers
    size = 24 if small else 48

    def normalised(x: Any, *, relu: bool = True) -> Any:
        x = layers.BatchNormalization()(x)
        return layers.ReLU(6.0)(x) if relu else x

    def depthwise(x: Any, stride: int) -> Any:
        if stride == 2:
            x = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
        padding = "valid" if stride == 2 else "same"
        return normalised(layers.DepthwiseConv2D(3, strides=stride, padding=padding, use_bias=False)(x))

    x = inputs = keras.Input((size, size, 3))
    x = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
    x = normalised(layers.Conv2D(8, 3, strides=2, use_bias=False)(x))
    for filters, stride in ((16, 1), (24, 2))[: 1 if small else 2]:
        x = normalised(layers.Conv2D(filters, 1, use_bias=False)(depthwise(x, stride)))
    for filters, stride in ((16, 2), (16, 1)) if small else ((24, 1), (32, 2), (32, 1), (64, 2), (64, 1)):
        before = x
        x = normalised(layers.Conv2D(6 * x.shape[-1], 1, use_bias=False)(x))
        x = normalised(layers.Conv2D(filters, 1, use_bias=False)(depthwise(x, stride)), relu=False)
        if stride == 1 and before.shape[-1] == filters:
            x = layers.Add()([before, x])
    x = normalised(layers.Conv2D(32 if small else 256, 1, use_bias=False)(x))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Softmax()(layers.Dense(10)(x)))


def _resnet(keras: Any, small: bool) -> Any:
    # He et al., "Deep Residual Learning" (2015), with 13 convolutions on the main path.
    layers = keras.layers
    size, widths, blocks = (12, (4, 8), 1) if small else (32, (24, 48, 64), 2)

    def convolution(x: Any, filters: int, kernel: int, stride: int) -> Any:
        return layers.BatchNormalization()(layers.Conv2D(filters, kernel, strides=stride, padding="same")(x))

    x = inputs = keras.Input((size, size, 3))
    x = layers.ReLU()(convolution(x, widths[0], 3, 2))
    for stack, filters in enumerate(widths):
        for block in range(blocks):
            stride = 2 if stack and not block else 1
            before = x if stride == 1 else convolution(x, filters, 1, stride)
            x = layers.ReLU()(convolution(x, filters, 3, stride))
            x = layers.ReLU()(layers.Add()([before, convolution(x, filters, 3, 1)]))
    x = layers.Flatten()(layers.AveragePooling2D(x.shape[1])(x))
    return keras.Model(inputs, layers.Softmax()(layers.Dense(10)(x)))


def _tcn(keras: Any, small: bool) -> Any:
    # Bai, Kolter and Koltun, "Generic Convolutional and Recurrent Networks for Sequence Modeling" (2018).
    layers = keras.layers
    steps, width, dilations = (24, 8, (1, 4)) if small else (128, 32, (1, 2, 4, 8))
    x = inputs = keras.Input((steps, 3))
    for dilation in dilations:
        before = x if x.shape[-1] == width else layers.Conv1D(width, 1)(x)
        for _ in range(2):
            x = layers.Conv1D(width, 3, padding="causal", dilation_rate=dilation, activation="relu")(x)
        x = layers.ReLU()(layers.Add()([before, x]))
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, layers.Softmax()(layers.Dense(4)(x)))


def _autoencoder(keras: Any, small: bool) -> Any:
    layers = keras.layers
    size, width, code = (8, 4, 8) if small else (32, 16, 24)
    x = inputs = keras.Input((size, size, 1))
    for filters in (width, 2 * width):
        x = layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    shape = x.shape[1:]
    x = layers.BatchNormalization()(layers.Dense(code, use_bias=False)(layers.Flatten()(x)))
    x = layers.Reshape(shape)(layers.Dense(int(np.prod(shape)), activation="relu")(x))
    x = layers.Conv2DTranspose(width, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.Conv2DTranspose(1, 3, strides=2, padding="same")(x)
    return keras.Model(inputs, layers.Activation("sigmoid")(x))


def _lstm(keras: Any, small: bool) -> Any:
    layers = keras.layers
    steps, units = (8, 6) if small else (64, 48)
    x = inputs = keras.Input((steps, 6))
    x = layers.LSTM(units, return_sequences=True)(x)
    x = layers.LSTM(units)(x)
    return keras.Model(inputs, layers.Softmax()(layers.Dense(6)(x)))


def _mlp(keras: Any, small: bool) -> Any:
    layers = keras.layers
    x = inputs = keras.Input((24 if small else 192,))
    for units in (16, 8) if small else (128, 64, 32):
        x = layers.Dense(units, activation="relu")(x)
    return keras.Model(inputs, layers.Softmax()(layers.Dense(6)(x)))


def _unet(keras: Any, small: bool) -> Any:
    # Ronneberger, Fischer and Brox, "U-Net" (2015), of two levels, with resizing in place of transposed convolutions.
    layers = keras.layers
    size, width = (12, 4) if small else (48, 8)

    def twice(x: Any, filters: int) -> Any:
        for _ in range(2):
            x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        return x

    inputs = keras.Input((size, size, 3))
    first = twice(inputs, width)
    second = twice(layers.MaxPooling2D()(first), 2 * width)
    x = twice(layers.MaxPooling2D()(second), 4 * width)
    for before, interpolation in ((second, "nearest"), (first, "bilinear")):
        x = layers.Concatenate()([before, layers.UpSampling2D(interpolation=interpolation)(x)])
        x = twice(x, before.shape[-1])
    return keras.Model(inputs, layers.Activation("sigmoid")(layers.Conv2D(1, 1)(x)))


def _squeeze_excite(keras: Any, small: bool) -> Any:
    # Hu, Shen and Sun, "Squeeze-and-Excitation Networks" (2018).
    layers = keras.layers
    size, widths = (12, (8, 12)) if small else (32, (16, 32, 64))
    x = inputs = keras.Input((size, size, 3))
    for filters in widths:
        x = layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        scale = layers.GlobalAveragePooling2D(keepdims=True)(x)
        scale = layers.Conv2D(filters // 4, 1, activation="relu")(scale)
        scale = layers.Conv2D(filters, 1, activation="sigmoid")(scale)
        x = layers.Multiply()([x, scale])
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Softmax()(layers.Dense(10)(x)))


NETWORKS = (
    Network(
        name="small_cnn",
        about="3 convolutions and pooling, 32x32x3",
        build=_small_cnn,
        samples=photographs,
        classes=10,
    ),
    Network(
        name="ds_cnn",
        about="keyword spotting, DS-CNN M, 49x10",
        build=_ds_cnn,
        samples=spectrogram,
        classes=12,
    ),
    Network(
        name="mobilenet",
        about="MobileNet v1 and v2 blocks, 48x48x3",
        build=_mobilenet,
        samples=photographs,
        classes=10,
    ),
    Network(
        name="resnet",
        about="residual blocks with ADD, 32x32x3",
        build=_resnet,
        samples=photographs,
        classes=10,
    ),
    Network(
        name="tcn",
        about="dilated convolutions over time, 128x3",
        build=_tcn,
        samples=motion,
        classes=4,
    ),
    Network(
        name="autoencoder",
        about="convolutions and transposed ones, 32x32",
        build=_autoencoder,
        samples=photographs,
    ),
    Network(
        name="lstm",
        about="two LSTM layers, 64x6",
        build=_lstm,
        samples=motion,
        classes=6,
    ),
    Network(
        name="mlp",
        about="4 dense layers, 192",
        build=_mlp,
        samples=features,
        classes=6,
    ),
    Network(
        name="unet",
        about="U-Net with concatenation and resizing, 48x48x3",
        build=_unet,
        samples=photographs,
    ),
    Network(
        name="squeeze_excite",
        about="squeeze-and-excite with MUL and LOGISTIC, 32x32x3",
        build=_squeeze_excite,
        samples=photographs,
        classes=10,
    ),
)
