"""One device: opens a session over a link and offers what the device can do as typed methods.

Everything here is in the device's own numbers where they are exact (int8 samples, int16 targets, the planes of the
head) and in real units where a person reads them (loss, confidence, learning rate).
"""

from __future__ import annotations

import contextlib
import math
import shlex
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from msgspec import Struct
from msgspec.structs import replace

from edgelearn.errors import (
    DataError,
    DeviceRefusedError,
    DeviceTimeoutError,
    EdgelearnError,
    HeadError,
    LearningRateError,
    OptionError,
    PortError,
    ResultLostError,
)
from edgelearn.host.head import HeadState, head_parts
from edgelearn.host.link import Link, LinkCounters, LinkOptions, Pending
from edgelearn.host.session import Session, model_hash
from edgelearn.host.starts import LastStart, last_start
from edgelearn.host.transport import Transport, open_transport
from edgelearn.protocol import (
    READING,
    FrameError,
    LossCode,
    MessageType,
    Payload,
    Region,
    ResidualCode,
    ResultFlag,
    SampleFlag,
    SensorRun,
    Status,
    TensorInfo,
    TensorType,
    decode_learning_rate,
    encode_learning_rate,
    message,
    pack,
    unpack,
    unpack_interface,
)
from edgelearn.words import count

if TYPE_CHECKING:
    from typing_extensions import Self

_ONE_Q15 = 32768
#: For how long a sensor is held while the head is read or written; where that was too short, the next one.
_LEASES_MS = (10_000, 40_000, 160_000)
#: The label of a SENSOR_EVENT without one.
_NO_LABEL = 65535
#: `Result.saved_sequence` where the session has nothing saved.
NEVER_SAVED = 2**32 - 1
#: Payload bytes of a READ_REPLY or WRITE before the bytes themselves.
_READ_FIXED_BYTES = message(MessageType.READ_REPLY).size_bytes
_WRITE_FIXED_BYTES = message(MessageType.WRITE).size_bytes
#: Fields of HELLO_REPLY that DeviceInfo takes over as they are.
_INFO_INTEGERS = (
    "max_payload_bytes",
    "feature_elements",
    "feature_zero_point",
    "logit_fraction_bits",
    "error_shift",
    "target_shift",
    "step",
    "counter_hz",
    "static_ram_bytes",
    "stack_size_bytes",
    "boot",
    "label_bytes",
    "saves",
    "saved_step",
    "autosave_steps",
    "receive_bytes",
)
#: Little-endian element type of each type on the wire, as NumPy names it.
DTYPES = {
    TensorType.INT8: "<i1",
    TensorType.INT32: "<i4",
    TensorType.INT64: "<i8",
    TensorType.FLOAT32: "<f4",
    TensorType.LOGITS: "<i4",
}
#: Parts of a head that are constants of the firmware.
_CONSTANT_PARTS = ("row_m", "row_r")
_Done = TypeVar("_Done")
#: One sample: an array for each input, or the array of the only one.
Sample = npt.NDArray[Any] | Sequence[npt.NDArray[Any]]


class DeviceInfo(Struct, frozen=True, kw_only=True):
    """What a device says about itself when a session is opened.

    Attributes:
        board: the board's name, "" if the firmware holds none.
        labels: one name for each class, spare ones included; empty if the model has none.
        model_hash: the first 8 bytes of the model hash, 16 hex digits.
        inputs, outputs: of the model, in order.
        feature_elements: int8 elements of the trainable layer's input, 0 without one.
        logit_fraction_bits: logits are int32 with that many fraction bits, biases have 8 more.
        error_shift: squared error: gradient = (output - target) >> shift, rounded.
        target_shift: squared error: a target is int16, shifted left by this to a logit.
        learning_rate: as it was when the session was opened; 0 does not learn.
        step: training steps since the head was as generated, when the session was opened.
        counter_hz: ticks a second of the device's counter, 0 without one.
        static_ram_bytes: data and bss; with MicroPython what is taken in its heap at the start.
        stack_size_bytes: bytes reserved for the stack.
        boot: starts of the device, as far as it remembers.
        last_start: why it started the last time.
        classes_in_use: of a trainable classifier, from 0 on; the other outputs are spare.
        label_bytes: of a name that can be changed, 0 where it cannot.
        can_save: whether the board has memory that keeps the head without power.
        saves: number of the newest saved head, 0 without one.
        saved_step: training steps in it.
        autosave_steps: the head is saved after that many steps, 0: only when asked.
        receive_bytes: encoded bytes that may be under way.
        has_sensor: whether the firmware can take samples from a sensor of its own.
        sensor_runs: whether it did so when that was read last; its step then grows by itself.
    """

    board: str
    labels: tuple[str, ...]
    protocol_version: int
    model_hash: str
    max_payload_bytes: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    feature_elements: int
    feature_scale: float
    feature_zero_point: int
    logit_fraction_bits: int
    error_shift: int
    target_shift: int
    loss: LossCode
    residual: ResidualCode
    learning_rate: float
    step: int
    counter_hz: int
    static_ram_bytes: int
    stack_size_bytes: int
    boot: int = 0
    last_start: LastStart = LastStart()
    classes_in_use: int = 0
    label_bytes: int = 0
    can_save: bool = False
    saves: int = 0
    saved_step: int = 0
    autosave_steps: int = 0
    receive_bytes: int = 0
    has_sensor: bool = False
    sensor_runs: bool = False

    @property
    def is_trainable(self) -> bool:
        """Whether the model has a head that learns."""
        return self.feature_elements > 0

    @property
    def predicted(self) -> TensorInfo:
        """The output that predictions, labels and losses are about: the trainable layer's, else the first."""
        return next((output for output in self.outputs if output.type is TensorType.LOGITS), self.outputs[0])

    @property
    def output_elements(self) -> int:
        """Elements of the output that predictions are about."""
        return self.predicted.elements

    @property
    def classes(self) -> int:
        """How many classes a prediction may name: one an element, or any that a model names itself (ARG_MAX)."""
        gives_numbers = self.predicted.type in (TensorType.INT32, TensorType.INT64)
        return 2**16 if gives_numbers else self.output_elements

    @property
    def input_elements(self) -> int:
        """Elements of all inputs."""
        return sum(tensor.elements for tensor in self.inputs)

    def label_name(self, number: int) -> str:
        """The name of a class, or its number where it has none."""
        return self.labels[number] if 0 <= number < len(self.labels) and self.labels[number] else str(number)


