"""Serves a page's panel between two samples: carries out what people ask for, reads the device's counters."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from edgelearn.errors import DataError, DeviceRefusedError, HeadError, LearningRateError, OptionError
from edgelearn.host.control import Action, Command, available, carry_out
from edgelearn.host.device import Device, Statistics
from edgelearn.host.web.panel import Panel

_STATISTICS_EVERY_S = 2.0
#: What a device refuses; everything else that it raises is a failure of the link, and the stream's.
_REFUSALS = (DataError, DeviceRefusedError, HeadError, LearningRateError, OptionError)


class Desk:
    """The device's side of a panel. Used by one thread, the one that talks to the device.

    Args:
        device: with an open session.
        panel: what people see.
        tell: takes a sentence on what was done or refused.
        own: actions that are not the device's alone, which the caller carries out; each says what it did.
        unavailable: why one of them cannot be asked for.
    """

    def __init__(
        self,
        device: Device,
        panel: Panel,
        tell: Callable[[str], None],
        own: Mapping[Action, Callable[[Command], str]],
        unavailable: Mapping[Action, str] | None = None,
    ) -> None:
        self._device = device
        self._panel = panel
        self._tell = tell
        self._own = own
        self._own_unavailable = dict(unavailable or {})
        self._read_at_s = 0.0
        self.is_paused = False
        self.label = ""
        #: That somebody has set meanwhile; None while nobody has.
        self.learning_rate: float | None = None
        #: The device's counters when they were read last.
        self.statistics: Statistics | None = None

    def serve(self) -> None:
        """Carry out what was asked for since the last call; returns at once where there is nothing to do."""
        command = self._panel.controls.take()
        while command is not None:
            self._carry_out(command)
            command = self._panel.controls.take()
        now_s = time.monotonic()
        if now_s - self._read_at_s >= _STATISTICS_EVERY_S:
            self._read_at_s = now_s
            self.statistics = self._device.statistics()
            self._panel.statistics(self.statistics)

    def show(self) -> None:
        """Show what the device is and what can be asked of it."""
        can = {**dict.fromkeys(self._own, ""), **self._own_unavailable, **available(self._device)}
        self._panel.device(
            self._device.info, can, paused=self.is_paused, learning_rate=self.learning_rate, label=self.label
        )

    def _carry_out(self, command: Command) -> None:
        try:
            if command.action in self._own:
                done = self._own[command.action](command)
            else:
                done = carry_out(self._device, command)
                if command.action is Action.LEARNING_RATE:
                    self.learning_rate = command.value
                elif command.action is Action.RESET:
                    # One that the generated head cannot take is not kept.
                    self.learning_rate = self._device.info.learning_rate
        except _REFUSALS as error:
            self._tell(f"not done: {error}")
        else:
            self._tell(done)
        self._read_at_s = 0.0
        self.show()
