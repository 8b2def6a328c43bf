"""How the server store speaks: real gRPC to a protocol double on loopback.

What a real server does is in test_contract.py, with QDRANT_URL.
"""

import uuid

import numpy as np
import pytest
from qdrant_client import grpc as q

from indexer.store import server as server_store
from indexer.store.base import Point, StoreError, VectorParams
from indexer.store.server import ServerStore
from tests.indexer.store.protocol_double import DIM, KEY, ProtocolDouble


def _one_line(error: pytest.ExceptionInfo[StoreError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("version", "accepted"), [("1.17.0", False), ("1.17.1", True), ("", False)]
)
def test_a_server_that_is_too_old_is_refused(
    double: ProtocolDouble, version: str, accepted: bool
) -> None:
    double.version = version
    if accepted:
        ServerStore(double.url, api_key=KEY).close()
        return
    with pytest.raises(StoreError) as caught:
        ServerStore(double.url, api_key=KEY)
    assert "expected 1.17.1 or newer: update the server" in _one_line(caught)


def test_upserts_go_in_requests_below_the_limit_and_wait(
    double: ProtocolDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_store, "GRPC_CHUNK_BYTES", 10 * DIM * 4)
    rng = np.random.default_rng(0)
    points = [
        Point(str(uuid.UUID(int=i)), {"patch": rng.normal(size=DIM).astype(np.float32)}, {"row": i})
        for i in range(25)
    ]
    with ServerStore(double.url, api_key=KEY) as store:
        assert store.vector_params("bank") == {"patch": VectorParams(DIM, "euclid", indexed=False)}
        store.upsert("bank", points)
    assert [len(request.points) for request in double.received] == [10, 10, 5]
    assert all(request.wait for request in double.received)
    assert max(request.ByteSize() for request in double.received) < 11 * DIM * 4
    sent = [point for request in double.received for point in request.points]
    assert [point.id.uuid for point in sent] == [point.id for point in points]
    vector = sent[7].vectors.vectors.vectors["patch"]
    np.testing.assert_array_equal(vector.dense.data or vector.data, points[7].vectors["patch"])
    assert sent[7].payload["row"].integer_value == 7


def test_only_the_payload_indexes_that_are_missing_are_made(double: ProtocolDouble) -> None:
    double.indexed = ["image_id", '"a field"']
    vectors = {"patch": VectorParams(DIM, "euclid", indexed=False)}
    wanted = {"image_id": "keyword", "a field": "keyword", "added_at": "datetime", "score": "float"}
    with ServerStore(double.url, api_key=KEY) as store:
        assert store.payload_indexes("bank") == {"image_id": "keyword", "a field": "keyword"}
        store.create_collection("bank", vectors, wanted)  # type: ignore[arg-type]
    made = {request.field_name: request.field_type for request in double.received}
    kinds = q.FieldType.FieldTypeDatetime, q.FieldType.FieldTypeFloat
    assert made == dict(zip(("added_at", "score"), kinds, strict=True))
