"""Results that travel: one image, one category on one backbone, one benchmark.

Frozen dataclasses with a lossless way to JSON and back; nan (undefined) is null there.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BeforeValidator, PlainSerializer, TypeAdapter, ValidationError

from backbones.errors import VecspectError
from eval.metrics.detection import PixelMetrics, Rate, average_precision, f1_max, image_auroc

LABELS = ("normal", "defective")
VERDICTS = ("ok", "review", "reject")

Figure = Annotated[
    float,
    BeforeValidator(lambda value: math.nan if value is None else value),
    PlainSerializer(lambda value: None if math.isnan(value) else float(value)),
]
"""A number, numpy's too, that may be undefined: nan in Python, null in JSON."""


class ResultError(VecspectError):
    """A stored result does not have the expected fields."""


class _Stored:
    """Adds `to_dict` and `from_dict` to a dataclass."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values; undefined figures become None, never nan."""
        fields: dict[str, Any] = TypeAdapter(type(self)).dump_python(self, mode="json")
        return fields

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Return the object that `to_dict` described; ResultError names the first wrong field."""
        try:
            result: Self = TypeAdapter(cls).validate_python(fields)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"]) or cls.__name__
            raise ResultError(
                f"not a stored {cls.__name__}: {place}: {first['msg']}. "
                "Give a benchmark.json of this version, or run the benchmark again."
            ) from None
        return result


@dataclasses.dataclass(frozen=True, slots=True)
class ImageResult(_Stored):
    """What was decided about one test image.

    `label` is ``normal`` or ``defective``, `verdict` is ``ok``, ``review`` or ``reject``,
    `score` is raw, `milliseconds` is the time from file to verdict.
    """

    path: str
    label: str
    defect_type: str
    score: Figure
    p_value: Figure
    verdict: str
    milliseconds: Figure

    def __post_init__(self) -> None:
        if self.label not in LABELS:
            raise ValueError(f"label must be one of {', '.join(LABELS)}, got '{self.label}'")
        if self.verdict not in VERDICTS:
            raise ValueError(f"verdict must be one of {', '.join(VERDICTS)}, got '{self.verdict}'")
        if not math.isfinite(self.score):
            raise ValueError(f"score must be finite, got {self.score} for {self.path}")

    @property
    def defective(self) -> bool:
        """The truth, not the verdict."""
        return self.label == "defective"


@dataclasses.dataclass(frozen=True, slots=True)
class HeatmapRef(_Stored):
    """A picture for the report.

    `path` is the test image, `picture` a file name relative to the report's folder, `kind` says
    why it is shown, such as ``worst normal``, ``best defect`` or ``missed defect``.
    """

    path: str
    label: str
    defect_type: str
    score: Figure
    picture: str
    kind: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CategoryRun(_Stored):
    """What was run, before any figure is computed.

    `bank_size` counts the vectors of the memory bank, `coreset` is their share of the normal
    patches, `holdout` the share of the normal training images kept out for calibration (their
    raw scores: `calibration_scores`). Images scoring above `threshold` are rejected, for a
    requested false-reject rate of `alpha_reject`; `alpha_review` is the same for the review
    band. `index_seconds` runs from files to a calibrated category. `baseline` holds figures of
    a rival in the same run, by the name to print.
    """

    category: str
    backbone: str
    dataset: str
    n_train: int
    bank_size: int
    coreset: float
    holdout: float
    seed: int
    alpha_reject: float
    alpha_review: float
    threshold: Figure
    index_seconds: Figure
    calibration_scores: tuple[Figure, ...]
    fingerprint: str
    versions: Mapping[str, str]
    heatmaps: tuple[HeatmapRef, ...] = ()
    baseline: Mapping[str, Figure] | None = None

    @property
    def n_calibration(self) -> int:
        """Number of held-out normal images."""
        return len(self.calibration_scores)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CategoryReport(CategoryRun):
    """One category on one backbone: the run, every image, and the figures.

    Figures are in [0, 1], nan where undefined (one class only, no masks). `recall` counts the
    verdict ``reject`` among defective test images, `false_reject` among normal ones.
    `f1_max` and its threshold are an oracle's: chosen on the test labels.
    """

    images: tuple[ImageResult, ...]
    image_auroc: Figure
    average_precision: Figure
    f1_max: Figure
    f1_max_threshold: Figure
    pixel_auroc: Figure
    au_pro_30: Figure
    au_pro_5: Figure
    false_reject: Rate
    recall: Rate
    recall_by_type: Mapping[str, Rate]
    median_ms: Figure
    p95_ms: Figure


@dataclasses.dataclass(frozen=True, slots=True)
class BenchmarkResult(_Stored):
    """All reports of one benchmark; `created_at` is an ISO 8601 time."""

    reports: tuple[CategoryReport, ...]
    created_at: str
    command: str


def summarise(
    run: CategoryRun, images: Sequence[ImageResult], pixels: PixelMetrics | None = None
) -> CategoryReport:
    """Summarise a run: every figure is computed from its test images and their pixels.

    Without `pixels` (no masks) the pixel figures are nan.
    """
    truth = [image.defective for image in images]
    scores = [image.score for image in images]
    best_f1, best_threshold = f1_max(truth, scores)
    defects = [image for image in images if image.defective]
    types = sorted({image.defect_type for image in defects})
    pixels = pixels or PixelMetrics()
    median_ms, p95_ms = _percentiles([image.milliseconds for image in images], 50, 95)
    return CategoryReport(
        **_shallow(run),
        images=tuple(images),
        image_auroc=image_auroc(truth, scores),
        average_precision=average_precision(truth, scores),
        f1_max=best_f1,
        f1_max_threshold=best_threshold,
        pixel_auroc=pixels.pixel_auroc(),
        au_pro_30=pixels.au_pro(0.3),
        au_pro_5=pixels.au_pro(0.05),
        false_reject=_rejected([image for image in images if not image.defective]),
        recall=_rejected(defects),
        recall_by_type={
            name: _rejected([image for image in defects if image.defect_type == name])
            for name in types
        },
        median_ms=median_ms,
        p95_ms=p95_ms,
    )


def _rejected(images: Sequence[ImageResult]) -> Rate:
    return Rate(sum(image.verdict == "reject" for image in images), len(images))


def _percentiles(values: Sequence[float], *percents: float) -> list[float]:
    if not values:
        return [math.nan] * len(percents)
    return [float(value) for value in np.percentile(values, percents)]


def _shallow(run: CategoryRun) -> dict[str, Any]:
    return {field.name: getattr(run, field.name) for field in dataclasses.fields(CategoryRun)}
