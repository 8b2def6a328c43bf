"""Expected recall on synthetic defects, as a table and a figure."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from eval.pages import page
from indexer.calibration.expected_recall import ExpectedRecall
from indexer.synthetic.blending import CONTRASTS, SIZES


def recall_table(caught: Sequence[ExpectedRecall]) -> str:
    """Markdown table: share of synthetic defects caught, by side (pixels of 256) and contrast."""
    shares = {(c.dataset, c.backbone, c.size, c.contrast): c.share for c in caught}
    runs = dict.fromkeys((c.dataset, c.backbone) for c in caught)
    return page("synthetic_recall.md", shares=shares, runs=runs, sizes=SIZES, contrasts=CONTRASTS)


def recall_figure(caught: Sequence[ExpectedRecall]) -> Figure:
    """Share of synthetic defects caught against contrast, one panel per data set and network."""
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
