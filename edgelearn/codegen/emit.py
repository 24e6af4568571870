"""Plan -> {path: text}: the generated project, whole and deterministic. Reads templates and device code."""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from edgelearn import __version__, resources
from edgelearn.board import COMPILERS, Core
from edgelearn.board.ways import ArduinoCli, EspTool, MpRemote
from edgelearn.board.words import core_words, emulator_words, methods_words
from edgelearn.codegen.board_files import board_files
from edgelearn.codegen.lowering import Constant, Initializer
from edgelearn.codegen.lowering.call import DOT
from edgelearn.codegen.plan import (
    AUTOSAVE_STEPS,
    BAUD,
    REPLY_PAYLOAD_BYTES,
    WINDOW,
    End,
    Place,
    Plan,
    labels_bytes,
)
from edgelearn.codegen.render import render
from edgelearn.ir import DType, LossKind
from edgelearn.project import FILE_NAME, FORMAT_VERSION, SENSOR_FOLDER, Project, encode_project
from edgelearn.protocol import TensorType, c_header, decode_learning_rate, pack_record
from edgelearn.recipe import DenseHead, FloatRows, IntegerRows, Residual

_LINE_CHARACTERS = 118
#: Cycles of one multiply-accumulate at most: portable kernels on the smallest core, with wait states.
_MOST_CYCLES_PER_MAC = 16
_RUNTIME_ALWAYS = (
    "elearn_link.c",
    "elearn_frame.c",
    "elearn_regions.c",
    "elearn_sample.c",
    "elearn_state.c",
)
_RUNTIME_TRAINING = (DOT.name, "elearn_head.c", "elearn_head_float.c", "elearn_head_loss.c")
_RUNTIME_KEEPING = ("elearn_store.c",)
_RUNTIME_SENSING = ("elearn_sensing.c",)
_MAIN = "main.c"


_C_TYPES = {DType.INT16: "int16_t", DType.INT32: "int32_t", DType.FLOAT32: "float"}


class SensorSource(Struct, frozen=True, kw_only=True):
    """Somebody's C file that reads a sensor on the board: its name, made safe for a Makefile, and its text."""

    name: str
    text: str


class _SensorInput(Struct, frozen=True, kw_only=True):
    """An input as elearn_sensor.h describes it."""

    number: int
    comment: str
    c_type: str
    elements: int
    is_int8: bool
    scale: str
    zero_point: int


class _Array(Struct, frozen=True, kw_only=True):
    """An array definition ready to print."""

    name: str
    c_type: str
    count: int
    lines: tuple[str, ...]


class _Layer(Struct, frozen=True, kw_only=True):
    """A step ready to print. `name` is safe in a comment."""

    name: str
    trains: bool
    identifier: str
    title: str
    function: str
    params_type: str
    fields: tuple[tuple[str, str], ...]
    arrays: tuple[_Array, ...]
    arguments: str


class _Record(Struct, frozen=True, kw_only=True):
    """What the host is told of an input or output, ready to print."""

    comment: str
    lines: tuple[str, ...]


class _Prediction(Struct, frozen=True, kw_only=True):
    """The output that predictions are taken from: the number of its largest element, or the integer that it holds."""

    c_type: str
    elements: int
    is_number: bool


#: Members of nested structs, printed by name.
_AXIS = ("inputs", "outputs", "taps", "stride", "pad", "input_step", "output_step")
_MEMBERS = {
    "line": _AXIS,
    "place": _AXIS,
    "input": ("height", "width", "channels"),
    "output": ("height", "width", "channels"),
    "window": (
        *("kernel_h", "kernel_w", "stride_h", "stride_w"),
        *("dilation_h", "dilation_w", "pad_top", "pad_left"),
    ),
    "offsets": ("input_zero_point", "output_zero_point", "output_min", "output_max"),
    "axes": ("kept_outer", "kept_inner", "channels", "outer", "middle", "inner"),
}


