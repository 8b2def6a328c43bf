"""The commands that learn a category and set its levels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ui.cli import options
from ui.cli.console import columns_table, note, note_skipped, progress_bars, say

if TYPE_CHECKING:
    from backbones.base import Backbone
    from indexer.catalog.category import Category
    from indexer.data.image_records import ImageRecord
    from search.monitoring.audit import Suspect
    from ui.settings import AppSettings


@options.grouped
def index(
    dataset: Annotated[
        Path, typer.Argument(metavar="DATASET", help="MVTec folder, folder of normal images, CSV.")
    ],
    category: options.Category,
    *,
    backbone: options.BackboneName = None,
    weights: options.Weights = None,
    learning: options.LearningOptions,
    calibration: options.CalibrationMethod = None,
    audit: Annotated[
        bool, typer.Option("--audit", help="Also rank the normal images by leave-one-out score.")
    ] = False,
    network: options.NetworkOptions,
    store: options.Store = None,
) -> None:
    """Learn a category from the normal images of DATASET and calibrate it.

    Defective images found beside them join the image library, for `similar`.
    """
    from indexer.calibration.base import Levels
    from indexer.calibration.methods import CalibrationSettings
    from indexer.data.dataset import read_dataset
    from indexer.learn.build import build_index
    from search.monitoring.audit import level_image
    from ui.cli.formatting import SUSPECTS, describe_build, describe_levels
    from ui.stores import open_configured

    settings = options.settings_of(
        store=store, backbone=backbone, weights=weights, **asdict(learning), **asdict(network)
    )
    chosen = options.calibration_of(calibration) or "conformal"
    learnt_by = "conformal" if chosen == "synthetic-f1" else chosen
    records = read_dataset(dataset)
    loaded = _load_network(settings, records)
    levels = Levels(settings.alpha_reject, settings.alpha_review)
    with open_configured(settings) as opened:
        with progress_bars() as on_progress:
            build = build_index(
                records,
                category=category,
                backbone=loaded,
                store=opened,
                calibration=CalibrationSettings(learnt_by, levels),
                coreset=settings.coreset,
                holdout=settings.holdout,
                seed=settings.seed,
                on_progress=on_progress,
            )
        learnt = build.category
        suspects = _suspects(learnt, records, loaded) if audit else []
        if not build.changed or chosen != learnt_by:
            learnt = _set_levels(learnt, chosen, settings, lambda: loaded)
        decisive = level_image(learnt)
    say(describe_build(build, levels_changed=learnt.entry != build.entry))
    say(describe_levels(learnt.entry, decisive))
    if audit:
        say(columns_table(SUSPECTS, suspects[: max(10, len(suspects) // 10)]))
    for path in build.duplicates:
        note(f"left out {path}: same bytes as another image of the data set")
    for skipped in build.skipped:
        note_skipped(skipped)
    if build.skipped:
        raise typer.Exit(options.FAILED)


def _load_network(settings: AppSettings, records: Sequence[ImageRecord]) -> Backbone:
    from backbones.registry import load_backbone
    from indexer.data.image_records import normal_images
    from ui.settings import square

    return load_backbone(
        settings.backbone,
        weights=settings.weights,
        precision=settings.precision,
        device=settings.device,
        input_size=square(settings.input_size),
        crop=square(settings.crop or None),
        padding=settings.padding,
        images=normal_images(records),
    )


def _suspects(learnt: Category, records: Sequence[ImageRecord], network: Backbone) -> list[Suspect]:
    """The normal images, most unusual first: from the cache if they were left out one by one."""
    from search.monitoring.audit import audit, audit_dataset

    if learnt.entry.layout == "leave-one-out":
        return audit(learnt)
    with progress_bars() as on_progress:
        return audit_dataset(
            records, category=learnt.name, backbone=network, on_progress=on_progress
        )


@options.grouped
def calibrate(
    category: options.Category,
    calibration: options.CalibrationMethod = None,
    reject: options.Reject = None,
    review: options.Review = None,
    recall: Annotated[
        Path | None,
        typer.Option(help="Estimate recall on synthetic defects, with a plot to this .png file."),
    ] = None,
    *,
    scoring: options.ScoringOptions,
) -> None:
    """Set the levels, or the calibration method, of a category; no image is needed.

    Except for synthetic defects: for synthetic-f1 and --recall they are made from the calibration
    images, once.
    """
    from eval.benchmark.recall_report import recall_figure, recall_table
    from indexer.calibration.expected_recall import estimated_recall
    from search.monitoring.audit import level_image
    from ui.cli.formatting import describe_levels, describe_revision

    chosen = options.calibration_of(calibration)
    settings = options.settings_of(reject=reject, review=review)
    with scoring.open(category) as before:
        network = partial(scoring.network, before)
        after = _set_levels(before, chosen, settings, network, for_recall=recall is not None)
        caught = estimated_recall(after) if recall else []
        decisive = level_image(after)
    changed = after.entry.revision != before.entry.revision
    say(describe_revision(after.entry, changed=changed))
    say(describe_levels(after.entry, decisive))
    if recall:
        say(recall_table(caught))
        recall_figure(caught).savefig(recall, dpi=110)


def _set_levels(
    category: Category,
    method: str | None,
    settings: AppSettings,
    network: Callable[[], Backbone],
    *,
    for_recall: bool = False,
) -> Category:
    """The category at the levels of the settings; with synthetic defects where these are needed.

    Args:
        network: called only if synthetic defects are to be made.
        for_recall: make them whatever the method.
    """
    from indexer.calibration.base import Levels
    from indexer.calibration.methods import read_calibration
    from indexer.update.levels import change_levels, check_method
    from indexer.update.synthetic_defects import add_synthetic_defects

    if method:
        check_method(category.entry, method)
    needed = for_recall or method == "synthetic-f1"
    if needed and not read_calibration(category.entry).synthetic:
        with progress_bars() as on_progress:
            category = add_synthetic_defects(
                category=category, backbone=network(), on_progress=on_progress
            )
    return change_levels(category, Levels(settings.alpha_reject, settings.alpha_review), method)
