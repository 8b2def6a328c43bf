from __future__ import annotations

import numpy as np

from eval.benchmark.recall_report import recall_figure, recall_table
from indexer.calibration.expected_recall import ExpectedRecall
from indexer.synthetic.blending import KINDS

CAUGHT = [
    ExpectedRecall("grid", "compact", size, contrast, size * contrast / 32, 10)
    for size, contrast in KINDS
]


def test_table_has_a_row_a_size_with_the_share_of_each_contrast() -> None:
    rows = [line for line in recall_table(CAUGHT).splitlines() if "| grid | compact |" in line]
    assert [row.split("|")[3].strip() for row in rows] == ["8 px", "16 px", "32 px"]
    assert "60" in rows[-1].split("|")[-2]


def test_figure_has_a_panel_a_network_and_a_line_a_size() -> None:
    other = [ExpectedRecall("grid", "vgg16", *kind, 0.5, 10) for kind in KINDS]
    panels = recall_figure([*CAUGHT, *other]).axes
    assert [panel.get_title() for panel in panels] == ["grid, compact", "grid, vgg16"]
    assert [len(panel.lines) for panel in panels] == [3, 3]
    assert np.asarray(panels[0].lines[2].get_ydata())[-1] == 0.6
