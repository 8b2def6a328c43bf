"""A connection that fails says so in one line, whichever way the client was told."""

from __future__ import annotations

import socket

import pytest
from httpx import Headers
from qdrant_client.http.exceptions import UnexpectedResponse

from indexer.store.base import StoreError
from indexer.store.server import ServerStore
from indexer.store.server_connection import connect, explain
from tests.indexer.store.protocol_double import KEY, ProtocolDouble


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


def test_a_missing_collection_is_one_line(double: ProtocolDouble) -> None:
    with (
        ServerStore(double.url, api_key=KEY) as store,
        pytest.raises(StoreError, match=r"no collection 'nowhere' in store http") as caught,
    ):
        store.upsert("nowhere", [])
    _one_line(caught)


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


def test_an_unknown_point_and_an_error_without_words_are_named() -> None:
    assert str(explain(KeyError("7"), "here")) == "store here: no point with id '7'"
    assert str(explain(RuntimeError(), "here")) == "store here: RuntimeError"
    assert len(str(explain(RuntimeError("long " * 1000), "here"))) < 400


def test_grpc_goes_to_the_port_after_that_of_the_url() -> None:
    client = connect("http://127.0.0.1:7001", None, prefer_grpc=True)
    try:
        options = client.init_options
        assert (options["port"], options["grpc_port"]) == (7001, 7002)
    finally:
        client.close()
