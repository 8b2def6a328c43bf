"""What the inspector says with a backbone of each family beside the CNNs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from backbones.base import Features, Float32, Precision
from backbones.geometry import Box
from backbones.pipeline import ImageFeatures, embed_images
from backbones.specs import find_spec
from indexer.catalog.collections import read_bank, read_images
from indexer.catalog.commits import find_category
from indexer.catalog.entry import CategoryError
from indexer.store.open import open_store
from search.inspector import Inspector
from tests.indexer.world import (
    NEIGHBORS,
    FakeImageLevel,
    by_split,
    cosine_distances,
    image_embedding,
    learn,
    queries_of,
)


class FakePdn:
    """Implements `Backbone`: patches whose channels differ in place and in scale a thousandfold.

    64 px of which the centre 48 are seen: the border of 8 px belongs to no cell.
    """

    spec = replace(
        find_spec("efficientad-small"), name="fake-pdn", dim=5, input_size=(64, 64), crop=(48, 48)
    )
    source: Path | None = None
    precision: Precision = "f32"
    fingerprint = "fakefakefakefake"

    def embed(self, inputs: NDArray[np.uint8]) -> Features:
        cells = inputs.astype(np.float32).reshape(len(inputs), 6, 8, 6, 8, 3)
        mean, deviation = cells.mean(axis=(2, 4)), cells.std(axis=(2, 4))
        patches = np.concatenate([mean, 1000 + 30 * deviation[..., :1], mean[..., 1:2] ** 2], -1)
        patches = patches.astype(np.float32)
        return Features(patches, patches.mean(axis=(1, 2)))


class FakeWide:
    """Implements `Backbone`: 8 x 12 cells of a 64 x 96 px input, each its mean and deviation."""

    spec = replace(find_spec("compact"), name="fake-wide", dim=6, input_size=(64, 96))
    source: Path | None = None
    precision: Precision = "f32"
    fingerprint = "fakefakefakefake"

    def embed(self, inputs: NDArray[np.uint8]) -> Features:
        cells = inputs.astype(np.float32).reshape(len(inputs), 8, 8, 12, 8, 3)
        patches = np.concatenate([cells.mean(axis=(2, 4)), cells.std(axis=(2, 4))], -1)
        return Features(patches, patches.mean(axis=(1, 2)))


@pytest.fixture(scope="module")
def image_level(dataset: Path) -> Iterator[Inspector]:
    with open_store(":memory:") as store:
        learn(store, dataset, FakeImageLevel())
        yield Inspector(store, "grid", network=FakeImageLevel())


@pytest.fixture(scope="module")
def pdn_folder(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed embedded store in which every normal patch is kept."""
    folder = tmp_path_factory.mktemp("pdn") / "store"
    with open_store(str(folder)) as store:
        learn(store, dataset, FakePdn(), coreset=1.0)
    return folder


@pytest.fixture(scope="module")
def pdn(pdn_folder: Path) -> Iterator[Inspector]:
    """The store opened again, as every later process does."""
    with open_store(str(pdn_folder)) as store:
        yield Inspector(store, "grid", network=FakePdn())


def raw_patches(path: Path | str) -> Float32:
    (features,) = embed_images(FakePdn(), [Path(path)])
    assert isinstance(features, ImageFeatures)
    return features.patches


def raw_bank(inspector: Inspector) -> NDArray[np.float64]:
    """(M, D), all patches of the bank's images as the network gives them."""
    images = by_split(inspector.category, "bank")
    return np.concatenate([raw_patches(image.path).reshape(-1, 5) for image in images]).astype(
        np.float64
    )


def test_image_level_score_and_evidence_are_the_nearest_normal_images(
    image_level: Inspector, dataset: Path
) -> None:
    bank = by_split(image_level.category, "bank")
    embeddings = np.stack([image_embedding(image.path) for image in bank])
    for query in queries_of(dataset):
        distances = cosine_distances(image_embedding(str(query)), embeddings)
        prediction = image_level.inspect(query)
        expected = np.sort(distances)[:NEIGHBORS].mean()
        assert prediction.score == pytest.approx(expected, abs=1e-5)
        evidence = prediction.evidence
        assert evidence.image_id == bank[int(distances.argmin())].image_id
        assert evidence.distance == pytest.approx(distances.min(), abs=1e-5)


