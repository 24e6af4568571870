"""Hosts that are killed: streams in a process of their own, started from a warm one so that dozens take no minute."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

from edgelearn.host.telemetry import Record, StreamOptions, read_run

#: Share of hosts that die before or while they start.
_AT_ONCE = 0.2
#: Of a run folder, for each sample.
_SAMPLE_BYTES = 250


class Lives(NamedTuple):
    """What a run has gone through.

    Attributes:
        run: its folder.
        killed: how many hosts were killed.
        resumed: how many of them had begun the run before, so that the next one carried on with it.
    """

    run: Path
    killed: int
    resumed: int


def _stream(url: str, data: str, runs: str, options: StreamOptions, resumed: str) -> None:
    """What a host does."""
    from edgelearn import pipeline
    from edgelearn.host import plots

    plots.draw_plots = lambda path: ()
    if resumed:
        pipeline.resume(Path(resumed), port=url, options=options)
        return
    with pipeline.connect(url) as device:
        pipeline.stream(device, Path(data), options, runs=Path(runs), port=url)


def _begun(runs: Path) -> Path | None:
    """The run, once its manifest is there."""
    found = [path for path in runs.glob("*") if (path / "manifest.json").exists()]
    assert len(found) <= 1, found
    return found[0] if found else None


def _written_bytes(runs: Path) -> int:
    return sum(path.stat().st_size for path in runs.glob("*/*.jsonl"))


def stream_with_kills(
    url: Callable[[], str],
    data: Path,
    runs: Path,
    options: StreamOptions,
    *,
    samples: int,
    kills: int,
    seed: int,
    between: Callable[[random.Random], None] = lambda _: None,
    may_fail: bool = False,
) -> Lives:
    """Stream all of the data, by hosts that are killed at random moments, each of which carries on with the run.

    After each kill everything that was in the run folder must still be there, and every result in it only once.

    Args:
        url: gives that of the device, which may change with `between`.
        data, runs, options: of the stream.
        samples: how many that streams.
        kills: so many, or fewer where the stream ends before. Some hosts die within their first moments, the others
            when they have written so much: on an average an equal share of the run.
        seed: of the moments.
        between: called after each kill.
        may_fail: hosts may also end by themselves with an error, as when the device is reset before they begin.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["edgelearn.pipeline", "edgelearn.host.plots"])
    chance = random.Random(seed)
    known: tuple[Record, ...] = ()
    killed = resumed = 0
    while True:
        path = _begun(runs)
        resumed += path is not None and killed > 0
        arguments = (url(), str(data), str(runs), options, str(path or ""))
        host: BaseProcess = context.Process(target=_stream, args=arguments)
        before_bytes = _written_bytes(runs)
        host.start()
        if killed == kills:
            host.join(120)
        elif chance.random() < _AT_ONCE:
            host.join(chance.uniform(0, 0.1))
        else:
            wanted_bytes = before_bytes + chance.randrange(2 * samples * _SAMPLE_BYTES // (kills + 2))
            while host.exitcode is None and _written_bytes(runs) < wanted_bytes:
                time.sleep(0.001)
        has_ended = host.exitcode is not None
        host.kill()
        host.join()
        path = _begun(runs)
        if path is not None:
            run = read_run(path)
            assert run.records[: len(known)] == known
            assert run.problems == ()
            known = run.records
            numbers = [record.number for record in known]
            assert numbers == sorted(set(numbers))
            if run.summary is not None and run.summary.ended == "complete":
                return Lives(path, killed, resumed)
        assert may_fail or not has_ended, f"the host ended by itself with {host.exitcode} after {killed} kills"
        assert killed < kills or has_ended, "the last host did not end"
        killed += not has_ended
        # A moment for what is on its way to the device.
        time.sleep(0.02)
        between(chance)
