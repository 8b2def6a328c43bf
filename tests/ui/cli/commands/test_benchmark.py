"""Measuring networks, from outside."""

from __future__ import annotations

from pathlib import Path

from indexer.synthetic.dataset import write_dataset
from tests.ui.cli.running import (
    Vecspect,
    strict_json,
)


def test_benchmark_writes_its_four_files_and_leaves_the_store_alone(
    vecspect: Vecspect, tmp_path: Path
) -> None:
    small = write_dataset(
        tmp_path / "data", "tile", train=4, test_normal=2, test_defective=2, size=64
    )
    ended = vecspect("benchmark", small, "--out", "out", "--coreset", 0.02)
    assert (ended.code, ended.err) == (0, [])
    assert ended.out[-1] == "report: out/report.html"
    files = {path.name for path in Path("out").iterdir()}
    assert files == {
        "benchmark.json", "benchmark.csv", "benchmark.md", "report.html", "pictures"
    }  # fmt: skip
    stored = strict_json(Path("out/benchmark.json").read_text(encoding="utf-8"))
    assert [report["category"] for report in stored["reports"]] == ["tile"]
    assert stored["command"].startswith("vecspect benchmark ")
    (category,) = strict_json("\n".join(vecspect("status", "--json").out))["categories"]
    assert category["category"] == "grid"


def test_benchmark_compares_with_the_methods_that_are_asked_for(
    vecspect: Vecspect, dataset: Path
) -> None:
    ended = vecspect("benchmark", dataset, "--methods", "guess")
    assert ended.code == 2
    assert "expected one of brute-force, got 'guess'" in " ".join(ended.err)
