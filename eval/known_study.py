"""What the second score is worth: half of the defects known, the other half to be caught.

Split at random by part (`eval.parts`) within each defect type, so that no part is known and then
asked for in other light.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backbones.base import Backbone
from backbones.pipeline import ImageFeatures, Skipped
from eval.parts import parts_of
from indexer.build import build_index
from indexer.category import read_images
from indexer.dataset import ImageRecord
from indexer.progress import Progress
from indexer.store import open_store
from search.calibration import calibrate
from search.calibrator import ConformalCalibrator
from search.inspector import Inspector
from search.known_defects import known_defect_score
from search.scoring import image_score, patch_distances
from search.similar import deviating_cells

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class KnownRow:
    """Means over the splits: of the defects asked for and of the normal test images.

    Attributes:
        alpha: the level asked of either score.
        recall, false_reject: of the first score alone.
        recall_both, false_reject_both: of the two together.
        missed_caught: of the defects that the first score misses, the share the second catches.
    """

    dataset: str
    backbone: str
    calibration_images: int
    alpha: float
    known: int
    asked: int
    normal: int
    recall: float
    recall_both: float
    missed_caught: float
    false_reject: float
    false_reject_both: float


def study_known_defects(
    records: Sequence[ImageRecord],
    backbone: Backbone,
    dataset: str,
    *,
    splits: int = 20,
    on_progress: Progress = lambda stage, done, total: None,
) -> KnownRow:
    """Learn the normal training images and measure both scores over random splits."""
    tests = [record for record in records if record.split == "test"]
    with tempfile.TemporaryDirectory(prefix="vecspect-") as folder, open_store(folder) as store:
        entry = build_index(
            [record for record in records if record.split == "train"],
            category="known",
            backbone=backbone,
            store=store,
            calibrator=ConformalCalibrator(),
            on_progress=on_progress,
        ).entry
        inspector = Inspector(store, "known", network=backbone)
        images = read_images(store, entry).values()
        judges = sorted(Path(image.path) for image in images if image.split == "calibration")
        defects = [record for record in tests if record.label == "defective"]
        normal = [record for record in tests if record.label == "normal"]
        bank = _Defects(inspector, [record.path for record in defects])
        halves = [_half_known(defects, seed) for seed in range(splits)]
        asked = [*judges, *(r.path for r in normal), *(r.path for r in defects)]
        first, second = _scores(inspector, bank, asked, halves, on_progress)
    n, m = len(judges), len(judges) + len(normal)
    rows = []
    for half, near in zip(halves, second.T, strict=True):
        both = calibrate(first[:n].tolist(), known_defects=True, known=near[:n].tolist())
        alone = np.array([both.verdict(s) == "reject" for s in first])
        together = np.array(
            [both.verdict(s, k) == "reject" for s, k in zip(first, near, strict=True)]
        )
        missed = ~alone[m:][~half]
        caught = together[m:][~half]
        rows.append(
            (
                1 - missed.mean(),
                caught.mean(),
                caught[missed].mean() if missed.any() else 1.0,
                alone[n:m].mean(),
                together[n:m].mean(),
            )
        )
    recall, recall_both, missed_caught, false_reject, false_reject_both = np.mean(rows, axis=0)
    return KnownRow(
        dataset=dataset,
        backbone=backbone.spec.name,
        calibration_images=n,
        alpha=both.alpha_reject,
        known=int(halves[0].sum()),
        asked=int((~halves[0]).sum()),
        normal=len(normal),
        recall=float(recall),
        recall_both=float(recall_both),
        missed_caught=float(missed_caught),
        false_reject=float(false_reject),
        false_reject_both=float(false_reject_both),
    )


def known_table(rows: Sequence[KnownRow]) -> str:
    """The rows as Markdown."""
    lines = [
        "| data set | network | level | recall | with known defects | of the missed | "
        "false rejects | with known defects |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r.dataset} | `{r.backbone}` | {r.alpha:.1%} | {r.recall:.1%} | {r.recall_both:.1%} "
        f"| {r.missed_caught:.1%} | {r.false_reject:.1%} | {r.false_reject_both:.1%} |"
        for r in rows
    ]
    for r in rows:
        lines.append(
            f"\n{r.dataset}, `{r.backbone}`: {r.calibration_images} calibration images, "
            f"{r.known} defects known, {r.asked} asked for, {r.normal} normal test images."
        )
    return "\n".join(lines)


class _Defects:
    """The deviating patches of every defective image, and where each image's begin."""

    def __init__(self, inspector: Inspector, paths: Sequence[Path]) -> None:
        spec, threshold = inspector.entry.spec, inspector.calibration.map_threshold
        kept: list[Float32] = []
        for features in _readable(inspector, paths):
            distances = patch_distances(features.patches, inspector.index).distances
            cells = deviating_cells(
                distances, input_size=spec.input_size, inset=spec.inset, threshold=threshold
            )
            kept.append(features.patches[cells[:, 0], cells[:, 1]])
        self.vectors = np.concatenate(kept)
        self._norms = np.einsum("md,md->m", self.vectors, self.vectors)
        self.begins = np.cumsum([0, *map(len, kept[:-1])])

    def distances(self, patches: Float32) -> Float32:
        """(N, Q) of the patches (Q, D) to the nearest one of each image."""
        squared = self.vectors @ (-2 * patches.T)
        squared += self._norms[:, None]
        nearest = np.minimum.reduceat(squared, self.begins, axis=0)
        nearest += np.einsum("qd,qd->q", patches, patches)
        return np.asarray(np.sqrt(np.maximum(nearest, 0)), np.float32)


def _scores(
    inspector: Inspector,
    bank: _Defects,
    paths: Sequence[Path],
    halves: Sequence[NDArray[np.bool_]],
    on_progress: Progress,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(P,) first scores and (P, S) second ones, one a split."""
    first, second = np.zeros(len(paths)), np.zeros((len(paths), len(halves)))
    for number, features in enumerate(_readable(inspector, paths)):
        on_progress("scoring", number + 1, len(paths))
        distances = patch_distances(features.patches, inspector.index).distances
        to_images = bank.distances(features.patches.reshape(-1, features.patches.shape[-1]))
        first[number] = image_score(distances)
        for split, half in enumerate(halves):
            to_known = to_images[half].min(axis=0).reshape(distances.shape)
            second[number, split] = known_defect_score(distances, to_known)
    return first, second


def _readable(inspector: Inspector, paths: Sequence[Path]) -> Iterator[ImageFeatures]:
    for found in inspector.features(paths):
        if isinstance(found, Skipped):
            raise ValueError(f"{found.path}: {found.reason}")
        yield found


def _half_known(defects: Sequence[ImageRecord], seed: int) -> NDArray[np.bool_]:
    """(N,) whether each is known: half of the parts of each defect type."""
    parts = parts_of([record.path for record in defects])
    types = np.array([record.defect_type for record in defects])
    rng = np.random.default_rng(seed)
    known: set[int] = set()
    for kind in np.unique(types):
        # a part with defects of two types goes with the first of them
        own = np.array([p for p in np.unique(parts) if types[parts == p][0] == kind])
        known.update(rng.permutation(own)[: len(own) // 2].tolist())
    return np.isin(parts, sorted(known))
