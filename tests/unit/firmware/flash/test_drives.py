"""What drives say of their boards: bootloaders in INFO_UF2.TXT, interface chips in DETAILS.TXT."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from edgelearn.firmware.flash import drives
from tests.support.flashing import Bench


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path / "bench", monkeypatch)


@pytest.mark.parametrize(
    ("info", "softdevice", "built"),
    [
        # As boards of all ages have it: github.com/adafruit/Adafruit_nRF52_Bootloader, issues; its ghostfat.c
        (
            "UF2 Bootloader 0.6.4 lib/nrfx (v2.0.0) lib/tinyusb (0.12.0-145-g9775e7691)\r\nModel: A Board\r\n"
            "Board-ID: nRF-Board-v1\r\nDate: May 17 2022\r\nSoftDevice: S140 6.1.1\r\n",
            "S140 6.1.1",
            datetime.date(2022, 5, 17),
        ),
        (
            "UF2 Bootloader 0.6.0\r\nModel: A Board\r\nBoard-ID: nRF-Board-v1\r\n"
            "SoftDevice: S140 version 7.3.0\r\nDate: Jun  9 2021\r\n",
            "S140 7.3.0",
            datetime.date(2021, 6, 9),
        ),
        (
            "UF2 Bootloader 0.2.9 lib/nrfx (v1.1.0-1-g096e770) lib/tinyusb (legacy-755-g55874813) s140 6.1.1\r\n"
            "Model: A Board\r\nBoard-ID: nRF-Board-v1\r\nDate: Jul 13 2019\r\n",
            "S140 6.1.1",
            datetime.date(2019, 7, 13),
        ),
        ("UF2 Bootloader 0.8\nBoard-ID: nRF-Board-v1\nSoftDevice: not found\n", "not found", None),
        ("UF2 Bootloader v3.0\nModel: A Chip\nBoard-ID: nRF-Board-v1\nDate: Feb 30 2020\n", "", None),
        ("Board-ID: nRF-Board-v1\nDate: yesterday\n", "", None),
    ],
)
def test_what_a_bootloader_says(bench: Bench, info: str, softdevice: str, built: datetime.date | None) -> None:
    bench.drive("BOOT", info)
    (found,) = drives.drives()
    assert (found.info, found.softdevice, found.built) == ("nRF-Board-v1", softdevice, built)
    assert found.serial_number == ""


def test_the_serial_number_of_an_interface_chip(bench: Bench) -> None:
    folder = bench.chip_drive("CHIP", "9904360258824e45")
    (found,) = drives.drives()
    assert (found.path, found.label, found.serial_number) == (folder, "CHIP", "9904360258824e45")
    assert (found.info, found.softdevice, found.built) == ("", "", None)
