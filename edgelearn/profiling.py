"""Where the time goes: instructions of each layer, counted in an emulator, and an estimate of cycles and milliseconds.

The firmware that `edgelearn build` makes is booted in QEMU with its log of executed blocks on; nothing is compiled in
for it. The sum over the layers is compared with what the board's own counter gave for the same samples.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from edgelearn import pipeline
from edgelearn.board import Board, board_names, load_board
from edgelearn.bundle import read_bundle
from edgelearn.codegen import Plan
from edgelearn.errors import EmulatorError, OptionError
from edgelearn.firmware.cycles import ASSUMPTIONS, COST_TABLES
from edgelearn.firmware.emulator import require_emulator
from edgelearn.firmware.image import read_image
from edgelearn.firmware.trace import Trace, Work
from edgelearn.host.data import Dataset, load_dataset, random_dataset
from edgelearn.host.device import Device
from edgelearn.pipeline import Built
from edgelearn.recipe import Residual

#: The counter also sees the calls around the layers; beyond this share, or so many instructions, something was missed.
_MOST_MISSED = 0.002
_MOST_MISSED_INSTRUCTIONS = 100


class LayerProfile(Struct, frozen=True, kw_only=True):
    """The work of one layer, mean over the samples.

    Attributes:
        name: of the op.
        op: its type.
        kernel: the C function that was called.
        multiply_accumulates: of the op; 0 for what has none.
        instructions: counted, with all functions that the kernel calls.
        instructions_per_mac: None without multiply-accumulates.
        cycles: estimated.
        cycles_per_mac: the same for each multiply-accumulate.
        milliseconds: cycles at the board's clock.
        share: of the estimated cycles of the inference.
        mix: instructions by class.
    """

    name: str
    op: str
    kernel: str
    multiply_accumulates: int
    instructions: int
    instructions_per_mac: float | None
    cycles: int
    cycles_per_mac: float | None
    milliseconds: float
    share: float
    mix: dict[str, int]


class Profile(Struct, frozen=True, kw_only=True):
    """What `edgelearn profile` tells; the keys of its --json.

    Attributes:
        samples: how many were run; all figures are means over them.
        data: the name of the file they came from, or `random`.
        layers: those that run code, in their order; the trainable layer's outputs are the last.
        update: of the trainable layer, one step, beside the inference; None where nothing was learned. Its `share` is
            of the inference's cycles.
        multiply_accumulates: of one inference.
        instructions: of one inference, the sum of the layers.
        counted_instructions: of one inference, by the board's own counter, which sees the calls around the layers too.
        cycles: of one inference, estimated.
        milliseconds: cycles at the board's clock.
        estimate: what cycles and milliseconds are.
        sources: the documents the costs of instructions come from.
        assumptions: of the estimate.
    """

    board: str
    core: str
    clock_hz: int
    samples: int
    data: str
    layers: tuple[LayerProfile, ...]
    update: LayerProfile | None
    multiply_accumulates: int
    instructions: int
    counted_instructions: int
    cycles: int
    milliseconds: float
    estimate: str
    sources: tuple[str, ...]
    assumptions: tuple[str, ...]

    @property
    def slowest(self) -> tuple[LayerProfile, ...]:
        """The layers, those with most estimated cycles first."""
        return tuple(sorted(self.layers, key=lambda layer: layer.cycles, reverse=True))


def can_profile(board: Board) -> bool:
    """Whether the board's emulator counts instructions and tells which ones."""
    emulator = board.emulator
    return emulator is not None and emulator.ticks_per_instruction > 0 and board.core in COST_TABLES


