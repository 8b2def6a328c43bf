"""Arrays cached with a category come back as they were, whatever their size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

import numpy as np
import pytest

from indexer.catalog import cached_arrays
from indexer.catalog.cached_arrays import (
    PIECE_BYTES,
    REQUEST_BYTES,
    Float32,
    Kind,
    as_cached,
    read_cached,
    write_cached,
)
from indexer.catalog.category import Category
from indexer.catalog.revisions import end
from indexer.store.base import Point, VectorStore
from indexer.store.open import open_store
from tests.indexer.world import CACHED, a_category

HALF: tuple[Kind, ...] = ("patches", "projections", "synthetic")
EXACT: tuple[Kind, ...] = ("axes", "whitening", "distances", "synthetic distances", "quality")


@pytest.fixture
def category() -> Iterator[Category]:
    with open_store(":memory:") as store:
        yield a_category(store)


def array(*shape: int, seed: int = 0) -> Float32:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("kind", EXACT)
def test_measured_values_come_back_to_the_last_bit(category: Category, kind: Kind) -> None:
    given = array(5, 7) * np.float32(1e-6)
    write_cached(category, kind, [("a", given)])
    ((key, found),) = read_cached(category, kind)
    assert (key, found.dtype.name, found.shape) == ("a", "float32", (5, 7))
    assert found.tobytes() == given.tobytes() == as_cached(kind, given).tobytes()


@pytest.mark.parametrize("kind", HALF)
def test_embeddings_are_rounded_to_eleven_bits_and_as_cached_says_how(
    category: Category, kind: Kind
) -> None:
    given = array(6, 6, 8) * 10
    write_cached(category, kind, [("a", given)])
    ((_, found),) = read_cached(category, kind)
    assert found.dtype == np.float32
    assert found.tobytes() == as_cached(kind, given).tobytes()
    # half of the last of eleven bits, and what is lost below the smallest float16
    assert (np.abs(found - given) <= np.abs(given) * 2.0**-11 + 2.0**-25).all()
    assert (found != given).any()


@pytest.mark.parametrize("pieces", [1, 2, 5])
def test_array_of_several_pieces_comes_back_whole(
    category: Category, monkeypatch: pytest.MonkeyPatch, pieces: int
) -> None:
    monkeypatch.setattr(cached_arrays, "PIECE_BYTES", 100)
    given = {f"{number}": array(25 * pieces - 1, seed=number) for number in range(12)}
    write_cached(category, "distances", given.items())
    points = list(category.store.scroll(CACHED))
    assert len(points) == 12 * pieces
    assert {(point.payload["piece"], point.payload["pieces"]) for point in points} == {
        (number, pieces) for number in range(pieces)
    }
    found = dict(read_cached(category, "distances"))
    assert set(found) == set(given)
    assert all(found[key].tobytes() == given[key].tobytes() for key in given)


def test_array_of_a_large_image_is_cut_below_the_limit_of_a_request(category: Category) -> None:
    requests: list[int] = []

    class Weighing:
        def __getattr__(self, name: str) -> Any:
            return getattr(category.store, name)

        def upsert(self, name: str, points: Iterable[Point]) -> None:
            points = list(points)
            requests.append(sum(len(str(point.payload["data"])) for point in points))
            category.store.upsert(name, points)

    patches = array(64, 48, 384)  # 2.25 pieces as float16
    weighing = Category(cast(VectorStore, Weighing()), category.entry)
    write_cached(weighing, "patches", [(key, patches) for key in "abc"])
    whole, rest = divmod(patches.size * 2, PIECE_BYTES)
    assert (whole, rest > 0) == (2, True)
    assert len(requests) > 1
    assert max(requests) <= REQUEST_BYTES * 4 / 3 + 4
    assert category.store.count(CACHED) == 9
    for _, found in read_cached(category, "patches"):
        assert found.tobytes() == as_cached("patches", patches).tobytes()


def test_only_the_images_asked_for_are_read_of_the_kind_asked_for(category: Category) -> None:
    for kind in EXACT:
        write_cached(category, kind, [(key, array(3, seed=len(kind))) for key in "abc"])
    found = dict(read_cached(category, "quality", ["c", "a", "unknown"]))
    assert set(found) == {"a", "c"}
    assert found["a"].tobytes() == array(3, seed=len("quality")).tobytes()
    assert dict(read_cached(category, "patches")) == {}


def test_more_arrays_than_one_request_reads_all_come_back(category: Category) -> None:
    given = {f"{number}": array(2, seed=number) for number in range(70)}
    write_cached(category, "projections", given.items())
    found = dict(read_cached(category, "projections"))
    assert {key: row.tobytes() for key, row in found.items()} == {
        key: as_cached("projections", row).tobytes() for key, row in given.items()
    }


def test_empty_array_and_no_array_at_all_are_fine(category: Category) -> None:
    write_cached(category, "distances", [])
    assert category.store.count(CACHED) == 0
    write_cached(category, "distances", [("a", np.zeros((0, 4), np.float32))])
    ((_, found),) = read_cached(category, "distances")
    assert found.shape == (0, 4)


def test_array_that_takes_anothers_place_is_read_from_its_revision_on(
    category: Category, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cached_arrays, "PIECE_BYTES", 16)
    first, second = array(9), array(3, seed=1)
    write_cached(category, "distances", [("a", first)])
    after = category.following("measure", "a")
    end(category, CACHED, {"image_id": "a", "kind": "distances"})
    write_cached(after, "distances", [("a", second)])
    ((_, now),), ((_, then),) = read_cached(category, "distances"), read_cached(after, "distances")
    assert now.tobytes() == first.tobytes()
    assert then.tobytes() == second.tobytes()


def test_writing_the_same_arrays_twice_changes_nothing(category: Category) -> None:
    for _ in range(2):
        write_cached(category, "quality", [("a", array(2))])
    assert category.store.count(CACHED) == 1
