"""One small world for all tests: a data set, the bundled network, and a store that has learnt it.

The network is the real one; it only remembers the images it has seen, so that many builds of the
same few images cost one pass each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from backbones.base import Backbone, BackboneSpec, Features, Float32, Precision
from backbones.registry import load_backbone
from indexer.data.dataset import read_dataset
from indexer.learn.build import build_index
from indexer.store.base import VectorStore
from indexer.store.edge_files import copy_store
from indexer.store.open import open_store
from indexer.synthetic.dataset import write_dataset

CATEGORY = "grid"
CORESET = 0.02


class RememberingNetwork:
    """`Backbone` that runs ``network`` once per image and gives the same answer ever after."""

    def __init__(self, network: Backbone) -> None:
        self._network = network
        self._seen: dict[bytes, tuple[Float32, Float32]] = {}
        self.spec: BackboneSpec = network.spec
        self.source: Path | None = network.source
        self.precision: Precision = network.precision
        self.fingerprint: str = network.fingerprint

    def embed(self, inputs: NDArray[np.uint8]) -> Features:
        keys = [image.tobytes() for image in inputs]
        for key, image in zip(keys, inputs, strict=True):
            if key not in self._seen:
                features = self._network.embed(image[None])
                self._seen[key] = features.patches[0].copy(), features.images[0].copy()
        patches, images = zip(*(self._seen[key] for key in keys), strict=True)
        return Features(np.stack(patches), np.stack(images))


@pytest.fixture(scope="session")
def network() -> Backbone:
    return RememberingNetwork(load_backbone("compact"))


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read only: 16 normal images to learn from, 4 normal and 6 defective ones to test."""
    folder = tmp_path_factory.mktemp("data")
    return write_dataset(folder, CATEGORY, train=16, test_normal=4, test_defective=6, size=128)


@pytest.fixture(scope="session")
def learnt_folder(
    network: Backbone, dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A closed embedded store that has learnt the data set as revision 1; copy it to use it."""
    folder = tmp_path_factory.mktemp("learnt") / "store"
    with open_store(str(folder)) as store:
        build_index(
            read_dataset(dataset),
            category=CATEGORY,
            backbone=network,
            store=store,
            coreset=CORESET,
        )
    return folder


@pytest.fixture
def learnt_copy(learnt_folder: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A function that makes a closed copy of the learnt store under a name of its own."""

    def copy(name: str) -> Path:
        return copy_store(learnt_folder, tmp_path / name)

    return copy


@pytest.fixture
def learnt(learnt_copy: Callable[[str], Path]) -> Iterator[VectorStore]:
    """A store of its own that has learnt the data set as revision 1."""
    with open_store(str(learnt_copy("learnt"))) as store:
        yield store
