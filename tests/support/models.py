"""Where the shared reference models are; tests that need one skip by its name where it is absent."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.tools import OPTIONAL

MODELS = Path(__file__).parents[3] / "shared" / "models"
REFERENCE_MODELS = ("kws_ref_model", "pretrainedResnet_quant", "ad01_int8")


def reference_model(name: str) -> Path:
    """The path of a reference model; skips the test where it is absent."""
    path = MODELS / f"{name}.tflite"
    if not path.is_file():
        pytest.skip(f"{OPTIONAL}{name}.tflite is not in {MODELS}")
    return path
