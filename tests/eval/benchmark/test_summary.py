from __future__ import annotations

import math

from eval.benchmark.summary import COLUMNS
from eval.metrics.detection import Rate


def test_figures_are_formatted_for_people() -> None:
    columns = {column.key: column for column in COLUMNS}
    assert columns["image_auroc"].text(0.99956) == "0.9996"
    assert columns["image_auroc"].text(math.nan) == "–"  # noqa: RUF001
    assert columns["bank_size"].text(12345) == "12,345"
    assert columns["alpha_reject"].text(0.0025) == "0.25 %"
    assert columns["recall"].text(Rate(1, 32)) == "3.1 % (0.6 to 15.7 %)"
    assert columns["recall"].text(Rate(0, 0)) == "–"  # noqa: RUF001
    assert columns["median_ms"].text(1234.5) == "1,234"


def test_columns_say_in_which_direction_a_metric_is_better() -> None:
    columns = {column.key: column for column in COLUMNS}
    assert columns["recall"].explanation.endswith("Higher is better.")
    assert columns["false_reject"].explanation.endswith("Lower is better.")
    assert columns["category"].explanation == ""
