"""A memory bank that learns on the line: images join, leave, or are set aside, one revision each.

A revision writes only what it changes, calibrates again from the cached arrays, and is
committed last, as in `indexer.learn.build`: a reader sees the one before or the one after.

What additions do to the bound on false rejects, if images are added as they come and not picked by
how they score: where images are held out, which ones calibrate never depends on how they score, so
split conformal stays exact. An image that joins a leave-one-out category whole, with the patches it
chose from itself alone, leaves the bank and the calibration that learning all images together would
give; as long as all did, the 2 alpha holds as it does there. Whether an image joins whole does look
at the bank, though: a near duplicate brings no patch, and once there was one (the counts
tell) the 2 alpha is no longer proven. Nor is any bound once calibration images are picked out by
hand.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from backbones.base import Backbone
from backbones.image_quality import looks_of
from backbones.pipeline import Skipped, embed_files
from backbones.weights import sha256_of
from indexer.catalog.cached_arrays import keep
from indexer.catalog.collections import check_defects_kept, read_bank, read_images, with_channels
from indexer.catalog.commits import read_history
from indexer.catalog.counts import PICKED_OUT, counted, tallied
from indexer.catalog.revisions import commit, end, restore, rewrite_image, undo_interrupted
from indexer.catalog.schema import (
    CatalogEntry,
    CategoryError,
    LibraryImage,
    MemoryBank,
    bank_collection,
    image_id,
    image_point,
    images_collection,
    patches_collection,
)
from indexer.learn.calibrator import Calibrator
from indexer.learn.defect_patches import end_deviating, keep_deviating
from indexer.learn.recalibrate import measure_again, recalibrated
from indexer.learn.split import roles_of_joining
from indexer.progress import Progress
from indexer.store.base import VectorStore
from indexer.update.joining_patches import JoiningPatches, calibrates


@dataclass(frozen=True, slots=True)
class Change:
    """What a change did.

    Attributes:
        entry: of the revision now current.
        images: ids of the images it was about, in the order given.
        patches: bank patches that joined, or left if negative; 0 of an image-level backbone, whose
            bank is the images themselves.
        uncovered: patches of the calibration images that only what left had covered: within the
            covering radius before, beyond it now.
        known: files left out because the library has the same bytes.
        skipped: files that cannot be used.
    """

    entry: CatalogEntry
    images: tuple[str, ...]
    patches: int = 0
    uncovered: int = 0
    known: tuple[Path, ...] = ()
    skipped: tuple[Skipped, ...] = ()


def add_images(
    paths: Sequence[Path],
    *,
    store: VectorStore,
    entry: CatalogEntry,
    backbone: Backbone,
    calibrator: Calibrator,
    label: str = "normal",
    defect_type: str = "",
    on_progress: Progress = lambda stage, done, total: None,
) -> Change:
    """Let images join as one revision; those the library has already are left out and named.

    Normal images keep the category's share of calibration images, see `roles_of_joining`; of a
    leave-one-out category each joins the bank and calibrates. Defective images join the library
    alone, with their score and what deviates in them.

    Args:
        backbone: the network the category was learnt with.

    Raises:
        CategoryError: the network is another one.
    """
    if backbone.fingerprint != entry.fingerprint:
        raise CategoryError(
            f"category '{entry.category}' takes images through the network it was learnt with, "
            f"fingerprint {entry.fingerprint}, got {backbone.fingerprint}. Pass the same --weights."
        )
    undo_interrupted(store, entry)
    library = read_images(store, entry)
    fresh, known, skipped = _fresh_files(paths, entry, library)
    after = following(entry)
    normal, keeps_patches = label == "normal", entry.spec.level == "patch"
    roles = roles_of_joining(entry, list(fresh)) if normal else {}
    if keeps_patches and not normal:
        check_defects_kept(store, entry)
    joining = JoiningPatches(store, entry) if keeps_patches and normal else None
    measure = None if normal else calibrator.scorer(store, entry, read_bank(store, entry))
    added_at = _now()
    joined: list[str] = []
    outcomes = embed_files(with_channels(backbone, entry), list(fresh.values()))
    for done, ((sha256, path), found) in enumerate(zip(fresh.items(), outcomes, strict=True), 1):
        on_progress("adding", done, len(fresh))
        if isinstance(found, Skipped):
            skipped.append(found)
            continue
        role = roles[sha256] if normal else "test"
        key = image_id(entry.category, entry.backbone, sha256)
        distances, defect = measure(found) if measure else (None, None)
        image = LibraryImage(
            image_id=key,
            path=str(path.resolve()),
            sha256=sha256,
            label=label,
            defect_type=defect_type,
            split=role,
            width=found.width,
            height=found.height,
            score=None if distances is None else calibrator.score(distances),
        )
        after = counted(after, role, 1)
        if distances is not None:
            after = keep_deviating(store, after, image, found.patches, distances, calibrator)
        store.upsert(
            images_collection(entry.category, entry.backbone),
            [image_point(after, image, found.image, added_at, defect)],
        )
        if joining:
            joining.take(after, image, found.patches)
        if calibrates(after, role):
            keep(store, after, "looks", looks_of([(key, str(path))], entry.spec))
        joined.append(key)
    if not joined:
        undo_interrupted(store, entry)
        return Change(entry, (), 0, 0, tuple(known), tuple(skipped))
    word = "image" if len(joined) == 1 else "images"
    action = f"added {len(joined)} {label} {word}"
    grown = 0
    if joining:
        after = joining.measure(after, calibrator)
        grown = joining.grown
        action += f", {grown} patches"
        if joining.nothing_new:
            action += f"; {joining.nothing_new} brought nothing new to the memory bank"
    after = replace(after, action=action)
    if normal:
        after = recalibrated(store, after, calibrator)
    commit(store, after)
    return Change(after, tuple(joined), grown, 0, tuple(known), tuple(skipped))


def remove_images(
    ids: Sequence[str], *, store: VectorStore, entry: CatalogEntry, calibrator: Calibrator
) -> Change:
    """Let images leave as one revision: no score, neighbour or evidence comes from them again.

    Earlier revisions keep them, for `rollback`; learning the category again deletes them.

    Raises:
        CategoryError: an id that the library does not have, or the last images of their kind.
    """
    return _leave(ids, store, entry, calibrator, "removed", keep_image=False)


def quarantine_image(
    key: str, *, store: VectorStore, entry: CatalogEntry, calibrator: Calibrator
) -> Change:
    """Keep an image in the library and out of the bank and the calibration, as one revision."""
    return _leave([key], store, entry, calibrator, "quarantined", keep_image=True)


def rollback(revision: int, *, store: VectorStore, entry: CatalogEntry) -> CatalogEntry:
    """Make the state of an earlier revision the next revision; nothing is measured again.

    Raises:
        CategoryError: no such revision since the category was learnt.
    """
    past = {old.revision: old for old in read_history(store, entry)}
    if revision not in past or revision == entry.revision:
        possible = ", ".join(str(r) for r in sorted(past) if r != entry.revision) or "none"
        raise CategoryError(
            f"revision {revision} of '{entry.category}' cannot be gone back to, now is "
            f"{entry.revision}. Possible: {possible} (see vecspect history)."
        )
    undo_interrupted(store, entry)
    changed = restore(store, entry, past[revision])
    after = replace(
        past[revision],
        revision=entry.revision + 1,
        action=f"back to revision {revision}",
        built_at=_now(),
    )
    commit(store, after, changed)
    return after


def _leave(
    ids: Sequence[str],
    store: VectorStore,
    entry: CatalogEntry,
    calibrator: Calibrator,
    verb: str,
    *,
    keep_image: bool,
) -> Change:
    undo_interrupted(store, entry)
    library = known_images(ids, store, entry)
    ids = list(library)
    if keep_image and library[ids[0]].split == "quarantined":
        raise CategoryError(f"image {ids[0]} is in quarantine already.")
    after = following(entry)
    bank_before = read_bank(store, entry)
    for key in ids:
        image = library[key]
        after = counted(after, image.split, -1)
        after = tallied(after, PICKED_OUT, calibrates(entry, image.split))
        if keep_image:
            rewrite_image(store, entry, after, replace(image, split="quarantined"))
        else:
            end(store, entry, images_collection(entry.category, entry.backbone), {"image_id": key})
        after = _end_patches(store, entry, after, key, keep_image)
    _check_left(after)
    stays = ~np.isin(bank_before.image_ids, ids)
    bank = MemoryBank(
        bank_before.vectors[stays], bank_before.image_ids[stays], bank_before.cells[stays]
    )
    lost = len(stays) - len(bank.vectors)
    uncovered = 0
    if lost:
        left = bank_before.vectors[~stays]
        uncovered = measure_again(store, entry, after, bank, left, set(ids))
        after = counted(after, "patches", -lost)
    word = "image" if len(ids) == 1 else "images"
    patches = f", {lost} patches" if entry.spec.level == "patch" else ""
    after = replace(after, action=f"{verb} {len(ids)} {word}{patches}")
    after = recalibrated(store, after, calibrator)
    commit(store, after)
    return Change(after, tuple(ids), -lost, uncovered)


def _end_patches(
    store: VectorStore, entry: CatalogEntry, after: CatalogEntry, key: str, keep_image: bool
) -> CatalogEntry:
    """Let what an image leaves beside its place in the library end; the entry ``after``.

    Of an image that stays in the library the patches stay as well, but for those in the bank.
    """
    kept = patches_collection(entry.category, entry.backbone)
    end(
        store, entry, kept, {"image_id": key, "kind": ["distances", "synthetic distances", "looks"]}
    )
    if entry.spec.level == "patch":
        end(store, entry, bank_collection(entry.category, entry.backbone), {"image_id": key})
    if keep_image:
        return after
    end(store, entry, kept, {"image_id": key, "kind": ["patches", "short", "synthetic"]})
    return end_deviating(store, entry, after, key)


def _fresh_files(
    paths: Sequence[Path], entry: CatalogEntry, library: dict[str, LibraryImage]
) -> tuple[dict[str, Path], list[Path], list[Skipped]]:
    """New files by the hash of their bytes, those that are known, and the unreadable."""
    fresh: dict[str, Path] = {}
    known: list[Path] = []
    skipped: list[Skipped] = []
    for path in paths:
        try:
            sha256 = sha256_of(path)
        except OSError as error:
            skipped.append(Skipped(path, f"cannot be read: {error.strerror}"))
            continue
        if sha256 in fresh or image_id(entry.category, entry.backbone, sha256) in library:
            known.append(path)
        else:
            fresh[sha256] = path
    return fresh, known, skipped


def known_images(
    ids: Sequence[str], store: VectorStore, entry: CatalogEntry
) -> dict[str, LibraryImage]:
    """The library images of these ids, in their order; CategoryError names one that is not."""
    library = read_images(store, entry)
    if unknown := [key for key in ids if key not in library]:
        raise CategoryError(
            f"no image {unknown[0]} in the library of '{entry.category}'. "
            "Ids are shown by vecspect audit, and by score and similar with --json."
        )
    return {key: library[key] for key in ids}


def following(entry: CatalogEntry) -> CatalogEntry:
    """The next revision; no data set makes it, so learning from one starts anew."""
    return replace(entry, revision=entry.revision + 1, build_key="", built_at=_now())


def check_patches(entry: CatalogEntry, purpose: str) -> None:
    """CategoryError if the category keeps no patches, which ``purpose`` takes."""
    if entry.spec.level == "image":
        raise CategoryError(
            f"{purpose} takes patches, and '{entry.backbone}' gives '{entry.category}' one "
            "embedding an image. Learn it with a patch network: vecspect backbones lists them."
        )


def _check_left(entry: CatalogEntry) -> None:
    needed = {"bank_images": 2 if entry.layout == "leave-one-out" else 1}
    if entry.layout == "holdout":
        needed["calibration_images"] = 1
    for name, least in needed.items():
        if entry.counts[name] < least:
            raise CategoryError(
                f"'{entry.category}' needs at least {least} of its {name.replace('_', ' ')}, "
                f"{entry.counts[name]} would be left. Add normal images first."
            )


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
