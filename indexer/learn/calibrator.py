"""What the indexer needs of a calibration method, without knowing how scoring works."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from backbones.base import BackboneSpec
from backbones.pipeline import ImageFeatures
from indexer.catalog.schema import CatalogEntry, Layout, MemoryBank
from indexer.store.base import VectorStore

Float32 = NDArray[np.float32]


class Calibrator(Protocol):
    """Gives the build its distances without the indexer knowing how scoring works."""

    @property
    def layout(self) -> Layout:
        """How it divides the normal images."""

    def check(self, images: int) -> None:
        """Raise if this many calibration images cannot support what is asked of them."""

    def measurer(self, vectors: Float32) -> Callable[[Float32], Float32]:
        """A function from patches (H, W, D) to their distances (H, W) to ``vectors`` (M, D)."""

    def scorer(
        self, store: VectorStore, entry: CatalogEntry, bank: MemoryBank
    ) -> Callable[[ImageFeatures], tuple[Float32, Float32 | None]]:
        """A function from an image's features to its patch distances (H, W) and what deviates.

        The latter (D,) is None where nothing does, and of an image-level backbone.
        The bank's images lie in the store under the entry's revision; of an image-level backbone
        they are the bank, and ``bank`` is empty.
        """

    def deviating(
        self, spec: BackboneSpec, distances: Float32, calibration: Mapping[str, Any]
    ) -> NDArray[np.int64]:
        """(K, 2) row and column of the patches of a defective image to keep, worst first.

        By the image's patch distances (H, W) and what ``calibrate`` gave.
        """

    def score(self, distances: Float32) -> float:
        """Image score of patch distances (H, W)."""

    def leave_one_out(
        self,
        bank: MemoryBank,
        image_ids: Sequence[str],
        patches: Callable[[Sequence[str]], Iterable[tuple[str, Float32]]],
    ) -> Iterator[tuple[str, Float32]]:
        """Patch distances (H, W) of each image to the bank's patches of all other images.

        ``patches`` gives (image id, patches (H, W, D)) of the images asked for.
        """

    def calibrate(
        self,
        spec: BackboneSpec,
        distances: Sequence[Float32],
        synthetic: Sequence[Float32] = (),
    ) -> dict[str, Any]:
        """What the catalog keeps of the calibration images' distances; raises like ``check``.

        ``synthetic`` are distances of made-up defects.
        """
