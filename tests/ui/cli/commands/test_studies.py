"""The studies as commands: what they write and say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.ui.cli.running import Vecspect


def test_updates_study_writes_every_finding_as_it_comes(
    run_command: Vecspect, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def study(
        records: Any, network: Any, *, on_finding: Callable[..., None], on_progress: Any
    ) -> None:
        for finding in (("AUROC", "0.9"), ("alarm after", "26 images")):
            on_finding(finding)
            seen.append(Path("out/study.md").read_text(encoding="utf-8"))

    monkeypatch.setattr("eval.studies.updates.study_updates", study)
    ended = run_command("study", "updates", dataset, "--out", "out/study.md")
    assert (ended.code, ended.err) == (0, [])
    assert ended.out == [
        f"| {dataset.name}, compact | |", "|---|---|", "| AUROC | 0.9 |",
        "| alarm after | 26 images |",
    ]  # fmt: skip
    assert seen[1] == "\n".join(ended.out) + "\n"
    assert seen[0] == "\n".join(ended.out[:3]) + "\n", "an interruption would lose what was found"


def test_calibration_study_measures_every_data_set_with_every_backbone(
    run_command: Vecspect, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    study = "eval.studies.calibration"
    monkeypatch.setattr(
        f"{study}_distances.measure_distances", lambda records, network, stages: network.spec
    )
    monkeypatch.setattr(
        f"{study}.run_splits", lambda d, title, name, splits, stages: ([(title, name, splits)], [])
    )
    monkeypatch.setattr(
        f"{study}.write_study", lambda measured, caught, out: written.append(len(measured))
    )
    monkeypatch.setattr(f"{study}.study_table", str)
    ended = run_command("study", "calibration", dataset, dataset, "--splits", 7)
    assert ended.out == [str([(dataset.name, "compact", 7)] * 2)]
    assert written == [1, 2]


def test_precisions_are_told_and_written(
    run_command: Vecspect, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eval.speed.precision.compare_precisions", lambda *_, **__: [])
    monkeypatch.setattr("eval.speed.precision.precision_table", lambda rows, sets: "| f32 |")
    common = ("study", "precision", dataset, "--backbone", "net", "--weights", "w")
    assert run_command(*common, "--out", "p.md").out == ["| f32 |"]
    assert Path("p.md").read_text(encoding="utf-8") == "# net\n\n| f32 |\n"


def test_threads_are_counted_and_timed_on_a_learnt_category(
    vecspect: Vecspect, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eval.studies.threads.ROUND", 2)
    monkeypatch.setattr("eval.studies.threads.ROUNDS", 1)
    ended = vecspect("study", "threads", dataset / "test/good", "-c", "grid", "--calls", 9)
    assert ended.code == 0
    assert ended.out[0] == "9 calls from 8 threads: 0 other answers, 0 errors"
    assert len(ended.out) == 4
