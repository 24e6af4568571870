"""Numbers as people read them: times, bytes."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def kib(size_bytes: int) -> str:
    """Bytes for people."""
    return f"{size_bytes} bytes" if size_bytes < 1024 else f"{size_bytes / 1024:.1f} KiB"


def part_of(part_bytes: int, whole_bytes: int) -> str:
    """So many bytes of so many (0: nobody knows of how many), both in the unit that suits the smaller one."""
    if not whole_bytes:
        return kib(part_bytes)
    if part_bytes < 1024:
        return f"{part_bytes} of {whole_bytes} bytes"
    return f"{part_bytes / 1024:.1f} of {whole_bytes / 1024:.1f} KiB"
