"""Descriptions of a learnt category: its commit point, its library images, its patches."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from backbones.base import BackboneSpec, Precision
from backbones.errors import VecspectError
from backbones.model_card import spec_from_dict, spec_to_dict

Float32 = NDArray[np.float32]
LayoutName = Literal["holdout", "leave-one-out"]
Role = Literal["bank", "calibration", "test", "quarantined"]


class CategoryError(VecspectError):
    """Raised when a category is missing, misnamed or unsuitable for a request."""


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """Everything about one revision of a category that is neither vector nor array.

    Attributes:
        revision: increases by one with every change.
        attempt: id of the change that made this revision, see `attempt_id`.
        parent: head from which the change was planned; empty for a category's first revision.
        origin: the revision that was learnt from scratch, on which the later ones build.
        action: the change that made this revision, in words.
        user, reason, station: who made it, why and where, if known.
        fingerprint: of the backbone the category was indexed with.
        source: weight file or exported network at index time; a hint only, the fingerprint decides.
        spec: spec of the backbone, from which its network can be rebuilt.
        layout: how the normal images are divided, see `indexer.bank.layout`.
        feature_space: payload of the space in which patches are compared, see
            `indexer.bank.feature_space`.
        aggregation: how patch distances become the image score, see `indexer.scoring.aggregation`.
        radius: covering radius of the memory bank, in the space the coreset was chosen in.
        build_key: hash of all inputs of the build, to recognise a repeated build.
        calibration: payload of `indexer.calibration.base.Calibration`.
        settings: coreset share, holdout share and seed of the build.
        counts: images and patches by role.
        skipped: path and reason of each image that could not be decoded.
        versions: versions of the software that built it.
        built_at: time of the build (ISO 8601).
    """

    category: str
    backbone: str
    revision: int
    attempt: str
    parent: str
    origin: int
    action: str
    fingerprint: str
    precision: Precision
    source: str | None
    spec: BackboneSpec
    layout: LayoutName
    feature_space: dict[str, Any]
    aggregation: str
    radius: float
    build_key: str
    calibration: dict[str, Any]
    settings: dict[str, float]
    counts: dict[str, int]
    skipped: list[list[str]]
    versions: dict[str, str]
    built_at: str
    user: str = ""
    reason: str = ""
    station: str = ""

    @property
    def head(self) -> str:
        """Value of the category's head while this revision is the current one."""
        return f"{self.revision}-{self.attempt}"

    def to_text(self) -> str:
        """The entry as JSON text, because the engine's payloads round the last bit of a double."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps(values | {"spec": spec_to_dict(self.spec)})

    @classmethod
    def from_text(cls, text: str) -> CatalogEntry:
        """Restore an entry from its JSON text, the inverse of `to_text`."""
        values = json.loads(text)
        return cls(**values | {"spec": spec_from_dict(values["spec"])})


def attempt_id(parent: str, action: str, inputs: object) -> str:
    """Id of a change, from the head it starts from, the action and its inputs (JSON types).

    An interrupted change has the same id when it is run again, and two equal changes are one.
    """
    text = json.dumps([parent, action, inputs], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class LibraryImage:
    """One image of a category's library.

    Attributes:
        sha256: hash of the file's bytes.
        label: ``normal`` or ``defective``.
        defect_type: type of a defective image; empty until somebody names it.
        split: role of the image.
        width, height: size of the upright image, in pixels.
        score: image score when it was added; None for images of the memory bank and for normal
            images that were added later.
        group: images of one group are never divided between memory bank and calibration; the
            image's own sha256 by default.
        fields: values that users gave it, such as line or batch.
        added_at: time it was added (ISO 8601), as read from the store.
    """

    image_id: str
    path: str
    sha256: str
    label: str
    defect_type: str
    split: str
    width: int
    height: int
    score: float | None
    group: str
    fields: Mapping[str, str] = field(default_factory=dict, hash=False)
    added_at: str = field(default="", compare=False)


IMAGE_FIELDS = tuple(f.name for f in fields(LibraryImage) if f.name != "fields")


@dataclass(frozen=True, slots=True)
class MemoryBank:
    """Patches and their origin: the normal patches of a memory bank, or those of defects.

    Attributes:
        vectors: (M, D) float32.
        image_ids: (M,) str, image of each patch.
        cells: (M, 2) int32, row and column of each patch in its image.
    """

    vectors: Float32
    image_ids: NDArray[np.str_]
    cells: NDArray[np.int32]

    def __post_init__(self) -> None:
        count = len(self.vectors)
        if self.vectors.ndim != 2 or len(self.image_ids) != count or self.cells.shape != (count, 2):
            raise ValueError(
                "expected vectors (M, D), image_ids (M,) and cells (M, 2), got "
                f"{self.vectors.shape}, {self.image_ids.shape} and {self.cells.shape}"
            )

    @classmethod
    def empty(cls, dim: int) -> MemoryBank:
        """A bank without patches, for embeddings of ``dim`` values."""
        return cls(np.zeros((0, dim), np.float32), np.zeros(0, np.str_), np.zeros((0, 2), np.int32))

    def __len__(self) -> int:
        return len(self.vectors)

    def select(self, rows: NDArray[np.bool_]) -> MemoryBank:
        """The patches selected by the mask ``rows`` (M,)."""
        return MemoryBank(self.vectors[rows], self.image_ids[rows], self.cells[rows])

    def extended(self, other: MemoryBank) -> MemoryBank:
        """The patches of this bank followed by those of ``other``."""
        return MemoryBank(
            np.concatenate([self.vectors, other.vectors]),
            np.concatenate([self.image_ids, other.image_ids]),
            np.concatenate([self.cells, other.cells]),
        )
