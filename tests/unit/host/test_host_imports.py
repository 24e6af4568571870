"""Importing the host's modules brings in nothing heavy, and nothing of its siblings."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("matplotlib", "plotext", "rich", "serial", "tensorflow", "ai_edge_litert")
SIBLINGS = ("edgelearn.convert", "edgelearn.codegen", "edgelearn.firmware", "edgelearn.training")


def modules_after(*imports: str) -> set[str]:
    code = f"import sys, {', '.join(imports)}; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_package_itself_is_light():
    assert not modules_after("edgelearn.host") & {*HEAVY, "numpy", "msgspec"}


def test_all_modules_leave_out_what_they_need_only_sometimes():
    names = ["transport", "link", "device", "head", "data", "metrics", "telemetry", "view", "plots", "stream"]
    loaded = modules_after(*(f"edgelearn.host.{name}" for name in names))
    assert not loaded & {*HEAVY, *SIBLINGS}
