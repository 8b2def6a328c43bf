"""Texts that the commands print and write about builds and predictions."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from indexer.calibration.base import DEFAULT_REJECT, Calibration, images_needed
from indexer.calibration.methods import read_calibration
from indexer.catalog.counts import PICKED_OUT, WITHOUT_PATCHES
from indexer.catalog.entry import CatalogEntry
from indexer.learn.build import BuildReport
from indexer.records.drift_window import WINDOW
from indexer.update.change import Change
from search.monitoring.audit import LevelImage
from search.monitoring.drift import RATE, DriftReport
from search.monitoring.replay_update import Replay
from search.prediction import Prediction
from ui.cli.console import Columns, columns_table

CSV_COLUMNS = (
    "path", "category", "backbone", "score", "p_value", "verdict", "threshold",
    "box_x", "box_y", "box_width", "box_height",
    "evidence_distance", "evidence_image_id", "evidence_path", "revision", "map",
    "defect_type", "defect_type_confidence",
)  # fmt: skip


def describe_revision(entry: CatalogEntry, *, changed: bool) -> str:
    """One line on the revision that a change made, or that it made none."""
    said = f"revision {entry.revision}, {entry.action}."
    if not changed:
        said = f"nothing changed, revision {entry.revision} stands."
    return f"{entry.category} ({entry.backbone}): {said}"


def describe_build(build: BuildReport, *, levels_changed: bool) -> str:
    """One line on what ``index`` did."""
    entry = build.entry
    if not build.changed:
        more = f" The levels were changed, as revision {entry.revision + 1}."
        return describe_revision(entry, changed=False) + (more if levels_changed else "")
    counts = entry.counts
    patches = f"{counts['bank_patches']} patches of " if entry.spec.level == "patch" else ""
    return (
        f"{entry.category} ({entry.backbone}): learnt as revision {entry.revision} in "
        f"{sum(build.seconds.values()):.1f} s: {patches}{counts['bank_images']} normal images, "
        f"{counts['calibration_images']} more calibrate, {counts['test_images']} in the library."
    )


def describe_change(change: Change, decisive: LevelImage | None, remark: str = "") -> Iterator[str]:
    """Lines on what a change of images did, and on the levels in force after it."""
    yield describe_revision(change.entry, changed=bool(change.images))
    if not change.images:
        return
    if remark:
        yield remark
    if change.uncovered:
        yield f"{change.uncovered} patches of the calibration images were covered by nothing else."
    yield describe_levels(change.entry, decisive)


def describe_levels(entry: CatalogEntry, decisive: LevelImage | None) -> str:
    """The levels in force, what 1 % requires if n is too small, and the ``decisive`` image."""
    calibration = read_calibration(entry)
    most = "at most " if calibration.bound == 1 else "about "
    reject = f"{most}{calibration.alpha_reject:.2%} of normal parts"
    if calibration.method.name == "synthetic-f1":
        reject = "the threshold that best separates them from synthetic defects"
    lines = [
        f"reject above {calibration.threshold:.4g}: {reject}; review above "
        f"{calibration.review_threshold:.4g}: {most}{calibration.alpha_review:.2%}."
    ]
    if calibration.method.name != "conformal":
        lines.append(f"{calibration.method.name}: {describe_bound(calibration, entry.counts)}.")
    missing = images_needed(DEFAULT_REJECT) - calibration.n
    if calibration.alpha_reject > DEFAULT_REJECT and missing > 0:
        holdout, more = entry.settings["holdout"], "normal images."
        if calibration.method.name == "conformal":
            about = round(missing / holdout)
            more = f"(about {about} more normal images at --holdout {holdout:g})."
        lines.append(
            f"{calibration.n} calibration images support no less than "
            f"{1 / (calibration.n + 1):.2%}; {DEFAULT_REJECT:.0%} requires {missing} more {more}"
        )
    if decisive:
        lines.append(
            f"The reject level is the score of one image, {decisive.path} (the next highest is "
            f"{decisive.next_score:.4g}). If it does not show a good part: "
            f"vecspect quarantine {decisive.image_id} --category {entry.category}"
        )
    return "\n".join(lines)


def describe_bound(calibration: Calibration, counts: Mapping[str, int]) -> str:
    """The bound on the false-reject rate; ``counts`` tell what changed."""
    if calibration.bound is None:
        return "no bound on the false-reject rate"
    if counts.get(PICKED_OUT):
        return "about the level, no longer proven: images that calibrate were taken out by hand"
    if counts.get(WITHOUT_PATCHES):
        return "about the level, twice no longer proven: images joined without patches of their own"
    if calibration.bound > 1:
        return f"at most {calibration.bound:g} times the level in the worst case"
    return "at most the level"


def describe_replay(replay: Replay) -> str:
    """The changes, and a table of the verdicts that would be different."""
    calibrate = replay.roles.count("calibration")
    line = (
        f"{len(replay.roles)} images would join: {replay.patches} patches the memory bank, "
        f"{calibrate} images the calibration. Reject above {replay.threshold:.4g} -> "
        f"{replay.threshold_after:.4g}. {len(replay.changed)} of {len(replay.images)} verdicts "
        "would change; nothing was written."
    )
    changed = [columns_table(_REPLAYED, replay.changed)] if replay.changed else []
    return "\n".join([line, *changed])


_WATCHED: Columns = {
    "watched": "{.name}",
    "state": lambda signal: (
        f"{signal.direction}, alarm after {signal.after}" if signal.alarm else "quiet"
    ),
    "since": "{.since}",
    "evidence": "{.evidence:.3g}",
    "shift in deviations": "{.shift:+.2f}",
}
_REPLAYED = {
    "now": "{.verdict}",
    "then": "{.verdict_after}",
    "score now": "{.score:.4g}",
    "score then": "{.score_after:.4g}",
    "path": "{.path}",
}
SUSPECTS = {
    "rank": "{.rank}",
    "score": "{.score:.4g}",
    "image id": "{.image_id}",
    "path": "{.path}",
}
"""Columns of the most unusual normal images."""


def describe_drift(drift: DriftReport) -> str:
    """One line on the whole, and a table of what is watched."""
    verdict = "ALARM" if drift.alarm else "quiet" if drift.images else "nothing scored yet"
    line = (
        f"{drift.category} ({drift.backbone}), revision {drift.revision}, "
        f"{drift.age_days:.1f} days old: {verdict}. {drift.images} images, "
        f"{drift.rejected:.1%} rejected; {drift.calibration_images} calibration images of the "
        f"{drift.images_for_one_percent} that a level of 1 % requires.\n"
        f"A false alarm has a probability of at most {RATE:.0%} in {WINDOW} images.\n"
    )
    return line + columns_table(_WATCHED, drift.signals)


def describe_prediction(prediction: Prediction) -> str:
    """One image in one line."""
    box = prediction.box
    kind = ""
    if seen := prediction.seen_before:
        kind = f"  {seen.defect_type} ({seen.confidence:.0%}), {seen.share:.0%} of past cases"
        if seen.defect_type == "unknown":
            kind = "  unknown defect type"
    return (
        f"{prediction.verdict:<6}  score {prediction.score:.4g}  p {prediction.p_value:.4f}  "
        f"worst at x={box.x} y={box.y} {box.width}x{box.height}{kind}  {prediction.path}"
    )


def prediction_writer(stream: IO[str]) -> Callable[[dict[str, Any]], object]:
    """Write the heads of a CSV; what comes back writes one prediction's fields as a row."""
    writer = csv.DictWriter(stream, CSV_COLUMNS, extrasaction="ignore")
    writer.writeheader()
    return lambda fields: writer.writerow(prediction_row(fields))


