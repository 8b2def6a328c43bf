"""Checks that all stores share, so that all refuse the same, and the form of their results."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import numpy as np

from indexer.store.base import (
    Not,
    Point,
    Range,
    StoreError,
    Vector,
    VectorParams,
    Where,
    check_vector_name,
)

Match = str | int | bool | list[str] | Range


def missing_collection(name: str, location: str) -> StoreError:
    """Return the error for a collection that is not there."""
    return StoreError(
        f"no collection {name!r} in store {location}: build the index first, or check the store"
    )


def check_process(opened_by: int, location: str) -> None:
    """Raise StoreError in a process forked from ``opened_by``, which opened the store.

    Locks and connections do not survive a fork: without this check, the first request would hang.
    """
    if os.getpid() != opened_by:
        raise StoreError(
            f"store {location} was opened before this process was forked, and cannot be used here: "
            "use threads, or let each process open the Qdrant server itself "
            "(multiprocessing.get_context('spawn'))"
        )


def check_collection_name(name: str) -> str:
    """Return a name that is safe as a folder name, or raise StoreError."""
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}", name):
        raise StoreError(
            f"bad collection name {name[:80]!r}: expected 1 to 200 letters, digits, '.', '_' "
            "or '-', not starting with '.'"
        )
    return name


def check_head(key: str, value: str) -> None:
    """Raise StoreError unless a head may have the key `key` and the value `value`."""
    check_collection_name(f"{key}--head--{value}")


def check_same_vectors(
    name: str, existing: Mapping[str, VectorParams], asked: Mapping[str, VectorParams]
) -> None:
    """Raise StoreError unless both have the same names, sizes and distances."""

    def text(vectors: Mapping[str, VectorParams]) -> str:
        return ", ".join(f"{key} {v.size} {v.distance}" for key, v in sorted(vectors.items()))

    if text(existing) != text(asked):
        raise StoreError(
            f"collection {name!r} holds vectors [{text(existing)}] but [{text(asked)}] were "
            "requested: delete it and build again, or use another name"
        )


def check_vector(name: str, key: str, vector: Vector, known: Mapping[str, VectorParams]) -> Vector:
    """Return `vector` as float32 (D,), or raise StoreError for a wrong name, shape or value."""
    size = check_vector_name(name, key, known).size
    row = np.asarray(vector, dtype=np.float32)
    if row.shape != (size,):
        raise StoreError(
            f"vector {key!r} of collection {name!r} must have shape ({size},), got {row.shape}"
        )
    if not np.isfinite(row).all():
        raise StoreError(f"vector {key!r} for collection {name!r} holds NaN or infinity")
    return row


def plain_payload(payload: Mapping[str, object]) -> dict[str, object]:
    """Return the payload as it would come back from JSON; StoreError for non-JSON values.

    The engines differ in the values they accept (NaN, numpy scalars, bytes); this check does not.
    """
    try:
        plain: dict[str, object] = json.loads(json.dumps(dict(payload), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise StoreError(f"payload {list(payload)} is not JSON: {error}") from error
    return plain


def check_id(point_id: str) -> str:
    """Return the id if it is a UUID in its canonical form, else raise StoreError."""
    try:
        canonical = str(UUID(point_id))
    except (ValueError, AttributeError, TypeError):
        canonical = ""
    if canonical != point_id:
        raise StoreError(f"point id {point_id!r} is not a UUID in canonical form, as uuid5 gives")
    return point_id


def checked_chunks(
    name: str,
    points: Iterable[Point],
    known: Mapping[str, VectorParams],
    *,
    max_bytes: int,
    max_points: int,
) -> Iterator[list[Point]]:
    """Check points and divide them into lists of at most `max_bytes` of raw floats."""
    chunk: list[Point] = []
    held = 0
    for point in points:
        vectors = {key: check_vector(name, key, v, known) for key, v in point.vectors.items()}
        size = sum(row.nbytes for row in vectors.values())
        if chunk and (held + size > max_bytes or len(chunk) == max_points):
            yield chunk
            chunk, held = [], 0
        chunk.append(Point(check_id(point.id), vectors, plain_payload(point.payload)))
        held += size
    if chunk:
        yield chunk


def field_path(field: str) -> str:
    """Return the JSON path of a top-level field; names with dots or spaces are quoted."""
    if '"' in field or not field:
        raise StoreError(f"payload field {field!r} cannot be searched: empty or holds a quote")
    return field if re.fullmatch(r"[A-Za-z0-9_-]+", field) else f'"{field}"'


def plain_field(path: str) -> str:
    """Return the field for a path made by `field_path`."""
    return path.strip('"')


def where_clauses(where: Where) -> tuple[list[tuple[str, Match]], list[tuple[str, Match]]]:
    """Split conditions into (must, must not), each a list of (field, value)."""
    must: list[tuple[str, Match]] = []
    must_not: list[tuple[str, Match]] = []
    for field, condition in where.items():
        excluded = isinstance(condition, Not)
        value = condition.value if isinstance(condition, Not) else condition
        if not isinstance(value, str | int | Range):
            if not isinstance(value, Sequence) or not all(isinstance(v, str) for v in value):
                raise StoreError(f"condition on {field!r}: cannot match {value!r}")
            value = list(value)
        (must_not if excluded else must).append((field, value))
    return must, must_not


def vector_selection(with_vectors: bool | Sequence[str]) -> bool | list[str]:
    """Return the vectors to read, in the form that both engines accept."""
    return with_vectors if isinstance(with_vectors, bool) else list(with_vectors)


def as_point(record: Any) -> Point:
    """Return a record of either engine as a Point."""
    raw = record.vector or {}
    vectors = {key: np.array(row, dtype=np.float32) for key, row in raw.items()}
    return Point(str(record.id), vectors, record.payload or {})
