"""Figures for reports and pages, made without pyplot so that no state is shared or left open.

Every series differs in line style or hatch as well as in colour (Okabe and Ito's hues, safe for
colour-blind readers). Names from data sets are never interpreted as mathematical notation.
"""

from __future__ import annotations

import base64
import io
import itertools
import math
import re
import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.figure import Figure

from eval.benchmark.results import CategoryReport
from eval.metrics.detection import roc_points

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
_style = partial(style.context, ["default", _SETTINGS])  # on top of the defaults
_NO_METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}


def roc_figure(reports: Sequence[CategoryReport]) -> Figure:
    """Draw one ROC curve per report that has both classes, with its operating point."""
    with _style():
        # The legend is placed below the axes and takes its own height.
        figure = Figure(figsize=(_SIZE[0], _SIZE[1] + 0.22 * len(reports)), layout="constrained")
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.6, alpha=0.5)
        lines = itertools.cycle(zip(_COLOURS * len(_LINES), _LINES * len(_COLOURS), strict=True))
        handles, names = [], []
        for report, (colour, line) in zip(reports, lines, strict=False):
            truth = [image.defective for image in report.images]
            x, y = roc_points(truth, [image.score for image in report.images])
            if not len(x):
                continue
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
            text = "needs normal and defective test images"
            axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)
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
    """Render a figure as an ``<svg>`` element for a page; the same figure gives the same text.

    Text and axes take the colour of the surrounding text (``currentColor``), so that the picture
    suits a dark page; the background is transparent.
    """
    file = io.StringIO()
    with _style(), warnings.catch_warnings():
        # a name may have letters that matplotlib's own font lacks but the page's has
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        figure.savefig(file, format="svg", transparent=True, metadata=_NO_METADATA)
    text = file.getvalue()
    text = re.sub(r'<g id="[^"]*">', "<g>", text[text.index("<svg") :])  # equal figures on one page
    return text.replace(INK, "currentColor")


def data_uri(data: bytes, kind: str) -> str:
    """The data URI of a file's bytes, with the MIME type ``kind``."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
