"""What the tests of learning and of changing a category share: the category ``grid`` and its store.

The category is indexed with the bundled network, or with `FakeImageLevel`, which keeps no patches.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from backbones.base import Backbone, BackboneSpec, Features, Float32, Precision
from backbones.pipeline import ImageFeatures, embed_images
from backbones.specs import find_spec
from indexer.calibration.methods import CalibrationSettings
from indexer.catalog.cached_arrays import read_cached
from indexer.catalog.category import Category
from indexer.catalog.collections import (
    create_collections,
    read_bank,
    read_defect_patches,
    read_images,
)
from indexer.catalog.commits import find_category
from indexer.catalog.entry import CatalogEntry, LibraryImage, attempt_id
from indexer.catalog.schema import (
    WHOLE,
    bank_collection,
    defects_collection,
    head_key,
    images_collection,
    patches_collection,
)
from indexer.data.dataset import read_dataset
from indexer.data.image_records import ImageRecord
from indexer.learn.build import BuildReport, build_index
from indexer.store.base import VectorStore, read_matrix
from indexer.update.change import Change
from indexer.update.insertion import add_images
from indexer.update.removal import quarantine_image, remove_images

ROOT = Path(__file__).parents[2]
KEY = head_key("grid", "compact")
BANK, IMAGES = bank_collection("grid", "compact"), images_collection("grid", "compact")
CACHED, DEFECTS = patches_collection("grid", "compact"), defects_collection("grid", "compact")
WRITES = (
    "create_collection",
    "delete_collection",
    "upsert",
    "delete",
    "set_payload",
    "flush",
    "move_head",
)
THE_COMMIT = f"move_head {KEY}"
NEIGHBORS = 5
"""Normal images whose mean distance scores an image as a whole."""


class CountingStore:
    """A store that notes what is written and calls ``after`` with each note."""

    def __init__(
        self, store: VectorStore, after: Callable[[str], None] = lambda write: None
    ) -> None:
        self._store = store
        self._after = after
        self.writes: list[str] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name not in WRITES:
            return method

        def noted(target: str, *args: Any, **options: Any) -> Any:
            result = method(target, *args, **options)
            self.writes.append(f"{name} {target}")
            self._after(self.writes[-1])
            return result

        return noted


Store = VectorStore | CountingStore


class SilentNetwork:
    """A network that must not be asked."""

    def __init__(self, network: Backbone) -> None:
        self.spec: BackboneSpec = network.spec
        self.source: Path | None = None
        self.precision: Precision = network.precision
        self.fingerprint: str = network.fingerprint

    def embed(self, inputs: NDArray[np.uint8]) -> Features:
        raise AssertionError(f"{len(inputs)} images were embedded for nothing")


class FakeImageLevel:
    """Implements `Backbone`, without patches: an image is a few directions of its colours."""

    spec = replace(find_spec("vgg16"), name="fake-vgg", dim=12, input_size=(32, 32))
    source: Path | None = None
    precision: Precision = "f32"
    fingerprint = "fakefakefakefake"

    def __init__(self) -> None:
        self.seen = 0

    def embed(self, inputs: NDArray[np.uint8]) -> Features:
        self.seen += len(inputs)
        colours = inputs.reshape(len(inputs), 8, 4, 8, 4, 3).mean(axis=(2, 4)).reshape(-1, 192)
        directions = np.random.default_rng(0).standard_normal((192, 12))
        apart = colours - colours.mean(axis=1, keepdims=True)
        images = (apart @ directions / 100).astype(np.float32)
        return Features(images[:, None, None, :], images)


def an_entry(**changes: Any) -> CatalogEntry:
    """Entry of a first revision of ``grid`` that nothing was learnt for; ``changes`` replace."""
    return replace(
        CatalogEntry(
            category="grid",
            backbone="compact",
            revision=1,
            attempt=attempt_id("", "learn", "inputs"),
            parent="",
            origin=1,
            action="learnt grid",
            fingerprint="0123456789abcdef",
            precision="f32",
            source=None,
            spec=find_spec("compact"),
            layout="holdout",
            feature_space={"name": "plain"},
            aggregation="largest",
            radius=0.0,
            build_key="inputs",
            calibration={},
            settings={"coreset": 0.1, "holdout": 0.2, "seed": 0},
            counts={},
            skipped=[],
            versions={},
            built_at="2026-01-01T00:00:00+00:00",
        ),
        **changes,
    )


def an_image(image_id: str, **changes: Any) -> LibraryImage:
    """A normal image of the bank; ``changes`` replace."""
    image = LibraryImage(
        image_id=image_id,
        path=f"/data/{image_id}.png",
        sha256=f"sha256 of {image_id}",
        label="normal",
        defect_type="",
        split="bank",
        width=64,
        height=48,
        score=None,
        group=f"sha256 of {image_id}",
    )
    return replace(image, **changes)


def a_category(store: VectorStore, **changes: Any) -> Category:
    """A category whose collections are there and empty; nothing is committed."""
    category = Category(store, an_entry(**changes))
    create_collections(category)
    return category


def current(store: Store) -> Category:
    """The category at its current revision."""
    return find_category(cast(VectorStore, store), "grid")


def learn(
    store: Store,
    records: Path | Sequence[ImageRecord],
    network: Backbone,
    method: str = "conformal",
    /,
    **options: Any,
) -> BuildReport:
    """A build as quick as can be; ``options`` replace its defaults."""
    defaults: dict[str, Any] = {
        "category": "grid",
        "calibration": CalibrationSettings(method),
        "coreset": 0.02,
    }
    return build_index(
        read_dataset(records) if isinstance(records, Path) else records,
        backbone=network,
        store=cast(VectorStore, store),
        **{**defaults, **options},
    )


def add(store: Store, network: Backbone, paths: Sequence[Path], **options: Any) -> Change:
    return add_images(paths, category=current(store), backbone=network, **options)


def remove(store: Store, *ids: str) -> Change:
    return remove_images(ids, category=current(store))


def quarantine(store: Store, image_id: str) -> Change:
    return quarantine_image(image_id, category=current(store))


def state(store: VectorStore) -> dict[str, Any]:
    """All that a reader of the category gets, apart from the time it was built."""
    category = current(store)
    bank, defects = read_bank(category), read_defect_patches(category)
    _, embeddings, _ = read_matrix(store, IMAGES, WHOLE, where=category.visible)
    return {
        "entry": replace(category.entry, built_at=""),
        "bank vectors": bank.vectors.tobytes(),
        "bank cells": bank.cells.tolist(),
        "bank image ids": bank.image_ids.tolist(),
        "library": {
            # the engine's JSON may lose the last bit of a double; a score is a float32
            image_id: replace(image, score=image.score and float(np.float32(image.score)))
            for image_id, image in read_images(category).items()
        },
        "image embeddings": embeddings.tobytes(),
        # in an order of their own: ids of points that came back are new
        "defects": sorted(
            (str(key), *cell, vector.tobytes())
            for key, cell, vector in zip(
                defects.image_ids, defects.cells.tolist(), defects.vectors, strict=True
            )
        ),
    }


def contents(store: VectorStore) -> dict[str, Any]:
    """The state and how many points lie around for it."""
    return {**state(store), "points": {name: store.count(name) for name in store.collections()}}


def few(dataset: Path) -> list[ImageRecord]:
    """Six images to learn from and three to test, one of them defective."""
    records = read_dataset(dataset)
    train, test = ([r for r in records if r.split == split] for split in ("train", "test"))
    return [*train[:6], test[0], *test[-2:]]


def queries_of(dataset: Path) -> list[Path]:
    """The test images, normal and defective."""
    return [record.path for record in read_dataset(dataset) if record.split == "test"]


def by_split(category: Category, split: str) -> list[LibraryImage]:
    return [image for image in read_images(category).values() if image.split == split]


def distances_from_scratch(store: VectorStore) -> dict[str, NDArray[np.float64]]:
    """Distances of the calibration images' patches, all measured again in double precision."""
    category = current(store)
    bank = read_bank(category)
    found = {}
    calibrating = dict(read_cached(category, "distances"))
    for key, patches in read_cached(category, "patches", list(calibrating)):
        others = bank.vectors[bank.image_ids != key].astype(np.float64)
        flat = patches.reshape(-1, patches.shape[-1]).astype(np.float64)
        squared = (flat**2).sum(1)[:, None] + (others**2).sum(1)[None] - 2 * flat @ others.T
        nearest = np.sqrt(np.maximum(squared.min(axis=1), 0))
        found[key] = nearest.reshape(patches.shape[:-1])
    return found


def image_embedding(path: Path | str) -> Float32:
    """What `FakeImageLevel` gives of a file."""
    (features,) = embed_images(FakeImageLevel(), [Path(path)])
    assert isinstance(features, ImageFeatures)
    return features.image


def cosine_distances(query: Float32, others: Float32) -> NDArray[np.float64]:
    query, others = query.astype(np.float64), others.astype(np.float64)
    cosine = others @ query / np.linalg.norm(others, axis=1) / np.linalg.norm(query)
    return np.asarray(1 - cosine)


def killed(program: str, *arguments: str | Path) -> bool:
    """Whether a test file, run as a program, dies of `dying_at`."""
    process = subprocess.run(
        [sys.executable, program, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
        capture_output=True,
    )
    return process.returncode == -signal.SIGKILL


def dying_at(moment: str) -> Callable[[str], None]:
    """A function that kills this process without a word when it is called with ``moment``."""

    def die(now: str) -> None:
        if now == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    return die
