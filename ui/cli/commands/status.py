"""The commands that tell what a store holds, and whether what verdicts rest on still holds."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ui.cli import options
from ui.cli.console import Columns, columns_table, note, say, say_found

if TYPE_CHECKING:
    from indexer.catalog.entry import CatalogEntry


_COLUMNS: Columns = {
    "category": "{[category]}",
    "backbone": "{[backbone]}",
    "revision": "{[revision]}",
    "bank images": "{[bank_images]}",
    "patches": "{[bank_patches]}",
    "calibration images": "{[calibration_images]}",
    "test images": "{[test_images]}",
    "calibrated by": "{[calibration]}",
    "smallest level": lambda d: f"{d['smallest_alpha']:.2%}" if d["smallest_alpha"] else "any",
    "bound": "{[bound]}",
    "reject level": "{[alpha_reject]:.2%}",
    "review level": "{[alpha_review]:.2%}",
    "threshold": "{[threshold]:.4g}",
    "built at": "{[built_at]}",
}


def status(as_json: options.AsJson = False, store: options.Store = None) -> None:
    """List the categories of the store, with revision, bank size and calibration."""
    from indexer.catalog.commits import read_catalog
    from ui.stores import open_existing

    with open_existing(options.settings_of(store=store)) as opened:
        described = [_described(category.entry) for category in read_catalog(opened)]
        location = opened.location
    if as_json:
        say(json.dumps({"store": location, "categories": described}, indent=2))
        return
    say(f"store {location}")
    if not described:
        note("no category yet. Learn one: vecspect index DATASET --category NAME")
        return
    say(columns_table(_COLUMNS, described))


def _described(entry: CatalogEntry) -> dict[str, Any]:
    from indexer.calibration.methods import read_calibration
    from ui.cli.formatting import describe_bound

    calibration = read_calibration(entry)
    return {
        "category": entry.category,
        "backbone": entry.backbone,
        "revision": entry.revision,
        **entry.counts,
        "threshold": calibration.threshold,
        "alpha_reject": calibration.alpha_reject,
        "alpha_review": calibration.alpha_review,
        "calibration": calibration.method.name,
        "smallest_alpha": calibration.smallest_alpha,
        "bound": describe_bound(calibration, entry.counts),
        "n": calibration.n,
        **entry.settings,
        "precision": entry.precision,
        "fingerprint": entry.fingerprint,
        "built_at": entry.built_at,
        "versions": entry.versions,
    }


@options.grouped
def audit(
    category: options.Category,
    top: options.Top = 10,
    as_json: options.AsJson = False,
    *,
    stored: options.StoredOptions,
) -> None:
    """Rank the normal images by how unusual they are, to find what to `quarantine`."""
    from search.monitoring.audit import audit as rank
    from ui.cli.formatting import SUSPECTS

    with stored.open(category) as opened:
        suspects = rank(opened)[:top]
    say_found(suspects, SUSPECTS, as_json=as_json)


@options.grouped
def drift(
    category: options.Category, as_json: options.AsJson = False, *, stored: options.StoredOptions
) -> None:
    """Tell whether scores, light and focus have drifted from those of the calibration images."""
    from search.monitoring.drift import check_drift
    from ui.cli.formatting import describe_drift

    with stored.open(category) as opened:
        found = check_drift(opened)
    fields = {**asdict(found), "alarm": found.alarm}
    say(json.dumps(fields) if as_json else describe_drift(found))
