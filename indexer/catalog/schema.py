"""What lies where in Qdrant: collections, payload fields and ids.

The only module that knows how collections are named and points identified. One catalog point per
(category, backbone) carries the revision that readers use; every other point carries the
revisions it belongs to: from ``since`` on and before ``until``. A change writes the points of the
next revision and the ends of those that leave first, and the catalog point last, so a reader sees
the revision before or the one after, never a mixture, even if the writer is killed; and it writes
what changes, not the rest.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from backbones.base import BackboneSpec, Precision
from backbones.errors import VecspectError
from indexer.store.base import PayloadIndex, Point, Range

Float32 = NDArray[np.float32]
Layout = Literal["holdout", "leave-one-out"]
CATALOG = "catalog"
FOREVER = 2**31 - 1
"""``until`` of a point that no revision has ended."""
PATCH, WHOLE, DEFECT = "patch", "whole", "defect"
DEFECT_PATCHES = "defect_patches"
"""Among the counts of every patch-level category that keeps patches of its defective images."""
USER = "user_"
"""Before the name of a user field in a payload: no such field can hide one of vecspect's."""
LIFE_INDEXES: dict[str, PayloadIndex] = {"since": "integer", "until": "integer"}
LIBRARY_INDEXES: dict[str, PayloadIndex] = {
    "image_id": "keyword",
    "sha256": "keyword",
    "label": "keyword",
    "defect_type": "keyword",
    "split": "keyword",
    "score": "float",
    "added_at": "datetime",
    **LIFE_INDEXES,
}
"""Every field of the image library that can be filtered; for the users' own see
`indexer.catalog.collections.index_fields`."""
_NAMESPACE = uuid.UUID("6f4c1c52-4a0e-5d0b-9d3c-0b6f2a7c9e11")
_CATEGORY = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._]|-(?!-))*")


class CategoryError(VecspectError):
    """A category is missing, misnamed, or does not match what is asked of it."""


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """Everything about one learnt category that is not a vector.

    Attributes:
        fingerprint: of the backbone the category was indexed with.
        source: weight file or exported network of index time; a hint, the fingerprint decides.
        revision: grows by one with every change.
        origin: the revision that was learnt from scratch; the ones since build on it.
        action: what made this revision, in words.
        layout: ``holdout``: some normal images calibrate and the others are the memory bank;
            ``leave-one-out``: every normal image does both, see `indexer.bank.leave_one_out`.
        radius: covering radius of the memory bank, in the space the coreset was chosen in.
        build_key: hash of all inputs of the build, to recognise a repeated one.
        calibration: what the calibrator returned, opaque here but for its ``method``.
        settings: coreset share, holdout share and seed of the build.
        spec: of the backbone, so that its network can be made again.
        channels: ``mean`` and ``std`` (D,) of a backbone that a category normalises, else empty.
        counts: images and patches by role.
        skipped: path and reason of each image that could not be decoded.
        versions: of the software that built it.
    """

    category: str
    backbone: str
    fingerprint: str
    precision: Precision
    source: str | None
    revision: int
    origin: int
    action: str
    layout: Layout
    radius: float
    build_key: str
    spec: BackboneSpec
    channels: dict[str, list[float]]
    calibration: dict[str, Any]
    settings: dict[str, float]
    counts: dict[str, int]
    skipped: list[list[str]]
    versions: dict[str, str]
    built_at: str


@dataclass(frozen=True, slots=True)
class LibraryImage:
    """One image of a category's library, as kept in Qdrant.

    ``split`` is its role: ``bank``, ``calibration``, ``test`` or ``quarantined``. ``score`` is the
    one it had when it joined; None for the images of the memory bank and for normal ones that
    joined later. ``defect_type`` of a defective image is empty until somebody names it. ``fields``
    are what users say of it, such as line or batch. ``added_at`` is when it joined (ISO 8601), as
    read from the store.
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
    fields: Mapping[str, str] = field(default_factory=dict, hash=False)
    added_at: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class MemoryBank:
    """The normal patches kept for a category; or those of defects.

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


def check_category(category: str) -> str:
    """The name itself; CategoryError if collections cannot be named after it."""
    if len(category) > 64 or not _CATEGORY.fullmatch(category):
        raise CategoryError(
            f"'{category}' is not a category name: expected at most 64 letters, digits, '.', '_' "
            "and single '-', beginning with a letter or digit."
        )
    return category


def bank_collection(category: str, backbone: str) -> str:
    """Collection of the memory-bank patches; an image-level backbone has none."""
    return f"{category}--{_as_part(backbone)}--bank"


