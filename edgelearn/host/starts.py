"""Why a device started: what its HELLO_REPLY says of that, and one line for a person.

A fault is told with the address where it happened, and with what the processor's fault registers say in words.
References: Armv7-M Architecture Reference Manual (DDI0403), B1.5.2 (exception numbers), B3.2.15 (CFSR), B3.2.16 (HFSR).
"""

from __future__ import annotations

import contextlib

from msgspec import Struct

from edgelearn.protocol import Payload, ResetCause

_EXCEPTIONS = {0: "the firmware gave up", 2: "NMI", 3: "HardFault", 4: "MemManage", 5: "BusFault", 6: "UsageFault"}
#: Exceptions from here on are interrupts of peripherals.
_FIRST_INTERRUPT = 16

#: Bits of CFSR, and of HFSR, in the order in which they are told.
_STATUS_BITS = (
    (0, "an instruction from where none may be"),
    (1, "data where it may not be reached"),
    (8, "an instruction that could not be fetched"),
    (9, "data that could not be reached"),
    (10, "a write that failed later on"),
    (16, "an undefined instruction"),
    (17, "a jump to code that is not Thumb"),
    (18, "a bad return from an exception"),
    (19, "an instruction for a coprocessor that is off"),
    (24, "an unaligned access"),
    (25, "a division by zero"),
    (3, "no stack for the return from an exception"),
    (11, "no stack for the return from an exception"),
    (4, "no stack for an exception"),
    (12, "no stack for an exception"),
)
_HARD_BITS = ((1, "a vector that could not be read"), (31, "a breakpoint without a debugger"))

_CAUSES = {
    ResetCause.POWER_ON: "power that came on",
    ResetCause.PIN: "its reset pin",
    ResetCause.SOFTWARE: "its software",
    ResetCause.WATCHDOG: "its watchdog, which found it stuck",
    ResetCause.LOCKUP: "its processor, which locked up",
}


class Fault(Struct, frozen=True, kw_only=True):
    """A fault that the firmware met.

    Attributes:
        exception: its number, 3 for a HardFault, from 16 on an interrupt that nobody handles.
        pc: where it happened, 0 where that is not known.
        lr: the link register there.
        status, hard: the registers CFSR and HFSR, 0 on a core without them.
        address: that was not reached, 0 where that is not known.
    """

    exception: int
    pc: int
    lr: int
    status: int
    hard: int
    address: int

    @property
    def meanings(self) -> tuple[str, ...]:
        """What the fault registers say, in words."""
        found = [text for bit, text in _STATUS_BITS if self.status >> bit & 1]
        found += [text for bit, text in _HARD_BITS if self.hard >> bit & 1]
        return tuple(dict.fromkeys(found))

    def __str__(self) -> str:
        name = _EXCEPTIONS.get(self.exception, f"exception {self.exception}")
        if self.exception >= _FIRST_INTERRUPT:
            name = f"interrupt {self.exception - _FIRST_INTERRUPT}, which nobody handles,"
        text = name + (f" ({', '.join(self.meanings)})" if self.meanings else "")
        if self.address:
            text += f" of address 0x{self.address:08x}"
        if not self.pc:
            return f"{text} at an address that is not known"
        return f"{text} at 0x{self.pc:08x}"


class LastStart(Struct, frozen=True, kw_only=True):
    """Why a device started the last time.

    Attributes:
        cause: as far as its hardware tells.
        fault: which, where the cause is FAULT.
    """

    cause: ResetCause = ResetCause.UNKNOWN
    fault: Fault | None = None

    @property
    def is_bad(self) -> bool:
        """Whether somebody should know: a fault, a watchdog, a processor that locked up."""
        return self.cause in (ResetCause.FAULT, ResetCause.WATCHDOG, ResetCause.LOCKUP)

    def notices(self, boot: int) -> tuple[str, ...]:
        """What to tell somebody who opens the device in its start of that number: nothing where all is well."""
        return (f"the device was reset before its start {boot} by {self}",) if self.is_bad else ()

    def __str__(self) -> str:
        """By what, as the end of a sentence; empty where that is not known."""
        if self.fault is None:
            return _CAUSES.get(self.cause, "")
        link = f" 0x{self.fault.lr:x}" if self.fault.lr else ""
        where = f"; addr2line -fe firmware.elf 0x{self.fault.pc:x}{link}" if self.fault.pc else ""
        return f"a fault: {self.fault}{where}"


def last_start(hello: Payload) -> LastStart:
    """What a HELLO_REPLY says of the device's last start; a cause of a later version is UNKNOWN."""
    cause = ResetCause.UNKNOWN
    with contextlib.suppress(ValueError):
        cause = ResetCause(hello.integer("reset_cause"))
    if cause is not ResetCause.FAULT:
        return LastStart(cause=cause)
    fault = Fault(
        exception=hello.integer("fault"),
        pc=hello.integer("fault_pc"),
        lr=hello.integer("fault_lr"),
        status=hello.integer("fault_status"),
        hard=hello.integer("fault_hard"),
        address=hello.integer("fault_address"),
    )
    return LastStart(cause=cause, fault=fault)