def _field(name: str, value: Initializer, identifier: str) -> str:
    """The initializer of a struct's member; nested structs with their members' names."""
    if isinstance(value, tuple) and name in _MEMBERS:
        named = zip(_MEMBERS[name], value, strict=True)
        return "{" + ", ".join(f".{member} = {_initializer(v, identifier)}" for member, v in named) + "}"
    return _initializer(value, identifier)


def _feeds_between_layers(plan: Plan) -> bool:
    """Whether an inference may take so long that the board's watchdog is to be fed between its layers.

    It usually is fed by the main loop alone; then not even a call is added to what is measured.
    """
    patience_ms = plan.board.port.defines.get("ELEARN_WATCHDOG_MS")
    if patience_ms is None:
        return False
    cycles = _MOST_CYCLES_PER_MAC * sum(step.multiply_accumulates for step in plan.steps)
    # Where its oscillator is fast the watchdog has half of its patience.
    return 1000 * cycles / plan.board.clock_hz > patience_ms / 4


def _initializer(value: Initializer, identifier: str) -> str:
    if isinstance(value, tuple):
        return "{" + ", ".join(_initializer(v, identifier) for v in value) + "}"
    if isinstance(value, float):
        return float_literal(value)
    return f"{identifier}_{value}" if isinstance(value, str) else str(value)


def _wrapped(values: list[str]) -> tuple[str, ...]:
    """The initializers in lines of bounded length."""
    lines: list[str] = []
    line = "   "
    for value in values:
        if len(line) + len(value) + 2 > _LINE_CHARACTERS:
            lines.append(line)
            line = "   "
        line += f" {value},"
    return (*lines, line)


def comment(text: str) -> str:
    """Text that neither ends a C comment, nor begins one, nor runs on."""
    printable = "".join(c if c.isprintable() else " " for c in text).replace("\\", "/")
    return re.sub(r"(?<=\*)(?=/)|(?<=/)(?=\*)|(?<=\?)(?=\?)", " ", printable)


def _array(name: str, c_type: str, values: list[str]) -> _Array:
    return _Array(name=name, c_type=c_type, count=len(values), lines=_wrapped(values))


def _constant(identifier: str, constant: Constant) -> _Array:
    return _array(
        f"{identifier}_{constant.suffix}",
        constant.c_type,
        [_initializer(e, identifier) if constant.c_type != "double" else repr(e) for e in constant.elements],
    )


def _pointer(place: Place) -> str:
    """The address of a tensor. All are aligned to four bytes only, so kernels write int64 as words."""
    address = f"arena.bytes + {place.offset}"
    if place.dtype is DType.INT8:
        return address
    if place.dtype is DType.INT64:
        return f"(void *)({address})"
    return f"({_C_TYPES[place.dtype]} *)(void *)({address})"


def _layers(plan: Plan) -> list[_Layer]:
    layers = []
    for step in plan.steps:
        call = step.call
        inputs, outputs = ([_pointer(place) for place in places] for places in (step.inputs, step.outputs))
        pointers = [*inputs, *outputs]
        if call and call.in_arrays:
            pointers = [
                f"(const int8_t *const[]){{{', '.join(inputs)}}}",
                f"(int8_t *const[]){{{', '.join(outputs)}}}",
            ]
        if step.scratch is not None:
            pointers.append(f"arena.bytes + {step.scratch}")
        layers.append(
            _Layer(
                name=comment(step.op.name),
                trains=bool(plan.head and plan.head.op == step.op.name),
                identifier=step.identifier,
                title=step.title,
                function=call.function if call else "",
                params_type=call.params_type if call else "",
                fields=tuple((n, _field(n, v, step.identifier)) for n, v in call.params) if call else (),
                arrays=tuple(_constant(step.identifier, c) for c in call.constants) if call else (),
                arguments=", ".join(pointers),
            )
        )
    return layers


