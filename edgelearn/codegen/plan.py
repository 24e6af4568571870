"""The plan: every kernel call, every buffer by name and lifetime, every constant, and whether it fits the board.

Arena, head, buffers and constants are exact. Code is an estimate from the sizes that the kernels had when they were
measured (`code_size.py`); the build replaces it by the linker's figure.
"""

from __future__ import annotations

import enum
import re
import struct
import zlib

from msgspec import Struct, structs

from edgelearn.board import Board, Core, Output
from edgelearn.codegen.arena import Lifetime, Placement, place
from edgelearn.codegen.code_size import AVR, GNU, ZIG, Measured, code_bytes
from edgelearn.codegen.lowering import CONSTANT_SUFFIXES, Call, Target, lower
from edgelearn.codegen.viper import adapt
from edgelearn.errors import DoesNotFitError, OptionError, UnsupportedOpError
from edgelearn.ir import AnyOp, DType, Graph, LossKind, Tensor
from edgelearn.ir.dense import FullyConnected
from edgelearn.ir.edges import Dequantize, Quantize
from edgelearn.machine_code import LIBRARIES
from edgelearn.project import Buffer
from edgelearn.protocol import (
    CRC_BYTES,
    HEADER_BYTES,
    MessageType,
    TensorInfo,
    TensorType,
    encoded_bytes,
    message,
    pack_record,
)
from edgelearn.recipe import DenseHead, IntegerRows, Residual, TrainingPlan
from edgelearn.store import StoreLayout, head_part_bytes, store_layout
from edgelearn.words import count

BAUD = 115_200
#: The receive ring holds the next samples while the device computes, so that line and processor work at the same time;
#: powers of two. Two samples do that, a third takes up what is uneven; where samples are small, the delays of a USB
#: serial port want more.
LEAST_RING_BYTES, USUAL_RING_BYTES, MOST_RING_BYTES = 256, 512, 4096
#: What the serial line of any Arduino core holds at least: 64 bytes less the one that tells full from empty.
ARDUINO_RING_BYTES = 63
#: Requests that may be under way; the device keeps as many replies. A power of two.
WINDOW = 8
#: Larger samples come in parts, so that the receive buffer need not hold them.
MOST_PART_BYTES = 1024
#: Names that can be changed on the device take so many bytes each, and all of them at most so many of RAM.
LEAST_LABEL_BYTES, MOST_LABEL_BYTES = 16, 40
MOST_NAMES_BYTES = 1024
#: The device saves what it learned after so many training steps, unless the host says otherwise.
AUTOSAVE_STEPS = 0
#: Payload of the longest reply; what is read from the device comes in pieces of about this size.
REPLY_PAYLOAD_BYTES = 256

#: The state of link and drivers beside the buffers.
STATE_ESTIMATE_BYTES = 236
#: What taking samples from a sensor adds to it, without the person's own file.
SENSOR_STATE_ESTIMATE_BYTES = 104


class Kernels(enum.Enum):
    """What computes on the device: machine code of the C kernels, or their twins in MicroPython's viper."""

    NATIVE = "native"
    VIPER = "viper"


class Place(Struct, frozen=True, kw_only=True):
    """A tensor in the arena."""

    offset: int
    dtype: DType


class Step(Struct, frozen=True, kw_only=True):
    """One op of the graph as the firmware runs it.

    Attributes:
        identifier: the op's name as a C identifier.
        title: the op's type and shapes, for readers.
        call: its kernel call; None where it costs nothing or is the trainable layer's.
        inputs, outputs: where its tensors lie in the arena, and their types.
        scratch: offset in the arena of what the kernel needs while it runs; None where it needs nothing.
    """

    op: AnyOp
    identifier: str
    title: str
    call: Call | None
    inputs: tuple[Place, ...]
    outputs: tuple[Place, ...]
    scratch: int | None
    multiply_accumulates: int
    constants_bytes: int


class End(Struct, frozen=True, kw_only=True):
    """An input or output of the model: what the host is told of it, and where it lies.

    Attributes:
        place: None for the output of the trainable layer.
    """

    tensor: TensorInfo
    place: Place | None


