"""What every VectorStore must do, on the embedded engine, the client's memory mode, and a server.

The server runs when QDRANT_URL (and QDRANT_API_KEY, if it wants one) is set.
"""

import os
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from indexer.store.base import (
    Not,
    PayloadIndex,
    Point,
    Range,
    StoreError,
    VectorParams,
    VectorStore,
    Where,
    read_matrix,
)
from indexer.store.open import open_store

VECTORS = {
    "patch": VectorParams(8, "euclid", indexed=False),
    "whole": VectorParams(3, "cosine", indexed=True),
}
INDEXES: dict[str, PayloadIndex] = {
    "image_id": "keyword",
    "row": "integer",
    "score": "float",
    "good": "bool",
    "added_at": "datetime",
}
PREFIX = f"contract-{uuid.uuid4().hex[:8]}--"
NAME = f"{PREFIX}bank"
EVERYTHING = {"no such field": Not("x")}


def _need_server() -> str:
    url = os.environ.get("QDRANT_URL")
    if not url:
        pytest.skip("no server to test against: QDRANT_URL is not set")
    return url


@pytest.fixture(scope="module", params=["edge", "memory", "server"])
def opened(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[VectorStore]:
    kind = request.param
    if kind == "server":
        location = _need_server()
    else:
        location = ":memory:" if kind == "memory" else str(tmp_path_factory.mktemp("edge"))
    with open_store(location, api_key=os.environ.get("QDRANT_API_KEY")) as opened:
        yield opened
        for name in opened.collections():
            if name.startswith(PREFIX):
                opened.delete_collection(name)


@pytest.fixture
def store(opened: VectorStore) -> VectorStore:
    """A store with one empty collection, emptied rather than made again: that takes a second."""
    opened.create_collection(NAME, VECTORS, INDEXES)
    opened.delete(NAME, EVERYTHING)
    return opened


def _id(number: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(number)))


def _points(count: int, seed: int = 0) -> list[Point]:
    """Every third point has no `whole` vector."""
    rng = np.random.default_rng(seed)
    return [
        Point(
            _id(i),
            {
                "patch": rng.normal(size=8).astype(np.float32),
                **({"whole": rng.normal(size=3).astype(np.float32)} if i % 3 else {}),
            },
            {"image_id": f"image {i // 4}", "row": i, "score": i / 2, "good": i % 2 == 0},
        )
        for i in range(count)
    ]


def _rows(store: VectorStore, where: Where | None = None) -> list[object]:
    return sorted(point.payload["row"] for point in store.scroll(NAME, where))  # type: ignore[type-var]


def _contents(store: VectorStore) -> list[object]:
    return [
        (p.id, dict(p.payload), {key: v.round(5).tolist() for key, v in p.vectors.items()})
        for p in store.scroll(NAME, with_vectors=True)
    ]


def test_collections_are_listed_sorted_and_deleted_for_good(store: VectorStore) -> None:
    store.create_collection(f"{PREFIX}another", {}, {})
    ours = [name for name in store.collections() if name.startswith(PREFIX)]
    assert ours == [f"{PREFIX}another", NAME]
    store.delete_collection(f"{PREFIX}another")
    store.upsert(NAME, _points(3))
    store.delete_collection(NAME)
    store.delete_collection(NAME)
    assert NAME not in store.collections()
    store.create_collection(NAME, VECTORS, INDEXES)
    assert store.count(NAME) == 0


def test_creating_again_keeps_the_points_and_adds_indexes(store: VectorStore) -> None:
    store.upsert(NAME, _points(3))
    store.create_collection(NAME, VECTORS, {**INDEXES, "a new field": "keyword"})
    assert store.count(NAME) == 3
    assert store.vector_params(NAME) == VECTORS
    if store.location != ":memory:":
        assert store.payload_indexes(NAME) == {**INDEXES, "a new field": "keyword"}


