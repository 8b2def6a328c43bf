"""Distances from every patch to every normal image, from which any memory bank can be simulated.

Every normal image chooses its patches only from itself (see `indexer.bank.leave_one_out`), and the
distance of every patch of every image to each such choice is stored: a memory bank made from any
images is a minimum over these, and a split needs no search. Split conformal is measured on the same
kind of bank, made from the images that it does not hold out. Distances are measured in the
coreset's 128 dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from backbones.base import Backbone
from backbones.pipeline import network_input
from eval.arrays import Float32, Int64, Uint8
from indexer.bank.coreset import PROJECTED_DIM, greedy_k_center, project
from indexer.data.image_records import DatasetError, ImageRecord
from indexer.progress import Progress
from indexer.synthetic.blending import KINDS, blend_defect

NUMBERS = (20, 50, 200)
"""Numbers of normal images, for the memory bank and the calibration together."""
CORESET = 0.1
MOST_NORMAL, MOST_DEFECTIVE = 264, 120
"""Largest number of images, drawn from a larger data set with a fixed seed."""
_ROWS = 8192


class Distances:
    """Distances of each image's patches to the patches that each normal image chose.

    The rows are the N normal images, one synthetic defect on each of them, and the defective
    images.
    """

    def __init__(self, table: Float32, normal: int) -> None:
        self._table = table  # (N, rows, patches)
        self.normal = normal
        own = np.arange(normal)
        table[own, own] = np.inf  # no image is measured against itself
        table[own, normal + own] = np.inf

    def scores(self, bank: Int64) -> Float32:
        """Image score of every row against a memory bank made from these normal images."""
        nearest = self._table[bank[0]].copy()
        for image in bank[1:]:
            np.minimum(nearest, self._table[image], out=nearest)
        return np.asarray(nearest.max(axis=1), np.float32)


def measure_distances(
    records: Sequence[ImageRecord],
    backbone: Backbone,
    on_progress: Progress,
    numbers: Sequence[int] = NUMBERS,
) -> Distances:
    """Embed a data set and measure all patches against the choices of all normal images."""
    rng = np.random.default_rng(0)
    normal = _some([r.path for r in records if r.label == "normal"], MOST_NORMAL, rng)
    defective = _some([r.path for r in records if r.label == "defective"], MOST_DEFECTIVE, rng)
    if len(normal) <= max(numbers) or not defective:
        raise DatasetError(
            f"the study needs more than {max(numbers)} normal images and some defective ones, got "
            f"{len(normal)} and {len(defective)}."
        )
    inputs = _inputs(normal, defective, backbone, rng)
    rows = 2 * len(normal) + len(defective)
    cells, dim = math.prod(backbone.spec.grid), backbone.spec.dim
    short = min(dim, PROJECTED_DIM)
    features = np.empty((rows, cells, short), np.float32)
    for done, pixels in enumerate(inputs):
        features[done] = project(backbone.embed(pixels[None]).patches[0].reshape(-1, dim), 0)
        on_progress("embedding", done + 1, rows)
    flat = features.reshape(-1, short)
    norms = np.einsum("nd,nd->n", flat, flat)
    table = np.empty((len(normal), rows, cells), np.float32)
    for image in range(len(normal)):
        own = features[image]
        count = max(1, round(CORESET * len(own)))
        chosen = own[greedy_k_center(own, count, seed=0).indices]
        half = np.einsum("md,md->m", chosen, chosen) / 2
        out = table[image].reshape(-1)
        for start in range(0, len(flat), _ROWS):
            part = slice(start, start + _ROWS)
            closeness = flat[part] @ chosen.T - half
            out[part] = norms[part] - 2 * closeness.max(axis=1)
        on_progress("measuring", image + 1, len(normal))
    np.sqrt(np.maximum(table, 0, out=table), out=table)
    return Distances(table, len(normal))


def _some(paths: list[Path], most: int, rng: np.random.Generator) -> list[Path]:
    chosen = rng.permutation(len(paths))[:most]
    return [paths[i] for i in sorted(chosen.tolist())]


def _inputs(
    normal: Sequence[Path], defective: Sequence[Path], backbone: Backbone, rng: np.random.Generator
) -> Iterator[Uint8]:
    spec = backbone.spec

    def read(path: Path) -> Uint8:
        return network_input(path, spec).pixels

    yield from map(read, normal)
    for index, path in enumerate(normal):
        size, contrast = KINDS[index % len(KINDS)]
        yield blend_defect(read(path), rng, size=size, contrast=contrast)[0]
    yield from map(read, defective)
