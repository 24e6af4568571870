"""While a device does not answer: says so at once and again and again, and lets nobody wait who wants to end."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from edgelearn.host.device import Device
from edgelearn.host.diary import Diary
from edgelearn.host.interrupt import StopOnInterrupt
from edgelearn.host.link import QUIET_S, Silence
from edgelearn.host.view import View
from edgelearn.host.words import duration

if TYPE_CHECKING:
    from typing_extensions import Self

#: Who wants to end waits so long for a port that may come back.
_MOST_PATIENCE_S = 0.5


class Patience:
    """Listens to the silence of a device; a context manager.

    While it listens, and Ctrl-C has asked for the end, silence raises KeyboardInterrupt.

    Args:
        device: with an open session.
        diary: of the run.
        view: what a person sees.
        stop: whether somebody wants to end.
    """

    def __init__(self, device: Device, diary: Diary, view: View, stop: StopOnInterrupt) -> None:
        self._device = device
        self._diary = diary
        self._view = view
        self._stop = stop
        self._is_told = False

    def __enter__(self) -> Self:
        self._device.link.silence = self._listen
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._device.link.silence = None

    def _listen(self, silence: Silence | None) -> None:
        if silence is None:
            if self._is_told:
                self._is_told = False
                self._view.silence(None)
                self._diary.tell("answer", "it answers again")
            return
        if self._stop.requested and silence.quiet_s >= _MOST_PATIENCE_S:
            raise KeyboardInterrupt
        if silence.quiet_s < QUIET_S:
            return
        if not self._is_told:
            self._is_told = True
            self._diary.tell(
                "silence",
                f"the device at {self._device.port} does not answer; trying again for {duration(silence.left_s)}; "
                "Ctrl-C ends",
            )
        self._view.silence(silence)
