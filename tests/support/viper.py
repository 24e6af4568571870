"""Models on the viper kernels, in real MicroPython: many of them in one process, because to start it is what costs."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from edgelearn import resources
from edgelearn.board import Output, load_board
from edgelearn.codegen.plan import Kernels, Plan, plan_firmware
from edgelearn.codegen.tables import Region, Tables, make_tables
from edgelearn.codegen.viper import MODULE_HEAP_BYTES, file_of, source_of
from edgelearn.ir import Graph
from edgelearn.machine_code import load_layouts
from edgelearn.recipe import NO_TRAINING, TrainingPlan
from tests.support.firmware import MODEL_HASH
from tests.support.micropython import armhf

DEVICE = resources.firmware_folder() / "micropython" / "device"


def sources() -> dict[str, str]:
    """All code for MicroPython by file name: as it lies there, and what is written for each package."""
    written = {f"{file}.py": source_of(file) for file in MODULE_HEAP_BYTES}
    return {path.name: path.read_text(encoding="utf-8") for path in DEVICE.glob("*.py")} | written


_RUNNER = Path(__file__).with_name("viper_device.py")
_HEAP_BYTES = 1024 * 1024
_TIMEOUT_S = 240.0


class Run(Struct, frozen=True, kw_only=True):
    """One execution of a list of calls.

    Attributes:
        name: of the list.
        words: arguments: offset in the tables, value, and the region that it is an offset in.
        inputs: offset in RAM and bytes.
        is_read: whether the outputs are brought back.
    """

    name: str = "predict"
    words: tuple[tuple[int, int, Region], ...] = ()
    inputs: tuple[tuple[int, bytes], ...] = ()
    is_read: bool = True


class Model(Struct, frozen=True, kw_only=True):
    """Tables, what to run, and what to bring back: regions, offsets and sizes.

    Attributes:
        more_ram_bytes: behind what the tables ask for.
    """

    tables: Tables
    runs: tuple[Run, ...]
    outputs: tuple[tuple[Region, int, int], ...]
    more_ram_bytes: int = 0


class Result(Struct, frozen=True, kw_only=True):
    """What a run gave: bytes that it left on the heap, the value of its last call, and the outputs."""

    kept_bytes: int
    value: int
    outputs: bytes


def viper_plan(graph: Graph, training: TrainingPlan = NO_TRAINING) -> Plan:
    """The plan with viper kernels."""
    return plan_firmware(
        graph,
        load_board("nano33ble"),
        training,
        model_hash=MODEL_HASH,
        labels=(),
        output=Output.MICROPYTHON,
        kernels=Kernels.VIPER,
    )


def frozen_model(graph: Graph, samples: npt.NDArray[np.generic]) -> Model:
    """A model that is only run: one run for each row of samples, which holds the bytes of all inputs."""
    made = viper_plan(graph)
    tables = make_tables(made, load_layouts())
    runs = []
    for sample in samples:
        left = sample.tobytes()
        inputs = []
        for end in made.inputs:
            assert end.place is not None
            size = end.tensor.size_bytes
            inputs.append((end.place.offset, left[:size]))
            left = left[size:]
        runs.append(Run(inputs=tuple(inputs)))
    ends = [(Region.RAM, end.place.offset, end.tensor.size_bytes) for end in made.outputs if end.place]
    return Model(tables=tables, runs=tuple(runs), outputs=tuple(ends))


def run_models(models: Sequence[Model]) -> list[list[Result]]:
    """Run all of them in one process; a list of results for each."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "models").open("wb") as file:
            for model in models:
                tables = model.tables
                line = {
                    "tables_bytes": len(tables.tables),
                    "weights_bytes": len(tables.weights),
                    "ram_bytes": tables.ram_bytes + model.more_ram_bytes,
                    "places": tables.places,
                    "functions": [(function, file_of(function)) for function in tables.functions],
                    "lists": tables.lists,
                    "outputs": model.outputs,
                    "runs": [
                        (run.name, run.words, [(offset, len(data)) for offset, data in run.inputs], run.is_read)
                        for run in model.runs
                    ],
                }
                file.write(json.dumps(line).encode() + b"\n" + tables.tables + tables.weights)
                file.writelines(data for run in model.runs for _, data in run.inputs)
        files = {name: text.encode() for name, text in sources().items()}
        done = armhf.run(
            _RUNNER.read_text(encoding="utf-8"),
            heap_bytes=_HEAP_BYTES,
            files=files,
            arguments=("models",),
            folder=folder,
            timeout_s=_TIMEOUT_S,
        )
    if done.exit_code:
        raise AssertionError(done.output)
    lines = iter(done.output.splitlines())
    return [[_result(next(lines)) for _ in model.runs] for model in models]


def _result(line: str) -> Result:
    kept, value, outputs = line.split()
    return Result(kept_bytes=int(kept), value=int(value), outputs=bytes.fromhex(outputs.strip("-")))
