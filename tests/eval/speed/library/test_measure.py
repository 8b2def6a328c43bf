from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backbones.base import Backbone
from eval.speed.library import measure as speed_library
from eval.speed.library.measure import (
    VARIANTS,
    LibraryCost,
    LibraryScale,
    RescoringStore,
    library_page,
    measure_library,
    remake_collection,
)
from eval.speed.library.queries import ALIKE, FILTERS, QueryCost
from indexer.store.base import Point, VectorParams
from indexer.store.open import open_store


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
    assert wheres == {*FILTERS, ALIKE}
    assert plain.peak_mib >= plain.started_mib > 10
    page = library_page(found, "grid, compact", "vecspect speed grid --only library", "quiet")
    assert page.count("| f32 (the default) |") == 1 + len(plain.queries)


@pytest.mark.parametrize("name", VARIANTS)
def test_remade_collection_takes_points_and_rescoring_finds_the_nearest(
    name: str, tmp_path: Path
) -> None:
    with open_store(str(tmp_path)) as store:
        store.create_collection("images", {"whole": VectorParams(16, "cosine", indexed=True)}, {})
        indexes = store.payload_indexes("images")
    remake_collection(tmp_path / "images", {"whole": 16}, indexes, VARIANTS[name])
    vectors = np.random.default_rng(0).standard_normal((30, 16)).astype(np.float32)
    with RescoringStore(tmp_path) as store:
        store.upsert(
            "images",
            [
                Point(f"00000000-0000-0000-0000-{i:012}", {"whole": v}, {"i": i})
                for i, v in enumerate(vectors)
            ],
        )
        store.oversampling = 3.0
        for row, vector in enumerate(vectors[:5]):
            (hit,) = store.query("images", vector, using="whole", top=1, exact=False)
            assert hit.payload["i"] == row


def test_page_has_a_line_per_variant_and_per_kind_of_query() -> None:
    queries = [
        QueryCost("whole", "none", method, 7, 1.25, 2.5, 0.75) for method in ("HNSW", "exact")
    ]
    cost = LibraryCost("f16", 1234.5, 2.0, 30.4, 0.25, 100.0, 200.0, queries)
    page = library_page(
        LibraryScale(24, 1_000, 400, 384, [cost]), "grid", "vecspect speed", "quiet"
    )
    assert "| f16 | 1234 | 2.0 | 30 | 0.25 | 100 | 200 |" in page
    assert "| f16 | whole | none | exact | 7 | 1.25 | 2.50 | 0.7500 |" in page
    assert page.startswith("# A library of 1,000 images")
    assert page.endswith("quiet\n")
