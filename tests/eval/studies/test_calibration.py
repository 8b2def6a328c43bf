from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

from backbones.base import Backbone
from eval.studies.calibration import Measured, run_splits, within_bound, write_study
from eval.studies.calibration_distances import measure_distances
from indexer.data.dataset import read_dataset


def quiet(stage: str, done: int, total: int) -> None:
    pass


def test_study_runs_on_a_small_data_set_and_writes_what_it_found(
    network: Backbone, dataset: Path, tmp_path: Path
) -> None:
    numbers = (10, 14)
    distances = measure_distances(read_dataset(dataset), network, quiet, numbers)
    measured, caught = run_splits(distances, "grid", "compact", 3, quiet, numbers)
    methods = {(row.method, row.images) for row in measured}
    assert methods >= {("sigma", 10), ("sigma", 14), ("cross-conformal", 14), ("synthetic-f1", 10)}
    assert all(0 <= row.realised <= 1 and row.splits == 3 for row in measured)
    assert {row.smallest for row in measured if row.method == "cross-conformal"} == {1 / 11, 1 / 15}
    write_study(measured, caught, tmp_path)
    with (tmp_path / "calibration.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == len(measured)
    for name in ("calibration.md", "calibration.png", "synthetic_recall.md"):
        assert (tmp_path / name).stat().st_size > 100


def test_rate_beyond_its_bound_by_more_than_sampling_error_is_told() -> None:
    row = Measured(
        "d", "b", "conformal", 50, 0.1, 200, 0.12, 0.005, 0.5, 0.5, 0.5, 0.5, 0.9, 0.02, 1.0
    )
    assert not within_bound(row)
    assert within_bound(replace(row, error=0.01))
    assert within_bound(replace(row, method="cross-conformal", bound=2.0))
