"""Replays verdicts already given as if a change had been made, before anybody confirms it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backbones.errors import ImageError
from backbones.pipeline import ImageFeatures, Skipped
from indexer.calibration.base import Calibration, Verdict
from indexer.catalog.collections import check_keeps_patches, read_defect_patches, read_images
from indexer.catalog.entry import Float32, LibraryImage, MemoryBank
from indexer.knn.exact_index import ExactIndex
from indexer.scoring.open_scorer import open_scorer
from indexer.update.preview_update import preview_additions
from search.inspector import Inspector


@dataclass(frozen=True, slots=True)
class Replayed:
    """One image's present score and verdict, and those after the change."""

    path: Path
    score: float
    verdict: Verdict
    score_after: float
    verdict_after: Verdict


@dataclass(frozen=True, slots=True)
class ReplayedDefect:
    """One known defect's present score and verdict, and those after the change.

    They depend only on its anomalous patches, so the true score after the change may be higher: a
    false alarm is possible, a missed one is not.
    """

    image: LibraryImage
    score: float
    verdict: Verdict
    score_after: float
    verdict_after: Verdict

    @property
    def missed(self) -> bool:
        """True if the defect is caught today and would pass after the change."""
        return self.verdict != "ok" and self.verdict_after == "ok"


@dataclass(frozen=True, slots=True)
class KnownDefects:
    """The defective images of a library with their stored anomalous patches.

    Attributes:
        revision: revision at which they were read.
        patches: N patches of ``images``.
        distances: (N,) float32 distances to the nearest normal patches.
    """

    revision: int
    images: tuple[LibraryImage, ...]
    patches: MemoryBank
    distances: Float32


@dataclass(frozen=True, slots=True)
class Replay:
    """Effects of adding images as normal.

    Attributes:
        roles: role that each image would get, see `Preview`.
        patches: number of patches that would be added to the memory bank.
        threshold, threshold_after: reject thresholds before and after.
        images: the images that would be added, then the others requested, without unreadable ones.
        unreadable: images that cannot be read.
        defects: every known defect of the library.
    """

    roles: tuple[str, ...]
    patches: int
    threshold: float
    threshold_after: float
    images: tuple[Replayed, ...]
    unreadable: tuple[Skipped, ...]
    defects: tuple[ReplayedDefect, ...]

    @property
    def missed(self) -> tuple[ReplayedDefect, ...]:
        """Known defects that would pass after the change, the strongest first."""
        missed = (defect for defect in self.defects if defect.missed)
        return tuple(sorted(missed, key=lambda defect: -defect.score))

    @property
    def changed(self) -> tuple[Replayed, ...]:
        """Images whose verdict would change."""
        return tuple(image for image in self.images if image.verdict != image.verdict_after)


def read_known_defects(inspector: Inspector) -> KnownDefects:
    """The known defects of a category; CategoryError if it stores no patches."""
    inspector.refresh()
    check_keeps_patches(inspector.category, "a replay")
    patches = read_defect_patches(inspector.category)
    library = read_images(inspector.category, {"label": "defective"})
    kept = [library[key] for key in np.unique(patches.image_ids).tolist()]
    distances = np.zeros(0, np.float32)
    if kept:
        distances = inspector.index.search(patches.vectors).distances
    return KnownDefects(inspector.entry.revision, tuple(kept), patches, distances)


def replay_additions(
    inspector: Inspector,
    images: Sequence[Path | ImageFeatures],
    others: Sequence[Path | ImageFeatures] = (),
    *,
    known: KnownDefects | None = None,
) -> Replay:
    """Replay adding ``images`` as normal; writes nothing.

    Verdicts are those of the images themselves, of ``others``, and of every known defect of the
    library.

    Args:
        known: the defects from `read_known_defects` at this revision; read from the store if not
            given.

    Raises:
        ImageError: none of the images can be read.
        CategoryError: the category has an image-level backbone.
    """
    inspector.refresh()
    check_keeps_patches(inspector.category, "a replay")
    if known is None or known.revision != inspector.entry.revision:
        known = read_known_defects(inspector)
    joining, unreadable = _readable(inspector, images)
    if not joining:
        raise ImageError(f"{unreadable[0].path}: {unreadable[0].reason}")
    beside, also_unreadable = _readable(inspector, others)
    preview = preview_additions(joining, category=inspector.category, bank=inspector.bank)
    change = _Change(inspector, preview.vectors, preview.calibration)
    return Replay(
        roles=preview.roles,
        patches=len(preview.vectors),
        threshold=inspector.calibration.threshold,
        threshold_after=preview.calibration.threshold,
        images=tuple(change.replay_image(image) for image in (*joining, *beside)),
        unreadable=(*unreadable, *also_unreadable),
        defects=tuple(change.replay_defects(known)),
    )


class _Change:
    """The patches (P, D) that would be added to the memory bank, and the calibration afterwards."""

    def __init__(self, inspector: Inspector, vectors: Float32, after: Calibration) -> None:
        self._index, self._before, self._after = inspector.index, inspector.calibration, after
        self._new = ExactIndex(vectors) if len(vectors) else None
        self._aggregate = open_scorer(inspector.category).aggregate

    def replay_image(self, image: ImageFeatures) -> Replayed:
        distances = self._index.search(image.patches).distances
        return Replayed(image.path, *self._told(distances, self._lowered(image.patches, distances)))

    def replay_defects(self, known: KnownDefects) -> Iterator[ReplayedDefect]:
        lowered = self._lowered(known.patches.vectors, known.distances)
        for image in known.images:
            own = known.patches.image_ids == image.image_id
            yield ReplayedDefect(image, *self._told(known.distances[own], lowered[own]))

    def _lowered(self, patches: Float32, distances: Float32) -> Float32:
        if self._new is None or not distances.size:
            return distances
        lowered: Float32 = np.minimum(distances, self._new.search(patches).distances)
        return lowered

    def _told(self, distances: Float32, lowered: Float32) -> tuple[float, Verdict, float, Verdict]:
        score, after = self._aggregate(distances), self._aggregate(lowered)
        return score, self._before.verdict(score), after, self._after.verdict(after)


def _readable(
    inspector: Inspector, images: Sequence[Path | ImageFeatures]
) -> tuple[list[ImageFeatures], list[Skipped]]:
    files = iter(inspector.embed(i for i in images if not isinstance(i, ImageFeatures)))
    found = [image if isinstance(image, ImageFeatures) else next(files) for image in images]
    return (
        [image for image in found if not isinstance(image, Skipped)],
        [image for image in found if isinstance(image, Skipped)],
    )
