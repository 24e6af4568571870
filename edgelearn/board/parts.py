"""Board and its parts: what a board file says, as frozen values."""

from __future__ import annotations

import enum

import msgspec

from edgelearn.board.ways import Way


class MemoryKind(enum.Enum):
    """What a memory region is for."""

    FLASH = "flash"
    RAM = "ram"


class Output(enum.Enum):
    """What can be generated: firmware, C files for somebody's own firmware, a library for Arduino or MicroPython."""

    BARE_METAL = "bare-metal"
    LIBRARY = "library"
    ARDUINO = "arduino"
    MICROPYTHON = "micropython"


class UsbMode(enum.Enum):
    """What runs behind a USB identifier."""

    APPLICATION = "application"
    BOOTLOADER = "bootloader"
    INTERFACE = "interface"


class Core(enum.Enum):
    """Processor cores; compiler flags for those that we build for stand in `COMPILERS`."""

    AVR = "avr"
    CORTEX_M0 = "cortex-m0"
    CORTEX_M0PLUS = "cortex-m0plus"
    CORTEX_M3 = "cortex-m3"
    CORTEX_M4F = "cortex-m4f"
    CORTEX_M7F = "cortex-m7f"
    RISCV_IMC = "riscv-imc"
    XTENSA_LX6 = "xtensa-lx6"
    XTENSA_LX7 = "xtensa-lx7"
    HOST = "host"

    @property
    def has_dsp(self) -> bool:
        """Whether it has the DSP extension of Armv7E-M: SMLAD, SXTB16, SMMLA and their like."""
        return self in (Core.CORTEX_M4F, Core.CORTEX_M7F)

    @property
    def has_fpu(self) -> bool:
        """Whether it has a floating-point unit whose registers an interrupt may have to save."""
        return self in (Core.CORTEX_M4F, Core.CORTEX_M7F)


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Memory(_Part, frozen=True, kw_only=True):
    """One memory region that the firmware may use whole."""

    name: str
    kind: MemoryKind
    origin: int
    size_bytes: int

    @property
    def end(self) -> int:
        """The address after it."""
        return self.origin + self.size_bytes


class Kept(_Part, frozen=True, kw_only=True):
    """Flash that belongs to somebody else and is never written: a bootloader, a radio's firmware, its settings.

    Attributes:
        holder: what lies there, for a message.
    """

    holder: str
    origin: int
    size_bytes: int

    @property
    def end(self) -> int:
        """The address after it."""
        return self.origin + self.size_bytes


class Interrupt(_Part, frozen=True, kw_only=True):
    """One entry of the vector table."""

    number: int
    handler: str


class Port(_Part, frozen=True, kw_only=True):
    """The drivers that bare-metal firmware of the board is built from.

    Attributes:
        sources: C files and headers of `firmware/port/`; none where there is no such firmware for it.
        interrupt_count: entries of the vector table after the processor's own 16.
        interrupts: those that have a handler.
        defines: the drivers' constants, in the generated `elearn_board.h`.
    """

    sources: tuple[str, ...] = ()
    interrupt_count: int = 0
    interrupts: tuple[Interrupt, ...] = ()
    defines: dict[str, int] = {}


class NonVolatileMemory(_Part, frozen=True, kw_only=True):
    """Pages that keep what was learned over a reset. The firmware's own image may not reach them.

    Attributes:
        source: their driver, one of the port's sources where it has any.
        address: of the first page. The pages end a memory region, or are separate, or not mapped.
        page_bytes: of what is erased at once.
        pages: how many there are.
        write_bytes: of what is programmed at once.
        erase_cycles: how often a page may be erased, by the chip's data sheet; 0 where it does not wear.
        erase_ms: the longest that erasing a page takes, by the data sheet.
        nmi_handler: the driver's handler of the non-maskable interrupt; empty where its flash raises none.
        mapped: whether the processor reads them like RAM, at `address`. Elsewhere the driver reads them.
        separate: whether pages that are mapped are of a memory that is not one of the regions, because the image
            cannot use it. Those that are not mapped never are of a region.
    """

    source: str
    address: int
    page_bytes: int
    pages: int
    write_bytes: int
    erase_cycles: int
    erase_ms: int
    nmi_handler: str = ""
    mapped: bool = True
    separate: bool = False

    @property
    def size_bytes(self) -> int:
        """Bytes of all pages."""
        return self.pages * self.page_bytes

    @property
    def end(self) -> int:
        """The address after the last page."""
        return self.address + self.size_bytes


