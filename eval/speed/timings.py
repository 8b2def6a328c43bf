"""Milliseconds measured side by side: raw rows to CSV, medians to Markdown and a plot."""

from __future__ import annotations

import csv
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TypeVar

import numpy as np
from matplotlib.figure import Figure

T = TypeVar("T")

PAUSE = 0.05
"""Seconds between two calls: threads of the one before stop spinning."""


@dataclass(frozen=True, slots=True)
class Timing:
    """One call: what was done to which item, by which method, and how long it took."""

    case: str
    method: str
    item: str
    milliseconds: float


def item_name(path: Path) -> str:
    """A file's name with its folder's: defect types number their images alike."""
    return f"{path.parent.name}/{path.name}"


def alternate(
    case: str,
    item: str,
    actions: Mapping[str, Callable[[], T]],
    timings: list[Timing],
) -> dict[str, T]:
    """Call each of the ``actions`` once, one after the other; their results by name."""
    results = {}
    for method, action in actions.items():
        time.sleep(PAUSE)
        began = time.perf_counter()
        results[method] = action()
        timings.append(Timing(case, method, item, (time.perf_counter() - began) * 1e3))
    return results


def write_csv(timings: Sequence[Timing], file: Path) -> None:
    """Every row as it was measured."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([column.name for column in fields(Timing)])
        for timing in timings:
            writer.writerow([*astuple(timing)[:-1], f"{timing.milliseconds:.3f}"])


@dataclass(frozen=True, slots=True)
class Summary:
    """One method in one case: milliseconds, and the median over items of its time / ours.

    The ratio is nan where ours was not measured on the same item.
    """

    case: str
    method: str
    median: float
    p95: float
    ratio: float


def summarise(timings: Sequence[Timing], ours: str = "vecspect") -> Iterator[Summary]:
    """Cases and methods in the order measured."""
    for case in dict.fromkeys(timing.case for timing in timings):
        of_case = [timing for timing in timings if timing.case == case]
        own = {timing.item: timing.milliseconds for timing in of_case if timing.method == ours}
        for method in dict.fromkeys(timing.method for timing in of_case):
            rows = [timing for timing in of_case if timing.method == method]
            values = [row.milliseconds for row in rows]
            yield Summary(
                case,
                method,
                statistics.median(values),
                float(np.percentile(values, 95)),
                statistics.median(row.milliseconds / own.get(row.item, math.nan) for row in rows),
            )


def markdown(summaries: Sequence[Summary], unit: str = "ms") -> str:
    """A table of cases, methods, median, 95th percentile and ratio; ``unit`` is ms or s."""
    scale, digits = (1, 1) if unit == "ms" else (1000, 1)
    lines = [
        f"| case | method | median {unit} | p95 {unit} | times vecspect |",
        "|---|---|---:|---:|---:|",
    ]
    lines += [
        f"| {s.case} | {s.method} | {s.median / scale:.{digits}f} | {s.p95 / scale:.{digits}f} "
        f"| {'' if math.isnan(s.ratio) else f'{s.ratio:.2f}'} |"
        for s in summaries
    ]
    return "\n".join(lines) + "\n"


def plot(summaries: Sequence[Summary], file: Path) -> None:
    """Medians as bars on a logarithmic axis, one group a case."""
    figure = Figure(figsize=(7, 0.6 + 0.24 * len(summaries)), layout="constrained")
    axes = figure.add_subplot()
    names = [f"{s.case}: {s.method}" for s in summaries]
    colours = ["#1f83c4" if s.method == "vecspect" else "#9aa0a6" for s in summaries]
    axes.barh(names, [s.median for s in summaries], color=colours)
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds, median")
    axes.invert_yaxis()
    figure.savefig(file, dpi=120, metadata={"Software": None})