class Plan(Struct, frozen=True, kw_only=True):
    """Everything that is decided before text is written.

    Attributes:
        inputs, outputs: in the order of the graph.
        features_offset: where the input of the trainable layer lies; None without one.
        classes: in use, from 0 on; the other outputs are spare. 0 where nothing is classified and learned.
        label_bytes: of a name that the device can change, 0 where it cannot.
        ring_bytes: of the receive ring.
        output: what is generated.
        kernels: what computes.
        senses: whether a sensor on the board is read.
        identity: of what is saved: a head saved by firmware with another one is not loaded.
    """

    graph: Graph
    board: Board
    output: Output
    kernels: Kernels
    training: TrainingPlan
    model_hash: str
    labels: tuple[str, ...]
    steps: tuple[Step, ...]
    placement: Placement
    inputs: tuple[End, ...]
    outputs: tuple[End, ...]
    features_offset: int | None
    classes: int
    label_bytes: int
    ring_bytes: int
    identity: int
    max_payload_bytes: int
    buffers: tuple[Buffer, ...]
    constants: tuple[Buffer, ...]
    senses: bool

    @property
    def code_estimate_bytes(self) -> int:
        """Code and small constants as GCC makes them, by estimate."""
        return self._code_bytes(AVR if self.board.core is Core.AVR else GNU)

    @property
    def zig_code_estimate_bytes(self) -> int:
        """The same with zig, whose code is larger; 0 where zig does not build it."""
        return 0 if self.output in (Output.ARDUINO, Output.MICROPYTHON) else self._code_bytes(ZIG)

    def _code_bytes(self, measured: Measured) -> int:
        calls = [step.call for step in self.steps if step.call]
        return code_bytes(
            measured,
            self.board,
            self.output,
            {source for call in calls for source in call.sources},
            steps=len(calls),
            trains=self.head is not None,
            keeps=self.head is not None and self.board.nvm is not None,
            senses=self.senses,
        )

    @property
    def head(self) -> DenseHead | None:
        """The trainable layer, if there is one."""
        return self.training.layers[0] if self.training.layers else None

    @property
    def residual(self) -> Residual:
        """How trainable weights are stored; INT8 where nothing trains."""
        return self.head.residual if self.head else Residual.INT8

    @property
    def store_part_bytes(self) -> tuple[int, ...]:
        """Sizes of the parts of a record that keeps what was learned; empty where nothing trains."""
        return _store_part_bytes(self.head, self.label_bytes)

    @property
    def store(self) -> StoreLayout | None:
        """How heads are saved on the board; None where nothing trains, or the board has no pages or too few for it."""
        if self.board.nvm is None or not self.store_part_bytes:
            return None
        layout = store_layout(self.board.nvm, self.store_part_bytes)
        return layout if layout.fits else None

    @property
    def arena_bytes(self) -> int:
        """Bytes of the arena."""
        return self.placement.size_bytes

    @property
    def peak_layer(self) -> str:
        """Where most of the arena is alive: an op's name, "the input" or "the output"."""
        return ("the input", *(step.op.name for step in self.steps), "the output")[self.placement.peak_step]

    @property
    def flash_bytes(self) -> int:
        """Constants, and code by estimate."""
        return sum(constant.size_bytes for constant in self.constants) + self.code_estimate_bytes

    @property
    def state_estimate_bytes(self) -> int:
        """RAM of link, drivers and whatever else the project is built from, beside the buffers; by estimate."""
        state = _state_bytes(self.senses)
        if self.output is not Output.ARDUINO or self.board.arduino is None:
            return state
        # What the core takes is told with the stack.
        return state + max(self.board.arduino.core_ram_bytes - self.board.stack_bytes, 0)

    @property
    def ram_bytes(self) -> int:
        """Buffers, and the state of link and drivers by estimate, and the stack."""
        return sum(b.size_bytes for b in self.buffers) + self.state_estimate_bytes + self.board.stack_bytes


