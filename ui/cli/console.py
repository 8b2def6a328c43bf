"""Output on a terminal: bars and notes on stderr, results on stdout."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from rich.console import JustifyMethod

    from backbones.pipeline import Skipped
    from indexer.progress import Progress

Columns = Mapping[str, str | Callable[[Any], str]]
"""Heads of a table, each with a format such as "{.score:.4g}" or a function of what a row shows."""

_ENDLESS = 1_000_000
"""Characters of a line in a pipe or a file: none is too long."""
_MOST_COLUMNS = 8
"""Columns of a table that may be folded on a narrow terminal."""
_NARROW = 8
"""Characters that a folded column has at least."""


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
    """Aligned columns, those that hold numbers only set to the right.

    On a terminal as wide as that: long texts are folded, and a row of many columns becomes lines
    of its own. Elsewhere a row is a line, of plain characters, with nothing cut off.
    """
    columns = list(zip(heads, *rows, strict=True))
    if not sys.stdout.isatty():
        rule = ["-" * _width(column) for column in columns]
        return _drawn(columns, [rule, *rows], None)
    terminal = shutil.get_terminal_size().columns
    if len(heads) > _MOST_COLUMNS and sum(_width(column) + 2 for column in columns) > terminal:
        return "\n\n".join(_lines_of(heads, row) for row in rows)
    return _drawn(columns, rows, terminal)


def _drawn(
    columns: Sequence[Sequence[str]], rows: Sequence[Sequence[str]], terminal: int | None
) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD if terminal else None, show_edge=False, pad_edge=False)
    drawn.padding = (0, 1, 0, 0) if terminal else (0, 2, 0, 0)
    folded = _folded(columns, terminal)
    for (head, *cells), fold in zip(columns, folded, strict=True):
        numbers = bool(cells) and all(not text or text[0] in "-0123456789" for text in cells)
        side: JustifyMethod = "right" if numbers else "left"
        drawn.add_column(Text(head), justify=side, overflow="fold", no_wrap=not fold)
    for row in rows:
        drawn.add_row(*map(Text, row))
    console = Console(width=terminal or _ENDLESS, force_terminal=bool(terminal))
    with console.capture() as captured:
        console.print(drawn)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def _folded(columns: Sequence[Sequence[str]], terminal: int | None) -> list[bool]:
    """Columns that may be folded: texts, and names and ids for which there is no room."""
    widths = [_width(column) for column in columns]
    room = (terminal or _ENDLESS) - sum(min(width, _NARROW) + 2 for width in widths)
    folded = []
    for column, width in zip(columns, widths, strict=True):
        more = max(0, width - _NARROW)
        text = any(" " in cell for cell in column[1:])
        folded.append(terminal is not None and more > 0 and (text or more > room))
        room -= 0 if folded[-1] else more
    return folded


def _lines_of(heads: Sequence[str], row: Sequence[str]) -> str:
    widest = _width(heads)
    return "\n".join(f"{head:<{widest}}  {cell}" for head, cell in zip(heads, row, strict=True))


def _width(texts: Sequence[str]) -> int:
    from rich.cells import cell_len

    return max(map(cell_len, texts))
