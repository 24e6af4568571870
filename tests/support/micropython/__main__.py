"""What `make micropython` runs: gets MicroPython for the tests. In CI it must; elsewhere those tests skip without."""

from __future__ import annotations

import logging
import shutil
import sys

from edgelearn.errors import EdgelearnError
from tests.support.micropython.packages import MicroPythonError, cache_folder, prepare
from tests.support.tools import is_strict

_LOG = logging.getLogger(__name__)


def main() -> int:
    if shutil.which("apt-get") is None and not is_strict():
        _LOG.info("MicroPython for the tests comes from Debian's packages: without apt-get those tests skip")
        return 0
    try:
        prepare()
    except (EdgelearnError, MicroPythonError) as error:
        _LOG.error("no MicroPython for the tests: %s", error)
        return 1 if is_strict() else 0
    _LOG.info("MicroPython is in %s", cache_folder())
    return 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    sys.exit(main())
