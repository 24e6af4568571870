"""What flashers print where they fail, played by stand-ins, and the one clear message that comes of it.

Each output is the program's own. Those marked "seen" were printed here by that version with no board plugged in; the
others follow the format strings of its source, or were recorded by somebody, as named.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from edgelearn.board import Board, load_board
from edgelearn.errors import FlashError, ProgramMissingError
from edgelearn.firmware.flash.methods import METHODS, method_of
from edgelearn.firmware.flash.tool import Failure, Job, run_tool
from tests.support.flashing import Bench, boards_with

F = Failure

#: Flasher, failure, exit code, output, a part of the cause.
FAILURES: list[tuple[str, Failure, int, str, str]] = [
    # pyOCD 0.46.0
    # seen
    (
        "pyocd",
        F.NO_DEVICE,
        1,
        "No connected debug probes\n0000271 E No target device available [load_cmd]\n",
        "No conn",
    ),
    ("pyocd", F.NO_DEVICE, 1, "No connected debug probe matches unique ID '123'\n", "unique ID '123'"),
    # core/helpers.py, choose_probe(); input() then finds no standard input, __main__.py
    (
        "pyocd",
        F.SEVERAL_DEVICES,
        1,
        "  #   Probe/Board            Unique ID        Target\n"
        "-------------------------------------------------------\n"
        "  0   Arm BBC micro:bit      9900000031864e45  n/a\n"
        "  1   Arm BBC micro:bit      9904360254984e45  n/a\n\n"
        "Enter the number of the debug probe or 'q' to quit> 0000400 C Error: EOF when reading a line [__main__]\n",
        "Enter the number",
    ),
    ("pyocd", F.SEVERAL_DEVICES, 1, "More than one debug probe matches unique ID '99':\n", "'99'"),
    # target/family/target_nRF52.py, check_flash_security() with auto_unlock=false
    (
        "pyocd",
        F.LOCKED,
        1,
        "0000903 W NRF52840 APPROTECT enabled: not automatically unlocking [target_nRF52]\n"
        "0001020 C Memory transfer fault (SWD/JTAG communication failure (FAULT ACK)) @ 0xe000ed00 [__main__]\n",
        "APPROTECT enabled",
    ),
    # flash/flash.py and the format of FlashFailure in core/exceptions.py
    ("pyocd", F.WRONG_CHIP, 1, "0002011 C flash init failure (result code 0x1) [__main__]\n", "flash init failure"),
    (
        "pyocd",
        F.VERIFY,
        1,
        "0002011 C flash program page failure (address 0x00012000; result code 0x1) [__main__]\n",
        "program page failure",
    ),
    # flash/loader.py, add_data()
    ("pyocd", F.TOO_LARGE, 1, "0001500 C no memory region defined for address 0x00100000 [__main__]\n", "0x00100000"),
    # board/board.py
    (
        "pyocd",
        F.NOT_SUPPORTED,
        1,
        "0000500 C Target type stm32f446retx not recognized. Use 'pyocd list --targets' to see currently available "
        "target types. [__main__]\n",
        "not recognized",
    ),
    # probe/pydapaccess/interface/pyusb_v2_backend.py, with libusb's text for EACCES
    (
        "pyocd",
        F.NO_PERMISSION,
        1,
        "0000290 W [Errno 13] Access denied (insufficient permissions) while trying to interrogate a USB device "
        "(VID=0d28 PID=0204). This can probably be remedied with a udev rule. See "
        "<https://github.com/pyocd/pyOCD/tree/master/udev> for help. [pyusb_v2_backend]\nNo connected debug probes\n",
        "Access denied",
    ),
    # libusb's text for ENODEV, through __main__.py
    (
        "pyocd",
        F.VANISHED,
        1,
        "[==================          ] 44%0003020 C Error: [Errno 19] No such device (it may have "
        "been disconnected) "
        "[__main__]\n",
        "may have been disconnected",
    ),
    # probe/pydapaccess/dap_access_cmsis_dap.py
    (
        "pyocd",
        F.NO_ANSWER,
        1,
        "0000811 C SWD/JTAG communication failure (No ACK); check USB cable, reduce debugger clock [__main__]\n",
        "No ACK",
    ),
    # libusb's text for EBUSY, through __main__.py
    ("pyocd", F.BUSY, 1, "0000400 C Error: [Errno 16] Resource busy [__main__]\n", "Resource busy"),
    # OpenOCD 0.12.0
    # seen
    (
        "openocd",
        F.NO_DEVICE,
        1,
        "Open On-Chip Debugger 0.12.0\nError: unable to find a matching CMSIS-DAP device\n** OpenOCD init failed **\n",
        "CMSIS-DAP",
    ),
    (
        "openocd",
        F.NO_DEVICE,
        1,
        "Error: open failed\nin procedure 'program'\n** OpenOCD init failed **\n",
        "open failed",
    ),
    ("openocd", F.NO_DEVICE, 1, "swd\nError: No J-Link device found\n** OpenOCD init failed **\n", "J-Link"),
    (
        "openocd",
        F.NOT_SUPPORTED,
        1,
        "embedded:startup.tcl:28: Error: Can't find target/new.cfg\nin procedure 'script' \n",
        "target/new.cfg",
    ),
    # src/jtag/drivers/jlink.c
    ("openocd", F.SEVERAL_DEVICES, 1, "Error: Multiple devices found, specify the desired device\n", "Multiple"),
    # github.com/raspberrypi/openocd, issue 22; platform.io users with the same probe see "open failed" after it
    (
        "openocd",
        F.NO_PERMISSION,
        1,
        "Error: libusb_open() failed with LIBUSB_ERROR_ACCESS\nError: open failed\n** OpenOCD init failed **\n",
        "LIBUSB_ERROR_ACCESS",
    ),
    # tcl/target/nrf52.cfg, nrf52_check_ap_lock
    (
        "openocd",
        F.LOCKED,
        1,
        "Warn : target nrf52.cpu examination failed\n****** WARNING ******\n"
        "nRF52 device has AP lock engaged (see UICR APPROTECT register).\nDebug access is denied.\n"
        "Use 'nrf52_recover' to erase and unlock the device.\n\nError: Target not examined yet\n",
        "AP lock engaged",
    ),
    # src/jtag/core.c, jtag_examine_chain_check
    (
        "openocd",
        F.WRONG_CHIP,
        1,
        "Warn : JTAG tap: stm32f4x.cpu       UNEXPECTED idcode: 0x2ba01477\n"
        "Error: JTAG tap: stm32f4x.cpu  expected 1 of 1: 0x4ba00477\n",
        "UNEXPECTED idcode",
    ),
    # src/flash/nor/stm32f2x.c
    ("openocd", F.WRONG_CHIP, 1, "Warn : Cannot identify target as a STM32F2/4/7\n", "Cannot identify"),
    # src/target/startup.tcl and src/target/image.c
    (
        "openocd",
        F.VERIFY,
        1,
        "** Programming Finished **\n** Verify Started **\nError: checksum mismatch - attempting binary compare\n"
        "** Verify Failed **\n",
        "checksum mismatch",
    ),
    # src/flash/nor/core.c
    ("openocd", F.TOO_LARGE, 1, "Error: No flash at address 0x00100000\n** Programming Failed **\n", "0x00100000"),
    # src/jtag/drivers/cmsis_dap.c
    (
        "openocd",
        F.VANISHED,
        1,
        "** Programming Started **\nError: CMSIS-DAP command mismatch. Sent 0x5 received 0x0\n",
        "command mismatch",
    ),
    # github.com/pix/heystack-nrf5x, issue 4
    ("openocd", F.NO_ANSWER, 1, "Error: Error connecting DP: cannot read IDR\n", "cannot read IDR"),
    # src/jtag/drivers/cmsis_dap_usb_bulk.c and src/flash/nor
    ("openocd", F.BUSY, 1, "Warn : could not claim interface: Resource busy\nError: open failed\n", "claim interface"),
    ("openocd", F.PROTECTED, 1, "Error: flash memory write protected\n", "write protected"),
    # stlink 1.7.0: seen
    (
        "st-flash",
        F.NO_DEVICE,
        255,
        "st-flash 1.7.0\n2026-11-21T14:28:02 WARN usb.c: Couldn't find any ST-Link devices\n",
        "Couldn't find any ST-Link",
    ),
    # src/stlink-lib/usb.c
    (
        "st-flash",
        F.NO_PERMISSION,
        255,
        "2026-11-21T14:28:02 WARN usb.c: Could not open USB device 0x0483:0x374b, access error.\n"
        "2026-11-21T14:28:02 WARN usb.c: Couldn't find any ST-Link devices\n",
        "access error",
    ),
    (
        "st-flash",
        F.BUSY,
        255,
        "ERROR usb.c: Stlink usb device found, but unable to claim (probably already in use?)\n",
        "claim",
    ),
    # src/stlink-lib/common.c
    ("st-flash", F.WRONG_CHIP, 255, "2026-11-21T14:28:02 WARN common.c: unknown chip id! 0x5fa\n", "0x5fa"),
    ("st-flash", F.VERIFY, 255, "ERROR common.c: Verification of flash failed at offset: 4096\n", "4096"),
    ("st-flash", F.TOO_LARGE, 255, "ERROR common.c: addr overruns\n", "overruns"),
    ("st-flash", F.PROTECTED, 255, "ERROR common.c: Flash memory is write protected\n", "write protected"),
    ("st-flash", F.LOCKED, 255, "ERROR common.c: Failed to unlock flash!\n", "unlock flash"),
    (
        "st-flash",
        F.NO_ANSWER,
        255,
        "Can not connect to target. Please use 'connect under reset' and try again\nFailed to connect to target\n",
        "connect under reset",
    ),
    (
        "st-flash",
        F.VANISHED,
        255,
        "ERROR usb.c: STLINK_JTAG_WRITEMEM_32BIT: [!] send_recv failed: LIBUSB_ERROR_NO_DEVICE\n",
        "NO_DEVICE",
    ),
    # dfu-util 0.11: seen
    (
        "dfu-util",
        F.NO_DEVICE,
        74,
        "dfu-util: Warning: Invalid DFU suffix signature\n"
        "dfu-util: A valid DFU suffix will be required in a future dfu-util release\n"
        "dfu-util: No DFU capable USB device available\n",
        "No DFU capable",
    ),
    # github.com/electro-smith/libDaisy, issue 195
    (
        "dfu-util",
        F.SEVERAL_DEVICES,
        74,
        "dfu-util: More than one DFU capable USB device found! Try `--list' and specify the serial "
        "number or disconnect "
        "all but one device\n",
        "More than one",
    ),
    # github.com/pollen-robotics/reachy-mini-os, issue 35
    (
        "dfu-util",
        F.NO_PERMISSION,
        74,
        "dfu-util: Cannot open DFU device 0483:df11 found on devnum 3 (LIBUSB_ERROR_ACCESS)\n"
        "dfu-util: No DFU capable USB device available\n",
        "LIBUSB_ERROR_ACCESS",
    ),
    # src/main.c
    ("dfu-util", F.BUSY, 71, "dfu-util: Cannot claim interface 0: LIBUSB_ERROR_BUSY\n", "claim interface"),
    # src/dfuse.c
    ("dfu-util", F.TOO_LARGE, 74, "dfu-util: Last page at 0x0807ffff is not writeable\n", "0x0807ffff"),
    ("dfu-util", F.LOCKED, 74, "dfu-util: ERASE_PAGE not correctly executed\n", "ERASE_PAGE"),
    # src/dfu.c, texts of DFU status codes
    ("dfu-util", F.VERIFY, 74, "dfu-util: Status: Programmed memory failed verification\n", "failed verification"),
    # src/dfu_file.c and src/main.c
    (
        "dfu-util",
        F.WRONG_CHIP,
        74,
        "Error: File ID 0483:df11 does not match device (2341:0369 or 2341:0069)\n",
        "File ID",
    ),
    # github.com/arduino/help-center-content, pull request 499
    (
        "dfu-util",
        F.VANISHED,
        74,
        "Download\t[======                   ]  27%        16384 bytes\n"
        "dfu-util: Error during download get_status (LIBUSB_ERROR_PIPE)\n",
        "get_status",
    ),
    # BOSSA 1.9.1: seen
    ("bossac", F.NO_DEVICE, 1, "No device found on /dev/ttyACM0\n", "/dev/ttyACM0"),
    # src/bossac.cpp, src/Device.h, src/Flasher.h, src/Flash.h, src/Samba.h; first two recorded in issues 96, 171
    (
        "bossac",
        F.VERIFY,
        2,
        "Verify 49716 bytes of flash\nVerify failed\nPage errors: 128\nByte errors: 7956\n",
        "Verify failed",
    ),
    ("bossac", F.VANISHED, 1, "[===           ] 11% (22/195 pages)\nSAM-BA operation failed\n", "SAM-BA"),
    ("bossac", F.WRONG_CHIP, 1, "Device unsupported\n", "unsupported"),
    ("bossac", F.TOO_LARGE, 1, "File operation exceeds flash size\n", "exceeds"),
    ("bossac", F.PROTECTED, 1, "Flash page is locked\n", "locked"),
    # adafruit-nrfutil 0.5.3.post16 ends with 0 also here; the first one was seen
    (
        "adafruit-nrfutil",
        F.NO_DEVICE,
        0,
        "Failed to upgrade target. Error is: Serial port could not be opened on /dev/ttyACM9. "
        "Reason: [Errno 2] could not "
        "open port /dev/ttyACM9: [Errno 2] No such file or directory: '/dev/ttyACM9'\n",
        "/dev/ttyACM9",
    ),
    # dfu/dfu_transport_serial.py, get_ack_nr() and send_packet()
    (
        "adafruit-nrfutil",
        F.NO_ANSWER,
        0,
        "Timed out waiting for acknowledgement from device.\n\nFailed to upgrade target. Error is: "
        "No data received on "
        "serial port. Not able to proceed.\n",
        "No data received",
    ),
    # pyserial 3.5, serialposix.py
    (
        "adafruit-nrfutil",
        F.VANISHED,
        0,
        "########################################\nFailed to upgrade target. Error is: device "
        "reports readiness to read "
        "but returned no data (device disconnected or multiple access on port?)\n",
        "disconnected",
    ),
    (
        "adafruit-nrfutil",
        F.NO_PERMISSION,
        0,
        "Failed to upgrade target. Error is: Serial port could not be opened on /dev/ttyACM0. "
        "Reason: [Errno 13] could not "
        "open port /dev/ttyACM0: [Errno 13] Permission denied: '/dev/ttyACM0'\n",
        "Permission denied",
    ),
    (
        "adafruit-nrfutil",
        F.BUSY,
        0,
        "Failed to upgrade target. Error is: Serial port could not be opened on /dev/ttyACM0. Reason: [Errno 16] "
        "could not open port /dev/ttyACM0: [Errno 16] Device or resource busy: '/dev/ttyACM0'\n",
        "resource busy",
    ),
    # arduino-cli: github.com/arduino/arduino-cli, issues 1703, 2662 and 3075
    (
        "arduino-cli",
        F.NO_PERMISSION,
        1,
        'avrdude: ser_open(): can\'t open device "/dev/ttyACM0": Permission denied\n'
        "Failed uploading: uploading error: exit status 1\n",
        "Permission denied",
    ),
    (
        "arduino-cli",
        F.NOT_SUPPORTED,
        1,
        "Error during build: Platform 'arduino:avr' not found: platform not installed\n"
        "Try running `arduino-cli core install arduino:avr`\n",
        "platform not installed",
    ),
    (
        "arduino-cli",
        F.NO_DEVICE,
        1,
        "No device found on cu.usbmodem1101\nFailed uploading: uploading error: exit status 1\n",
        "cu.usbmodem",
    ),
    # avrdude, src/main.c and src/stk500.c
    (
        "arduino-cli",
        F.WRONG_CHIP,
        1,
        "avrdude: Device signature = 0x1e950f (probably m328p)\navrdude: Expected signature for "
        "ATmega2560 is 1E 98 01\n"
        "avrdude: Yikes!  Invalid device signature.\n         Double check connections and try again\n",
        "Invalid device signature",
    ),
    (
        "arduino-cli",
        F.VERIFY,
        1,
        "avrdude: verification error, first mismatch at byte 0x0000\n         0x0c != 0xff\n"
        "avrdude: verification error; content mismatch\n",
        "verification error",
    ),
    # avrdude, src/ser_posix.c
    ("arduino-cli", F.VANISHED, 1, "avrdude: ser_send(): write error: Input/output error\n", "write error"),
    (
        "arduino-cli",
        F.NO_ANSWER,
        1,
        "avrdude: stk500_getsync() attempt 10 of 10: not in sync: resp=0x00\n",
        "not in sync",
    ),
    # arduino-cli, internal/arduino/builder/sizer.go
    (
        "arduino-cli",
        F.TOO_LARGE,
        1,
        "Sketch uses 300000 bytes (118%) of program storage space. Maximum is 253952 bytes.\n"
        "Sketch too big; see https://support.arduino.cc/hc/en-us/articles/360013825179 for tips on reducing it.\n"
        "Error during build: text section exceeds available space in board\n",
        "Sketch too big",
    ),
    (
        "arduino-cli",
        F.SEVERAL_DEVICES,
        1,
        "dfu-util: More than one DFU capable USB device found! Try `--list' and specify the serial "
        "number or disconnect "
        "all but one device\nFailed uploading: uploading error: exit status 74\n",
        "More than one",
    ),
    (
        "arduino-cli",
        F.BUSY,
        1,
        'avrdude: ser_open(): can\'t open device "/dev/ttyACM0": Device or resource busy\n',
        "resource busy",
    ),
    # arduino-cli, the compiler's own error before it
    (
        "arduino-cli",
        F.UNKNOWN,
        1,
        "Learn.ino:3:1: error: 'x' was not declared\nError during build: exit status 1\n",
        "build",
    ),
    # esptool 5.6.0: seen
    (
        "esptool",
        F.NO_DEVICE,
        2,
        "esptool v5.6.0\nSerial port /dev/ttyUSB9:\n\nERROR: A fatal error occurred: Could not "
        "open /dev/ttyUSB9, the port "
        "is busy or doesn't exist.\n([Errno 2] could not open port /dev/ttyUSB9: [Errno 2] No such "
        "file or directory: "
        "'/dev/ttyUSB9')\n\nHint: Check if the port is correct and ESP connected\n",
        "No such file",
    ),
    # esptool/loader.py, cmds.py, __init__.py
    (
        "esptool",
        F.WRONG_CHIP,
        2,
        "ERROR: A fatal error occurred: This chip is Wrong-2, not Right-1. Wrong chip argument?\n",
        "not Right-1",
    ),
    ("esptool", F.VERIFY, 2, "ERROR: A fatal error occurred: MD5 of file does not match data in flash!\n", "MD5"),
    (
        "esptool",
        F.TOO_LARGE,
        2,
        "ERROR: A fatal error occurred: File 'mp.bin' (length 1784000) at offset 0x00001000 will "
        "not fit in 1048576 bytes "
        "of flash. Change the --flash-size argument, or flashing address.\n",
        "will not fit",
    ),
    (
        "esptool",
        F.NO_ANSWER,
        2,
        "Connecting......................................\n\nERROR: A fatal error occurred: Failed "
        "to connect to Right-1: "
        "No serial data received.\n",
        "Failed to connect",
    ),
    (
        "esptool",
        F.VANISHED,
        1,
        "Writing at 0x00010000... (12 %)\n\nERROR: A serial exception error occurred: device "
        "reports readiness to read but "
        "returned no data (device disconnected or multiple access on port?)\nNote: This error "
        "originates from pySerial.\n",
        "disconnected",
    ),
    (
        "esptool",
        F.LOCKED,
        2,
        "ERROR: A fatal error occurred: Detected flash encryption and secure download mode enabled.\n"
        "Flashing plaintext binary may brick your device! Use the force argument to override the warning.\n",
        "flash encryption",
    ),
    (
        "esptool",
        F.NO_PERMISSION,
        2,
        "ERROR: A fatal error occurred: Could not open /dev/ttyUSB0, the port is busy or doesn't exist.\n"
        "([Errno 13] could not open port /dev/ttyUSB0: [Errno 13] Permission denied: '/dev/ttyUSB0')\n",
        "Permission denied",
    ),
    (
        "esptool",
        F.BUSY,
        2,
        "ERROR: A fatal error occurred: Could not open /dev/ttyUSB0, the port is busy or doesn't exist.\n"
        "([Errno 16] could not open port /dev/ttyUSB0: [Errno 16] Device or resource busy: '/dev/ttyUSB0')\n",
        "busy",
    ),
]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path / "bench", monkeypatch)


def job_for(method: str, folder: Path) -> tuple[Board, Job]:
    board = load_board(boards_with(method)[0])
    way = next(way for way in board.flash if method_of(way) == method)
    program = METHODS[method].program
    return board, Job(
        board=board,
        way=way,
        project=folder,
        file=folder / "flash.hex",
        port="/dev/ttyACM0",
        program=program,
        version="5.6",
    )


@pytest.mark.parametrize(("method", "failure", "code", "output", "cause"), FAILURES)
def test_a_failure_has_one_clear_message(
    bench: Bench, tmp_path: Path, method: str, failure: Failure, code: int, output: str, cause: str
) -> None:
    # adafruit-nrfutil makes its package first, and arduino-cli compiles: those work here.
    first = [("done\n", 0)] if method == "adafruit-nrfutil" else []
    bench.program(METHODS[method].program, *first, (output, code))
    _, job = job_for(method, tmp_path)
    with pytest.raises(FlashError) as error:
        run_tool(METHODS[method], job)
    assert error.value.failure == failure.value, str(error.value)
    assert error.value.step == "write"
    assert cause in error.value.cause
    assert error.value.hint
    assert "{title}" not in error.value.message + error.value.hint
    assert "{board}" not in error.value.message + error.value.hint
    assert "Traceback" not in str(error.value)
    called = [list(argv[1:]) for argv in METHODS[method].commands(job)]
    assert bench.calls(METHODS[method].program) == called[: len(first) + 1]


def test_every_failure_that_is_known_has_a_recorded_output() -> None:
    for method, tool in METHODS.items():
        if tool.program:
            tested = {failure for name, failure, *_ in FAILURES if name == method}
            assert {symptom.failure for symptom in tool.symptoms} <= tested, method
            assert {F.NO_DEVICE, F.VANISHED} <= tested, method


@pytest.mark.parametrize("method", ["pyocd", "openocd", "st-flash", "dfu-util"])
def test_a_locked_chip_is_never_unlocked(bench: Bench, tmp_path: Path, method: str) -> None:
    output = next(output for name, failure, _, output, _ in FAILURES if (name, failure) == (method, F.LOCKED))
    bench.program(METHODS[method].program, (output, 1))
    with pytest.raises(FlashError, match="locked against debuggers") as error:
        run_tool(METHODS[method], job_for(method, tmp_path)[1])
    assert "edgelearn never does" in error.value.hint
    assert "erases all" in error.value.hint
    assert len(bench.calls(METHODS[method].program)) == 1


def test_success_is_what_the_program_says_where_its_exit_code_lies(bench: Bench, tmp_path: Path) -> None:
    # nordicsemi/__main__.py: the last line where all went well
    bench.program("adafruit-nrfutil", ("Zip created\n", 0), ("Upgrading target\nDevice programmed.\n", 0))
    assert "Device programmed." in run_tool(METHODS["adafruit-nrfutil"], job_for("adafruit-nrfutil", tmp_path)[1])
    # dfu-util 0.11, src/dfuse.c: the bootloader leaves before it has answered
    bench.program(
        "dfu-util",
        (
            "Download\t[=========================] 100%        16384 bytes\nDownload done.\nFile "
            "downloaded successfully\n"
            "Submitting leave request...\ndfu-util: Error during download get_status (LIBUSB_ERROR_PIPE)\n",
            74,
        ),
    )
    assert "File downloaded successfully" in run_tool(METHODS["dfu-util"], job_for("dfu-util", tmp_path)[1])


def test_an_unknown_failure_shows_what_was_printed(bench: Bench, tmp_path: Path) -> None:
    bench.program("pyocd", ("something new\nin two lines\n", 3))
    with pytest.raises(FlashError) as error:
        run_tool(METHODS["pyocd"], job_for("pyocd", tmp_path)[1])
    assert error.value.failure == Failure.UNKNOWN.value
    assert error.value.cause == "something new\nin two lines"


def test_an_absent_program(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(ProgramMissingError) as error:
        run_tool(METHODS["st-flash"], job_for("st-flash", tmp_path)[1])
    assert error.value.program == "st-flash"
    assert "doctor" in error.value.hint
