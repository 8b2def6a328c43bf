"""A Qdrant server that answers with qdrant_client's own servicer classes, over gRPC on loopback.

It stores nothing and searches nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc  # type: ignore[import-untyped]
from qdrant_client import grpc as q

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


def running_double() -> Iterator[ProtocolDouble]:
    """One double that stops when the generator goes on."""
    double = ProtocolDouble()
    yield double
    double.server.stop(None).wait()
