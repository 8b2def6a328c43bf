"""Names what a library image shows, and sets users' fields: each change is one revision."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from backbones.base import Backbone
from backbones.decode import HashedFile, hash_file
from backbones.errors import ImageError
from backbones.pipeline import Skipped, embed_images
from indexer.bank.feature_space import in_space
from indexer.catalog.category import Category
from indexer.catalog.collections import index_fields, known_images
from indexer.catalog.commits import commit
from indexer.catalog.counts import counted_role
from indexer.catalog.entry import CategoryError, Float32, LibraryImage
from indexer.catalog.revisions import rewrite_image, undo_interrupted
from indexer.learn.defect_patches import write_defect_patches
from indexer.scoring.open_scorer import open_scorer
from indexer.update.change import Change, count_images

_FIELD = re.compile(r"[A-Za-z0-9_-]{1,64}")


def check_field(name: str) -> str:
    """Return the name itself; CategoryError if a user field cannot have it."""
    if not _FIELD.fullmatch(name):
        raise CategoryError(
            f"'{name}' is not a field name: expected 1 to 64 letters, digits, '_' and '-'."
        )
    return name


def label_images(
    ids: Sequence[str],
    *,
    category: Category,
    backbone: Callable[[], Backbone],
    defect_type: str | None = None,
    fields: Mapping[str, str] | None = None,
) -> Change:
    """Give library images a defect type, user fields, or both, as one revision.

    A type makes an image defective. If it was a normal image outside the bank and the calibration,
    its defect embedding is computed from its file. An empty value removes a field.

    Args:
        backbone: returns the network with which the category was learnt; called only if a file is
            read.

    Raises:
        CategoryError: the library has no such id, or the image is in the memory bank or the
            calibration.
        ImageError: the file of an image that becomes defective is missing or has changed.
    """
    fields = {check_field(name): value for name, value in (fields or {}).items()}
    undo_interrupted(category)
    images = known_images(category, ids)
    renamed = {key: _renamed(image, category, defect_type, fields) for key, image in images.items()}
    changed = {key: image for key, image in renamed.items() if image != images[key]}
    if not changed:
        return Change(category, ())
    after = category.following("label", [defect_type, fields, list(changed)])
    turned = [images[key] for key in changed if changed[key].label != images[key].label]
    measured: dict[str, tuple[float, Float32 | None]] = {}
    if turned:
        after, measured = _measure(turned, category, after, backbone)
    index_fields(category, fields)
    for key, image in changed.items():
        score, defect = measured.get(key, (image.score, None))
        if image.split != images[key].split:
            after = counted_role(after, image.split, 1)
        rewrite_image(category, after, replace(image, score=score), defect)
    said = [defect_type] if defect_type else []
    said += [f"{name}={value}" for name, value in fields.items()]
    after = after.with_entry(action=f"labelled {count_images(len(changed))} {', '.join(said)}")
    commit(after)
    return Change(after, tuple(changed))


def _renamed(
    image: LibraryImage, category: Category, defect_type: str | None, fields: Mapping[str, str]
) -> LibraryImage:
    merged = {name: v for name, v in {**image.fields, **fields}.items() if v}
    image = replace(image, fields=merged)
    if defect_type is None:
        return image
    if image.label == "normal" and image.split in ("bank", "calibration"):
        raise CategoryError(
            f"image {image.image_id} is one of the normal images by which others are judged. If "
            "it shows a defect, set it aside first: vecspect quarantine "
            f"{image.image_id} --category {category.name}"
        )
    return replace(image, label="defective", defect_type=defect_type, split="test")


def _measure(
    images: Sequence[LibraryImage],
    before: Category,
    after: Category,
    backbone: Callable[[], Backbone],
) -> tuple[Category, dict[str, tuple[float, Float32 | None]]]:
    """Score and defect embedding (D,) by image id, computed from the images' files.

    The anomalous patches are added to the revision ``after``, which is returned.
    """
    files = [_unchanged_file(image) for image in images]
    scorer = open_scorer(before)
    network = in_space(backbone(), before.entry.feature_space)
    measured = {}
    outcomes = embed_images(network, files)
    for image, found in zip(images, outcomes, strict=True):
        if isinstance(found, Skipped):
            raise ImageError(f"{found.path}: {found.reason}")
        scored = scorer.score(found)
        measured[image.image_id] = scored.score, scorer.defect_embedding(found, scored)
        after = write_defect_patches(after, image.image_id, found.patches, scored.distances)
    return after, measured


def _unchanged_file(image: LibraryImage) -> HashedFile:
    with contextlib.suppress(ImageError):
        file = hash_file(Path(image.path))
        if file.sha256 == image.sha256:
            return file
    raise ImageError(
        f"{image.path}: expected the file of image {image.image_id} to compute its defect "
        "embedding, but it is missing or has changed. Add the file again: vecspect add FILE "
        "--label defective"
    )
