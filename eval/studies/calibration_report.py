"""Writes what the calibration study found: a CSV, a table to read, and two figures."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from matplotlib.artist import Artist
from matplotlib.figure import Figure

from eval.studies.calibration import LEVELS, NUMBERS, Caught, Measured
from indexer.synthetic.blending import CONTRASTS, SIZES

_MARKS = {"conformal": "o-", "cross-conformal": "s--", "sigma": "^:", "synthetic-f1": "x"}
ALLOWED_ERRORS = 3
"""Standard errors by which a realised rate may exceed its bound before it counts against it."""


def write_study(measured: Sequence[Measured], caught: Sequence[Caught], out: Path) -> None:
    """Write calibration.csv, .md, .png and synthetic_recall.md, .png to a folder."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / "calibration.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [field.name for field in fields(Measured)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in measured)
    (out / "calibration.md").write_text(study_table(measured), encoding="utf-8")
    (out / "synthetic_recall.md").write_text(recall_table(caught), encoding="utf-8")
    rate_figure(measured).savefig(out / "calibration.png", dpi=110, metadata={"Software": None})
    recall_figure(caught).savefig(
        out / "synthetic_recall.png", dpi=110, metadata={"Software": None}
    )


def within_bound(row: Measured) -> bool:
    """Whether the realised rate exceeds its stated bound by no more than sampling error."""
    if row.bound is None:
        return row.realised <= row.level + ALLOWED_ERRORS * row.error
    return row.realised <= row.bound * row.level + ALLOWED_ERRORS * row.error


def study_table(measured: Sequence[Measured]) -> str:
    """Markdown: one row per data set, network, method, number of images and level."""
    heads = ["data set", "network", "images", "method", "asked", "realised", "within", "recall"]
    heads += ["F1", "oracle recall", "oracle F1", "AUROC", "smallest level"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in measured:
        asked = "-" if row.method == "synthetic-f1" else f"{row.level:.0%}"
        fits = "yes" if within_bound(row) else "no"
        cells = [
            row.dataset,
            row.backbone,
            str(row.images),
            row.method,
            asked,
            f"{row.realised:.2%} ± {row.error:.2%}",
            "-" if row.method == "synthetic-f1" else fits,
            f"{row.recall:.1%}",
            f"{row.f1:.3f}",
            f"{row.oracle_recall:.1%}",
            f"{row.oracle_f1:.3f}",
            f"{row.auroc:.4f}",
            f"{row.smallest:.1%}" if row.smallest else "any",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def recall_table(caught: Sequence[Caught]) -> str:
    """Markdown: share of made-up defects caught, by side in pixels of 256 and contrast."""
    heads = ["data set", "network", "side", *(f"contrast {c:g}" for c in CONTRASTS)]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for dataset, backbone in dict.fromkeys((c.dataset, c.backbone) for c in caught):
        for size in SIZES:
            shares = {
                c.contrast: c.share
                for c in caught
                if (c.dataset, c.backbone, c.size) == (dataset, backbone, size)
            }
            cells = [dataset, backbone, f"{size} px", *(f"{shares[c]:.0%}" for c in CONTRASTS)]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def rate_figure(measured: Sequence[Measured]) -> Figure:
    """Realised against requested false-reject rate, one panel a data set, network and number."""
    runs = list(dict.fromkeys((row.dataset, row.backbone) for row in measured))
    figure = Figure(figsize=(11, 2.9 * len(runs) + 0.4), layout="constrained")
    panels = figure.subplots(len(runs), len(NUMBERS), squeeze=False)
    for (dataset, backbone), axes_row in zip(runs, panels, strict=True):
        for number, axes in zip(NUMBERS, axes_row, strict=True):
            axes.plot([0, 0.22], [0, 0.22], color="0.6", linewidth=0.8)
            axes.plot([0, 0.22], [0, 0.44], color="0.6", linewidth=0.8, linestyle=":")
            for method, mark in _MARKS.items():
                rows = [
                    row
                    for row in measured
                    if (row.dataset, row.backbone, row.images, row.method)
                    == (dataset, backbone, number, method)
                ]
                if method == "synthetic-f1" and rows:
                    axes.axhline(rows[0].realised, color="0.3", linewidth=0.8, label=method)
                elif rows:
                    levels, rates = [r.level for r in rows], [r.realised for r in rows]
                    axes.plot(levels, rates, mark, markersize=5, label=method)
            axes.set(xlim=(0, 0.22), ylim=(0, 0.45))
            axes.set_title(f"{dataset}, {backbone}, {number} images", fontsize=8)
            axes.set_xlabel(f"asked ({', '.join(f'{level:g}' for level in LEVELS)})", fontsize=7)
            axes.set_ylabel("realised", fontsize=7)
    handles: dict[str, Artist] = {}
    for axes in panels.flat:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=4)
    return figure


def recall_figure(caught: Sequence[Caught]) -> Figure:
    """Share of made-up defects caught against contrast, one panel a data set and network."""
    runs = list(dict.fromkeys((c.dataset, c.backbone) for c in caught))
    figure = Figure(figsize=(3.2 * len(runs), 3), layout="constrained")
    panels = figure.subplots(1, len(runs), squeeze=False)[0]
    for (dataset, backbone), axes in zip(runs, panels, strict=True):
        for size, mark in zip(SIZES, ("o:", "s--", "^-"), strict=True):
            rows = [
                c for c in caught if (c.dataset, c.backbone, c.size) == (dataset, backbone, size)
            ]
            axes.plot([c.contrast for c in rows], [c.share for c in rows], mark, label=f"{size} px")
        axes.set(ylim=(0, 1.02), xlabel="contrast", ylabel="caught")
        axes.set_title(f"{dataset}, {backbone}", fontsize=8)
    panels[0].legend(frameon=False)
    return figure
