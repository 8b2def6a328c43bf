"""Names what a library image shows, and notes what users say of it: one revision a change."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backbones.base import Backbone
from backbones.errors import ImageError
from backbones.pipeline import Skipped, embed_files
from backbones.weights import sha256_of
from indexer.catalog.collections import check_defects_kept, index_fields, read_bank, with_channels
from indexer.catalog.counts import counted
from indexer.catalog.revisions import commit, rewrite_image, undo_interrupted
from indexer.catalog.schema import CatalogEntry, CategoryError, LibraryImage
from indexer.learn.calibrator import Calibrator
from indexer.learn.defect_patches import keep_deviating
from indexer.store.base import VectorStore
from indexer.update.insertion import Change, following, known_images

_Deviation = tuple[float, NDArray[np.float32] | None]
"""Score of an image and (D,) what deviates in it."""
_FIELD = re.compile(r"[A-Za-z0-9_-]{1,64}")


def check_field(name: str) -> str:
    """The name itself; CategoryError if no user field can be called so."""
    if not _FIELD.fullmatch(name):
        raise CategoryError(
            f"'{name}' is not a field name: expected 1 to 64 letters, digits, '_' and '-'."
        )
    return name


def label_images(
    ids: Sequence[str],
    *,
    store: VectorStore,
    entry: CatalogEntry,
    calibrator: Calibrator,
    backbone: Callable[[], Backbone],
    defect_type: str | None = None,
    fields: Mapping[str, str] | None = None,
) -> Change:
    """Give library images a defect type, user fields, or both, as one revision.

    A type makes an image defective. If it was a normal one outside the bank and the calibration,
    what deviates in it is taken from its file. An empty value removes a field.

    Args:
        backbone: gives the network the category was learnt with; called only if a file is read.

    Raises:
        CategoryError: an id that the library does not have, or an image that others are judged by.
        ImageError: the file of an image that becomes defective is gone or another one.
    """
    fields = fields or {}
    for name in fields:
        check_field(name)
    undo_interrupted(store, entry)
    images = known_images(ids, store, entry)
    changed = {key: _renamed(image, entry, defect_type, fields) for key, image in images.items()}
    changed = {key: image for key, image in changed.items() if image != images[key]}
    if not changed:
        return Change(entry, ())
    embedded: dict[str, _Deviation] = {}
    turned = [images[key] for key in changed if changed[key].label != images[key].label]
    after = following(entry)
    if turned:
        after, embedded = _deviations(turned, store, entry, after, calibrator, backbone)
    index_fields(store, entry, fields)
    for key, image in changed.items():
        score, defect = embedded.get(key, (image.score, None))
        if image.split != images[key].split:
            after = counted(after, image.split, 1)
        rewrite_image(store, entry, after, replace(image, score=score), defect)
    word = "image" if len(changed) == 1 else "images"
    said = [defect_type] if defect_type else []
    said += [f"{name}={value}" for name, value in fields.items()]
    after = replace(after, action=f"labelled {len(changed)} {word} {', '.join(said)}")
    commit(store, after)
    return Change(after, tuple(changed))


def _renamed(
    image: LibraryImage, entry: CatalogEntry, defect_type: str | None, fields: Mapping[str, str]
) -> LibraryImage:
    merged = {name: v for name, v in {**image.fields, **fields}.items() if v}
    image = replace(image, fields=merged)
    if defect_type is None:
        return image
    if image.label == "normal" and image.split in ("bank", "calibration"):
        raise CategoryError(
            f"image {image.image_id} is one of the normal images that others are judged by. If it "
            "shows a defect, take it out first: vecspect quarantine "
            f"{image.image_id} --category {entry.category}"
        )
    return replace(image, label="defective", defect_type=defect_type, split="test")


def _deviations(
    images: Sequence[LibraryImage],
    store: VectorStore,
    entry: CatalogEntry,
    after: CatalogEntry,
    calibrator: Calibrator,
    backbone: Callable[[], Backbone],
) -> tuple[CatalogEntry, dict[str, _Deviation]]:
    """Score and what deviates, by image id, from the files the images came from.

    The deviating patches join the revision ``after``, which is returned.
    """
    if entry.spec.level == "patch":
        check_defects_kept(store, entry)
    for image in images:
        path = Path(image.path)
        if not path.is_file() or sha256_of(path) != image.sha256:
            raise ImageError(
                f"{path}: expected the file of image {image.image_id} to see what deviates in it, "
                "it is gone or changed. Add the file again: vecspect add FILE --label defective"
            )
    measure = calibrator.scorer(store, entry, read_bank(store, entry))
    found = {}
    outcomes = embed_files(with_channels(backbone(), entry), [Path(i.path) for i in images])
    for image, outcome in zip(images, outcomes, strict=True):
        if isinstance(outcome, Skipped):
            raise ImageError(f"{outcome.path}: {outcome.reason}")
        distances, defect = measure(outcome)
        found[image.image_id] = calibrator.score(distances), defect
        after = keep_deviating(store, after, image, outcome.patches, distances, calibrator)
    return after, found
