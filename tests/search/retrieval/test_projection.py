from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from indexer.catalog.collections import read_images, read_vectors
from indexer.catalog.commits import find_category
from indexer.catalog.schema import WHOLE
from indexer.store.base import VectorStore
from search.retrieval import projection
from search.retrieval.projection import image_plane


def test_every_image_has_a_place_and_the_plane_is_that_of_most_variance(
    learnt: VectorStore,
) -> None:
    grid = find_category(learnt, "grid")
    images, places = image_plane(grid)
    assert {image.image_id for image in images} == set(read_images(grid))
    assert places.shape == (26, 2)
    assert places.dtype == np.float32
    vectors, order = read_vectors(grid, WHOLE)
    assert [image.image_id for image in images] == [image.image_id for image in order]
    centred = vectors - vectors.mean(axis=0)
    variances = np.linalg.svd(centred.astype(np.float64), compute_uv=False)[:2] ** 2
    np.testing.assert_allclose((places**2).sum(axis=0), variances, rtol=1e-3)


def test_places_keep_the_order_of_the_first_axis_and_are_the_same_each_time(
    learnt: VectorStore,
) -> None:
    grid = find_category(learnt, "grid")
    first, again = image_plane(grid)[1], image_plane(grid)[1]
    np.testing.assert_array_equal(first, again)
    vectors, _ = read_vectors(grid, WHOLE)
    order = np.argsort(first[:, 0])
    axis = np.linalg.svd(vectors - vectors.mean(axis=0))[2][0]
    along = (vectors @ axis)[order]
    rising = along[-1] > along[0]
    assert all((b >= a - 1e-5) if rising else (b <= a + 1e-5) for a, b in pairwise(along))


def test_large_library_is_shown_in_part_and_too_small_a_one_not_at_all(
    learnt: VectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = find_category(learnt, "grid")
    monkeypatch.setattr(projection, "MOST_MAPPED", 7)
    images, places = image_plane(grid)
    assert len(images) == len(places) == 7
    last_two = list(read_images(grid))[:-2]
    learnt.delete(grid.images, {"image_id": last_two})
    images, places = image_plane(grid)
    assert (images, places.shape) == ([], (0, 2))
