from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from backbones.geometry import Geometry
from indexer.knn.exact_index import Nearest
from indexer.scoring.defect_embedding import (
    Float32,
    anomalous_cells,
    defect_embedding,
    plain_defect_embedding,
    standing_out,
    whitened_defect_embedding,
)
from indexer.scoring.whitening import Whitening

SIDE, DIM = 6, 8


def normal_patches(seed: int) -> Float32:
    return np.random.default_rng(seed).standard_normal((SIDE, SIDE, DIM), dtype=np.float32)


def embedding_of(
    seed: int, where: tuple[int, int], defect: list[float], noise: float = 0.02
) -> Float32:
    """A product with ``defect`` added to one patch, measured against itself without it."""
    nearest = normal_patches(seed)
    rng = np.random.default_rng(seed + 100)
    patches = nearest + noise * rng.standard_normal(nearest.shape).astype(np.float32)
    patches[where] += np.array(defect, np.float32)
    return defect_embedding(patches, nearest, np.linalg.norm(patches - nearest, axis=-1))


SCRATCH, DENT = [3.0, 0, 0, 1, 0, 0, 0, 0], [0, 2.0, 0, 0, 0, -2, 0, 0]


def test_same_defect_on_other_products_at_other_places_is_nearer_than_another_defect() -> None:
    query, same = embedding_of(0, (1, 1), SCRATCH), embedding_of(1, (4, 2), SCRATCH)
    other = embedding_of(2, (1, 1), DENT)
    assert np.dot(query, same) > 0.99
    assert np.dot(query, other) < 0.2


def test_strength_of_a_defect_does_not_count() -> None:
    faint = embedding_of(3, (2, 2), [v / 3 for v in SCRATCH])
    assert np.dot(embedding_of(0, (1, 1), SCRATCH), faint) > 0.98


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.floats(0, 10, width=32))
def test_embedding_is_finite_and_of_length_one_or_zero(seed: int, noise: float) -> None:
    found = embedding_of(seed, (0, 0), [0.0] * DIM, noise)
    assert found.shape == (DIM,)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert np.linalg.norm(found) < 1.0001


def test_image_that_equals_its_nearest_patches_has_a_zero_embedding() -> None:
    normal = normal_patches(0)
    found = defect_embedding(normal, normal, np.zeros((SIDE, SIDE), np.float32))
    assert not found.any()


def cells_of(distances: Float32, threshold: float) -> list[tuple[int, int]]:
    """Of cells of 8 pixels."""
    rows, cols = distances.shape
    pixels = (8 * rows, 8 * cols)
    geometry = Geometry(image=pixels, grid=(rows, cols), input_size=pixels)
    found = anomalous_cells(distances, geometry, threshold=threshold)
    return [(int(row), int(col)) for row, col in found]


def test_anomalous_cells_lie_above_the_map_threshold_the_worst_first() -> None:
    distances = np.ones((32, 32), np.float32)
    distances[10:18, 4:14] = 3
    distances[12, 7] = 4
    found = cells_of(distances, threshold=2.0)
    inside = {(row, col) for row in range(10, 18) for col in range(4, 14)}
    assert found[0] == (12, 7)
    assert set(found) <= inside
    assert len(found) > len(inside) - 10, "the map is smooth: corners of the block may be below"


def test_anomalous_cells_of_a_wide_image_have_its_rows_and_columns() -> None:
    distances = np.ones((8, 24), np.float32)
    distances[6, 20] = 4
    found = cells_of(distances, threshold=9.0)
    assert found[0] == (6, 20)
    assert len(found) == round(0.05 * 8 * 24)


def test_defect_that_the_map_misses_has_a_twentieth_of_its_cells_and_eight_at_least() -> None:
    distances = np.random.default_rng(0).random((32, 32), np.float32)
    assert len(cells_of(distances, threshold=9)) == 51
    assert len(cells_of(distances[:6, :6], threshold=9)) == 8
    assert len(cells_of(distances[:2, :2], threshold=9)) == 4


def test_image_that_is_anomalous_all_over_has_an_eighth_of_its_cells() -> None:
    distances = 5 + np.random.default_rng(0).random((32, 32), np.float32)
    assert len(set(cells_of(distances, threshold=2))) == 128


def test_only_patches_above_the_middle_of_median_and_largest_distance_count() -> None:
    distances = np.array([[0, 1, 1], [2, 4, 9]], np.float32)
    np.testing.assert_allclose(standing_out(distances), np.array([[0, 0, 0], [0, 0, 3.75]]))
    assert (standing_out(np.full((2, 3), 5, np.float32)) == 1).all(), "none stands out"


def test_deviation_is_measured_from_the_nearest_patch_of_the_bank_and_then_whitened() -> None:
    normal = normal_patches(4)
    bank = normal.reshape(-1, DIM)
    patches = normal.copy()
    patches[2, 3] += np.array(SCRATCH, np.float32)
    indices = np.arange(len(bank)).reshape(SIDE, SIDE)
    found = Nearest(np.linalg.norm(patches - normal, axis=-1), indices)
    direction = np.array(SCRATCH) / np.linalg.norm(SCRATCH)
    deviates = plain_defect_embedding(patches, bank, found)
    assert deviates is not None
    np.testing.assert_allclose(deviates, direction, atol=1e-6)
    first_axis = Whitening(np.eye(1, DIM, dtype=np.float32))
    whitened = whitened_defect_embedding(patches, bank, found, first_axis)
    assert whitened is not None
    np.testing.assert_allclose(whitened, np.eye(DIM)[3], atol=1e-6)
    same = Nearest(np.zeros((SIDE, SIDE), np.float32), indices)
    assert plain_defect_embedding(normal, bank, same) is None
    assert whitened_defect_embedding(normal, bank, same, first_axis) is None
