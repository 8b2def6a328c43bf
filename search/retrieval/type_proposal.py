"""Have we seen this before: the nearest named defects propose a type, or say `unknown`.

Everything the answer rests on is measured on the library itself, leaving one defect out at a time:
how near a defect lies to the nearest other one of its type, and how often the vote was right.
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
"""Left-out defects, of like strength of the vote, whose share of right answers is the confidence.
"""
FAR = 0.05
"""Share of the defects of known types that lie as far off as what is called too far."""
MOST = 2000
"""Defects left out one at a time; more would not sharpen the figures, only take longer."""


@dataclass(frozen=True, slots=True)
class SeenBefore:
    """What the named defects of the library say of one image.

    Attributes:
        defect_type: the proposal, or ``unknown``.
        confidence: of ``nearest_type``: share of left-out library defects with a vote as strong
            that were named rightly, (right + 1) / (all + 2); also given when the answer is unknown.
        nearest_type: what the vote says even if it is too far off or too often wrong to propose.
        distance: cosine distance to the nearest named defect.
        image_id, path: of that one.
        cases: library defects of ``nearest_type``.
        share: of those among all named defects.
        fields: of these cases, how often each user field has each value.
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
    """The named defects of a category: ``vectors`` (N, D) of length 1, and their images, N >= 2.

    A defect is called unknown if it lies farther from the nearest named one than `FAR` of the
    library's defects lie from the nearest other one of their type, by the rank rule of split
    conformal prediction (the level is 1/(n + 1) where n supports no smaller one); or if votes like
    its own are wrong at least half of the time.
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
        # the only one of its type has no other to be near to
        self._distances = 1 - of_type[np.isfinite(of_type)]

    def propose(self, embedding: Float32, without: str | None = None) -> SeenBefore:
        """The answer for ``embedding`` (D,) of length 1.

        Args:
            without: sha256 of the image it is of: if the library has that one, it does not answer.
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
    """The type that the `VOTERS` nearest give most similarity to, and their mean for it."""
    nearest = np.argsort(-similarity, kind="stable")[:VOTERS]
    nearest = nearest[np.isfinite(similarity[nearest])]
    votes: dict[str, float] = {}
    for i in nearest:  # nearest first, so that a tie goes to the nearer
        votes[str(types[i])] = votes.get(str(types[i]), 0.0) + max(0.0, float(similarity[i]))
    kind = max(votes, key=votes.__getitem__)
    return kind, votes[kind] / len(nearest)


def read_proposer(category: Category) -> TypeProposer | None:
    """What the named defects of the library teach; None if there are fewer than two."""
    if not category.keeps_patches:
        return None
    vectors, images = read_defect_embeddings(category, {"defect_type": Not("")})
    return TypeProposer(vectors, images) if len(images) > 1 else None
