"""What the commands share: options, tables, JSON."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

if TYPE_CHECKING:
    from rich.console import Console

#: Width of tables that go into a file or a pipe.
_PLAIN_WIDTH = 140

EXISTING = click.Path(path_type=Path)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object as the last line.")
PORT = click.option("--port", "-p", required=True, help="A serial device, socket://host:port, or `emulate`.")
PROJECT = click.option("--project", type=EXISTING, default=None, help="Project to boot with `--port emulate`.")


def make_console(*, err: bool = False) -> Console:
    """A console without colours in files and pipes, and wide enough for tables there."""
    from rich.console import Console

    found = Console(stderr=err, highlight=False)
    return found if found.is_terminal else Console(stderr=err, highlight=False, width=_PLAIN_WIDTH)


def print_json(value: msgspec.Struct | tuple[msgspec.Struct, ...]) -> None:
    """One JSON value in one line."""
    click.echo(msgspec.json.encode(value).decode())


@contextlib.contextmanager
def status(text: str) -> Iterator[None]:
    """A spinner on a terminal, one line elsewhere."""
    shown = make_console(err=True)
    if shown.is_terminal:
        with shown.status(text):
            yield
    else:
        shown.print(text)
        yield