def prediction_row(fields: dict[str, Any]) -> dict[str, Any]:
    """Cells of one prediction's fields by `CSV_COLUMNS`, and more that have no column."""
    box = zip(("box_x", "box_y", "box_width", "box_height"), fields["box"], strict=True)
    evidence = {f"evidence_{name}": value for name, value in fields["evidence"].items()}
    seen = fields["seen_before"] or {}
    proposal = {
        "defect_type": seen.get("defect_type"),
        "defect_type_confidence": seen.get("confidence"),
    }
    return {**fields, **dict(box), **evidence, **proposal}


@contextlib.contextmanager
def csv_writer(file: Path | None) -> Iterator[Any]:
    """A function that writes one prediction's fields as a row; does nothing without a file.

    The file appears when it is whole. What Ctrl-C cuts short stays beside it, as ``….partial``.
    """
    if file is None:
        yield lambda fields: None
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(file.name + ".partial")
    try:
        with partial.open("w", buffering=1, newline="", encoding="utf-8") as stream:
            yield prediction_writer(stream)
        partial.replace(file)
    except Exception:
        partial.unlink(missing_ok=True)
        raise


def write_map(prediction: Prediction, folder: Path, used: set[str]) -> Path:
    """Save the picture under the image's name; a repeated name gets a number."""
    name, number = prediction.path.stem, 1
    while name in used:
        number += 1
        name = f"{prediction.path.stem}-{number}"
    used.add(name)
    file = folder / f"{name}.png"
    prediction.explain().save(file)
    return file
