from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from backbones.base import Backbone
from indexer.calibration.base import Levels
from indexer.catalog.commits import find_category
from indexer.catalog.schema import inspections_collection
from indexer.data.dataset import read_dataset
from indexer.records.drift_window import DriftWindow, Inspected
from indexer.store.base import VectorStore
from indexer.update.levels import change_levels
from search.inspector import Inspector
from search.monitoring.drift import betting_capital, check_drift, drift_traces
from search.prediction import Prediction

STREAMS = 400


def test_capital_of_unchanged_values_rarely_reaches_one_over_the_rate() -> None:
    rng = np.random.default_rng(0)
    alarms = sum(
        betting_capital(values[:40], values[40:])[0].max() >= 20
        for values in rng.gamma(2, size=(STREAMS, 340)).tolist()
    )
    rate = 1 / 20
    assert alarms / STREAMS <= rate + 3 * math.sqrt(rate / STREAMS)


def test_ties_do_not_look_like_a_change() -> None:
    rng = np.random.default_rng(1)
    alarms = sum(
        betting_capital(values[:40], values[40:], seed=seed)[0].max() >= 20
        for seed, values in enumerate(rng.integers(0, 3, size=(STREAMS, 340)).tolist())
    )
    assert alarms / STREAMS <= 1 / 20 + 3 * math.sqrt(1 / 20 / STREAMS)


@pytest.mark.parametrize(("shift", "sign"), [(2.0, 1), (-2.0, -1)])
def test_shift_raises_the_capital_soon_and_says_which_way(shift: float, sign: int) -> None:
    rng = np.random.default_rng(2)
    calibration, before = rng.normal(size=50), rng.normal(size=200)
    stream = np.concatenate([before, rng.normal(shift, 1, size=60)])
    capital, lean = betting_capital(calibration.tolist(), stream.tolist())
    alarmed = np.flatnonzero(capital >= 400)
    assert 200 < alarmed[0] < 245
    assert np.sign(lean[alarmed[0]]) == sign


def new_part(prediction: Prediction) -> Inspected:
    """What is recorded of an image that looks like one of the library and is not of it."""
    return replace(prediction.inspected(), sha256=prediction.sha256[::-1])


def test_nothing_scored_is_quiet(learnt: VectorStore) -> None:
    report = check_drift(find_category(learnt, "grid"))
    assert (report.images, report.alarm, report.calibration_images) == (0, False, 3)
    assert report.images_for_one_percent == 99


def test_dimmed_blurred_images_raise_the_alarm_and_the_store_remembers(
    learnt: VectorStore, network: Backbone, dataset: Path, tmp_path: Path
) -> None:
    inspector = Inspector(learnt, "grid", network=network)
    window = DriftWindow(inspector.category)
    normal = [r.path for r in read_dataset(dataset) if r.label == "normal"]
    for path in normal:
        window.record(new_part(inspector.inspect(path)))
    quiet = check_drift(inspector.category)
    assert (quiet.images, quiet.alarm) == (len(normal), False)
    again = DriftWindow(inspector.category)
    for path in normal:
        moved = tmp_path / path.name
        picture = Image.open(path).convert("RGB").filter(ImageFilter.GaussianBlur(2))
        Image.fromarray((np.asarray(picture) * 0.6).astype(np.uint8)).save(moved)
        again.record(inspector.inspect(moved).inspected())
    report = check_drift(inspector.category)
    assert report.images == 2 * len(normal)
    states = {s.name: s for s in report.signals}
    assert states["brightness"].shift < -3
    assert states["sharpness"].direction in ("more blurred", "")
    assert states["brightness"].evidence > 10 * max(s.evidence for s in quiet.signals)


def test_window_rolls_and_a_new_revision_starts_anew(
    learnt: VectorStore,
    network: Backbone,
    dataset: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("indexer.records.drift_window.WINDOW", 5)
    inspector = Inspector(learnt, "grid", network=network)
    prediction = inspector.inspect(read_dataset(dataset)[0].path)
    window = DriftWindow(inspector.category)
    for _ in range(7):
        window.record(new_part(prediction))
    assert learnt.count(inspections_collection("grid", "compact")) == 5
    assert check_drift(inspector.category).images == 2, "the second window"
    changed = change_levels(inspector.category, Levels(0.6, 0.7))
    assert check_drift(changed).images == 0


def test_capital_of_a_window_is_told_image_by_image_and_ends_where_its_signal_stands(
    learnt: VectorStore, network: Backbone, dataset: Path
) -> None:
    inspector = Inspector(learnt, "grid", network=network)
    assert drift_traces(inspector.category) == []
    window = DriftWindow(inspector.category)
    records = read_dataset(dataset)
    for record in records:
        window.record(new_part(inspector.inspect(record.path)))
    traces = {trace.name: trace.capital for trace in drift_traces(inspector.category)}
    report = check_drift(inspector.category)
    assert traces.keys() == {signal.name for signal in report.signals}
    for signal in report.signals:
        assert max(traces[signal.name]) == pytest.approx(signal.evidence)
    assert len(traces["scores"]) == len(records)
    passed = len(traces["scores that pass"])
    assert report.rejected * len(records) == pytest.approx(len(records) - passed)
    assert passed < len(records)
