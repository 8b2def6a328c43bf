"""The commands that change a category after it was learnt: its images, its past."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ui.cli.options import (
    FAILED,
    AsJson,
    BackboneName,
    Category,
    Device,
    Store,
    Weights,
    open_existing,
    settings_of,
)

if TYPE_CHECKING:
    from backbones.base import Device as DeviceName
    from indexer.catalog.schema import CatalogEntry
    from indexer.store.base import VectorStore
    from indexer.update.insertion import Change


def add(
    paths: Annotated[list[str], typer.Argument(metavar="IMAGE", help="Images, folders or globs.")],
    category: Category,
    label: Annotated[str, typer.Option(help="normal or defective.")] = "normal",
    defect_type: Annotated[str, typer.Option(help="Of defective images, if known.")] = "",
    replay: Annotated[
        bool,
        typer.Option("--replay", help="Only tell which verdicts normal images would change."),
    ] = False,
    as_json: AsJson = False,
    backbone: BackboneName = None,
    weights: Weights = None,
    device: Device = None,
    store: Store = None,
) -> None:
    """Let images join a category: normal ones the memory bank, with what is new about them."""
    from indexer.catalog.commits import find_entry
    from indexer.data.image_records import expand_paths
    from indexer.update.insertion import add_images
    from search.calibrator import ConformalCalibrator
    from search.inspector import load_category_network
    from ui.cli.console import note, note_skipped, progress_bars

    if label not in ("normal", "defective"):
        raise typer.BadParameter(
            f"expected normal or defective, got '{label}'", param_hint="--label"
        )
    if defect_type and label != "defective":
        raise typer.BadParameter(
            "expected with --label defective alone", param_hint="--defect-type"
        )
    if replay and label != "normal":
        raise typer.BadParameter(
            "defective images change no verdict, expected --label normal", param_hint="--replay"
        )
    settings = settings_of(store=store, device=device)
    with open_existing(settings) as opened:
        entry = find_entry(opened, category, backbone)
        if replay:
            _replay(opened, entry, expand_paths(paths), weights, settings.device, as_json)
            return
        with progress_bars() as on_progress:
            change = add_images(
                expand_paths(paths),
                store=opened,
                entry=entry,
                backbone=load_category_network(entry, weights, settings.device),
                calibrator=ConformalCalibrator.of(entry),
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
            remark = "The memory bank did not grow: it covers them already, or they calibrate."
        _tell(opened, change, as_json, remark)
    if change.skipped:
        raise typer.Exit(FAILED)


def remove(
    image_ids: Annotated[list[str], typer.Argument(metavar="IMAGE_ID")],
    category: Category,
    as_json: AsJson = False,
    backbone: BackboneName = None,
    store: Store = None,
) -> None:
    """Let images leave a category: no score, neighbour or evidence comes from them again."""
    from indexer.catalog.commits import find_entry
    from indexer.update.insertion import remove_images
    from search.calibrator import ConformalCalibrator

    with open_existing(settings_of(store=store)) as opened:
        entry = find_entry(opened, category, backbone)
        change = remove_images(
            image_ids, store=opened, entry=entry, calibrator=ConformalCalibrator.of(entry)
        )
        _tell(opened, change, as_json)


def quarantine(
    image_id: Annotated[str, typer.Argument(metavar="IMAGE_ID")],
    category: Category,
    as_json: AsJson = False,
    backbone: BackboneName = None,
    store: Store = None,
) -> None:
    """Keep an image in the library and out of the memory bank and the calibration."""
    from indexer.catalog.commits import find_entry
    from indexer.update.insertion import quarantine_image
    from search.calibrator import ConformalCalibrator

    with open_existing(settings_of(store=store)) as opened:
        entry = find_entry(opened, category, backbone)
        change = quarantine_image(
            image_id, store=opened, entry=entry, calibrator=ConformalCalibrator.of(entry)
        )
        _tell(opened, change, as_json)


def history(
    category: Category, as_json: AsJson = False, backbone: BackboneName = None, store: Store = None
) -> None:
    """List the revisions of a category since it was learnt."""
    from indexer.calibration.base import Calibration
    from indexer.catalog.commits import find_entry, read_history
    from ui.cli.console import say, table

    with open_existing(settings_of(store=store)) as opened:
        entries = read_history(opened, find_entry(opened, category, backbone))
    described = [
        {
            "revision": entry.revision,
            "at": entry.built_at,
            "action": entry.action,
            **entry.counts,
            "threshold": Calibration.from_payload(entry.calibration).threshold,
        }
        for entry in entries
    ]
    if as_json:
        say(json.dumps(described, indent=2))
        return
    rows = [
        [
            str(d["revision"]),
            str(d["at"]),
            str(d["action"]),
            str(d["bank_images"]),
            str(d["bank_patches"]),
            str(d["calibration_images"]),
            f"{d['threshold']:.4g}",
        ]
        for d in described
    ]
    heads = ["revision", "at", "action", "bank images", "patches", "calibration", "threshold"]
    say(table(heads, rows))


def rollback(
    revision: Annotated[int, typer.Argument(metavar="REVISION")],
    category: Category,
    backbone: BackboneName = None,
    store: Store = None,
) -> None:
    """Make the state of an earlier revision the next one."""
    from indexer.catalog.commits import find_entry
    from indexer.update.insertion import rollback as go_back
    from ui.cli.console import say

    with open_existing(settings_of(store=store)) as opened:
        entry = go_back(revision, store=opened, entry=find_entry(opened, category, backbone))
    say(f"{category} ({entry.backbone}): revision {entry.revision}, {entry.action}.")


def _replay(
    store: VectorStore,
    entry: CatalogEntry,
    paths: list[Path],
    weights: Path | None,
    device: DeviceName,
    as_json: bool,
) -> None:
    """Tell what adding the files would do to the library images outside bank and calibration."""
    from dataclasses import asdict

    from indexer.catalog.collections import read_images
    from search.inspector import Inspector
    from search.monitoring.replay_update import replay_additions
    from ui.cli.console import note_skipped, say
    from ui.cli.formatting import describe_replay

    inspector = Inspector(
        store, entry.category, backbone=entry.backbone, weights=weights, device=device
    )
    tests = [Path(i.path) for i in read_images(store, entry).values() if i.split == "test"]
    found = replay_additions(inspector, paths, sorted(tests))
    for skipped in found.unreadable:
        note_skipped(skipped)
    say(json.dumps(asdict(found), default=str) if as_json else describe_replay(found))


def _tell(store: VectorStore, change: Change, as_json: bool, remark: str = "") -> None:
    from search.monitoring.audit import level_image
    from ui.cli.console import say
    from ui.cli.formatting import describe_levels

    entry = change.entry
    if as_json:
        fields = {
            "revision": entry.revision,
            "images": change.images,
            "patches": change.patches,
            "uncovered": change.uncovered,
        }
        say(json.dumps(fields))
        return
    name = f"{entry.category} ({entry.backbone})"
    if not change.images:
        say(f"{name}: nothing changed, revision {entry.revision} stands.")
        return
    say(f"{name}: revision {entry.revision}, {entry.action}.")
    if remark:
        say(remark)
    if change.uncovered:
        say(f"{change.uncovered} patches of the calibration images were covered by this alone.")
    say(describe_levels(entry, level_image(store, entry)))
