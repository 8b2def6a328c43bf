from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from backbones.base import Backbone
from backbones.image_quality import look_of
from backbones.specs import find_spec
from indexer.catalog.commits import find_entry
from indexer.catalog.schema import health_collection
from indexer.data.image_records import read_dataset
from indexer.store.base import VectorStore
from search.calibrator import change_levels
from search.inspector import Inspector
from search.monitoring.drift import Watch, betting_capital, check_health

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


def test_nothing_scored_is_quiet(learnt: VectorStore) -> None:
    health = check_health(learnt, find_entry(learnt, "grid"))
    assert (health.images, health.alarm, health.calibration_images) == (0, False, 3)
    assert health.images_for_one_percent == 99


def test_dimmed_blurred_images_raise_the_alarm_and_the_store_remembers(
    learnt: VectorStore, network: Backbone, dataset: Path, tmp_path: Path
) -> None:
    inspector = Inspector(learnt, "grid", network=network)
    watch = Watch(learnt, inspector.entry)
    normal = [r.path for r in read_dataset(dataset) if r.label == "normal"]
    for path in normal:
        watch.record(inspector.inspect(path))
    quiet = check_health(learnt, inspector.entry)
    assert (quiet.images, quiet.alarm) == (len(normal), False)
    again = Watch(learnt, inspector.entry)
    for path in normal:
        moved = tmp_path / path.name
        picture = Image.open(path).convert("RGB").filter(ImageFilter.GaussianBlur(2))
        Image.fromarray((np.asarray(picture) * 0.6).astype(np.uint8)).save(moved)
        again.record(inspector.inspect(moved))
    health = check_health(learnt, inspector.entry)
    assert health.images == 2 * len(normal)
    states = {s.name: s for s in health.signals}
    assert states["brightness"].shift < -3
    assert states["sharpness"].direction in ("more blurred", "")
    assert states["brightness"].evidence > 10 * max(s.evidence for s in quiet.signals)


def test_window_rolls_and_a_new_revision_starts_anew(
    learnt: VectorStore,
    network: Backbone,
    dataset: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("search.monitoring.drift.WINDOW", 5)
    inspector = Inspector(learnt, "grid", network=network)
    prediction = inspector.inspect(read_dataset(dataset)[0].path)
    watch = Watch(learnt, inspector.entry)
    for _ in range(7):
        watch.record(prediction)
    assert learnt.count(health_collection("grid", "compact")) == 5
    assert check_health(learnt, inspector.entry).images == 2, "the second window"
    changed = change_levels(learnt, inspector.entry, alpha_reject=0.6, alpha_review=0.7)
    assert check_health(learnt, changed).images == 0


def test_look_tells_brightness_and_sharpness(tmp_path: Path, dataset: Path) -> None:
    spec = find_spec("compact")
    path = read_dataset(dataset)[0].path
    picture = Image.open(path).convert("RGB")
    picture.filter(ImageFilter.GaussianBlur(1)).save(tmp_path / "blurred.png")
    Image.fromarray(np.asarray(picture) // 2).save(tmp_path / "dark.png")
    plain, blurred, dark = (
        look_of(p, spec) for p in (path, tmp_path / "blurred.png", tmp_path / "dark.png")
    )
    assert blurred[1] < plain[1] - 0.5
    assert blurred[0] == pytest.approx(plain[0], abs=1)
    assert dark[0] == pytest.approx(plain[0] / 2, abs=1)
