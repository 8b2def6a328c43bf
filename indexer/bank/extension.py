"""Which patches of an image that joins become part of the memory bank.

Where images are held out, the greedy selection of the coreset goes on (Gonzalez 1985): a patch
joins if it lies farther from the bank than the bank's covering radius, in the same projected space,
farthest first.

An image of a leave-one-out category brings the patches that it chooses from itself alone, as when
the category is learnt, so that the bank does not depend on the order images come in. Only a near
duplicate brings none: an image that the patches of one other image cover as well as its own would.
By one, because all together cover every ordinary part well once they are many.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from indexer.bank.coreset import project
from indexer.bank.leave_one_out import choose_alone
from indexer.catalog.schema import CatalogEntry, MemoryBank
from indexer.knn.brute_force import squared_distances

Float32 = NDArray[np.float32]

AS_WELL = 1.05
"""Times the radius with which an image covers itself that a near duplicate may lie from another's
patches. At a coreset of 10 % grid's images lie at 1.4 or more, made-up textures at 1.2, and copies
with noise of two grey levels at 1.03 at most. At 2 % textures lie at 0.98 to 1.1: what so few
patches cover is not told apart."""
_AT_A_TIME = 32


class Growth:
    """Lets images join a bank one by one.

    Attributes:
        new: the patches that have joined.
    """

    def __init__(self, entry: CatalogEntry, bank: MemoryBank) -> None:
        self._entry, self._bank = entry, bank
        self._seed = int(entry.settings["seed"])
        self._points = project(bank.vectors, self._seed)
        self._of_images = _by_image(bank.image_ids, self._points)
        self._new_points = self._points[:0]
        self.new = MemoryBank(bank.vectors[:0], bank.image_ids[:0], bank.cells[:0])

    @property
    def bank(self) -> MemoryBank:
        """With the patches that have joined."""
        return _joined(self._bank, self.new)

    def take(self, image_id: str, patches: Float32) -> list[tuple[int, int]]:
        """Row and column of the patches of (H, W, D) that join."""
        flat = patches.reshape(-1, patches.shape[-1])
        points = project(flat, self._seed)
        if self._entry.layout == "leave-one-out":
            picks = self._own_choice(patches, points)
        else:
            picks = self._beyond_radius(points)
        if not len(picks):
            return []
        cells = np.stack(np.unravel_index(picks, patches.shape[:2]), axis=1).astype(np.int32)
        joining = MemoryBank(flat[picks], np.full(len(picks), image_id), cells)
        self._new_points = np.concatenate([self._new_points, points[picks]])
        self._of_images.append(points[picks])
        self.new = _joined(self.new, joining)
        return [(row, col) for row, col in cells.tolist()]

    def _own_choice(self, patches: Float32, points: Float32) -> NDArray[np.int64]:
        """None if the image of patches (H, W, D), projected to (n, d), is a near duplicate."""
        coreset = choose_alone(patches, self._entry.settings)
        limit = (AS_WELL * coreset.radius) ** 2
        covered = any(_within(limit, points, image) for image in self._of_images)
        return coreset.indices[:0] if covered else coreset.indices

    def _beyond_radius(self, points: Float32) -> NDArray[np.int64]:
        """The greedy picks among ``points`` (n, d)."""
        nearest = squared_distances(points, self._points)
        if len(self._new_points):
            np.minimum(nearest, squared_distances(points, self._new_points), out=nearest)
        picks: list[int] = []
        while nearest.max() > self._entry.radius**2:
            pick = int(nearest.argmax())
            picks.append(pick)
            np.minimum(nearest, squared_distances(points, points[[pick]]), out=nearest)
            nearest[pick] = 0.0
        return np.array(picks, np.int64)


def _by_image(image_ids: NDArray[np.str_], points: Float32) -> list[Float32]:
    order = np.argsort(image_ids, kind="stable")
    _, starts = np.unique(image_ids[order], return_index=True)
    return np.split(points[order], starts[1:])


def _within(limit: float, points: Float32, others: Float32) -> bool:
    """Whether each of ``points`` lies within a squared distance of one of ``others``."""
    # most images differ at the first few patches already
    parts = np.split(points, range(_AT_A_TIME, len(points), _AT_A_TIME))
    return all(squared_distances(part, others).max() <= limit for part in parts)


def _joined(left: MemoryBank, right: MemoryBank) -> MemoryBank:
    return MemoryBank(
        np.concatenate([left.vectors, right.vectors]),
        np.concatenate([left.image_ids, right.image_ids]),
        np.concatenate([left.cells, right.cells]),
    )
