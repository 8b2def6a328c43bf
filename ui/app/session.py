"""The session that all pages share: one store, each network once, and who may use them when.

One a process. Streamlit runs each visitor's page in a thread of its own; `Session.lock` lets one of
them at a time use the store and the networks.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import streamlit as st

from backbones.base import Backbone
from backbones.errors import VecspectError
from backbones.geometry import Box
from backbones.pipeline import ImageFeatures
from indexer.catalog.category import Category
from indexer.catalog.collections import read_images
from indexer.catalog.commits import find_category, is_current, read_catalog
from indexer.catalog.entry import CatalogEntry, CategoryError, LibraryImage
from indexer.records.drift_window import DriftWindow
from indexer.store.base import VectorStore
from indexer.store.edge_files import copy_store
from indexer.store.open import embedded_folder
from indexer.update.change import Change
from indexer.update.insertion import add_images
from indexer.update.rollback import rollback
from search.inspector import Inspector, load_category_network
from search.monitoring.replay_update import (
    KnownDefects,
    Replay,
    read_known_defects,
    replay_additions,
)
from search.prediction import Prediction
from search.retrieval.neighbors import By, Neighbor
from ui.app.jobs import Job
from ui.app.pictures import Uploads
from ui.app.recent import Answers, Recent
from ui.settings import AppSettings, load_settings
from ui.stores import open_existing

_OPEN = 4
"""Categories whose bank stays in memory."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Key:
    """One learnt category on one backbone."""

    category: str
    backbone: str

    @classmethod
    def of(cls, entry: CatalogEntry) -> Key:
        """The key of a catalog entry."""
        return cls(entry.category, entry.backbone)


