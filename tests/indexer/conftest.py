from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from backbones.base import Backbone
from indexer.store.base import VectorStore
from indexer.store.open import open_store
from indexer.synthetic.dataset import write_dataset
from tests.indexer.world import learn


@pytest.fixture(params=["edge", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VectorStore]:
    location = ":memory:" if request.param == "memory" else str(tmp_path / "store")
    with open_store(location) as opened:
        yield opened


@pytest.fixture
def quick_store() -> Iterator[VectorStore]:
    """For tests that are about the build and not about the store."""
    with open_store(":memory:") as opened:
        yield opened


@pytest.fixture
def own_dataset(dataset: Path, tmp_path: Path) -> Path:
    """A copy that the test may change."""
    return shutil.copytree(dataset, tmp_path / "data")


@pytest.fixture(scope="session")
def more(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Eight normal images that the learnt data set does not have, the last one quite different."""
    folder = tmp_path_factory.mktemp("more")
    root = write_dataset(folder, "grid", train=8, test_normal=0, test_defective=0, size=128, seed=5)
    files = sorted((root / "train/good").iterdir())
    ImageOps.invert(Image.open(files[-1]).convert("RGB")).save(files[-1])
    return files


@pytest.fixture(params=["conformal", "cross-conformal"])
def either(
    request: pytest.FixtureRequest, network: Backbone, dataset: Path
) -> Iterator[VectorStore]:
    """A store of its own that has learnt the data set by either layout."""
    with open_store(":memory:") as store:
        learn(store, dataset, network, request.param)
        yield store
