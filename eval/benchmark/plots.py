"""Figures for reports and pages, made without pyplot so that nothing is shared or left open.

Every series differs in line style or hatch as well as in colour (Okabe and Ito's hues, safe
for colour-blind readers). Names from data sets are never read as mathematical notation.
"""

from __future__ import annotations

import base64
import io
import itertools
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from eval.benchmark.results import CategoryReport

INK = "#1b2026"
"""Colour of text and axes; `to_svg` replaces it by the colour of the text around the picture."""
BLUE, VERMILLION, GREEN, PURPLE = "#1f83c4", "#d55e00", "#009e73", "#cc79a7"

_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE)
_LINES = ("solid", "dashed", "dashdot", "dotted", (0, (6, 1, 1, 1, 1, 1)))
_SIZE = (5.2, 3.6)  # inches
_SETTINGS: dict[Any, Any] = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "vecspect",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
}
_NO_METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}


def roc_figure(reports: Sequence[CategoryReport]) -> Figure:
    """Draw one ROC curve per report that has both classes, with its shipped operating point."""
    with _style():
        # The legend stands below the axes and takes its own height.
        figure = Figure(figsize=(_SIZE[0], _SIZE[1] + 0.22 * len(reports)), layout="constrained")
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.6, alpha=0.5)
        lines = itertools.cycle(zip(_COLOURS * len(_LINES), _LINES * len(_COLOURS), strict=True))
        handles, names = [], []
        for report, (colour, line) in zip(reports, lines, strict=False):
            if math.isnan(report.image_auroc):
                continue
            truth = [image.defective for image in report.images]
            scores = [image.score for image in report.images]
            x, y, _ = roc_curve(truth, scores, drop_intermediate=False)
            handles += axes.plot(x, y, color=colour, linestyle=line, linewidth=1.8, clip_on=False)
            names.append(f"{report.category}, {report.backbone}: {report.image_auroc:.4f}")
            axes.plot(
                [report.false_reject.value],
                [report.recall.value],
                marker="o",
                markersize=7,
                markerfacecolor="none",
                markeredgewidth=1.6,
                color=colour,
                clip_on=False,
            )
        axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.set_xlabel("normal images above the threshold (false-positive rate)")
        axes.set_ylabel("defective images above it\n(true-positive rate)")
        if handles:
            figure.legend(handles, names, loc="outside lower center", frameon=False)
        else:
            _note(axes, "needs normal and defective test images")
    return figure


def score_figure(report: CategoryReport) -> Figure:
    """Draw the shares of normal, defective and calibration scores, with the reject threshold."""
    with _style():
        figure = Figure(figsize=_SIZE, layout="constrained")
        axes = figure.add_subplot()
        normal = [image.score for image in report.images if not image.defective]
        defective = [image.score for image in report.images if image.defective]
        calibration = report.calibration_scores
        everything = [*normal, *defective, *calibration, report.threshold]
        finite = [score for score in everything if math.isfinite(score)]
        edges = np.histogram_bin_edges(finite, bins=36).tolist()
        groups = (
            (normal, "normal test images", BLUE, "////", "solid"),
            (defective, "defective test images", VERMILLION, r"\\\\", "solid"),
            (calibration, "calibration (normal, held out)", INK, None, "dashed"),
        )
        for scores, name, colour, hatch, line in groups:
            if len(scores):
                axes.hist(
                    scores,
                    edges,
                    weights=np.full(len(scores), 1 / len(scores)),
                    histtype="step",
                    edgecolor=colour,
                    hatch=hatch,
                    linestyle=line,
                    linewidth=1.4,
                    label=f"{name}, {len(scores)}",
                )
        if math.isfinite(report.threshold):
            axes.axvline(
                report.threshold, color=INK, linewidth=2, label=f"threshold {report.threshold:.4g}"
            )
        axes.set_xlabel("image score (distance, raw)")
        axes.set_ylabel("share of the group")
        axes.margins(x=0)
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def to_svg(figure: Figure) -> str:
    """Render as an ``<svg>`` element to paste into a page: same figure, same text.

    Text and axes take the colour of the surrounding text (``currentColor``), so that the
    picture follows a dark page; the background is transparent.
    """
    file = io.StringIO()
    with _style(), _any_alphabet():
        figure.savefig(file, format="svg", transparent=True, metadata=_NO_METADATA)
    text = file.getvalue()
    text = re.sub(r'<g id="[^"]*">', "<g>", text[text.index("<svg") :])  # twins on one page
    return text.replace(INK, "currentColor")


def to_png_data_uri(figure: Figure, dpi: int = 120) -> str:
    """Render as a ``data:image/png`` address, dark on white."""
    file = io.BytesIO()
    with _style(), _any_alphabet():
        figure.savefig(file, format="png", dpi=dpi, facecolor="white")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


@contextmanager
def _style() -> Iterator[None]:
    """Apply our settings for one figure, over matplotlib's defaults and not the user's file."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


@contextmanager
def _any_alphabet() -> Iterator[None]:
    """Let a name be written in letters that matplotlib's own font lacks; the page has them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield


def _note(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)
