"""Chooses the memory bank from the patches of normal images that arrive one by one."""

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
"""Called with the number of patches chosen so far and in total."""


@dataclass(frozen=True, slots=True, eq=False)
class ChosenBank:
    """A memory bank and its covering ``radius``, in the space in which the coreset was chosen."""

    bank: MemoryBank
    radius: float


class BankSelection(Protocol):
    """A selection that takes images one by one and then chooses."""

    def take(self, image_id: str, patches: Float32) -> None:
        """Offer the patches (H, W, D) of an image to the selection."""

    def choose(self, on_pick: OnPick) -> ChosenBank:
        """Return the memory bank; to be called once, after the last image."""


class PooledSelection:
    """One coreset of the patches of all images.

    Args:
        images: largest number of images that will arrive.
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
        """Offer the patches (H, W, D) of an image to the selection."""
        self._ids.append(image_id)
        self._sampler.add(patches.reshape(-1, patches.shape[-1]))

    def choose(self, on_pick: OnPick) -> ChosenBank:
        """Return the memory bank; to be called once, after the last image."""
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
        """Offer the patches (H, W, D) of an image to the selection."""
        coreset = choose_own_patches(patches, self._settings)
        cells = np.unravel_index(coreset.indices, patches.shape[:2])
        ids = np.full(len(coreset.indices), image_id)
        self._banks.append(_bank(patches[cells], ids, cells))
        self._radii.append(coreset.radius)

    def choose(self, on_pick: OnPick) -> ChosenBank:
        """Return the memory bank; to be called once, after the last image.

        Its radius is the median of the images' own covering radii: the largest is that of the
        single busiest image, and with it no patch would ever count as uncovered.
        """
        bank = MemoryBank(
            np.concatenate([bank.vectors for bank in self._banks]),
            np.concatenate([bank.image_ids for bank in self._banks]),
            np.concatenate([bank.cells for bank in self._banks]),
        )
        return ChosenBank(bank, float(np.median(self._radii)))


class NoSelection:
    """A memory bank without patches, for an image-level backbone."""

    def __init__(self, dim: int) -> None:
        self._dim = dim

    def take(self, image_id: str, patches: Float32) -> None:
        """Ignore an image: its embedding is already in the library."""

    def choose(self, on_pick: OnPick) -> ChosenBank:
        """Return the empty memory bank."""
        return ChosenBank(MemoryBank.empty(self._dim), 0.0)


def _bank(
    vectors: Float32,
    image_ids: NDArray[np.str_],
    cells: list[NDArray[np.int64]] | tuple[NDArray[np.int64], ...],
) -> MemoryBank:
    return MemoryBank(vectors, image_ids, np.stack(cells, axis=1).astype(np.int32))
