"""Which image plays which part: in a build, and when it joins later.

Each image has a place of its own, by the hash of its content, and those with the lowest places
calibrate. So it hardly matters in which order images come, and never how they score or are named:
an image that calibrates is drawn like any other, which split conformal needs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from backbones.pipeline import Skipped
from backbones.weights import sha256_of
from indexer.catalog.schema import CatalogEntry
from indexer.data.image_records import DatasetError, ImageRecord


@dataclass(frozen=True, slots=True)
class Item:
    """A readable, unique file of the data set and its role: ``bank``, ``calibration``, ``test``."""

    record: ImageRecord
    sha256: str
    role: str


def plan(
    records: Sequence[ImageRecord],
    holdout: float,
    seed: int,
    on_file: Callable[[int, int], None],
) -> tuple[list[Item], list[Skipped], list[Path]]:
    """Hash the files, drop the unreadable and the repeated, and give each its role.

    Args:
        holdout: share of the normal training images that calibrates.
        on_file: called with files done and in total.

    Returns:
        Items, the unreadable files, and the files that repeat another's bytes.

    Raises:
        DatasetError: fewer than two normal images.
    """
    skipped: list[Skipped] = []
    duplicates: list[Path] = []
    first: dict[str, ImageRecord] = {}
    with ThreadPoolExecutor() as pool:
        hashes = pool.map(_hash_or_reason, (record.path for record in records))
        for done, (record, outcome) in enumerate(zip(records, hashes, strict=True), 1):
            on_file(done, len(records))
            if isinstance(outcome, Skipped):
                skipped.append(outcome)
            elif outcome in first:
                duplicates.append(record.path)
            else:
                first[outcome] = record
    normal = [h for h, r in first.items() if r.split == "train"]
    if len(normal) < 2:
        raise DatasetError(
            f"learning needs at least 2 different normal training images (one for the memory bank, "
            f"one to calibrate), got {len(normal)}. Add normal images."
        )
    n_held_out = min(len(normal) - 1, max(1, round(holdout * len(normal))))
    held_out = _lowest_places(normal, n_held_out, seed)
    items = [
        Item(r, h, "test" if r.split == "test" else "calibration" if h in held_out else "bank")
        for h, r in first.items()
    ]
    return items, skipped, duplicates


def roles_of_joining(entry: CatalogEntry, hashes: Sequence[str]) -> dict[str, str]:
    """What each normal image becomes, ``bank`` or ``calibration``, by the sha256 of its file.

    Of those that join together, the ones with the lowest places calibrate, as many as the category
    lacks for its share. Of a leave-one-out category every image is one of the bank.
    """
    if entry.layout == "leave-one-out":
        return dict.fromkeys(hashes, "bank")
    bank, calibration = entry.counts["bank_images"], entry.counts["calibration_images"]
    share = entry.settings["holdout"] * (bank + calibration + len(hashes))
    lacking = max(0, round(share) - calibration)
    chosen = _lowest_places(hashes, lacking, int(entry.settings["seed"]))
    return {sha256: "calibration" if sha256 in chosen else "bank" for sha256 in hashes}


def _lowest_places(hashes: Sequence[str], count: int, seed: int) -> set[str]:
    """The ``count`` images of these contents whose places are lowest."""

    def place(sha256: str) -> bytes:
        return hashlib.sha256(f"{seed}/{sha256}".encode()).digest()

    return set(sorted(hashes, key=place)[:count])


def build_key(items: Sequence[Item], fingerprint: str, settings: dict[str, float]) -> str:
    """Hash of everything a build depends on."""
    files = [
        [i.sha256, i.record.label, i.record.defect_type, i.role, str(i.record.path.resolve())]
        for i in items
    ]
    text = json.dumps([sorted(files), fingerprint, settings])
    return hashlib.sha256(text.encode()).hexdigest()


def all_unusable(items: Sequence[Item], role: str, skipped: Sequence[Skipped]) -> DatasetError:
    """The error when no file of a role could be decoded."""
    paths = {item.record.path for item in items if item.role == role}
    first = next(item for item in skipped if item.path in paths)
    return DatasetError(
        f"none of the {len(paths)} normal images for the {role} can be used; the first: "
        f"{first.path}: {first.reason}"
    )


def _hash_or_reason(path: Path) -> str | Skipped:
    try:
        return sha256_of(path)
    except OSError as error:
        return Skipped(path, f"cannot be read: {error.strerror}")