#: C99 tells names apart by their first 63 characters; what a suffix and a number need is left free.
_IDENTIFIER_CHARACTERS = 48
#: Names that mean something in C, in its library or in every model.c.
_RESERVED = frozenset(
    re.findall(
        r"\w+",
        """
        auto bool break case char const continue default do double else enum extern false float for goto if inline int
        long main register restrict return short signed sizeof static struct switch true typedef union unsigned void
        volatile while int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t size_t ptrdiff_t wchar_t
        offsetof abort abs acos acosh asin asinh asm atan atan2 atanh atexit bsearch calloc cbrt ceil copysign cos cosh
        div erf erfc exit exp exp2 expm1 fabs fdim floor fma fmax fmin fmod free frexp gamma gets hypot ilogb isalnum
        isalpha isblank iscntrl isdigit isgraph islower isprint ispunct isspace isupper isxdigit j0 j1 jn labs ldexp
        ldiv lgamma llabs log log10 log1p log2 logb lrint lround malloc memchr memcmp memcpy memmove memset modf nan
        nearbyint nextafter pow printf putchar puts qsort realloc remainder rint round scalb scalbln scalbn scanf
        signbit significand sin sinh snprintf sprintf sqrt sscanf strcat strchr strcmp strcpy strlen strncat strncmp
        strncpy strstr tan tanh tgamma tolower toupper trunc y0 y1 yn
        arena head initial_names interface labels names trainable
        """,
    )
)


def identifier(name: str) -> str:
    """A C identifier from a name."""
    cleaned = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower()[:_IDENTIFIER_CHARACTERS]
    plain = cleaned and not cleaned[0].isdigit() and cleaned not in _RESERVED
    return cleaned if plain and not cleaned.startswith(("elearn_", "head_")) else f"op_{cleaned}"


def _unique_identifiers(ops: tuple[AnyOp, ...]) -> tuple[str, ...]:
    """An identifier for each op, such that neither these nor the names of the ops' constants meet."""
    taken: set[str] = set()
    found = []
    for op in ops:
        base = candidate = identifier(op.name)
        number = 2
        while not taken.isdisjoint(_symbols(candidate)):
            candidate, number = f"{base}_{number}", number + 1
        taken.update(_symbols(candidate))
        found.append(candidate)
    return tuple(found)


def _symbols(name: str) -> set[str]:
    """What model.c may define for an op."""
    return {name, *(f"{name}_{suffix}" for suffix in CONSTANT_SUFFIXES)}


def plan_firmware(
    graph: Graph,
    board: Board,
    training: TrainingPlan,
    *,
    model_hash: str,
    labels: tuple[str, ...],
    spare_classes: int = 0,
    target: Target | None = None,
    output: Output | None = None,
    kernels: Kernels | None = None,
    senses: bool = False,
) -> Plan:
    """Plan the firmware of a graph for a board. Nothing is refused here: see `check_fit`.

    Args:
        graph: the network.
        board: what it is to run on; where nothing trains, its pages for what was learned are not reserved.
        training: what trains.
        model_hash: that the device tells.
        labels: of the outputs.
        spare_classes: outputs of the trainable layer, at its end, that are no class yet.
        target: what kernels may use of the processor; by default what the board's core has.
        output: what is to be generated; by default the board's first.
        kernels: what computes, with MicroPython; by default the fastest that the board's core can run.
        senses: whether a sensor on the board is read.

    Raises:
        UnsupportedOpError: ops have no such kernels.
        OptionError: the board's core has no machine code.
    """
    output = output or board.outputs[0]
    kernels = _kernels(board, output, kernels)
    head = training.layers[0] if training.layers else None
    label_bytes = _label_bytes(head, labels)
    board = _with_what_it_keeps(board, output, head, label_bytes)
    trainable = {layer.op for layer in training.layers}
    identifiers = _unique_identifiers(graph.ops)
    # This machine runs the portable twins of the DSP kernels, so that tests here see what a Cortex-M4 gets.
    target = target or Target(dsp=board.core.has_dsp or board.core is Core.HOST)
    if kernels is Kernels.VIPER:
        target = Target(dsp=False)
    calls = _calls(graph, target, trainable, kernels)
    kept = _kept(graph, training)
    root = _roots(graph, calls, kept)
    placement = place(_lifetimes(graph, calls, root, kept))
    offsets = {name: placement.offsets[view] for name, view in root.items() if view in placement.offsets}

    def places(names: tuple[str, ...]) -> tuple[Place, ...]:
        return tuple(Place(offset=offsets[n], dtype=graph.tensor(n).dtype) for n in names if n in offsets)

    steps = [
        Step(
            op=op,
            identifier=name,
            title=_title(graph, op),
            call=call,
            inputs=places(op.inputs),
            outputs=places(op.outputs),
            scratch=placement.offsets.get(_scratch_name(op)),
            multiply_accumulates=op.multiply_accumulates(graph.tensors_by_name),
            constants_bytes=sum(c.size_bytes for c in call.constants) if call else 0,
        )
        for op, name, call in zip(graph.ops, identifiers, calls, strict=True)
    ]
    inputs = tuple(_end(graph, name, offsets, is_input=True) for name in graph.inputs)
    outputs = tuple(_end(graph, name, offsets, is_input=False) for name in graph.outputs)
    ends = (*inputs, *outputs)
    max_payload_bytes = _max_payload_bytes(inputs, head)
    buffers = _buffers(head, placement.size_bytes, max_payload_bytes, label_bytes)
    ring_bytes = ARDUINO_RING_BYTES if output is Output.ARDUINO else _ring_bytes(board, inputs, buffers, senses)
    if board.core is not Core.HOST and output is Output.BARE_METAL:
        buffers = (*buffers, Buffer(symbol="ring", size_bytes=ring_bytes, purpose="link"))
    return Plan(
        graph=graph,
        board=board,
        output=output,
        kernels=kernels,
        training=training,
        model_hash=model_hash,
        labels=labels,
        steps=tuple(steps),
        placement=placement,
        inputs=inputs,
        outputs=outputs,
        features_offset=offsets[head.features_tensor] if head else None,
        classes=head.outputs - spare_classes if head and head.loss is LossKind.CROSS_ENTROPY else 0,
        label_bytes=label_bytes,
        ring_bytes=ring_bytes,
        identity=_identity(head, label_bytes),
        max_payload_bytes=max_payload_bytes,
        buffers=buffers,
        constants=_constants(
            steps, head, labels, label_bytes, interface_bytes=sum(len(pack_record(end.tensor)) for end in ends)
        ),
        senses=senses,
    )


