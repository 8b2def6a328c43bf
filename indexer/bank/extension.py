"""Chooses the patches of an added image that become part of the memory bank."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from indexer.bank.coreset import project
from indexer.bank.leave_one_out import choose_own_patches
from indexer.catalog.entry import CatalogEntry, MemoryBank
from indexer.knn.brute_force import squared_distances

Float32 = NDArray[np.float32]

AS_WELL = 1.05
"""Distance, in multiples of an image's own covering radius, up to which its patches may lie from
another image's for it to count as a near duplicate. With a coreset of 10 %, grid's images lie at
1.4 or more, synthetic textures at 1.2, and copies with noise of two grey levels at 1.03 at most.
With 2 %, textures lie at 0.98 to 1.1: so few patches cannot tell them from duplicates."""
_AT_A_TIME = 32


class BankExtension(Protocol):
    """Adds images to a memory bank, one by one."""

    @property
    def new(self) -> MemoryBank:
        """The patches that have been added."""

    @property
    def bank(self) -> MemoryBank:
        """The bank including the patches that have been added."""

    def take(self, image_id: str, patches: Float32) -> MemoryBank:
        """Patches of an image (H, W, D) that are added to the bank."""


class _Extension:
    def __init__(self, entry: CatalogEntry, bank: MemoryBank) -> None:
        self._entry, self._before = entry, bank
        self._seed = int(entry.settings["seed"])
        self._points = project(bank.vectors, self._seed)
        self.new = MemoryBank.empty(bank.vectors.shape[1])

    @property
    def bank(self) -> MemoryBank:
        """The bank including the patches that have been added."""
        return self._before.extended(self.new)

    def _joined(self, image_id: str, patches: Float32, picks: NDArray[np.int64]) -> MemoryBank:
        flat = patches.reshape(-1, patches.shape[-1])
        cells = np.stack(np.unravel_index(picks, patches.shape[:2]), axis=1).astype(np.int32)
        joining = MemoryBank(flat[picks], np.full(len(picks), image_id), cells)
        self.new = self.new.extended(joining)
        return joining


class CoveringExtension(_Extension):
    """Continues the greedy selection of the coreset (Gonzalez 1985).

    A patch joins if it lies farther from the bank than the bank's covering radius, in the same
    projected space, farthest first.
    """

    def __init__(self, entry: CatalogEntry, bank: MemoryBank) -> None:
        super().__init__(entry, bank)
        self._new_points = self._points[:0]

    def take(self, image_id: str, patches: Float32) -> MemoryBank:
        """Patches of an image (H, W, D) that are added to the bank."""
        points = project(patches.reshape(-1, patches.shape[-1]), self._seed)
        nearest = squared_distances(points, self._points)
        if len(self._new_points):
            np.minimum(nearest, squared_distances(points, self._new_points), out=nearest)
        picks: list[int] = []
        while nearest.max() > self._entry.radius**2:
            pick = int(nearest.argmax())
            picks.append(pick)
            np.minimum(nearest, squared_distances(points, points[[pick]]), out=nearest)
            nearest[pick] = 0.0
        self._new_points = np.concatenate([self._new_points, points[picks]])
        return self._joined(image_id, patches, np.array(picks, np.int64))


class OwnChoiceExtension(_Extension):
    """Adds the patches that each image chooses from itself, as when the category is learnt.

    So the bank does not depend on the order of the images. Only a near duplicate adds nothing: an
    image that the patches of one other image cover as well as its own would. One other image,
    because many images together cover every ordinary image well.
    """

    def __init__(self, entry: CatalogEntry, bank: MemoryBank) -> None:
        super().__init__(entry, bank)
        self._of_images = _by_image(bank.image_ids, self._points)

    def take(self, image_id: str, patches: Float32) -> MemoryBank:
        """Patches of an image (H, W, D) that are added to the bank."""
        points = project(patches.reshape(-1, patches.shape[-1]), self._seed)
        coreset = choose_own_patches(patches, self._entry.settings)
        limit = (AS_WELL * coreset.radius) ** 2
        covered = any(_within(limit, points, image) for image in self._of_images)
        picks = coreset.indices[:0] if covered else coreset.indices
        if len(picks):
            self._of_images.append(points[picks])
        return self._joined(image_id, patches, picks)


def _by_image(image_ids: NDArray[np.str_], points: Float32) -> list[Float32]:
    order = np.argsort(image_ids, kind="stable")
    _, starts = np.unique(image_ids[order], return_index=True)
    return np.split(points[order], starts[1:])


def _within(limit: float, points: Float32, others: Float32) -> bool:
    """True for each of ``points`` that lies within a squared distance of one of ``others``."""
    # most images differ at the first few patches already
    parts = np.split(points, range(_AT_A_TIME, len(points), _AT_A_TIME))
    return all(squared_distances(part, others).max() <= limit for part in parts)
