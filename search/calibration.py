"""Scores of normal images become p-values, thresholds and verdicts, by one of four methods.

conformal: split conformal prediction (Vovk et al. 2005; Bates et al. 2023 for outlier detection)
on held-out images. For a part drawn like the calibration parts, p = (1 + #{calibration >= s}) /
(n + 1) falls to alpha or below with probability at most alpha. So alpha is the false-reject rate,
chosen without a defect.

cross-conformal: the same rank among leave-one-out scores, every normal image measured against a
memory bank that knows nothing of it (Vovk 2015; the jackknife+ of Barber et al. 2021, theorem 1).
At worst 2 alpha, usually about alpha. They compare the new part with each of the n banks; it is
measured here against the union of them all, where no distance is larger, so no p-value smaller.

sigma: p = 1 - Phi((s - mean) / deviation), as if normal scores had a normal distribution.

synthetic-f1: rejects above the score that best parts normal images from made-up defects, by F1 at
equal shares of both. The two have no bound on the false-reject rate and are no default.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from backbones.base import BackboneSpec
from backbones.errors import VecspectError
from backbones.pipeline import ImageFeatures
from indexer.category import check_defect_patches_kept
from indexer.known import with_known_scores
from indexer.living import check_patches
from indexer.revise import commit, undo_interrupted
from indexer.schema import CatalogEntry, Layout, MemoryBank
from indexer.store import VectorStore
from indexer.whitening import read_whitening
from search.anomaly_map import anomaly_map
from search.crossconformal import leave_one_out_distances
from search.knn import ExactIndex
from search.known_defects import known_defect_score
from search.scoring import image_score, nearest_normal_images, neighbors_score, patch_distances
from search.similar import deviating_cells, deviation

Float32 = NDArray[np.float32]
Verdict = Literal["ok", "review", "reject"]
Method = Literal["conformal", "cross-conformal", "sigma", "synthetic-f1"]

METHODS: tuple[Method, ...] = ("conformal", "cross-conformal", "sigma", "synthetic-f1")
DEFAULT_REJECT = 0.01
DEFAULT_REVIEW = 0.05
_ROUNDING = 1e-9


class CalibrationError(VecspectError):
    """The calibration images cannot support what is asked of them."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What n normal images say of a score, and the two false-reject rates.

    A score is rejected when its p-value is at most ``alpha_reject``, else sent to review when it
    is at most ``alpha_review``; of ``synthetic-f1`` when it lies above the threshold.

    Attributes:
        scores: of the n normal images, ascending; none of them is in the bank it was scored by.
        peaks: largest value of each one's anomaly map, ascending; empty for an image-level
            backbone.
        synthetic: scores of made-up defects on them, ascending; may be empty.
        wishes: the two levels as they were asked for, None where n was to decide.
        known_defects: whether nearness to a known defect is a second score, which rejects and
            sends to review at the same two levels.
        known: that score of the n normal images, ascending; empty without a known defect.
    """

    scores: tuple[float, ...]
    alpha_reject: float
    alpha_review: float
    method: Method = "conformal"
    peaks: tuple[float, ...] = ()
    synthetic: tuple[float, ...] = ()
    wishes: tuple[float | None, float | None] = (None, None)
    known_defects: bool = False
    known: tuple[float, ...] = ()

    @property
    def n(self) -> int:
        """Number of calibration images."""
        return len(self.scores)

    @property
    def bound(self) -> float | None:
        """The false-reject rate is at most this many times alpha; None if nothing bounds it."""
        return {"conformal": 1.0, "cross-conformal": 2.0}.get(self.method)

    @property
    def smallest_alpha(self) -> float:
        """The smallest level that n supports; 0 for a method that takes any."""
        return 0.0 if self.bound is None else 1 / (self.n + 1)

    @property
    def threshold(self) -> float:
        """Rejected are exactly the scores above this one."""
        if self.method == "synthetic-f1":
            return best_f1_threshold(self.scores, self.synthetic)
        return self._threshold(self.scores, self.alpha_reject)

    @property
    def review_threshold(self) -> float:
        """Sent to review or rejected are exactly the scores above this one."""
        if self.method == "synthetic-f1":
            return min(self.threshold, self._threshold(self.scores, self.alpha_review))
        return self._threshold(self.scores, self.alpha_review)

    @property
    def map_threshold(self) -> float:
        """Normal images have no pixel above this in their anomaly map, but for ``alpha_reject``."""
        return self._threshold(self.peaks or self.scores, self.alpha_reject)

    def p_value(self, score: float) -> float:
        """Share of normal parts expected to score this high or higher."""
        if self.method == "sigma":
            mean, deviation = _moments(self.scores)
            return math.erfc((score - mean) / deviation / math.sqrt(2)) / 2
        below = int(np.searchsorted(self.scores, score, side="left"))
        return (1 + self.n - below) / (self.n + 1)

    def verdict(self, score: float, known_score: float | None = None) -> Verdict:
        """What to do with a part of this score, and of this nearness to a known defect."""
        if score > self.threshold or self._near(known_score, self.alpha_reject):
            return "reject"
        near = self._near(known_score, self.alpha_review)
        return "review" if near or score > self.review_threshold else "ok"

    def known_p_value(self, known_score: float) -> float:
        """Share of normal parts expected to come as near to a known defect, or nearer."""
        below = int(np.searchsorted(self.known, known_score, side="left"))
        return (1 + len(self.known) - below) / (len(self.known) + 1)

    def _near(self, known_score: float | None, alpha: float) -> bool:
        """By rank, whatever the method: a level that n does not support is never reached."""
        if known_score is None or not self.known:
            return False
        return self.known_p_value(known_score) <= alpha + _ROUNDING

    def to_payload(self) -> dict[str, Any]:
        """The form kept in the catalog."""
        return {
            "method": self.method,
            "scores": list(self.scores),
            "peaks": list(self.peaks),
            "synthetic": list(self.synthetic),
            "wishes": list(self.wishes),
            "alpha_reject": self.alpha_reject,
            "alpha_review": self.alpha_review,
            "known_defects": self.known_defects,
            "known": list(self.known),
        }

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Calibration:
        """Inverse of ``to_payload``."""
        # scores are float32; the embedded engine rounds the last bit of a double in a payload
        scores, peaks, synthetic, known = (
            tuple(float(np.float32(s)) for s in values)
            for values in (
                payload["scores"],
                payload["peaks"],
                payload["synthetic"],
                payload.get("known", ()),  # a catalog may be older than this one
            )
        )
        return cls(
            scores,
            float(payload["alpha_reject"]),
            float(payload["alpha_review"]),
            payload["method"],
            peaks,
            synthetic,
            (payload["wishes"][0], payload["wishes"][1]),
            bool(payload.get("known_defects")),
            known,
        )

    def _threshold(self, values: Sequence[float], alpha: float) -> float:
        if self.method == "sigma":
            mean, deviation = _moments(values)
            return mean + deviation * NormalDist().inv_cdf(1 - alpha)
        # p <= alpha allows at most rank - 1 calibration scores at or above
        return values[self.n - max(1, conformal_rank(alpha, self.n))]


def _moments(values: Sequence[float]) -> tuple[float, float]:
    return float(np.mean(values)), max(float(np.std(values, ddof=1)), 1e-12)


def best_f1_threshold(normal: Sequence[float], defective: Sequence[float]) -> float:
    """The score above which rejecting gives the largest F1, as if both were equally frequent."""
    candidates = np.unique([*normal, *defective])
    passed = np.searchsorted(np.sort(normal), candidates, side="right") / len(normal)
    missed = np.searchsorted(np.sort(defective), candidates, side="right") / len(defective)
    caught, rejected = 1 - missed, 1 - passed
    return float(candidates[int(np.argmax(2 * caught / (1 + caught + rejected)))])


def conformal_rank(alpha: float, n: int) -> int:
    """Which of n calibration scores, from the top, is the threshold of ``alpha``; 0 for none."""
    return math.floor(alpha * (n + 1) + _ROUNDING)


def images_needed(alpha: float) -> int:
    """Calibration images without which no p-value can be as small as ``alpha``."""
    return math.ceil(1 / alpha - 1 - _ROUNDING)


def calibrate(
    scores: Sequence[float],
    *,
    alpha_reject: float | None = None,
    alpha_review: float | None = None,
    method: Method = "conformal",
    peaks: Sequence[float] = (),
    synthetic: Sequence[float] = (),
    known_defects: bool = False,
    known: Sequence[float] = (),
) -> Calibration:
    """Calibration from ``scores`` (n,) of normal images, n >= 1, finite float32 values.

    Without a wish ``alpha_reject`` is the larger of 1 % and 1/(n + 1), the smallest that n
    supports, and ``alpha_review`` the larger of 5 % and 2/(n + 1).

    Raises:
        CalibrationError: n cannot support a level that was asked for, scores are not finite, or
            the method lacks what it needs.
    """
    values = np.sort(np.asarray(scores, dtype=np.float64))
    if not np.isfinite(values).all():
        raise CalibrationError("a calibration score is not finite: check the weight file.")
    reject, review = supported_levels(len(values), alpha_reject, alpha_review, method)
    if method == "synthetic-f1" and not len(synthetic):
        raise CalibrationError(
            "synthetic-f1 needs the scores of made-up defects, there are none. "
            "Learn by another method first, then: vecspect calibrate --method synthetic-f1"
        )
    return Calibration(
        tuple(values.tolist()),
        reject,
        review,
        method,
        tuple(sorted(peaks)),
        tuple(sorted(synthetic)),
        (alpha_reject, alpha_review),
        known_defects,
        tuple(sorted(known)),
    )


def supported_levels(
    n: int,
    alpha_reject: float | None,
    alpha_review: float | None,
    method: Method = "conformal",
) -> tuple[float, float]:
    """The two levels in force with n calibration images; CalibrationError if one is impossible."""
    ranks = method in ("conformal", "cross-conformal")
    if n < 1:
        raise CalibrationError(
            "no calibration image is left: add normal images or raise --holdout."
        )
    if n < 2 and not ranks:
        raise CalibrationError(
            f"{method} needs at least 2 calibration images, there is 1. "
            "Add normal images or raise --holdout."
        )
    smallest = 1 / (n + 1)
    for flag, alpha in (("--reject", alpha_reject), ("--review", alpha_review)):
        if alpha is None:
            continue
        if not 0 < alpha < 1:
            raise CalibrationError(
                f"{flag} is a false-reject rate between 0 and 1, got {alpha:g}. "
                f"For example {flag} 0.01."
            )
        if ranks and n < images_needed(alpha):
            raise CalibrationError(
                f"{flag} {alpha:g} needs at least {images_needed(alpha)} calibration images, there "
                f"are {n}. Add normal images, raise --holdout, or ask for {smallest:.4g} or more."
            )
    floor = smallest if ranks else 0.0
    reject = alpha_reject if alpha_reject is not None else max(DEFAULT_REJECT, floor)
    if alpha_review is not None and alpha_review < reject:
        raise CalibrationError(
            f"--review {alpha_review:g} must be at least the reject level, {reject:.4g}."
        )
    if alpha_review is not None:
        return reject, alpha_review
    if not ranks:
        return reject, max(reject, DEFAULT_REVIEW)
    return reject, max(reject, min(max(DEFAULT_REVIEW, 2 * smallest), n * smallest))


@dataclass(frozen=True, slots=True)
class ConformalCalibrator:
    """Calibration for ``build_index`` and the living bank; None leaves a level to ``calibrate``."""

    alpha_reject: float | None = None
    alpha_review: float | None = None
    method: Method = "conformal"
    known_defects: bool = False

    @classmethod
    def of(cls, entry: CatalogEntry) -> ConformalCalibrator:
        """The one that calibrates a category again as it is calibrated now."""
        now = Calibration.from_payload(entry.calibration)
        return cls(*now.wishes, now.method, now.known_defects)

    @property
    def layout(self) -> Layout:
        """How the method divides the normal images."""
        return "leave-one-out" if self.method == "cross-conformal" else "holdout"

    def check(self, images: int) -> None:
        """CalibrationError if ``images`` calibration images cannot support the levels."""
        supported_levels(images, self.alpha_reject, self.alpha_review, self.method)
        if self.method == "synthetic-f1":
            raise CalibrationError(
                "synthetic-f1 takes a category that is learnt: learn by conformal, then "
                "vecspect calibrate --method synthetic-f1"
            )

    def measurer(self, vectors: Float32) -> Callable[[Float32], Float32]:
        """Distance of each of the patches (H, W, D) to the nearest of ``vectors`` (M, D)."""
        index = ExactIndex(vectors)
        return lambda patches: patch_distances(patches, index).distances

    def scorer(
        self, store: VectorStore, entry: CatalogEntry, bank: MemoryBank
    ) -> Callable[[ImageFeatures], tuple[Float32, Float32 | None]]:
        """Patch distances (H, W) and `deviation`, whitened, as ``Inspector`` gives them."""
        if entry.spec.level == "image":
            return lambda image: (
                np.full(
                    (1, 1),
                    neighbors_score(nearest_normal_images(store, entry, image.image)),
                    np.float32,
                ),
                None,
            )
        index, whitening = ExactIndex(bank.vectors), read_whitening(store, entry)

        def measure(image: ImageFeatures) -> tuple[Float32, Float32 | None]:
            found = patch_distances(image.patches, index)
            deviates = deviation(image.patches, bank.vectors, found)
            return found.distances, None if deviates is None else whitening.whiten(deviates)

        return measure

    def known_score(self, to_normal: Float32, to_defect: Float32) -> float:
        """See `known_defect_score`."""
        return known_defect_score(to_normal, to_defect)

    def score(self, distances: Float32) -> float:
        """Image score of patch distances (H, W)."""
        return image_score(distances)

    def deviating(
        self, spec: BackboneSpec, distances: Float32, calibration: Mapping[str, Any]
    ) -> NDArray[np.int64]:
        """See `deviating_cells`, at the map threshold of a payload of ``calibrate``."""
        return deviating_cells(
            distances,
            input_size=spec.input_size,
            inset=spec.inset,
            threshold=Calibration.from_payload(calibration).map_threshold,
        )

    def leave_one_out(
        self,
        bank: MemoryBank,
        image_ids: Sequence[str],
        patches: Callable[[Sequence[str]], Iterable[tuple[str, Float32]]],
    ) -> Iterator[tuple[str, Float32]]:
        """See `leave_one_out_distances`."""
        return leave_one_out_distances(bank, image_ids, patches)

    def calibrate(
        self,
        spec: BackboneSpec,
        distances: Sequence[Float32],
        synthetic: Sequence[Float32] = (),
    ) -> dict[str, Any]:
        """The catalog's calibration payload from patch distances (H, W) of each image."""
        return calibrate(
            [image_score(d) for d in distances],
            alpha_reject=self.alpha_reject,
            alpha_review=self.alpha_review,
            method=self.method,
            peaks=[map_peak(spec, d) for d in distances] if spec.level == "patch" else (),
            synthetic=[image_score(d) for d in synthetic],
            known_defects=self.known_defects,
        ).to_payload()


