"""The store that the settings name, a category of it, an inspector of that."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from backbones.errors import VecspectError
from indexer.catalog.category import Category
from indexer.catalog.commits import find_category
from indexer.store.base import ServerCollections, VectorStore
from indexer.store.open import embedded_folder, open_store
from search.inspector import Inspector
from ui.settings import AppSettings, load_settings


def open_configured(settings: AppSettings) -> VectorStore:
    """The store in use, made if it is not there."""
    if settings.store == ":memory:":
        raise VecspectError(
            "a store in memory is lost when the command ends: expected a folder or the URL of a "
            "Qdrant server as --store"
        )
    key = settings.api_key.get_secret_value() if settings.api_key else None
    collections = ServerCollections(
        settings.shards, settings.replication, settings.write_consistency, settings.quantization
    )
    return open_store(
        settings.store, api_key=key, prefer_grpc=settings.prefer_grpc, collections=collections
    )


def open_existing(settings: AppSettings) -> VectorStore:
    """The store in use; VecspectError if there is none, so that a mistyped folder is not made."""
    folder = embedded_folder(settings.store)
    if folder and not folder.is_dir():
        raise VecspectError(
            f"no store at {settings.store}. Name another with --store, or learn a category: "
            "vecspect index DATASET --category NAME"
        )
    return open_configured(settings)


def make_store(settings: AppSettings) -> Path:
    """Make the embedded store of the settings, empty; its folder."""
    open_configured(settings).close()
    return Path(settings.store).expanduser()


@contextlib.contextmanager
def open_category(category: str, backbone: str | None = None, **flags: Any) -> Iterator[Category]:
    """A category of the store in use; ``flags`` are settings that were given."""
    with open_existing(load_settings(**flags)) as store:
        yield find_category(store, category, backbone)


@contextlib.contextmanager
def open_inspector(
    category: str, backbone: str | None = None, *, weights: Path | None = None, **flags: Any
) -> Iterator[Inspector]:
    """The inspector of a category of the store in use; ``flags`` are settings that were given."""
    settings = load_settings(**flags)
    with open_existing(settings) as store:
        yield Inspector(store, category, backbone=backbone, weights=weights, device=settings.device)