class Result(Struct, frozen=True, kw_only=True):
    """What the device says to one sample: first the prediction, then, if it trained, what that took.

    Attributes:
        prediction: number of the largest output before learning.
        confidence: its probability, 0 to 1 (0 for squared error).
        loss: before learning; None where the sample had no label or no targets.
        loss_a, loss_b: the loss as the device sends it, from which `loss` is formed.
        step: training steps since the head was as generated, this one included.
        inference_ticks: counter ticks of the forward pass, 0 without a counter.
        train_ticks: counter ticks of the update.
        stack_bytes: high-water mark of the stack, 0 if unknown.
        saved_sequence: requests of this session before this number are in the newest saved head; 2^32 - 1: none.
        learned: whether the device learned from it.
        self_labelled: whether it learned its own prediction.
        round_trip_s: from sending the sample to its result.
    """

    prediction: int
    confidence: float
    loss: float | None
    loss_a: int
    loss_b: int
    step: int
    inference_ticks: int
    train_ticks: int
    stack_bytes: int
    saved_sequence: int = NEVER_SAVED
    learned: bool = False
    self_labelled: bool = False
    round_trip_s: float = 0.0


class SensorEvent(Struct, frozen=True, kw_only=True):
    """What the device says of a sample of its own sensor. Such events may be lost; `samples` shows gaps.

    Attributes:
        samples: since the sensor was started, this one included.
        prediction: number of the largest output before learning.
        confidence: its probability, 0 to 1 (0 for squared error).
        label: class number that the sample had or, self-labelled, was given; None without one.
        loss: before learning; None where the sample had no label or no targets.
        step: training steps since the head was as generated, this one included.
        inference_ticks, train_ticks, stack_bytes, saved_sequence: as in `Result`.
        learned: whether the device learned from it.
        self_labelled: whether it learned its own prediction.
        sequence: counts what the device has to tell since its reset, modulo 2^31. Where one is not after the one
            before, in the same session, the line has doubled it or made it late.
        session: that was open when the device told it; 0 where it does not say. Another one shows a reset.
    """

    samples: int
    prediction: int
    confidence: float
    label: int | None
    loss: float | None
    step: int
    inference_ticks: int
    train_ticks: int
    stack_bytes: int
    saved_sequence: int = NEVER_SAVED
    learned: bool = False
    self_labelled: bool = False
    sequence: int = 0
    session: int = 0


class PendingSample(NamedTuple):
    """A sample whose result may not have come yet."""

    flags: SampleFlag
    parts: tuple[Pending, ...]
    request: Pending

    @property
    def is_done(self) -> bool:
        """Whether its result has come."""
        return self.request.reply is not None


class Statistics(Struct, frozen=True, kw_only=True):
    """The device's own counters since its reset; `protocol.MESSAGES` says what each means."""

    step: int
    frames: int
    crc_errors: int
    framing_errors: int
    repeats: int
    gaps: int = 0
    overruns: int
    ring_bytes: int
    stack_bytes: int
    static_ram_bytes: int
    stack_size_bytes: int
    inference_stack_bytes: int = 0
    train_stack_bytes: int = 0
    save_stack_bytes: int = 0
    saves: int = 0
    saved_step: int = 0
    failed_saves: int = 0
    sensor_samples: int = 0
    sensor_learned: int = 0
    sensor_untold: int = 0
    heap_free_bytes: int = 0
    heap_allocated_bytes: int = 0
    heap_largest_free_bytes: int = 0
    collections: int = 0

    @property
    def heap_bytes(self) -> int:
        """Size of the heap; 0 where there is none."""
        return self.heap_free_bytes + self.heap_allocated_bytes


