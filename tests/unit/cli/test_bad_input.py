"""Bad input to the command line: each case has its own message and exit code, and no traceback is shown."""

from __future__ import annotations

import functools
import socket

import numpy as np
import pytest
from click.testing import CliRunner

from edgelearn import errors, pipeline
from edgelearn.board import Output, board_names, load_board
from edgelearn.bundle import read_bundle
from edgelearn.cli import main
from edgelearn.firmware import toolchain
from edgelearn.host.device import open_device
from edgelearn.host.link import LinkOptions
from edgelearn.protocol import PROTOCOL_VERSION
from tests.support.bundles import write_model
from tests.support.fake_device import FakeDevice, Faults, Model, blobs
from tests.support.models import reference_model
from tests.support.tflite_builder import TfliteBuilder
from tests.support.tools import require_tool


def run(*argv, code, says):
    """Run a command that must fail with this code and these words, all on standard error."""
    result = CliRunner().invoke(main, [str(a) for a in argv])
    assert result.exit_code == code, result.output
    assert sum(line.startswith("Error:") for line in result.stderr.splitlines()) == 1
    assert "Traceback" not in result.output
    for words in says:
        assert words in result.stderr
    return result


@pytest.fixture
def bundle(tmp_path):
    path = tmp_path / "small.elb"
    model = write_model(tmp_path / "small.tflite")
    assert CliRunner().invoke(main, ["convert", str(model), "-o", str(path)]).exit_code == 0
    return path


@pytest.fixture
def samples(tmp_path):
    x, y = blobs(20)
    path = tmp_path / "blobs.npz"
    np.savez(path, x=x, y=y)
    return path


