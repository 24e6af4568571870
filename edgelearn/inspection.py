"""What is in a model and whether it fits: layers with shapes, work, weights and arena use, against a board's memory."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from edgelearn import convert as converter
from edgelearn import pipeline
from edgelearn.arena_plot import draw_arena
from edgelearn.board import Board, Output
from edgelearn.bundle import Bundle, read_bundle
from edgelearn.codegen import Plan, check_fit, check_package
from edgelearn.codegen.plan import AUTOSAVE_STEPS, BAUD
from edgelearn.errors import DoesNotFitError, OptionError, UnsupportedOpError
from edgelearn.ir import Graph, Op
from edgelearn.recipe import Residual
from edgelearn.store import FlashLife, flash_life, line_samples_per_s


class Layer(Struct, frozen=True, kw_only=True):
    """One op of the network.

    Attributes:
        input_shape, output_shape: without the batch dimension.
        parameters_bytes: weights, biases and scales in flash; for a trainable layer its weights in RAM.
        arena_bytes: bytes of the arena that are alive while it runs.
        trainable: whether its parameters learn on the device.
    """

    name: str
    op: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    multiply_accumulates: int
    parameters_bytes: int
    arena_bytes: int
    trainable: bool


class End(Struct, frozen=True, kw_only=True):
    """An input or output of the model.

    Attributes:
        name: what an array of samples may be called, see `edgelearn.samples`.
        shape: without the batch dimension.
        type: of its elements as the device takes or gives them; an output of a trainable head is told in float32.
    """

    name: str
    shape: tuple[int, ...]
    type: str


class Fit(Struct, frozen=True, kw_only=True):
    """The plan against one board. Buffers and constants are exact, code and state are estimates until built.

    Attributes:
        flash_life: of the pages that keep what was learned; None where there are none, or nothing trains.
    """

    board: str
    fits: bool
    flash_bytes: int
    flash_available_bytes: int
    ram_bytes: int
    ram_available_bytes: int
    head_bytes: int
    link_bytes: int
    stack_bytes: int
    problem: str
    hint: str
    flash_life: FlashLife | None = None


class PeakBuffer(Struct, frozen=True, kw_only=True):
    """A buffer of the arena."""

    name: str
    size_bytes: int


class Inspection(Struct, frozen=True, kw_only=True):
    """What `edgelearn inspect` tells; the keys of its --json.

    Attributes:
        labels: of all outputs, spare ones included.
        spare_outputs: how many at the end are no class yet.
        loss: of the trainable head, "" without one.
        arena_bound_bytes: the most that is alive at once; no placement can be smaller.
        arena_is_optimal: whether it is proved that no placement is smaller than `arena_bytes`.
        peak_layer: where most is alive.
        peak_buffers: what is alive there, the largest first; scratch has the layer's name and `:scratch`.
        largest_layer: the layer whose tensors and parameters take most.
        busiest_layers: the three with most multiply-accumulates; `edgelearn profile` measures which are the slowest.
    """

    name: str
    model_hash: str
    labels: tuple[str, ...]
    spare_outputs: int
    inputs: tuple[End, ...]
    outputs: tuple[End, ...]
    loss: str
    layers: tuple[Layer, ...]
    multiply_accumulates: int
    constants_bytes: int
    arena_bytes: int
    arena_bound_bytes: int
    arena_is_optimal: bool
    peak_layer: str
    peak_buffers: tuple[PeakBuffer, ...]
    largest_layer: str
    busiest_layers: tuple[str, ...]
    fit: Fit | None


def inspect(
    path: Path,
    *,
    board: Board | None = None,
    residual: Residual = Residual.INT8,
    picture: Path | None = None,
    autosave_steps: int = AUTOSAVE_STEPS,
    rate_hz: float | None = None,
) -> Inspection:
    """Inspect a bundle or an int8 `.tflite`.

    Args:
        path: the file; a name ending in `.tflite` is converted in memory, as `edgelearn convert` would.
        board: compare with this board's memory.
        residual: how the head's weights would be stored.
        picture: draw the arena over the layers into this .svg or .png file.
        autosave_steps: training steps between two heads that the device saves by itself, for the life of its flash.
        rate_hz: training samples a second, for the same; None: as many as the serial line carries.
    """
    bundle = read_model(path)
    plan = pipeline.plan(bundle, board or pipeline.host_board(), residual=residual)
    if picture is not None:
        draw_arena(plan, picture)
    layers = tuple(_layer(plan, index) for index in range(len(plan.steps)))
    largest = max(layers, key=lambda layer: layer.arena_bytes + layer.parameters_bytes)
    return Inspection(
        name=bundle.name,
        model_hash=bundle.model_hash,
        labels=bundle.labels,
        spare_outputs=bundle.spare_classes,
        inputs=ends(bundle.graph, bundle.graph.inputs),
        outputs=ends(bundle.graph, bundle.graph.outputs),
        loss=bundle.graph.loss.kind.value if bundle.graph.loss else "",
        layers=layers,
        multiply_accumulates=sum(layer.multiply_accumulates for layer in layers),
        constants_bytes=sum(constant.size_bytes for constant in plan.constants),
        arena_bytes=plan.arena_bytes,
        arena_bound_bytes=plan.placement.lower_bound_bytes,
        arena_is_optimal=plan.placement.is_optimal,
        peak_layer=plan.peak_layer,
        peak_buffers=_peak_buffers(plan),
        largest_layer=largest.name,
        busiest_layers=_busiest(layers),
        fit=fit(plan, autosave_steps=autosave_steps, rate_hz=rate_hz) if board else None,
    )


def read_model(path: Path) -> Bundle:
    """Read a bundle; a file whose name ends in `.tflite` is converted in memory, as `edgelearn convert` would."""
    return converter.convert_model(path) if path.suffix == ".tflite" else read_bundle(path)


def _peak_buffers(plan: Plan) -> tuple[PeakBuffer, ...]:
    placement = plan.placement
    alive = [b for b in placement.buffers if b.first_step <= placement.peak_step <= b.last_step]
    alive.sort(key=lambda b: (-b.size_bytes, b.name))
    return tuple(PeakBuffer(name=b.name, size_bytes=b.size_bytes) for b in alive)


def _busiest(layers: tuple[Layer, ...]) -> tuple[str, ...]:
    ranked = sorted(layers, key=lambda layer: layer.multiply_accumulates, reverse=True)
    return tuple(layer.name for layer in ranked[:3] if layer.multiply_accumulates)


def ends(graph: Graph, names: tuple[str, ...]) -> tuple[End, ...]:
    """Inputs or outputs of the model, for people."""
    tensors = [graph.tensor(name) for name in names]
    return tuple(End(name=t.name, shape=t.shape[1:], type=t.dtype.value) for t in tensors)


def _shape(graph: Graph, name: str) -> tuple[int, ...]:
    return graph.tensor(name).shape[1:]


def _layer(plan: Plan, index: int) -> Layer:
    step, graph = plan.steps[index], plan.graph
    op: Op = step.op
    trainable = graph.trains(op)
    head = plan.head
    parameters = step.constants_bytes
    if trainable and head:
        parameters = head.outputs * head.features * head.residual.weight_bytes + 4 * head.outputs
    return Layer(
        name=op.name,
        op=op.TITLE,
        input_shape=_shape(graph, op.inputs[0]),
        output_shape=_shape(graph, op.output),
        multiply_accumulates=step.multiply_accumulates,
        parameters_bytes=parameters,
        arena_bytes=plan.placement.alive_bytes[index + 1],
        trainable=trainable,
    )


def fit(plan: Plan, *, autosave_steps: int = AUTOSAVE_STEPS, rate_hz: float | None = None) -> Fit:
    """Compare a plan with its board's memory."""
    problem = hint = ""
    try:
        if plan.output is Output.MICROPYTHON:
            check_package(plan)
        else:
            check_fit(plan)
    except (DoesNotFitError, OptionError, UnsupportedOpError) as error:
        problem, hint = "; ".join(filter(None, (error.message, error.cause))), error.hint
    by_purpose = {"head": 0, "link": 0, "activations": 0}
    for buffer in plan.buffers:
        by_purpose[buffer.purpose] += buffer.size_bytes
    return Fit(
        board=plan.board.name,
        fits=not problem,
        flash_bytes=plan.flash_bytes,
        flash_available_bytes=plan.board.flash_bytes,
        ram_bytes=plan.ram_bytes,
        ram_available_bytes=plan.board.ram_bytes,
        head_bytes=by_purpose["head"],
        link_bytes=by_purpose["link"],
        stack_bytes=plan.board.stack_bytes,
        problem=problem,
        hint=hint,
        flash_life=_flash_life(plan, autosave_steps, rate_hz),
    )


def _flash_life(plan: Plan, autosave_steps: int, rate_hz: float | None) -> FlashLife | None:
    if plan.store is None:
        return None
    if rate_hz is None:
        rate_hz = line_samples_per_s(sum(end.tensor.size_bytes for end in plan.inputs), BAUD)
    return flash_life(plan.store, autosave_steps=autosave_steps, samples_per_s=rate_hz)


def bundle_layers(bundle: Bundle) -> tuple[Layer, ...]:
    """The layers of a bundle, for tables."""
    plan = pipeline.plan(bundle, pipeline.host_board())
    return tuple(_layer(plan, index) for index in range(len(plan.steps)))