def open_device(
    port_url: str,
    *,
    expected_model_hash: str | None = None,
    expected_model_name: str = "",
    baud: int = 115200,
    hello_timeout_s: float = 10.0,
    options: LinkOptions | None = None,
    earlier_session: int = 0,
) -> Device:
    """Open a port and a session with the device behind it; use the result as a context manager.

    Args:
        port_url: a serial device, or `socket://host:port`.
        expected_model_hash: the SHA-256, in hex, of the model that must run there (its first 8 bytes are compared);
            None takes any.
        expected_model_name: what to call that model in a message.
        baud: bits per second of a serial device.
        hello_timeout_s: how long to ask before giving up; a board may have to boot first.
        options: times of the link.
        earlier_session: of another program, to go on with where the device still has it open; see `Session.open`.

    Raises:
        PortError: the port does not open or fails.
        DeviceTimeoutError: nobody answers.
        ProtocolVersionError: the device speaks another version.
        WrongModelError: the device runs another model.
    """
    transport = open_transport(port_url, baud=baud)
    try:
        return Device(
            transport,
            expected_model_hash=expected_model_hash,
            expected_model_name=expected_model_name,
            hello_timeout_s=hello_timeout_s,
            options=options,
            earlier_session=earlier_session,
        )
    except BaseException:
        transport.close()
        raise


