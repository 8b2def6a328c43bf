"""The commands about what verdicts rest on: the levels, the normal images, whether they hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ui.cli.options import (
    AsJson,
    BackboneName,
    Category,
    Device,
    Method,
    Reject,
    Review,
    Store,
    Weights,
    method_of,
    open_existing,
    settings_of,
)


def calibrate(
    category: Category,
    method: Method = None,
    reject: Reject = None,
    review: Review = None,
    recall: Annotated[
        Path | None,
        typer.Option(help="Estimate recall on made-up defects, with a plot to this .png file."),
    ] = None,
    backbone: BackboneName = None,
    weights: Weights = None,
    device: Device = None,
    store: Store = None,
) -> None:
    """Set the levels, or the method, of a category; no image is needed.

    Only made-up defects, for synthetic-f1 and --recall, need the calibration images, and once.
    """
    from eval.studies.calibration import estimated_recall
    from eval.studies.calibration_report import recall_figure, recall_table
    from indexer.calibration.base import Calibration
    from indexer.catalog.commits import find_entry
    from indexer.update.synthetic_defects import imagine_defects
    from search.calibrator import ConformalCalibrator, change_levels, check_method
    from search.inspector import load_category_network
    from search.monitoring.audit import level_image
    from ui.cli.console import progress_bars, say
    from ui.cli.formatting import describe_levels

    chosen = method_of(method)
    settings = settings_of(store=store, alpha_reject=reject, alpha_review=review, device=device)
    with open_existing(settings) as opened:
        before = entry = find_entry(opened, category, backbone)
        if chosen:
            check_method(entry, chosen)
        made_up = Calibration.from_payload(entry.calibration).synthetic
        if (chosen == "synthetic-f1" or recall) and not made_up:
            with progress_bars() as on_progress:
                entry = imagine_defects(
                    store=opened,
                    entry=entry,
                    backbone=load_category_network(entry, weights, settings.device),
                    calibrator=ConformalCalibrator.of(entry),
                    on_progress=on_progress,
                )
        entry = change_levels(
            opened,
            entry,
            alpha_reject=settings.alpha_reject,
            alpha_review=settings.alpha_review,
            method=chosen,
        )
        caught = estimated_recall(opened, entry) if recall else []
        alone = level_image(opened, entry)
    if entry.revision == before.revision:
        say(f"{category} ({entry.backbone}): nothing changed, revision {entry.revision} stands.")
    else:
        say(f"{category} ({entry.backbone}): revision {entry.revision}, {entry.action}.")
    say(describe_levels(entry, alone))
    if recall:
        say(recall_table(caught))
        recall_figure(caught).savefig(recall, dpi=110)


def audit(
    category: Category,
    top: Annotated[int, typer.Option(min=1, help="How many.")] = 10,
    as_json: AsJson = False,
    backbone: BackboneName = None,
    store: Store = None,
) -> None:
    """Rank the normal images by how little they look like the others; for `quarantine`."""
    from indexer.catalog.commits import find_entry
    from search.monitoring.audit import audit as rank
    from ui.cli.console import say, say_each
    from ui.cli.formatting import describe_suspects

    with open_existing(settings_of(store=store)) as opened:
        suspects = rank(opened, find_entry(opened, category, backbone))[:top]
    if as_json:
        say_each(suspects)
    else:
        say(describe_suspects(suspects))


def health(
    category: Category, as_json: AsJson = False, backbone: BackboneName = None, store: Store = None
) -> None:
    """Tell whether scores, light and focus are still those of the calibration images."""
    from dataclasses import asdict

    from indexer.catalog.commits import find_entry
    from search.monitoring.drift import check_health
    from ui.cli.console import say
    from ui.cli.formatting import describe_health

    with open_existing(settings_of(store=store)) as opened:
        found = check_health(opened, find_entry(opened, category, backbone))
    if as_json:
        say(json.dumps({**asdict(found), "alarm": found.alarm}))
    else:
        say(describe_health(found))
