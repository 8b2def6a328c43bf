"""What describes a learnt category: its commit point, an image of its library, its patches."""

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
    """A category is missing, misnamed, or does not match what is asked of it."""


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """Everything about one revision of a category that is neither vector nor array.

    Attributes:
        revision: grows by one with every change.
        attempt: id of the change that made this revision, see `attempt_id`.
        parent: head that the change was planned from; empty of a category's first revision.
        origin: the revision that was learnt from scratch; the ones since build on it.
        action: what made this revision, in words.
        user, reason, station: who made it, why and where, as far as told.
        fingerprint: of the backbone the category was indexed with.
        source: weight file or exported network of index time; a hint, the fingerprint decides.
        spec: of the backbone, so that its network can be made again.
        layout: how the normal images are divided, see `indexer.bank.layout`.
        feature_space: payload of the space that patches are compared in, see
            `indexer.bank.feature_space`.
        aggregation: how patch distances become the image score, see `indexer.scoring.aggregation`.
        radius: covering radius of the memory bank, in the space the coreset was chosen in.
        build_key: hash of all inputs of the build, to recognise a repeated one.
        calibration: payload of `indexer.calibration.base.Calibration`.
        settings: coreset share, holdout share and seed of the build.
        counts: images and patches by role.
        skipped: path and reason of each image that could not be decoded.
        versions: of the software that built it.
        built_at: ISO 8601.
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
        """The entry as JSON: the engine's own payloads round the last bit of a double."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps(values | {"spec": spec_to_dict(self.spec)})

    @classmethod
    def from_text(cls, text: str) -> CatalogEntry:
        """Inverse of `to_text`."""
        values = json.loads(text)
        return cls(**values | {"spec": spec_from_dict(values["spec"])})


def attempt_id(parent: str, action: str, inputs: object) -> str:
    """Id of a change by the head it starts from, what it does and to what (of JSON types).

    A change that was cut off has the same id when it is run again, and two equal ones are one.
    """
    text = json.dumps([parent, action, inputs], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class LibraryImage:
    """One image of a category's library.

    Attributes:
        sha256: of the file's bytes.
        label: ``normal`` or ``defective``.
        defect_type: of a defective image; empty until somebody names it.
        split: its role.
        width, height: of the upright image, in pixels.
        score: image score when it joined; None for the images of the memory bank and for normal
            ones that joined later.
        group: images of one group never stand on both sides of memory bank and calibration; its
            own sha256 by default.
        fields: what users say of it, such as line or batch.
        added_at: when it joined (ISO 8601), as read from the store.
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
    """Patches and where they come from: the normal ones of a memory bank, or those of defects.

    Attributes:
        vectors: (M, D) float32.
        image_ids: (M,) str, the image each patch came from.
        cells: (M, 2) int32, its row and column there.
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
        """A bank without a patch of ``dim`` values."""
        return cls(np.zeros((0, dim), np.float32), np.zeros(0, np.str_), np.zeros((0, 2), np.int32))

    def __len__(self) -> int:
        return len(self.vectors)

    def select(self, rows: NDArray[np.bool_]) -> MemoryBank:
        """The patches for which ``rows`` (M,) holds."""
        return MemoryBank(self.vectors[rows], self.image_ids[rows], self.cells[rows])

    def extended(self, other: MemoryBank) -> MemoryBank:
        """These patches and then those of ``other``."""
        return MemoryBank(
            np.concatenate([self.vectors, other.vectors]),
            np.concatenate([self.image_ids, other.image_ids]),
            np.concatenate([self.cells, other.cells]),
        )
