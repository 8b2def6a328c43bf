from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from indexer.knn import exact_index, pca
from indexer.knn.exact_index import ExactIndex
from indexer.knn.reference import all_distances
from tests.indexer.knn.vectors import clusters, dims, normal, on_sphere, seeds, sizes

Float32 = NDArray[np.float32]

CLAIMED = 1e-4
"""Relative error of a distance that vecspect promises."""


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many groups among few vectors: what takes thousands of vectors in earnest."""
    monkeypatch.setattr(exact_index, "GROUP", 16)
    monkeypatch.setattr(pca, "ROWS", 100)


def assert_exact(bank: Float32, queries: Float32) -> None:
    nearest = ExactIndex(bank).search(queries)
    distances = all_distances(queries, bank)
    truth = distances.min(axis=1)
    # no absolute tolerance: a distance of zero must come out as exactly zero
    np.testing.assert_allclose(nearest.distances, truth, rtol=CLAIMED, atol=0)
    attained = distances[np.arange(len(queries)), nearest.indices]
    np.testing.assert_allclose(attained, truth, rtol=CLAIMED, atol=0, err_msg="wrong neighbour")
    assert nearest.distances.dtype == np.float32
    assert nearest.indices.dtype == np.int64


@settings(deadline=None, max_examples=60)
@given(seeds, sizes, dims, st.sampled_from([1, 5, 33]))
def test_random_vectors_find_their_nearest(seed: int, size: int, dim: int, queries: int) -> None:
    assert_exact(normal(seed, size, dim), normal(seed + 1, queries, dim))


@settings(deadline=None, max_examples=150)
@given(seeds, sizes, dims, st.integers(-3, 6), st.integers(0, 9))
@example(seed=0, size=150, dim=3, magnitude=3, tightness=7)
def test_tight_clusters_far_apart_find_their_nearest(
    seed: int, size: int, dim: int, magnitude: int, tightness: int
) -> None:
    apart = 10.0**magnitude
    bank, queries = clusters(
        seed, size=size, queries=20, dim=dim, apart=apart, spread=apart * 10.0**-tightness
    )
    assert_exact(bank, queries)


@settings(deadline=None, max_examples=40)
@given(seeds, sizes, dims)
def test_bank_shifted_far_from_the_origin_finds_its_nearest(seed: int, size: int, dim: int) -> None:
    offset = np.float32(1e3)
    assert_exact(
        offset + np.float32(1e-3) * normal(seed, size, dim),
        offset + np.float32(1e-3) * normal(seed + 1, 20, dim),
    )


@settings(deadline=None, max_examples=60)
@given(seeds, sizes, st.sampled_from([1, 3, 65]), st.floats(-15, 15))
def test_scale_does_not_matter(seed: int, size: int, dim: int, exponent: float) -> None:
    scale = np.float32(10.0**exponent)
    assert_exact(normal(seed, size, dim) * scale, normal(seed + 1, 20, dim) * scale)


@settings(deadline=None, max_examples=40)
@given(seeds, dims)
def test_vectors_on_a_grid_with_ties_and_duplicates_find_a_nearest(seed: int, dim: int) -> None:
    rng = np.random.default_rng(seed)
    bank, queries = (rng.integers(-2, 3, (n, dim)).astype(np.float32) for n in (150, 30))
    assert_exact(bank, queries)


@settings(deadline=None, max_examples=60)
@given(seeds, st.sampled_from([2, 70, 100]), st.integers(2, 8))
def test_query_amid_equally_far_vectors_finds_its_nearest(seed: int, dim: int, digits: int) -> None:
    assert_exact(on_sphere(seed, 150, dim, 10.0, 10.0**-digits), normal(seed + 1, 10, dim) * 1e-3)


@settings(deadline=None, max_examples=40)
@given(seeds, st.sampled_from([2, 66, 100]), st.integers(1, 12))
def test_far_query_finds_its_nearest(seed: int, dim: int, magnitude: int) -> None:
    queries = normal(seed + 1, 10, dim) * np.float32(10.0**magnitude)
    assert_exact(normal(seed, 150, dim), queries)


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(1, 7))
def test_rest_beside_the_axes_does_not_mislead(seed: int, digits: int) -> None:
    """The bank is flat but for a hair; some queries lie in the flat, others stand off it."""
    rng = np.random.default_rng(seed)
    basis = rng.standard_normal((40, 120))
    hair = 10.0**-digits
    bank = rng.standard_normal((150, 40)) @ basis + hair * rng.standard_normal((150, 120))
    near = bank[:10] + hair * rng.standard_normal((10, 120))
    off = bank[:10] + 30 * rng.standard_normal((10, 120))
    assert_exact(bank.astype(np.float32), np.vstack([near, off]).astype(np.float32))


@pytest.mark.parametrize("kind", ["random", "clustered", "tied"])
@pytest.mark.parametrize("many", [-1, 0.1, 1], ids=["all", "some", "none"])
@settings(deadline=None, max_examples=25)
@given(seed=seeds, dim=dims)
def test_nearest_is_kept_whether_all_some_or_no_queries_go_at_full_length(
    kind: str, many: float, seed: int, dim: int
) -> None:
    bank, queries = normal(seed, 150, dim), normal(seed + 1, 20, dim)
    if kind == "clustered":
        bank, queries = clusters(seed, size=150, queries=20, dim=dim, apart=1e3, spread=1e-3)
    if kind == "tied":
        bank, queries = np.rint(bank), np.rint(queries)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact_index, "MANY", many)
        patch.setattr(exact_index, "SAMPLE", 50)
        patch.setattr(exact_index, "PLACES", 33)
        assert_exact(bank, queries)


@pytest.mark.parametrize("at_a_time", [1, 2, 3, 10, 31])
def test_chunk_boundaries_lose_no_query(monkeypatch: pytest.MonkeyPatch, at_a_time: int) -> None:
    monkeypatch.setattr(exact_index, "QUERIES", at_a_time)
    for queries in (1, 2, 3, 31):
        assert_exact(normal(0, 150, 70), normal(1, queries, 70))


def test_bank_vectors_lie_at_exactly_zero_whatever_their_norm() -> None:
    bank = normal(0, 200, 90) * np.logspace(-6, 12, 200, dtype=np.float32)[:, None]
    nearest = ExactIndex(bank).search(bank.copy())
    assert (nearest.distances == 0).all()
    assert nearest.indices.tolist() == list(range(200))


def test_one_step_of_float32_away_is_not_zero() -> None:
    """The bank's mean is far from either vector: a distance taken about it would round to zero."""
    bank = np.array([[1000.0, 0.0], [-4000.0, 0.0]], dtype=np.float32)
    query = np.array([[np.nextafter(np.float32(1000), np.float32(2000)), 0.0]], dtype=np.float32)
    assert ExactIndex(bank).search(query).distances[0] == query[0, 0] - bank[0, 0] > 0