def float_literal(value: float) -> str:
    """A float32 literal that reads back as the same bits."""
    text = f"{struct.unpack('<f', struct.pack('<f', value))[0]:.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def _head_arrays(head: DenseHead) -> list[_Array]:
    rows = head.rows
    if isinstance(rows, FloatRows):
        weights = struct.unpack(f"<{len(rows.weights) // 4}f", rows.weights)
        bias = struct.unpack(f"<{len(rows.bias) // 4}f", rows.bias)
        return [
            _array("head_initial_weights", "float", [float_literal(v) for v in weights]),
            _array("head_initial_bias", "float", [float_literal(v) for v in bias]),
        ]
    signed = struct.unpack(f"<{len(rows.weights)}b", rows.weights)
    arrays = [_array("head_initial_weights", "int8_t", [str(v) for v in signed])]
    if rows.residual:
        arrays.append(_array("head_initial_residual", "uint8_t", [str(v) for v in rows.residual]))
    arrays += [
        _array("head_initial_bias", "int32_t", [str(v) for v in rows.bias]),
        _array("head_initial_row_t", "int8_t", [str(v) for v in rows.row_t]),
        _array("head_initial_row_rho", "int8_t", [str(v) for v in rows.row_rho]),
        _array("head_row_m", "uint16_t", [str(v) for v in rows.row_m]),
        _array("head_row_r", "uint16_t", [str(v) for v in rows.row_r]),
    ]
    return arrays


def _c_string(text: bytes) -> str:
    """The inside of a C string literal; bytes outside printable ASCII in octal, which cannot run on."""
    return "".join(chr(b) if 32 <= b < 127 and b not in b'"\\?' else f"\\{b:03o}" for b in text)


def _c_string_lines(labels: tuple[str, ...]) -> list[str]:
    """The labels as C string literals, one a line, with a line feed between each two."""
    last = len(labels) - 1
    return [_c_string(f"{label}\n".encode() if i < last else label.encode()) for i, label in enumerate(labels)]


def _name_lines(plan: Plan) -> list[str]:
    """The labels as C string literals, each filled up with zeros, but for the last zero of all, which C adds."""
    names = [label.encode().ljust(plan.label_bytes, b"\0") for label in plan.labels]
    return [_c_string(name) for name in (*names[:-1], names[-1][:-1])]


def _end(end: End) -> str:
    """The initializer of an elearn_end."""
    if end.place is None:
        return "{NULL, 0}"
    return f"{{arena.bytes + {end.place.offset}, {end.tensor.size_bytes}}}"


def _record(end: End) -> _Record:
    tensor = end.tensor
    quant = f", scale {tensor.scale:.9g}, zero point {tensor.zero_point}" if tensor.scale else ""
    kind = "input" if tensor.is_input else "output"
    return _Record(
        comment=comment(f"{kind} {tensor.name}: {tensor.elements} {tensor.type.name.lower()}{quant}"),
        lines=_wrapped([str(byte) for byte in pack_record(tensor)]),
    )


def _prediction(plan: Plan) -> _Prediction | None:
    """None where the trainable layer predicts. Several integers are class numbers, whose largest says nothing: 0."""
    tensor = plan.outputs[0].tensor
    if plan.head:
        return None
    if tensor.type in (TensorType.INT32, TensorType.INT64):
        # Class numbers are small: the low word of an int64 is all of it.
        return _Prediction(c_type="uint32_t", elements=1, is_number=tensor.elements == 1)
    c_type = "int8_t" if tensor.type is TensorType.INT8 else "float"
    return _Prediction(c_type=c_type, elements=tensor.elements, is_number=False)


def _headers(folder: Path, files: dict[str, str]) -> dict[str, str]:
    """The runtime's headers that the files include, directly or not."""
    found: dict[str, str] = {}
    waiting = list(files.values())
    while waiting:
        for name in re.findall(r'^#include "([^"]+)"', waiting.pop(), re.MULTILINE):
            path = f"runtime/{name}"
            if path not in found and (folder / name).is_file():
                found[path] = (folder / name).read_text(encoding="utf-8")
                waiting.append(found[path])
    return found


def _sensor_header(plan: Plan, name: str) -> str:
    inputs = [
        _SensorInput(
            number=number,
            comment=_record(end).comment,
            c_type="int8_t" if end.tensor.type is TensorType.INT8 else "float",
            elements=end.tensor.elements,
            is_int8=end.tensor.type is TensorType.INT8,
            scale=float_literal(end.tensor.scale),
            zero_point=end.tensor.zero_point,
        )
        for number, end in enumerate(plan.inputs)
    ]
    return render("elearn_sensor.h.j2", name=comment(name), inputs=inputs)