def test_a_file_that_is_no_model(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("hello")
    run("convert", path, "-o", tmp_path / "o.elb", code=10, says=["notes.txt", ".tflite"])
    path = tmp_path / "model.tflite"
    path.write_bytes(b"\0" * 100)
    run("convert", path, "-o", tmp_path / "o.elb", code=10, says=["model.tflite"])
    run("convert", tmp_path / "absent.tflite", "-o", tmp_path / "o.elb", code=10, says=["absent.tflite"])
    assert not (tmp_path / "o.elb").exists()


def test_a_float_tflite(tmp_path):
    pytest.importorskip("tensorflow", reason="tensorflow is not installed")
    from edgelearn.convert.quantize import import_tensorflow

    tensorflow, keras = import_tensorflow()
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    model.export(tmp_path / "saved", verbose=False)
    data = tensorflow.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved")).convert()
    path = tmp_path / "float.tflite"
    path.write_bytes(data)
    run("convert", path, "-o", tmp_path / "o.elb", code=11, says=["int8"])


def test_an_unsupported_op(tmp_path):
    builder = TfliteBuilder(1)
    x = builder.input((1, 4, 4, 2))
    scale, zero_point = builder.quant(x)
    for name in ("a", "b"):
        x = builder.op("FLOOR", [x], builder.tensor((1, 4, 4, 2), scale=scale, zero_point=zero_point, name=name))
    path = tmp_path / "odd.tflite"
    path.write_bytes(builder.build(x))
    run("convert", path, "-o", tmp_path / "o.elb", code=12, says=["FLOOR (op #0)", "FLOOR (op #1)", "Hint:"])


def test_a_head_that_does_not_exist(tmp_path):
    model = write_model(tmp_path / "small.tflite")
    run("convert", model, "-o", tmp_path / "o.elb", "--head", "nose", code=13, says=["nose", "features", "classes"])
    run("convert", model, "-o", tmp_path / "o.elb", "--classes", "2", code=13, says=["2", "4"])


@pytest.mark.parametrize(
    ("arrays", "code", "says"),
    [
        ({"x": np.zeros((5, 7, 7, 1), np.float32)}, 14, ["[7, 7, 1]", "[8, 8, 1]"]),
        ({"x": np.full((5, 8, 8, 1), np.nan, np.float32)}, 20, ["sample 0", "NaN"]),
        ({"z": np.zeros(3)}, 20, ["x"]),
    ],
)
def test_calibration_that_does_not_fit(tmp_path, arrays, code, says):
    model = write_model(tmp_path / "small.tflite")
    np.savez(tmp_path / "c.npz", **arrays)
    argv = ["convert", model, "-o", tmp_path / "o.elb", "--calibration", tmp_path / "c.npz"]
    result = CliRunner().invoke(main, [str(a) for a in argv])
    assert result.exit_code == code, result.output
    for words in says:
        assert words.lower() in result.stderr.lower()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Keras, when it saves
def test_a_float_model_without_calibration(tmp_path):
    pytest.importorskip("tensorflow", reason="tensorflow is not installed")
    from edgelearn.convert.quantize import import_tensorflow

    _, keras = import_tensorflow()
    path = tmp_path / "m.keras"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(path)
    run("convert", path, "-o", tmp_path / "o.elb", code=14, says=["--calibration"])


def test_labels_that_do_not_fit_the_outputs(tmp_path):
    model = write_model(tmp_path / "small.tflite")
    run("convert", model, "-o", tmp_path / "o.elb", "--labels", "a,b", code=21, says=["2", "4"])
    argv = ("convert", model, "-o", tmp_path / "o.elb", "--classes", "6", "--labels", "a,b,c,d,e")
    run(
        *argv, code=21, says=["5 labels do not fit 6 outputs", "the model itself has 4, the others are spare", "4 or 6"]
    )


def test_a_file_that_is_no_bundle(tmp_path, bundle):
    model = write_model(tmp_path / "m.tflite")
    run("generate", model, "--board", "host", "-o", tmp_path / "p", code=15, says=["not an edgelearn bundle"])
    run("generate", tmp_path / "absent.elb", "--board", "host", "-o", tmp_path / "p", code=15, says=["absent.elb"])
    np.savez(tmp_path / "x.npz", x=np.zeros(3))
    run("inspect", tmp_path / "x.npz", code=15, says=["it is an archive without manifest.json"])
    run("boards", "--fits", tmp_path, code=15, says=["it is a folder", f"`edgelearn convert {tmp_path} -o"])
    for name in ("m.keras", "M.H5", "m.hdf5"):
        (tmp_path / name).write_bytes(b"no model")
        for argv in (("boards", "--fits"), ("inspect",)):
            says = ["is not an edgelearn bundle (.elb)", "its content is not that of an .elb file", ".elb` makes one"]
            run(*argv, tmp_path / name, code=15, says=says)
    data = bytearray(bundle.read_bytes())
    data[len(data) // 2] ^= 0xFF
    bundle.write_bytes(bytes(data))
    run("generate", bundle, "--board", "host", "-o", tmp_path / "p", code=15, says=["small.elb"])


def test_a_file_where_a_project_is_wanted(tmp_path, bundle):
    (tmp_path / "junk.txt").write_text("junk")
    run("flash", tmp_path / "junk.txt", code=36, says=["it is a file, and a project is a folder", "edgelearn generate"])
    run("flash", bundle, code=36, says=[f"`edgelearn generate {bundle} --board", f"`edgelearn deploy {bundle} --board"])
    run("generate", bundle, "--board", "host", "-o", bundle, code=51, says=["is a file, and a project is a folder"])


def test_a_library_is_not_emulated(tmp_path, bundle, samples):
    folder = tmp_path / "library"
    argv = ["generate", str(bundle), "--board", "netduinoplus2", "--target", "library", "-o", str(folder)]
    assert CliRunner().invoke(main, argv).exit_code == 0
    says = ["is a library, which becomes part of your own firmware"]
    run("emulate", folder, code=errors.OptionError.exit_code, says=says)
    argv = ("stream", "--port", "emulate", "--project", folder, "--data", samples, "--predict")
    run(*argv, "--runs", tmp_path / "runs", code=errors.OptionError.exit_code, says=says)


def test_a_micropython_project_is_not_emulated(tmp_path, bundle, samples):
    folder = tmp_path / "package"
    argv = ["generate", str(bundle), "--board", "nano33ble", "--target", "micropython", "-o", str(folder)]
    assert CliRunner().invoke(main, argv).exit_code == 0
    says = ["MicroPython is not emulated", "`edgelearn flash` puts the package onto a board"]
    run("emulate", folder, code=errors.OptionError.exit_code, says=says)
    argv = ("stream", "--port", "emulate", "--project", folder, "--data", samples, "--predict")
    run(*argv, "--runs", tmp_path / "runs", code=errors.OptionError.exit_code, says=says)


def test_a_board_that_does_not_exist(tmp_path, bundle):
    run("generate", bundle, "--board", "netduino", "-o", tmp_path / "p", code=31, says=["netduinoplus2"])


def test_a_model_too_large_for_the_ram(tmp_path):
    bundle = tmp_path / "ad01.elb"
    assert CliRunner().invoke(main, ["convert", str(reference_model("ad01_int8")), "-o", str(bundle)]).exit_code == 0
    result = run(
        "generate",
        *(bundle, "--board", "netduinoplus2", "-o", tmp_path / "p"),
        code=32,
        says=["bytes of RAM", "netduinoplus2 has 131,072 bytes", "163,840", "--residual stochastic", "81,920"],
    )
    assert "180," in result.stderr
    assert not (tmp_path / "p").exists()


def test_a_model_too_large_for_the_flash(tmp_path):
    builder = TfliteBuilder(1)
    x = builder.fully_connected(builder.input((1, 1024)), units=1100, name="wide")
    (tmp_path / "big.tflite").write_bytes(builder.build(builder.fully_connected(x, units=4, name="classes")))
    bundle = tmp_path / "big.elb"
    argv = ["convert", str(tmp_path / "big.tflite"), "-o", str(bundle)]
    assert CliRunner().invoke(main, argv).exit_code == 0
    says = ["bytes of flash", "netduinoplus2 has 786,432 bytes", "wide"]
    run("generate", bundle, "--board", "netduinoplus2", "-o", tmp_path / "p", code=32, says=says)


def test_a_folder_that_holds_something_else(tmp_path, bundle):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "thesis.txt").write_text("precious")
    run("generate", bundle, "--board", "host", "-o", tmp_path / "p", code=51, says=["not empty"])
    assert [p.name for p in (tmp_path / "p").iterdir()] == ["thesis.txt"]
    run("build", tmp_path / "p", code=36, says=["not a generated project"])


def test_no_compiler(tmp_path, bundle, monkeypatch):
    project = tmp_path / "p"
    argv = ["generate", str(bundle), "--board", "netduinoplus2", "-o", str(project)]
    assert CliRunner().invoke(main, argv).exit_code == 0
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(toolchain.importlib.util, "find_spec", lambda name: None)
    run("build", project, code=33, says=["arm-none-eabi-gcc", "ziglang"])


def test_no_emulator(tmp_path, bundle, monkeypatch):
    project = tmp_path / "p"
    argv = ["generate", str(bundle), "--board", "netduinoplus2", "-o", str(project)]
    assert CliRunner().invoke(main, argv).exit_code == 0
    (project / "build").mkdir()
    (project / "build" / "firmware.elf").write_bytes(b"")
    monkeypatch.setenv("PATH", "")
    run("emulate", project, code=40, says=["qemu-system-arm", "apt install"])


@pytest.mark.parametrize("port", ["/dev/ttyNOSUCH", "socket://", "COM"])
def test_a_port_that_does_not_exist(tmp_path, samples, port):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # taken, but nobody listens
        if port == "socket://":
            port += f"127.0.0.1:{silent.getsockname()[1]}"
        argv = ("stream", "--port", port, "--data", samples, "--predict", "--runs", tmp_path / "runs")
        run(*argv, code=42, says=[port])
    assert not (tmp_path / "runs").exists()


def test_a_device_that_runs_another_model(tmp_path, samples, bundle):
    with FakeDevice() as device:
        argv = ("stream", "--port", device.url, "--data", samples, "--predict", "--bundle", bundle)
        run(*argv, "--runs", tmp_path / "runs", code=43, says=["0001020304050607", read_bundle(bundle).model_hash[:16]])


def test_a_device_of_another_protocol_version(tmp_path, samples):
    with FakeDevice(Model(version=9)) as device:
        argv = ("stream", "--port", device.url, "--data", samples, "--predict", "--runs", tmp_path / "runs")
        run(*argv, code=44, says=["version 9", f"version {PROTOCOL_VERSION}"])


def test_a_device_that_stops_answering(tmp_path, samples, monkeypatch):
    options = LinkOptions(first_timeout_s=0.1, max_timeout_s=0.2, give_up_s=0.5, first_give_up_s=0.5)
    monkeypatch.setattr(pipeline, "open_device", functools.partial(open_device, options=options))
    with FakeDevice(faults=Faults(silent_after_frames=12)) as device:
        argv = ("stream", "--port", device.url, "--data", samples, "--predict", "--runs", tmp_path / "runs")
        run(*argv, code=45, says=["answer"])
    (run_folder,) = (tmp_path / "runs").iterdir()
    assert (run_folder / "results.jsonl").read_text().count("\n") > 0


def test_a_device_that_was_reset(tmp_path, samples):
    """What it had learned before and cannot save is gone: that is said, and nothing is sent again."""
    with FakeDevice(faults=Faults(reset_after_frames=12)) as device:
        device.step = 5
        argv = ("stream", "--port", device.url, "--data", samples, "--train", "--runs", tmp_path / "runs")
        run(*argv, code=46, says=["reset"])


def test_samples_that_do_not_fit_the_device(tmp_path):
    with FakeDevice() as device:
        data = tmp_path / "d.npz"
        cases = [
            (np.zeros((3, 5), np.float32), np.zeros(3, int), 20, ["5", "16"]),
            (np.full((3, 16), np.inf, np.float32), np.zeros(3, int), 20, ["sample 0"]),
            (np.zeros((3, 16), np.float32), np.array([0, 1, 7]), 21, ["7", "sample 2"]),
            (np.zeros((3, 16), np.float32), np.array(["one", "two", "nine"]), 21, ["nine"]),
        ]
        for x, y, code, says in cases:
            np.savez(data, x=x, y=y)
            run("stream", "--port", device.url, "--data", data, "--train", code=code, says=says)


def test_a_full_disk(tmp_path, bundle, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    from pathlib import Path

    monkeypatch.setattr(Path, "write_bytes", full)
    run("generate", bundle, "--board", "host", "-o", tmp_path / "p", code=51, says=["No space left on device"])


def test_emulate_needs_a_project(tmp_path, samples, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("stream", "--port", "emulate", "--data", samples, "--predict", code=36, says=["not a generated project"])


def test_an_image_that_never_says_hello(tmp_path, bundle, monkeypatch):
    require_tool("cc")
    project = tmp_path / "p"
    argv = ["generate", str(bundle), "--board", "host", "-o", str(project)]
    assert CliRunner().invoke(main, argv).exit_code == 0
    pipeline.build(project)
    image = project / "build" / "firmware.elf"
    image.write_text("#!/bin/sh\necho port socket://127.0.0.1:1\necho out of memory >&2\nsleep 0.3\nexit 3\n")
    monkeypatch.setattr(pipeline, "open_device", functools.partial(open_device, hello_timeout_s=1.0))
    run("emulate", project, code=41, says=["out of memory"])


def test_a_tcp_port_that_is_taken(tmp_path, bundle):
    require_tool("cc")
    project = tmp_path / "p"
    argv = ["generate", str(bundle), "--board", "host", "-o", str(project)]
    assert CliRunner().invoke(main, argv).exit_code == 0
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        run("emulate", project, "--tcp-port", port, code=41, says=[f"TCP port {port} is taken"])


def test_sanitizers_are_for_this_machine_only(tmp_path, bundle):
    project = tmp_path / "p"
    argv = ["generate", str(bundle), "--board", "netduinoplus2", "-o", str(project)]
    assert CliRunner().invoke(main, argv).exit_code == 0
    run("build", project, "--sanitize", code=37, says=["netduinoplus2 has no sanitizers"])


def test_a_folder_as_output(tmp_path):
    run("convert", write_model(tmp_path / "small.tflite"), "-o", tmp_path, code=51, says=["is a folder"])


def test_labels_with_control_characters(tmp_path):
    model = write_model(tmp_path / "small.tflite")
    run("convert", model, "-o", tmp_path / "o.elb", "--labels", "a\nb,c,d,e", code=21, says=["control character"])


def test_verify_with_data_that_does_not_say_what_to_learn(tmp_path, bundle):
    require_tool("cc")
    np.savez(tmp_path / "d.npz", x=np.zeros((4, 8, 8, 1), np.float32))
    argv = ("verify", bundle, "--board", "host", "--data", tmp_path / "d.npz")
    run(*argv, code=20, says=["no labels", "--train-steps 0"])


def test_verify_refuses_another_oracle(bundle, monkeypatch):
    from edgelearn.convert import litert

    monkeypatch.setattr(litert, "interpreter_version", lambda: ("tflite-runtime", "2.14.0"))
    run("verify", bundle, "--board", "host", code=52, says=["ai-edge-litert 2.3.0", "tflite-runtime 2.14.0"])


def test_the_oracle_is_the_pinned_one():
    from pathlib import Path

    from edgelearn.convert.litert import ORACLE

    assert f'"{ORACLE[0]}=={ORACLE[1]}"' in (Path(__file__).parents[3] / "pyproject.toml").read_text()


def test_code_beyond_its_estimate_is_refused_with_both_numbers(tmp_path, bundle, monkeypatch):
    require_tool("arm-none-eabi-gcc")
    import msgspec

    from edgelearn.codegen import plan as planning

    project = tmp_path / "p"
    board = load_board("netduinoplus2")
    flash = msgspec.structs.replace(board.memory[0], size_bytes=8192)
    small = msgspec.structs.replace(board, memory=(flash, *board.memory[1:]))
    too_low = msgspec.structs.replace(planning.GNU, base=0, training=0, store=0, drivers={}, other_driver=0)
    monkeypatch.setattr(planning, "GNU", too_low)
    pipeline.generate(read_bundle(bundle), small, project)
    with pytest.raises(errors.DoesNotFitError, match="bytes of flash, netduinoplus2 has 786,432 bytes"):
        pipeline.build(project)


def test_a_board_without_an_emulator_is_refused_before_anything_is_built(tmp_path, bundle, monkeypatch):
    board = next(b for b in map(load_board, board_names()) if not b.engines and Output.BARE_METAL in b.outputs)
    assert (
        CliRunner().invoke(main, ["generate", str(bundle), "-b", board.name, "-o", str(tmp_path / "p")]).exit_code == 0
    )
    monkeypatch.setattr(pipeline, "build", lambda *words, **options: pytest.fail("it is built"))
    run("emulate", tmp_path / "p", code=40, says=[f"{board.name} has no emulator"])
    run("deploy", bundle, "-b", board.name, "-p", "emulate", "-o", tmp_path / "d", code=40, says=["has no emulator"])
    assert not (tmp_path / "d").exists()


def test_usage_errors_are_clicks():
    for argv in (["convert"], ["stream", "--port", "x", "--data", "y"], ["generate", "x", "--board", "host"]):
        assert CliRunner().invoke(main, argv).exit_code == 2


def test_an_unexpected_failure_is_said_plainly(bundle, monkeypatch):
    from edgelearn import board

    def broken(name):
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(board, "load_board", broken)
    result = CliRunner().invoke(main, ["inspect", str(bundle), "--board", "host"])
    assert result.exit_code == 1
    assert "ZeroDivisionError: oh" in result.stderr
    assert "Traceback" not in result.output


def test_exit_codes_are_unique():
    def leaves(kind):
        return [kind, *(leaf for sub in kind.__subclasses__() for leaf in leaves(sub))]

    named = [kind for kind in leaves(errors.EdgelearnError) if kind.__module__ == "edgelearn.errors"][1:]
    codes = [kind.exit_code for kind in named]
    assert len(set(codes)) == len(codes) > 30
    assert not {0, 1, 2, 130} & set(codes)