def plan_on(plan: Plan, board: Board, output: Output | None = None) -> Plan:
    """The same plan for another board of the same core, without choosing its kernels again, which takes long."""
    output = output or board.outputs[0]
    board = _with_what_it_keeps(board, output, plan.head, plan.label_bytes)
    buffers = tuple(buffer for buffer in plan.buffers if buffer.symbol != "ring")
    ring_bytes = ARDUINO_RING_BYTES
    if output is not Output.ARDUINO:
        ring_bytes = _ring_bytes(board, plan.inputs, buffers, plan.senses)
    if board.core is not Core.HOST and output is Output.BARE_METAL:
        buffers = (*buffers, Buffer(symbol="ring", size_bytes=ring_bytes, purpose="link"))
    return structs.replace(
        plan,
        board=board,
        output=output,
        ring_bytes=ring_bytes,
        buffers=buffers,
    )


def _store_part_bytes(head: DenseHead | None, label_bytes: int) -> tuple[int, ...]:
    if head is None:
        return ()
    return head_part_bytes(
        outputs=head.outputs, features=head.features, residual=head.residual, label_bytes=label_bytes
    )


def _with_what_it_keeps(board: Board, output: Output, head: DenseHead | None, label_bytes: int) -> Board:
    """The board without its pages where nothing is kept in them: nothing trains, or a sketch has no room for two heads.

    Bare-metal firmware is refused in the latter case, see `check_fit`: a board file can give it more pages.
    """
    if head is None or board.nvm is None or not board.keeps(output):
        return board.without_nvm()
    if output is Output.ARDUINO and not store_layout(board.nvm, _store_part_bytes(head, label_bytes)).fits:
        return board.without_nvm()
    return board


def unkept_words(plan: Plan, board: Board) -> str:
    """Why a plan for the board keeps nothing although its output can; empty where it does, or could not anyhow."""
    if plan.board.nvm or board.nvm is None or not plan.head or not board.keeps(plan.output):
        return ""
    layout = store_layout(board.nvm, plan.store_part_bytes)
    return (
        f"what it learns is lost at a reset: a saved head takes {layout.block_bytes:,} bytes, two are needed, and "
        f"{board.name} has {board.nvm.size_bytes:,} for them"
        + ("; --residual stochastic keeps half as much" if plan.residual is Residual.INT8 else "")
    )


def _kernels(board: Board, output: Output, kernels: Kernels | None) -> Kernels:
    """What computes, checked."""
    if output is not Output.MICROPYTHON:
        if kernels not in (None, Kernels.NATIVE):
            raise OptionError(f"{kernels.value} kernels are MicroPython's", hint="add --target micropython")
        return Kernels.NATIVE
    has_machine_code = board.core in LIBRARIES
    if kernels is Kernels.NATIVE and not has_machine_code:
        raise OptionError(
            f"there is no machine code for the {board.core.value} of {board.name}", hint="--kernels viper"
        )
    return kernels or (Kernels.NATIVE if has_machine_code else Kernels.VIPER)


