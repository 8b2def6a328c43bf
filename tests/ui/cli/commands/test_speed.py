"""The timing commands: what is refused before anything runs, and what is written."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from backbones.base import Backbone
from eval.speed.costs import Timing
from tests.ui.cli.running import Vecspect, only_line
from ui.cli.commands import speed


@pytest.fixture
def patchcore(network: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any backbone loads as a PatchCore network of nothing."""
    spec = SimpleNamespace(family="patchcore", dim=8)
    monkeypatch.setattr(
        "eval.speed.learning.load_backbone", lambda *_, **__: SimpleNamespace(spec=spec)
    )


def test_network_that_is_no_patchcore_is_refused(run_command: Vecspect, dataset: Path) -> None:
    ended = run_command("speed", dataset, "--weights", "w", "--backbone", "dinov2-small")
    assert "weight" in only_line(ended)
    assert "expected one of images, knn, coreset, scaling, library, got 'all'" in only_line(
        run_command("speed", dataset, "--weights", "w", "--only", "all")
    )
    assert "expected one of anomalib, faiss, got 'x'" in only_line(
        run_command("speed", dataset, "--weights", "w", "--against", "x")
    )


@pytest.mark.usefixtures("patchcore")
def test_table_plot_and_raw_rows_of_a_part_are_written(
    run_command: Vecspect, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def measure(dataset: Path, network: Any, **options: Any) -> tuple[list[Timing], float]:
        asked.update(options)
        return [
            Timing("case", method, str(i), 0.5) for method in ("a", "b") for i in range(2)
        ], 1e-9

    monkeypatch.setattr("eval.speed.knn.measure_knn", measure)
    options = ("--only", "knn", "--images", 3, "--against", "faiss", "--out", "tables")
    ended = run_command("speed", dataset, "--weights", "w", "--backbone", "net", *options)
    assert (ended.code, ended.err) == (0, [])
    assert (asked["images"], asked["dim"], asked["against_faiss"]) == (3, 8, True)
    assert ended.out[-1] == "tables: tables/speed-knn-net.md, .csv, .png"
    page = Path("tables/speed-knn-net.md").read_text(encoding="utf-8")
    assert page.startswith("    vecspect speed ")
    assert "by at most 1.0e-09 of them" in page
    with Path("tables/speed-knn-net.csv").open(newline="", encoding="utf-8") as stream:
        assert len(list(csv.reader(stream))) == 1 + 4


@pytest.mark.usefixtures("patchcore")
def test_page_is_written_beside_the_figures_it_was_made_of(
    run_command: Vecspect, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "eval.speed.library.measure.measure_library", lambda *_, **__: Timing("c", "m", "i", 1.0)
    )
    monkeypatch.setattr(
        "eval.speed.library.measure.library_page", lambda *given: f"page of {given[1]}"
    )
    ended = run_command(
        "speed", dataset, "--weights", "w", "--backbone", "net", "--only", "library", "--out", "t"
    )
    assert ended.out == [f"page of {dataset.name}, net"]
    assert set(json.loads(Path("t/library.json").read_text())) >= {"case", "method"}


def test_every_part_that_may_be_timed_is_in_the_help(run_command: Vecspect) -> None:
    text = " ".join(" ".join(run_command("speed", "--help").out).split())
    assert all(part in text for part in speed._MEASURED)
