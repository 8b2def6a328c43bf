"""What a person sees on a terminal: bars and notes on stderr, results on stdout."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from backbones.pipeline import Skipped
from indexer.progress import Progress

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def say(line: str = "") -> None:
    """A result, for stdout."""
    sys.stdout.write(line + "\n")


def say_each(found: Iterable[DataclassInstance]) -> None:
    """Each as a JSON object on a line of its own."""
    for one in found:
        say(json.dumps(asdict(one)))


def note(line: str) -> None:
    """Something about the run, for stderr."""
    sys.stderr.write(line + "\n")


def note_skipped(skipped: Skipped) -> None:
    """Name a file that could not be used."""
    note(f"skipped {skipped.path}: {skipped.reason}")


@contextlib.contextmanager
def progress_bars() -> Iterator[Progress]:
    """A callback that draws one bar a stage; draws nothing when stderr is not a terminal."""
    if not sys.stderr.isatty():
        yield lambda stage, done, total: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def on_progress(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield on_progress


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned plain text; columns that hold numbers only are set to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(heads, *rows, strict=True)]
    numeric = [
        bool(rows) and all(not row[i] or row[i][0] in "-0123456789" for row in rows)
        for i in range(len(heads))
    ]
    lines = []
    for row in (heads, ["-" * width for width in widths], *rows):
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
