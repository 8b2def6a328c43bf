from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from search.similar import Float32, defect_embedding

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
