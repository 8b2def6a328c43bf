"""A category at one revision in one store: the object that all operations on it take."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from backbones.base import BackboneSpec
from indexer.catalog import schema
from indexer.catalog.entry import (
    IMAGE_FIELDS,
    CatalogEntry,
    Float32,
    LibraryImage,
    attempt_id,
)
from indexer.store.base import Point, Range, VectorStore


@dataclass(frozen=True, slots=True)
class Category:
    """A category in a store, at the revision of ``entry``."""

    store: VectorStore
    entry: CatalogEntry

    @property
    def name(self) -> str:
        """Name of the category."""
        return self.entry.category

    @property
    def backbone(self) -> str:
        """Name of the backbone the category was indexed with."""
        return self.entry.backbone

    @property
    def spec(self) -> BackboneSpec:
        """Specification of the backbone."""
        return self.entry.spec

    @property
    def keeps_patches(self) -> bool:
        """True if the category stores patches; False if only embeddings of whole images."""
        return self.entry.spec.level == "patch"

    @property
    def key(self) -> str:
        """Key of the category's head."""
        return schema.head_key(self.name, self.backbone)

    @property
    def bank(self) -> str:
        """Name of the collection of memory-bank patches."""
        return schema.bank_collection(self.name, self.backbone)

    @property
    def images(self) -> str:
        """Name of the collection of the image library."""
        return schema.images_collection(self.name, self.backbone)

    @property
    def defects(self) -> str:
        """Name of the collection of the anomalous patches of defective images."""
        return schema.defects_collection(self.name, self.backbone)

    @property
    def cached(self) -> str:
        """Name of the collection of cached arrays."""
        return schema.patches_collection(self.name, self.backbone)

    @property
    def collections(self) -> list[str]:
        """Names of all collections whose points have revisions."""
        shared = [self.cached, self.images]
        return [self.bank, self.defects, *shared] if self.keeps_patches else shared

    @property
    def lifetime(self) -> dict[str, Any]:
        """Payload fields of a point that is added with this revision."""
        return {
            "since": self.entry.revision,
            "until": schema.FOREVER,
            "attempt": self.entry.attempt,
        }

    @property
    def visible(self) -> dict[str, Any]:
        """Condition that matches the points of this revision."""
        return {
            "since": Range(gte=self.entry.origin, lte=self.entry.revision),
            "until": Range(gt=self.entry.revision),
        }

    def with_entry(self, **changes: Any) -> Category:
        """The category with some values of its entry replaced."""
        return replace(self, entry=replace(self.entry, **changes))

    def following(self, verb: str, inputs: object, **changes: Any) -> Category:
        """The next revision, planned from this one; nothing is written yet.

        Args:
            verb: the action in a word; together with ``inputs`` it determines the attempt's id.
            changes: new values of the entry. The build key is cleared unless it is among them, so
                that learning from a data set starts afresh.
        """
        head = self.entry.head
        return self.with_entry(
            **{
                "revision": self.entry.revision + 1,
                "attempt": attempt_id(head, verb, inputs),
                "parent": head,
                "build_key": "",
                "built_at": now(),
                **changes,
            }
        )

    def image_id(self, sha256: str) -> str:
        """Id of the image with these bytes."""
        return schema.image_id(self.name, self.backbone, sha256)

    def point_id(self, *parts: object) -> str:
        """Id of a point that is added with this revision."""
        return schema.point_id(self.key, self.entry.attempt, *parts)

    def patch_point(self, image_id: str, row: int, col: int, vector: Float32) -> Point:
        """A patch (D,) of the memory bank or of a defect, as a point of this revision."""
        return Point(
            id=self.point_id(image_id, row, col),
            vectors={schema.PATCH: vector},
            payload={"image_id": image_id, "row": row, "col": col, **self.lifetime},
        )

    def image_point(
        self, image: LibraryImage, embedding: Float32, defect: Float32 | None = None
    ) -> Point:
        """A library image as a point of this revision.

        Args:
            image: if its ``added_at`` is empty, that of the revision is used.
            embedding: (E,) embedding of the whole image.
            defect: (D,) defect embedding of a defective image.
        """
        vectors = {schema.WHOLE: embedding}
        if defect is not None:
            vectors[schema.DEFECT] = defect
        payload = {
            **image_payload(image),
            "added_at": image.added_at or self.entry.built_at,
            **self.lifetime,
        }
        return Point(self.point_id(image.image_id), vectors, payload)


def image_payload(image: LibraryImage) -> dict[str, Any]:
    """Payload of a library image, the inverse of `library_image`."""
    payload = asdict(image)
    fields = payload.pop("fields")
    return payload | {schema.USER + name: value for name, value in fields.items()}


def library_image(payload: Mapping[str, Any]) -> LibraryImage:
    """The library image that a point's payload describes."""
    known = {name: payload[name] for name in IMAGE_FIELDS}
    user = {n: str(v) for n, v in payload.items() if n.startswith(schema.USER)}
    return LibraryImage(
        **known, fields={n.removeprefix(schema.USER): value for n, value in user.items()}
    )


def now() -> str:
    """The current UTC time in whole seconds (ISO 8601)."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
