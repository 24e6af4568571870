"""The examples run as their first lines say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from edgelearn import pipeline
from tests.support.bundles import write_model
from tests.support.tools import require_tool

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_train_from_python(tmp_path):
    require_tool("cc")
    bundle = pipeline.convert(write_model(tmp_path / "small.tflite"), tmp_path / "small.elb")
    pipeline.generate(bundle, pipeline.host_board(), tmp_path / "firmware")
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "d.npz", x=rng.normal(size=(20, 8, 8, 1)).astype(np.float32), y=rng.integers(0, 4, 20))
    with pipeline.emulate(tmp_path / "firmware") as running:
        argv = [sys.executable, EXAMPLES / "train_from_python.py", running.url, tmp_path / "d.npz"]
        done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "20 samples, classes 0, 1, 2, 3" in done.stdout
    assert "prequential accuracy" in done.stdout


def test_every_example_is_tested():
    assert {path.name for path in EXAMPLES.glob("*.py")} == {"train_from_python.py"}
