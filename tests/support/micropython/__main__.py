"""Fetch and build MicroPython for the tests, for `make micropython`: in CI it must succeed, elsewhere tests then skip."""

from __future__ import annotations

import shutil
import sys

from edgelearn.errors import EdgelearnError
from tests.support.micropython.packages import MicroPythonError, cache_folder, prepare
from tests.support.tools import is_strict


def main() -> int:
    if shutil.which("apt-get") is None and not is_strict():
        print("MicroPython for the tests comes from Debian's packages: without apt-get those tests skip")
        return 0
    try:
        prepare()
    except (EdgelearnError, MicroPythonError) as error:
        print(f"no MicroPython for the tests: {error}", file=sys.stderr)
        return 1 if is_strict() else 0
    print(f"MicroPython is in {cache_folder()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