class Device:
    """A device with an open session. Closing it closes the transport.

    The errors of `open_device` may come from the constructor; every method may raise PortError, DeviceTimeoutError,
    DeviceResetError (the device was reset, the session is gone) and DeviceRefusedError.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        expected_model_hash: str | None = None,
        expected_model_name: str = "",
        hello_timeout_s: float = 10.0,
        options: LinkOptions | None = None,
        earlier_session: int = 0,
    ) -> None:
        self.link = Link(transport, options=options)
        self.session = Session(
            self.link,
            expected_model_hash=expected_model_hash,
            expected_model_name=expected_model_name,
            hello_timeout_s=hello_timeout_s,
        )
        hello = self.session.open(earlier=earlier_session)
        #: What HELLO_REPLY said when the session was opened.
        self.hello = hello
        self._max_payload_bytes = hello.integer("max_payload_bytes")
        if self._max_payload_bytes <= max(_READ_FIXED_BYTES, _WRITE_FIXED_BYTES):
            raise DeviceRefusedError(f"the device takes payloads of {self._max_payload_bytes} bytes, too few to work")
        self._is_open = True
        #: Why the session would end with a reset of the device, as `survive` has found; "" where it would not.
        self.end_at_reset = ""
        self.info = self._read_info(hello)
        self._sensor_runs = self.info.sensor_runs

    def survive(
        self,
        reopen: Callable[[], Transport] | None = None,
        *,
        reopen_timeout_s: float = 60.0,
        save: bool = True,
    ) -> None:
        """From now on go on after resets of the device and breaks of the port, see `Session`.

        A device that has learned what it has not saved cannot be brought back after a reset. It is asked to save that
        first; where it refuses, `end_at_reset` says so and only breaks of the port are survived.

        Args:
            reopen: opens the port anew; None where it cannot be.
            reopen_timeout_s: how long to try.
            save: whether the device may be asked to save.
        """
        is_saved = False
        if save and self.info.is_trainable and self.info.can_save and self.info.step != self.info.saved_step:
            try:
                self.save()
                is_saved = True
            except DeviceRefusedError as error:
                self.end_at_reset = (
                    "the device could not save what it had learned before, so that a reset would end the session: "
                    f"{error.cause or error.message}"
                )
        self.session.survive(reopen, reopen_timeout_s=reopen_timeout_s, was_saved=is_saved)

    @property
    def port(self) -> str:
        """The port as the person named it."""
        return self.link.transport.name

    @property
    def counters(self) -> LinkCounters:
        """What the link has seen: retries, bad frames, round trips."""
        return self.link.counters

    def close(self) -> None:
        """Close the port; the device keeps running. One whose sensor runs is told that nobody listens any more.

        Another device's session stays open, so that another program may go on with it.
        """
        try:
            if self._is_open and self._sensor_runs:
                with contextlib.suppress(EdgelearnError):
                    self.session.close()
        finally:
            self._is_open = False
            self.link.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A device that does not answer is not asked to the last.
        self._is_open = self._is_open and not isinstance(error, DeviceTimeoutError | PortError)
        self.close()

    def predict(
        self,
        x: Sample,
        *,
        label: int | None = None,
        targets: npt.NDArray[np.int16] | None = None,
        target_is_input: bool = False,
    ) -> Result:
        """Run one sample without learning; with a label or targets the loss is told too.

        Args:
            x: an array for each input, or the array of the only one, each in the type that `DeviceInfo.inputs` names
                (int8 as the model itself takes it, or float32) and of any shape.
            label: class number.
            targets: int16, one for each logit, see `DeviceInfo.target_shift`.
            target_is_input: the targets are the input itself (an autoencoder).

        Raises:
            DataError: the sample does not fit the model.
        """
        return self.result(self.submit(x, label=label, targets=targets, target_is_input=target_is_input))

    def train(
        self,
        x: Sample,
        *,
        label: int | None = None,
        targets: npt.NDArray[np.int16] | None = None,
        target_is_input: bool = False,
    ) -> Result:
        """Predict one sample, then learn from it: exactly once, however often bytes are lost or repeated.

        The arguments are those of `predict`; the result's prediction and loss are from before the update.

        Raises:
            DataError: the sample does not fit the model.
        """
        pending = self.submit(x, train=True, label=label, targets=targets, target_is_input=target_is_input)
        return self.result(pending)

    def read_region(self, region: Region, index: int = 0) -> bytes:
        """All bytes of a region.

        Args:
            region: which.
            index: number of the trainable layer, input or output.
        """
        chunk_bytes = min(self._max_payload_bytes - _READ_FIXED_BYTES, 65535)
        data = b""
        while True:
            reply = self.link.request(MessageType.READ, _read(region, index, len(data), chunk_bytes))
            data += reply.tail
            total_bytes = reply.integer("total_bytes")
            if len(data) >= total_bytes:
                return data[:total_bytes]
            if not reply.tail or reply.integer("offset") + len(reply.tail) != len(data):
                raise DeviceRefusedError(
                    f"the device sent {len(data)} of the {total_bytes} bytes of {region.name.lower()} and stopped"
                )

    def read_outputs(self) -> tuple[npt.NDArray[Any], ...]:
        """The outputs of the last sample, each flat and in its own type; of the trainable layer its logits."""
        values = []
        for number, tensor in enumerate(self.info.outputs):
            is_logits = tensor.type is TensorType.LOGITS
            data = self.read_region(Region.LOGITS) if is_logits else self.read_region(Region.OUTPUT, number)
            if len(data) != tensor.size_bytes:
                raise DeviceRefusedError(
                    f"the device's output {tensor.name} has {len(data)} bytes, it said {tensor.size_bytes}"
                )
            values.append(np.frombuffer(data, dtype=DTYPES[tensor.type]))
        return tuple(values)

    def write_region(self, region: Region, data: bytes, index: int = 0) -> None:
        """Write a region from its first byte on, in as many requests as it takes.

        A failure in between leaves the first part written.
        """
        chunk_bytes = self._max_payload_bytes - _WRITE_FIXED_BYTES
        for offset in range(0, len(data), chunk_bytes):
            self.link.request(
                MessageType.WRITE,
                pack(
                    MessageType.WRITE,
                    region=region,
                    index=index,
                    offset=offset,
                    tail=data[offset : offset + chunk_bytes],
                ),
            )

    def reset_head(self) -> None:
        """Put the head back to the one the firmware was generated with."""
        self.link.request(MessageType.RESET_HEAD)
        self.refresh()

    def refresh(self) -> None:
        """Read anew what of `info` the device changes by itself or at a reset of the head.

        These are classes and their names, the learning rate, and whether the sensor runs.
        """
        hello = self.session.ask()
        self.info = replace(self.info, **self._changing(hello))
        self._sensor_runs = self.info.sensor_runs

    def set_learning_rate(self, learning_rate: float) -> float:
        """Set the learning rate; returns the nearest one that the device can hold.

        Raises:
            LearningRateError: the integer update cannot represent it.
        """
        mantissa, exponent = encode_learning_rate(learning_rate)
        request = pack(MessageType.SET_LEARNING_RATE, mantissa=mantissa, exponent=exponent)
        answer = self.link.exchange(MessageType.SET_LEARNING_RATE, request)
        if answer.status == Status.LEARNING_RATE:
            raise LearningRateError(
                f"the device refused the learning rate {learning_rate:g}",
                cause="with this head's scales an update would leave the range of its integers",
                hint="give a smaller one",
            )
        self.link.check(MessageType.SET_LEARNING_RATE, answer)
        return decode_learning_rate(mantissa, exponent)

    def save(self) -> None:
        """Save the head, the names of its classes and the step counter in the device's memory that needs no power.

        Raises:
            DeviceRefusedError: the board has no such memory, or it failed; then what was saved before is still there.
        """
        try:
            self.link.request(MessageType.SAVE)
        except DeviceRefusedError as error:
            error.hint = (
                f"`edgelearn head pull --port {shlex.quote(self.port)} --bundle MODEL.elb -o LEARNED.elb` keeps it in "
                "a file; of an emulated board it may be that the emulator cannot write this board's memory"
            )
            raise

    def keep(self) -> str:
        """Save what was just changed where the board can; returns why it is not kept without power, "" where it is."""
        if not self.info.can_save:
            return "the board has no memory that keeps the head without power"
        try:
            self.save()
        except DeviceRefusedError as error:
            return f"{error.message}: {error.cause}; {error.hint}"
        return ""

    def forget(self) -> None:
        """Erase every saved head: after the next reset the device is as generated."""
        self.link.request(MessageType.FORGET)

    def set_autosave(self, steps: int) -> None:
        """Let the device save by itself after so many training steps; 0: only when asked."""
        self.link.request(MessageType.SET_AUTOSAVE, pack(MessageType.SET_AUTOSAVE, steps=steps))

    def set_class(self, index: int, name: str) -> None:
        """Rename a class; with the number of classes in use as index, add one, which starts with zero weights.

        Raises:
            DataError: the name is too long for the device.
        """
        encoded = name.encode()
        if len(encoded) > self.info.label_bytes > 0:
            raise DataError(
                f"the name {name!r} has {len(encoded)} bytes, the device keeps {self.info.label_bytes}",
                hint="give a shorter one",
            )
        self.link.request(MessageType.SET_CLASS, pack(MessageType.SET_CLASS, index=index, tail=encoded))
        info = self.info
        labels = (*info.labels[:index], name, *info.labels[index + 1 :])
        self.info = replace(info, labels=labels, classes_in_use=max(info.classes_in_use, index + 1))

    def add_class(self, name: str) -> int:
        """Take a spare output into use as a new class; returns its number.

        Raises:
            HeadError: the classes have no names, or no output is spare.
            OptionError: the name cannot be one, or is taken.
        """
        # The device may have met the label of a spare class, which is in use since.
        self.refresh()
        index = self.info.classes_in_use
        self._check_class_name(name)
        if index >= self.info.output_elements:
            raise HeadError(
                f"all {self.info.output_elements} outputs are classes already",
                hint="convert the model with `--classes N` for spare outputs, then generate and flash it again",
            )
        self.set_class(index, name)
        return index

    def rename_class(self, old: str, new: str) -> int:
        """Give a class, named or numbered `old`, another name; returns its number.

        Raises:
            HeadError: the classes have no names.
            OptionError: there is no such class, or the new name cannot be one, or is taken.
        """
        self._check_class_name(new, but=old)
        index = self.class_index(old)
        self.set_class(index, new)
        return index

    def class_index(self, name: str) -> int:
        """The number of a class by its name, or by its number in digits.

        Raises:
            OptionError: there is no such class.
        """
        names = [self.info.label_name(index) for index in range(self.info.classes_in_use)]
        if name in names:
            return names.index(name)
        if name.isdecimal() and int(name) < len(names):
            return int(name)
        hint = f"its classes are {', '.join(names)}"
        if len(names) < self.info.output_elements and self.info.label_bytes:
            hint += f"; `edgelearn head add-class {shlex.quote(name)} --port {self.port}` adds one"
        elif len(names) < self.info.output_elements:
            hint += "; a spare one is taken into use by streaming a sample with its number as the label"
        raise OptionError(f"the device has no class {name}", hint=hint)

    def _check_class_name(self, name: str, but: str | None = None) -> None:
        if not self.info.label_bytes:
            raise HeadError(
                "the device's classes have no names that could be changed",
                hint="only a trainable classifier with named classes has them: convert with --labels",
            )
        if not name.strip() or "\n" in name:
            raise OptionError("a class needs a name of one line")
        if any("\ud800" <= letter <= "\udfff" for letter in name):
            raise OptionError(f"the name {name!r} has letters that are none", hint="give it in UTF-8")
        taken = [self.info.label_name(index) for index in range(self.info.classes_in_use)]
        if name in taken and name != but:
            raise OptionError(f"there is a class {name} already", hint="give another name")

    def set_sensor(
        self,
        *,
        run: bool,
        train: bool = False,
        label: int | None = None,
        target_is_input: bool = False,
        self_label: float | None = None,
        samples: int = 0,
        report_every: int = 1,
    ) -> None:
        """Let the device take samples from its own sensor, or stop that. Starting it again counts from 0.

        While it runs the device refuses samples of the host. With `train`, a sample is learned with `label`, else with
        the label that the sensor's code gives, else with the prediction as `self_label` says, else not. Like the head,
        this is forgotten at a reset unless it was saved.

        Args:
            run: start or stop; the other arguments only matter to start.
            train: learn from the samples.
            label: class number of all samples until it is set anew.
            target_is_input: the targets are the input itself (an autoencoder).
            self_label: learn the predicted class where its probability is at least this.
            samples: stop after so many; 0: go on for ever.
            report_every: send a SensorEvent for every so many samples, 0: none.

        Raises:
            DeviceRefusedError: the firmware has no sensor, or cannot learn that way.
        """
        flags = SampleFlag(0)
        for wanted, flag in (
            (train, SampleFlag.TRAIN),
            (label is not None, SampleFlag.HAS_LABEL),
            (target_is_input, SampleFlag.TARGET_IS_INPUT),
            (self_label is not None, SampleFlag.SELF_LABEL),
        ):
            flags |= flag if wanted else SampleFlag(0)
        self._set_sensor(
            SensorRun.START if run else SensorRun.STOP,
            flags=flags,
            label=label or 0,
            threshold=_threshold(self_label),
            samples=samples,
            report_every=report_every,
        )

    def resume_sensor(self) -> bool:
        """Let the sensor go on as it was before it was stopped, with the same settings and counts.

        Returns:
            Whether it runs now; not where nobody has started it, or it has taken all its samples.
        """
        answer = self.link.exchange(MessageType.SET_SENSOR, _sensor_request(SensorRun.GO_ON))
        if answer.status != Status.SENSOR_IDLE:
            self.link.check(MessageType.SET_SENSOR, answer)
        self._sensor_runs = answer.status == Status.OK
        return self._sensor_runs

    def set_sensor_reports(self, report_every: int) -> None:
        """Let the device send a SensorEvent for every so many samples, 0: none; all else goes on as it is."""
        self._set_sensor(SensorRun.REPORT, report_every=report_every)

    def set_sensor_label(self, label: int | None) -> None:
        """Name the class of all samples from now on, None: not any more; all else goes on as it is.

        Raises:
            DeviceRefusedError: the model has no such class, or no trainable classifier.
        """
        flags = SampleFlag(0) if label is None else SampleFlag.HAS_LABEL
        self._set_sensor(SensorRun.LABEL, flags=flags, label=label or 0)

    def _set_sensor(self, run: SensorRun, **settings: int) -> None:
        self.link.request(MessageType.SET_SENSOR, _sensor_request(run, **settings))
        if run in (SensorRun.START, SensorRun.STOP) and not settings.get("lease_ms"):
            self._sensor_runs = run is SensorRun.START

    def _with_sensor_held(self, work: Callable[[], _Done]) -> _Done:
        """Do work of several requests, between which the device must learn nothing by itself; again where it has.

        The sensor is held by a lease, so that it goes on too where this program is killed meanwhile.
        """
        if not self._sensor_runs:
            return work()
        for lease_ms in _LEASES_MS:
            self._set_sensor(SensorRun.STOP, lease_ms=lease_ms)
            try:
                before = self.statistics().sensor_samples
                done = work()
                is_whole = self.statistics().sensor_samples == before
            finally:
                self.resume_sensor()
            if is_whole:
                return done
        raise DeviceRefusedError(
            "the device learned from its sensor while its head was being read or written",
            cause=f"it holds the sensor for {_LEASES_MS[-1] / 1000:.0f} s, and the line took longer",
            hint="stop the sensor first: `edgelearn monitor --stop`, or Device.set_sensor(run=False)",
        )

    def sensor_events(self, wait_s: float = 0.0) -> list[SensorEvent]:
        """What the device has said of its own samples since the last call; the oldest of many thousands are lost.

        Args:
            wait_s: if there is nothing, wait for the first byte for so long.

        Raises:
            PortError: the port failed.
        """
        self.link.poll(0.0 if self.link.unasked else wait_s)
        events = []
        while self.link.unasked:
            frame = self.link.unasked.popleft()
            # One that is too short is of no use, and lost like any other.
            with contextlib.suppress(FrameError):
                event = unpack(MessageType.SENSOR_EVENT, frame.payload)
                events.append(self._sensor_event(event, frame.sequence % READING))
        return events

    def _sensor_event(self, event: Payload, sequence: int) -> SensorEvent:
        done = ResultFlag(event.integer("flags"))
        judged = SampleFlag.HAS_LABEL | SampleFlag.TARGET_IS_INPUT if done & ResultFlag.HAS_LOSS else SampleFlag(0)
        label = event.integer("label")
        return SensorEvent(
            samples=event.integer("samples"),
            prediction=event.integer("prediction"),
            confidence=event.integer("confidence") / _ONE_Q15,
            label=None if label == _NO_LABEL else label,
            loss=self._loss(event, judged),
            step=event.integer("step"),
            inference_ticks=event.integer("inference_ticks"),
            train_ticks=event.integer("train_ticks"),
            stack_bytes=event.integer("stack_bytes"),
            saved_sequence=event.integer("saved_sequence"),
            learned=bool(done & ResultFlag.LEARNED),
            self_labelled=bool(done & ResultFlag.SELF_LABELLED),
            sequence=sequence,
            session=event.integer("session"),
        )

    def statistics(self) -> Statistics:
        """The device's own counters."""
        reply = self.link.request(MessageType.STATISTICS)
        return Statistics(**{name: reply.integer(name) for name in Statistics.__struct_fields__})

    def read_head(self, index: int = 0) -> HeadState:
        """The learned head; a sensor that runs is held as long as that takes.

        Raises:
            HeadError: the model has none.
        """
        self._need_head()
        arrays: dict[str, Any] = {}
        parts = head_parts(self.info.residual)
        read = self._with_sensor_held(lambda: [(part, self.read_region(part[1], index)) for part in parts])
        for (name, region, dtype), data in read:
            shape = self._part_shape(name)
            expected_bytes = math.prod(shape) * np.dtype(dtype).itemsize
            if len(data) != expected_bytes:
                raise DeviceRefusedError(
                    f"the device's {region.name.lower()} has {len(data)} bytes, its model needs {expected_bytes}"
                )
            array = np.frombuffer(data, dtype=dtype).reshape(shape)
            arrays[name] = array.astype(array.dtype.newbyteorder("="))
        return HeadState(
            residual=self.info.residual,
            feature_scale=self.info.feature_scale,
            logit_fraction_bits=self.info.logit_fraction_bits,
            **arrays,
        )

    def check_head(self, head: HeadState, index: int = 0) -> None:
        """Refuse a head that `write_head` could not write; nothing is changed.

        Raises:
            HeadError: the model has no head, or this one has another shape, residual or scales.
        """
        self._need_head()
        if head.residual is not self.info.residual:
            raise HeadError(
                f"the head's residual is {head.residual.name.lower()}, the device's {self.info.residual.name.lower()}"
            )
        for name, _, _ in head.parts:
            shape = getattr(head, name).shape
            if shape != self._part_shape(name):
                raise HeadError(f"the head's {name} is {list(shape)}, the device's is {list(self._part_shape(name))}")
        for name, region, _ in head.parts:
            if name in _CONSTANT_PARTS and self.read_region(region, index) != head.bytes_of(name):
                raise HeadError(
                    f"the head's {name} differs from the device's",
                    cause="the mantissas of the scales are constants of the firmware",
                    hint="write only heads that were read from a device with this firmware",
                )

    def write_head(self, head: HeadState, index: int = 0) -> None:
        """Write a head to the device; not at one stroke, so a failure in between leaves a mixture.

        A sensor that runs is held as long as that takes.

        Raises:
            HeadError: the model has no head, or this one has another shape, residual or scales.
        """
        self.check_head(head, index)

        def write() -> None:
            for name, region, _ in head.parts:
                if name not in _CONSTANT_PARTS:
                    self.write_region(region, head.bytes_of(name), index)

        self._with_sensor_held(write)

    def _part_shape(self, name: str) -> tuple[int, ...]:
        outputs, features = self.info.output_elements, self.info.feature_elements
        return (outputs, features) if name in ("q", "l") else (outputs,)

    def _need_head(self) -> None:
        if not self.info.is_trainable:
            raise HeadError(
                "the model on the device has no trainable head", hint="convert it without `--head none`, then flash it"
            )

    def submit(
        self,
        x: Sample,
        *,
        train: bool = False,
        label: int | None = None,
        targets: npt.NDArray[np.int16] | None = None,
        target_is_input: bool = False,
        self_label: float | None = None,
        number: int | None = None,
    ) -> PendingSample:
        """Send a sample as soon as there is room for it, and do not wait for its result: `result` brings that.

        Samples that are submitted one after another are predicted and learned in that order, each once.

        Args:
            x: as for `predict`.
            train: learn from it.
            label: class number.
            targets: int16, one for each logit, see `DeviceInfo.target_shift`.
            target_is_input: the targets are the input itself (an autoencoder).
            self_label: learn the predicted class where its probability is at least this, and nothing otherwise.
            number: of the sample, which `Link.numbered` is told with the number of its request.

        Raises:
            DataError: the sample does not fit the model.
        """
        inputs = self._input_bytes(x)
        flags, tail = SampleFlag(0), b""
        if train:
            flags |= SampleFlag.TRAIN
        if label is not None:
            flags |= SampleFlag.HAS_LABEL
        if target_is_input:
            flags |= SampleFlag.TARGET_IS_INPUT
        if self_label is not None:
            flags |= SampleFlag.SELF_LABEL
        if targets is not None:
            if targets.dtype != np.int16 or targets.size != self.info.output_elements:
                raise DataError(
                    f"the targets are {targets.size} elements of {targets.dtype}, "
                    f"the model takes {self.info.output_elements} of int16"
                )
            flags |= SampleFlag.HAS_TARGETS
            tail = np.ascontiguousarray(targets).astype("<i2").tobytes()
        # What does not fit one request goes before it in parts.
        room = self._max_payload_bytes - message(MessageType.SAMPLE).size_bytes - len(tail)
        if room < 0:
            raise DeviceRefusedError(f"the device takes payloads of {self._max_payload_bytes} bytes, too few to work")
        part_bytes = self._max_payload_bytes - message(MessageType.SAMPLE_PART).size_bytes
        parts, offset = [], 0
        while len(inputs) - offset > room:
            piece = inputs[offset : offset + min(part_bytes, len(inputs) - room - offset)]
            parts.append(
                self.link.submit(MessageType.SAMPLE_PART, pack(MessageType.SAMPLE_PART, offset=offset, tail=piece))
            )
            offset += len(piece)
        payload = pack(
            MessageType.SAMPLE,
            flags=flags,
            label=label or 0,
            threshold=_threshold(self_label),
            offset=offset,
            tail=inputs[offset:] + tail,
        )
        request = self.link.submit(MessageType.SAMPLE, payload, sample=number)
        return PendingSample(flags=flags, parts=tuple(parts), request=request)

    def ask_again(self, sequence: int, *, label: int | None = None, has_targets: bool = False) -> Result:
        """The result of a sample that an earlier program sent in this session, which the device has kept.

        Args:
            sequence: of its request, among the last `window` that were carried out.
            label: that it had.
            has_targets: whether it had targets, or its input as its target.
        """
        flags = SampleFlag(0) if label is None else SampleFlag.HAS_LABEL
        if has_targets:
            flags |= SampleFlag.HAS_TARGETS
        # The device looks at the number alone. Nothing is in it, so that nothing could be learned from it.
        payload = pack(MessageType.SAMPLE, flags=flags, label=label or 0, threshold=0, offset=0)
        request = self.link.ask_again(MessageType.SAMPLE, payload, sequence)
        return self.result(PendingSample(flags=flags, parts=(), request=request))

    def result(self, pending: PendingSample) -> Result:
        """Wait for a sample's result.

        Raises:
            ResultLostError: the sample was carried out and saved, but the device was reset before its result arrived.
        """
        for part in pending.parts:
            self.link.check(MessageType.SAMPLE_PART, self.link.wait(part))
        answer = self.link.wait(pending.request)
        if pending.request.is_reply_lost:
            raise ResultLostError("the device was reset after it had learned and saved the sample, before it told")
        self.link.check(MessageType.SAMPLE, answer)
        try:
            reply = unpack(MessageType.RESULT, answer.payload)
        except FrameError as error:
            raise DeviceRefusedError("the device answered SAMPLE with a broken reply", cause=str(error)) from error
        done = ResultFlag(reply.integer("flags"))
        return Result(
            prediction=reply.integer("prediction"),
            confidence=reply.integer("confidence") / _ONE_Q15,
            loss=self._loss(reply, pending.flags),
            loss_a=reply.integer("loss_a"),
            loss_b=reply.integer("loss_b"),
            step=reply.integer("step"),
            inference_ticks=reply.integer("inference_ticks"),
            train_ticks=reply.integer("train_ticks"),
            stack_bytes=reply.integer("stack_bytes"),
            saved_sequence=reply.integer("saved_sequence"),
            learned=bool(done & ResultFlag.LEARNED),
            self_labelled=bool(done & ResultFlag.SELF_LABELLED),
            round_trip_s=pending.request.round_trip_s,
        )

    def _input_bytes(self, x: Sample) -> bytes:
        arrays = (x,) if isinstance(x, np.ndarray) else tuple(x)
        if len(arrays) != len(self.info.inputs):
            raise DataError(
                f"the sample has {count(len(arrays), 'array')}, the model has {count(len(self.info.inputs), 'input')}",
                hint=f"give one array for each: {', '.join(tensor.name for tensor in self.info.inputs)}",
            )
        data = b""
        for array, tensor in zip(arrays, self.info.inputs, strict=True):
            dtype = np.dtype(DTYPES[tensor.type])
            if array.dtype != dtype or array.size != tensor.elements:
                which = "the sample" if len(arrays) == 1 else f"the sample's {tensor.name}"
                raise DataError(
                    f"{which} is {array.size} elements of {array.dtype}, "
                    f"the model takes {tensor.elements} of {dtype.name}"
                )
            data += np.ascontiguousarray(array).astype(dtype).tobytes()
        return data

    def _loss(self, reply: Payload, flags: SampleFlag) -> float | None:
        a, b = reply.integer("loss_a"), reply.integer("loss_b")
        info = self.info
        if info.loss is LossCode.CROSS_ENTROPY and flags & SampleFlag.HAS_LABEL:
            return math.ldexp(a, -info.logit_fraction_bits) + math.log(b / _ONE_Q15) if b else None
        if info.loss is LossCode.SQUARED_ERROR and flags & (SampleFlag.HAS_TARGETS | SampleFlag.TARGET_IS_INPUT):
            squares = math.ldexp(a * 65536 + b, 2 * (info.error_shift - info.logit_fraction_bits))
            return squares / info.output_elements
        return None

    def _read_info(self, hello: Payload) -> DeviceInfo:
        board = _names(self._optional_region(Region.BOARD))
        try:
            ends = unpack_interface(self.read_region(Region.INTERFACE))
        except FrameError as error:
            raise DeviceRefusedError("the device describes its model wrongly", cause=str(error)) from error
        inputs, outputs = tuple(t for t in ends if t.is_input), tuple(t for t in ends if not t.is_input)
        if not inputs or not outputs:
            raise DeviceRefusedError("the device names no input or no output of its model")
        values: dict[str, Any] = {name: hello.integer(name) for name in _INFO_INTEGERS}
        return DeviceInfo(
            board=board[0] if board else "",
            protocol_version=hello.integer("version"),
            model_hash=model_hash(hello),
            inputs=inputs,
            outputs=outputs,
            feature_scale=float(hello.values["feature_scale"]),
            can_save=bool(hello.integer("can_save")),
            has_sensor=bool(hello.integer("has_sensor")),
            last_start=last_start(hello),
            loss=LossCode(hello.integer("loss")),
            residual=ResidualCode(hello.integer("residual")),
            **values,
            **self._changing(hello),
        )

    def _changing(self, hello: Payload) -> dict[str, Any]:
        """Members of `info` that a device changes by itself or at a reset of the head."""
        return {
            "labels": _labels(self._optional_region(Region.LABELS), hello.integer("label_bytes")),
            "classes_in_use": hello.integer("classes"),
            "sensor_runs": bool(hello.integer("sensor_runs")),
            "learning_rate": decode_learning_rate(
                hello.integer("learning_rate_mantissa"), hello.integer("learning_rate_exponent")
            ),
        }

    def _optional_region(self, region: Region) -> bytes:
        answer = self.link.exchange(MessageType.READ, _read(region, 0, 0, 1))
        return b"" if answer.status == Status.BAD_REGION else self.read_region(region)