def test_image_level_boxes_are_the_whole_of_either_image(
    image_level: Inspector, dataset: Path, tmp_path: Path
) -> None:
    with Image.open(queries_of(dataset)[0]) as image:
        image.resize((201, 99)).save(tmp_path / "wide.png")
    prediction = image_level.inspect(tmp_path / "wide.png")
    whole = Box(0, 0, 201, 99)
    assert (prediction.box, prediction.evidence.query_box) == (whole, whole)
    assert prediction.evidence.box == Box(0, 0, 128, 128)
    assert (prediction.evidence.query_cell, prediction.evidence.cell) == ((0, 0), (0, 0))
    assert prediction.distances.tolist() == [[np.float32(prediction.score)]]
    assert prediction.explain().mode == "RGB"


def test_calibration_images_never_count_as_neighbours(image_level: Inspector) -> None:
    """Each is in the library: as a neighbour it would be its own, at distance 0."""
    held_out = by_split(image_level.category, "calibration")
    bank_ids = {image.image_id for image in by_split(image_level.category, "bank")}
    for image in held_out:
        prediction = image_level.inspect(image.path)
        assert prediction.evidence.image_id in bank_ids
        assert prediction.evidence.distance > 1e-3
        assert prediction.score == pytest.approx(image.score, rel=1e-6)


def test_image_level_category_needs_no_bank_to_find_similar_images(
    image_level: Inspector, dataset: Path
) -> None:
    query = queries_of(dataset)[0]
    neighbors = image_level.similar(query, top=1000)
    assert len(neighbors) == 25, "all but itself"
    by_id = read_images(image_level.category)
    for neighbor in neighbors[:3]:
        other = image_embedding(by_id[neighbor.image_id].path)[None]
        expected = cosine_distances(image_embedding(str(query)), other)[0]
        assert neighbor.distance == pytest.approx(expected, abs=1e-5)


def test_image_level_category_has_no_regions(image_level: Inspector, dataset: Path) -> None:
    with pytest.raises(CategoryError, match="cannot be searched by region"):
        image_level.similar(queries_of(dataset)[0], by="region", box=Box(0, 0, 9, 9))


