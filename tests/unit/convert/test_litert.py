"""The interpreter adapter, and quantisation as LiteRT does it."""

from __future__ import annotations

import importlib
import subprocess
import sys

import numpy as np
import pytest

from edgelearn.convert import litert
from edgelearn.convert.litert import ReferenceInterpreter, interpreter_version
from edgelearn.errors import MissingPackageError, ModelFileError
from edgelearn.ir import Quant, dequantize_array, quantize_array
from tests.support.tflite_builder import TfliteBuilder, single_op_model


def test_any_tensor_of_a_run_can_be_read():
    builder = TfliteBuilder(1)
    x = builder.input((1, 6, 6, 2))
    hidden = builder.conv_2d(x, filters=3)
    out = builder.mean(hidden)
    interpreter = ReferenceInterpreter(builder.build(out))
    sample = np.arange(-36, 36, dtype=np.int8).reshape(1, 6, 6, 2)
    tensors = interpreter.run(sample, [x, hidden, out])
    assert np.array_equal(tensors[x], sample)
    assert tensors[hidden].shape == (1, 4, 4, 3)
    assert interpreter.output_index == out
    again = interpreter.run(sample * 0, [hidden])
    assert not np.array_equal(again[hidden], tensors[hidden]), "results are copies"


def test_float_edges_are_fed_so_that_the_int8_tensor_is_exact():
    for seed in range(10):
        builder = TfliteBuilder(seed)
        x = builder.input((1, 256), float_edge=True)
        model = builder.build(builder.dequantize(x))
        sample = np.arange(-128, 128).astype(np.int8)
        assert np.array_equal(ReferenceInterpreter(model).run(sample, [x])[x].reshape(-1), sample)


def test_garbage_is_refused():
    with pytest.raises(ModelFileError, match="refuses"):
        ReferenceInterpreter(b"\0\0\0\0TFL3" + b"\xff" * 40)


def test_the_chatter_stays_off_the_terminal(capfd):
    ReferenceInterpreter(single_op_model("SOFTMAX", shape=(1, 4)))
    assert capfd.readouterr() == ("", "")


def test_version_is_that_of_the_installed_package():
    name, version = interpreter_version()
    assert name in ("ai-edge-litert", "tflite-runtime")
    assert version[0].isdigit()


def test_missing_packages_name_the_extra(monkeypatch):
    def nothing(name: str) -> None:
        raise ModuleNotFoundError(name=name.partition(".")[0])

    monkeypatch.setattr(importlib, "import_module", nothing)
    with pytest.raises(MissingPackageError) as error:
        litert._interpreter_module()
    assert error.value.extra == "litert"


def test_tflite_runtime_is_used_where_only_that_is_installed(monkeypatch):
    real = importlib.import_module

    def only_runtime(name: str):
        if name.startswith("ai_edge_litert"):
            raise ModuleNotFoundError(name="ai_edge_litert")
        return real("json")

    monkeypatch.setattr(importlib, "import_module", only_runtime)
    assert litert._interpreter_module().__name__ == "json"


def test_importing_convert_loads_nothing_heavy():
    code = (
        "import sys, edgelearn.convert; "
        "print([m for m in sys.modules if m.split('.')[0] in ('tensorflow', 'keras', 'ai_edge_litert', 'tflite')])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("seed", range(12))
def test_quantize_array_is_litert_s_quantize(seed):
    builder = TfliteBuilder(seed)
    x = builder.input((1, 3000), float_edge=True)
    scale, zero_point = builder.quant(x)
    scale = np.float32(scale)
    values = np.concatenate(
        [
            builder.rng.normal(size=1500) * scale * 80,
            (builder.rng.integers(-300, 300, 1494) + 0.5) * scale,
            np.array([0.49999997, -0.49999997, 0, 1e6, -1e6, -0.0]) * scale,
        ]
    ).astype(np.float32)[None]
    module = litert._interpreter_module()
    interpreter = module.Interpreter(
        model_content=builder.build(x), experimental_op_resolver_type=module.OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], values)
    interpreter.invoke()
    expected = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    assert np.array_equal(quantize_array(values, Quant(scale=(float(scale),), zero_point=(zero_point,))), expected)


def test_dequantize_array_inverts_and_takes_scales_per_channel():
    quant = Quant(scale=(0.25,), zero_point=(3,))
    q = np.arange(-128, 128).astype(np.int8)
    assert np.array_equal(quantize_array(dequantize_array(q, quant), quant), q)
    rows = Quant(scale=(0.5, 2.0), zero_point=(0, 0), axis=0)
    assert dequantize_array(np.array([[1, 2], [3, 4]], np.int8), rows).tolist() == [[0.5, 1.0], [6.0, 8.0]]