def _calls(graph: Graph, target: Target, trainable: set[str], kernels: Kernels) -> list[Call | None]:
    """The kernel call of each op; what cannot be lowered is refused together."""
    calls: list[Call | None] = []
    refused: list[UnsupportedOpError] = []
    for op in graph.ops:
        try:
            call = None if op.name in trainable else lower(graph, op, target)
            calls.append(_in_viper(op, call) if call and kernels is Kernels.VIPER else call)
        except UnsupportedOpError as error:
            refused.append(error)
    if refused:
        ops = tuple(name for error in refused for name in error.ops)
        raise UnsupportedOpError(ops, hint="; ".join(dict.fromkeys(error.hint for error in refused)))
    return calls


def _in_viper(op: AnyOp, call: Call) -> Call:
    try:
        return adapt(call)
    except UnsupportedOpError as error:
        reasons = tuple(f"{op.TITLE} (op #{op.index}): {reason}" for reason in error.ops)
        raise UnsupportedOpError(reasons, hint=error.hint) from error


def _kept(graph: Graph, training: TrainingPlan) -> set[str]:
    """The tensors that must keep their bytes after the last op: what the link and the trainable layer read."""
    kept = {layer.features_tensor for layer in training.layers}
    kept.update(name for name in graph.outputs if not _is_logits(graph, name))
    if any(layer.input_target[0] for layer in training.layers):
        kept.update(graph.inputs)
    return kept


def _is_logits(graph: Graph, name: str) -> bool:
    """Whether a trainable layer gives the tensor."""
    op = graph.producer(name)
    return op is not None and graph.trains(op)


_WIRE_TYPES = {
    DType.INT8: TensorType.INT8,
    DType.INT32: TensorType.INT32,
    DType.INT64: TensorType.INT64,
    DType.FLOAT32: TensorType.FLOAT32,
}


def _quantised(graph: Graph, name: str) -> Tensor | None:
    """An input or output itself where it is int8, else the int8 tensor behind the float edge."""
    if graph.tensor(name).dtype is DType.INT8:
        return graph.tensor(name)
    op = graph.producer(name)
    behind = [reader.output for reader in graph.consumers(name) if isinstance(reader, Quantize)]
    behind += [op.inputs[0]] if isinstance(op, Dequantize) else []
    return graph.tensor(behind[0]) if behind else None


def _end(graph: Graph, name: str, offsets: dict[str, int], *, is_input: bool) -> End:
    tensor = graph.tensor(name)
    is_logits = _is_logits(graph, name)
    quantised = None if is_logits else _quantised(graph, name)
    return End(
        tensor=TensorInfo(
            name=tensor.name,
            is_input=is_input,
            type=TensorType.LOGITS if is_logits else _WIRE_TYPES[tensor.dtype],
            elements=tensor.elements,
            scale=quantised.scale if quantised else 0.0,
            zero_point=quantised.zero_point if quantised else 0,
        ),
        place=None if is_logits else Place(offset=offsets[name], dtype=tensor.dtype),
    )


def _in_arena(graph: Graph, op: AnyOp) -> list[str]:
    """The op's activations. Trainable outputs are not among them: they have buffers of their own."""
    return [n for n in (*op.inputs, *(() if graph.trains(op) else op.outputs)) if not graph.tensor(n).is_constant]


def _roots(graph: Graph, calls: list[Call | None], kept: set[str]) -> dict[str, str]:
    """For each activation the one whose bytes it takes: itself, the input of a reshape, or of an op in place."""
    last_use = {name: step for step, op in enumerate(graph.ops) for name in _in_arena(graph, op)}
    root = {name: name for name in graph.inputs}
    family: dict[str, list[str]] = {name: [name] for name in graph.inputs}
    for step, (op, call) in enumerate(zip(graph.ops, calls, strict=True)):
        for name in _in_arena(graph, op):
            if name in root:
                continue
            source = op.inputs[0] if op.TITLE == "RESHAPE" else None
            for number in call.in_place if call and name == op.output else ():
                views = family[root[op.inputs[number]]] if op.inputs[number] in root else []
                free = all(last_use[view] <= step and view not in kept for view in views)
                large_enough = views and graph.tensor(views[0]).size_bytes >= graph.tensor(name).size_bytes
                if free and large_enough:
                    source = op.inputs[number]
                    break
            root[name] = root[source] if source else name
            family.setdefault(root[name], []).append(name)
    return root


