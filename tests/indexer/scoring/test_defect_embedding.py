from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.scoring.defect_embedding import Float32, defect_embedding, deviating_cells

SIDE, DIM = 6, 8


def normal_part(seed: int) -> Float32:
    return np.random.default_rng(seed).standard_normal((SIDE, SIDE, DIM), dtype=np.float32)


def embedding_of(
    seed: int, where: tuple[int, int], defect: list[float], noise: float = 0.02
) -> Float32:
    """A part with ``defect`` added to one patch, seen against the part without it."""
    nearest = normal_part(seed)
    rng = np.random.default_rng(seed + 100)
    patches = nearest + noise * rng.standard_normal(nearest.shape).astype(np.float32)
    patches[where] += np.array(defect, np.float32)
    return defect_embedding(patches, nearest, np.linalg.norm(patches - nearest, axis=-1))


SCRATCH, DENT = [3.0, 0, 0, 1, 0, 0, 0, 0], [0, 2.0, 0, 0, 0, -2, 0, 0]


def test_same_defect_on_other_parts_at_other_places_is_nearer_than_another_defect() -> None:
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
    part = normal_part(0)
    found = defect_embedding(part, part, np.zeros((SIDE, SIDE), np.float32))
    assert not found.any()


def deviating(distances: Float32, threshold: float) -> list[tuple[int, int]]:
    """Of cells of 8 pixels."""
    found = deviating_cells(distances, input_size=8 * len(distances), inset=0, threshold=threshold)
    return [(int(row), int(col)) for row, col in found]


def test_patches_above_the_map_threshold_are_kept_the_worst_first() -> None:
    distances = np.ones((32, 32), np.float32)
    distances[10:18, 4:14] = 3
    distances[12, 7] = 4
    found = deviating(distances, threshold=2.0)
    inside = {(row, col) for row in range(10, 18) for col in range(4, 14)}
    assert found[0] == (12, 7)
    assert set(found) <= inside
    assert len(found) > len(inside) - 10, "the map is smooth: corners of the block may be below"


def test_defect_that_the_map_misses_keeps_a_twentieth_of_its_patches_and_eight_at_least() -> None:
    distances = np.random.default_rng(0).random((32, 32), np.float32)
    assert len(deviating(distances, threshold=9)) == 51
    assert len(deviating(distances[:6, :6], threshold=9)) == 8
    assert len(deviating(distances[:2, :2], threshold=9)) == 4


def test_part_that_is_wrong_all_over_keeps_an_eighth_of_its_patches() -> None:
    distances = 5 + np.random.default_rng(0).random((32, 32), np.float32)
    assert len(set(deviating(distances, threshold=2))) == 128
