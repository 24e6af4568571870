"""What a person may ask for while a device learns, and how that reaches the one thread that talks to the device."""

from __future__ import annotations

import enum
import queue

from msgspec import Struct

from edgelearn.errors import OptionError
from edgelearn.host.device import Device


class Action(enum.Enum):
    """What can be asked for."""

    START = "start"
    PAUSE = "pause"
    SAVE = "save"
    RESET = "reset"
    ADD_CLASS = "add class"
    LEARNING_RATE = "learning rate"
    LABEL = "label"


class Command(Struct, frozen=True, kw_only=True):
    """One thing that was asked for.

    Attributes:
        text: the name of a class, for ADD_CLASS and LABEL ("": none).
        value: for LEARNING_RATE.
    """

    action: Action
    text: str = ""
    value: float = 0.0


class Controls:
    """Commands on their way from any thread to the one that talks to the device."""

    def __init__(self) -> None:
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()

    def ask(self, command: Command) -> None:
        """Ask for something; it is carried out soon."""
        self._commands.put(command)

    def take(self, timeout_s: float = 0.0) -> Command | None:
        """The next command, None where none comes in that time."""
        try:
            return self._commands.get(timeout=timeout_s) if timeout_s > 0 else self._commands.get_nowait()
        except queue.Empty:
            return None


def available(device: Device) -> dict[Action, str]:
    """For each action that any device may know why this one cannot do it, "" where it can."""
    info = device.info
    head = "" if info.is_trainable else "the model on the device has no trainable head"
    spare = info.output_elements - info.classes_in_use
    return {
        Action.SAVE: head or ("" if info.can_save else "the board has no memory that keeps the head without power"),
        Action.RESET: head,
        Action.ADD_CLASS: head
        or ("" if info.label_bytes else "the device's classes have no names that could be changed")
        or ("" if spare > 0 else "all outputs are classes already"),
        Action.LEARNING_RATE: head,
    }


def carry_out(device: Device, command: Command) -> str:
    """Do what was asked; says in one sentence what was done.

    What it changes is saved at once where the board can: a person who asked for it does not expect to lose it.

    Raises:
        EdgelearnError: it cannot be done; nothing is changed.
    """
    if not device.info.is_trainable:
        raise OptionError("the model on the device has no trainable head", hint="convert it without `--head none`")
    if command.action is Action.SAVE:
        device.save()
        return "the head is saved on the device"
    if command.action is Action.RESET:
        device.reset_head()
        done = "the head is as generated"
    elif command.action is Action.ADD_CLASS:
        index = device.add_class(command.text)
        done = f"class {index} is {command.text}"
    elif command.action is Action.LEARNING_RATE:
        done = f"the learning rate is {device.set_learning_rate(command.value):.3g}"
    else:
        raise ValueError(f"{command.action} is not the device's")
    unkept = device.keep() if device.info.can_save else ""
    return f"{done}, until the next reset: {unkept}" if unkept else done
