"""A memory bank of which any image can be taken out as if it had never been there.

Each image chooses its patches from itself alone, so the patches of the others would be the same
without it. That makes the bank less one image exactly the bank learnt without that image, which is
what `indexer.bank.leave_one_out_distances` needs to use every normal image for both jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from backbones.base import BackboneSpec
from backbones.errors import VecspectError
from indexer.bank.coreset import Coreset, greedy_k_center, project
from indexer.bank.pruning import ShortForms, keep_short
from indexer.catalog.cached_arrays import keep, read_kept
from indexer.catalog.schema import CatalogEntry, MemoryBank
from indexer.store.base import VectorStore

Float32 = NDArray[np.float32]


class _LeavesOut(Protocol):
    def leave_one_out(
        self,
        bank: MemoryBank,
        image_ids: Sequence[str],
        patches: Callable[[Sequence[str]], Iterable[tuple[str, Float32]]],
    ) -> Iterator[tuple[str, Float32]]: ...


def check_leave_one_out(spec: BackboneSpec) -> None:
    """VecspectError if the backbone's images cannot be taken out one by one."""
    if spec.level == "image" or spec.normalised:
        raise VecspectError(
            f"cross-conformal needs patch embeddings that no other image changes; '{spec.name}' "
            "has none. Use --method conformal."
        )


def choose_alone(patches: Float32, settings: Mapping[str, float]) -> Coreset:
    """What an image of (H, W, D) keeps of itself, its patches numbered row by row.

    Args:
        settings: of the category.
    """
    flat = patches.reshape(-1, patches.shape[-1])
    seed = int(settings["seed"])
    count = max(1, round(settings["coreset"] * len(flat)))
    return greedy_k_center(project(flat, seed), count, seed=seed)


class LeaveOneOutBank:
    """Collects what each image chooses of itself; its patches go to the store on the way."""

    def __init__(self, store: VectorStore, entry: CatalogEntry) -> None:
        self._store, self._entry = store, entry
        self._ids: list[str] = []
        self._cells: list[NDArray[np.int64]] = []
        self._vectors: list[Float32] = []
        self._radii: list[float] = []

    def take(self, image_id: str, patches: Float32) -> None:
        """Let an image of (H, W, D) choose."""
        coreset = choose_alone(patches, self._entry.settings)
        picks = np.stack(np.unravel_index(coreset.indices, patches.shape[:2]), axis=1)
        image = np.full((len(picks), 1), len(self._ids))
        self._cells.append(np.concatenate([image, picks], axis=1).astype(np.int64))
        self._vectors.append(patches[picks[:, 0], picks[:, 1]])
        self._radii.append(coreset.radius)
        self._ids.append(image_id)
        keep(self._store, self._entry, "patches", [(image_id, patches)])

    def bank(self) -> tuple[MemoryBank, NDArray[np.int64], float]:
        """The bank, (image, row, col) of each of its patches, and its covering radius.

        The radius is the median of those with which the images cover themselves: the largest is
        that of the one busiest image, and no patch would ever count as uncovered.
        """
        cells = np.concatenate(self._cells)
        ids = np.array(self._ids, dtype=np.str_)[cells[:, 0]]
        bank = MemoryBank(np.concatenate(self._vectors), ids, cells[:, 1:].astype(np.int32))
        return bank, cells, float(np.median(self._radii))

    def distances(
        self, calibrator: _LeavesOut, bank: MemoryBank, forms: ShortForms | None
    ) -> dict[str, Float32]:
        """Patch distances (H, W) of each image to the patches of all others, by image id.

        The short forms of the patches go to the store on the way.
        """

        def read(ids: Sequence[str]) -> Iterator[tuple[str, Float32]]:
            for key, patches in read_kept(self._store, self._entry, "patches", ids):
                keep_short(self._store, self._entry, forms, key, patches)
                yield key, patches

        return dict(calibrator.leave_one_out(bank, self._ids, read))
