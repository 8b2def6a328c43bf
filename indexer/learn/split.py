"""Chooses the files of a data set to learn from, and the role of each image."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from backbones.decode import HashedFile, hash_file
from backbones.errors import ImageError
from backbones.pipeline import Skipped
from indexer.bank.layout import Layout
from indexer.catalog.entry import Role
from indexer.data.image_records import DatasetError, ImageRecord


@dataclass(frozen=True, slots=True)
class Item:
    """A readable, unique file of the data set, with its hash and its role."""

    record: ImageRecord
    sha256: str
    role: Role

    @property
    def file(self) -> HashedFile:
        """The file with its hash, so that it is not hashed again."""
        return HashedFile(self.record.path, self.sha256)

    @property
    def group(self) -> str:
        """Group of the image; by default its own content."""
        return self.record.group or self.sha256


@dataclass(frozen=True, slots=True)
class Split:
    """The files of a data set: usable, unreadable, and duplicates of others."""

    items: tuple[Item, ...]
    skipped: tuple[Skipped, ...]
    duplicates: tuple[Path, ...]

    def of_role(self, role: Role) -> list[Item]:
        """The items of one role, in the order of the data set."""
        return [item for item in self.items if item.role == role]


def split_records(
    records: Sequence[ImageRecord],
    layout: Layout,
    holdout: float,
    seed: int,
    on_file: Callable[[int, int], None] = lambda done, total: None,
) -> Split:
    """Hash the files, drop unreadable ones and duplicates, and give each a role.

    Args:
        holdout: share of the normal training images that calibrates.
        on_file: called with the number of files done and in total.

    Raises:
        DatasetError: there are fewer than two normal images, or all are of one group.
    """
    skipped: list[Skipped] = []
    duplicates: list[Path] = []
    first: dict[str, ImageRecord] = {}
    with ThreadPoolExecutor() as pool:
        hashes = pool.map(hash_or_reason, (record.path for record in records))
        for done, (record, outcome) in enumerate(zip(records, hashes, strict=True), 1):
            on_file(done, len(records))
            if isinstance(outcome, Skipped):
                skipped.append(outcome)
            elif outcome.sha256 in first:
                duplicates.append(record.path)
            else:
                first[outcome.sha256] = record
    groups = {h: r.group or h for h, r in first.items() if r.split == "train"}
    distinct = len(set(groups.values()))
    if distinct < 2:
        which = "images of different groups" if len(groups) > 1 else "images"
        raise DatasetError(
            f"learning needs at least 2 different normal training {which} (one for the memory "
            f"bank, one to calibrate), got {distinct}. Add normal images."
        )
    roles = layout.roles(groups, holdout, seed)
    items = tuple(Item(record, h, roles.get(h, "test")) for h, record in first.items())
    return Split(items, tuple(skipped), tuple(duplicates))


def build_key(items: Sequence[Item], fingerprint: str, settings: Mapping[str, float]) -> str:
    """Hash of everything a build depends on."""
    files = [
        [
            item.sha256,
            item.record.label,
            item.record.defect_type,
            item.role,
            item.group,
            str(item.record.path.resolve()),
        ]
        for item in items
    ]
    text = json.dumps([sorted(files), fingerprint, settings])
    return hashlib.sha256(text.encode()).hexdigest()


def all_unusable(items: Sequence[Item], skipped: Sequence[Skipped]) -> DatasetError:
    """Error for a role of which no file could be decoded."""
    paths = {item.record.path for item in items}
    first = next(item for item in skipped if item.path in paths)
    return DatasetError(
        f"none of the {len(paths)} normal images for the {items[0].role} can be used; the first: "
        f"{first.path}: {first.reason}"
    )


def hash_or_reason(path: Path) -> HashedFile | Skipped:
    """A file with the hash of its bytes, or the reason why it cannot be read."""
    try:
        return hash_file(path)
    except ImageError as error:
        return Skipped(path, str(error))
