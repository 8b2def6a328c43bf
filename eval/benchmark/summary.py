"""The summary of a benchmark: one definition of its columns for CSV, Markdown, HTML, console."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from typing import Literal

from eval.benchmark.results import BenchmarkResult, CategoryReport
from eval.metrics.detection import Rate

Cell = str | int | float | Rate
NONE = "–"  # noqa: RUF001  an undefined figure, in text for people


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the summary: `key` heads it in CSV, `title` for people.

    The cell is the report's attribute `key`, or its baseline figure of that name if `rival`.
    """

    key: str
    title: str
    kind: Literal["text", "figure", "share", "rate", "count", "time"]
    explanation: str = ""
    rival: bool = False

    def cell(self, report: CategoryReport) -> Cell:
        """Return the raw value of this column for a report; nan where there is none."""
        if self.rival:
            return (report.baseline or {}).get(self.key, math.nan)
        value: Cell = getattr(report, self.key)
        return value

    def text(self, cell: Cell) -> str:
        """Format a cell of this column for people."""
        if isinstance(cell, Rate):
            return f"{percent_text(cell.value)} ({interval_text(cell)})" if cell.n else NONE
        if isinstance(cell, str):
            return cell
        if math.isnan(cell):
            return NONE
        if self.kind == "share":
            return percent_text(cell)
        if self.kind == "figure":
            return f"{cell:.4f}" if 0 <= cell <= 1 else f"{cell:.4g}"
        return f"{cell:,.0f}" if self.kind == "count" or cell >= 100 else f"{cell:.1f}"


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


COLUMNS: tuple[Column, ...] = (
    Column("category", "category", "text"),
    Column("backbone", "backbone", "text"),
    Column(
        "image_auroc",
        "image AUROC",
        "figure",
        "Chance that a defective image scores above a normal one; 0.5 is guessing.",
    ),
    Column(
        "average_precision",
        "average precision",
        "figure",
        "Area under the precision-recall curve; depends on how many test images are defective.",
    ),
    Column(
        "f1_max",
        "F1-max (oracle)",
        "figure",
        "Best F1 over all thresholds, chosen with the test labels: out of reach in practice.",
    ),
    Column(
        "pixel_auroc",
        "pixel AUROC",
        "figure",
        "The same chance for defective and normal pixels; large defects outweigh small ones.",
    ),
    Column(
        "au_pro_30",
        "AU-PRO 30 %",
        "figure",
        "Share of each defect that is marked, averaged up to 30 % falsely marked pixels.",
    ),
    Column(
        "au_pro_5",
        "AU-PRO 5 %",
        "figure",
        "The same up to 5 % falsely marked pixels: stricter about the outline.",
    ),
    Column(
        "alpha_reject",
        "requested false rejects",
        "share",
        "Share of normal parts that may be rejected; the threshold follows from it.",
    ),
    Column(
        "false_reject",
        "false rejects",
        "rate",
        "Share of normal test images that were rejected, with its 95 % interval.",
    ),
    Column(
        "recall",
        "recall",
        "rate",
        "Share of defective test images that were rejected, with its 95 % interval.",
    ),
    Column(
        "median_ms", "median ms", "time", "From file to verdict: half of the images take longer."
    ),
    Column("p95_ms", "p95 ms", "time", "From file to verdict: one image in 20 takes longer."),
    Column("bank_size", "bank", "count", "Patch embeddings in the memory bank."),
    Column("index_seconds", "index s", "time", "From the normal images to a calibrated category."),
)


def summary_table(result: BenchmarkResult) -> SummaryTable:
    """Tabulate one row per report; figures of rivals become further columns."""
    names = dict.fromkeys(name for report in result.reports for name in report.baseline or {})
    rivals = (
        Column(name, name, "figure", "A rival in the same run.", rival=True) for name in names
    )
    columns = (*COLUMNS, *rivals)
    rows = tuple(tuple(column.cell(report) for column in columns) for report in result.reports)
    return SummaryTable(columns, rows)


def csv_text(table: SummaryTable) -> str:
    """Format one line per report; a rate takes four columns, an undefined figure is empty."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    heads: list[str] = []
    for column in table.columns:
        parts = ("", "_low", "_high", "_n") if column.kind == "rate" else ("",)
        heads += [column.key + part for part in parts]
    writer.writerow(heads)
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


def _plain(cell: Cell) -> tuple[str | int | float, ...]:
    if isinstance(cell, Rate):
        return (*_plain(cell.value), *cell.interval, cell.n)
    return ("",) if isinstance(cell, float) and math.isnan(cell) else (cell,)
