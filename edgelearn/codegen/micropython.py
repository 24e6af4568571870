"""Plan -> {path: contents}: the package that MicroPython imports as `model`, and main.py, which speaks the link.

The kernels are machine code where the processor knows Thumb instructions, else viper; tables.py has the bytes that both
work with. What is of this model alone is facts.py, the tables, the weights and the kernels' code.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from edgelearn import __version__, resources
from edgelearn.board import Board, Core
from edgelearn.codegen.emit import comment, describe
from edgelearn.codegen.plan import WINDOW, End, Kernels, Plan
from edgelearn.codegen.render import render
from edgelearn.codegen.tables import Region, Tables, make_tables
from edgelearn.codegen.viper import MODULE_HEAP_BYTES, file_of, source_of
from edgelearn.errors import DoesNotFitError, OptionError, UnsupportedOpError
from edgelearn.ir import LossKind
from edgelearn.machine_code import LIBRARIES, Linked, link, load_layouts, load_library
from edgelearn.project import FILE_NAME, encode_project
from edgelearn.protocol import CRC_BYTES, HEADER_BYTES, LossCode, ResidualCode, TensorType, constant_values, pack_record
from edgelearn.recipe import Residual

#: The folder of a package, and the file of its weights there.
PACKAGE, WEIGHTS = "model", "weights.bin"
_MAIN = "main.py"
#: Stays with the project: the same model in plain Python, for people to read and to compare with.
_REFERENCE = "reference.py"
#: Of the package -> what it is in the device code.
_DEVICE_FILES = {"__init__.py": "model.py", "memory.py": "memory.py", "store.py": "store.py"}
_LINK = "link.py"
DISPATCHER = "elearn_run_calls"
_WORDS_PER_LINE = 8
#: Of the function that holds the kernels, before their code and after it.
_ENTRY_BYTES = 14
#: What all modules but the kernels' take of the heap with their objects, measured on MicroPython 1.25; a test keeps the
#: whole within 2 % or 512 bytes. Learning takes the store, and makes the table of names double, which it does at 300.
_PYTHON_BYTES, _PYTHON_LEARNING_BYTES = 28_860, 6_420
#: With viper: what each module of kernels takes beside its code.
_MODULE_BYTES = 130
#: Bytes of a block of the heap, of which every object takes whole ones.
_BLOCK_BYTES = 16
#: What must stay free beside it all, for files that are open and programs of somebody's own.
HEAP_RESERVE_BYTES = 4_096
#: A line of link.py in whose place the constants of the protocol come.
_CONSTANTS_MARKER = "# Constants of the protocol\n"


class PackageNeed(Struct, frozen=True, kw_only=True):
    """What a package takes of a board, in bytes.

    Attributes:
        heap: part -> bytes of MicroPython's heap once the link runs; what Python itself takes is an estimate.
    """

    heap: Mapping[str, int]

    @property
    def heap_bytes(self) -> int:
        """All parts."""
        return sum(self.heap.values())

    def heap_on(self, board: Board) -> Mapping[str, int]:
        """The parts that the board's heap must hold: without the weights where they are read in place, in ROM."""
        python = board.micropython
        in_place = python is not None and self.heap["weights"] <= python.romfs_bytes
        return {**self.heap, "weights": 0} if in_place else self.heap

    def needed_bytes(self, board: Board) -> int:
        """What the board's heap must have: these, and what must stay free."""
        return sum(self.heap_on(board).values()) + HEAP_RESERVE_BYTES


def package_need(plan: Plan) -> PackageNeed:
    """What the package of a plan takes; see `emit_micropython`.

    Raises:
        UnsupportedOpError: an op has no kernel.
    """
    tables = make_tables(plan, load_layouts())
    linked = link_kernels(plan, tables) if plan.kernels is Kernels.NATIVE else None
    return _need(plan, tables, linked)


def _need(plan: Plan, tables: Tables, linked: Linked | None) -> PackageNeed:
    head = plan.head
    has_targets = head is not None and head.loss is LossKind.SQUARED_ERROR
    if linked:
        kernels_bytes = _blocks(len(linked.code) + _ENTRY_BYTES)
    else:
        modules = {file_of(function) for function in tables.functions}
        kernels_bytes = sum(MODULE_HEAP_BYTES[name] + _MODULE_BYTES for name in modules)
    parts = {
        "weights": _blocks(len(tables.weights)),
        "the arena and the trainable layer": _blocks(tables.ram_bytes),
        "tables": _blocks(len(tables.tables)),
        "kernels": kernels_bytes,
        "the names of the classes": _blocks(len(_labels(plan))),
        "the link's longest frame": _blocks(HEADER_BYTES + CRC_BYTES + plan.max_payload_bytes),
        "targets": _blocks(2 * head.outputs) if head and has_targets else 0,
        "Python's code and objects": _PYTHON_BYTES + (_PYTHON_LEARNING_BYTES if head else 0),
    }
    return PackageNeed(heap=parts)