class Counter(_Part, frozen=True, kw_only=True):
    """The counter that is read before and after the work.

    Attributes:
        unit: what one tick is on real hardware: `cycles`, or `none` where there is no counter.
        cycles_per_tick: processor cycles of one tick on real hardware.
        hz: ticks a second.
    """

    unit: str
    cycles_per_tick: int = 1
    hz: int = 0


class Uart(_Part, frozen=True, kw_only=True):
    """Where the bytes of bare-metal firmware leave the board.

    Attributes:
        tx, rx: the pins, by the names on the board and the chip.
        reaches_usb: whether an interface chip on the board carries them to its USB connector. Elsewhere a person
            connects an adapter to the pins.
    """

    tx: str
    rx: str
    reaches_usb: bool


class Usb(_Part, frozen=True, kw_only=True):
    """One identifier under which the board appears on USB.

    Attributes:
        serial_prefixes: how serial numbers of this board begin, where boards share the identifier; none: anyhow.
    """

    vid: int
    pid: int
    mode: UsbMode
    serial_prefixes: tuple[str, ...] = ()

    def fits(self, vid: int, pid: int, serial_number: str = "") -> bool:
        """Whether something on USB may be this; a serial number that is not known may be any."""
        known = not serial_number or not self.serial_prefixes or serial_number.startswith(self.serial_prefixes)
        return (self.vid, self.pid) == (vid, pid) and known


class Arduino(_Part, frozen=True, kw_only=True):
    """The board as Arduino's tools know it.

    Attributes:
        fqbn: its fully qualified board name.
        architecture: of the core, as `library.properties` names it.
        package_url: index of the board manager that offers the core; empty for Arduino's own.
        serial: the C++ object of the serial line that reaches the host.
        core_flash_bytes, core_ram_bytes: that an empty sketch takes, about; with stack and heap of the core.
        saves: whether a sketch keeps what it learns in the board's `nvm`: the core leaves that alone, and its driver
            needs nothing that only bare-metal firmware has.
    """

    fqbn: str
    architecture: str
    package_url: str = ""
    serial: str = "Serial"
    core_flash_bytes: int
    core_ram_bytes: int
    saves: bool = False


class MicroPython(_Part, frozen=True, kw_only=True):
    """The board as MicroPython knows it.

    Attributes:
        board: its name among MicroPython's boards.
        architecture: of machine code in `.mpy` files.
        heap_bytes: what the firmware leaves for Python, about.
        romfs_bytes: of the partition that is read in place; 0 where there is none, or not in every version that may be
            there: then it is found on the device.
        repl_receive_bytes: what the REPL's line takes while Python computes.
    """

    board: str
    architecture: str
    heap_bytes: int
    romfs_bytes: int = 0
    repl_receive_bytes: int = 256


class PlatformIo(_Part, frozen=True, kw_only=True):
    """The board as PlatformIO knows it.

    Attributes:
        platform: its development platform.
        board: its name there; empty where the platform is this machine.
    """

    platform: str
    board: str = ""


class Renode(_Part, frozen=True, kw_only=True):
    """How Renode emulates the board.

    Attributes:
        platform: Renode's own description, `platforms/...`.
        uart: the peripheral of the serial line.
        cpu: the processor.
        additions: pieces of description, of what the platform lacks: files of `firmware/renode_parts/`.
    """

    platform: str
    uart: str
    cpu: str = "cpu"
    additions: tuple[str, ...] = ()


