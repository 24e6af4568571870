"""Why a device started, in words."""

from __future__ import annotations

import pytest

from edgelearn.host.starts import LastStart, last_start
from edgelearn.protocol import MessageType, Payload, ResetCause, message, unpack


def hello(**values: int) -> Payload:
    """A HELLO_REPLY with these fields, the others 0."""
    empty = unpack(MessageType.HELLO_REPLY, bytes(message(MessageType.HELLO_REPLY).size_bytes))
    assert set(values) <= set(empty.values)
    return Payload({**empty.values, **values}, b"")


def test_a_device_that_does_not_know_says_nothing() -> None:
    found = last_start(hello())
    assert (found.cause, found.is_bad, str(found), found.notices(3)) == (ResetCause.UNKNOWN, False, "", ())


def test_an_older_device_does_not_know() -> None:
    layout = message(MessageType.HELLO_REPLY)
    found = last_start(unpack(MessageType.HELLO_REPLY, bytes(layout.least_bytes)))
    assert found.cause is ResetCause.UNKNOWN


def test_a_cause_of_a_later_version_is_not_known() -> None:
    assert last_start(hello(reset_cause=200)).cause is ResetCause.UNKNOWN


@pytest.mark.parametrize(
    ("cause", "text", "is_bad"),
    [
        (ResetCause.POWER_ON, "power that came on", False),
        (ResetCause.PIN, "its reset pin", False),
        (ResetCause.SOFTWARE, "its software", False),
        (ResetCause.WATCHDOG, "its watchdog, which found it stuck", True),
        (ResetCause.LOCKUP, "its processor, which locked up", True),
    ],
)
def test_every_cause_has_words(cause: ResetCause, text: str, is_bad: bool) -> None:
    found = last_start(hello(reset_cause=cause))
    assert (str(found), found.is_bad) == (text, is_bad)
    assert found.notices(4) == ((f"the device was reset before its start 4 by {text}",) if is_bad else ())


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (
            {"fault": 3, "fault_pc": 0x1234, "fault_lr": 0x1001, "fault_status": 0x8200, "fault_hard": 1 << 30}
            | {"fault_address": 0xB000_0000},
            "HardFault (data that could not be reached) of address 0xb0000000 at 0x00001234"
            "; addr2line -fe firmware.elf 0x1234 0x1001",
        ),
        (
            {"fault": 3, "fault_pc": 0x800_0100, "fault_status": 1 << 25 | 1 << 24},
            "HardFault (an unaligned access, a division by zero) at 0x08000100; addr2line -fe firmware.elf 0x8000100",
        ),
        # A Cortex-M0 has no fault registers.
        ({"fault": 3, "fault_pc": 0x400}, "HardFault at 0x00000400; addr2line -fe firmware.elf 0x400"),
        # A stack that overflowed: no frame, no address.
        (
            {"fault": 3, "fault_status": 1 << 12},
            "HardFault (no stack for an exception) at an address that is not known",
        ),
        (
            {"fault": 16 + 38, "fault_pc": 4},
            "interrupt 38, which nobody handles, at 0x00000004; addr2line -fe firmware.elf 0x4",
        ),
        ({"fault": 2, "fault_pc": 4}, "NMI at 0x00000004; addr2line -fe firmware.elf 0x4"),
        ({"fault": 14, "fault_pc": 4}, "exception 14 at 0x00000004; addr2line -fe firmware.elf 0x4"),
    ],
)
def test_a_fault_is_told_with_its_address(values: dict[str, int], text: str) -> None:
    found = last_start(hello(reset_cause=ResetCause.FAULT, **values))
    assert str(found) == f"a fault: {text}"
    assert found.is_bad


def test_by_default_nothing_is_known() -> None:
    assert LastStart() == last_start(hello())
