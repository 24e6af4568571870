"""Keeps the chatter of C++ and Python libraries off the terminal, and at hand for when they fail."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Iterator


class Captured:
    """What was written while the output was captured; complete once the capture has ended."""

    def __init__(self) -> None:
        self.text = ""

    def last_lines(self, count: int = 5) -> str:
        """The last lines that are not empty."""
        return "\n".join([line for line in self.text.splitlines() if line.strip()][-count:])


@contextlib.contextmanager
def captured_output() -> Iterator[Captured]:
    """Captures the standard output and error, of Python and of the process.

    Not for use from several threads at once: file descriptors belong to the whole process.
    """
    captured = Captured()
    python_text = io.StringIO()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.flush()
    with tempfile.TemporaryFile() as sink:
        saved: list[tuple[int, int]] = []
        try:
            for descriptor in (1, 2):
                with contextlib.suppress(OSError):  # a program without a standard output has none to keep
                    saved.append((descriptor, os.dup(descriptor)))
                    os.dup2(sink.fileno(), descriptor)
            with contextlib.redirect_stdout(python_text), contextlib.redirect_stderr(python_text):
                yield captured
        finally:
            for descriptor, copy in saved:
                os.dup2(copy, descriptor)
                os.close(copy)
            sink.seek(0)
            captured.text = python_text.getvalue() + sink.read().decode("utf-8", errors="replace")
