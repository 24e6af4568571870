"""For all tests: `pytest --update-golden` writes what is emitted now over tests/golden; in CI a skipped test fails."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

from edgelearn.resources import OWN_BOARDS
from tests.support.tools import OPTIONAL, is_strict

# Before any test's module looks for boards: those of the person who runs the tests are not the project's.
os.environ.pop(OWN_BOARDS, None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the generated text over the stored one")


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))


def _must_run(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and is_strict() and not hasattr(report, "wasxfail") and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not reason.startswith(OPTIONAL):
            report.outcome = "failed"
            report.longrepr = f"this test must run here: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _must_run(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _must_run(report)
    return report
