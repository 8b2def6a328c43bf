"""What is predicted of an image follows from what lies in the store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backbones.base import Backbone
from backbones.geometry import Box
from indexer.calibration.methods import read_calibration
from indexer.catalog.collections import read_bank, read_images
from indexer.data.dataset import read_dataset
from indexer.store.base import VectorStore
from search.inspector import Inspector
from tests.indexer.world import queries_of
from tests.search.queries import QUARTER_TURN, brute_force, features_of, write_spotted


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
    bank = read_bank(inspector.category)
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
    images = read_images(inspector.category)
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
    np.testing.assert_array_equal(turned.scored.bank_indices, upright.scored.bank_indices)
    np.testing.assert_array_equal(turned.quality, upright.quality)
    assert turned.to_dict() | {"path": str(upright.path)} == upright.to_dict()
    np.testing.assert_array_equal(turned.distances, upright.distances)


def test_p_value_threshold_and_verdict_are_those_of_the_stored_calibration(
    inspector: Inspector, dataset: Path
) -> None:
    calibration = read_calibration(inspector.entry)
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
        for image in read_images(inspector.category).values()
        if image.split != "bank" and image.score is not None
    ]
    assert len(held_out) == 13
    for image in held_out:
        assert inspector.inspect(image.path).score == pytest.approx(image.score, rel=1e-6)


def test_rejects_are_told_whether_they_were_seen_before(
    learnt: VectorStore, network: Backbone, dataset: Path
) -> None:
    inspector = Inspector(learnt, "grid", network=network)
    told = [inspector.inspect(r.path) for r in read_dataset(dataset)[-6:]]
    for prediction in told:
        assert (prediction.seen_before is not None) == (prediction.verdict == "reject")
    rejected = next(p.seen_before for p in told if p.seen_before)
    assert rejected.nearest_type
    assert 0 < rejected.share < 1
