"""The doctor finds what is there and says how to get what is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgelearn import process
from edgelearn.firmware import doctor, renode
from edgelearn.firmware.doctor import examine
from edgelearn.firmware.emulator import QEMU_PROGRAMS
from edgelearn.firmware.flash.methods import METHODS


def test_here() -> None:
    findings = {finding.name: finding for finding in examine()}
    numpy = findings["numpy"]
    assert numpy.version
    assert numpy.install == ()
    assert all(finding.purpose for finding in findings.values())
    assert all(bool(finding.version) != bool(finding.install) for finding in findings.values())


def test_a_bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise doctor.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(process, "find_program", lambda name: None)
    monkeypatch.setattr(doctor, "DEBIAN_CORE", Path("/nowhere"))
    monkeypatch.setattr(doctor.importlib.metadata, "version", missing)
    findings = {finding.name: finding for finding in examine()}
    assert not any(finding.present for finding in findings.values())
    qemu = "\n".join(findings["qemu-system-arm"].install)
    for word in ("apt install", "brew install", "winget install"):
        assert word in qemu
    assert findings["tensorflow"].install == ('pip install "edgelearn[convert]"',)
    assert findings["numpy"].install == ("pip install numpy",)


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("arm-none-eabi-gcc (15:12.2.rel1-1) 12.2.1 20221205\nCopyright", "12.2.1"),
        ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\n", "7.2.22"),
        ("cc (Debian 12.2.0-14) 12.2.0\n", "12.2.0"),
        ("GNU Make 4.3\n", "4.3"),
        ("Apple clang version 15.0.0 (clang-1500.1.0.2.5)\n", "15.0.0"),
        ("a tool\n", "unknown"),
        ("", "unknown"),
    ],
)
def test_versions(monkeypatch: pytest.MonkeyPatch, said: str, version: str) -> None:
    monkeypatch.setattr(process, "find_program", lambda name: Path(name))
    monkeypatch.setattr(process, "run", lambda argv, **_: said)
    assert examine()[0].version == version


def test_what_any_command_may_ask_for_is_listed() -> None:
    findings = {finding.name: finding for finding in examine()}
    texts = [path.read_text(encoding="utf-8") for path in Path(doctor.__file__).parents[1].rglob("*.py")]
    asked = {name for text in texts for name in re.findall(r'MissingPackageError\(\s*"([\w-]+)"', text)}
    assert {"nicegui", "pyarrow", "tensorboardX", "matplotlib"} <= asked
    assert asked - {"keras"} <= set(findings), "keras comes with tensorflow"
    programs = {*QEMU_PROGRAMS.values(), renode.PROGRAM, "arduino-cli", "avr-gcc", "arduino-core-avr", "cmake", "pio"}
    assert programs <= set(findings)
    assert findings["arduino-cli"].purpose.startswith("build Arduino sketches")
    assert not findings["renode"].required


def test_flashers_are_listed() -> None:
    names = {finding.name for finding in examine()}
    assert {tool.program for tool in METHODS.values() if tool.program} <= names


def test_a_program_under_its_other_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "find_program", lambda name: Path(name) if name == "esptool.py" else None)
    monkeypatch.setattr(process, "run", lambda argv, **_: f"{' '.join(argv)} v4.7.0")
    findings = {finding.name: finding for finding in examine()}
    assert findings["esptool"].version == "4.7.0"
    assert findings["bossac"].version == ""


def test_a_program_that_does_not_say_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "find_program", lambda name: Path(name) if name == "bossac" else None)
    assert {finding.name: finding for finding in examine()}["bossac"].version == "unknown"