def _blocks(size_bytes: int) -> int:
    return size_bytes + -size_bytes % _BLOCK_BYTES


def check_heap(board: Board, needed: PackageNeed) -> None:
    """Refuse what a board's heap cannot hold, without the weights where the board reads them in place, in ROM.

    Raises:
        DoesNotFitError: with both numbers and what is largest.
    """
    python = board.micropython
    available = python.heap_bytes if python else 0
    needed_bytes = needed.needed_bytes(board)
    if needed_bytes <= available:
        return
    part, size = max(needed.heap_on(board).items(), key=lambda item: item[1])
    raise DoesNotFitError(
        memory="MicroPython's heap",
        needed_bytes=needed_bytes,
        available_bytes=available,
        board=board.name,
        cause=f"the largest part is {part}: {size:,} bytes; {HEAP_RESERVE_BYTES:,} stay free to work in",
        hint="generate C for it, whose weights stay in flash, or choose a board with more RAM",
    )


def _check_residual(plan: Plan) -> None:
    if plan.residual is Residual.FLOAT:
        raise OptionError(
            "a head in floating point exists in C only", hint="--residual int8, stochastic or none with MicroPython"
        )


def check_package(plan: Plan) -> None:
    """Refuse a plan whose package the board cannot take.

    Raises:
        OptionError, DoesNotFitError, UnsupportedOpError: as for `emit_micropython`.
    """
    _check_residual(plan)
    check_heap(plan.board, package_need(plan))


def link_kernels(plan: Plan, tables: Tables) -> Linked:
    """The machine code of all functions that the tables call.

    Raises:
        UnsupportedOpError: a kernel has no machine code, for it computes in floating point and the core cannot.
    """
    library = load_library(LIBRARIES[plan.board.core])
    missing = [name for name in tables.functions if name not in library.functions]
    if missing:
        ops = tuple(
            f"{step.op.TITLE} (op #{step.op.index})"
            for step in plan.steps
            if step.call and step.call.function in missing
        )
        raise UnsupportedOpError(
            ops,
            hint=f"{plan.board.name} computes no floating point: convert the model with int8 inputs and outputs, "
            "or generate bare metal C",
        )
    return link(library, (DISPATCHER, *tables.functions))


def with_offsets(tables: Tables, linked: Linked) -> bytes:
    """The tables with each function's place in the code instead of its number."""
    contents = bytearray(tables.tables)
    for at, region in tables.places:
        if region is Region.FUNCTION:
            (number,) = struct.unpack_from("<I", contents, at)
            struct.pack_into("<I", contents, at, linked.offsets[tables.functions[number - 1]])
    return bytes(contents)


def _tables_file(tables: Tables, contents: bytes) -> bytes:
    """The tables, then the places of addresses: offset, and the region in the lowest two bits."""
    places = [at | region for at, region in tables.places if region is not Region.FUNCTION]
    return contents + struct.pack(f"<{len(places)}I", *places)


def native_module(linked: Linked) -> str:
    """The module whose one function is all machine code of the kernels.

    Its first instruction, which saves registers, takes two bytes; then calls to the code and to the function's end, and
    one instruction that does nothing, so that the code begins at a multiple of four. BL reaches further than B, and
    the register that it takes is saved.
    """
    words = struct.unpack(f"<{len(linked.code) // 2}H", linked.code)
    lines = [
        "# Machine code of the kernels, for cores like the board's, from the same C sources as bare-metal firmware;",
        f"# {len(linked.code):,} bytes. run(address) carries out a list of calls. Generated by edgelearn.",
        "import micropython",
        "",
        "",
        "@micropython.asm_thumb",
        "def run(r0):",
        "    bl(CODE)",
        "    bl(END)",
        "    data(2, 0x46C0)",
        "    label(CODE)",
    ]
    lines += [
        f"    data(2, {', '.join(f'0x{word:04X}' for word in words[i : i + _WORDS_PER_LINE])})"
        for i in range(0, len(words), _WORDS_PER_LINE)
    ]
    return "\n".join([*lines, "    label(END)", ""])


