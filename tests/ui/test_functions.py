from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import vecspect
from indexer.catalog.collections import read_images
from indexer.catalog.entry import LibraryImage
from indexer.store.base import VectorStore


def test_category_is_learnt_changed_and_brought_back_by_its_name(
    dataset: Path, tmp_path: Path
) -> None:
    with vecspect.open_store(tmp_path / "store") as store:
        report = vecspect.build_index(dataset, category="grid", store=store, holdout=0.4)
        assert report.changed
        again = vecspect.build_index(
            vecspect.read_dataset(dataset), category="grid", store=store, holdout=0.4
        )
        assert not again.changed
        new = tmp_path / "new.png"
        with Image.open(min((dataset / "test/good").iterdir())) as opened:
            opened.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(new)
        added = vecspect.add_images([str(new)], category="grid", store=store)
        assert added.entry.revision == 2
        (image_id,) = added.images
        steps = [
            vecspect.quarantine_image(image_id, category="grid", store=store).entry,
            vecspect.remove_images([image_id], category="grid", store=store).entry,
            vecspect.calibrate(category="grid", store=store, reject=0.5, review=0.5).entry,
            vecspect.rollback(2, category="grid", store=store).entry,
        ]
        assert [entry.revision for entry in steps] == [3, 4, 5, 6]
        assert image_id in library(store)
        defective = next(i for i in library(store).values() if i.label == "defective")
        vecspect.label_images(
            [defective.image_id],
            category="grid",
            store=store,
            defect_type="dent",
            fields={"line": "7"},
        )
        named = library(store)[defective.image_id]
        assert (named.defect_type, named.fields) == ("dent", {"line": "7"})
        assert vecspect.check_drift(category="grid", store=store).images == 0
        assert vecspect.Inspector(store, "grid").inspect(new).revision == 7


def library(store: VectorStore) -> dict[str, LibraryImage]:
    (category,) = vecspect.read_catalog(store)
    return read_images(category)


def test_benchmark_writes_a_report_and_gives_its_figures(dataset: Path, tmp_path: Path) -> None:
    result = vecspect.benchmark([dataset], baselines=["brute-force"], out=tmp_path / "out")
    (report,) = result.reports
    assert report.category == "grid"
    assert report.baseline is not None
    assert (tmp_path / "out" / "report.html").is_file()


def test_names_that_are_not_there_are_told_in_a_line_before_any_work(
    dataset: Path, tmp_path: Path
) -> None:
    with vecspect.open_store(tmp_path / "store") as store:
        calls: dict[str, Callable[[], object]] = {
            "unknown calibration 'magic'. Known: conformal": lambda: vecspect.build_index(
                dataset, category="grid", store=store, calibration="magic"
            ),
            "unknown backbone 'wrn'": lambda: vecspect.build_index(
                dataset, category="grid", store=store, backbone="wrn"
            ),
            "unknown baseline 'magic'. Known: brute-force": lambda: vecspect.benchmark(
                [dataset], baselines=["magic"], out=tmp_path / "out"
            ),
            "no category 'grid'": lambda: vecspect.calibrate(
                category="grid", store=store, calibration="magic"
            ),
        }
        for told, call in calls.items():
            with pytest.raises(vecspect.VecspectError, match=told):
                call()
    assert not (tmp_path / "out").exists()
