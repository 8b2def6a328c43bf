from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backbones.base import Backbone
from eval.speed import library as speed_library
from eval.speed.library import VARIANTS, measure_library
from eval.speed.library_report import library_page
from eval.speed.sampled_library import draw
from indexer.catalog.commits import find_entry
from indexer.catalog.schema import DEFECT, WHOLE, images_collection, library_image
from indexer.store.base import Point, VectorStore


def _library(store: VectorStore) -> list[Point]:
    entry = find_entry(store, "grid")
    collection = images_collection(entry.category, entry.backbone)
    return list(store.scroll(collection, with_vectors=True))


def test_drawn_images_are_like_the_real_ones_and_no_two_alike(learnt: VectorStore) -> None:
    entry, real = find_entry(learnt, "grid"), _library(learnt)
    drawn = list(draw(entry, real, 300, np.random.default_rng(0)))
    assert len({point.id for point in drawn}) == 300
    types = {str(point.payload["defect_type"]) for point in real}
    assert {library_image(point.payload).defect_type for point in drawn} == types
    assert all((DEFECT in p.vectors) == (p.payload["label"] == "defective") for p in drawn)
    middle = np.mean([point.vectors[WHOLE] for point in real], axis=0)

    def scatter(points: list[Point]) -> float:
        return float(np.mean([np.linalg.norm(p.vectors[WHOLE] - middle) for p in points]))

    assert scatter(drawn) == pytest.approx(scatter(real), rel=0.3)


def test_same_seed_draws_the_same_library(learnt: VectorStore) -> None:
    entry, real = find_entry(learnt, "grid"), _library(learnt)
    first, second = (list(draw(entry, real, 9, np.random.default_rng(3))) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert (a.id, a.payload) == (b.id, b.payload)
        np.testing.assert_array_equal(a.vectors[WHOLE], b.vectors[WHOLE])


def test_every_variant_is_measured_and_full_vectors_miss_nothing(
    dataset: Path, network: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = ["f32 (the default)", "f16", "int8 in memory, f32 not cached"]
    monkeypatch.setattr(speed_library, "VARIANTS", {name: VARIANTS[name] for name in chosen})
    found = measure_library(dataset, network, images=400, queries=12)
    plain, half, quantised = found.costs
    assert [cost.variant for cost in found.costs] == chosen
    assert half.disk_mib < plain.disk_mib
    assert {query.method for query in plain.queries} == {"HNSW", "exact"}
    assert len({query.method for query in quantised.queries}) == 3
    assert all(query.recall == 1 for query in plain.queries)
    wheres = {query.where for query in plain.queries}
    assert wheres == {*speed_library.FILTERS, speed_library.ALIKE}
    assert plain.peak_mib >= plain.started_mib > 10
    page = library_page(found, "grid, compact", "vecspect speed grid --only library", "quiet")
    assert page.count("| f32 (the default) |") == 1 + len(plain.queries)