def map_peak(spec: BackboneSpec, distances: Float32) -> float:
    """Largest value of the anomaly map of (H, W) distances, at the network's input size.

    Bringing the map to the pixels of a photo only averages, so no pixel there is higher.
    """
    side = spec.input_size
    values = anomaly_map(distances, input_size=side, width=side, height=side, inset=spec.inset)
    return float(values.max())


def change_levels(
    store: VectorStore,
    entry: CatalogEntry,
    *,
    alpha_reject: float | None = None,
    alpha_review: float | None = None,
    method: Method | None = None,
    known_defects: bool | None = None,
) -> CatalogEntry:
    """Apply other levels, another method or the second score to what is stored; needs no image.

    A change is a revision of its own, so that running readers notice; without one nothing is
    written.

    Raises:
        CalibrationError: n cannot support a level, or the category was learnt for another method.
        CategoryError: known defects are asked for, of a category that keeps no patches of them.
    """
    now = Calibration.from_payload(entry.calibration)
    method = method or now.method
    check_method(entry, method)
    calibration = calibrate(
        now.scores,
        alpha_reject=alpha_reject,
        alpha_review=alpha_review,
        method=method,
        peaks=now.peaks,
        synthetic=now.synthetic,
        known_defects=now.known_defects if known_defects is None else known_defects,
        known=now.known if known_defects is None else (),
    )
    if known_defects:
        check_patches(entry, "nearness to known defects")
        check_defect_patches_kept(entry)
    # the embedded engine rounds the last bit of a level
    wanted, there = ([c.alpha_reject, c.alpha_review] for c in (calibration, now))
    same = (calibration.method, calibration.known_defects) == (now.method, now.known_defects)
    if same and np.allclose(wanted, there, rtol=1e-12, atol=0):
        return entry
    undo_interrupted(store, entry)
    changed = replace(
        entry,
        revision=entry.revision + 1,
        calibration=calibration.to_payload(),
        action=f"{method} at {calibration.alpha_reject:.4g} and {calibration.alpha_review:.4g}"
        + (", near known defects as well" if calibration.known_defects else ""),
    )
    if known_defects:
        changed = with_known_scores(store, changed, ConformalCalibrator.of(changed))
    commit(store, changed, ())
    return changed


def check_method(entry: CatalogEntry, method: Method) -> None:
    """CalibrationError if the category's normal images are not divided as the method needs."""
    needed: Layout = "leave-one-out" if method == "cross-conformal" else "holdout"
    if method in ("conformal", "cross-conformal") and entry.layout != needed:
        raise CalibrationError(
            f"{method} takes a category learnt for it: the normal images of '{entry.category}' "
            f"are divided by {entry.layout}. Learn it again: vecspect index DATASET "
            f"--category {entry.category} --method {method}"
        )