@pytest.mark.parametrize(
    "vectors",
    [
        {**VECTORS, "patch": VectorParams(9, "euclid", indexed=False)},
        {**VECTORS, "patch": VectorParams(8, "dot", indexed=False)},
        {"patch": VECTORS["patch"]},
    ],
)
def test_creating_with_other_vectors_is_refused(
    store: VectorStore, vectors: Mapping[str, VectorParams]
) -> None:
    with pytest.raises(StoreError, match="patch 8 euclid"):
        store.create_collection(NAME, vectors, INDEXES)


def test_a_collection_may_have_no_vectors(store: VectorStore) -> None:
    name = f"{PREFIX}catalog"
    store.create_collection(name, {}, {})
    store.upsert(name, [Point(_id(1), {}, {"category": "tile"})])
    assert [p.payload for p in store.scroll(name)] == [{"category": "tile"}]


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "a b", "é", "x" * 201])
def test_a_bad_collection_name_is_refused(store: VectorStore, name: str) -> None:
    with pytest.raises(StoreError, match="bad collection name"):
        store.create_collection(name, VECTORS, {})


def test_points_come_back_as_written(store: VectorStore) -> None:
    points = _points(5)
    store.upsert(NAME, iter(points))
    back = store.retrieve(NAME, [p.id for p in points], with_vectors=True)
    for point, read in zip(points, back, strict=True):
        assert (read.id, read.payload) == (point.id, point.payload)
        assert read.vectors.keys() == point.vectors.keys()
        assert read.vectors["patch"].dtype == np.float32
        np.testing.assert_array_equal(read.vectors["patch"], point.vectors["patch"])


def test_cosine_vectors_come_back_with_length_one(store: VectorStore) -> None:
    store.upsert(NAME, [Point(_id(0), {"whole": np.array([0, 3, 4], np.float32)}, {})])
    (read,) = store.retrieve(NAME, [_id(0)], with_vectors=["whole"])
    np.testing.assert_allclose(read.vectors["whole"], [0, 0.6, 0.8], rtol=1e-6)


def test_retrieve_keeps_the_order_and_leaves_out_missing_ids(store: VectorStore) -> None:
    store.upsert(NAME, _points(4))
    found = store.retrieve(NAME, [_id(3), _id(99), _id(0)])
    assert [p.id for p in found] == [_id(3), _id(0)]
    assert all(not p.vectors for p in found)
    assert store.retrieve(NAME, []) == []


def test_writing_twice_changes_nothing(store: VectorStore) -> None:
    store.upsert(NAME, _points(10))
    before = _contents(store)
    store.upsert(NAME, _points(10))
    assert _contents(store) == before
    assert store.count(NAME) == 10


def test_writing_a_point_replaces_all_of_it(store: VectorStore) -> None:
    store.upsert(NAME, _points(2))
    store.upsert(NAME, [Point(_id(1), {"patch": np.ones(8, np.float32)}, {"row": 7})])
    (read,) = store.retrieve(NAME, [_id(1)], with_vectors=True)
    assert read.payload == {"row": 7}
    assert read.vectors.keys() == {"patch"}