def device_files(plan: Plan, *, name: str, sensor: SensorSource | None = None) -> dict[str, str]:
    """What every output has: the generated C in `src/`, and the runtime without a main program in `runtime/`.

    Args:
        plan: what is generated.
        name: of the model.
        sensor: what reads a sensor on the board; None where all samples come from the host.
    """
    head = plan.head
    sources = {source.name for step in plan.steps if step.call for source in step.call.sources}
    sources.update((*_RUNTIME_ALWAYS, *(_RUNTIME_TRAINING if head else ())))
    sources.update(_RUNTIME_KEEPING if plan.store else ())
    sources.update(_RUNTIME_SENSING if sensor else ())
    hash_bytes = bytes.fromhex(plan.model_hash)[:8]
    low, high = struct.unpack("<II", hash_bytes)
    rate = plan.training.learning_rate
    files = {
        "src/model.c": render(
            "model.c.j2",
            name=comment(name),
            head_name=comment(head.op) if head else "",
            board=plan.board,
            model_hash=plan.model_hash,
            headers=sorted({step.call.header for step in plan.steps if step.call}),
            layers=_layers(plan),
            feeds=_feeds_between_layers(plan),
            arena_bytes=plan.arena_bytes,
            hash_low=f"0x{low:08X}u",
            hash_high=f"0x{high:08X}u",
            inputs=[_end(end) for end in plan.inputs],
            outputs=[_end(end) for end in plan.outputs],
            interface=[_record(end) for end in (*plan.inputs, *plan.outputs)],
            features_offset=plan.features_offset,
            identity=f"0x{plan.identity:08X}u",
            label_lines=[] if plan.label_bytes else _c_string_lines(plan.labels),
            labels_bytes=labels_bytes(plan.labels) if plan.labels and not plan.label_bytes else 0,
            label_bytes=plan.label_bytes,
            name_lines=_name_lines(plan) if plan.label_bytes else [],
            head=head,
            head_is_float=bool(head and head.residual is Residual.FLOAT),
            head_keeps_residual=bool(head and head.residual is Residual.INT8),
            head_has_initial_residual=bool(head and isinstance(head.rows, IntegerRows) and head.rows.residual),
            cross_entropy=bool(head and head.loss is LossKind.CROSS_ENTROPY),
            head_arrays=_head_arrays(head) if head else [],
            feature_scale=float_literal(head.feature_scale) if head else "",
            learning_rate=plan.training.learning_rate,
            learning_rate_text=f"{decode_learning_rate(rate.mantissa, rate.exponent):.6g}",
        ),
        "src/elearn_config.h": render(
            "elearn_config.h.j2",
            input_count=len(plan.inputs),
            input_bytes=sum(end.tensor.size_bytes for end in plan.inputs),
            output_count=len(plan.outputs),
            prediction=_prediction(plan),
            trainable_count=len(plan.training.layers),
            residual=plan.residual.name,
            max_payload_bytes=plan.max_payload_bytes,
            multiply_accumulates=min(sum(step.multiply_accumulates for step in plan.steps), 2**32 - 1),
            max_reply_bytes=REPLY_PAYLOAD_BYTES,
            window=WINDOW,
            classes=plan.classes,
            label_bytes=plan.label_bytes,
            autosave_steps=AUTOSAVE_STEPS,
            saves=plan.store is not None,
            sensor=sensor is not None,
        ),
        "src/elearn_protocol.h": c_header(),
    }
    if sensor:
        files["src/elearn_sensor.h"] = _sensor_header(plan, name)
    folder = resources.firmware_folder()
    for source in sorted(sources):
        files[f"runtime/{source}"] = (folder / "runtime" / source).read_text(encoding="utf-8")
    return files | _headers(folder / "runtime", files)


