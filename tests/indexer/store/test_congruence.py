"""The same operations, whatever they are, give the same answers on both engines."""

import uuid
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.store.base import (
    Not,
    Point,
    Range,
    StoreError,
    Vector,
    VectorParams,
    VectorStore,
    Where,
)
from indexer.store.open import open_store

NAME = "bank"
VECTORS = {
    "patch": VectorParams(8, "euclid", indexed=False),
    "whole": VectorParams(3, "cosine", indexed=True),
}
EVERYTHING = {"no such field": Not("x")}

small_ids = st.integers(0, 11)
rows = st.integers(-3, 3)
wheres = st.fixed_dictionaries(
    {},
    optional={
        "row": rows | st.builds(Range, gte=rows, lt=rows) | st.builds(Not, rows),
        "tag": st.sampled_from(["a", "b"])
        | st.lists(st.sampled_from(["a", "b", "c"]), max_size=2)
        | st.builds(Not, st.lists(st.sampled_from(["a", "b"]), max_size=2)),
        "good": st.booleans() | st.builds(Not, st.booleans()),
    },
)
payloads = st.fixed_dictionaries(
    {},
    optional={
        "row": rows,
        "tag": st.sampled_from(["a", "b", "c"]) | st.lists(st.sampled_from(["a", "b"])),
        "good": st.booleans() | st.none(),
    },
)
operations = st.lists(
    st.tuples(st.just("upsert"), small_ids, payloads, st.sampled_from(["", "p", "pw"]))
    | st.tuples(st.just("payload"), small_ids, payloads)
    | st.tuples(st.just("delete"), wheres),
    min_size=3,
    max_size=20,
)


def _id(number: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(number)))


def _contents(store: VectorStore) -> list[object]:
    return [
        (p.id, dict(p.payload), {key: v.round(5).tolist() for key, v in p.vectors.items()})
        for p in store.scroll(NAME, with_vectors=True)
    ]


def _vector(number: int, size: int) -> Vector:
    return np.random.default_rng(number).normal(size=size).astype(np.float32)


def _apply(store: VectorStore, step: int, operation: tuple[str, ...]) -> str:
    """Run one operation and say how it ended."""
    kind, *args = operation
    try:
        if kind == "delete":
            store.delete(NAME, args[0])  # type: ignore[arg-type]
        elif kind == "payload":
            store.set_payload(NAME, [_id(args[0])], args[1])  # type: ignore[arg-type]
        else:
            sizes = {"p": ("patch", 8), "w": ("whole", 3)}
            named = [sizes[letter] for letter in args[2]]
            vectors = {name: _vector(step, size) for name, size in named}
            store.upsert(NAME, [Point(_id(args[0]), vectors, args[1])])  # type: ignore[arg-type]
    except StoreError:
        return "refused"
    return "done"


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[VectorStore, VectorStore]]:
    folder = str(tmp_path_factory.mktemp("congruence"))
    with open_store(folder) as edge, open_store(":memory:") as memory:
        edge.create_collection(NAME, VECTORS, {"row": "integer", "tag": "keyword", "good": "bool"})
        memory.create_collection(
            NAME, VECTORS, {"row": "integer", "tag": "keyword", "good": "bool"}
        )
        yield edge, memory


@settings(max_examples=60, deadline=None)
@given(operations=operations, where=wheres)
def test_edge_and_client_agree_after_any_operations(
    engines: tuple[VectorStore, VectorStore], operations: list[tuple[str, ...]], where: Where
) -> None:
    edge, memory = engines
    for store in engines:
        store.delete(NAME, EVERYTHING)
    for step, operation in enumerate(operations):
        assert _apply(edge, step, operation) == _apply(memory, step, operation)
    assert _contents(edge) == _contents(memory)
    assert edge.count(NAME, where) == memory.count(NAME, where)
    for using, size in (("patch", 8), ("whole", 3)):
        answers = [
            store.query(NAME, _vector(999, size), using=using, top=5, where=where)
            for store in engines
        ]
        assert [hit.id for hit in answers[0]] == [hit.id for hit in answers[1]]
        scores = [[hit.score for hit in hits] for hits in answers]
        np.testing.assert_allclose(scores[0], scores[1], atol=1e-5)
