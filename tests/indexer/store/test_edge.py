"""What only the embedded store has: a folder, a lock, and processes that are killed."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from indexer.store import edge
from indexer.store.base import Not, Point, StoreError, VectorParams, read_matrix
from indexer.store.edge import EdgeStore

ROOT = Path(__file__).parents[2]
VECTORS = {"patch": VectorParams(4, "euclid", indexed=False)}
PRELUDE = """
import os, sys, uuid
from pathlib import Path
import numpy as np
from indexer.store.edge import EdgeStore
from indexer.store.base import Point, VectorParams
VECTORS = {"patch": VectorParams(4, "euclid", indexed=False)}
folder = Path(sys.argv[1])
"""
HOLD = "store = EdgeStore(folder); print('held', flush=True); sys.stdin.read()"
WRITE = """
store = EdgeStore(folder)
store.create_collection("bank", VECTORS, {"row": "integer"})
for row in range(100_000):
    point = Point(str(uuid.UUID(int=row)), {"patch": np.full(4, row, np.float32)}, {"row": row})
    store.upsert("bank", [point])
    print(row, flush=True)
"""
DIE_IN_CREATE = """
Path.rename = lambda *_: os._exit(9)
EdgeStore(folder).create_collection("bank", VECTORS, {})
"""
DIE_IN_DELETE = """
import shutil
store = EdgeStore(folder)
shutil.rmtree = lambda path, **_: os._exit(9) if Path(path).exists() else None
store.delete_collection("bank")
"""


@contextmanager
def _process(body: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + body, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _points(count: int) -> list[Point]:
    return [
        Point(str(uuid.UUID(int=i)), {"patch": np.full(4, i, np.float32)}, {"row": i})
        for i in range(count)
    ]


def test_everything_is_there_after_reopening(tmp_path: Path) -> None:
    with EdgeStore(tmp_path) as store:
        store.create_collection("tile--compact--bank", VECTORS, {"row": "integer"})
        store.create_collection("catalog", {}, {})
        store.upsert("tile--compact--bank", _points(50))
        store.delete("tile--compact--bank", {"row": 7})
        store.flush("tile--compact--bank")
    with EdgeStore(tmp_path) as store:
        assert store.collections() == ["catalog", "tile--compact--bank"]
        assert store.vector_params("tile--compact--bank") == VECTORS
        _, matrix, _ = read_matrix(store, "tile--compact--bank", "patch")
        assert matrix[:, 0].tolist() == [i for i in range(50) if i != 7]


def test_a_second_process_is_told_who_holds_the_store(tmp_path: Path) -> None:
    with _process(HOLD, tmp_path) as holder:
        assert _line(holder) == "held"
        with pytest.raises(StoreError, match=rf"held by process {holder.pid} on .*--store http"):
            EdgeStore(tmp_path)
        holder.kill()
        holder.wait()
        EdgeStore(tmp_path).close()


def test_opening_twice_in_one_process_is_refused(tmp_path: Path) -> None:
    with (
        EdgeStore(tmp_path),
        pytest.raises(StoreError, match=f"held by process {os.getpid()} on") as caught,
    ):
        EdgeStore(tmp_path)
    assert "\n" not in str(caught.value)


def test_no_acknowledged_point_is_lost_when_the_writer_is_killed(tmp_path: Path) -> None:
    with _process(WRITE, tmp_path) as writer:
        for _ in range(200):
            acknowledged = int(_line(writer))
        writer.kill()
        writer.wait()
    with EdgeStore(tmp_path) as store:
        _, matrix, payloads = read_matrix(store, "bank", "patch")
    assert len(payloads) > acknowledged
    assert [p["row"] for p in payloads] == list(range(len(payloads)))
    assert matrix[:, 3].tolist() == list(range(len(payloads)))


def test_a_create_that_was_killed_leaves_nothing(tmp_path: Path) -> None:
    with _process(DIE_IN_CREATE, tmp_path) as process:
        assert process.wait() == 9
    assert (tmp_path / ".creating-bank").exists()
    with EdgeStore(tmp_path) as store:
        assert not (tmp_path / ".creating-bank").exists()
        assert store.collections() == []
        store.create_collection("bank", VECTORS, {})
        assert store.collections() == ["bank"]


def test_a_delete_that_was_killed_is_finished_at_the_next_open(tmp_path: Path) -> None:
    with EdgeStore(tmp_path) as store:
        store.create_collection("bank", VECTORS, {})
    with _process(DIE_IN_DELETE, tmp_path) as process:
        assert process.wait() == 9
    assert (tmp_path / ".deleting-bank").exists()
    with EdgeStore(tmp_path) as store:
        assert store.collections() == []
    assert not (tmp_path / ".deleting-bank").exists()


@pytest.mark.parametrize("entry", ["thesis.docx", "photos/cat.png", ".git/config"])
def test_a_folder_of_someone_else_is_refused_and_left_alone(tmp_path: Path, entry: str) -> None:
    (tmp_path / entry).parent.mkdir(exist_ok=True)
    (tmp_path / entry).write_text("mine")
    with pytest.raises(StoreError, match=r"not a vecspect store: it holds '(thesis|photos|\.git)"):
        EdgeStore(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [entry.split("/")[0]]


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot use .*file/store as store"):
        EdgeStore(tmp_path / "file" / "store")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="cannot use"):
        EdgeStore(tmp_path)


@pytest.mark.parametrize("damage", ["segment state", "segments"])
def test_a_damaged_collection_is_named_with_its_folder(tmp_path: Path, damage: str) -> None:
    with EdgeStore(tmp_path) as store:
        store.create_collection("bank", VECTORS, {})
        store.upsert("bank", _points(3))
    for state in (tmp_path / "bank" / "segments").glob("*/segment.json"):
        if damage == "segments":
            state.parent.rename(tmp_path.parent / "away")
        else:
            state.write_text("?")
    with (
        EdgeStore(tmp_path) as store,
        pytest.raises(StoreError, match=f"{tmp_path}/bank cannot be opened") as caught,
    ):
        store.count("bank")
    assert "\n" not in str(caught.value)


def test_idle_shards_are_closed_and_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "MAX_OPEN_SHARDS", 2)
    with EdgeStore(tmp_path) as store:
        for name in ("a", "b", "c"):
            store.create_collection(name, VECTORS, {})
            store.upsert(name, _points(6))
        rows = [p.payload["row"] for p in store.scroll("a", batch=2) if store.count("b") == 6]
        assert rows == list(range(6))
        assert [store.count(name) for name in ("a", "b", "c")] == [6, 6, 6]


def test_threads_may_share_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "MAX_OPEN_SHARDS", 1)  # every other call closes a shard
    with EdgeStore(tmp_path) as store:
        for name in ("a", "b"):
            store.create_collection(name, VECTORS, {})
        points = _points(48)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda i: store.upsert("ab"[i % 2], points[i::24]), range(24)))
        assert (store.count("a"), store.count("b")) == (24, 24)


def test_optimize_reclaims_deleted_points_and_keeps_the_rest(tmp_path: Path) -> None:
    with EdgeStore(tmp_path) as store:
        store.create_collection("bank", VECTORS, {"row": "integer"})
        store.upsert("bank", _points(3000))
        store.delete("bank", {"row": Not(2999)})
        store.optimize("bank")
        store.flush("bank")
    with EdgeStore(tmp_path) as store:
        assert [p.payload for p in store.scroll("bank")] == [{"row": 2999}]
