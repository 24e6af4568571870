"""The viper kernels on 32-bit MicroPython give the bytes of the LiteRT reference kernels.

The models are those that the other vector tests draw, a few of each op; all of them run in one process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

import numpy as np
import numpy.typing as npt
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from edgelearn.convert.litert import ReferenceInterpreter
from edgelearn.errors import ModelFileError, UnsupportedOpError
from tests.support.firmware import load_graph
from tests.support.viper import Model, frozen_model, run_models
from tests.vectors import models, test_convolution, test_dense

Case = tuple[bytes, npt.NDArray[np.int8], npt.NDArray[np.int8]]


class Collector:
    """Takes the place of `assert_same_bytes`: keeps the model, samples and what the reference kernels make of them."""

    def __init__(self) -> None:
        self.cases: list[Case] = []

    def __call__(
        self, model: bytes, inputs: npt.NDArray[np.int8], *, dsp: bool | None = None
    ) -> npt.NDArray[np.int8]:
        try:
            oracle = ReferenceInterpreter(model)
        except ModelFileError:
            reject()
        index = oracle.output_index
        expected = np.stack([oracle.run(sample, [index])[index].reshape(-1) for sample in inputs])
        self.cases.append((model, inputs, expected))
        return expected
