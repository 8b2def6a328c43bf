"""How the server store speaks: real gRPC to a protocol double on loopback, and to nothing.

The double answers with qdrant_client's own servicer classes; it stores nothing and searches
nothing. What a real server does is in test_store_contract.py, with QDRANT_URL.
"""

import socket
import uuid
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc  # type: ignore[import-untyped]
import numpy as np
import pytest
from httpx import Headers
from qdrant_client import grpc as q
from qdrant_client.http.exceptions import UnexpectedResponse

from indexer.store import server as server_store
from indexer.store.base import Point, ServerCollections, StoreError, VectorParams
from indexer.store.server import ServerStore

KEY = "secret"
DIM = 1024


class ProtocolDouble(q.QdrantServicer, q.CollectionsServicer, q.PointsServicer):
    """Holds one collection, `bank`, wants an API key, and keeps the requests it received."""

    def __init__(self) -> None:
        self.version = "1.17.1"
        self.received: list[Any] = []
        self.indexed: list[str] = []
        self.absent = False
        self.server = grpc.server(futures.ThreadPoolExecutor(2))
        q.add_QdrantServicer_to_server(self, self.server)  # type: ignore[no-untyped-call]
        q.add_CollectionsServicer_to_server(self, self.server)  # type: ignore[no-untyped-call]
        q.add_PointsServicer_to_server(self, self.server)  # type: ignore[no-untyped-call]
        port = self.server.add_insecure_port("127.0.0.1:0")
        self.url = f"http://127.0.0.1:{port - 1}"  # the store expects gRPC on the next port
        self.server.start()

    def _authorise(self, context: grpc.ServicerContext) -> None:
        if ("api-key", KEY) not in context.invocation_metadata():
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "Must provide an API key")

    def HealthCheck(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return q.HealthCheckReply(title="protocol double", version=self.version)

    def List(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self._authorise(context)
        return q.ListCollectionsResponse(collections=[q.CollectionDescription(name="bank")])

    def Get(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        if request.collection_name != "bank":
            text = f"Not found: Collection `{request.collection_name}` doesn't exist!"
            context.abort(grpc.StatusCode.NOT_FOUND, text)
        patch = q.VectorParams(
            size=DIM, distance=q.Distance.Euclid, hnsw_config=q.HnswConfigDiff(m=0)
        )
        vectors = q.VectorsConfig(params_map=q.VectorParamsMap(map={"patch": patch}))
        config = q.CollectionConfig(
            params=q.CollectionParams(shard_number=1, vectors_config=vectors),
            hnsw_config=q.HnswConfigDiff(m=16, ef_construct=100, full_scan_threshold=10_000),
            optimizer_config=q.OptimizersConfigDiff(
                deleted_threshold=0.2,
                vacuum_min_vector_number=1000,
                default_segment_number=0,
                flush_interval_sec=5,
            ),
            wal_config=q.WalConfigDiff(wal_capacity_mb=32, wal_segments_ahead=0),
        )
        return q.GetCollectionInfoResponse(
            result=q.CollectionInfo(
                status=q.CollectionStatus.Green,
                config=config,
                payload_schema={
                    field: q.PayloadSchemaInfo(data_type=q.PayloadSchemaType.Keyword)
                    for field in self.indexed
                },
            )
        )

    def CollectionExists(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        exists = request.collection_name == "bank" and not self.absent
        return q.CollectionExistsResponse(result=q.CollectionExists(exists=exists))

    def Create(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self.received.append(request)
        return q.CollectionOperationResponse(result=True)

    def CreateFieldIndex(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self.received.append(request)
        return q.PointsOperationResponse(result=q.UpdateResult(status=q.UpdateStatus.Completed))

    def Query(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self.received.append(request)
        return q.QueryResponse()

    def Upsert(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self.received.append(request)
        return q.PointsOperationResponse(result=q.UpdateResult(status=q.UpdateStatus.Completed))


@pytest.fixture
def double() -> Iterator[ProtocolDouble]:
    double = ProtocolDouble()
    yield double
    double.server.stop(None).wait()


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _one_line(error: pytest.ExceptionInfo[StoreError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("prefer_grpc", [True, False])
def test_a_server_that_is_not_there_is_one_line(prefer_grpc: bool) -> None:
    url = f"http://127.0.0.1:{_closed_port() - prefer_grpc}"
    with pytest.raises(StoreError) as caught:
        ServerStore(url, prefer_grpc=prefer_grpc)
    assert _one_line(caught).startswith(f"no answer from Qdrant server {url} (")


@pytest.mark.parametrize("key", [None, "wrong"])
def test_a_refused_key_is_one_line(double: ProtocolDouble, key: str | None) -> None:
    with pytest.raises(StoreError) as caught:
        ServerStore(double.url, api_key=key)
    assert _one_line(caught) == (
        f"Qdrant server {double.url} refuses the API key: set the right one"
    )


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


def test_a_missing_collection_is_one_line(double: ProtocolDouble) -> None:
    with (
        ServerStore(double.url, api_key=KEY) as store,
        pytest.raises(StoreError, match=r"no collection 'nowhere' in store http") as caught,
    ):
        store.upsert("nowhere", [])
    _one_line(caught)


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


@pytest.mark.parametrize(
    ("status", "content", "complaint"),
    [
        (401, b"Must provide an API key", "refuses the API key"),
        (403, b"Forbidden", "refuses the API key"),
        (404, b"Not found: Collection `bank` doesn't exist!", "no collection 'bank' in store"),
        (400, b"Wrong\ninput", "Wrong"),
    ],
)
def test_rest_errors_are_the_same_lines(
    monkeypatch: pytest.MonkeyPatch, status: int, content: bytes, complaint: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise UnexpectedResponse(status, "", content, Headers())

    with ServerStore(":memory:") as store:
        monkeypatch.setattr(store._client, "count", refuse)
        with pytest.raises(StoreError, match=complaint) as caught:
            store.count("bank")
    _one_line(caught)


def test_a_server_that_goes_away_is_one_line(double: ProtocolDouble) -> None:
    with ServerStore(double.url, api_key=KEY) as store:
        double.server.stop(None).wait()
        with pytest.raises(StoreError, match="no answer from Qdrant server") as caught:
            store.count("bank")
    _one_line(caught)


def test_a_collection_is_made_with_the_copies_and_the_quantization_asked_for(
    double: ProtocolDouble,
) -> None:
    double.absent = True
    asked = ServerCollections(shards=3, replication=2, write_consistency=2, quantization="int8")
    vectors = {
        "patch": VectorParams(DIM, "euclid", indexed=False),
        "whole": VectorParams(DIM, "cosine", indexed=True),
    }
    with ServerStore(double.url, api_key=KEY, collections=asked) as store:
        store.create_collection("bank", vectors, {})
    (made,) = double.received
    copies = (made.shard_number, made.replication_factor, made.write_consistency_factor)
    assert copies == (3, 2, 2)
    whole, patch = (made.vectors_config.params_map.map[name] for name in ("whole", "patch"))
    assert whole.quantization_config.scalar.type == q.QuantizationType.Int8
    assert whole.quantization_config.scalar.always_ram
    assert whole.on_disk
    assert not patch.HasField("quantization_config"), "a memory bank is searched exactly"
    assert not patch.on_disk


def test_without_a_word_a_collection_is_one_copy_of_full_vectors(double: ProtocolDouble) -> None:
    double.absent = True
    with ServerStore(double.url, api_key=KEY) as store:
        store.create_collection("bank", {"whole": VectorParams(DIM, "cosine", indexed=True)}, {})
    (made,) = double.received
    copies = (made.shard_number, made.replication_factor, made.write_consistency_factor)
    assert copies == (1, 1, 1)
    assert not made.vectors_config.params_map.map["whole"].HasField("quantization_config")


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


@pytest.mark.parametrize("exact", [True, False])
def test_an_approximate_search_sorts_by_the_full_vectors(
    double: ProtocolDouble, exact: bool
) -> None:
    with ServerStore(double.url, api_key=KEY) as store:
        store.query("bank", np.ones(DIM, np.float32), using="patch", top=3, exact=exact)
    (asked,) = double.received
    assert asked.params.exact is exact
    assert asked.params.quantization.rescore is not exact


def test_a_write_that_waits_for_more_copies_than_there_are_is_refused() -> None:
    with pytest.raises(StoreError, match=r"expected write_consistency of at most replication"):
        ServerCollections(replication=2, write_consistency=3)
