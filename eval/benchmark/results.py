"""Results of images, categories and benchmarks, as values that travel.

They are frozen dataclasses with a lossless conversion to JSON and back; nan (undefined) becomes
null.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BeforeValidator, PlainSerializer, TypeAdapter, ValidationError

from backbones.errors import VecspectError
from eval.metrics.detection import Rate, f1_max
from eval.metrics.pixels import PixelMetrics
from eval.metrics.table import METRICS, ScoredImages

LABELS = ("normal", "defective")
VERDICTS = ("ok", "review", "reject")

Figure = Annotated[
    float,
    BeforeValidator(lambda value: math.nan if value is None else value),
    PlainSerializer(lambda value: None if math.isnan(value) else float(value)),
]
"""A number, including numpy's, that may be undefined: nan in Python, null in JSON."""


class ResultError(VecspectError):
    """Raised when a stored result does not have the expected fields."""


class _Stored:
    """Mixin that adds `to_dict` and `from_dict` to a dataclass."""

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
    """Result for one test image.

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
        """True if the image is defective, whatever the verdict."""
        return self.label == "defective"


@dataclasses.dataclass(frozen=True, slots=True)
class HeatmapRef(_Stored):
    """Reference to a picture for the report.

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
    """A run of one category on one backbone, before any figure is computed.

    `bank_size` counts the vectors of the memory bank, `coreset` is their share of the normal
    patches, `holdout` the share of the normal training images kept out for calibration (their
    raw scores: `calibration_scores`). Images scoring above `threshold` are rejected, for a
    requested false-reject rate of `alpha_reject`; `alpha_review` is the same for the review
    band. `index_seconds` runs from files to a calibrated category. `baseline` holds figures of
    baselines in the same run, by the title to print.
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
        """Number of calibration images."""
        return len(self.calibration_scores)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CategoryReport(CategoryRun):
    """Report on one category on one backbone: the run, every image, and the figures.

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
    scored = ScoredImages(
        defective=np.array([image.defective for image in images], dtype=np.bool_),
        scores=np.array([image.score for image in images]),
        rejected=np.array([image.verdict == "reject" for image in images], dtype=np.bool_),
        milliseconds=np.array([image.milliseconds for image in images]),
        pixels=pixels or PixelMetrics(),
    )
    types = np.array([image.defect_type if image.defective else "" for image in images])
    figures: dict[str, Any] = {name: metric.function(scored) for name, metric in METRICS.items()}
    return CategoryReport(
        **{field.name: getattr(run, field.name) for field in dataclasses.fields(CategoryRun)},
        **figures,
        images=tuple(images),
        f1_max_threshold=f1_max(scored.defective, scored.scores)[1],
        recall_by_type={
            name: scored.rejected_of(scored.defective & (types == name))
            for name in sorted({image.defect_type for image in images if image.defective})
        },
    )
