"""What the inspector answers, and when it refuses."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from backbones.base import Backbone, BackboneSpec, Features, Float32, Precision
from backbones.errors import ImageError
from backbones.geometry import Box
from backbones.pipeline import ImageFeatures, Skipped
from indexer.calibration.base import Levels
from indexer.catalog.collections import read_images
from indexer.catalog.commits import find_category
from indexer.catalog.entry import CategoryError
from indexer.store.base import VectorStore
from indexer.store.open import open_store
from indexer.update.levels import change_levels
from search.inspector import Inspector
from search.prediction import Prediction
from tests.indexer.world import learn, queries_of
from tests.search.queries import features_of, write_spotted


class OtherNetwork:
    """The same features under another fingerprint or name, as other weights would have."""

    def __init__(self, network: Backbone, *, name: str = "compact") -> None:
        self._network = network
        self.spec: BackboneSpec = replace(network.spec, name=name)
        self.source: Path | None = None
        self.precision: Precision = network.precision
        self.fingerprint = "0123456789abcdef"

    def embed(self, inputs: NDArray[np.uint8]) -> Features:
        return self._network.embed(inputs)


def test_evidence_of_any_patch_is_its_nearest_patch_of_the_bank(
    inspector: Inspector, dataset: Path
) -> None:
    prediction = inspector.inspect(queries_of(dataset)[0])
    (features,) = inspector.embed([prediction.path])
    assert isinstance(features, ImageFeatures)
    bank = inspector.bank
    for row, col in ((0, 0), (3, 7), prediction.evidence.query_cell):
        evidence = inspector.evidence(prediction, row, col)
        distances = np.linalg.norm(bank.vectors - features.patches[row, col], axis=1)
        assert evidence.distance == pytest.approx(float(distances.min()), rel=1e-4)
        found = distances.argmin()
        assert evidence.image_id == bank.image_ids[found]
        assert evidence.cell == tuple(bank.cells[found])
    assert inspector.evidence(prediction, *prediction.evidence.query_cell) == prediction.evidence


def test_evidence_of_an_earlier_revision_is_refused(
    learnt: VectorStore, network: Backbone, dataset: Path
) -> None:
    inspector = Inspector(learnt, "grid", network=network)
    prediction = inspector.inspect(queries_of(dataset)[0])
    change_levels(inspector.category, Levels(0.4))
    with pytest.raises(CategoryError, match="scored at revision 1 of 'grid', the current one is 2"):
        inspector.evidence(prediction, 0, 0)


def test_batch_says_the_same_as_one_by_one_in_order_with_the_skipped_among_them(
    inspector: Inspector, dataset: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"not a picture")
    good = queries_of(dataset)
    files = [bad, *good[:5], tmp_path / "missing.png", *good[5:], bad]
    outcomes = list(inspector.inspect_files(iter(files)))
    assert [outcome.path for outcome in outcomes] == files
    assert [isinstance(o, Skipped) for o in outcomes] == [path not in good for path in files]
    for outcome in outcomes:
        if isinstance(outcome, Prediction):
            assert outcome.to_dict() == inspector.inspect(outcome.path).to_dict()


def test_file_that_cannot_be_read_is_an_error_that_begins_with_its_path(
    inspector: Inspector, tmp_path: Path
) -> None:
    for ask in (inspector.inspect, inspector.similar):
        with pytest.raises(ImageError, match=rf"^{tmp_path}/gone\.png: there is no such file$"):
            ask(tmp_path / "gone.png")


def test_similar_gives_the_whole_library_nearest_first_without_the_query_itself(
    inspector: Inspector, library: VectorStore, network: Backbone, dataset: Path
) -> None:
    images = read_images(inspector.category)
    query = queries_of(dataset)[-1]
    own_id = next(i for i, image in images.items() if image.path == str(query))
    neighbors = inspector.similar(query, top=1000)
    assert {neighbor.image_id for neighbor in neighbors} == set(images) - {own_id}

    def direction(path: str) -> Float32:
        embedding = features_of(network, Path(path)).image
        return np.asarray(embedding / np.linalg.norm(embedding))

    cosine = [1 - direction(str(query)) @ direction(n.path) for n in neighbors]
    np.testing.assert_allclose([n.distance for n in neighbors], cosine, atol=1e-5)
    normal = [n.distance for n in inspector.similar(query, top=1000, label="normal")]
    assert normal == sorted(normal)
    assert inspector.similar(query, top=3) == neighbors[:3]


def test_similar_leaves_the_query_out_under_whatever_name_it_comes(
    inspector: Inspector, dataset: Path, tmp_path: Path
) -> None:
    query = queries_of(dataset)[-1]
    copy = shutil.copy(query, tmp_path / "copy.png")
    assert inspector.similar(copy, top=1000) == inspector.similar(query, top=1000)


def test_similar_to_a_new_image_may_give_the_whole_library(
    inspector: Inspector, library: VectorStore, dataset: Path, tmp_path: Path
) -> None:
    new = write_spotted(tmp_path / "new.png", queries_of(dataset)[0], Box(10, 10, 20, 20))
    assert len(inspector.similar(new, top=1000)) == len(read_images(inspector.category))


def test_similar_respects_label_and_defect_type(inspector: Inspector, dataset: Path) -> None:
    query = queries_of(dataset)[0]
    everything = sorted(inspector.similar(query, top=1000), key=lambda n: n.distance)
    for label in ("normal", "defective"):
        of_label = [n for n in everything if n.label == label]
        assert inspector.similar(query, top=1000, label=label) == of_label != []
    defect_type = next(n.defect_type for n in everything if n.defect_type)
    of_type = [n for n in everything if n.defect_type == defect_type]
    assert inspector.similar(query, top=1000, defect_type=defect_type) == of_type
    assert inspector.similar(query, label="normal", defect_type=defect_type) == []
    assert inspector.similar(query, defect_type="no such type") == []


def test_other_weights_are_refused_in_one_line_that_names_both_fingerprints(
    library: VectorStore, network: Backbone
) -> None:
    with pytest.raises(CategoryError) as caught:
        Inspector(library, "grid", network=OtherNetwork(network))
    message = str(caught.value)
    assert network.fingerprint in message
    assert "0123456789abcdef" in message
    assert "\n" not in message


def test_unknown_category_names_the_known_ones_and_how_to_learn_it(library: VectorStore) -> None:
    with pytest.raises(
        CategoryError, match=r"no category 'gird' .*known: grid.*vecspect index .*--category gird"
    ):
        Inspector(library, "gird")


def test_store_that_knows_nothing_says_so() -> None:
    with open_store(":memory:") as empty, pytest.raises(CategoryError, match="known: none yet"):
        Inspector(empty, "grid")


def test_category_of_two_backbones_asks_for_one_of_them(dataset: Path, network: Backbone) -> None:
    other = OtherNetwork(network, name="patchcore-resnet18")
    with open_store(":memory:") as store:
        for backbone in (network, other):
            learn(store, dataset, backbone)
        for given in (None, "vgg"):
            with pytest.raises(CategoryError, match=r"compact, patchcore-resnet18: .*--backbone"):
                Inspector(store, "grid", backbone=given)
        chosen = Inspector(store, "grid", backbone="patchcore-resnet18", network=other)
        assert chosen.inspect(queries_of(dataset)[0]).backbone == "patchcore-resnet18"


def test_image_taken_out_of_the_data_set_never_appears_as_evidence_or_neighbour_again(
    network: Backbone, dataset: Path, tmp_path: Path
) -> None:
    own = shutil.copytree(dataset, tmp_path / "data")
    queries = queries_of(own)
    with open_store(":memory:") as store:
        learn(store, own, network)
        before = Inspector(store, "grid", network=network)
        removed = before.inspect(queries[0]).evidence
        Path(removed.path).unlink()
        learn(store, own, network)
        after = Inspector(store, "grid", network=network)
        assert after.entry.revision == 2
        shown: set[Any] = {after.inspect(query).evidence.image_id for query in queries}
        shown |= {n.image_id for query in queries for n in after.similar(query, top=1000)}
        assert removed.image_id not in shown
        assert shown <= set(read_images(find_category(store, "grid")))


def test_points_of_a_revision_that_is_not_committed_are_never_shown(
    network: Backbone, dataset: Path
) -> None:
    query = queries_of(dataset)[0]
    with open_store(":memory:") as store:
        learn(store, dataset, network)
        inspector = Inspector(store, "grid", network=network)
        prediction, neighbors = inspector.inspect(query), inspector.similar(query, top=1000)
        coming = inspector.category.following("add", [])
        features = features_of(network, query)
        image = next(iter(read_images(inspector.category).values()))
        patches = (
            coming.patch_point(image.image_id, 0, col, features.patches[0, col])
            for col in range(32)
        )
        store.upsert(coming.images, [coming.image_point(image, features.image)])
        store.upsert(coming.bank, patches)
        again = Inspector(store, "grid", network=network)
        assert again.inspect(query).to_dict() == prediction.to_dict()
        shown = {
            neighbor.image_id: neighbor.distance for neighbor in again.similar(query, top=1000)
        }
        # the store's matrix product rounds by the number of its rows
        assert shown == pytest.approx({n.image_id: n.distance for n in neighbors}, abs=1e-6)


def test_network_is_loaded_by_the_name_in_the_catalog(learnt: VectorStore, dataset: Path) -> None:
    prediction = Inspector(learnt, "grid").inspect(queries_of(dataset)[0])
    assert prediction.backbone == "compact"
