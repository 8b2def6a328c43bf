"""Measures the cost of a step: milliseconds as table and plot, resident memory, disk."""

from __future__ import annotations

import math
import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import ParamSpec, TypeVar

import numpy as np
from matplotlib.figure import Figure

from eval.pages import page, write_csv

P = ParamSpec("P")
T = TypeVar("T")


def milliseconds(action: Callable[[], T], times: int = 1) -> tuple[float, T]:
    """Median time of ``times`` calls of ``action``, and its last result."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        result = action()
        took.append((time.perf_counter() - began) * 1e3)
    return median(took), result


def in_fresh_process(function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """The result of a module's function, called in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args, **options).result()


def peak_mib() -> float:
    """The largest resident memory of this process so far; mapped files count."""
    # not getrusage, whose figure is inherited from the parent process
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def folder_bytes(folder: Path) -> int:
    """Disk space taken by the files below a folder."""
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())


PAUSE = 0.05
"""Seconds between two calls, in which the threads of the previous one stop spinning."""


@dataclass(frozen=True, slots=True)
class Timing:
    """One timed call: the case, the item, the method, and the milliseconds."""

    case: str
    method: str
    item: str
    milliseconds: float


def item_name(path: Path) -> str:
    """A file's name with that of its folder, because defect types number their images alike."""
    return f"{path.parent.name}/{path.name}"


def alternate(
    case: str, item: str, actions: Mapping[str, Callable[[], T]], timings: list[Timing]
) -> dict[str, T]:
    """Call each of the ``actions`` once, one after the other; return their results by name."""
    results = {}
    for method, action in actions.items():
        time.sleep(PAUSE)
        took, results[method] = milliseconds(action)
        timings.append(Timing(case, method, item, took))
    return results


@dataclass(frozen=True, slots=True)
class Summary:
    """One method in one case: milliseconds, and the median ratio of its time to vecspect's.

    The ratio is nan if vecspect was not measured on the same items.
    """

    case: str
    method: str
    median: float
    p95: float
    ratio: float


def summarise(timings: Sequence[Timing]) -> Iterator[Summary]:
    """Summaries of cases and methods, in the order measured."""
    for case in dict.fromkeys(timing.case for timing in timings):
        of_case = [timing for timing in timings if timing.case == case]
        own = {
            timing.item: timing.milliseconds for timing in of_case if timing.method == "vecspect"
        }
        for method in dict.fromkeys(timing.method for timing in of_case):
            rows = [timing for timing in of_case if timing.method == method]
            values = [row.milliseconds for row in rows]
            ratio = median(row.milliseconds / own.get(row.item, math.nan) for row in rows)
            yield Summary(case, method, median(values), float(np.percentile(values, 95)), ratio)


def markdown(summaries: Sequence[Summary], unit: str = "ms") -> str:
    """Table of cases, methods, median, 95th percentile and ratio; ``unit`` is ms or s."""
    return page("timings.md", summaries=summaries, unit=unit)


def plot(summaries: Sequence[Summary], file: Path) -> None:
    """Bar plot of the medians on a logarithmic axis, one group per case."""
    figure = Figure(figsize=(7, 0.6 + 0.24 * len(summaries)), layout="constrained")
    axes = figure.add_subplot()
    names = [f"{s.case}: {s.method}" for s in summaries]
    colours = ["#1f83c4" if s.method == "vecspect" else "#9aa0a6" for s in summaries]
    axes.barh(names, [s.median for s in summaries], color=colours)
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds, median")
    axes.invert_yaxis()
    figure.savefig(file, dpi=120, metadata={"Software": None})


def write_timings(
    timings: Sequence[Timing],
    notes: Sequence[str],
    out: Path,
    name: str,
    *,
    command: str,
    unit: str = "ms",
) -> str:
    """Write the raw rows, a plot, and a page of command, table and notes; return the table."""
    out.mkdir(parents=True, exist_ok=True)
    summaries = list(summarise(timings))
    table = markdown(summaries, unit)
    text = "\n\n".join([f"    {command}", table.rstrip(), *notes]) + "\n"
    (out / f"{name}.md").write_text(text, encoding="utf-8")
    write_csv(timings, out / f"{name}.csv")
    plot(summaries, out / f"{name}.png")
    return table
