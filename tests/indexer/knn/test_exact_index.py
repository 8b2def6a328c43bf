from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from indexer.knn import exact_index, skip_bounds
from indexer.knn.exact_index import ExactIndex
from indexer.knn.kernels import COARSE, LANES, PADDING
from indexer.knn.skip_bounds import (
    BOX_AXES,
    LONGEST,
    Shortener,
    coarsen,
    lay_out,
    rounding_of,
    split_into_groups,
)

Float32 = NDArray[np.float32]

CLAIMED = 1e-4
"""Relative error of a distance that vecspect promises."""


def all_distances(queries: Float32, bank: Float32) -> NDArray[np.float64]:
    """(Q, M), straight from the definition in float64."""
    difference = queries[:, None].astype(np.float64) - bank[None].astype(np.float64)
    return np.asarray(np.linalg.norm(difference, axis=2))


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many groups among few vectors: what takes thousands of vectors in earnest."""
    monkeypatch.setattr(exact_index, "GROUP", 16)
    monkeypatch.setattr(skip_bounds, "ROWS", 100)


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


def normal(seed: int, *shape: int) -> Float32:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def clusters(
    seed: int, *, size: int, queries: int, dim: int, apart: float, spread: float
) -> tuple[Float32, Float32]:
    """A bank of three tight clusters far apart, and queries among them."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((3, dim)) * apart

    def draw(count: int) -> Float32:
        chosen = centres[rng.integers(3, size=count)]
        drawn = (chosen + spread * rng.standard_normal((count, dim))).astype(np.float32)
        return np.asarray(drawn)

    return draw(size), draw(queries)


sizes = st.sampled_from([1, 2, 7, 150])
dims = st.sampled_from([1, 2, 3, 40, 63, 64, 65, 100])
seeds = st.integers(0, 2**16)


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


def on_sphere(seed: int, size: int, dim: int, radius: float, jitter: float) -> Float32:
    """(size, dim) vectors, all almost as far from the origin: every lower bound is about equal."""
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((size, dim))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    radii = radius * (1 + jitter * rng.standard_normal((size, 1)))
    return np.asarray((directions * radii).astype(np.float32))


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


@settings(deadline=None, max_examples=60)
@given(
    seed=seeds,
    dim=st.sampled_from([2, 40, 129, 200]),
    tightness=st.integers(0, 7),
    magnitude=st.integers(-6, 6),
)
def test_no_bound_exceeds_the_distance_it_bounds(
    seed: int, dim: int, tightness: int, magnitude: int
) -> None:
    """What the certificate rests on, with the rounding that it allows for and no more."""
    apart = 10.0**magnitude
    bank, queries = clusters(
        seed, size=90, queries=20, dim=dim, apart=apart, spread=apart * 10.0**-tightness
    )
    shortener = Shortener(bank)
    short, query = shortener.shorten(bank), shortener.shorten(queries)
    lengths = np.sqrt(query.squared) + np.sqrt(short.squared.max())
    allowed = (all_distances(queries, bank) + rounding_of(lengths, dim)[:, None]) * (1 + 1e-6)
    assert (all_distances(query.values, short.values) <= allowed).all()
    unit = float(lengths.max()) / LONGEST or 1.0
    coarse, coarse_query = coarsen(short.values, unit), coarsen(query.values, unit)
    steps = all_distances(coarse_query.values.astype(np.float32), coarse.values.astype(np.float32))
    bounds = unit * (steps - coarse_query.error[:, None] - coarse.error)
    assert (bounds <= allowed).all()
    for group in split_into_groups(short.values[:, :BOX_AXES], 8):
        boxed, asked = short.values[group, :BOX_AXES], query.values[:, :BOX_AXES]
        beyond = np.maximum(0, np.maximum(boxed.min(axis=0) - asked, asked - boxed.max(axis=0)))
        assert (np.linalg.norm(beyond, axis=1) <= allowed[:, group].min(axis=1)).all()


@pytest.mark.parametrize("dim", [1, 5, 62, 63, 64, 200])
def test_short_vector_is_as_long_as_the_full_one_and_the_coarse_one_but_for_rounding(
    dim: int,
) -> None:
    vectors, shortener = normal(1, 20, dim), Shortener(normal(0, 300, dim))
    lengths = np.linalg.norm(vectors - shortener.mean, axis=1)
    short = shortener.shorten(vectors).values
    np.testing.assert_allclose(np.linalg.norm(short, axis=1), lengths, rtol=1e-6)
    unit = float(lengths.max()) / LONGEST
    coarse = coarsen(short, unit)
    off = np.abs(np.sqrt(coarse.squared.astype(np.float64)) - lengths / unit)
    assert (off <= coarse.error + 1e-2).all()
    assert coarse.error.max() <= np.sqrt(COARSE) / 2


def test_blocks_hold_every_vector_once_in_pairs_of_values() -> None:
    bank = normal(0, 50, 70)
    short = Shortener(bank).shorten(bank).values
    coarse = coarsen(short, 1e-3)
    laid = lay_out(bank, short, coarse, 12)
    assert sorted(laid.rows[laid.rows != PADDING]) == list(range(50))
    for place, row in enumerate(laid.rows):
        values = laid.coarse[place // LANES, :, place % LANES].ravel()
        half = laid.halves[place // LANES, place % LANES]
        if row == PADDING:
            assert not values.any()
            assert half == -(2**30)
        else:
            assert values.tolist() == coarse.values[row].tolist()
            assert half == -(coarse.squared[row] // 2)


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


@pytest.mark.parametrize("size", [1, 8, 9, 50, 64])
def test_every_vector_is_in_one_group_of_at_most_the_size_asked_for(size: int) -> None:
    groups = split_into_groups(normal(0, size, 5), 8)
    assert sorted(np.concatenate(groups)) == list(range(size))
    lengths = [len(group) for group in groups]
    assert min(lengths) >= 1
    assert max(lengths) <= 8


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
    for shape in ((3,), (2, 4), (1, 2, 3)):
        with pytest.raises(ValueError, match=r"queries must have shape \(Q, 3\), got"):
            ExactIndex(normal(0, 5, 3)).search(np.zeros(shape, dtype=np.float32))