def _scratch_name(op: AnyOp) -> str:
    return f"{op.name}:scratch"


def _lifetimes(graph: Graph, calls: list[Call | None], root: dict[str, str], kept: set[str]) -> list[Lifetime]:
    """First and last step of everything in the arena. Step 0 is the arrival of the input, op i is step i + 1."""
    last_step = len(graph.ops) + 1
    first = {root[name]: 0 for name in graph.inputs}
    last = dict(first)
    scratch = []
    for step, (op, call) in enumerate(zip(graph.ops, calls, strict=True), start=1):
        for name in _in_arena(graph, op):
            first.setdefault(root[name], step)
            last[root[name]] = step
        if call and call.scratch_bytes:
            size = call.scratch_bytes
            scratch.append(Lifetime(name=_scratch_name(op), size_bytes=size, first_step=step, last_step=step))
    for name in kept:
        last[root[name]] = last_step
    tensors = [
        Lifetime(name=n, size_bytes=graph.tensor(n).size_bytes, first_step=first[n], last_step=last[n]) for n in first
    ]
    return tensors + scratch


def _title(graph: Graph, op: AnyOp) -> str:
    def shape(name: str) -> str:
        return "x".join(str(n) for n in graph.tensor(name).shape[1:])

    text = f"{op.TITLE} {' + '.join(shape(n) for n in op.inputs if not graph.tensor(n).is_constant)}"
    window = getattr(op, "window", None)
    if window is not None:
        text += f", {window.kernel_h}x{window.kernel_w} window, stride {window.stride_h}x{window.stride_w}"
    activation = getattr(op, "activation", None)
    if activation is not None and activation.value != "none":
        text += f", {activation.value}"
    return f"{text} -> {shape(op.output)}"


def _max_payload_bytes(inputs: tuple[End, ...], head: DenseHead | None) -> int:
    """Bytes of the longest request: a whole sample, or its last part, which has the targets."""
    sample = message(MessageType.SAMPLE).size_bytes
    targets = 2 * head.outputs if head and head.loss is LossKind.SQUARED_ERROR else 0
    whole = sample + sum(end.tensor.size_bytes for end in inputs) + targets
    return max(min(whole, max(sample + targets, MOST_PART_BYTES)), REPLY_PAYLOAD_BYTES)


