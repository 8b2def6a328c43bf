"""The summary of a benchmark: one definition of its columns for CSV, Markdown, HTML and console."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from eval.baselines.table import BASELINES
from eval.benchmark.results import BenchmarkResult, CategoryReport
from eval.metrics.detection import Rate
from eval.metrics.table import METRICS

Cell = str | int | float | Rate
NONE = "–"  # noqa: RUF001  stands for an undefined figure in text for people


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the summary: `key` heads it in CSV, `title` elsewhere.

    The cell is the report's attribute `key`, or its baseline figure of that name if `baseline`.
    """

    key: str
    title: str
    kind: Literal["text", "figure", "share", "rate", "count", "time"]
    explanation: str = ""
    baseline: bool = False

    def cell(self, report: CategoryReport) -> Cell:
        """Return the raw value of this column for a report; nan if there is none."""
        if self.baseline:
            return (report.baseline or {}).get(self.key, math.nan)
        value: Cell = getattr(report, self.key)
        return value

    def text(self, cell: Cell) -> str:
        """Format a cell of this column for people."""
        undefined = isinstance(cell, float) and math.isnan(cell)
        return NONE if undefined else _FORMATS[self.kind](cell)


@dataclass(frozen=True, slots=True)
class SummaryTable:
    """The summary of a benchmark, one row per report in their order; cells are raw values."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    @property
    def texts(self) -> tuple[tuple[str, ...], ...]:
        """The cells formatted for people."""
        return tuple(
            tuple(column.text(cell) for column, cell in zip(self.columns, row, strict=True))
            for row in self.rows
        )


def _metric_columns(*kinds: str) -> list[Column]:
    return [
        Column(
            name,
            metric.title,
            metric.kind,
            f"{metric.sentence} {'Higher' if metric.higher_is_better else 'Lower'} is better.",
        )
        for name, metric in METRICS.items()
        if metric.kind in kinds
    ]


COLUMNS: tuple[Column, ...] = (
    Column("category", "category", "text"),
    Column("backbone", "backbone", "text"),
    *_metric_columns("figure"),
    Column(
        "alpha_reject",
        "requested false rejects",
        "share",
        "Share of normal parts that may be rejected; the threshold follows from it.",
    ),
    *_metric_columns("rate", "time"),
    Column("bank_size", "bank", "count", "Patch embeddings in the memory bank."),
    Column("index_seconds", "index s", "time", "From normal images to a calibrated category."),
)


def summary_table(result: BenchmarkResult) -> SummaryTable:
    """Table of one row per report; figures of baselines become further columns."""
    names = dict.fromkeys(name for report in result.reports for name in report.baseline or {})
    sentences = {baseline.title: baseline.sentence for baseline in BASELINES.values()}
    baselines = (
        Column(name, name, "figure", sentences.get(name, "A baseline in the same run."), True)
        for name in names
    )
    columns = (*COLUMNS, *baselines)
    rows = tuple(tuple(column.cell(report) for column in columns) for report in result.reports)
    return SummaryTable(columns, rows)


def csv_text(table: SummaryTable) -> str:
    """Format one line per report; a rate takes four columns, an undefined figure is empty."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    parts = {"rate": ("", "_low", "_high", "_n")}
    writer.writerow(c.key + part for c in table.columns for part in parts.get(c.kind, ("",)))
    for row in table.rows:
        writer.writerow(value for cell in row for value in _plain(cell))
    return file.getvalue()


def interval_text(rate: Rate) -> str:
    """Format the 95 % interval as ``0.6 to 15.7 %``."""
    low, high = rate.interval
    return f"{100 * low:.1f} to {percent_text(high)}"


def percent_text(share: float) -> str:
    """Format a share as ``3.1 %``, below one per cent as ``0.25 %``."""
    if math.isnan(share):
        return NONE
    return f"{100 * share:.2g} %" if 0 < share < 0.01 else f"{100 * share:.1f} %"


def _rate_text(rate: Rate) -> str:
    return f"{percent_text(rate.value)} ({interval_text(rate)})" if rate.n else NONE


_FORMATS: dict[str, Callable[[Any], str]] = {
    "text": str,
    "figure": lambda cell: f"{cell:.4f}" if 0 <= cell <= 1 else f"{cell:.4g}",
    "share": percent_text,
    "rate": _rate_text,
    "count": lambda cell: f"{cell:,.0f}",
    "time": lambda cell: f"{cell:,.0f}" if cell >= 100 else f"{cell:.1f}",
}


def _plain(cell: Cell) -> tuple[str | int | float, ...]:
    if isinstance(cell, Rate):
        return (*_plain(cell.value), *cell.interval, cell.n)
    return ("",) if isinstance(cell, float) and math.isnan(cell) else (cell,)