@pytest.mark.parametrize(
    ("point", "complaint"),
    [
        (Point("7", {}, {}), "not a UUID"),
        (Point(_id(0).upper(), {}, {}), "not a UUID"),
        (Point(_id(0), {"patch": np.ones(7, np.float32)}, {}), r"shape \(8,\), got \(7,\)"),
        (Point(_id(0), {"patch": np.full(8, np.nan, np.float32)}, {}), "NaN"),
        (Point(_id(0), {"other": np.ones(8, np.float32)}, {}), "only: patch, whole"),
        (Point(_id(0), {}, {"score": float("nan")}), "not JSON"),
        (Point(_id(0), {}, {"score": np.float32(1)}), "not JSON"),
    ],
)
def test_a_bad_point_is_refused_in_one_line(
    store: VectorStore, point: Point, complaint: str
) -> None:
    with pytest.raises(StoreError, match=complaint) as caught:
        store.upsert(NAME, [point])
    assert "\n" not in str(caught.value)
    assert store.count(NAME) == 0


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ({}, range(12)),
        ({"image_id": "image 1"}, [4, 5, 6, 7]),
        ({"row": 3}, [3]),
        ({"good": False}, [1, 3, 5, 7, 9, 11]),
        ({"good": True, "image_id": "image 0"}, [0, 2]),
        ({"image_id": ["image 0", "image 2", "none"]}, [0, 1, 2, 3, 8, 9, 10, 11]),
        ({"image_id": []}, []),
        ({"row": Range(gte=2, lt=5)}, [2, 3, 4]),
        ({"score": Range(gt=1, lte=2.5)}, [3, 4, 5]),
        ({"image_id": Not("image 1")}, [0, 1, 2, 3, 8, 9, 10, 11]),
        ({"image_id": Not(["image 0", "image 1"])}, [8, 9, 10, 11]),
        ({"row": Not(3), "image_id": "image 0"}, [0, 1, 2]),
        ({"good": Not(True)}, [1, 3, 5, 7, 9, 11]),
        ({"absent": Not("x")}, range(12)),
        ({"absent": "x"}, []),
    ],
)
def test_filters_choose_the_same_points_everywhere(
    store: VectorStore, where: Where, rows: list[int]
) -> None:
    store.upsert(NAME, _points(12))
    assert _rows(store, where) == list(rows)
    assert store.count(NAME, where) == len(rows)
    _, matrix, payloads = read_matrix(store, NAME, "patch", where)
    assert sorted(p["row"] for p in payloads) == list(rows)  # type: ignore[type-var]
    assert matrix.shape == (len(rows), 8)
    hits = store.query(NAME, np.zeros(8, np.float32), using="patch", top=20, where=where)
    assert sorted(hit.payload["row"] for hit in hits) == list(rows)  # type: ignore[type-var]


@pytest.mark.parametrize("field", ["batch no", "a.b", "größe"])
def test_filters_take_any_field_name_as_it_is(store: VectorStore, field: str) -> None:
    store.upsert(NAME, [Point(_id(0), {}, {field: "x", "a": {"b": "x"}}), Point(_id(1), {}, {})])
    assert [p.id for p in store.scroll(NAME, {field: "x"})] == [_id(0)]
    store.upsert(NAME, [Point(_id(2), {}, {field: True})])
    assert [p.id for p in store.scroll(NAME, {field: True})] == [_id(2)]


def test_a_list_in_a_payload_matches_by_any_member(store: VectorStore) -> None:
    store.upsert(NAME, [Point(_id(0), {}, {"tags": ["a", "b"]}), Point(_id(1), {}, {"tags": "c"})])
    assert [p.id for p in store.scroll(NAME, {"tags": "b"})] == [_id(0)]
    assert [p.id for p in store.scroll(NAME, {"tags": Not("b")})] == [_id(1)]


@pytest.mark.parametrize("value", [1.5, None, [1, 2], Not(1.5)])  # type: ignore[arg-type]
def test_a_condition_that_cannot_match_is_refused(store: VectorStore, value: object) -> None:
    with pytest.raises(StoreError, match="cannot match"):
        store.count(NAME, {"row": value})  # type: ignore[dict-item]


def test_scroll_pages_in_the_order_of_ids(store: VectorStore) -> None:
    points = _points(25)
    store.upsert(NAME, points)
    ids = [p.id for p in store.scroll(NAME, batch=7)]
    assert ids == sorted(p.id for p in points)
    chosen = [p.id for p in store.scroll(NAME, {"good": False, "row": Range(lt=20)}, batch=3)]
    assert chosen == sorted(_id(i) for i in range(1, 20, 2))