def _label_bytes(head: DenseHead | None, labels: tuple[str, ...]) -> int:
    """Bytes of a name on the device; 0 where names are constants: without a trainable classifier, or with many."""
    if not head or head.loss is not LossKind.CROSS_ENTROPY or not labels:
        return 0
    longest = max(len(label.encode()) for label in labels)
    label_bytes = max(LEAST_LABEL_BYTES, (longest // 4 + 1) * 4)
    return label_bytes if label_bytes <= MOST_LABEL_BYTES and head.outputs * label_bytes <= MOST_NAMES_BYTES else 0


def _state_bytes(senses: bool) -> int:
    return STATE_ESTIMATE_BYTES + (SENSOR_STATE_ESTIMATE_BYTES if senses else 0)


def _ring_bytes(board: Board, inputs: tuple[End, ...], buffers: tuple[Buffer, ...], senses: bool) -> int:
    """Bytes of the receive ring: three whole samples where that is not too much, less where RAM is short."""
    sample = message(MessageType.SAMPLE).size_bytes + sum(end.tensor.size_bytes for end in inputs)
    wanted = min(max(3 * encoded_bytes(sample), USUAL_RING_BYTES), MOST_RING_BYTES)
    ring_bytes = 1 << (wanted - 1).bit_length()
    left = board.ram_bytes - board.stack_bytes - _state_bytes(senses) - sum(buffer.size_bytes for buffer in buffers)
    while ring_bytes > LEAST_RING_BYTES and ring_bytes > left:
        ring_bytes //= 2
    return ring_bytes


def _identity(head: DenseHead | None, label_bytes: int) -> int:
    """A checksum of everything that gives the bytes of a saved head their meaning, beyond the model itself."""
    if head is None:
        return 0
    meaning = [head.outputs, head.features, head.logit_fraction_bits, label_bytes, ord(head.residual.value[0])]
    if isinstance(head.rows, IntegerRows):
        meaning += [*head.rows.row_m, *head.rows.row_r]
    return zlib.crc32(struct.pack(f"<{len(meaning)}I", *meaning))


def _buffers(head: DenseHead | None, arena_bytes: int, max_payload_bytes: int, label_bytes: int) -> tuple[Buffer, ...]:
    frame = HEADER_BYTES + CRC_BYTES
    kept = HEADER_BYTES + message(MessageType.RESULT).size_bytes
    buffers = [Buffer(symbol="arena", size_bytes=arena_bytes, purpose="activations")]
    if head:
        weights = head.outputs * head.features
        if head.residual is Residual.FLOAT:
            buffers.append(Buffer(symbol="head_weights", size_bytes=4 * weights, purpose="head"))
        else:
            buffers.append(Buffer(symbol="head_weights", size_bytes=weights, purpose="head"))
            if head.residual is Residual.INT8:
                buffers.append(Buffer(symbol="head_residual", size_bytes=weights, purpose="head"))
            buffers.append(Buffer(symbol="head_row_t", size_bytes=head.outputs, purpose="head"))
            buffers.append(Buffer(symbol="head_row_rho", size_bytes=head.outputs, purpose="head"))
            buffers.append(Buffer(symbol="head_row_k", size_bytes=2 * head.outputs, purpose="head"))
        buffers.append(Buffer(symbol="head_bias", size_bytes=4 * head.outputs, purpose="head"))
        buffers.append(Buffer(symbol="head_logits", size_bytes=4 * head.outputs, purpose="head"))
        if head.loss is LossKind.CROSS_ENTROPY:
            buffers.append(Buffer(symbol="head_probabilities", size_bytes=2 * head.outputs, purpose="head"))
        if label_bytes:
            buffers.append(Buffer(symbol="names", size_bytes=label_bytes * head.outputs, purpose="head"))
    buffers += [
        Buffer(symbol="receive_buffer", size_bytes=frame + max_payload_bytes, purpose="link"),
        Buffer(symbol="reply_buffer", size_bytes=frame + REPLY_PAYLOAD_BYTES, purpose="link"),
        Buffer(symbol="kept_replies", size_bytes=WINDOW * kept, purpose="link"),
    ]
    return tuple(buffers)


def _constants(
    steps: list[Step], head: DenseHead | None, labels: tuple[str, ...], label_bytes: int, *, interface_bytes: int
) -> tuple[Buffer, ...]:
    constants = [
        Buffer(symbol=f"{step.identifier}_{constant.suffix}", size_bytes=constant.size_bytes, purpose=step.op.name)
        for step in steps
        if step.call
        for constant in step.call.constants
    ]
    if head:
        sizes = {"head_initial_weights": len(head.rows.weights), "head_initial_bias": 4 * head.outputs}
        if isinstance(head.rows, IntegerRows):
            sizes["head_initial_residual"] = len(head.rows.residual)
            sizes |= {"head_initial_row_t": head.outputs, "head_initial_row_rho": head.outputs}
            sizes |= {"head_row_m": 2 * head.outputs, "head_row_r": 2 * head.outputs}
        constants += [Buffer(symbol=s, size_bytes=n, purpose=head.op) for s, n in sizes.items() if n]
    constants.append(Buffer(symbol="interface", size_bytes=interface_bytes, purpose="interface"))
    if label_bytes and head:
        constants.append(Buffer(symbol="initial_names", size_bytes=label_bytes * head.outputs, purpose="labels"))
    elif labels:
        constants.append(Buffer(symbol="labels", size_bytes=labels_bytes(labels) + 1, purpose="labels"))
    return tuple(constants)


def labels_bytes(labels: tuple[str, ...]) -> int:
    """Bytes of the labels, UTF-8, one a line, without a closing zero."""
    return len("\n".join(labels).encode())


def check_fit(plan: Plan) -> None:
    """Refuse a plan that the board cannot hold. What MicroPython's heap can hold is seen when its package is made.

    Raises:
        DoesNotFitError: with what it needs, what the board has, what is largest and what would help.
    """
    if plan.output is Output.MICROPYTHON:
        return
    _check_compiler(plan)
    for memory, needed, available in (
        ("RAM", plan.ram_bytes, plan.board.ram_bytes),
        ("flash", plan.flash_bytes, plan.board.flash_bytes),
    ):
        if needed > available:
            raise DoesNotFitError(
                memory=memory,
                needed_bytes=needed,
                available_bytes=available,
                board=plan.board.name,
                cause=_largest_in_ram(plan) if memory == "RAM" else _largest_in_flash(plan),
                hint=_what_would_help(plan, needed - available, memory),
            )
    _check_store(plan)


#: The largest object of avr-gcc.
_AVR_LARGEST_BYTES = 32_767


def _check_compiler(plan: Plan) -> None:
    """Refuse what no compiler for an AVR can express: float64, and an array beyond 15 bits."""
    if plan.board.core is not Core.AVR:
        return
    in_float64 = [
        step
        for step in plan.steps
        if step.call and any(constant.c_type == "double" for constant in step.call.constants)
    ]
    if in_float64:
        raise UnsupportedOpError(
            tuple(
                f"{step.op.TITLE} (op #{step.op.index}) with its scales: {plan.board.name} has no float64"
                for step in in_float64
            ),
            hint="choose a board with a 32-bit processor, or a layer with fewer inputs or smaller biases",
        )
    largest = max(plan.constants, key=lambda constant: constant.size_bytes)
    if largest.size_bytes > _AVR_LARGEST_BYTES:
        raise DoesNotFitError(
            memory="one array of constants",
            needed_bytes=largest.size_bytes,
            available_bytes=_AVR_LARGEST_BYTES,
            board=plan.board.name,
            cause=f"the largest is that of {largest.purpose}",
            hint="split the layer, or choose a board with a 32-bit processor",
        )


def _check_store(plan: Plan) -> None:
    """Two blocks of the pages for what was learned must have room for a record each."""
    nvm = plan.board.nvm
    if nvm is None or not plan.head:
        return
    layout = store_layout(nvm, plan.store_part_bytes)
    if not layout.fits:
        raise DoesNotFitError(
            memory="non-volatile memory",
            needed_bytes=layout.least_nvm_bytes,
            available_bytes=nvm.size_bytes,
            board=plan.board.name,
            cause=f"what was learned is a record of {layout.record_bytes:,} bytes, which takes "
            f"{count(layout.block_bytes // nvm.page_bytes, 'page')} of {nvm.page_bytes:,} bytes; "
            "twice that is needed, so that one stays while the other is written",
            hint="choose a board with more pages, or give it more: [nvm] in its board file"
            + ("; --residual stochastic keeps half as much" if plan.residual is Residual.INT8 else ""),
        )


def _largest_in_ram(plan: Plan) -> str:
    parts = []
    if plan.head:
        head = plan.head
        stored = head.outputs * head.features * head.residual.weight_bytes
        parts.append(
            (stored, f"the trainable layer {head.op} with {head.outputs} x {head.features} weights: {stored:,} bytes")
        )
    parts.append((plan.arena_bytes, f"the arena: {plan.arena_bytes:,} bytes, most of it for {plan.peak_layer}"))
    return "the largest part is " + max(parts)[1]


def _largest_in_flash(plan: Plan) -> str:
    by_layer: dict[str, int] = {}
    for constant in plan.constants:
        by_layer[constant.purpose] = by_layer.get(constant.purpose, 0) + constant.size_bytes
    name, size = max(by_layer.items(), key=lambda item: item[1])
    return f"the largest layer is {name}: {size:,} bytes"


def _what_would_help(plan: Plan, excess_bytes: int, memory: str) -> str:
    head = plan.head
    if head and memory == "RAM":
        weights = head.outputs * head.features
        saved = weights * (head.residual.weight_bytes - Residual.STOCHASTIC.weight_bytes)
        if saved >= excess_bytes:
            return f"--residual stochastic stores the layer in {weights:,} bytes, which is enough of RAM"
        if weights * head.residual.weight_bytes >= excess_bytes:
            return "convert with --head none (inference only), or choose a board with more RAM"
    if memory == "flash" and head and isinstance(head.rows, IntegerRows) and len(head.rows.residual) >= excess_bytes:
        return f"--residual stochastic needs {len(head.rows.residual):,} bytes less flash, which is enough of it"
    larger = "choose a board with more " + memory
    dense = any(isinstance(step.op, FullyConnected) for step in plan.steps)
    return f"{larger}, or shrink the model{' (its dense layers first)' if dense and memory == 'flash' else ''}"