def test_channels_of_the_stored_patches_have_mean_0_and_deviation_1(pdn: Inspector) -> None:
    raw = raw_bank(pdn)
    scales = raw.std(axis=0)
    assert scales.max() / scales.min() > 100, "as they come, one channel drowns the others"
    bank = read_bank(pdn.category)
    assert bank.vectors.shape == raw.shape == (13 * 36, 5)
    np.testing.assert_allclose(bank.vectors.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(bank.vectors.std(axis=0), 1, rtol=1e-4)


def test_every_stored_patch_is_the_networks_normalised(pdn: Inspector) -> None:
    raw = raw_bank(pdn)
    mean, std = raw.mean(axis=0), raw.std(axis=0)
    images = read_images(pdn.category)
    patches = {image_id: raw_patches(image.path) for image_id, image in images.items()}
    bank = read_bank(pdn.category)
    of_cells = [
        patches[image_id][row, col]
        for image_id, (row, col) in zip(bank.image_ids, bank.cells, strict=True)
    ]
    np.testing.assert_allclose(bank.vectors, (np.stack(of_cells) - mean) / std, atol=1e-3)


def test_score_is_the_one_computed_by_hand_from_normalised_patches(
    pdn: Inspector, dataset: Path
) -> None:
    raw = raw_bank(pdn)
    mean, std = raw.mean(axis=0), raw.std(axis=0)
    bank = (raw - mean) / std
    for query in queries_of(dataset):
        patches = (raw_patches(query).reshape(-1, 5) - mean) / std
        distances = np.sqrt(((patches[:, None] - bank[None]) ** 2).sum(axis=2)).min(axis=1)
        prediction = pdn.inspect(query)
        assert prediction.score == pytest.approx(distances.max(), rel=1e-3)
        np.testing.assert_allclose(prediction.distances.ravel(), distances, atol=2e-3)


def test_image_embeddings_are_normalised_alike(pdn: Inspector, dataset: Path) -> None:
    """The mean patch of an image, normalised, is the mean of its normalised patches."""
    raw = raw_bank(pdn)
    query = queries_of(dataset)[0]

    def direction(path: str | Path) -> Float32:
        vector = ((raw_patches(path).reshape(-1, 5) - raw.mean(0)) / raw.std(0)).mean(axis=0)
        return np.asarray(vector, dtype=np.float32)

    for neighbor in pdn.similar(query, top=5):
        expected = cosine_distances(direction(query), direction(neighbor.path)[None])[0]
        assert neighbor.distance == pytest.approx(expected, abs=1e-3)


def test_statistics_of_the_channels_survive_the_store_to_the_last_bit(
    pdn: Inspector, pdn_folder: Path, dataset: Path
) -> None:
    with open_store(":memory:") as store:
        learn(store, dataset, FakePdn(), coreset=1.0)
        written = find_category(store, "grid").entry.feature_space
    stored = pdn.entry.feature_space
    for name in ("mean", "std"):
        bits = [np.array(c[name], np.float32).tobytes() for c in (stored, written)]
        assert bits[0] == bits[1]
        assert len(stored[name]) == 5


def test_category_of_a_wide_network_is_learnt_scored_and_searched(
    dataset: Path, tmp_path: Path
) -> None:
    with open_store(str(tmp_path / "store")) as store:
        learn(store, dataset, FakeWide(), coreset=1.0)
        category = find_category(store, "grid")
        entry, bank = category.entry, read_bank(category)
        assert len(bank.vectors) == entry.counts["bank_images"] * 8 * 12
        assert bank.cells.max(axis=0).tolist() == [7, 11]
        inspector = Inspector(store, "grid", network=FakeWide())
        with Image.open(queries_of(dataset)[0]) as image:
            tall = image.convert("RGB").resize((120, 240))
        tall.paste((255, 0, 255), (110, 0, 120, 30))  # in the last column and the first row
        tall.save(tmp_path / "tall.png")
        prediction = inspector.inspect(tmp_path / "tall.png")
        assert prediction.evidence.query_cell == (0, 11)
        assert prediction.evidence.query_box == Box(110, 0, 10, 30)
        assert prediction.geometry == entry.spec.geometry((240, 120))
        assert prediction.distances.shape == (8, 12)
        heat = prediction.anomaly_map()
        assert heat.shape == (240, 120)
        row, col = np.unravel_index(int(heat.argmax()), heat.shape)
        assert row < 30
        assert col >= 110


def test_removed_border_is_zero_in_the_anomaly_map_and_no_box_reaches_into_it(
    pdn: Inspector, dataset: Path, tmp_path: Path
) -> None:
    """Of 256 x 128 pixels the 8 of 64 at each side are 32 and 16."""
    with Image.open(queries_of(dataset)[0]) as image:
        wide = image.convert("RGB").resize((256, 128))
    wide.paste((255, 0, 255), (0, 0, 60, 30))  # from the border into the first cell
    wide.save(tmp_path / "wide.png")
    prediction = pdn.inspect(tmp_path / "wide.png")
    assert (prediction.evidence.query_cell, prediction.geometry.inset) == ((0, 0), (8, 8))
    assert prediction.evidence.query_box == Box(32, 16, 32, 16)
    heat = prediction.anomaly_map()
    assert heat.shape == (128, 256)
    inner = heat[17:-17, 34:-34]
    assert (inner > 0).all()
    # two rows and columns at the edge lie between a pixel of the border and one within
    assert heat[:15].max() == heat[-15:].max() == heat[:, :30].max() == heat[:, -30:].max() == 0
    box = prediction.box
    assert box.x >= 32
    assert box.y >= 16
    assert box.x + box.width <= 256 - 32
    assert box.y + box.height <= 128 - 16


def test_defect_in_the_removed_border_is_not_seen(
    pdn: Inspector, dataset: Path, tmp_path: Path
) -> None:
    with Image.open(queries_of(dataset)[0]) as image:
        clean = image.convert("RGB").resize((64, 64))
    clean.save(tmp_path / "clean.png")
    clean.paste((255, 0, 255), (0, 0, 64, 8))
    clean.save(tmp_path / "spoiled.png")
    scores = [pdn.inspect(tmp_path / name).score for name in ("clean.png", "spoiled.png")]
    assert scores[0] == scores[1]