class Session:
    """The store in use and everything made from it.

    Raises:
        StoreError: the store cannot be opened, for instance because another process holds it.
        VecspectError: there is no store.
    """

    def __init__(self, settings: AppSettings, *, copied: bool = False) -> None:
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
        self._inspectors: Recent[Inspector] = Recent(_OPEN)
        self._libraries: Recent[dict[str, LibraryImage]] = Recent(_OPEN)
        self._defects: Recent[KnownDefects] = Recent(_OPEN)
        self._answers = Answers()
        self._networks: dict[str, Backbone] = {}
        self._watches: dict[Key, DriftWindow] = {}

    def close(self) -> None:
        """Let another process have the store."""
        with self.lock:
            self.store.close()
            if self._scratch:
                self._scratch.cleanup()

    @property
    def gone(self) -> bool:
        """True if the folder of an embedded store was removed while it was open."""
        folder = embedded_folder(self.store.location)
        return folder is not None and not folder.is_dir()

    def entries(self) -> list[CatalogEntry]:
        """Every learnt category."""
        with self.lock:
            return [category.entry for category in read_catalog(self.store)]

    def category(self, key: Key) -> Category:
        """The category as it is now."""
        with self.lock:
            return find_category(self.store, key.category, key.backbone)

    def entry(self, key: Key) -> CatalogEntry:
        """The catalog entry of the category as it is now."""
        return self.category(key).entry

    def library(self, key: Key) -> dict[str, LibraryImage]:
        """The images of a category by id, read once a revision."""
        with self.lock:
            category = self.category(key)
            question = (key, category.entry.revision)
            return self._libraries.get(question, lambda: read_images(category))

    def known(self, key: Key, prediction: Prediction) -> LibraryImage | None:
        """The library image of the same bytes."""
        return self.library(key).get(self.category(key).image_id(prediction.sha256))

    def inspector(self, key: Key) -> Inspector:
        """The inspector that scores this category; use it under the lock."""
        with self.lock:
            return self._inspectors.get(
                key,
                lambda: Inspector(
                    self.store,
                    key.category,
                    backbone=key.backbone,
                    network=self.network(self.entry(key)),
                ),
            )

    def network(self, entry: CatalogEntry) -> Backbone:
        """The network of a category; those of the same fingerprint share one."""
        with self.lock:
            if entry.fingerprint not in self._networks:
                network = load_category_network(entry, None, self.settings.device)
                self._networks[entry.fingerprint] = network
            return self._networks[entry.fingerprint]

    def inspect(self, key: Key, path: Path) -> Prediction:
        """Score an image once per revision, and record it in the drift window.

        Raises:
            ImageError: the file cannot be read.
        """

        def score(inspector: Inspector, image: ImageFeatures | Path) -> Prediction:
            prediction = inspector.inspect(image)
            self.watch(key, prediction)
            return prediction

        return self._ask(key, path, ("inspect",), score)

    def similar(
        self, key: Key, path: Path, *, top: int, by: By, label: str, box: Box | None = None
    ) -> list[Neighbor]:
        """Similar library images, searched once a revision; see `Inspector.similar`."""
        return self._ask(
            key,
            path,
            ("similar", top, by, label, box),
            lambda inspector, image: inspector.similar(image, top=top, by=by, label=label, box=box),
        )

    def propose(self, path: Path, near: Key) -> Key:
        """The category whose normal images look most like this one, of the network of ``near``."""
        found = self._ask(
            near,
            path,
            ("propose", *((entry.category, entry.revision) for entry in self.entries())),
            lambda inspector, image: inspector.similar(
                image, top=1, label="normal", across_categories=True
            ),
        )
        return Key(found[0].category, near.backbone) if found else near

    def watch(self, key: Key, prediction: Prediction) -> None:
        """Record a prediction in the drift window, unless the store is a copy to look at."""
        if self.copied:
            return
        with self.lock:
            if key not in self._watches:
                self._watches[key] = DriftWindow(self.category(key))
            self._watches[key].record(prediction.inspected())

    def read(self, reader: Callable[[Category], T], entry: CatalogEntry) -> T:
        """Result of ``reader`` for a category."""
        with self.lock:
            return reader(Category(self.store, entry))

    def change(self, key: Key, action: Callable[..., T], *values: object, **options: Any) -> T:
        """Do something that makes a revision of a category."""
        with self.lock:
            return action(*values, category=self.category(key), **options)

    def teach(self, key: Key, paths: Sequence[Path], label: str, defect_type: str = "") -> Change:
        """Let images join a category."""
        with self.lock:
            network = self.network(self.entry(key))
            return self.change(
                key, add_images, paths, backbone=network, label=label, defect_type=defect_type
            )

    def replay(self, key: Key, path: Path, others: Sequence[Path]) -> Replay:
        """Replay of adding the image as normal; writes nothing."""
        with self.lock:
            inspector = self.inspector(key)
            inspector.refresh()
            question = (key, inspector.entry.head)
            known = self._defects.get(question, lambda: read_known_defects(inspector))
            images = [self._answers.features(inspector, image) for image in (path, *others)]
            return replay_additions(inspector, images[:1], images[1:], known=known)

    def go_back(self, key: Key, revision: int) -> Category:
        """Make an earlier revision the next one."""
        return self.change(key, rollback, revision)

    def undo(self, made: CatalogEntry, revision: int) -> Category:
        """Go back from the revision ``made`` to an earlier one.

        Raises:
            CategoryError: the category has another revision by now, so that this would take back
                what somebody else did.
        """
        with self.lock:
            category = Category(self.store, made)
            if not is_current(category):
                now = self.entry(Key.of(made))
                raise CategoryError(
                    f"Revision {made.revision} of {made.category} was not undone: since then came "
                    f"revision {now.revision} ({now.action}). Go back further on the page System."
                )
            return rollback(revision, category=category)

    def served(self, path: Path | str) -> Path | None:
        """The file if the app may show it: below an image root or among the uploads; else None."""
        try:
            real = Path(path).resolve()
            inside = any(real.is_relative_to(root) for root in (*self.roots, self.uploads.folder))
            return real if inside and real.is_file() else None
        except (OSError, ValueError):  # no file can have such a name
            return None

    def _ask(
        self,
        key: Key,
        path: Path,
        what: tuple[object, ...],
        ask: Callable[[Inspector, ImageFeatures | Path], T],
    ) -> T:
        with self.lock:
            inspector = self.inspector(key)
            return self._answers.about(inspector, path, what, partial(ask, inspector))


class AppState:
    """The present session of the process, made when first needed, and its jobs."""

    def __init__(self) -> None:
        self.settings = load_settings()
        self.copied = False
        self.session: Session | None = None
        self.jobs: dict[str, Job] = {}

    def open(self) -> Session:
        """The session; raises as `Session` does."""
        if self.session is not None and self.session.gone:
            self.move(self.settings)
        if self.session is None:
            self.session = Session(self.settings, copied=self.copied)
        return self.session

    def move(self, settings: AppSettings, *, copied: bool = False) -> None:
        """Work on another store, or a copy of one, from now on."""
        if self.session is not None:
            with contextlib.suppress(VecspectError, OSError):  # its folder may be gone
                self.session.close()
        self.settings, self.copied, self.session = settings, copied, None


@st.cache_resource(show_spinner=False)
def app_state() -> AppState:
    """The one state of this process."""
    return AppState()
