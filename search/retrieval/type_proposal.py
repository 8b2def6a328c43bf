"""Have we seen this before: the nearest named defects propose a type, or ``unknown``.

Every figure of the answer is measured on the library itself, leaving one defect out at a time: how
near a defect lies to the nearest other one of its type, and how often the vote was right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.catalog.category import Category
from indexer.catalog.collections import read_defect_embeddings
from indexer.catalog.entry import LibraryImage
from indexer.store.base import Not

Float32 = NDArray[np.float32]

UNKNOWN = "unknown"
VOTERS = 5
ALIKE = 20
"""Left-out defects with the most similar votes, whose share of right answers is the confidence.
"""
FAR = 0.05
"""Share of the defects of known types that lie beyond the distance called too far."""
MOST = 2000
"""Largest number of defects left out one at a time; more would take longer without improving the
figures."""


@dataclass(frozen=True, slots=True)
class SeenBefore:
    """Comparison of one image with the named defects of the library.

    Attributes:
        defect_type: the proposal, or ``unknown``.
        confidence: confidence in ``nearest_type``: share of left-out library defects with a vote as
            strong that were named correctly, (right + 1) / (all + 2); also given if the answer is
            unknown.
        nearest_type: winner of the vote, even if it is too far away or too often wrong to be
            proposed.
        distance: cosine distance to the nearest named defect.
        image_id, path: image of that defect.
        cases: number of library defects of ``nearest_type``.
        share: share of these among all named defects.
        fields: number of these cases with each value of each user field.
    """

    defect_type: str
    confidence: float
    nearest_type: str
    distance: float
    image_id: str
    path: str
    cases: int
    share: float
    fields: Mapping[str, Mapping[str, int]]


class TypeProposer:
    """Named defects of a category: ``vectors`` (N, D) of length 1 and their images, N >= 2.

    A defect is called unknown if it lies farther from the nearest named one than all but a share
    `FAR` of the library's defects from the nearest other one of their type, by the rank rule of
    split conformal prediction (the level is 1/(n + 1) if n supports no smaller one), or if votes
    like its own are wrong at least half of the time.
    """

    def __init__(self, vectors: Float32, images: Sequence[LibraryImage]) -> None:
        if len(vectors) < 2 or len(vectors) != len(images):
            raise ValueError(f"expected 2 or more vectors and as many images, got {len(vectors)}")
        self._vectors, self._images = vectors, images
        self._types = np.array([image.defect_type for image in images], dtype=np.str_)
        left_out = np.random.default_rng(0).permutation(len(vectors))[:MOST]
        similarity = vectors[left_out] @ vectors.T
        similarity[np.arange(len(left_out)), left_out] = -np.inf
        votes = [_vote(row, self._types) for row in similarity]
        self._strengths = np.array([strength for _, strength in votes])
        self._right = np.array([kind for kind, _ in votes]) == self._types[left_out]
        same = self._types[left_out][:, None] == self._types[None, :]
        of_type = np.where(same, similarity, -np.inf).max(axis=1)
        # the only defect of its type has no other to be near to
        self._distances = 1 - of_type[np.isfinite(of_type)]

    def propose(self, embedding: Float32, without: str | None = None) -> SeenBefore:
        """The proposal for ``embedding`` (D,) of length 1.

        Args:
            without: sha256 of the embedded image, which does not vote if the library has it.
        """
        others = np.array([image.sha256 != without for image in self._images])
        similarity = np.where(others, self._vectors @ embedding, -np.inf).astype(np.float32)
        kind, strength = _vote(similarity, self._types)
        nearest = int(similarity.argmax())
        distance = float(1 - similarity[nearest])
        confidence = self._confidence(strength)
        known = confidence > 0.5 and not self._too_far(distance)
        asked = [image for image in self._images if image.sha256 != without]
        cases = [image for image in asked if image.defect_type == kind]
        names = sorted({name for image in cases for name in image.fields})
        counted = {n: Counter(i.fields[n] for i in cases if n in i.fields) for n in names}
        return SeenBefore(
            defect_type=kind if known else UNKNOWN,
            confidence=confidence,
            nearest_type=kind,
            distance=distance,
            image_id=self._images[nearest].image_id,
            path=self._images[nearest].path,
            cases=len(cases),
            share=len(cases) / len(asked),
            fields={name: dict(values.most_common()) for name, values in counted.items()},
        )

    def _confidence(self, strength: float) -> float:
        alike = np.argsort(np.abs(self._strengths - strength), kind="stable")[:ALIKE]
        return float((self._right[alike].sum() + 1) / (len(alike) + 2))

    def _too_far(self, distance: float) -> bool:
        n = len(self._distances)
        rank = 1 + int((self._distances >= distance).sum())
        return rank / (n + 1) <= max(FAR, 1 / (n + 1))


def _vote(similarity: Float32, types: NDArray[np.str_]) -> tuple[str, float]:
    """The type with the most similarity among the `VOTERS` nearest, and its mean similarity."""
    nearest = np.argsort(-similarity, kind="stable")[:VOTERS]
    nearest = nearest[np.isfinite(similarity[nearest])]
    votes: dict[str, float] = {}
    for i in nearest:  # nearest first, so that ties go to the nearer one
        votes[str(types[i])] = votes.get(str(types[i]), 0.0) + max(0.0, float(similarity[i]))
    kind = max(votes, key=votes.__getitem__)
    return kind, votes[kind] / len(nearest)


def read_proposer(category: Category) -> TypeProposer | None:
    """The proposer from the named defects of the library; None if there are fewer than two."""
    if not category.keeps_patches:
        return None
    vectors, images = read_defect_embeddings(category, {"defect_type": Not("")})
    return TypeProposer(vectors, images) if len(images) > 1 else None
