"""What the inspector says of an image follows from what lies in the store."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from PIL.ExifTags import Base

from backbones.base import Backbone, BackboneSpec, Features, Float32, Precision
from backbones.errors import ImageError, VecspectError
from backbones.geometry import Box
from backbones.pipeline import ImageFeatures, Skipped, embed_files
from indexer.calibration.base import Calibration
from indexer.catalog.collections import read_bank, read_images
from indexer.catalog.commits import find_entry
from indexer.catalog.schema import (
    CategoryError,
    bank_collection,
    image_point,
    images_collection,
    patch_point,
)
from indexer.data.image_records import read_dataset
from indexer.learn.build import build_index
from indexer.store.base import VectorStore
from indexer.store.open import open_store
from search.calibrator import ConformalCalibrator, change_levels
from search.inspector import Inspector
from search.prediction import Prediction

UPRIGHT, QUARTER_TURN = 1, 6


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


@pytest.fixture(scope="module")
def library(network: Backbone, dataset: Path) -> Iterator[VectorStore]:
    """Read only."""
    with open_store(":memory:") as store:
        learn(store, dataset, network)
        yield store


@pytest.fixture
def inspector(library: VectorStore, network: Backbone) -> Inspector:
    return Inspector(library, "grid", network=network)


def learn(store: VectorStore, dataset: Path, network: Backbone) -> None:
    build_index(
        read_dataset(dataset),
        category="grid",
        backbone=network,
        store=store,
        calibrator=ConformalCalibrator(),
        coreset=0.02,
    )


def queries_of(dataset: Path) -> list[Path]:
    return [record.path for record in read_dataset(dataset) if record.split == "test"]


def features_of(network: Backbone, path: Path) -> ImageFeatures:
    features = next(embed_files(network, [path]))
    assert isinstance(features, ImageFeatures)
    return features


def brute_force(queries: Float32, bank: Float32) -> NDArray[np.float64]:
    """Distance of each query patch to each bank patch, by plain subtraction in float64."""
    difference = queries.astype(np.float64)[:, None, :] - bank.astype(np.float64)[None]
    return np.asarray(np.sqrt((difference**2).sum(axis=2)))


def write_spotted(path: Path, normal: Path, spot: Box, *, orientation: int = UPRIGHT) -> Path:
    """A wide product photo with one loud spot; ``spot`` in upright pixels, 240 x 120."""
    picture = Image.open(normal).convert("RGB").resize((240, 120))
    corners = (spot.x, spot.y, spot.x + spot.width, spot.y + spot.height)
    ImageDraw.Draw(picture).rectangle(corners, fill=(255, 0, 255))
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    stored = picture.transpose(Image.Transpose.ROTATE_90) if orientation != UPRIGHT else picture
    stored.save(path, exif=exif)
    return path


def inside(box: Box, width: int, height: int) -> bool:
    fits = box.x + box.width <= width and box.y + box.height <= height
    return box.x >= 0 and box.y >= 0 and box.width > 0 and box.height > 0 and fits


def overlap(box: Box, other: Box) -> bool:
    across = min(box.x + box.width, other.x + other.width) - max(box.x, other.x)
    down = min(box.y + box.height, other.y + other.height) - max(box.y, other.y)
    return across > 0 and down > 0


def test_score_and_evidence_are_those_of_plain_brute_force_over_the_stored_bank(
    inspector: Inspector, library: VectorStore, network: Backbone, dataset: Path
) -> None:
    bank = read_bank(library, inspector.entry)
    for path in queries_of(dataset)[::3]:
        prediction = inspector.inspect(path)
        patches = features_of(network, path).patches
        table = np.concatenate(
            [brute_force(row, bank.vectors) for row in patches]  # a row at a time: 40 MB
        )
        distances = table.min(axis=1).reshape(patches.shape[:2])
        np.testing.assert_allclose(prediction.distances, distances, rtol=1e-4)
        assert prediction.score == pytest.approx(distances.max(), rel=1e-4)
        evidence = prediction.evidence
        assert evidence.distance == prediction.score
        row, col = evidence.query_cell
        assert distances[row, col] == pytest.approx(distances.max(), rel=1e-6)
        of_cell = (bank.image_ids == evidence.image_id) & (bank.cells == evidence.cell).all(axis=1)
        named = int(np.flatnonzero(of_cell)[0])
        assert table[row * patches.shape[1] + col, named] == pytest.approx(distances.max())


def test_evidence_names_a_normal_image_of_the_bank_and_its_file(
    inspector: Inspector, library: VectorStore, dataset: Path
) -> None:
    images = read_images(library, inspector.entry)
    for path in queries_of(dataset):
        evidence = inspector.inspect(path).evidence
        image = images[evidence.image_id]
        assert (image.label, image.split) == ("normal", "bank")
        assert evidence.path == image.path
        assert Path(evidence.path).is_file()


def test_boxes_are_in_upright_pixels_however_the_photo_is_stored(
    inspector: Inspector, dataset: Path, tmp_path: Path
) -> None:
    spot = Box(180, 20, 24, 24)
    normal = queries_of(dataset)[0]
    upright = inspector.inspect(write_spotted(tmp_path / "upright.png", normal, spot))
    turned = inspector.inspect(
        write_spotted(tmp_path / "turned.png", normal, spot, orientation=QUARTER_TURN)
    )
    with Image.open(tmp_path / "turned.png") as stored:
        assert stored.size == (120, 240), "the file itself lies on its side"
    for prediction in (upright, turned):
        assert (prediction.width, prediction.height) == (240, 120)
        assert overlap(prediction.box, spot)
        assert overlap(prediction.evidence.query_box, spot)
        assert inside(prediction.box, 240, 120)
        assert inside(prediction.evidence.query_box, 240, 120)
        assert inside(prediction.evidence.box, 128, 128)
        assert prediction.anomaly_map().shape == (120, 240)
    np.testing.assert_array_equal(turned.bank_indices, upright.bank_indices)
    arrays = (upright.distances, upright.bank_indices)
    assert (
        replace(turned, path=upright.path, distances=arrays[0], bank_indices=arrays[1]) == upright
    )
    np.testing.assert_array_equal(turned.distances, upright.distances)


def test_evidence_of_any_patch_is_its_nearest_patch_of_the_bank(
    inspector: Inspector, dataset: Path
) -> None:
    prediction = inspector.inspect(queries_of(dataset)[0])
    (features,) = inspector.features([prediction.path])
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
    change_levels(learnt, inspector.entry, alpha_reject=0.4)
    with pytest.raises(CategoryError, match="scored at revision 1 of 'grid', now is 2"):
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


def test_p_value_threshold_and_verdict_are_those_of_the_stored_calibration(
    inspector: Inspector, dataset: Path
) -> None:
    calibration = Calibration.from_payload(inspector.entry.calibration)
    for path in queries_of(dataset):
        prediction = inspector.inspect(path)
        assert prediction.p_value == calibration.p_value(prediction.score)
        assert prediction.verdict == calibration.verdict(prediction.score)
        assert prediction.threshold == calibration.threshold
        assert (prediction.verdict == "reject") == (prediction.p_value <= calibration.alpha_reject)


def test_held_out_images_are_given_the_scores_they_were_calibrated_with(
    inspector: Inspector, library: VectorStore
) -> None:
    held_out = [
        image
        for image in read_images(library, inspector.entry).values()
        if image.split != "bank" and image.score is not None
    ]
    assert len(held_out) == 13
    for image in held_out:
        assert inspector.inspect(image.path).score == pytest.approx(image.score, rel=1e-6)


def test_similar_gives_the_whole_library_nearest_first_without_the_query_itself(
    inspector: Inspector, library: VectorStore, network: Backbone, dataset: Path
) -> None:
    images = read_images(library, inspector.entry)
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
    assert len(inspector.similar(new, top=1000)) == len(read_images(library, inspector.entry))


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


def test_prediction_is_strict_json_with_exactly_the_documented_keys(
    inspector: Inspector, dataset: Path
) -> None:
    predictions = (inspector.inspect(path) for path in queries_of(dataset))
    rejected = next(found for found in predictions if found.verdict == "reject")
    path, fields = rejected.path, rejected.to_dict()
    assert json.loads(json.dumps(fields, allow_nan=False)) == fields
    shape: dict[str, type] = {name: type(value) for name, value in fields.items()}
    assert shape == {
        "path": str,
        "category": str,
        "backbone": str,
        "score": float,
        "p_value": float,
        "verdict": str,
        "threshold": float,
        "map_threshold": float,
        "box": list,
        "evidence": dict,
        "revision": int,
        "seen_before": dict,
    }
    assert {name: type(value) for name, value in fields["evidence"].items()} == {
        "query_cell": list,
        "query_box": list,
        "image_id": str,
        "path": str,
        "cell": list,
        "box": list,
        "distance": float,
    }
    assert fields["path"] == str(path)
    assert [fields["category"], fields["backbone"], fields["revision"]] == ["grid", "compact", 1]


def test_explanation_is_a_picture_also_when_the_normal_image_was_moved_away(
    inspector: Inspector, dataset: Path
) -> None:
    prediction = inspector.inspect(queries_of(dataset)[0])
    moved = replace(prediction, evidence=replace(prediction.evidence, path="/nowhere/at/all.png"))
    with_it, without = inspector.explain(prediction), inspector.explain(moved)
    assert with_it.mode == without.mode == "RGB"
    assert with_it.size == without.size
    assert with_it.tobytes() != without.tobytes()


def test_explanation_of_an_image_that_changed_or_went_since_is_refused(
    inspector: Inspector, dataset: Path, tmp_path: Path
) -> None:
    path = Path(shutil.copy(queries_of(dataset)[0], tmp_path / "query.png"))
    prediction = inspector.inspect(path)
    Image.new("RGB", (64, 64)).save(path)
    with pytest.raises(ImageError, match=rf"^{path}: changed since it was scored$"):
        inspector.explain(prediction)
    path.unlink()
    with pytest.raises(VecspectError, match=r"query\.png|no such file"):
        inspector.explain(prediction)


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
        assert shown <= set(read_images(store, find_entry(store, "grid")))


def test_points_of_a_revision_that_is_not_committed_are_never_shown(
    network: Backbone, dataset: Path
) -> None:
    query = queries_of(dataset)[0]
    with open_store(":memory:") as store:
        learn(store, dataset, network)
        inspector = Inspector(store, "grid", network=network)
        prediction, neighbors = inspector.inspect(query), inspector.similar(query, top=1000)
        coming = replace(inspector.entry, revision=2)
        features = features_of(network, query)
        image = next(iter(read_images(store, inspector.entry).values()))
        store.upsert(
            images_collection("grid", "compact"),
            [image_point(coming, image, features.image, "now")],
        )
        store.upsert(
            bank_collection("grid", "compact"),
            [patch_point(coming, image, 0, i, features.patches[0, i]) for i in range(32)],
        )
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
