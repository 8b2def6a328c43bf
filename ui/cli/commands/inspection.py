"""The commands of every day: learn, score, look up, list."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ui.cli.options import (
    ANOMALY,
    FAILED,
    AsJson,
    BackboneName,
    Category,
    Coreset,
    Crop,
    Device,
    Holdout,
    InputSize,
    Method,
    Padding,
    Precision,
    Reject,
    Review,
    Seed,
    Store,
    Weights,
    method_of,
    open_existing,
    open_store_of,
    settings_of,
)


def index(
    dataset: Annotated[
        Path, typer.Argument(metavar="DATASET", help="MVTec folder, folder of normal images, CSV.")
    ],
    category: Category,
    backbone: BackboneName = None,
    weights: Weights = None,
    coreset: Coreset = None,
    holdout: Holdout = None,
    seed: Seed = None,
    reject: Reject = None,
    review: Review = None,
    method: Method = None,
    audit: Annotated[
        bool, typer.Option("--audit", help="Also rank the normal images by leave-one-out score.")
    ] = False,
    precision: Precision = None,
    device: Device = None,
    input_size: InputSize = None,
    crop: Crop = None,
    no_padding: Padding = None,
    store: Store = None,
) -> None:
    """Learn a category from the normal images of DATASET and calibrate it.

    Defective images found beside them join the image library, for `similar`.
    """
    from backbones.registry import load_backbone
    from indexer.calibration.base import Calibration
    from indexer.data.image_records import normal_images, read_dataset
    from indexer.learn.build import build_index
    from indexer.update.synthetic_defects import imagine_defects
    from search.calibrator import ConformalCalibrator, change_levels
    from search.monitoring.audit import audit as rank_normal_images
    from search.monitoring.audit import audit_dataset, level_image
    from ui.cli.console import note, note_skipped, progress_bars, say
    from ui.cli.formatting import describe_build, describe_levels, describe_suspects

    settings = settings_of(
        store=store,
        backbone=backbone,
        weights=weights,
        coreset=coreset,
        holdout=holdout,
        seed=seed,
        alpha_reject=reject,
        alpha_review=review,
        precision=precision,
        device=device,
        input_size=input_size,
        crop=crop,
        padding=False if no_padding else None,
    )
    levels = (settings.alpha_reject, settings.alpha_review)
    chosen = method_of(method) or "conformal"
    learnt_by = "conformal" if chosen == "synthetic-f1" else chosen
    records = read_dataset(dataset)
    network = load_backbone(
        settings.backbone,
        weights=settings.weights,
        precision=settings.precision,
        device=settings.device,
        input_size=settings.input_size,
        crop=settings.crop,
        padding=settings.padding,
        images=normal_images(records),
    )
    with open_store_of(settings) as opened:
        with progress_bars() as on_progress:
            build = build_index(
                records,
                category=category,
                backbone=network,
                store=opened,
                calibrator=ConformalCalibrator(*levels, learnt_by),
                coreset=settings.coreset,
                holdout=settings.holdout,
                seed=settings.seed,
                on_progress=on_progress,
            )
        entry = build.entry
        if audit and entry.layout == "leave-one-out":
            suspects = rank_normal_images(opened, entry)
        elif audit:
            with progress_bars() as on_progress:
                suspects = audit_dataset(
                    records, category=category, backbone=network, on_progress=on_progress
                )
        if chosen == "synthetic-f1" and not Calibration.from_payload(entry.calibration).synthetic:
            with progress_bars() as on_progress:
                entry = imagine_defects(
                    store=opened,
                    entry=entry,
                    backbone=network,
                    calibrator=ConformalCalibrator.of(entry),
                    on_progress=on_progress,
                )
        if not build.changed or chosen != learnt_by:
            entry = change_levels(
                opened, entry, alpha_reject=levels[0], alpha_review=levels[1], method=chosen
            )
        alone = level_image(opened, entry)
    for line in describe_build(build, levels_changed=entry != build.entry):
        say(line)
    say(describe_levels(entry, alone))
    if audit:
        say(describe_suspects(suspects[: max(10, len(suspects) // 10)]))
    for path in build.duplicates:
        note(f"left out {path}: same bytes as another image of the data set")
    for skipped in build.skipped:
        note_skipped(skipped)
    if build.skipped:
        raise typer.Exit(FAILED)


def score(
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help="Images, folders or globs.")],
    category: Category,
    as_json: AsJson = False,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="Write the results to this file.")
    ] = None,
    maps: Annotated[
        Path | None, typer.Option(help="Write an explaining picture per image to this folder.")
    ] = None,
    fail_on_anomaly: Annotated[
        bool, typer.Option("--fail-on-anomaly", help="Exit with 3 if an image is rejected.")
    ] = False,
    backbone: BackboneName = None,
    weights: Weights = None,
    device: Device = None,
    store: Store = None,
) -> None:
    """Score images against a category: verdict, p-value, worst region and its evidence.

    An image that cannot be read is named on stderr, the others are scored, and the exit code
    is 1.
    """
    from backbones.pipeline import Skipped
    from indexer.data.image_records import expand_paths
    from search.inspector import Inspector
    from search.monitoring.drift import Watch
    from ui.cli.console import note_skipped, progress_bars, say
    from ui.cli.formatting import csv_writer, describe_prediction, write_map

    settings = settings_of(store=store, device=device)
    files = expand_paths(paths)
    if maps:
        maps.mkdir(parents=True, exist_ok=True)
    skipped = rejected = False
    used: set[str] = set()
    with open_existing(settings) as opened, csv_writer(csv_file) as write_row:
        inspector = Inspector(
            opened, category, backbone=backbone, weights=weights, device=settings.device
        )
        watch = Watch(opened, inspector.entry)
        with progress_bars() as on_progress:
            for done, outcome in enumerate(inspector.inspect_files(files), 1):
                on_progress("scoring", done, len(files))
                if isinstance(outcome, Skipped):
                    note_skipped(outcome)
                    skipped = True
                    continue
                rejected = rejected or outcome.verdict == "reject"
                watch.record(outcome)
                fields = outcome.to_dict()
                if maps:
                    fields["map"] = str(write_map(inspector, outcome, maps, used))
                write_row(fields)
                if as_json:
                    say(json.dumps(fields))
                elif not csv_file:
                    say(describe_prediction(outcome))
    if rejected and fail_on_anomaly:
        raise typer.Exit(ANOMALY)
    if skipped:
        raise typer.Exit(FAILED)


def status(as_json: AsJson = False, store: Store = None) -> None:
    """List the categories of the store, with revision, bank size and calibration."""
    from indexer.calibration.base import Calibration
    from indexer.catalog.commits import read_catalog
    from ui.cli.console import note, say, table
    from ui.cli.formatting import describe_bound

    with open_existing(settings_of(store=store)) as opened:
        entries = read_catalog(opened)
        location = opened.location
    described: list[dict[str, Any]] = []
    for entry in entries:
        calibration = Calibration.from_payload(entry.calibration)
        described.append(
            {
                "category": entry.category,
                "backbone": entry.backbone,
                "revision": entry.revision,
                **entry.counts,
                "threshold": calibration.threshold,
                "alpha_reject": calibration.alpha_reject,
                "alpha_review": calibration.alpha_review,
                "method": calibration.method,
                "smallest_alpha": calibration.smallest_alpha,
                "bound": describe_bound(calibration, entry.counts),
                "n": calibration.n,
                **entry.settings,
                "precision": entry.precision,
                "fingerprint": entry.fingerprint,
                "built_at": entry.built_at,
                "versions": entry.versions,
            }
        )
    if as_json:
        say(json.dumps({"store": location, "categories": described}, indent=2))
        return
    say(f"store {location}")
    if not described:
        note("no category yet. Learn one: vecspect index DATASET --category NAME")
        return
    heads = ["category", "backbone", "revision", "bank images", "patches", "calibration", "test"]
    heads += ["method", "smallest level", "bound"]
    heads += ["reject level", "review level", "threshold", "built at"]
    rows = [
        [
            d["category"],
            d["backbone"],
            str(d["revision"]),
            str(d["bank_images"]),
            str(d["bank_patches"]),
            str(d["calibration_images"]),
            str(d["test_images"]),
            d["method"],
            f"{d['smallest_alpha']:.2%}" if d["smallest_alpha"] else "any",
            d["bound"],
            f"{d['alpha_reject']:.2%}",
            f"{d['alpha_review']:.2%}",
            f"{d['threshold']:.4g}",
            d["built_at"],
        ]
        for d in described
    ]
    say(table(heads, rows))
