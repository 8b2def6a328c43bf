"""What every page of the app shares: one store, one network of a kind, and who may use them when.

One a process. Streamlit runs each visitor's page in a thread of its own; `Desk.lock` lets one of
them at a time use the store and the networks.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from backbones.base import Backbone
from backbones.geometry import Box
from backbones.weights import sha256_of
from indexer.catalog.collections import read_images
from indexer.catalog.commits import find_entry, read_catalog
from indexer.catalog.schema import CatalogEntry, LibraryImage, image_id
from indexer.settings import Settings
from indexer.store.base import VectorStore
from indexer.store.edge_files import copy_store
from indexer.update.insertion import Change, add_images, rollback
from search.calibrator import ConformalCalibrator
from search.inspector import Inspector, load_category_network
from search.monitoring.drift import Watch
from search.monitoring.replay_update import Replay, replay_additions
from search.prediction import Prediction
from search.retrieval.neighbors import By, Neighbor
from ui.app.images.uploads import Uploads
from ui.cli.options import open_existing

_OPEN = 4
"""Categories whose bank stays in memory; the one used longest ago makes place."""
_REMEMBERED = 400
"""Answers kept, so that a slider or a click need not score and search again."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Key:
    """One learnt category on one backbone."""

    category: str
    backbone: str