def test_many_identical_bank_vectors_are_all_the_nearest() -> None:
    bank = np.repeat(normal(0, 1, 20), 500, axis=0)
    nearest = ExactIndex(bank).search(np.vstack([bank[:1], bank[:1] + 1]))
    assert nearest.distances == pytest.approx([0, np.sqrt(20)], rel=1e-6)


@pytest.mark.parametrize("times", [0.5, 1.0, 1.999, 2.001, 50.0])
def test_query_of_any_length_beside_the_longest_bank_vector_finds_its_nearest(
    times: float,
) -> None:
    """Coarse values have 16 bits, which hold twice the longest; beyond, they are not used."""
    bank = normal(0, 150, 90)
    longest = np.linalg.norm(bank - bank.mean(axis=0), axis=1).max()
    directions = normal(1, 20, 90)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    assert_exact(bank, bank.mean(axis=0) + np.float32(times * longest) * directions)
    axis = bank[np.linalg.norm(bank - bank.mean(axis=0), axis=1).argmax()] - bank.mean(axis=0)
    assert_exact(bank, (bank.mean(axis=0) - np.float32(times) * axis)[None])


def test_no_query_gives_no_distance() -> None:
    nearest = ExactIndex(normal(0, 10, 4)).search(np.empty((0, 4), dtype=np.float32))
    assert nearest.distances.shape == nearest.indices.shape == (0,)