def emit_project(
    plan: Plan, *, name: str, bundle_sha256: str = "", sensor: SensorSource | None = None
) -> dict[str, str]:
    """The text of every file of the generated project, by its path in it.

    Args:
        plan: what is generated.
        name: of the model.
        bundle_sha256: of the bundle it comes from.
        sensor: what reads a sensor on the board; None where all samples come from the host.
    """
    files = device_files(plan, name=name, sensor=sensor)
    folder = resources.firmware_folder()
    files[f"runtime/{_MAIN}"] = (folder / "runtime" / _MAIN).read_text(encoding="utf-8")
    for source in plan.board.port.sources:
        files[f"port/{source}"] = (folder / "port" / source).read_text(encoding="utf-8")
    files |= _headers(folder / "runtime", files)
    files |= board_files(
        plan.board,
        runtime_sources=[Path(path).name for path in files if path.startswith("runtime/")],
        generated_sources=["model.c"],
        baud=BAUD,
        ring_bytes=plan.ring_bytes,
        sensor_sources=[sensor.name] if sensor else [],
    )
    if sensor:
        files[f"{SENSOR_FOLDER}/{sensor.name}"] = sensor.text
    files["README.md"] = _readme(plan, name, sensor)
    files[FILE_NAME] = encode_project(describe(plan, files, name=name, bundle_sha256=bundle_sha256))
    return dict(sorted(files.items()))


def contents_bytes(contents: str | bytes) -> bytes:
    """The bytes of a generated file."""
    return contents.encode() if isinstance(contents, str) else contents


def _readme(plan: Plan, name: str, sensor: SensorSource | None) -> str:
    """What a stranger wants to know of the folder."""
    board, uart = plan.board, plan.board.uart
    bare_metal = board.core is not Core.HOST
    ways = [way for way in board.flash if not isinstance(way, ArduinoCli | EspTool | MpRemote)]
    pins = f"TX {uart.tx}, RX {uart.rx}" if uart else ""
    return render(
        "project_README.md.j2",
        name=comment(name).replace("`", "'"),
        title=board.title,
        chip=board.chip,
        core=core_words(board.core),
        mhz=f"{board.clock_hz / 1e6:g}",
        host=not bare_metal,
        trains=plan.head is not None,
        mode="--train" if plan.head else "--predict",
        sensor=f"{SENSOR_FOLDER}/{sensor.name}" if sensor else "",
        compiler=COMPILERS[board.core].program,
        platformio=board.platformio is not None,
        flash_bytes=plan.flash_bytes,
        flash_available_bytes=board.flash_bytes,
        ram_bytes=plan.ram_bytes,
        ram_available_bytes=board.ram_bytes,
        ways=methods_words(ways) if ways else "",
        kept=" or ".join(dict.fromkeys(kept.holder for kept in board.kept)),
        keeps=plan.store is not None and bare_metal,
        nvm_address=board.nvm.address if board.nvm else 0,
        nvm_end=board.nvm.end if board.nvm else 0,
        uart=f"{pins}, which the board carries to USB" if uart and uart.reaches_usb else pins and f"on the pins {pins}",
        baud=BAUD,
        emulated=f"in {emulator_words(board)}"
        if bare_metal and board.engines
        else "a process"
        if board.engines
        else "",
    )


def describe(plan: Plan, files: Mapping[str, str | bytes], *, name: str, bundle_sha256: str) -> Project:
    """The plan's figures, for project.json."""
    return Project(
        format_version=FORMAT_VERSION,
        edgelearn_version=__version__,
        name=name,
        board=plan.board.name,
        model_hash=plan.model_hash,
        bundle_sha256=bundle_sha256,
        residual=plan.residual.value,
        buffers=plan.buffers,
        constants=plan.constants,
        arena_bytes=plan.arena_bytes,
        code_estimate_bytes=plan.code_estimate_bytes,
        zig_code_estimate_bytes=plan.zig_code_estimate_bytes,
        state_estimate_bytes=plan.state_estimate_bytes,
        stack_bytes=plan.board.stack_bytes,
        output=plan.output.value,
        files={path: hashlib.sha256(contents_bytes(contents)).hexdigest() for path, contents in sorted(files.items())},
    )