def _functions(tables: Tables) -> str:
    """The module that gives the kernels in viper the numbers by which the tables name them."""
    names = [function.partition("@")[0] for function in tables.functions]
    lines = [f"from .{file_of(function)} import {name}" for function, name in zip(tables.functions, names, strict=True)]
    lines = ["# The kernels of this model, in the order of their numbers. Generated by edgelearn.", *sorted(lines), ""]
    return "\n".join([*lines, "FUNCTIONS = (", *(f"    {name}," for name in names), ")", ""])


def _labels(plan: Plan) -> bytes:
    """The names of the classes; one object of bytes takes far less of a heap than one for each name."""
    return "\n".join(plan.labels).encode()


def _ends(ends: tuple[End, ...], indent: str) -> list[str]:
    """(offset, bytes, type, scale, zero point) of inputs or outputs."""
    return [
        f"{indent}({end.place.offset if end.place else 0}, {end.tensor.size_bytes if end.place else 0}, "
        f"{int(end.tensor.type)}, {end.tensor.scale!r}, {end.tensor.zero_point}),  # {end.tensor.name!r}"
        for end in ends
    ]


def _facts(plan: Plan, tables: Tables, name: str) -> str:
    head = plan.head
    python = plan.board.micropython
    low, high = struct.unpack("<II", bytes.fromhex(plan.model_hash)[:8])
    values: dict[str, object] = {
        "BOARD": plan.board.name,
        "IDENTITY": (low, high, plan.identity),
        "MULTIPLY_ACCUMULATES": sum(step.multiply_accumulates for step in plan.steps),
        "MAX_PAYLOAD_BYTES": plan.max_payload_bytes,
        "RECEIVE_BYTES": python.repl_receive_bytes if python else 0,
        "INTERFACE": b"".join(pack_record(end.tensor) for end in (*plan.inputs, *plan.outputs)),
        "LABELS": _labels(plan),
        "TABLES_BYTES": len(tables.tables),
        "PLACES": sum(region is not Region.FUNCTION for _, region in tables.places),
        "WEIGHTS_BYTES": len(tables.weights),
        "RAM_BYTES": tables.ram_bytes,
        "PREDICT": tables.lists["predict"],
        "OUTPUTS_OF_HEAD": head.outputs if head else 0,
    }
    if head:
        heads = {symbol.removeprefix("head_"): place for symbol, place in tables.buffers.items() if symbol != "arena"}
        saved = ("weights", "bias", "row_t", "row_rho", "residual", "names")
        layout = {field.name: field.offset for field in load_layouts()["elearn_head_state"].fields}
        state = tables.structs["head_state"]
        values |= {
            "FEATURES": head.features,
            "FEATURES_OFFSET": plan.features_offset or 0,
            "FEATURE_SCALE": head.feature_scale,
            "FEATURE_ZERO_POINT": head.feature_zero_point,
            "LOSS_KIND": int(LossCode[head.loss.name]),
            "RESIDUAL": int(ResidualCode[head.residual.name]),
            "LOGIT_FRACTION_BITS": head.logit_fraction_bits,
            "ERROR_SHIFT": head.error_shift,
            "TARGET_SHIFT": head.target_shift,
            "INPUT_IS_TARGET": bool(head.input_target[0]),
            "CLASSES": plan.classes,
            "LABEL_BYTES": plan.label_bytes,
            "LOSS": tables.lists["loss"],
            "LEARN": tables.lists["learn"],
            "RESET": tables.lists["reset"],
            "RATE": tables.lists["rate"],
            "ROW_T": tables.lists["row_t"],
            "ROW_RHO": tables.lists["row_rho"],
            "LABEL": tables.arguments["label"],
            "TARGETS": tables.arguments["targets"],
            "INPUT": tables.arguments["input"],
            "MANTISSA": tables.arguments["mantissa"][0],
            "EXPONENT": tables.arguments["exponent"][0],
            "ROW_T_VALUES": tables.arguments["row_t"],
            "ROW_RHO_VALUES": tables.arguments["row_rho"],
            "RESULT": tables.structs["head_result"],
            "STATE_RATE": state + layout["learning_rate_mantissa"],
            "STATE_RANDOM": state + layout["random"] if head.residual is Residual.STOCHASTIC else 0,
            "HEAD": heads,
            "SAVED": tuple(part for part in saved if part in heads),
            "ROW_M": tables.constants["row_m"],
            "ROW_R": tables.constants["row_r"],
        }
    else:
        values |= {"LABEL_BYTES": 0, "CLASSES": 0}
    lines = [f"# What is of {comment(name)} and this board alone. Generated by edgelearn; sizes and offsets in bytes."]
    lines += [f"{key} = {value!r}" for key, value in values.items()]
    for key, ends in (("INPUTS", plan.inputs), ("OUTPUTS", plan.outputs)):
        lines += [f"# (offset in memory, bytes, type, scale, zero point); types: {_types()}"]
        lines += [f"{key} = (", *_ends(ends, "    "), ")"]
    return "\n".join([*lines, ""])


