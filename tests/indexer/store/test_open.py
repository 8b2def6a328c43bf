from __future__ import annotations

from pathlib import Path

import pytest

from indexer.store.base import StoreError
from indexer.store.edge import EdgeStore
from indexer.store.open import open_store
from indexer.store.server import ServerStore


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    for location in (str(tmp_path / "store"), ":memory:"):
        store = open_store(location)
        assert store.location.endswith(location)
        store.close()
        store.close()
        with pytest.raises(StoreError, match="closed"):
            store.collections()


@pytest.mark.parametrize("location", ["", "ftp://host/x", "file:///tmp/x"])
def test_an_unknown_kind_of_location_is_refused(location: str) -> None:
    with pytest.raises(StoreError, match="expected a folder"):
        open_store(location)


@pytest.mark.parametrize("location", ["localhost:6333", "qdrant.local:6333", "[::1]:6333"])
def test_an_address_without_a_scheme_is_refused_with_both_ways_to_write_it(
    location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match="expected a folder or a URL") as refused:
        open_store(location)
    assert f"http://{location}" in str(refused.value)
    assert list(tmp_path.iterdir()) == []
    with open_store(f"./{location}") as store:
        assert isinstance(store, EdgeStore)
    with open_store(location) as store:  # now that it is there, it is what is meant
        assert isinstance(store, EdgeStore)


def test_memory_is_the_client_and_anything_else_without_a_scheme_a_folder(tmp_path: Path) -> None:
    with open_store(":memory:") as store:
        assert isinstance(store, ServerStore)
    with open_store(str(tmp_path / "new" / "store")) as store:
        assert isinstance(store, EdgeStore)
        assert (tmp_path / "new" / "store").is_dir()


def test_a_folder_may_lie_in_the_home_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with open_store("~/store") as store:
        assert store.location == str(tmp_path / "store")


@pytest.mark.parametrize("scheme", ["http", "https", "HTTP", "Https"])
def test_an_url_is_a_server(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    opened: list[tuple[str, object, object]] = []

    class Server:
        def __init__(
            self, url: str, *, api_key: object, prefer_grpc: object, collections: object
        ) -> None:
            opened.append((url, api_key, prefer_grpc))

    monkeypatch.setattr("indexer.store.server.ServerStore", Server)
    open_store(f"{scheme}://host:1234", api_key="secret", prefer_grpc=False)
    assert opened == [(f"{scheme.lower()}://host:1234", "secret", False)]
