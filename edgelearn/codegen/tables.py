"""Plan -> the bytes that MicroPython code works with: parameter structs, lists of kernel calls, constants.

The same structs as in C, in the order and sizes of the ABI: kernels that were compiled from C read them by name, those
in viper by number. Three parts:

    tables    structs and calls; in RAM, because addresses are added to them when the model is loaded
    weights   constants, read in place where flash can be read like RAM
    ram       the arena, then the buffers of the trainable layer; starts as zeros

A list of calls is a row of records of seven words: function and six arguments (elearn_calls.h); a function of 0 ends
it.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Mapping

from msgspec import Struct

from edgelearn.codegen.lowering import Call, Constant, Initializer
from edgelearn.codegen.plan import Place, Plan, Step
from edgelearn.errors import UnsupportedOpError
from edgelearn.ir import LossKind
from edgelearn.machine_code import Field, Layout
from edgelearn.protocol import LossCode
from edgelearn.recipe import DenseHead, IntegerRows, Residual

#: Words of a record: function and arguments.
CALL_WORDS = 7
_FORMATS = {
    "int8_t": "b",
    "uint8_t": "B",
    "int16_t": "h",
    "uint16_t": "H",
    "int32_t": "i",
    "uint32_t": "I",
    "float": "f",
    "double": "d",
    "pointer": "I",
}


class Region(enum.IntEnum):
    """What the address in a word is relative to. FUNCTION: the number of a function, instead."""

    TABLES = 0
    WEIGHTS = 1
    RAM = 2
    FUNCTION = 3


class Address(Struct, frozen=True, kw_only=True):
    """An address that is known when the model is loaded."""

    region: Region
    offset: int


class Tables(Struct, frozen=True, kw_only=True):
    """The bytes, and what the loader must know of them.

    Attributes:
        tables, weights: see above. Words that hold addresses have the offset in their region.
        ram_bytes: of the arena and the buffers.
        places: offset in `tables` of each word that holds an address, and its region.
        functions: that the calls name by number.
        lists: offset in `tables` of each list of calls, by name.
        arguments: offsets in `tables` of the arguments that change from call to call, by name.
        buffers: offset in RAM and size of each buffer, by name.
        constants: offset and size in `weights` of constants that Python code reads.
        structs: offsets in `tables` of structs that Python code reads.
    """

    tables: bytes
    weights: bytes
    ram_bytes: int
    places: tuple[tuple[int, Region], ...]
    functions: tuple[str, ...]
    lists: Mapping[str, int]
    arguments: Mapping[str, tuple[int, ...]]
    buffers: Mapping[str, tuple[int, int]]
    constants: Mapping[str, tuple[int, int]]
    structs: Mapping[str, int]


class _Writer:
    """Tables under construction."""

    def __init__(self, layouts: Mapping[str, Layout]) -> None:
        self.layouts = layouts
        self.tables = bytearray()
        self.weights = bytearray()
        self.places: list[tuple[int, Region]] = []
        self.functions: list[str] = []

    def size(self, type_name: str) -> int:
        """Bytes of a type."""
        known = self.layouts.get(type_name)
        return known.size_bytes if known else struct.calcsize(f"<{_FORMATS[type_name]}")

    def has_pointers(self, type_name: str) -> bool:
        """Whether values of the type hold addresses."""
        known = self.layouts.get(type_name)
        return type_name == "pointer" or bool(known and any(self.has_pointers(f.type) for f in known.fields))

    def reserve(self, size: int) -> int:
        """Room in the tables, aligned to four bytes; its offset."""
        offset = len(self.tables)
        self.tables += bytes(size + -size % 4)
        return offset

    def keep(self, contents: bytes) -> Address:
        """A constant among the weights, aligned to four bytes."""
        offset = len(self.weights)
        self.weights += contents + bytes(-len(contents) % 4)
        return Address(region=Region.WEIGHTS, offset=offset)

    def word(self, at: int, value: int | Address) -> None:
        """A word of the tables."""
        if isinstance(value, Address):
            self.places.append((at, value.region))
            value = value.offset
        struct.pack_into("<I", self.tables, at, value % 2**32)

    def value(self, at: int, type_name: str, value: Initializer | Address, names: Mapping[str, Address]) -> None:
        """A value of any type; a string is the name of a constant.

        Raises:
            TypeError: the value is none of that type: a defect of the lowering that gave it.
        """
        known = self.layouts.get(type_name)
        if isinstance(value, str):
            value = names[value]
        if known is not None and isinstance(value, tuple):
            for field, part in zip(known.fields, value, strict=True):
                self.field(at, field, part, names)
        elif type_name == "pointer" and isinstance(value, (int, Address)):
            self.word(at, value)
        elif known is None and isinstance(value, (int, float)):
            struct.pack_into(f"<{_FORMATS[type_name]}", self.tables, at, value)
        else:
            raise TypeError(f"{value!r} is no {type_name}")

    def field(self, at: int, field: Field, value: Initializer | Address, names: Mapping[str, Address]) -> None:
        """A member of the struct that begins at `at`."""
        parts = value if field.count > 1 and isinstance(value, tuple) else (value,)
        if len(parts) != field.count:
            raise TypeError(f"{value!r} has not {field.count} elements")
        for number, part in enumerate(parts):
            self.value(at + field.offset + number * self.size(field.type), field.type, part, names)

    def structure(
        self, type_name: str, values: Mapping[str, Initializer | Address], names: Mapping[str, Address]
    ) -> Address:
        """A struct by the names of its members; what is not named is zero."""
        layout = self.layouts[type_name]
        at = self.reserve(layout.size_bytes)
        fields = {field.name: field for field in layout.fields}
        for name, value in values.items():
            self.field(at, fields[name], value, names)
        return Address(region=Region.TABLES, offset=at)

    def constant(self, constant: Constant, names: Mapping[str, Address]) -> Address:
        """An array of a kernel: among the weights or, where it holds addresses, in the tables."""
        if self.has_pointers(constant.c_type):
            size = self.size(constant.c_type)
            at = self.reserve(size * len(constant.elements))
            for number, element in enumerate(constant.elements):
                self.value(at + number * size, constant.c_type, element, names)
            return Address(region=Region.TABLES, offset=at)
        return self.keep(self._packed(constant))

    def _packed(self, constant: Constant) -> bytes:
        if constant.c_type in _FORMATS:
            return struct.pack(f"<{len(constant.elements)}{_FORMATS[constant.c_type]}", *constant.elements)
        # Through the tables, whose end is free for it.
        size, begin = self.size(constant.c_type), len(self.tables)
        self.tables += bytes(size * len(constant.elements))
        for number, element in enumerate(constant.elements):
            self.value(begin + number * size, constant.c_type, element, {})
        contents = bytes(self.tables[begin:])
        del self.tables[begin:]
        return contents

    def function(self, name: str) -> Address:
        """A function by its number, from 1 on: 0 ends a list."""
        if name not in self.functions:
            self.functions.append(name)
        return Address(region=Region.FUNCTION, offset=1 + self.functions.index(name))

    def calls(self, calls: list[tuple[str, tuple[int | Address, ...]]]) -> int:
        """A list of calls; its offset."""
        at = self.reserve(4 * (CALL_WORDS * len(calls) + 1))
        for number, (function, arguments) in enumerate(calls):
            record = at + 4 * CALL_WORDS * number
            self.word(record, self.function(function))
            for position, argument in enumerate(arguments, start=1):
                self.word(record + 4 * position, argument)
        return at


def _ram(offset: int) -> Address:
    return Address(region=Region.RAM, offset=offset)


def _kernel(writer: _Writer, step: Step, call: Call) -> tuple[str, tuple[int | Address, ...]]:
    names: dict[str, Address] = {}
    for constant in call.constants:
        if constant.c_type == "double":
            raise UnsupportedOpError(
                (f"{step.op.TITLE} (op #{step.op.index}) with its scales: MicroPython's kernels have no float64",),
                hint="generate bare metal C, or use a layer with fewer inputs or smaller biases",
            )
        names[constant.suffix] = writer.constant(constant, names)
    params = writer.structure(call.params_type, dict(call.params), names)

    def pointers(places: tuple[Place, ...]) -> tuple[Address, ...]:
        return tuple(_ram(place.offset) for place in places)

    arguments: tuple[int | Address, ...] = (*pointers(step.inputs), *pointers(step.outputs))
    if call.in_arrays:
        arrays: list[int | Address] = []
        for places in (step.inputs, step.outputs):
            at = writer.reserve(4 * len(places))
            for number, address in enumerate(pointers(places)):
                writer.word(at + 4 * number, address)
            arrays.append(Address(region=Region.TABLES, offset=at))
        arguments = tuple(arrays)
    if step.scratch is not None:
        arguments = (*arguments, _ram(step.scratch))
    return call.function, (params, *arguments)


def _buffers(plan: Plan) -> tuple[dict[str, tuple[int, int]], int]:
    """Offset and size of what lies in RAM, the arena first; and the size of all."""
    placed: dict[str, tuple[int, int]] = {}
    offset = 0
    for buffer in plan.buffers:
        if buffer.purpose in ("activations", "head"):
            placed[buffer.symbol] = (offset, buffer.size_bytes)
            offset += buffer.size_bytes + -buffer.size_bytes % 4
    return placed, offset


def make_tables(plan: Plan, layouts: Mapping[str, Layout]) -> Tables:
    """The tables of a plan.

    Raises:
        UnsupportedOpError: an op needs what no kernel for MicroPython has.
    """
    writer = _Writer(layouts)
    placed, ram_bytes = _buffers(plan)
    kernels = [_kernel(writer, step, step.call) for step in plan.steps if step.call]
    lists: dict[str, int] = {}
    arguments: dict[str, tuple[int, ...]] = {}
    constants: dict[str, tuple[int, int]] = {}
    structs: dict[str, int] = {}
    head = plan.head
    if head is None or not isinstance(head.rows, IntegerRows):
        lists["predict"] = writer.calls(kernels)
    else:
        params, initial = _head_params(writer, plan, head, head.rows)
        state = _head_state(writer, head, placed)
        result = writer.structure("elearn_head_result", {}, {})
        suffix = f"@{head.residual.value}"
        features = _ram(plan.features_offset or 0)
        mine: dict[str, list[tuple[str, tuple[int | Address, ...]]]] = {
            "predict": [*kernels, (f"elearn_head_forward{suffix}", (params, state, features, result))],
            "loss": [(f"elearn_head_loss{suffix}", (params, state, 0, 0, 0, result))],
            "learn": [(f"elearn_head_learn{suffix}", (params, state, features, 0, 0, 0))],
            "reset": [(f"elearn_head_reset{suffix}", (params, state))],
            "rate": [(f"elearn_head_set_learning_rate{suffix}", (params, state, 0, 0))],
            "row_t": [(f"elearn_head_accepts_row_t{suffix}", (params, 0, 0))],
            "row_rho": [(f"elearn_head_accepts_row_rho{suffix}", (params, state, 0, 0))],
        }
        lists = {name: writer.calls(calls) for name, calls in mine.items()}
        loss, learn = lists["loss"], lists["learn"]
        arguments = {
            # Words of the records: the function is the first.
            "label": (loss + 12, learn + 16),
            "targets": (loss + 16, learn + 20),
            "input": (loss + 20, learn + 24),
            "mantissa": (lists["rate"] + 12,),
            "exponent": (lists["rate"] + 16,),
            "row_t": (lists["row_t"] + 8, lists["row_t"] + 12),
            "row_rho": (lists["row_rho"] + 12, lists["row_rho"] + 16),
        }
        constants = {name: (address.offset, size) for name, (address, size) in initial.items()}
        structs = {"head_state": state.offset, "head_result": result.offset}
    return Tables(
        tables=bytes(writer.tables),
        weights=bytes(writer.weights),
        ram_bytes=ram_bytes,
        places=tuple(writer.places),
        functions=tuple(writer.functions),
        lists=lists,
        arguments=arguments,
        buffers=placed,
        constants=constants,
        structs=structs,
    )


def _head_params(
    writer: _Writer, plan: Plan, head: DenseHead, rows: IntegerRows
) -> tuple[Address, dict[str, tuple[Address, int]]]:
    """The struct elearn_head_params, and where its constants lie."""
    outputs = head.outputs
    constants = {
        "initial_weights": rows.weights,
        "initial_residual": rows.residual,
        "initial_bias": struct.pack(f"<{outputs}i", *rows.bias),
        "initial_row_t": struct.pack(f"<{outputs}b", *rows.row_t),
        "initial_row_rho": struct.pack(f"<{outputs}b", *rows.row_rho),
        "row_m": struct.pack(f"<{outputs}H", *rows.row_m),
        "row_r": struct.pack(f"<{outputs}H", *rows.row_r),
    }
    kept = {name: (writer.keep(contents), len(contents)) for name, contents in constants.items() if contents}
    values: dict[str, Initializer | Address] = {
        "features": head.features,
        "outputs": outputs,
        "loss": LossCode[head.loss.name],
        "feature_zero_point": head.feature_zero_point,
        "logit_fraction_bits": head.logit_fraction_bits,
        "gradient_fraction_bits": head.gradient_fraction_bits,
        "error_shift": head.error_shift,
        "target_shift": head.target_shift,
        "row_t_min": head.row_t_min,
        "learning_rate_mantissa": plan.training.learning_rate.mantissa,
        "learning_rate_exponent": plan.training.learning_rate.exponent,
        "input_zero_point": head.input_zero_point,
        "input_target_mantissa": head.input_target[0],
        "input_target_shift": head.input_target[1],
        "feature_scale": head.feature_scale,
        **{name: address for name, (address, _) in kept.items()},
    }
    return writer.structure("elearn_head_params", values, {}), kept


def _head_state(writer: _Writer, head: DenseHead, placed: Mapping[str, tuple[int, int]]) -> Address:
    """The struct elearn_head_state; its buffers lie in RAM."""
    names = ["weights", "bias", "row_t", "row_rho", "row_k", "logits"]
    names += ["residual"] if head.residual is Residual.INT8 else []
    names += ["probabilities"] if head.loss is LossKind.CROSS_ENTROPY else []
    return writer.structure("elearn_head_state", {name: _ram(placed[f"head_{name}"][0]) for name in names}, {})