def _sensor_request(run: SensorRun, **settings: int) -> bytes:
    """The payload of SET_SENSOR; settings that are not given are 0."""
    values: dict[str, Any] = dict.fromkeys(("flags", "label", "threshold", "samples", "report_every"), 0)
    return pack(MessageType.SET_SENSOR, **{**values, **settings, "run": run})


def _threshold(self_label: float | None) -> int:
    """A probability in Q15; none is above 65535."""
    return 0 if self_label is None else min(max(round(self_label * _ONE_Q15), 0), 65535)


def _read(region: Region, index: int, offset: int, length: int) -> bytes:
    return pack(MessageType.READ, region=region, index=index, offset=offset, length=length)


def _names(data: bytes) -> tuple[str, ...]:
    """UTF-8 names with a line feed between each two; none where all are empty."""
    names = tuple(data.decode("utf-8", errors="replace").split("\n"))
    return names if any(names) else ()


def _labels(data: bytes, label_bytes: int) -> tuple[str, ...]:
    """The names of classes: one after another in label_bytes bytes each, or joined by line feeds."""
    if not label_bytes:
        return _names(data)
    names = (data[i : i + label_bytes].rstrip(b"\0") for i in range(0, len(data), label_bytes))
    return tuple(name.decode("utf-8", errors="replace") for name in names)
