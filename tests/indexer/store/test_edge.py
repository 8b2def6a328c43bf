"""What only the embedded store has: a folder that outlives it, shards, threads."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from indexer.store import edge
from indexer.store.base import Not, StoreError, read_matrix
from indexer.store.edge import EdgeStore
from tests.indexer.store.processes import VECTORS, line, points, process

WRITE = """
store = EdgeStore(folder)
store.create_collection("bank", VECTORS, {"row": "integer"})
for row in range(100_000):
    point = Point(str(uuid.UUID(int=row)), {"patch": np.full(4, row, np.float32)}, {"row": row})
    store.upsert("bank", [point])
    print(row, flush=True)
"""


def test_everything_is_there_after_reopening(tmp_path: Path) -> None:
    with EdgeStore(tmp_path) as store:
        store.create_collection("tile--compact--bank", VECTORS, {"row": "integer"})
        store.create_collection("catalog", {}, {})
        store.upsert("tile--compact--bank", points(50))
        store.delete("tile--compact--bank", {"row": 7})
        store.flush("tile--compact--bank")
    with EdgeStore(tmp_path) as store:
        assert store.collections() == ["catalog", "tile--compact--bank"]
        assert store.vector_params("tile--compact--bank") == VECTORS
        _, matrix, _ = read_matrix(store, "tile--compact--bank", "patch")
        assert matrix[:, 0].tolist() == [i for i in range(50) if i != 7]


def test_opening_twice_in_one_process_is_refused(tmp_path: Path) -> None:
    with (
        EdgeStore(tmp_path),
        pytest.raises(StoreError, match=f"held by process {os.getpid()} on") as caught,
    ):
        EdgeStore(tmp_path)
    assert "\n" not in str(caught.value)


def test_no_acknowledged_point_is_lost_when_the_writer_is_killed(tmp_path: Path) -> None:
    with process(WRITE, tmp_path) as writer:
        for _ in range(200):
            acknowledged = int(line(writer))
        writer.kill()
        writer.wait()
    with EdgeStore(tmp_path) as store:
        _, matrix, payloads = read_matrix(store, "bank", "patch")
    assert len(payloads) > acknowledged
    assert [p["row"] for p in payloads] == list(range(len(payloads)))
    assert matrix[:, 3].tolist() == list(range(len(payloads)))


def test_idle_shards_are_closed_and_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "MAX_OPEN_SHARDS", 2)
    with EdgeStore(tmp_path) as store:
        for name in ("a", "b", "c"):
            store.create_collection(name, VECTORS, {})
            store.upsert(name, points(6))
        rows = [p.payload["row"] for p in store.scroll("a", batch=2) if store.count("b") == 6]
        assert rows == list(range(6))
        assert [store.count(name) for name in ("a", "b", "c")] == [6, 6, 6]


def test_threads_may_share_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "MAX_OPEN_SHARDS", 1)  # every other call closes a shard
    with EdgeStore(tmp_path) as store:
        for name in ("a", "b"):
            store.create_collection(name, VECTORS, {})
        written = points(48)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda i: store.upsert("ab"[i % 2], written[i::24]), range(24)))
        assert (store.count("a"), store.count("b")) == (24, 24)


def test_optimize_reclaims_deleted_points_and_keeps_the_rest(tmp_path: Path) -> None:
    with EdgeStore(tmp_path) as store:
        store.create_collection("bank", VECTORS, {"row": "integer"})
        store.upsert("bank", points(3000))
        store.delete("bank", {"row": Not(2999)})
        store.optimize("bank")
        store.flush("bank")
    with EdgeStore(tmp_path) as store:
        assert [p.payload for p in store.scroll("bank")] == [{"row": 2999}]
