"""How large records are, and how long flash lasts."""

from __future__ import annotations

import msgspec
import pytest

from edgelearn import resources
from edgelearn.board import NonVolatileMemory, load_board
from edgelearn.commands.common import flash_life_text
from edgelearn.store import HEADER_BYTES, flash_life, line_samples_per_s, most_saves_a_day, store_layout

NVM = NonVolatileMemory(
    source="x.c", address=0, page_bytes=1024, pages=16, write_bytes=4, erase_cycles=10_000, erase_ms=20
)


def test_several_records_in_a_page() -> None:
    found = store_layout(NVM, [400, 50, 1])
    assert (found.record_bytes, found.block_bytes, found.blocks, found.records_per_block) == (484, 1024, 16, 2)
    assert found.fits
    assert found.saves == 320_000
    assert found.erase_ms == 20


def test_a_record_of_several_pages() -> None:
    found = store_layout(NVM, [5000])
    assert (found.record_bytes, found.block_bytes, found.blocks, found.records_per_block) == (5032, 5120, 3, 1)
    assert found.saves == 30_000
    assert found.erase_ms == 100


def test_what_just_fits() -> None:
    assert store_layout(NVM, [8 * 1024 - HEADER_BYTES]).blocks == 2
    too_large = store_layout(NVM, [8 * 1024 - HEADER_BYTES + 1])
    assert not too_large.fits
    assert too_large.least_nvm_bytes == 2 * 9 * 1024


def test_padding_to_what_is_programmed_at_once() -> None:
    assert store_layout(msgspec.structs.replace(NVM, write_bytes=8), [1]).record_bytes == 40
    assert store_layout(msgspec.structs.replace(NVM, write_bytes=32), [1]).record_bytes == 64
    assert store_layout(msgspec.structs.replace(NVM, write_bytes=1), [1]).record_bytes == 33


def test_years() -> None:
    layout = store_layout(NVM, [400, 50, 1])
    assert layout.years(24) == pytest.approx(320_000 / 24 / 365.25)
    assert layout.years(1e9) == pytest.approx(320_000 / 1e9 / 365.25)
    with pytest.raises(ValueError, match="0 saves"):
        layout.years(0)


def test_memory_that_does_not_wear_lasts_for_ever() -> None:
    layout = store_layout(msgspec.structs.replace(NVM, erase_cycles=0), [100])
    assert layout.saves is None
    assert layout.years(1e9) is None


def test_autosave() -> None:
    assert most_saves_a_day(10.0, 1000) == 864.0
    assert most_saves_a_day(10.0, 0) == 0.0


def test_flash_life_is_told() -> None:
    layout = store_layout(NVM, [400, 50, 1])
    life = flash_life(layout, autosave_steps=1000, samples_per_s=10.0)
    assert (life.saves, life.saves_a_day) == (320_000, 864.0)
    assert life.years == pytest.approx(320_000 / 864 / 365.25)
    text = flash_life_text(life)
    assert "320,000 heads can be saved before their memory wears out, 484 bytes each" in text
    assert "one every 1,000 steps at 10 samples/s: at most 864 a day, 370 days" in text
    busy = flash_life(layout, autosave_steps=1, samples_per_s=2.0)
    assert "at most 172,800 a day, 44 hours" in flash_life_text(busy)
    calm = flash_life(layout, autosave_steps=10_000, samples_per_s=10.0)
    assert "at most 86 a day, 10 years" in flash_life_text(calm)
    asked = flash_life(layout, autosave_steps=0, samples_per_s=10.0)
    assert (asked.saves_a_day, asked.years) == (0.0, None)
    assert "none is saved unless asked" in flash_life_text(asked)
    lasting = store_layout(msgspec.structs.replace(NVM, erase_cycles=0), [100])
    assert "does not wear out" in flash_life_text(flash_life(lasting, autosave_steps=1, samples_per_s=1e9))


def test_what_the_line_carries() -> None:
    # SAMPLE's fixed part of 9 bytes, the input, header and CRC, COBS and the closing zero; ten bits a byte.
    assert line_samples_per_s(64, 115_200) == pytest.approx(11_520 / (9 + 64 + 10 + 2))


def test_a_small_board_keeps_a_head_for_years() -> None:
    """10 classes of 32 features, saved every ten minutes."""
    nvm = load_board("microbit").nvm
    assert nvm is not None
    layout = store_layout(nvm, [320, 320, 40, 10, 10, 80, 20])
    years = layout.years(144)
    assert years is not None
    assert 10 < years < 20


def test_the_header_is_the_device_code_s() -> None:
    source = (resources.firmware_folder() / "runtime" / "elearn_store.c").read_text(encoding="utf-8")
    assert f"#define HEADER_BYTES {HEADER_BYTES}u\n" in source
