"""A library that every test of the folder may ask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backbones.base import Backbone
from indexer.store.base import VectorStore
from indexer.store.open import open_store
from search.inspector import Inspector
from tests.indexer.world import learn


@pytest.fixture(scope="session")
def library(network: Backbone, dataset: Path) -> Iterator[VectorStore]:
    """Read only."""
    with open_store(":memory:") as store:
        learn(store, dataset, network)
        yield store


@pytest.fixture
def inspector(library: VectorStore, network: Backbone) -> Inspector:
    return Inspector(library, "grid", network=network)
