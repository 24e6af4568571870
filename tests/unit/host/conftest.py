"""Fixtures of the host's tests, and how many random inputs the fuzz tests take."""

from __future__ import annotations

import os

import pytest

from edgelearn.host.link import LinkOptions

#: In all, over the fuzz tests of test_fuzz_wire.py; `EDGELEARN_FUZZ_INPUTS=1000000` for a long run.
FUZZ_INPUTS = int(os.environ.get("EDGELEARN_FUZZ_INPUTS", "20000"))


@pytest.fixture
def impatient() -> LinkOptions:
    """Times for a device in this process."""
    return LinkOptions(first_timeout_s=0.05, min_timeout_s=0.02, max_timeout_s=0.1, give_up_s=3.0, first_give_up_s=3.0)
