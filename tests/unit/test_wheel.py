"""The wheel: holds boards, templates and device code, and works from another working directory without the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.bundles import write_model

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    argv = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_it_holds_everything(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder, inside in (("boards", "edgelearn/_data/boards"), ("templates", "edgelearn/_data/templates")):
        for file in (ROOT / folder).iterdir():
            assert f"{inside}/{file.name}" in names
    device_code = [
        path for path in (ROOT / "edgelearn" / "firmware").rglob("*") if path.suffix in (".c", ".h", ".cpp", ".S")
    ]
    for file in device_code:
        assert file.relative_to(ROOT).as_posix() in names
    for name in ("report.html.j2", "page.css"):
        assert f"edgelearn/host/pages/{name}" in names
    assert "edgelearn/py.typed" in names
    assert not any(name.startswith(("tests", "benchmarks")) for name in names)


def test_its_program_begins_where_an_interrupt_is_understood(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        assert "edgelearn = edgelearn.__main__:main" in archive.read(path).decode()


def test_it_works_from_another_working_directory(wheel, tmp_path):
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    work = tmp_path / "work"
    work.mkdir()
    write_model(work / "small.tflite")
    environment = os.environ | {"PYTHONPATH": str(site)}

    def edgelearn(*argv):
        code = "import edgelearn.cli; print(edgelearn.cli.__file__); from edgelearn.__main__ import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code, *argv], cwd=work, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.startswith(str(site))
        return done.stdout

    edgelearn("convert", "small.tflite", "-o", "small.elb")
    assert "netduinoplus2" in edgelearn("boards")
    edgelearn("generate", "small.elb", "--board", "netduinoplus2", "-o", "project")
    assert (work / "project" / "runtime" / "elearn_head.c").is_file()
    assert (work / "project" / "link.ld").is_file()
