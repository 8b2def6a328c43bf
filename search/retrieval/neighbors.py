"""Queries the image library for similar images, and for named defects."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from backbones.geometry import Box
from indexer.calibration.base import Calibration, Verdict
from indexer.calibration.methods import read_calibration
from indexer.catalog.category import Category, library_image
from indexer.catalog.collections import similar_images
from indexer.catalog.commits import read_catalog
from indexer.catalog.entry import LibraryImage
from indexer.catalog.schema import DEFECT, USER, WHOLE
from indexer.scoring.whitening import read_whitening
from indexer.store.base import Not, Range, Where

Float32 = NDArray[np.float32]
By = Literal["whole", "defect", "region"]
_VECTOR: dict[By, str] = {"whole": WHOLE, "defect": DEFECT}


@dataclass(frozen=True, slots=True)
class Neighbor:
    """A library image near a query.

    Attributes:
        distance: cosine distance of the compared embeddings; in a search by region, the mean
            Euclidean distance from the region's patches to the nearest patches of the image.
        verdict: verdict on its score at the current levels; None for an image that was never
            scored.
        fields: values that users gave it.
        box: in a search by region, the box around the matching patches, in pixels of the upright
            image.
    """

    image_id: str
    category: str
    path: str
    label: str
    defect_type: str
    split: str
    distance: float
    verdict: Verdict | None
    fields: Mapping[str, str]
    box: Box | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of ``vecspect similar --json``; only a search by region has a ``box``."""
        told = asdict(self)
        del told["box"]
        return told if self.box is None else told | {"box": self.box.as_list()}


def conditions(
    *,
    without: str = "",
    label: str | None = None,
    defect_type: str | None = None,
    where: Mapping[str, str],
) -> Where:
    """Conditions on the library images to be found.

    Args:
        without: sha256 of the image to leave out.
        where: user fields that must have these values.
    """
    wanted: dict[str, Any] = {"sha256": Not(without)}
    wanted |= {USER + name: value for name, value in where.items()}
    if label is not None:
        wanted["label"] = label
    if defect_type is not None:
        wanted["defect_type"] = defect_type
    return wanted


def neighbors(
    category: Category,
    embedding: Float32,
    *,
    by: Literal["whole", "defect"],
    top: int,
    where: Where,
    score: float | None = None,
    across_categories: bool = False,
    exact: bool = False,
) -> list[Neighbor]:
    """The library images nearest to ``embedding`` (D,), nearest first.

    Args:
        embedding: whole embedding, or defect embedding before whitening, which differs by category.
        where: conditions on the images, see `conditions`.
        score: score of the query; images that score like it come first, see `scored_alike`, and the
            others only if these are fewer than ``top``. None compares only embeddings.
        across_categories: also search the other categories learnt with the same network.
        exact: search without a graph, see `similar_images`.
    """
    asked = read_calibration(category.entry)
    found: list[tuple[bool, Neighbor]] = []
    for each in _same_network(category) if across_categories else [category]:
        asked_for = read_whitening(each).whiten(embedding) if by == "defect" else embedding
        search = functools.partial(
            similar_images, each, asked_for, top=top, using=_VECTOR[by], exact=exact
        )
        calibration = read_calibration(each.entry)
        alike = [] if score is None else scored_alike(score, asked, calibration)
        first = {hit.id: hit for like in alike for hit in search(where={**where, **like})}
        rest = search(where=where) if len(first) < top else []
        hits = [*first.values(), *(hit for hit in rest if hit.id not in first)]
        for hit in hits:
            image = library_image(hit.payload)
            neighbor = neighbor_of(each.name, image, 1.0 - hit.score, calibration)
            found.append((hit.id not in first, neighbor))
    found.sort(key=lambda n: (n[0], n[1].distance, n[1].category, n[1].image_id))
    return [neighbor for _, neighbor in found[:top]]


def _same_network(category: Category) -> list[Category]:
    """The categories whose embeddings are comparable with those of this one."""
    fingerprint = category.entry.fingerprint
    return [c for c in read_catalog(category.store) if c.entry.fingerprint == fingerprint]


def scored_alike(score: float, asked: Calibration, calibration: Calibration) -> list[Where]:
    """Conditions, any of which selects library images that are as anomalous as a query.

    A small defect hardly changes the embedding of the whole image: by that embedding, a normal
    image finds defective images nearly as readily as normal ones. For a query whose score is
    rejected, the conditions select the rejected images. For any other query they select the images
    with a score no higher, by rank among the calibration scores, and those from which the category
    was learnt: these define normal, and those of the memory bank have no score that a new image
    could be compared with.

    Args:
        score: score of the query.
        asked: calibration of the category that scored it.
        calibration: calibration of the category whose images are searched.
    """
    if score > asked.threshold:
        return [{"split": "test", "score": Range(gt=calibration.threshold)}]
    below = int(np.searchsorted(asked.scores, score, side="left"))
    bound = calibration.threshold
    if below < asked.n:
        bound = min(bound, calibration.scores[below * calibration.n // asked.n])
    return [{"split": ["bank", "calibration"]}, {"split": "test", "score": Range(lte=bound)}]


def neighbor_of(
    category: str,
    image: LibraryImage,
    distance: float,
    calibration: Calibration,
    box: Box | None = None,
) -> Neighbor:
    """A library image as a search result, with its verdict at the current levels."""
    return Neighbor(
        image_id=image.image_id,
        category=category,
        path=image.path,
        label=image.label,
        defect_type=image.defect_type,
        split=image.split,
        distance=distance,
        verdict=None if image.score is None else calibration.verdict(image.score),
        fields=image.fields,
        box=box,
    )
