from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backbones.base import Backbone
from eval.studies import calibration as calibration_study
from eval.studies.calibration import Distances, Measured, measure_distances, run_splits
from eval.studies.calibration_report import within_bound, write_study
from eval.studies.updates import Finding, study_living
from indexer.data.image_records import DatasetError, read_dataset


def quiet(stage: str, done: int, total: int) -> None:
    pass


def test_bank_of_any_images_is_a_minimum_that_leaves_out_the_image_itself() -> None:
    rng = np.random.default_rng(0)
    table = rng.uniform(size=(5, 5 + 5 + 3, 7)).astype(np.float32)
    distances = Distances(table.copy(), normal=5)
    bank = np.array([1, 3, 4])
    scores = distances.scores(bank)
    for row in range(13):
        base = row % 5 if row < 10 else None
        others = [image for image in bank if image != base]
        assert scores[row] == table[others, row].min(axis=0).max()


def test_study_runs_on_a_small_data_set_and_writes_what_it_found(
    network: Backbone, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration_study, "NUMBERS", (10, 14))
    monkeypatch.setattr("eval.studies.calibration_report.NUMBERS", (10, 14))
    distances = measure_distances(read_dataset(dataset), network, quiet)
    measured, caught = run_splits(distances, "grid", "compact", 3, quiet)
    methods = {(row.method, row.images) for row in measured}
    assert methods >= {("sigma", 10), ("sigma", 14), ("cross-conformal", 14), ("synthetic-f1", 10)}
    assert all(0 <= row.realised <= 1 and row.splits == 3 for row in measured)
    assert {row.smallest for row in measured if row.method == "cross-conformal"} == {1 / 11, 1 / 15}
    write_study(measured, caught, tmp_path)
    with (tmp_path / "calibration.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == len(measured)
    for name in ("calibration.md", "calibration.png", "synthetic_recall.md"):
        assert (tmp_path / name).stat().st_size > 100


def test_too_few_images_for_the_study_are_refused(network: Backbone, dataset: Path) -> None:
    with pytest.raises(
        DatasetError, match="more than 200 normal images and defective ones, got 20"
    ):
        measure_distances(read_dataset(dataset), network, quiet)


def test_rate_beyond_its_bound_by_more_than_sampling_error_is_told() -> None:
    row = Measured(
        "d", "b", "conformal", 50, 0.1, 200, 0.12, 0.005, 0.5, 0.5, 0.5, 0.5, 0.9, 0.02, 1.0
    )
    assert not within_bound(row)
    assert within_bound(replace(row, error=0.01))
    assert within_bound(replace(row, method="cross-conformal", bound=2.0))


def test_living_study_tells_every_finding(
    network: Backbone, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eval.studies.updates.RUNS", 2)
    monkeypatch.setattr("eval.studies.updates.STREAM", 40)
    findings: list[Finding] = []
    study_living(read_dataset(dataset), network, on_finding=findings.append)
    names = [name for name, _ in findings]
    assert len(names) == len(set(names)) == 16
    for start in ("image AUROC, conformal", "planted defects", "half learnt", "images until"):
        assert any(name.startswith(start) for name in names), start
