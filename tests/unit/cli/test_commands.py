"""The commands as a person uses them, on the board that is this machine; the emulated ones are in tests/emulator."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from edgelearn import cli, pipeline
from edgelearn.board import board_names, load_board
from edgelearn.bundle import read_bundle
from edgelearn.cli import main
from edgelearn.errors import EmulatorError, LearningRateError, StorageError
from edgelearn.host.device import open_device
from edgelearn.pipeline import unsaved_note
from edgelearn.project import read_project
from edgelearn.resources import templates_folder
from tests.support.bundles import write_model
from tests.support.models import reference_model
from tests.support.tools import require_package, require_tool

ROOT = Path(__file__).parents[3]
VERIFY_KEYS = [
    "board",
    "engine",
    "samples",
    "output_bytes_compared",
    "output_bytes_different",
    "train_steps",
    "head_weights_different",
    "instructions_per_inference",
    "instructions_per_train_step",
    "estimated_cycles_per_inference",
    "flash_bytes",
    "flash_model_bytes",
    "ram_bytes",
    "arena_bytes",
    "stack_bytes",
    "stack_bound_bytes",
    "slowest_layers",
]


def run(*argv):
    result = CliRunner().invoke(main, [str(a) for a in argv], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def bundle(tmp_path):
    path = tmp_path / "small.elb"
    run("convert", write_model(tmp_path / "small.tflite"), "-o", path, "--classes", "6")
    return path


def test_help_imports_nothing_heavy():
    code = (
        "import sys; sys.argv = ['edgelearn', '--help']\n"
        "from edgelearn.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = 'numpy tensorflow keras serial jinja2 matplotlib ai_edge_litert tflite rich'.split()\n"
        "print(sorted(set(heavy) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "convert" in done.stdout


def test_an_interrupt_while_the_program_starts_is_no_traceback(tmp_path):
    """As Ctrl-C in the first moments: one of the first imports is interrupted."""
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt\n")
    scripts = re.search(r'^edgelearn = "([^:"]+):([^"]+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    module, name = scripts.groups()
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from {module} import {name} as begin; begin()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


def test_convert_prints_what_it_did(tmp_path):
    result = run("convert", write_model(tmp_path / "small.tflite"), "-o", tmp_path / "o.elb", "--labels", "a, b,c,d")
    assert "FULLY_CONNECTED (trainable)" in result.output
    assert "trainable head with cross-entropy" in result.output
    assert read_bundle(tmp_path / "o.elb").labels == ("a", "b", "c", "d")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Keras, when it saves
def test_convert_compares_a_float_regression_by_its_outputs(tmp_path):
    require_package("tensorflow")
    from edgelearn.convert.quantize import import_tensorflow

    _, keras = import_tensorflow()
    layers = [keras.Input((6,)), keras.layers.Dense(8, activation="relu"), keras.layers.Dense(3)]
    keras.Sequential(layers).save(tmp_path / "m.keras")
    np.save(tmp_path / "c.npy", np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32))
    result = run("convert", tmp_path / "m.keras", "-o", tmp_path / "o.elb", "-c", tmp_path / "c.npy")
    assert "float against int8 on 60 samples: outputs differ by" in result.output
    assert "predict the same" not in result.output
    assert "squared error" in result.output


def test_the_same_model_gives_the_same_bundle(tmp_path):
    model = write_model(tmp_path / "small.tflite")
    for name in ("a.elb", "b.elb"):
        run("convert", model, "-o", tmp_path / name)
    assert (tmp_path / "a.elb").read_bytes() == (tmp_path / "b.elb").read_bytes()


def test_inspect_tells_spare_outputs_from_classes(tmp_path):
    model = write_model(tmp_path / "small.tflite")
    run("convert", model, "-o", tmp_path / "m.elb", "--classes", 8)
    assert "labels:               0, 1, 2, 3, room for 4 more" in run("inspect", tmp_path / "m.elb").output
    found = json.loads(run("inspect", tmp_path / "m.elb", "--json").output.splitlines()[-1])
    assert (len(found["labels"]), found["spare_outputs"]) == (8, 4)


def test_inspect_tells_the_layers_and_the_fit(tmp_path, bundle):
    text = run("inspect", bundle, "--board", "netduinoplus2").output
    assert "it fits netduinoplus2" in text
    found = json.loads(run("inspect", bundle, "--board", "netduinoplus2", "--json").output.splitlines()[-1])
    assert [layer["op"] for layer in found["layers"]] == [
        "CONV_2D",
        "MAX_POOL_2D",
        "RESHAPE",
        "FULLY_CONNECTED",
        "FULLY_CONNECTED",
    ]
    assert found["layers"][0]["multiply_accumulates"] == 8 * 8 * 4 * 9
    assert found["layers"][-1]["trainable"]
    by_work = sorted(found["layers"], key=lambda layer: -layer["multiply_accumulates"])
    assert found["busiest_layers"] == [layer["name"] for layer in by_work[:3]]
    assert f"most work, by MACs:   {', '.join(found['busiest_layers'])}" in text
    assert found["layers"][-1]["output_shape"] == [6]
    assert found["arena_bytes"] >= found["arena_bound_bytes"] > 0
    assert found["fit"]["fits"]
    assert found["largest_layer"] in {layer["name"] for layer in found["layers"]}
    assert found["fit"]["flash_life"]["years"] is None
    assert "none is saved unless asked" in text
    saving = ("--autosave-steps", 1000, "--rate-hz", 5)
    life = json.loads(run("inspect", bundle, "-b", "microbit", *saving, "--json").output.splitlines()[-1])["fit"][
        "flash_life"
    ]
    assert life["saves_a_day"] == 432.0
    assert life["years"] == pytest.approx(life["saves"] / 432 / 365.25)
    assert "at most 432 a day" in run("inspect", bundle, "-b", "microbit", *saving).output
    of_model = run("inspect", write_model(tmp_path / "m.tflite"), "--json")
    assert json.loads(of_model.output)["fit"] is None


def test_generate_writes_the_same_project_twice_and_takes_its_own_folder(tmp_path, bundle):
    for folder in ("p", "q", "p"):
        run("generate", bundle, "--board", "netduinoplus2", "-o", tmp_path / folder)

    def content(folder):
        return {f.relative_to(folder): f.read_bytes() for f in folder.rglob("*") if f.is_file()}

    first = content(tmp_path / "p")
    assert first == content(tmp_path / "q")
    # Generated for another board, nothing of the first one is left.
    run("generate", bundle, "--board", "host", "-o", tmp_path / "p", "--force")
    assert not (tmp_path / "p" / "port" / "stm32_usart.c").exists()
    assert read_project(tmp_path / "p").board == "host"
    assert not any(str(tmp_path).encode() in data for data in first.values())


def test_what_a_person_changed_in_a_project_is_not_lost(tmp_path, bundle):
    project = tmp_path / "p"
    run("generate", bundle, "--board", "host", "-o", project)
    mine = project / "src" / "mine.c"
    mine.write_text("int mine;\n")
    run("generate", bundle, "--board", "host", "--lr", "0.01", "-o", project)
    assert mine.read_text() == "int mine;\n"
    model = project / "src" / "model.c"
    changed = model.read_text() + "/* MY EDIT */\n"
    model.write_text(changed)
    for argv in (
        ["generate", bundle, "--board", "host", "-o", project],
        ["verify", bundle, "-b", "host", "--keep", project],
    ):
        result = CliRunner().invoke(main, [str(a) for a in argv])
        assert result.exit_code == 51
        assert "src/model.c" in result.stderr
        assert model.read_text() == changed
    forced = run("generate", bundle, "--board", "host", "-o", project, "--force")
    assert "MY EDIT" not in model.read_text()
    assert "note: overwritten, although changed since they were generated: src/model.c\n" in forced.output
    again = run("generate", bundle, "--board", "host", "-o", project, "--force")
    assert "overwritten" not in again.output


def test_a_readme_of_ones_own_stays(tmp_path, bundle):
    """Projects were generated without one before."""
    project = tmp_path / "p"
    run("generate", bundle, "--board", "host", "-o", project)
    assert "README.md" in read_project(project).files
    before = json.loads((project / "project.json").read_text())
    del before["files"]["README.md"]
    (project / "project.json").write_text(json.dumps(before))
    (project / "README.md").write_text("mine\n")
    for more in ((), (), ("--force",)):
        run("generate", bundle, "--board", "host", "-o", project, *more)
        assert (project / "README.md").read_text() == "mine\n"
        assert "README.md" not in read_project(project).files
    (project / "README.md").unlink()
    run("generate", bundle, "--board", "host", "-o", project)
    assert "README.md" in read_project(project).files


class Reached(Exception):
    """A command has come to its build."""


@pytest.mark.parametrize("command", ["verify", "profile"])
def test_a_folder_that_is_kept_takes_another_board(tmp_path, bundle, command, monkeypatch):
    def build(folder, **options):
        assert read_project(folder).board == "mps2-an386"
        raise Reached

    project = tmp_path / "p"
    run("generate", bundle, "--board", "netduinoplus2", "-o", project)
    monkeypatch.setattr("edgelearn.pipeline.build", build)
    for module in ("verification", "profiling"):
        monkeypatch.setattr(f"edgelearn.{module}.require_emulator", lambda *board: None)
    monkeypatch.setattr("edgelearn.verification.require_oracle", lambda: None)
    done = CliRunner().invoke(main, [command, str(bundle), "--board", "mps2-an386", "--keep", str(project)])
    assert isinstance(done.exception, Reached) or "Reached" in done.stderr, done.output


def test_it_is_said_only_of_a_project_that_saves_that_its_emulator_cannot(tmp_path, bundle):
    """Of a board whose memory an emulator cannot write, by what was generated: a head may not be kept there."""
    for board in map(load_board, board_names()):
        if board.nvm and board.emulator and not board.emulator.saves:
            project = tmp_path / board.name
            run("generate", bundle, "--board", board.name, "-o", project)
            note = unsaved_note(project)
            assert f"cannot write the memory in which {board.name} saves" in note
            lacking = json.loads((project / "project.json").read_text())
            lacking["files"] = {path: one for path, one in lacking["files"].items() if "elearn_store.c" not in path}
            (project / "project.json").write_text(json.dumps(lacking))
            assert unsaved_note(project) == ""


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (("--board", "mps2-an386"), "small for mps2-an386 (bare-metal)"),
        (("--board", "netduinoplus2", "--target", "library"), "small for netduinoplus2 (library)"),
        (("--board", "netduinoplus2"), "other for netduinoplus2 (bare-metal)"),
    ],
)
def test_another_project_is_not_replaced_unasked(tmp_path, bundle, words, asked):
    project = tmp_path / "p"
    run("generate", bundle, "--board", "netduinoplus2", "-o", project)
    before = (project / "project.json").read_bytes()
    if asked.startswith("other"):
        run("convert", write_model(tmp_path / "other.tflite"), "-o", bundle)
    argv = ["generate", str(bundle), *words, "-o", str(project)]
    result = CliRunner().invoke(main, argv)
    assert result.exit_code == StorageError.exit_code
    assert f"holds small for netduinoplus2 (bare-metal), not {asked}" in result.stderr
    assert "--force" in result.stderr
    assert (project / "project.json").read_bytes() == before
    run(*argv, "--force")
    assert (project / "project.json").read_bytes() != before


def test_a_learning_rate_has_one_range(tmp_path, bundle):
    for command in ("generate", "deploy", "verify", "stream", "monitor"):
        assert "0 to 1" in " ".join(run(command, "--help").output.split()), command
    for rate in ("5", "-0.1", "nan"):
        argv = ["generate", str(bundle), "--board", "host", "-o", str(tmp_path / "p"), "--lr", rate]
        result = CliRunner().invoke(main, argv)
        assert result.exit_code == LearningRateError.exit_code
        assert f"a learning rate of {rate} is out of range" in result.stderr
        assert "give one from 0 to 1" in result.stderr
    assert not (tmp_path / "p").exists()
    assert "/* 0 to 1; saved with the rest. */" in (templates_folder() / "edgelearn.h.j2").read_text()


def test_an_emulator_in_a_background_job_ends_when_told_to(tmp_path, bundle):
    require_tool("cc")
    run("generate", bundle, "--board", "host", "-o", tmp_path / "p")
    code = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); from edgelearn.cli import main; main()"
    argv = [sys.executable, "-c", code, "emulate", str(tmp_path / "p")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline().startswith("port ")
        child.terminate()
        _, err = child.communicate(timeout=20)
    assert child.returncode in (0, 130), err
    assert not any(str(tmp_path) in name for name in _command_lines())


def test_emulate_tells_when_the_emulator_dies(tmp_path, bundle):
    require_tool("cc")
    run("generate", bundle, "--board", "host", "-o", tmp_path / "p")
    argv = [sys.executable, "-c", "from edgelearn.cli import main; main()", "emulate", str(tmp_path / "p")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline().startswith("port ")
        image = str(tmp_path / "p" / "build" / "firmware.elf")
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if path.read_text(errors="replace").startswith(image):
                    os.kill(int(path.parent.name), signal.SIGKILL)
        _, err = child.communicate(timeout=20)
    assert child.returncode == 41, err
    assert "the emulator ended" in err


def test_inspect_says_by_its_exit_code_that_a_model_does_not_fit(tmp_path):
    bundle = tmp_path / "ad01.elb"
    run("convert", reference_model("ad01_int8"), "-o", bundle)
    argv = ["inspect", str(bundle), "--board", "netduinoplus2"]
    result = CliRunner().invoke(main, argv)
    assert result.exit_code == 32
    assert "does not fit netduinoplus2: needs 180," in result.output
    assert "--residual stochastic" in result.output
    run("inspect", bundle, "--board", "netduinoplus2", "--residual", "stochastic")


def test_generating_again_takes_the_old_image_away(tmp_path, bundle):
    require_tool("cc")
    project = tmp_path / "p"
    run("generate", bundle, "--board", "host", "-o", project)
    run("build", project)
    other = tmp_path / "other.elb"
    # The same model, trained further.
    run("convert", write_model(tmp_path / "other.tflite", seed=9), "-o", other, "--name", "small")
    run("generate", other, "--board", "host", "-o", project)
    assert not (project / "build").exists()
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 8, 8, 1), np.int8))
    argv = ("stream", "--port", "emulate", "--project", project, "--data", tmp_path / "d.npz", "--predict")
    run(*argv, "--runs", tmp_path / "runs")
    (folder,) = (tmp_path / "runs").iterdir()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["model_hash"] == read_bundle(other).model_hash
    assert manifest["bundle_sha256"] == hashlib.sha256(other.read_bytes()).hexdigest()


@pytest.mark.skipif(sys.platform == "win32", reason="optional: POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_end_from_outside_ends_the_emulator_and_completes_the_run(tmp_path, bundle, number):
    require_tool("cc")
    project = tmp_path / "p"
    run("generate", bundle, "--board", "host", "-o", project)
    run("build", project)
    np.savez(tmp_path / "d.npz", x=np.zeros((50, 8, 8, 1), np.int8), y=np.zeros(50, int))
    code = "from edgelearn.cli import main; main()"
    argv = [sys.executable, "-c", code, "stream", "--port", "emulate", "--project", str(project), "--train"]
    argv += ["--data", str(tmp_path / "d.npz"), "--runs", str(tmp_path / "runs"), "--repeat", "100000"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
        while not any(path.stat().st_size for path in (tmp_path / "runs").glob("*/results.jsonl")):
            assert child.poll() is None
            time.sleep(0.05)
        child.send_signal(number)
        output, _ = child.communicate(timeout=30)
    assert child.returncode == 130, output
    assert "Traceback" not in output
    (folder,) = (tmp_path / "runs").iterdir()
    assert json.loads((folder / "summary.json").read_text())["ended"] == "interrupted"
    assert (folder / "head.npz").exists()
    image = str(project / "build" / "firmware.elf")
    assert not any(image in name for name in _command_lines())


@pytest.mark.skipif(sys.platform != "linux", reason="optional: /proc")
def test_a_stream_whose_emulator_dies_says_how_to_carry_on(tmp_path, bundle):
    require_tool("cc")
    project, runs = tmp_path / "p", tmp_path / "runs"
    run("generate", bundle, "--board", "host", "-o", project)
    run("build", project)
    np.savez(tmp_path / "d.npz", x=np.zeros((50, 8, 8, 1), np.int8), y=np.zeros(50, int))
    code = "from edgelearn.cli import main; main()"
    argv = [sys.executable, "-c", code, "stream", "--port", "emulate", "--project", str(project), "--train"]
    argv += ["--data", str(tmp_path / "d.npz"), "--runs", str(runs), "--repeat", "100000"]
    image = str(project / "build" / "firmware.elf").encode()
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
        while not any(path.stat().st_size for path in runs.glob("*/results.jsonl")):
            assert child.poll() is None
            time.sleep(0.05)
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if path.read_bytes().startswith(image):
                    os.kill(int(path.parent.name), signal.SIGKILL)
        output, _ = child.communicate(timeout=60)
    assert child.returncode == 41, output
    (folder,) = runs.iterdir()
    assert f"`edgelearn stream --resume {folder}` carries the run on" in output


def _command_lines():
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield path.read_text(errors="replace")


def test_boards_and_doctor_list_what_there_is():
    names = {board["name"] for board in json.loads(run("boards", "--json").output)}
    assert {"host", "netduinoplus2", "mps2-an385", "mps2-an386", "mps2-an500"} <= names
    assert "STM32F405RG" in run("boards", "netduinoplus2").output
    found = json.loads(run("doctor", "--json").output)
    assert {"arm-none-eabi-gcc", "qemu-system-arm"} <= {tool["name"] for tool in found}
    assert all(tool["version"] or tool["install"] for tool in found)
    assert "qemu-system-arm" in run("doctor").output


def test_doctor_says_how_to_install_what_is_missing(monkeypatch):
    from edgelearn.firmware import doctor

    monkeypatch.setattr(doctor, "_package_version", lambda name: "")
    assert 'pip install "edgelearn[convert]"' in run("doctor").output


@pytest.mark.parametrize("residual", ["int8", "stochastic", "none"])
def test_verify_on_this_machine(bundle, residual):
    require_tool("cc")
    argv = ("verify", bundle, "--board", "host", "--samples", 8, "--train-steps", 60, "--residual", residual, "--json")
    found = json.loads(run(*argv).output.splitlines()[-1])
    assert list(found) == VERIFY_KEYS
    assert found["output_bytes_different"] == 0
    assert found["head_weights_different"] == 0
    # 12 features, 6 logits, 6 probabilities, two loss terms and a prediction for each of 68 samples
    assert found["output_bytes_compared"] == 68 * (12 + 24 + 12 + 8 + 2)
    assert found["engine"] == "host"
    assert found["instructions_per_inference"] is None


def test_verify_of_a_model_without_a_head(tmp_path):
    require_tool("cc")
    bundle = tmp_path / "plain.elb"
    run("convert", write_model(tmp_path / "small.tflite"), "-o", bundle, "--head", "none")
    argv = ("verify", bundle, "--board", "host", "--samples", 5)
    assert "note: no instructions: host does not count those of host" in run(*argv).output
    found = json.loads(run(*argv, "--json").output.splitlines()[-1])
    assert found["output_bytes_compared"] == 5 * 4
    assert found["output_bytes_different"] == 0
    assert found["train_steps"] == 0
    assert found["head_weights_different"] is None


def test_verify_fails_when_something_differs(bundle, monkeypatch):
    require_tool("cc")
    from edgelearn.training import IntegerHead

    original = IntegerHead.learn

    def other(self, features, step, *, label=None, targets=None):
        original(self, features, step, label=label, targets=targets)
        self.bias = self.bias + 1

    monkeypatch.setattr(IntegerHead, "learn", other)
    argv = ["verify", str(bundle), "--board", "host", "--samples", "2", "--train-steps", "5", "--json"]
    result = CliRunner().invoke(main, argv)
    assert result.exit_code == 50
    assert json.loads(result.stdout.splitlines()[-1])["head_weights_different"] == 6
    assert "differ from the references" in result.stderr


@pytest.mark.parametrize("mode", ["--train", "--predict"])
def test_stream_with_an_emulated_port(tmp_path, bundle, mode, monkeypatch):
    require_tool("cc")
    project = tmp_path / "p"
    run("generate", bundle, "--board", "host", "-o", project, "--lr", "0.01")
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "d.npz", x=rng.normal(0, 1, (40, 8, 8, 1)).astype(np.float32), y=rng.integers(0, 6, 40))
    monkeypatch.chdir(project)
    argv = ("stream", "--port", "emulate", "--data", tmp_path / "d.npz", mode, "--runs", tmp_path / "runs")
    result = run(*argv, "--bundle", bundle, "--repeat", 2, "--limit", 60)
    assert "60 samples" in result.output
    (folder,) = (tmp_path / "runs").iterdir()
    assert (folder / "results.jsonl").read_text().count("\n") == 60
    assert {"manifest.json", "results.jsonl", "summary.json"} <= {p.name for p in folder.iterdir()}
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["model_hash"] == read_bundle(bundle).model_hash
    assert manifest["board"] == "host"
    assert json.loads((folder / "summary.json").read_text())["step"] == (60 if mode == "--train" else 0)


def test_emulate_says_its_port_and_ends_cleanly(tmp_path, bundle):
    require_tool("cc")
    run("generate", bundle, "--board", "host", "-o", tmp_path / "p")
    argv = [sys.executable, "-c", "from edgelearn.cli import main; main()", "emulate", str(tmp_path / "p")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        line = child.stdout.readline().split()
        assert line[0] == "port"
        assert line[1].startswith("socket://127.0.0.1:")
        np.savez(tmp_path / "d.npz", x=np.zeros((3, 8, 8, 1), np.int8))
        run("stream", "--port", line[1], "--data", tmp_path / "d.npz", "--predict", "--runs", tmp_path / "runs")
        child.terminate()
        _, err = child.communicate(timeout=20)
    assert child.returncode in (0, 130), err
    assert "Traceback" not in err


def test_emulate_keeps_flash_in_a_file(tmp_path, bundle):
    require_tool("cc")
    run("generate", bundle, "--board", "host", "-o", tmp_path / "p")
    argv = [sys.executable, "-c", "from edgelearn.cli import main; main()", "emulate", str(tmp_path / "p")]
    argv += ["--flash", str(tmp_path / "flash.bin")]
    for step in (0, 3):
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            url = child.stdout.readline().split()[1]
            with open_device(url) as device:
                assert device.info.step == step
                for _ in range(3):
                    device.train(np.zeros((8, 8, 1), np.int8), label=1)
                device.save()
            child.terminate()
            child.communicate(timeout=20)


@pytest.fixture
def host_that_saves_nothing(tmp_path, bundle, monkeypatch):
    """A project for this machine, whose emulator cannot write the memory of the board."""
    require_tool("cc")
    run("generate", bundle, "--board", "host", "-o", tmp_path / "p")
    board = load_board("host")
    unable = replace(board, emulator=replace(board.emulator, saves=False))
    monkeypatch.setattr(pipeline, "load_board", lambda name: unable)
    return tmp_path / "p"


def test_emulate_says_where_the_emulator_cannot_keep_anything(host_that_saves_nothing, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "time", SimpleNamespace(sleep=interrupt))
    result = run("emulate", host_that_saves_nothing)
    assert "warning: host cannot write the " in result.stderr
    assert result.stdout.startswith("port socket://")
    result = CliRunner().invoke(main, ["emulate", str(host_that_saves_nothing), "--flash", "flash.bin"])
    assert result.exit_code == EmulatorError.exit_code
    assert "does not emulate the memory in which host keeps" in result.output


def test_what_was_to_be_saved_and_is_not_is_told_at_the_end(tmp_path, host_that_saves_nothing):
    np.savez(tmp_path / "d.npz", x=np.zeros((3, 8, 8, 1), np.float32), y=[0, 1, 2])
    argv = ("stream", "--port", "emulate", "--project", host_that_saves_nothing, "--data", tmp_path / "d.npz")
    argv = (*argv, "--train", "--runs", tmp_path / "runs")
    assert "warning: " not in run(*argv).stderr
    result = run(*argv, "--save", "--autosave-steps", "2")
    assert "warning: --autosave-steps and --save: the board kept nothing without power" in result.stderr


def test_a_file_that_holds_no_flash_is_refused(tmp_path, bundle):
    require_tool("cc")
    run("generate", bundle, "--board", "host", "-o", tmp_path / "p")
    (tmp_path / "flash.bin").write_bytes(b"no flash")
    result = CliRunner().invoke(main, ["emulate", str(tmp_path / "p"), "--flash", str(tmp_path / "flash.bin")])
    assert result.exit_code == 41, result.output
    assert "does not hold the flash of host" in result.output
