"""Chooses the memory bank from the patches of normal images that come one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from indexer.bank.coreset import PatchSampler
from indexer.bank.leave_one_out import choose_own_patches
from indexer.catalog.entry import CatalogEntry, Float32, MemoryBank

OnPick = Callable[[int, int], None]
"""Called with patches chosen and to be chosen."""


@dataclass(frozen=True, slots=True, eq=False)
class ChosenBank:
    """A memory bank and its covering ``radius``, in the space the coreset was chosen in."""

    bank: MemoryBank
    radius: float


class BankSelection(Protocol):
    """Takes images one by one, then chooses."""

    def take(self, image_id: str, patches: Float32) -> None:
        """Let an image of patches (H, W, D) be chosen from."""

    def choose(self, on_pick: OnPick) -> ChosenBank:
        """The memory bank; to be called once, after the last image."""


class PooledSelection:
    """One coreset of the patches of all images.

    Args:
        images: that will come, at most.
    """

    def __init__(self, entry: CatalogEntry, images: int) -> None:
        rows, cols = self._grid = entry.spec.grid
        self._ids: list[str] = []
        self._sampler = PatchSampler(
            share=entry.settings["coreset"],
            seed=int(entry.settings["seed"]),
            expected=images * rows * cols,
            dim=entry.spec.dim,
        )

    def take(self, image_id: str, patches: Float32) -> None:
        """See `BankSelection`."""
        self._ids.append(image_id)
        self._sampler.add(patches.reshape(-1, patches.shape[-1]))

    def choose(self, on_pick: OnPick) -> ChosenBank:
        """See `BankSelection`."""
        vectors, coreset = self._sampler.choose(on_pick)
        images, *cells = np.unravel_index(coreset.indices, (len(self._ids), *self._grid))
        return ChosenBank(_bank(vectors, np.array(self._ids)[images], cells), coreset.radius)


class OwnSelection:
    """A coreset of each image's own patches, see `indexer.bank.leave_one_out`."""

    def __init__(self, entry: CatalogEntry) -> None:
        self._settings = entry.settings
        self._banks: list[MemoryBank] = []
        self._radii: list[float] = []

    def take(self, image_id: str, patches: Float32) -> None:
        """See `BankSelection`."""
        coreset = choose_own_patches(patches, self._settings)
        cells = np.unravel_index(coreset.indices, patches.shape[:2])
        ids = np.full(len(coreset.indices), image_id)
        self._banks.append(_bank(patches[cells], ids, cells))
        self._radii.append(coreset.radius)

    def choose(self, on_pick: OnPick) -> ChosenBank:
        """See `BankSelection`.

        The radius is the median of those with which the images cover themselves: the largest is
        that of the one busiest image, and no patch would ever count as uncovered.
        """
        bank = MemoryBank(
            np.concatenate([bank.vectors for bank in self._banks]),
            np.concatenate([bank.image_ids for bank in self._banks]),
            np.concatenate([bank.cells for bank in self._banks]),
        )
        return ChosenBank(bank, float(np.median(self._radii)))


class NoSelection:
    """No patch at all, for an image-level backbone."""

    def __init__(self, dim: int) -> None:
        self._dim = dim

    def take(self, image_id: str, patches: Float32) -> None:
        """See `BankSelection`; the image's embedding lies in the library."""

    def choose(self, on_pick: OnPick) -> ChosenBank:
        """See `BankSelection`."""
        return ChosenBank(MemoryBank.empty(self._dim), 0.0)


def _bank(
    vectors: Float32,
    image_ids: NDArray[np.str_],
    cells: list[NDArray[np.int64]] | tuple[NDArray[np.int64], ...],
) -> MemoryBank:
    return MemoryBank(vectors, image_ids, np.stack(cells, axis=1).astype(np.int32))