def profile(
    bundle_path: Path,
    board: Board,
    folder: Path,
    *,
    data: Path | None = None,
    samples: int = 1,
    residual: Residual = Residual.INT8,
    toolchain: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Profile:
    """Build a bundle for a board and measure it.

    Args:
        bundle_path: the bundle.
        board: an emulated board that counts instructions.
        folder: where the project is generated.
        data: samples; without, random inputs and labels from a fixed seed, the same that `verify` takes.
        samples: how many are run. Most kernels take the same time for each.
        residual: how the head's weights are stored.
        toolchain: as for `build`.
        progress: called with samples done and samples in all.

    Raises:
        OptionError: the board's emulator does not count instructions.
        EmulatorMissingError: the board has no emulator, or it is not installed.
        DoesNotFitError: the model does not fit the board.
    """
    if board.engines and not can_profile(board):
        able = [name for name in board_names() if can_profile(load_board(name))]
        raise OptionError(
            f"{board.name} cannot be profiled",
            cause="its emulator does not count instructions",
            hint=f"take one of {', '.join(able)}",
        )
    require_emulator(board)
    bundle = read_bundle(bundle_path)
    plan = pipeline.generate(bundle, board, folder, residual=residual, any_project=True)
    built = pipeline.build(folder, toolchain=toolchain)
    return measure(folder, plan, built, data=data, samples=samples, progress=progress)


def measure(
    folder: Path,
    plan: Plan,
    built: Built,
    *,
    data: Path | None = None,
    samples: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Profile:
    """Measure a project that was built; for the rest see `profile`."""
    board = built.board
    trace = Trace(read_image(built.image))
    with pipeline.connect_traced(folder, trace.feed) as device:
        dataset = load_dataset(data, device.info) if data else random_dataset(device.info, plan.head, samples)
        ticks = [_run(device, plan, dataset, number, samples, progress) for number in range(samples)]
    trace.finish()
    traced = trace.result(COST_TABLES[board.core])

    steps = [step for step in plan.steps if step.call]
    recognised = [
        step.call.function in work.calls for step, work in zip(steps, traced.layers, strict=False) if step.call
    ]
    if len(traced.layers) != len(steps) or not all(recognised):
        raise EmulatorError(
            "the calls in the emulator's trace are not those of the plan",
            cause=f"{sum(recognised)} of {len(steps)} layers were recognised",
            hint="this QEMU may write its log in another way: `edgelearn doctor` says which one is installed",
        )
    work = list(zip([(s.op.name, s.op.TITLE, s.multiply_accumulates) for s in steps], traced.layers, strict=True))
    head = next((step for step in plan.steps if plan.head and step.op.name == plan.head.op), None)
    if head and traced.forward:
        work.append(((head.op.name, head.op.TITLE, head.multiply_accumulates), traced.forward))
    cycles = sum(done.cycles for _, done in work) / samples
    layers = tuple(
        _layer(name, op, macs, done, samples=samples, clock_hz=board.clock_hz, all_cycles=cycles)
        for (name, op, macs), done in work
    )
    update = None
    if head and traced.learn:
        update = _layer(
            head.op.name,
            "update",
            head.multiply_accumulates,
            traced.learn,
            samples=samples,
            clock_hz=board.clock_hz,
            all_cycles=cycles,
        )
    found = Profile(
        board=board.name,
        core=board.core.value,
        clock_hz=board.clock_hz,
        samples=samples,
        data=dataset.name,
        layers=layers,
        update=update,
        multiply_accumulates=sum(layer.multiply_accumulates for layer in layers),
        instructions=sum(layer.instructions for layer in layers),
        counted_instructions=pipeline.instructions(board, sum(ticks) / samples) or 0,
        cycles=round(cycles),
        milliseconds=1000 * cycles / board.clock_hz,
        estimate="cycles and milliseconds are estimated from the executed instructions; not measured on hardware",
        sources=COST_TABLES[board.core].sources,
        assumptions=(*ASSUMPTIONS, *COST_TABLES[board.core].assumptions),
    )
    _require_agreement(found)
    return found


def _run(
    device: Device,
    plan: Plan,
    dataset: Dataset,
    number: int,
    samples: int,
    progress: Callable[[int, int], None],
) -> int:
    """Run one sample, and learn it where that can be; ticks of the board's counter for the inference."""
    index = number % len(dataset)
    send = device.train if plan.head and dataset.can_train else device.predict
    result = send(
        dataset.sample(index),
        label=None if dataset.labels is None else int(dataset.labels[index]),
        targets=None if dataset.targets is None else dataset.targets[index],
        target_is_input=dataset.target_is_input,
    )
    progress(number + 1, samples)
    return result.inference_ticks


def _layer(
    name: str, op: str, macs: int, work: Work, *, samples: int, clock_hz: int, all_cycles: float
) -> LayerProfile:
    instructions, cycles = work.instructions / samples, work.cycles / samples
    return LayerProfile(
        name=name,
        op=op,
        kernel=work.calls[0],
        multiply_accumulates=macs,
        instructions=round(instructions),
        instructions_per_mac=round(instructions / macs, 3) if macs else None,
        cycles=round(cycles),
        cycles_per_mac=round(cycles / macs, 3) if macs else None,
        milliseconds=1000 * cycles / clock_hz,
        share=cycles / all_cycles if all_cycles else 0.0,
        mix={kind.value: round(number / samples) for kind, number in sorted(work.mix.items(), key=lambda m: -m[1])},
    )


def _require_agreement(found: Profile) -> None:
    missed = abs(found.counted_instructions - found.instructions)
    if missed > max(_MOST_MISSED_INSTRUCTIONS, _MOST_MISSED * found.counted_instructions):
        raise EmulatorError(
            "the emulator's trace and the board's counter do not agree",
            cause=f"{found.instructions:,} instructions were traced, {found.counted_instructions:,} were counted",
            hint="run it again; if it stays so, please report it with the bundle",
        )
