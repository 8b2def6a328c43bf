"""Connects to a Qdrant server, and explains its errors in one line."""

from __future__ import annotations

import re
import warnings
from urllib.parse import urlsplit

from qdrant_client import QdrantClient

from indexer.store.base import StoreError
from indexer.store.validation import missing_collection

MEMORY = ":memory:"
TIMEOUT_S = 60
HTTP_STATUS = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}


def connect(url: str, api_key: str | None, prefer_grpc: bool) -> QdrantClient:
    """Client of the server at a URL, with gRPC on the next port, or of `MEMORY` in this process."""
    if url == MEMORY:
        return QdrantClient(MEMORY)
    port = urlsplit(url).port or 6333
    with warnings.catch_warnings():  # a key over http is the caller's choice, on a private network
        warnings.simplefilter("ignore")
        return QdrantClient(
            url=url,
            port=port,
            grpc_port=port + 1,
            api_key=api_key,
            prefer_grpc=prefer_grpc,
            timeout=TIMEOUT_S,
            check_compatibility=False,
        )


def explain(error: Exception, location: str) -> StoreError:
    """The StoreError that says in one line what happened and what to do, for either protocol."""
    code = getattr(error, "code", None)  # gRPC errors have code() and details()
    status = code().name if callable(code) else ""
    status = HTTP_STATUS.get(getattr(error, "status_code", 0), status)
    if type(error).__name__ == "ResponseHandlingException":
        status = "UNAVAILABLE"
    details = getattr(error, "details", None)
    text = " ".join(str(details() if callable(details) else error).split())
    missing = re.search(r"[Cc]ollection `?([^\s`]+)`? (?:doesn't exist|not found)", text)
    if missing:
        return missing_collection(missing[1], location)
    if isinstance(error, KeyError):
        return StoreError(f"store {location}: no point with id {error}")
    if status in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        return StoreError(f"Qdrant server {location} refuses the API key: set the right one")
    if status in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
        return StoreError(
            f"no answer from Qdrant server {location} ({text[:200]}): check that it runs there, "
            "and that gRPC is open on the next port or switched off"
        )
    return StoreError(f"store {location}: {text[:300] or type(error).__name__}")
