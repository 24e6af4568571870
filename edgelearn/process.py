"""run(argv) and spawn(argv): the only places of the library that start another program.

A program that was spawned can be guarded, so that it does not outlive us however we end.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgelearn.errors import ProcessError, ProgramMissingError

#: Ends the process that it is given once nobody holds the other end of its standard input.
_GUARD = "read _; kill -KILL $0"
#: Programs of Python packages lie beside the interpreter, also where that folder is not on PATH.
OWN_FOLDER = Path(sys.executable).parent


def find_program(name: str) -> Path | None:
    """The path of a program on PATH, or beside the interpreter; or None."""
    found = shutil.which(name) or shutil.which(name, path=str(OWN_FOLDER))
    return Path(found) if found else None


def _resolved(argv: Sequence[str]) -> list[str]:
    """The command, with the whole path of a program that is beside the interpreter and not on PATH."""
    if shutil.which(argv[0]) is None:
        return [shutil.which(argv[0], path=str(OWN_FOLDER)) or argv[0], *argv[1:]]
    return list(argv)


def run(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout_s: float | None = None,
) -> str:
    """Run a program to its end and return its output, stdout and stderr together.

    Args:
        argv: the program and its arguments; no shell is involved.
        cwd: its working directory.
        env: its whole environment; None inherits ours.
        timeout_s: end it after this many seconds.

    Raises:
        ProgramMissingError: the program does not exist.
        ProcessError: it exited with a code other than 0, or ran out of time (exit code -1).
    """
    try:
        done = subprocess.run(
            _resolved(argv),
            cwd=cwd,
            env=None if env is None else dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            check=False,
            encoding="utf-8",
            errors="replace",
        )
    except FileNotFoundError as error:
        raise ProgramMissingError(argv[0]) from error
    except subprocess.TimeoutExpired as error:
        raise ProcessError(tuple(argv), -1, f"it did not end within {timeout_s} s") from error
    if done.returncode != 0:
        raise ProcessError(tuple(argv), done.returncode, done.stdout)
    return done.stdout


def spawn(
    argv: Sequence[str], *, log_path: Path, cwd: Path | None = None, pipe_errors: bool = False
) -> subprocess.Popen[bytes]:
    """Start a program that runs beside us, its output going to `log_path`; the caller ends it.

    It has a session of its own: a Ctrl-C meant for us must not end it before we have taken leave of it.

    Args:
        argv: the program and its arguments; no shell is involved.
        log_path: where its output goes.
        cwd: its working directory.
        pipe_errors: standard error goes into a pipe instead, which the caller reads.

    Raises:
        ProgramMissingError: the program does not exist.
    """
    with log_path.open("wb") as log:
        try:
            return subprocess.Popen(
                list(argv),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.PIPE if pipe_errors else subprocess.STDOUT,
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        except FileNotFoundError as error:
            raise ProgramMissingError(argv[0]) from error


class Guard:
    """Ends a program when we end, also where we are killed and can do nothing any more.

    A shell waits at a pipe whose other end only we hold. It is a process of its own, not a signal asked of the kernel
    (Linux has one), because that comes already when the thread that asked for it ends. Processes that are forked off
    us, without another program in them, hold the pipe too. Where there is no POSIX shell nothing is guarded.

    Args:
        child: from `spawn`. It must not be waited for before `release`, or another program may get its number.
    """

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._shell: subprocess.Popen[bytes] | None = None
        if os.name != "posix" or find_program("sh") is None:
            return
        self._shell = subprocess.Popen(
            ["sh", "-c", _GUARD, str(child.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def release(self) -> None:
        """The program is ended by us; releasing it twice does no harm."""
        shell, self._shell = self._shell, None
        if shell is None:
            return
        # Before the pipe is closed, which would make it do its work.
        shell.kill()
        shell.wait()
        assert shell.stdin is not None  # noqa: S101
        shell.stdin.close()
