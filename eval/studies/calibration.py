"""Does the false-reject rate hold? Random splits of the normal images, every calibration method.

Images are embedded once. Every normal image chooses its patches from itself alone (see
`indexer.bank.leave_one_out`), and the distance of every patch of every image to the choice of every
normal image is kept, so that a memory bank made of any images is a minimum over them and a split
costs no search. Split conformal is measured on the same kind of bank, of the images it does not
hold out. Distances are those of the coreset's projection to 128 dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve

from backbones.base import Backbone
from backbones.decode import load_image
from backbones.geometry import to_input
from eval.metrics.detection import image_auroc
from indexer.bank.coreset import PROJECTED_DIM, greedy_k_center, project
from indexer.calibration.base import Calibration, Method, calibrate, images_needed
from indexer.catalog.schema import CatalogEntry
from indexer.data.image_records import DatasetError, ImageRecord
from indexer.progress import Progress
from indexer.scoring.distances import image_score
from indexer.store.base import VectorStore
from indexer.synthetic.blending import blend_defect
from indexer.update.synthetic_defects import KINDS, imagined_scores

Float32 = NDArray[np.float32]

NUMBERS = (20, 50, 200)
"""Normal images at hand, for the memory bank and the calibration together."""
LEVELS = (0.01, 0.02, 0.05, 0.1, 0.2)
HOLDOUT = 0.2
CORESET = 0.1
MOST_NORMAL, MOST_DEFECTIVE = 264, 120
"""Images taken of a larger data set, drawn with a fixed seed."""
_ROWS = 8192


@dataclass(frozen=True, slots=True)
class Measured:
    """One method at one level, over all splits.

    Attributes:
        images: normal images at hand.
        level: false-reject rate asked for; of synthetic-f1, which takes none, the default.
        realised, recall, f1: means over the splits, of the images that took no part in them.
        error: standard error of ``realised`` over the splits.
        oracle_recall, oracle_f1: at the threshold that is best on those very images.
        auroc: of the memory bank the method leaves, mean over the splits.
        smallest: the smallest level that so many images support.
        bound: times the level that the realised rate cannot exceed, None without one.
    """

    dataset: str
    backbone: str
    method: str
    images: int
    level: float
    splits: int
    realised: float
    error: float
    recall: float
    f1: float
    oracle_recall: float
    oracle_f1: float
    auroc: float
    smallest: float
    bound: float | None


@dataclass(frozen=True, slots=True)
class Caught:
    """Share of made-up defects of a size (pixels of 256) and contrast above the threshold."""

    dataset: str
    backbone: str
    size: int
    contrast: float
    share: float
    defects: int


class Distances:
    """Patch distances of rows of images to what each normal image chose.

    Rows are the N normal images, one made-up defect on each of them, and the defective images.
    """

    def __init__(self, table: Float32, normal: int) -> None:
        self._table = table  # (N, rows, patches)
        self.normal = normal
        own = np.arange(normal)
        table[own, own] = np.inf  # no image is measured against itself
        table[own, normal + own] = np.inf

    def scores(self, bank: NDArray[np.int64]) -> Float32:
        """Image score of every row against a memory bank of these normal images."""
        nearest = self._table[bank[0]].copy()
        for image in bank[1:]:
            np.minimum(nearest, self._table[image], out=nearest)
        return np.asarray(nearest.max(axis=1), np.float32)


def estimated_recall(store: VectorStore, entry: CatalogEntry) -> list[Caught]:
    """Made-up defects kept of a category that lie above its threshold, by kind."""
    threshold = Calibration.from_payload(entry.calibration).threshold
    found: list[list[bool]] = [[] for _ in KINDS]
    for kind, distances in imagined_scores(store, entry):
        found[kind].append(image_score(distances) > threshold)
    return [
        Caught(entry.category, entry.backbone, size, contrast, float(np.mean(hits)), len(hits))
        for (size, contrast), hits in zip(KINDS, found, strict=True)
    ]


def measure_distances(
    records: Sequence[ImageRecord], backbone: Backbone, on_progress: Progress
) -> Distances:
    """Embed a data set and measure all patches against all choices."""
    rng = np.random.default_rng(0)
    normal = _some([r.path for r in records if r.label == "normal"], MOST_NORMAL, rng)
    defective = _some([r.path for r in records if r.label == "defective"], MOST_DEFECTIVE, rng)
    if len(normal) <= max(NUMBERS) or not defective:
        raise DatasetError(
            f"the study takes more than {max(NUMBERS)} normal images and defective ones, got "
            f"{len(normal)} and {len(defective)}."
        )
    inputs = _inputs(normal, defective, backbone, rng)
    rows = 2 * len(normal) + len(defective)
    grid, dim = backbone.spec.grid, backbone.spec.dim
    short = min(dim, PROJECTED_DIM)
    features = np.empty((rows, grid * grid, short), np.float32)
    for done, pixels in enumerate(inputs):
        features[done] = project(backbone.embed(pixels[None]).patches[0].reshape(-1, dim), 0)
        on_progress("embedding", done + 1, rows)
    flat = features.reshape(-1, short)
    norms = np.einsum("nd,nd->n", flat, flat)
    table = np.empty((len(normal), rows, grid * grid), np.float32)
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


def run_splits(
    distances: Distances,
    dataset: str,
    backbone: str,
    splits: int,
    on_progress: Progress,
) -> tuple[list[Measured], list[Caught]]:
    """Every method at every level it supports, for each number of normal images at hand."""
    found: dict[tuple[Method, int, float], list[_Outcome]] = {}
    caught = np.zeros((len(KINDS), 2))
    for number in NUMBERS:
        for split in range(splits):
            rng = np.random.default_rng([number, split])
            order = rng.permutation(distances.normal)
            for key, outcome in _one_split(distances, order, number, caught):
                found.setdefault(key, []).append(outcome)
            on_progress(f"{number} images", split + 1, splits)
    measured = [_mean(dataset, backbone, key, outcomes) for key, outcomes in found.items()]
    shares = [
        Caught(dataset, backbone, size, contrast, hits / max(1, total), int(total) // splits)
        for (size, contrast), (hits, total) in zip(KINDS, caught, strict=True)
    ]
    return measured, shares


@dataclass(frozen=True, slots=True)
class _Outcome:
    calibration: Calibration
    realised: float
    recall: float
    f1: float
    oracle_recall: float
    oracle_f1: float
    auroc: float


def _one_split(
    distances: Distances, order: NDArray[np.int64], number: int, caught: NDArray[np.float64]
) -> Iterator[tuple[tuple[Method, int, float], _Outcome]]:
    held = max(1, round(HOLDOUT * number))
    at_hand, rest = order[:number], order[number:]
    halves: dict[str, tuple[NDArray[np.int64], Float32]] = {
        "holdout": (order[:held], distances.scores(order[held:number])),
        "leave-one-out": (at_hand, distances.scores(at_hand)),
    }
    methods: tuple[tuple[Method, str], ...] = (
        ("conformal", "holdout"),
        ("cross-conformal", "leave-one-out"),
        ("sigma", "holdout"),
        ("synthetic-f1", "holdout"),
    )
    for method, layout in methods:
        calibrating, scores = halves[layout]
        normal, defective = scores[rest], scores[2 * distances.normal :]
        best_recall, best_f1 = _oracle(normal, defective)
        auroc = image_auroc([False] * len(normal) + [True] * len(defective), [*normal, *defective])
        for level in LEVELS if method != "synthetic-f1" else (0.01,):
            if "conformal" in method and len(calibrating) < images_needed(level):
                continue
            calibration = calibrate(
                scores[calibrating].tolist(),
                alpha_reject=None if method == "synthetic-f1" else level,
                method=method,
                synthetic=scores[distances.normal + calibrating].tolist(),
            )
            threshold = calibration.threshold
            realised, recall = (normal > threshold).mean(), (defective > threshold).mean()
            yield (
                (method, number, level),
                _Outcome(
                    calibration,
                    float(realised),
                    float(recall),
                    _f1((normal > threshold).sum(), (defective > threshold).sum(), len(defective)),
                    best_recall,
                    best_f1,
                    auroc,
                ),
            )
            if (method, number, level) == ("conformal", max(NUMBERS), 0.05):
                made_up = scores[distances.normal + rest] > threshold
                np.add.at(caught, rest % len(KINDS), np.stack([made_up, made_up | True], axis=1))


def _mean(
    dataset: str, backbone: str, key: tuple[Method, int, float], outcomes: Sequence[_Outcome]
) -> Measured:
    def mean(of: Callable[[_Outcome], float]) -> float:
        return float(np.mean([of(outcome) for outcome in outcomes]))

    method, number, level = key
    rates = [outcome.realised for outcome in outcomes]
    calibration = outcomes[0].calibration
    return Measured(
        dataset=dataset,
        backbone=backbone,
        method=method,
        images=number,
        level=level,
        splits=len(outcomes),
        realised=float(np.mean(rates)),
        error=float(np.std(rates) / np.sqrt(len(rates))),
        recall=mean(lambda o: o.recall),
        f1=mean(lambda o: o.f1),
        oracle_recall=mean(lambda o: o.oracle_recall),
        oracle_f1=mean(lambda o: o.oracle_f1),
        auroc=mean(lambda o: o.auroc),
        smallest=calibration.smallest_alpha,
        bound=calibration.bound,
    )


def _f1(rejected: int, caught: int, defects: int) -> float:
    return float(2 * caught / (caught + rejected + defects))


def _oracle(normal: Float32, defective: Float32) -> tuple[float, float]:
    """Recall and F1 at the threshold that is best on these images themselves."""
    truth = np.repeat([0, 1], [len(normal), len(defective)])
    precision, recall, _ = precision_recall_curve(truth, np.concatenate([normal, defective]))
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best = int(f1.argmax())
    return float(recall[best]), float(f1[best])


def _some(paths: list[Path], most: int, rng: np.random.Generator) -> list[Path]:
    chosen = rng.permutation(len(paths))[:most]
    return [paths[i] for i in sorted(chosen.tolist())]


def _inputs(
    normal: Sequence[Path],
    defective: Sequence[Path],
    backbone: Backbone,
    rng: np.random.Generator,
) -> Iterator[NDArray[np.uint8]]:
    spec = backbone.spec

    def read(path: Path) -> NDArray[np.uint8]:
        pixels = load_image(path, size_hint=spec.input_size).pixels
        return to_input(pixels, spec.input_size, spec.crop)

    yield from map(read, normal)
    for index, path in enumerate(normal):
        size, contrast = KINDS[index % len(KINDS)]
        yield blend_defect(read(path), rng, size=size, contrast=contrast)[0]
    yield from map(read, defective)
