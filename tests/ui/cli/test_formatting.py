"""What commands say of builds, levels and predictions, word by word."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from PIL import Image

from backbones.base import Backbone
from indexer.calibration.base import SUPPORTED_LEVELS, Calibration, Levels
from indexer.calibration.methods import CalibrationSettings, to_payload
from indexer.catalog.category import Category
from indexer.catalog.commits import find_category
from indexer.catalog.counts import PICKED_OUT, WITHOUT_PATCHES
from indexer.catalog.entry import CatalogEntry
from indexer.learn.build import BuildReport
from indexer.store.base import VectorStore
from indexer.update.change import Change
from search.inspector import Inspector
from search.monitoring.audit import LevelImage
from search.monitoring.drift import DriftReport
from search.prediction import Prediction
from ui.cli import formatting

ALONE = LevelImage("some-id", "odd.png", 3.0, 2.5)


@pytest.fixture
def category(learnt: VectorStore) -> Category:
    return find_category(learnt, "grid")


@pytest.fixture
def entry(category: Category) -> CatalogEntry:
    return category.entry


@pytest.fixture
def prediction(learnt: VectorStore, network: Backbone, dataset: Path) -> Prediction:
    image = min((dataset / "test").rglob("*.png"))
    return Inspector(learnt, "grid", network=network).inspect(image)


def with_calibration(entry: CatalogEntry, n: int, **options: Any) -> CatalogEntry:
    return replace(entry, calibration=to_payload(calibrated(n, **options)))


def calibrated(n: int, method: str = "conformal", levels: Levels = SUPPORTED_LEVELS) -> Calibration:
    return CalibrationSettings(method, levels).calibrate([float(number) for number in range(n)])


def test_change_that_made_no_revision_says_which_one_stands(entry: CatalogEntry) -> None:
    assert formatting.describe_revision(entry, changed=False) == (
        "grid (compact): nothing changed, revision 1 stands."
    )
    after = replace(entry, revision=2, action="removed 1 image")
    assert formatting.describe_revision(after, changed=True) == (
        "grid (compact): revision 2, removed 1 image."
    )


def test_build_is_told_by_its_counts_or_as_unchanged(category: Category) -> None:
    built = BuildReport(category, True, seconds={"embed": 1.0, "choose": 0.5})
    assert formatting.describe_build(built, levels_changed=False) == (
        "grid (compact): learnt as revision 1 in 1.5 s: 266 patches of 13 normal images, "
        "3 more calibrate, 10 in the library."
    )
    again = replace(built, changed=False)
    assert formatting.describe_build(again, levels_changed=True).endswith(
        "revision 1 stands. The levels were changed, as revision 2."
    )


def test_few_calibration_images_are_told_with_how_many_more_one_percent_requires(
    entry: CatalogEntry,
) -> None:
    few = formatting.describe_levels(with_calibration(entry, 19), None).splitlines()
    assert few[0].startswith("reject above 18: at most 5.00% of normal parts; review above ")
    assert few[1].startswith(
        "19 calibration images support no less than 5.00%; 1% requires 80 more "
    )
    assert few[1].endswith("(about 400 more normal images at --holdout 0.2).")
    assert len(formatting.describe_levels(with_calibration(entry, 99), None).splitlines()) == 1


def test_image_that_alone_sets_the_level_is_named_with_the_command(entry: CatalogEntry) -> None:
    line = formatting.describe_levels(with_calibration(entry, 99), ALONE).splitlines()[-1]
    assert "odd.png (the next highest is 2.5)" in line
    assert line.endswith("vecspect quarantine some-id --category grid")


@pytest.mark.parametrize(
    ("method", "counts", "bound"),
    [
        ("conformal", {}, "at most the level"),
        ("cross-conformal", {}, "at most 2 times the level in the worst case"),
        ("sigma", {}, "no bound on the false-reject rate"),
        ("conformal", {PICKED_OUT: 1}, "about the level, no longer proven: images that calibrate"),
        ("cross-conformal", {WITHOUT_PATCHES: 1}, "about the level, twice no longer proven"),
    ],
)
def test_bound_is_that_of_the_method_while_nothing_was_picked_by_hand(
    method: Any, counts: Mapping[str, int], bound: str
) -> None:
    assert formatting.describe_bound(calibrated(99, method), counts).startswith(bound)


def test_change_of_images_tells_remark_uncovered_patches_and_levels(category: Category) -> None:
    change = Change(category.with_entry(revision=2, action="removed 1 image"), ("id",), uncovered=7)
    lines = list(formatting.describe_change(change, None, "A remark."))
    assert lines[1:3] == [
        "A remark.",
        "7 patches of the calibration images were covered by nothing else.",
    ]
    assert lines[3].startswith("reject above ")
    assert len(list(formatting.describe_change(Change(category, ()), ALONE, "A remark."))) == 1


def test_drift_without_images_says_that_nothing_was_scored() -> None:
    drift = DriftReport("grid", "compact", 1, 0, 0.0, 3, 99, 0.5, ())
    line = formatting.describe_drift(drift).splitlines()[0]
    assert "0.5 days old: nothing scored yet. 0 images" in line
    assert ": quiet. 4 images" in formatting.describe_drift(replace(drift, images=4))


def test_prediction_is_one_line_with_box_and_path(prediction: Prediction) -> None:
    line = formatting.describe_prediction(prediction)
    box = prediction.box
    assert line.startswith(f"{prediction.verdict:<6}  score {prediction.score:.4g}  p 0.")
    assert f"worst at x={box.x} y={box.y} {box.width}x{box.height}" in line
    assert line.endswith(f"  {prediction.path}")


def test_csv_row_holds_the_fields_of_the_json(prediction: Prediction) -> None:
    fields = json.loads(json.dumps(prediction.to_dict()))
    stream = io.StringIO(newline="")
    formatting.prediction_writer(stream)(fields)
    stream.seek(0)
    (row,) = csv.DictReader(stream)
    assert float(row["score"]) == prediction.score
    assert row["evidence_image_id"] == prediction.evidence.image_id
    assert [int(row[f"box_{side}"]) for side in ("x", "y", "width", "height")] == fields["box"]


def test_csv_file_appears_only_when_it_is_whole(tmp_path: Path, prediction: Prediction) -> None:
    file = tmp_path / "out" / "rows.csv"

    def write_and_fail() -> None:
        with formatting.csv_writer(file) as write:
            write(prediction.to_dict())
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        write_and_fail()
    assert list(file.parent.iterdir()) == []
    with formatting.csv_writer(file) as write:
        write(prediction.to_dict())
    assert len(file.read_text(encoding="utf-8").splitlines()) == 2
    with formatting.csv_writer(None) as write:
        write(prediction.to_dict())
    assert list(file.parent.iterdir()) == [file]


def test_pictures_of_images_of_one_name_are_numbered(tmp_path: Path) -> None:
    def explain() -> Image.Image:
        return Image.new("RGB", (8, 8))

    used: set[str] = set()
    for folder in ("a", "b", "c"):
        of = cast(Prediction, SimpleNamespace(path=Path(folder) / "0.png", explain=explain))
        formatting.write_map(of, tmp_path, used)
    assert {path.name for path in tmp_path.iterdir()} == {"0.png", "0-2.png", "0-3.png"}