def test_distance_does_not_depend_on_the_other_queries() -> None:
    index, queries = ExactIndex(normal(0, 300, 80)), normal(1, 40, 80)
    together = index.search(queries)
    alone = [index.search(queries[i : i + 1]) for i in range(40)]
    assert together.distances.tolist() == [a.distances[0] for a in alone]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_values_that_are_not_finite_or_too_large_are_refused(value: float) -> None:
    good, bad = normal(0, 5, 3), normal(1, 5, 3)
    bad[2, 1] = value
    with pytest.raises(ValueError, match="the bank holds values that are not finite or too large"):
        ExactIndex(bad)
    with pytest.raises(ValueError, match="the queries hold values that are not finite or too"):
        ExactIndex(good).search(bad)


def test_bank_of_the_wrong_shape_is_refused() -> None:
    for shape in ((3,), (0, 3), (2, 2, 3)):
        with pytest.raises(ValueError, match=r"shape \(M, D\) with M >= 1, got"):
            ExactIndex(np.zeros(shape, dtype=np.float32))


def test_queries_of_the_wrong_shape_are_refused() -> None:
    for shape in ((3,), (2, 4), (1, 2, 4)):
        with pytest.raises(ValueError, match=r"queries must have shape \(\.\.\., 3\), got"):
            ExactIndex(normal(0, 5, 3)).search(np.zeros(shape, dtype=np.float32))


@pytest.mark.parametrize(("rows", "cols", "bank"), [(1, 1, 1), (3, 5, 20), (4, 2, 700)])
def test_each_cell_has_the_distance_to_its_nearest_patch_and_which_that_is(
    rows: int, cols: int, bank: int
) -> None:
    rng = np.random.default_rng(bank)
    patches = rng.normal(size=(rows, cols, 8)).astype(np.float32)
    vectors = rng.normal(size=(bank, 8)).astype(np.float32)
    found = ExactIndex(vectors).search(patches)
    apart = np.linalg.norm(patches[:, :, None].astype(np.float64) - vectors, axis=3)
    np.testing.assert_allclose(found.distances, apart.min(axis=2), rtol=1e-5)
    np.testing.assert_array_equal(found.indices, apart.argmin(axis=2))
    assert found.distances.dtype == np.float32


def test_patches_of_the_bank_lie_at_distance_zero_of_themselves() -> None:
    patches = np.random.default_rng(0).normal(size=(4, 6, 8)).astype(np.float32)
    found = ExactIndex(patches.reshape(-1, 8)).search(patches)
    assert not found.distances.any()
    np.testing.assert_array_equal(found.indices, np.arange(24).reshape(4, 6))


def test_threads_that_search_together_find_what_one_finds() -> None:
    rng = np.random.default_rng(0)
    index = ExactIndex(rng.normal(size=(3000, 96)).astype(np.float32))
    queries = rng.normal(size=(8, 300, 96)).astype(np.float32)
    expected = [index.search(part) for part in queries]
    with ThreadPoolExecutor(8) as pool:
        for found, want in zip(pool.map(index.search, queries), expected, strict=True):
            np.testing.assert_array_equal(found.distances, want.distances)
            np.testing.assert_array_equal(found.indices, want.indices)
    with index._cores() as first, index._cores() as second:
        assert (first, second) == (exact_index._cores(), max(1, exact_index._cores() // 2))
