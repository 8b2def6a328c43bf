from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from indexer.bank import coreset
from indexer.bank.coreset import PatchSampler, greedy_k_center, project

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


@pytest.fixture(autouse=True)
def small_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many passes with few points: what takes millions of patches in earnest."""
    monkeypatch.setattr(coreset, "POOL", 64)
    monkeypatch.setattr(coreset, "ROWS", 100)


def whole_numbers(seed: int, count: int, dim: int) -> Float32:
    """(count, dim) points with mean 0, whose distances float32 computes without rounding."""
    rng = np.random.default_rng(seed)
    half = rng.integers(-400, 401, (count // 2, dim))
    return np.vstack([half, -rng.permuted(half, axis=0)]).astype(np.float32)


def to_nearest(points: Float32, picks: NDArray[np.int64]) -> Float64:
    """(N,) squared distance to the nearest of the picks, from the definition."""
    x = points.astype(np.float64)
    return np.asarray(((x[:, None] - x[picks]) ** 2).sum(axis=2).min(axis=1))


def plain_greedy(points: Float32, count: int, first: int) -> list[int]:
    """Gonzalez' loop: one farthest point after the other."""
    x = points.astype(np.float64)
    picks = [first]
    nearest = ((x - x[first]) ** 2).sum(axis=1)
    while len(picks) < count:
        picks.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, ((x - x[picks[-1]]) ** 2).sum(axis=1))
    return picks


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("dim", [3, 16])
def test_picks_are_those_of_the_plain_loop(seed: int, dim: int) -> None:
    points = whole_numbers(seed, 900, dim)
    picks = greedy_k_center(points, 120, seed=seed).indices.tolist()
    assert picks == plain_greedy(points, 120, first=picks[0])


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**16),
    dim=st.integers(1, 8),
    distinct=st.integers(2, 400),
    copies=st.integers(1, 5),
)
def test_every_pick_is_a_farthest_point_from_those_before(
    seed: int, dim: int, distinct: int, copies: int
) -> None:
    points = np.tile(whole_numbers(seed, 2 * (distinct // 2), dim), (copies, 1))
    picks = greedy_k_center(points, 30, seed=seed).indices
    for step in range(1, len(picks)):
        nearest = to_nearest(points, picks[:step])
        assert nearest[picks[step]] == nearest.max() > 0


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**16),
    dim=st.sampled_from([1, 5, 128]),
    distinct=st.integers(1, 20),
    copies=st.integers(1, 40),
    scale=st.sampled_from([1e-6, 1.0, 1e6]),
)
def test_duplicates_are_never_picked_twice_and_never_left_out(
    seed: int, dim: int, distinct: int, copies: int, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    different = (rng.permutation(distinct)[:, None] + rng.random((distinct, dim)) / 2) * scale
    owner = rng.permutation(np.repeat(np.arange(distinct), copies))
    picks = greedy_k_center(different[owner].astype(np.float32), len(owner), seed=seed)
    assert sorted(owner[picks.indices]) == list(range(distinct))
    assert picks.radius == 0


def test_field_of_duplicates_larger_than_the_pool_does_not_end_the_selection() -> None:
    """Black borders: thousands of identical patches, all equally far from the first pick."""
    points = np.repeat(np.eye(4, dtype=np.float32), 3 * coreset.POOL, axis=0)
    picks = greedy_k_center(points, 4, seed=0)
    assert sorted(picks.indices // (3 * coreset.POOL)) == [0, 1, 2, 3]


def test_one_outlier_does_not_make_the_others_look_alike() -> None:
    points = np.random.default_rng(0).standard_normal((500, 8)).astype(np.float32)
    points[7] *= 1e3
    assert sorted(greedy_k_center(points, 500, seed=0).indices) == list(range(500))


@pytest.mark.parametrize("dim", [2, 40])
def test_radius_is_the_largest_distance_to_the_nearest_pick(dim: int) -> None:
    points = np.random.default_rng(1).standard_normal((700, dim)).astype(np.float32) + 3
    picks = greedy_k_center(points, 50, seed=3)
    truth = np.sqrt(to_nearest(points, picks.indices).max())
    assert picks.radius == pytest.approx(truth, rel=1e-5)


def test_radius_is_at_most_twice_the_best_possible() -> None:
    """Gonzalez' guarantee, against the best of all pairs."""
    points = whole_numbers(0, 40, 2)
    pairs = [np.array([a, b]) for a in range(40) for b in range(a)]
    best = min(np.sqrt(to_nearest(points, pair).max()) for pair in pairs)
    assert all(greedy_k_center(points, 2, seed=s).radius <= 2 * best for s in range(10))


def test_same_seed_gives_the_same_picks_and_another_seed_others() -> None:
    points = np.random.default_rng(0).standard_normal((500, 6)).astype(np.float32)
    first, again, other = (greedy_k_center(points, 40, seed=s) for s in (5, 5, 6))
    assert first.indices.tolist() == again.indices.tolist()
    assert first.radius == again.radius
    assert first.indices[0] != other.indices[0]


def test_points_given_are_left_unchanged() -> None:
    points = np.random.default_rng(0).standard_normal((300, 6)).astype(np.float32)
    before = points.copy()
    greedy_k_center(points, 40, seed=0)
    assert np.array_equal(points, before)


@pytest.mark.parametrize("count", [150, 151, 10_000])
def test_asking_for_all_or_more_picks_every_point_once(count: int) -> None:
    points = np.random.default_rng(0).standard_normal((150, 4)).astype(np.float32)
    assert sorted(greedy_k_center(points, count, seed=0).indices) == list(range(150))


def test_fewer_picks_are_the_beginning_of_more() -> None:
    points = whole_numbers(0, 600, 5)
    few, many = (greedy_k_center(points, n, seed=0).indices.tolist() for n in (17, 90))
    assert many[:17] == few


@pytest.mark.parametrize("count", [0, -3])
def test_count_below_one_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"count must be at least 1 .* got {count} of 5"):
        greedy_k_center(np.zeros((5, 2), dtype=np.float32), count, seed=0)


def test_no_points_are_refused() -> None:
    with pytest.raises(ValueError, match="got 0 of 0"):
        greedy_k_center(np.zeros((0, 2), dtype=np.float32), 3, seed=0)


def test_progress_rises_to_the_count() -> None:
    seen: list[tuple[int, int]] = []
    greedy_k_center(
        whole_numbers(0, 600, 5), 90, seed=0, on_progress=lambda *step: seen.append(step)
    )
    assert [total for _, total in seen] == [90] * len(seen)
    done = [done for done, _ in seen]
    assert done == sorted(done)
    assert done[-1] == 90


def test_projection_keeps_distances_roughly() -> None:
    patches = np.random.default_rng(0).standard_normal((60, 1000)).astype(np.float32)
    short = project(patches, seed=0)
    assert short.shape == (60, 128)
    assert short.dtype == np.float32
    upper = np.triu_indices(60, k=1)
    before, after = (np.linalg.norm(x[:, None] - x[None], axis=2)[upper] for x in (patches, short))
    assert np.abs(after / before - 1).max() < 0.35  # five deviations of 1 / sqrt(2 * 128)
    assert np.mean(after / before) == pytest.approx(1, abs=0.03)


def test_projection_depends_on_the_seed_alone() -> None:
    patches = np.random.default_rng(0).standard_normal((5, 300)).astype(np.float32)
    assert np.array_equal(project(patches, seed=1), project(patches, seed=1))
    assert not np.array_equal(project(patches, seed=1), project(patches, seed=2))
    assert np.allclose(project(patches[2:3], seed=1), project(patches, seed=1)[2:3], atol=1e-5)


def test_short_patches_are_not_projected() -> None:
    patches = np.random.default_rng(0).standard_normal((5, 128)).astype(np.float32)
    assert np.array_equal(project(patches, seed=1), patches)


def sampled(
    points: Float32, share: float, *, image: int = 30, seed: int = 0
) -> tuple[Float32, coreset.Coreset]:
    """What the sampler chooses of points that come ``image`` at a time."""
    sampler = PatchSampler(share=share, seed=seed, expected=len(points), dim=points.shape[1])
    for start in range(0, len(points), image):
        sampler.add(points[start : start + image])
    return sampler.choose()


def in_chunks_of(monkeypatch: pytest.MonkeyPatch, rows: int, dim: int) -> None:
    monkeypatch.setattr(coreset, "CHUNK_BYTES", rows * dim * 4)


@pytest.mark.parametrize("share", [0.01, 0.1, 1.0])
def test_patches_of_one_chunk_are_chosen_as_by_one_selection(share: float) -> None:
    points = np.random.default_rng(0).standard_normal((700, 200)).astype(np.float32)
    vectors, chosen = sampled(points, share, seed=3)
    plain = greedy_k_center(project(points, 3), round(share * 700), seed=3)
    assert chosen.indices.tolist() == plain.indices.tolist()
    assert chosen.radius == plain.radius
    assert np.array_equal(vectors, points[plain.indices])


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**16),
    count=st.integers(1, 600),
    rows=st.integers(5, 300),
    image=st.integers(1, 100),
    share=st.sampled_from([0.02, 0.1, 0.5, 1.0]),
)
def test_every_patch_lies_within_the_radius_stated_whatever_the_chunks(
    seed: int, count: int, rows: int, image: int, share: float
) -> None:
    points = np.random.default_rng(seed).standard_normal((count, 6)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        in_chunks_of(patch, rows, 6)
        vectors, chosen = sampled(points, share, image=image, seed=seed)
    assert len(set(chosen.indices.tolist())) == len(vectors)
    # every chunk has one pick at least
    assert max(1, round(share * count)) <= len(vectors) <= round(share * count) + -(-count // rows)
    assert np.array_equal(vectors, points[chosen.indices])
    farthest = np.sqrt(to_nearest(points, chosen.indices).max())
    assert farthest <= chosen.radius * (1 + 1e-4) + 1e-6


def test_chunks_cover_nearly_as_well_as_one_selection(monkeypatch: pytest.MonkeyPatch) -> None:
    """In 40 dimensions: patches vary about as much. The fewer, the more a chunk misses."""
    points = np.random.default_rng(0).standard_normal((4000, 40)).astype(np.float32)
    plain = np.sqrt(to_nearest(points, sampled(points, 0.1)[1].indices).max())
    in_chunks_of(monkeypatch, 500, 40)
    chunked = np.sqrt(to_nearest(points, sampled(points, 0.1)[1].indices).max())
    assert chunked <= 1.1 * plain


def test_sampler_never_holds_more_than_a_chunk_and_what_it_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Memory measured: 20,000 images, of which at most the bank and a chunk are ever held."""
    dim, image, images, chunk = 16, 8, 20_000, 20_000
    in_chunks_of(monkeypatch, chunk, dim)
    monkeypatch.setattr(coreset, "POOL", 1000)
    rng = np.random.default_rng(0)
    tracemalloc.start()
    try:
        sampler = PatchSampler(share=0.005, seed=0, expected=image * images, dim=dim)
        for _ in range(images):
            sampler.add(rng.standard_normal((image, dim), dtype=np.float32))
        vectors, _ = sampler.choose()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(vectors) == 800
    # the chunk, its copy about the mean and the distances to its picks; not 160,000 patches
    assert peak < 3.5 * chunk * dim * 4 < image * images * dim * 4 / 2
