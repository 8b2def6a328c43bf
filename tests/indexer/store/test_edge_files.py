"""Folders of embedded stores: their lock, and what kills and damage leave in them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from indexer.store.base import StoreError, VectorParams
from indexer.store.edge import EdgeStore
from indexer.store.edge_files import copy_store, engine_errors, is_collection, read_params
from tests.indexer.store.processes import VECTORS, line, points, process

HOLD = "store = EdgeStore(folder); print('held', flush=True); sys.stdin.read()"
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


def test_a_second_process_is_told_who_holds_the_store(tmp_path: Path) -> None:
    with process(HOLD, tmp_path) as holder:
        assert line(holder) == "held"
        with pytest.raises(StoreError, match=rf"held by process {holder.pid} on .*--store http"):
            EdgeStore(tmp_path)
        holder.kill()
        holder.wait()
        EdgeStore(tmp_path).close()


def test_a_create_that_was_killed_leaves_nothing(tmp_path: Path) -> None:
    with process(DIE_IN_CREATE, tmp_path) as killed:
        assert killed.wait() == 9
    assert (tmp_path / ".creating-bank").exists()
    with EdgeStore(tmp_path) as store:
        assert not (tmp_path / ".creating-bank").exists()
        assert store.collections() == []
        store.create_collection("bank", VECTORS, {})
        assert store.collections() == ["bank"]


def test_a_delete_that_was_killed_is_finished_at_the_next_open(tmp_path: Path) -> None:
    with EdgeStore(tmp_path) as store:
        store.create_collection("bank", VECTORS, {})
    with process(DIE_IN_DELETE, tmp_path) as killed:
        assert killed.wait() == 9
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
        store.upsert("bank", points(3))
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


def test_a_copy_holds_the_same_points_in_files_of_the_same_bytes(tmp_path: Path) -> None:
    with EdgeStore(tmp_path / "store") as store:
        store.create_collection("bank", VECTORS, {"row": "integer"})
        store.upsert("bank", points(50))
        store.flush("bank")
    copy = copy_store(tmp_path / "store", tmp_path / "copy")
    files = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert len(files) > 3
    for path in files:
        same = copy / path.relative_to(tmp_path / "store")
        assert same.read_bytes() == path.read_bytes(), path.name
    with EdgeStore(copy) as store:
        assert store.count("bank") == 50


def test_a_copy_does_not_fill_the_holes_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    with (tmp_path / "store" / "data").open("wb") as file:
        file.seek(8 << 20)
        file.write(b"end of data")
        file.truncate(16 << 20)
    copied = copy_store(tmp_path / "store", tmp_path / "copy") / "data"
    assert copied.read_bytes() == (tmp_path / "store" / "data").read_bytes()
    assert copied.stat().st_blocks <= (tmp_path / "store" / "data").stat().st_blocks


def test_a_copy_over_an_existing_folder_is_refused(tmp_path: Path) -> None:
    for name in ("store", "copy"):
        (tmp_path / name).mkdir()
    with pytest.raises(FileExistsError):
        copy_store(tmp_path / "store", tmp_path / "copy")


def test_a_collection_is_complete_when_its_marker_is_there(tmp_path: Path) -> None:
    vectors = {"whole": VectorParams(3, "cosine", indexed=True), **VECTORS}
    with EdgeStore(tmp_path) as store:
        store.create_collection("bank", vectors, {})
    assert is_collection(tmp_path / "bank")
    assert read_params(tmp_path / "bank") == vectors
    (tmp_path / "bank" / "collection.json").unlink()
    assert not is_collection(tmp_path / "bank")


def test_errors_of_the_engine_are_one_line_and_those_of_the_store_stay() -> None:
    with (
        pytest.raises(StoreError, match=r"^reading failed: two lines$"),
        engine_errors("reading failed"),
    ):
        raise OSError("two\nlines")
    with pytest.raises(StoreError, match=r"^said already$"), engine_errors("reading failed"):
        raise StoreError("said already")
    with pytest.raises(KeyboardInterrupt), engine_errors("reading failed"):
        raise KeyboardInterrupt