def test_scroll_reads_the_vectors_it_is_asked_for(store: VectorStore) -> None:
    store.upsert(NAME, _points(2))
    for asked, read in ((False, set()), (True, {"patch", "whole"}), (["whole"], {"whole"})):
        found = {key for p in store.scroll(NAME, with_vectors=asked) for key in p.vectors}
        assert found == read


def test_read_matrix_gives_rows_in_the_order_of_ids(store: VectorStore) -> None:
    points = _points(9)
    store.upsert(NAME, points)
    ids, matrix, payloads = read_matrix(store, NAME, "patch")
    by_id = {p.id: p for p in points}
    assert ids == sorted(by_id)
    assert matrix.dtype == np.float32
    assert matrix.shape == (9, 8)
    np.testing.assert_array_equal(matrix, [by_id[i].vectors["patch"] for i in ids])
    assert payloads == [by_id[i].payload for i in ids]


def test_read_matrix_leaves_out_points_without_the_vector(store: VectorStore) -> None:
    store.upsert(NAME, _points(9))
    ids, matrix, payloads = read_matrix(store, NAME, "whole")
    assert sorted(ids) == sorted(_id(i) for i in range(9) if i % 3)
    assert matrix.shape == (6, 3)
    assert len(payloads) == 6
    with pytest.raises(StoreError, match="no vector 'nope'"):
        read_matrix(store, NAME, "nope")


def test_euclid_score_is_the_exact_distance_nearest_first(store: VectorStore) -> None:
    points = _points(200)
    store.upsert(NAME, points)
    query = np.random.default_rng(1).normal(size=8).astype(np.float32)
    matrix = np.stack([p.vectors["patch"] for p in points])
    distances = np.linalg.norm(matrix - query, axis=1)
    nearest = np.argsort(distances)[:10]
    hits = store.query(NAME, query, using="patch", top=10)
    assert [hit.id for hit in hits] == [_id(int(i)) for i in nearest]
    np.testing.assert_allclose([hit.score for hit in hits], distances[nearest], rtol=1e-5)
    assert hits[0].payload == points[nearest[0]].payload


def test_cosine_score_is_the_similarity_of_points_that_have_the_vector(store: VectorStore) -> None:
    points = [p for p in _points(30) if "whole" in p.vectors]
    store.upsert(NAME, _points(30))
    query = np.array([1, 2, 3], np.float32)
    matrix = np.stack([p.vectors["whole"] for p in points])
    similarity = matrix @ query / np.linalg.norm(matrix, axis=1) / np.linalg.norm(query)
    hits = store.query(NAME, query, using="whole", top=99, exact=False)
    assert [hit.id for hit in hits] == [points[i].id for i in np.argsort(-similarity)]
    np.testing.assert_allclose([h.score for h in hits], np.sort(similarity)[::-1], atol=1e-6)


def test_query_refuses_a_wrong_vector(store: VectorStore) -> None:
    with pytest.raises(StoreError, match=r"shape \(8,\), got \(3,\)"):
        store.query(NAME, np.ones(3, np.float32), using="patch", top=1)
    with pytest.raises(StoreError, match="no vector 'nope'"):
        store.query(NAME, np.ones(3, np.float32), using="nope", top=1)


def test_delete_removes_what_matches_and_needs_a_condition(store: VectorStore) -> None:
    store.upsert(NAME, _points(12))
    store.delete(NAME, {"image_id": "image 1"})
    store.delete(NAME, {"image_id": "image 1"})
    assert _rows(store) == [0, 1, 2, 3, 8, 9, 10, 11]
    with pytest.raises(StoreError, match="needs a condition"):
        store.delete(NAME, {})
    assert store.count(NAME) == 8


