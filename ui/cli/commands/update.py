"""The commands that change a category after it was learnt: its images, its past."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ui.cli import options
from ui.cli.console import columns_table, note, note_skipped, progress_bars, say

if TYPE_CHECKING:
    from indexer.update.change import Change

_HISTORY = {
    "revision": "{[revision]}",
    "at": "{[at]}",
    "action": "{[action]}",
    "bank images": "{[bank_images]}",
    "patches": "{[bank_patches]}",
    "calibration": "{[calibration_images]}",
    "threshold": "{[threshold]:.4g}",
}


@options.grouped
def add(
    paths: Annotated[list[str], typer.Argument(metavar="IMAGE", help="Images, folders or globs.")],
    category: options.Category,
    label: Annotated[str, typer.Option(help="normal or defective.")] = "normal",
    defect_type: Annotated[str, typer.Option(help="Of defective images, if known.")] = "",
    replay: Annotated[
        bool, typer.Option("--replay", help="Only tell which verdicts normal images would change.")
    ] = False,
    as_json: options.AsJson = False,
    *,
    scoring: options.ScoringOptions,
) -> None:
    """Add images to a category: normal ones to the memory bank, with the patches that are new."""
    from indexer.data.image_records import expand_paths
    from indexer.update.insertion import add_images

    options.one_of(label, ("normal", "defective"), "--label")
    if defect_type and label != "defective":
        raise typer.BadParameter("expected only with --label defective", param_hint="--defect-type")
    if replay and label != "normal":
        raise typer.BadParameter(
            "defective images change no verdict, expected --label normal", param_hint="--replay"
        )
    if replay:
        _replay(scoring, category, paths, as_json)
        return
    with scoring.open(category) as opened:
        with progress_bars() as on_progress:
            change = add_images(
                expand_paths(paths),
                category=opened,
                backbone=scoring.network(opened),
                label=label,
                defect_type=defect_type,
                on_progress=on_progress,
            )
        for path in change.known:
            note(f"left out {path}: the library has the same bytes")
        for skipped in change.skipped:
            note_skipped(skipped)
        remark = ""
        if label == "normal" and change.images and not change.patches:
            remark = (
                "The memory bank did not grow: it covers them already, or they are for calibration."
            )
        _tell(change, as_json, remark)
    if change.skipped:
        raise typer.Exit(options.FAILED)


@options.grouped
def remove(
    image_ids: options.ImageIds,
    category: options.Category,
    as_json: options.AsJson = False,
    *,
    stored: options.StoredOptions,
) -> None:
    """Remove images from a category: no score, neighbour or evidence comes from them again."""
    from indexer.update.removal import remove_images

    with stored.open(category) as opened:
        _tell(remove_images(image_ids, category=opened), as_json)


@options.grouped
def quarantine(
    image_id: options.ImageId,
    category: options.Category,
    as_json: options.AsJson = False,
    *,
    stored: options.StoredOptions,
) -> None:
    """Keep an image in the library and out of the memory bank and the calibration."""
    from indexer.update.removal import quarantine_image

    with stored.open(category) as opened:
        _tell(quarantine_image(image_id, category=opened), as_json)


@options.grouped
def history(
    category: options.Category, as_json: options.AsJson = False, *, stored: options.StoredOptions
) -> None:
    """List the revisions of a category."""
    from indexer.calibration.methods import read_calibration
    from indexer.catalog.commits import read_history

    with stored.open(category) as opened:
        entries = read_history(opened)
    described = [
        {
            "revision": entry.revision,
            "at": entry.built_at,
            "action": entry.action,
            **entry.counts,
            "threshold": read_calibration(entry).threshold,
        }
        for entry in entries
    ]
    say(json.dumps(described, indent=2) if as_json else columns_table(_HISTORY, described))


@options.grouped
def rollback(
    revision: Annotated[int, typer.Argument(metavar="REVISION")],
    category: options.Category,
    *,
    stored: options.StoredOptions,
) -> None:
    """Go back to an earlier revision, as a new one."""
    from indexer.update.rollback import rollback as go_back
    from ui.cli.formatting import describe_revision

    with stored.open(category) as opened:
        after = go_back(revision, category=opened)
    say(describe_revision(after.entry, changed=True))


def _replay(
    scoring: options.ScoringOptions, category: str, paths: list[str], as_json: bool
) -> None:
    """Tell what adding the files would do to the library images outside bank and calibration."""
    from indexer.catalog.collections import read_images
    from indexer.data.image_records import expand_paths
    from search.monitoring.replay_update import replay_additions
    from ui.cli.formatting import describe_replay

    with scoring.open_inspector(category) as inspector:
        library = read_images(inspector.category).values()
        tests = sorted(Path(image.path) for image in library if image.split == "test")
        found = replay_additions(inspector, expand_paths(paths), tests)
    for skipped in found.unreadable:
        note_skipped(skipped)
    say(json.dumps(asdict(found), default=str) if as_json else describe_replay(found))


def _tell(change: Change, as_json: bool, remark: str = "") -> None:
    from search.monitoring.audit import level_image
    from ui.cli.formatting import describe_change

    if as_json:
        fields = {
            "revision": change.entry.revision,
            "images": change.images,
            "patches": change.patches,
            "uncovered": change.uncovered,
        }
        say(json.dumps(fields))
        return
    for line in describe_change(change, level_image(change.category), remark):
        say(line)
