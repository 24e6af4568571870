"""Where `edgelearn` and `python -m edgelearn` begin: nothing is imported before Ctrl-C is understood."""

from __future__ import annotations

import sys

_INTERRUPTED_EXIT_CODE = 130


def main() -> None:
    """Run the command line; see `edgelearn.cli`."""
    try:
        from edgelearn.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(_INTERRUPTED_EXIT_CODE)


if __name__ == "__main__":
    main()
