"""What the commands print and write about builds and predictions."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from indexer.calibration.base import DEFAULT_REJECT, Calibration, images_needed
from indexer.catalog.counts import PASSED_OVER, PICKED_OUT
from indexer.catalog.schema import CatalogEntry
from indexer.learn.build import BuildReport
from search.inspector import Inspector
from search.monitoring.audit import LevelImage, Suspect
from search.monitoring.drift import RATE, WINDOW, Health
from search.monitoring.replay_update import Replay
from search.prediction import Prediction
from ui.cli.console import table

CSV_COLUMNS = (
    "path", "category", "backbone", "score", "p_value", "verdict", "threshold",
    "box_x", "box_y", "box_width", "box_height",
    "evidence_distance", "evidence_image_id", "evidence_path", "revision", "map",
    "defect_type", "defect_type_confidence",
)  # fmt: skip


def describe_build(build: BuildReport, *, levels_changed: bool) -> Iterator[str]:
    """Lines that say what ``index`` did."""
    entry = build.entry
    name = f"{entry.category} ({entry.backbone})"
    if not build.changed:
        yield f"{name}: nothing changed, revision {entry.revision} stands." + (
            f" The levels were changed, as revision {entry.revision + 1}." if levels_changed else ""
        )
        return
    counts = entry.counts
    patches = f"{counts['bank_patches']} patches of " if entry.spec.level == "patch" else ""
    yield (
        f"{name}: learnt as revision {entry.revision} in {sum(build.seconds.values()):.1f} s: "
        f"{patches}{counts['bank_images']} normal images, "
        f"{counts['calibration_images']} more calibrate, {counts['test_images']} in the library."
    )


def describe_levels(entry: CatalogEntry, alone: LevelImage | None) -> str:
    """The levels in force and, where n does not support 1 %, what that takes.

    Args:
        alone: the image that alone sets the reject level, if one does.
    """
    calibration = Calibration.from_payload(entry.calibration)
    most = {"conformal": "at most "}.get(calibration.method, "about ")
    reject = f"{most}{calibration.alpha_reject:.2%} of normal parts"
    if calibration.method == "synthetic-f1":
        reject = "what best parts them from made-up defects"
    line = (
        f"reject above {calibration.threshold:.4g}: {reject}; review above "
        f"{calibration.review_threshold:.4g}: {most}{calibration.alpha_review:.2%}."
    )
    if calibration.method != "conformal":
        line += f"\n{calibration.method}: {describe_bound(calibration, entry.counts)}."
    missing = images_needed(DEFAULT_REJECT) - calibration.n
    if calibration.alpha_reject > DEFAULT_REJECT and missing > 0:
        line += (
            f"\n{calibration.n} calibration images support no less than "
            f"{1 / (calibration.n + 1):.2%}; {DEFAULT_REJECT:.0%} takes {missing} more "
        )
        if calibration.method == "conformal":
            line += (
                f"(about {round(missing / entry.settings['holdout'])} more normal images at "
                f"--holdout {entry.settings['holdout']:g})."
            )
        else:
            line += "normal images."
    if alone:
        line += (
            f"\nThe reject level is the score of one image, {alone.path} (the next highest is "
            f"{alone.next_score:.4g}). Look at it: if it is no good part, "
            f"vecspect quarantine {alone.image_id} --category {entry.category}"
        )
    return line


def describe_bound(calibration: Calibration, counts: Mapping[str, int]) -> str:
    """What is certain of the false-reject rate at a level alpha.

    Args:
        counts: of the category, which tell what has changed since it was learnt.
    """
    if calibration.bound is None:
        return "no bound on the false-reject rate"
    if counts.get(PICKED_OUT):
        return "about alpha, no longer proven: images that calibrate were taken out by hand"
    if counts.get(PASSED_OVER):
        return "about alpha, 2 alpha no longer proven: images joined without patches of their own"
    bound = "at most alpha, exactly"
    if calibration.bound > 1:
        bound = f"at most {calibration.bound:g} alpha in the worst case"
    return bound


def describe_replay(replay: Replay) -> str:
    """What would change, and a table of the verdicts that would be others."""
    calibrate = replay.roles.count("calibration")
    line = (
        f"{len(replay.roles)} images would join: {replay.patches} patches the memory bank, "
        f"{calibrate} images the calibration. Reject above {replay.threshold:.4g} -> "
        f"{replay.threshold_after:.4g}. {len(replay.changed)} of {len(replay.images)} verdicts "
        "would change; nothing was written."
    )
    if not replay.changed:
        return line
    rows = [
        [i.verdict, i.verdict_after, f"{i.score:.4g}", f"{i.score_after:.4g}", str(i.path)]
        for i in replay.changed
    ]
    return line + "\n" + table(["now", "then", "score now", "score then", "path"], rows)


def describe_suspects(suspects: Sequence[Suspect]) -> str:
    """The strangest normal images as a table."""
    rows = [[str(s.rank), f"{s.score:.4g}", s.image_id, s.path] for s in suspects]
    return table(["rank", "score", "image id", "path"], rows)


def describe_health(health: Health) -> str:
    """One line on the whole, and a table of what is watched."""
    verdict = "ALARM" if health.alarm else "quiet"
    if not health.images:
        verdict = "nothing scored yet"
    line = (
        f"{health.category} ({health.backbone}), revision {health.revision}, "
        f"{health.age_days:.1f} days old: {verdict}. {health.images} images, "
        f"{health.rejected:.1%} rejected; {health.calibration_images} calibration images of the "
        f"{health.images_for_one_percent} that a level of 1 % takes.\n"
        f"A false alarm has a probability of at most {RATE:.0%} in {WINDOW} images.\n"
    )
    rows = [
        [
            signal.name,
            f"{signal.direction}, alarm after {signal.after}" if signal.alarm else "quiet",
            signal.since,
            f"{signal.evidence:.3g}",
            f"{signal.shift:+.2f}",
        ]
        for signal in health.signals
    ]
    return line + table(["watched", "state", "since", "evidence", "shift in deviations"], rows)


def describe_prediction(prediction: Prediction) -> str:
    """One image in one line."""
    box = prediction.box
    seen = prediction.seen_before
    kind = ""
    if seen and seen.defect_type == "unknown":
        kind = "  unknown defect type"
    elif seen:
        kind = f"  {seen.defect_type} ({seen.confidence:.0%}), {seen.share:.0%} of past cases"
    return (
        f"{prediction.verdict:<6}  score {prediction.score:.4g}  p {prediction.p_value:.4f}  "
        f"worst at x={box.x} y={box.y} {box.width}x{box.height}{kind}  {prediction.path}"
    )


def prediction_writer(stream: IO[str]) -> Callable[[dict[str, Any]], object]:
    """Write the heads of a CSV; what comes back writes one prediction's fields as a row."""
    writer = csv.DictWriter(stream, CSV_COLUMNS, extrasaction="ignore")
    writer.writeheader()

    def write(fields: dict[str, Any]) -> None:
        box = zip(("box_x", "box_y", "box_width", "box_height"), fields["box"], strict=True)
        evidence = {f"evidence_{name}": value for name, value in fields["evidence"].items()}
        seen = fields["seen_before"] or {}
        proposal = {
            "defect_type": seen.get("defect_type", ""),
            "defect_type_confidence": seen.get("confidence", ""),
        }
        writer.writerow({"map": "", **fields, **dict(box), **evidence, **proposal})

    return write


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
            yield prediction_writer(stream)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def write_map(inspector: Inspector, prediction: Prediction, folder: Path, used: set[str]) -> Path:
    """Save the picture under the image's name; a repeated name gets a number."""
    name, number = prediction.path.stem, 1
    while name in used:
        number += 1
        name = f"{prediction.path.stem}-{number}"
    used.add(name)
    file = folder / f"{name}.png"
    inspector.explain(prediction).save(file)
    return file
