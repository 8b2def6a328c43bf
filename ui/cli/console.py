"""What a person sees on a terminal: bars and notes on stderr, results on stdout."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from backbones.pipeline import Skipped
    from indexer.progress import Progress

Columns = Mapping[str, str | Callable[[Any], str]]
"""Heads of a table, each with a format such as "{.score:.4g}" or a function of what a row shows."""


def say(line: str = "") -> None:
    """A result, for stdout."""
    sys.stdout.write(line + "\n")


def say_found(found: Iterable[DataclassInstance], columns: Columns, *, as_json: bool) -> None:
    """Each as a JSON object on a line of its own, or all as a table of these `columns_table`."""
    if as_json:
        for one in found:
            say(json.dumps(asdict(one)))
    else:
        say(columns_table(columns, found))


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
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, progress.TaskID] = {}

        def on_progress(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield on_progress


def columns_table(columns: Columns, rows: Iterable[object]) -> str:
    """A table with a row for each object, whose cells the ``columns`` make."""
    cells = [form.format if isinstance(form, str) else form for form in columns.values()]
    return table(list(columns), [[cell(row) for cell in cells] for row in rows])


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned plain text; columns that hold numbers only are set to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(heads, *rows, strict=True)]
    sides = [
        ">" if rows and all(not row[i] or row[i][0] in "-0123456789" for row in rows) else "<"
        for i in range(len(heads))
    ]
    line = "  ".join(f"{{:{side}{width}}}" for side, width in zip(sides, widths, strict=True))
    rule = ["-" * width for width in widths]
    return "\n".join(line.format(*row).rstrip() for row in (heads, rule, *rows))