def test_set_payload_merges_and_none_removes(store: VectorStore) -> None:
    store.upsert(NAME, _points(2))
    store.set_payload(NAME, [_id(0)], {"row": 99, "note": {"by": "eve"}, "score": None})
    store.set_payload(NAME, [], {"row": 5})
    first, second = store.retrieve(NAME, [_id(0), _id(1)], with_vectors=True)
    assert first.payload == {
        "image_id": "image 0",
        "row": 99,
        "good": True,
        "note": {"by": "eve"},
    }
    assert second.payload["row"] == 1
    assert "patch" in first.vectors


def test_set_payload_names_an_unknown_id_and_updates_the_others(store: VectorStore) -> None:
    store.upsert(NAME, _points(2))
    with pytest.raises(StoreError, match=_id(77)):
        store.set_payload(NAME, [_id(0), _id(77), _id(1)], {"row": 5})
    assert _rows(store) == [5, 5]


def test_flush_and_optimize_change_nothing_that_is_read(store: VectorStore) -> None:
    store.upsert(NAME, _points(40))
    store.delete(NAME, {"row": Range(lt=10)})
    before = _contents(store)
    store.flush(NAME)
    store.optimize(NAME)
    assert _contents(store) == before


def test_a_missing_collection_is_named_in_one_line(store: VectorStore) -> None:
    row = np.ones(8, np.float32)
    for call in (
        lambda: store.vector_params("nowhere"),
        lambda: store.upsert("nowhere", _points(1)),
        lambda: store.delete("nowhere", {"row": 1}),
        lambda: store.set_payload("nowhere", [_id(0)], {"row": 1}),
        lambda: store.retrieve("nowhere", [_id(0)]),
        lambda: list(store.scroll("nowhere")),
        lambda: store.query("nowhere", row, using="patch", top=1),
        lambda: store.count("nowhere"),
        lambda: store.flush("nowhere"),
        lambda: store.optimize("nowhere"),
        lambda: read_matrix(store, "nowhere", "patch"),
    ):
        with pytest.raises(StoreError, match="no collection 'nowhere' in store") as caught:
            call()
        assert "\n" not in str(caught.value)


def test_head_moves_only_from_where_it_is(store: VectorStore) -> None:
    key = f"{PREFIX}grid--compact"
    assert store.head(key) is None
    assert not store.move_head(key, "1-a", "2-b")
    assert store.move_head(key, None, "1-a")
    assert not store.move_head(key, None, "1-b")
    assert not store.move_head(key, "1-b", "2-a")
    assert (store.head(key), store.heads()[key]) == ("1-a", "1-a")
    assert store.move_head(key, "1-a", "2-b")
    assert not store.move_head(key, "1-a", "2-c")
    assert (store.head(key), store.heads()[key]) == ("2-b", "2-b")


def test_heads_of_keys_are_apart(store: VectorStore) -> None:
    keys = [f"{PREFIX}tile--compact", f"{PREFIX}tile--compact-2", f"{PREFIX}tile"]
    for number, key in enumerate(keys):
        assert store.move_head(key, None, f"{number}-x")
    assert [store.head(key) for key in keys] == ["0-x", "1-x", "2-x"]


def test_of_many_writers_one_moves_the_head(store: VectorStore) -> None:
    key = f"{PREFIX}race"
    for before, revision in ((None, 1), ("1-won", 2)):
        with ThreadPoolExecutor(8) as pool:
            moved = list(
                pool.map(
                    lambda n, b=before, r=revision: store.move_head(key, b, f"{r}-{n}"), range(8)
                )
            )
        assert moved.count(True) == 1
        assert store.head(key) == f"{revision}-{moved.index(True)}"
        assert store.move_head(key, store.head(key), f"{revision}-won")


@pytest.mark.parametrize("bad", ["", "a/b", "a b", "ä"])
def test_head_of_a_name_that_no_server_takes_is_refused(store: VectorStore, bad: str) -> None:
    with pytest.raises(StoreError, match="bad collection name"):
        store.move_head(PREFIX + "odd", None, f"1-{bad}/")
