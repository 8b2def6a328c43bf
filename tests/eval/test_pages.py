from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from eval.pages import markdown_table, write_csv


@dataclass(frozen=True)
class Row:
    name: str
    share: float


def test_table_has_a_rule_as_wide_as_its_head() -> None:
    assert markdown_table("a | b", ["1 | 2", "3 | "]).splitlines() == [
        "| a | b |",
        "| --- | --- |",
        "| 1 | 2 |",
        "| 3 |  |",
    ]


def test_csv_reads_back_with_every_digit(tmp_path: Path) -> None:
    write_csv([Row("a,b", 0.1 + 0.2), Row("c", 1.0)], tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open(newline="", encoding="utf-8") as stream:
        rows = [Row(row["name"], float(row["share"])) for row in csv.DictReader(stream)]
    assert rows == [Row("a,b", 0.1 + 0.2), Row("c", 1.0)]