class Emulator(_Part, frozen=True, kw_only=True):
    """How the board is emulated.

    Attributes:
        engine: the emulator, `qemu`, or `host` for a process of this machine.
        machine: the emulator's own name of the machine.
        icount_shift: each instruction takes 2^shift ns of virtual time, which makes counts repeat exactly.
        ticks_per_instruction: ticks of the board's counter for one instruction at that shift; 0 where none is counted.
        demo: whether `edgelearn demo` takes this board.
        saves: whether its non-volatile memory can be written there; without, nothing is saved on the emulated board.
    """

    engine: str
    machine: str = ""
    icount_shift: int = 0
    ticks_per_instruction: float = 0.0
    demo: bool = False
    saves: bool = True


class Board(_Part, frozen=True, kw_only=True):
    """One board. Sizes in bytes, frequencies in Hz; `sources` names the documents the facts come from.

    Attributes:
        memory: what the firmware may use.
        kept: what it may not, because somebody else's code or settings lie there.
        port: what bare-metal firmware is built from.
        uart: where its bytes leave the board; None for a board that is not held in a hand.
        nvm: where what was learned is kept, with the outputs that `keeps` says; None where it is lost at a reset.
        usb: how the board appears on USB, in all its modes.
        flash: the ways to put firmware on it, the one to prefer first.
        arduino, micropython, platformio: how those know the board; None where they do not.
        emulator: QEMU's machine, or this machine.
        renode: how Renode emulates it.
    """

    name: str
    title: str
    chip: str
    core: Core
    clock_hz: int
    stack_bytes: int
    memory: tuple[Memory, ...]
    kept: tuple[Kept, ...] = ()
    port: Port = Port()
    uart: Uart | None = None
    counter: Counter
    nvm: NonVolatileMemory | None = None
    usb: tuple[Usb, ...] = ()
    flash: tuple[Way, ...] = ()
    arduino: Arduino | None = None
    micropython: MicroPython | None = None
    platformio: PlatformIo | None = None
    emulator: Emulator | None = None
    renode: Renode | None = None
    sources: tuple[str, ...]

    @property
    def engines(self) -> tuple[str, ...]:
        """What emulates it, the one to take by default first: `qemu` or `host`, and `renode`."""
        return (*((self.emulator.engine,) if self.emulator else ()), *(("renode",) if self.renode else ()))

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What can be generated for it, the one to take by default first."""
        known = {
            Output.BARE_METAL: bool(self.port.sources),
            Output.LIBRARY: bool(self.port.sources),
            Output.ARDUINO: self.arduino is not None,
            Output.MICROPYTHON: self.micropython is not None,
        }
        return tuple(output for output in Output if known[output])

    def keeps(self, output: Output) -> bool:
        """Whether what is learned can be kept in its pages with that output."""
        if self.nvm is None:
            return False
        if output is Output.ARDUINO:
            return self.arduino is not None and self.arduino.saves
        return output in self.outputs and output in (Output.BARE_METAL, Output.LIBRARY)

    def saves_in(self, engine: str) -> bool:
        """Whether an emulator of that name lets the board write the memory in which it saves, as far as is known."""
        if self.emulator and self.emulator.engine == engine and not self.emulator.saves:
            return False
        return engine != "qemu" or self.nvm is None or self.nvm.mapped

    def without_nvm(self) -> Board:
        """The board for firmware that learns nothing: all of its flash is for the image."""
        if self.nvm is None:
            return self
        sources = tuple(source for source in self.port.sources if source != self.nvm.source)
        return msgspec.structs.replace(self, nvm=None, port=msgspec.structs.replace(self.port, sources=sources))

    def usable_bytes(self, memory: Memory) -> int:
        """Bytes of a region, without the pages of non-volatile memory that end it."""
        inside = self.nvm is not None and memory.origin <= self.nvm.address < memory.origin + memory.size_bytes
        return memory.size_bytes - (self.nvm.size_bytes if self.nvm and inside else 0)

    def size_bytes(self, kind: MemoryKind) -> int:
        """Bytes that the firmware may use of all regions of that kind."""
        return sum(self.usable_bytes(memory) for memory in self.memory if memory.kind is kind)

    @property
    def flash_bytes(self) -> int:
        """Bytes of flash that the firmware may use."""
        return self.size_bytes(MemoryKind.FLASH)

    @property
    def ram_bytes(self) -> int:
        """Bytes of RAM that the firmware may use."""
        return self.size_bytes(MemoryKind.RAM)
