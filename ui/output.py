"""What the commands print and write about builds and predictions."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from indexer.build import BuildReport
from search.calibration import DEFAULT_REJECT, Calibration, images_needed
from search.inspector import Prediction

CSV_COLUMNS = (
    "path", "category", "backbone", "score", "p_value", "verdict", "threshold",
    "box_x", "box_y", "box_width", "box_height",
    "evidence_distance", "evidence_image_id", "evidence_path", "revision", "map",
)  # fmt: skip


def describe_build(build: BuildReport, *, levels_changed: bool) -> Iterator[str]:
    """Lines that say what ``index`` did."""
    entry = build.entry
    name = f"{entry.category} ({entry.backbone})"
    if not build.changed:
        yield f"{name}: nothing changed, revision {entry.revision} stands." + (
            " The levels were changed." if levels_changed else ""
        )
        return
    counts = entry.counts
    patches = f"{counts['bank_patches']} patches of " if entry.spec.level == "patch" else ""
    yield (
        f"{name}: learnt as revision {entry.revision} in {sum(build.seconds.values()):.1f} s: "
        f"{patches}{counts['bank_images']} normal images, "
        f"{counts['calibration_images']} more calibrate, {counts['test_images']} in the library."
    )


def describe_levels(payload: dict[str, Any], holdout: float) -> str:
    """The levels in force and, where n does not support 1 %, what that takes."""
    calibration = Calibration.from_payload(payload)
    line = (
        f"reject above {calibration.threshold:.4g}: at most {calibration.alpha_reject:.2%} of "
        f"normal parts; review above {calibration.review_threshold:.4g}: at most "
        f"{calibration.alpha_review:.2%}."
    )
    missing = images_needed(DEFAULT_REJECT) - calibration.n
    if calibration.alpha_reject > DEFAULT_REJECT and missing > 0:
        line += (
            f"\n{calibration.n} calibration images support no less than "
            f"{1 / (calibration.n + 1):.2%}; {DEFAULT_REJECT:.0%} takes {missing} more "
            f"(about {round(missing / holdout)} more normal images at --holdout {holdout:g})."
        )
    return line


def describe_prediction(prediction: Prediction) -> str:
    """One image in one line."""
    box = prediction.box
    return (
        f"{prediction.verdict:<6}  score {prediction.score:.4g}  p {prediction.p_value:.4f}  "
        f"worst at x={box.x} y={box.y} {box.width}x{box.height}  {prediction.path}"
    )


@contextlib.contextmanager
def csv_writer(file: Path | None) -> Iterator[Any]:
    """A function that writes one prediction's fields as a row; does nothing without a file."""
    if file is None:
        yield lambda fields: None
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(file.name + ".partial")
    try:
        with partial.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, CSV_COLUMNS, extrasaction="ignore")
            writer.writeheader()

            def write(fields: dict[str, Any]) -> None:
                box = zip(("box_x", "box_y", "box_width", "box_height"), fields["box"], strict=True)
                evidence = {f"evidence_{name}": value for name, value in fields["evidence"].items()}
                writer.writerow({"map": "", **fields, **dict(box), **evidence})

            yield write
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