def _link(source: str) -> str:
    """The link's module with the constants of the protocol that it names: in it they take no memory on the device."""
    constants = {"_WINDOW": WINDOW, **{f"_{name}": value for name, value in constant_values().items()}}
    used = [f"{name} = const({constants[name]!r})\n" for name in constants if re.search(rf"\b{name}\b", source)]
    return source.replace(_CONSTANTS_MARKER, _CONSTANTS_MARKER + "".join(used))


def _types() -> str:
    return ", ".join(f"{int(kind)} {kind.name.lower()}" for kind in TensorType)


def emit_micropython(plan: Plan, *, name: str, bundle_sha256: str = "") -> dict[str, str | bytes]:
    """The contents of every file of the generated package, by its path in the project.

    Args:
        plan: what is generated.
        name: of the model.
        bundle_sha256: of the bundle it comes from.

    Raises:
        OptionError: the head is kept in floating point.
        DoesNotFitError: the board's heap cannot hold it.
        UnsupportedOpError: an op has no kernel of that kind.
    """
    _check_residual(plan)
    tables = make_tables(plan, load_layouts())
    contents, linked = tables.tables, None
    folder = resources.firmware_folder() / "micropython" / "device"
    files: dict[str, str | bytes] = {
        f"{PACKAGE}/{name}": (folder / file).read_text(encoding="utf-8") for name, file in _DEVICE_FILES.items()
    }
    files[f"{PACKAGE}/{_LINK}"] = _link((folder / _LINK).read_text(encoding="utf-8"))
    files[_MAIN] = (folder / _MAIN).read_text(encoding="utf-8")
    if plan.kernels is Kernels.NATIVE:
        linked = link_kernels(plan, tables)
        contents = with_offsets(tables, linked)
        files[f"{PACKAGE}/native.py"] = native_module(linked)
    else:
        modules = sorted({file_of(function) for function in tables.functions})
        files |= {f"{PACKAGE}/{module}.py": source_of(module) for module in modules}
        files[f"{PACKAGE}/functions.py"] = _functions(tables)
        files[_REFERENCE] = (folder / _REFERENCE).read_text(encoding="utf-8")
    runner = f"runner_{plan.kernels.value}.py"
    files[f"{PACKAGE}/runner.py"] = (folder / runner).read_text(encoding="utf-8")
    needed = _need(plan, tables, linked)
    check_heap(plan.board, needed)
    files[f"{PACKAGE}/facts.py"] = _facts(plan, tables, name)
    files[f"{PACKAGE}/tables.bin"] = _tables_file(tables, contents)
    files[f"{PACKAGE}/{WEIGHTS}"] = tables.weights
    files["package.json"] = _package(files)
    files["README.md"] = _readme(plan, name, needed.needed_bytes(plan.board))
    project = describe(plan, files, name=name, bundle_sha256=bundle_sha256)
    files[FILE_NAME] = encode_project(replace(project, heap_bytes=needed.heap_bytes + HEAP_RESERVE_BYTES))
    return dict(sorted(files.items()))


def _readme(plan: Plan, name: str, heap_bytes: int) -> str:
    """What a stranger wants to know of the folder."""
    python = plan.board.micropython
    return render(
        "micropython_README.md.j2",
        name=comment(name).replace("`", "'"),
        title=plan.board.title,
        trains=plan.head is not None,
        classes=plan.classes > 0,
        native=plan.kernels is Kernels.NATIVE,
        heap_bytes=heap_bytes,
        reserve_bytes=HEAP_RESERVE_BYTES,
        oldest="1.24" if plan.board.core is Core.RISCV_IMC else "1.23",
        heap_available_bytes=python.heap_bytes if python else 0,
        mode="--train" if plan.head else "--predict",
        inputs=[end.tensor for end in plan.inputs],
    )


def _package(files: Mapping[str, str | bytes]) -> str:
    """What `mpremote mip install` reads: where each file goes, and where it is, once it is compiled."""
    urls = [[_installed(path), f"build/{_installed(path)}"] for path in sorted(files) if path != _REFERENCE]
    return json.dumps({"urls": urls, "deps": [], "version": __version__}, indent=1) + "\n"


def _installed(path: str) -> str:
    """The name of a file on the device."""
    return path.removesuffix(".py") + ".mpy" if path.startswith(f"{PACKAGE}/") and path.endswith(".py") else path