class Desk:
    """The store in use and everything made from it.

    Raises:
        StoreError: the store cannot be opened, for instance because another process holds it.
        VecspectError: there is no store.
    """

    def __init__(self, settings: Settings, *, copied: bool = False) -> None:
        self.settings = settings
        self.copied = copied
        self.lock = threading.RLock()
        self.uploads = Uploads(settings.ui_folder / "uploads")
        self.roots = tuple(root.expanduser().resolve() for root in settings.image_roots)
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        if copied:
            self._scratch = tempfile.TemporaryDirectory(prefix="vecspect-")
            copy = Path(self._scratch.name) / "store"
            copy_store(Path(settings.store).expanduser(), copy)
            settings = settings.model_copy(update={"store": str(copy)})
        self.store: VectorStore = open_existing(settings)
        self._inspectors: dict[Key, Inspector] = {}
        self._networks: dict[str, Backbone] = {}
        self._watches: dict[Key, Watch] = {}
        self._libraries: dict[Key, tuple[int, dict[str, LibraryImage]]] = {}
        self._answers: dict[tuple[object, ...], Any] = {}

    def close(self) -> None:
        """Let another process have the store."""
        with self.lock:
            self.store.close()
            if self._scratch:
                self._scratch.cleanup()

    def entries(self) -> list[CatalogEntry]:
        """Every learnt category."""
        with self.lock:
            return read_catalog(self.store)

    def entry(self, key: Key) -> CatalogEntry:
        """The category as it is now."""
        with self.lock:
            return find_entry(self.store, key.category, key.backbone)

    def library(self, key: Key) -> dict[str, LibraryImage]:
        """The images of a category by id, read once a revision."""
        with self.lock:
            entry = self.entry(key)
            held = self._libraries.get(key)
            if held is None or held[0] != entry.revision:
                held = self._libraries[key] = (entry.revision, read_images(self.store, entry))
            return held[1]

    def known(self, key: Key, path: Path) -> LibraryImage | None:
        """The library image of the same bytes."""
        key_of_bytes = image_id(key.category, key.backbone, sha256_of(path))
        return self.library(key).get(key_of_bytes)

    def inspector(self, key: Key) -> Inspector:
        """The one that scores this category; use it under the lock."""
        with self.lock:
            held = self._inspectors.pop(key, None)
            if held is None:
                entry = self.entry(key)
                held = Inspector(
                    self.store, key.category, backbone=key.backbone, network=self.network(entry)
                )
            self._inspectors[key] = held
            while len(self._inspectors) > _OPEN:
                del self._inspectors[next(iter(self._inspectors))]
            return held

    def network(self, entry: CatalogEntry) -> Backbone:
        """The network of a category; those of the same fingerprint share one."""
        with self.lock:
            if entry.fingerprint not in self._networks:
                network = load_category_network(entry, None, self.settings.device)
                self._networks[entry.fingerprint] = network
            return self._networks[entry.fingerprint]

    def inspect(self, key: Key, path: Path) -> Prediction:
        """Score an image once a revision, and tell the watch of it unless the library knows it.

        Raises:
            ImageError: the file cannot be read.
        """

        def score(inspector: Inspector) -> Prediction:
            prediction = inspector.inspect(path)
            self.watch(key, prediction)
            return prediction

        return self._once(key, path, ("inspect",), score)

    def similar(
        self, key: Key, path: Path, *, top: int, by: By, label: str, box: Box | None = None
    ) -> list[Neighbor]:
        """As `Inspector.similar`, searched once a revision."""
        return self._once(
            key,
            path,
            ("similar", top, by, label, box),
            lambda inspector: inspector.similar(path, top=top, by=by, label=label, box=box),
        )

    def _once(
        self, key: Key, path: Path, what: tuple[object, ...], ask: Callable[[Inspector], T]
    ) -> T:
        """What the inspector says of a file, asked again when category or file have changed."""
        with self.lock:
            inspector = self.inspector(key)
            inspector.refresh()
            place = (key, inspector.entry.revision, path, _changed_at(path), what)
            if place not in self._answers:
                self._answers[place] = ask(inspector)
                while len(self._answers) > _REMEMBERED:
                    del self._answers[next(iter(self._answers))]
            answer: T = self._answers[place]
            return answer

    def watch(self, key: Key, prediction: Prediction) -> None:
        """Note a score for the health of the calibration; library images are no new parts."""
        if self.copied:
            return
        with self.lock:
            if self.known(key, prediction.path):
                return
            if key not in self._watches:
                self._watches[key] = Watch(self.store, self.entry(key))
            self._watches[key].record(prediction)

    def propose(self, path: Path, near: Key) -> Key:
        """The category whose normal images look most like this one, of the network of ``near``."""
        found = self._once(
            near,
            path,
            ("propose", *((entry.category, entry.revision) for entry in self.entries())),
            lambda inspector: inspector.similar(
                path, top=1, label="normal", across_categories=True
            ),
        )
        return Key(found[0].category, near.backbone) if found else near

    def change(
        self, key: Key, action: Callable[[CatalogEntry, ConformalCalibrator], Change]
    ) -> Change:
        """Do something that makes a revision of a category."""
        with self.lock:
            entry = self.entry(key)
            return action(entry, ConformalCalibrator.of(entry))

    def teach(self, key: Key, paths: Sequence[Path], label: str, defect_type: str = "") -> Change:
        """Let images join a category."""
        return self.change(
            key,
            lambda entry, calibrator: add_images(
                paths,
                store=self.store,
                entry=entry,
                backbone=self.network(entry),
                calibrator=calibrator,
                label=label,
                defect_type=defect_type,
            ),
        )

    def replay(self, key: Key, path: Path, others: Sequence[Path]) -> Replay:
        """What letting the image join as normal would do to verdicts; writes nothing."""
        with self.lock:
            return replay_additions(self.inspector(key), [path], others)

    def go_back(self, key: Key, revision: int) -> CatalogEntry:
        """Make an earlier revision the next one."""
        with self.lock:
            return rollback(revision, store=self.store, entry=self.entry(key))

    def served(self, path: Path | str) -> Path | None:
        """The file if the app may show it: below an image root or among the uploads; else None."""
        real = Path(path).resolve()
        inside = any(real.is_relative_to(root) for root in (*self.roots, self.uploads.folder))
        return real if inside and real.is_file() else None


def _changed_at(path: Path) -> int:
    """Nanoseconds; 0 of a file that is gone, which scoring explains."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