def images_collection(category: str, backbone: str) -> str:
    """Collection of the image library."""
    return f"{category}--{_as_part(backbone)}--images"


def defects_collection(category: str, backbone: str) -> str:
    """Collection of the deviating patches of defective images."""
    return f"{category}--{_as_part(backbone)}--defects"


def patches_collection(category: str, backbone: str) -> str:
    """Collection of what recalibrates without image files, see `indexer.catalog.cached_arrays`."""
    return f"{category}--{_as_part(backbone)}--patches"


def history_collection(category: str, backbone: str) -> str:
    """Collection of the catalog entries of every revision since ``origin``."""
    return f"{category}--{_as_part(backbone)}--history"


def health_collection(category: str, backbone: str) -> str:
    """Collection of a line about each of the images scored last, whatever their revision."""
    return f"{category}--{_as_part(backbone)}--health"


def collections_of(entry: CatalogEntry) -> list[str]:
    """Every collection of a category whose points have revisions: all but catalog and health."""
    names = (entry.category, entry.backbone)
    shared = [patches_collection(*names), images_collection(*names), history_collection(*names)]
    if entry.spec.level == "image":
        return shared
    patches = [bank_collection(*names)]
    if DEFECT_PATCHES in entry.counts:
        patches.append(defects_collection(*names))
    return [*patches, *shared]


def lifetime(entry: CatalogEntry) -> dict[str, int]:
    """Payload of a point that joins with this revision."""
    return {"since": entry.revision, "until": FOREVER}


def visible(entry: CatalogEntry) -> dict[str, Any]:
    """The condition that a point belongs to the entry's revision."""
    return {
        "since": Range(gte=entry.origin, lte=entry.revision),
        "until": Range(gt=entry.revision),
    }


def image_id(category: str, backbone: str, sha256: str) -> str:
    """Stable id of an image in a library: the same bytes have the same id in every revision."""
    return _uuid(category, backbone, sha256)


def patch_point(
    entry: CatalogEntry, image: LibraryImage, row: int, col: int, vector: Float32
) -> Point:
    """One patch of the memory bank or of a defect; ``vector`` (D,)."""
    return Point(
        id=_uuid(image.image_id, entry.revision, row, col),
        vectors={PATCH: vector},
        payload={"image_id": image.image_id, "row": row, "col": col, **lifetime(entry)},
    )


def image_point(
    entry: CatalogEntry,
    image: LibraryImage,
    embedding: Float32,
    added_at: str,
    defect: Float32 | None = None,
) -> Point:
    """One library image; ``embedding`` (E,), and (D,) of what deviates in a defective one."""
    vectors = {WHOLE: embedding} if defect is None else {WHOLE: embedding, DEFECT: defect}
    payload = {**image_payload(image), **lifetime(entry), "added_at": added_at}
    return Point(id=_uuid(image.image_id, entry.revision), vectors=vectors, payload=payload)


def image_payload(image: LibraryImage) -> dict[str, Any]:
    """What `library_image` reads."""
    payload = asdict(image)
    fields = payload.pop("fields")
    return payload | {USER + name: value for name, value in fields.items()}


def library_image(payload: Mapping[str, Any]) -> LibraryImage:
    """The image described by a point's payload."""
    known = {name: payload[name] for name in LibraryImage.__slots__ if name != "fields"}
    fields = {n.removeprefix(USER): str(v) for n, v in payload.items() if n.startswith(USER)}
    return LibraryImage(**known, fields=fields)


def catalog_id(entry: CatalogEntry) -> str:
    """Id of a category's one point in the catalog."""
    return _uuid(entry.category, entry.backbone)


def point_id(entry: CatalogEntry, *parts: object) -> str:
    """Id of a point that joins with the entry's revision."""
    return _uuid(entry.category, entry.backbone, entry.revision, *parts)


def health_point_id(entry: CatalogEntry, slot: int) -> str:
    """Id of a place in the rolling window."""
    return _uuid(entry.category, entry.backbone, "health", slot)


def copied_id(original: str, revision: int) -> str:
    """Id of the copy of a point that comes back with ``revision``."""
    return _uuid(original, revision)


def _uuid(*parts: object) -> str:
    return str(uuid.uuid5(_NAMESPACE, "/".join(str(part) for part in parts)))


def _as_part(backbone: str) -> str:
    """A backbone's name as part of a collection's, where only letters, digits, ., _, - may be."""
    return backbone.replace(":", ".").replace(",", "_")
