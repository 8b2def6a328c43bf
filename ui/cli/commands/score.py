"""The command that scores images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ui.cli import options
from ui.cli.console import note_skipped, progress_bars, say


@options.grouped
def score(
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help="Images, folders or globs.")],
    category: options.Category,
    as_json: options.AsJson = False,
    csv_file: Annotated[
        Path | None,
        typer.Option(
            "--csv", help="Write the results to this file; until all are there, to FILE.partial."
        ),
    ] = None,
    maps: Annotated[
        Path | None, typer.Option(help="Write an explaining picture per image to this folder.")
    ] = None,
    fail_on_anomaly: Annotated[
        bool, typer.Option("--fail-on-anomaly", help="Exit with 3 if an image is rejected.")
    ] = False,
    *,
    scoring: options.ScoringOptions,
) -> None:
    """Score images against a category: verdict, p-value, worst region and its evidence.

    An image that cannot be read is named on stderr, the others are scored, and the exit code
    is 1.
    """
    from backbones.pipeline import Skipped
    from indexer.data.image_records import expand_paths
    from indexer.records.drift_window import DriftWindow
    from ui.cli.formatting import csv_writer, describe_prediction, write_map

    files = expand_paths(paths)
    if maps:
        maps.mkdir(parents=True, exist_ok=True)
    skipped = rejected = False
    used: set[str] = set()
    with (
        scoring.open_inspector(category) as inspector,
        csv_writer(csv_file) as write_row,
        progress_bars() as on_progress,
    ):
        drift_window = DriftWindow(inspector.category)
        for done, outcome in enumerate(inspector.inspect_files(files), 1):
            on_progress("scoring", done, len(files))
            if isinstance(outcome, Skipped):
                note_skipped(outcome)
                skipped = True
                continue
            rejected = rejected or outcome.verdict == "reject"
            drift_window.record(outcome.inspected())
            fields = outcome.to_dict()
            if maps:
                fields["map"] = str(write_map(outcome, maps, used))
            write_row(fields)
            if as_json:
                say(json.dumps(fields))
            elif not csv_file:
                say(describe_prediction(outcome))
    if rejected and fail_on_anomaly:
        raise typer.Exit(options.ANOMALY)
    if skipped:
        raise typer.Exit(options.FAILED)
