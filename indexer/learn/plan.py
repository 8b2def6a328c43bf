"""Plans a build: the files by role, and the entry of the new revision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

from backbones.base import Backbone
from indexer.bank.feature_space import Plain
from indexer.bank.layout import LAYOUTS, Layout
from indexer.calibration.methods import CalibrationSettings, find_calibration
from indexer.catalog.category import Category, now
from indexer.catalog.commits import current_entry
from indexer.catalog.counts import DEFECT_PATCHES
from indexer.catalog.entry import CatalogEntry, attempt_id
from indexer.data.image_records import DatasetError, ImageRecord
from indexer.learn.split import Split, build_key, split_records
from indexer.progress import Progress
from indexer.scoring.aggregation import DEFAULT_AGGREGATION
from indexer.store.base import VectorStore


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """Inputs of a build.

    Attributes:
        entry: entry of the new revision, before anything is learnt.
        repeated: the current category, if it was learnt from the same inputs.
    """

    split: Split
    layout: Layout
    calibration: CalibrationSettings
    entry: CatalogEntry
    repeated: Category | None


def plan_build(
    records: Sequence[ImageRecord],
    category: str,
    backbone: Backbone,
    store: VectorStore,
    calibration: CalibrationSettings,
    settings: dict[str, float],
    on_progress: Progress,
) -> BuildPlan:
    """Plan what learning ``category`` from the records would start from; nothing is written.

    Raises:
        DatasetError: there are fewer than two normal images.
        CalibrationError: there are too few images for the requested levels.
    """
    layout = LAYOUTS[find_calibration(calibration.method).layout]
    layout.check(backbone.spec)
    split = split_records(
        records,
        layout,
        settings["holdout"],
        int(settings["seed"]),
        lambda done, total: on_progress("reading", done, total),
    )
    calibration.check(len(split.of_role(layout.calibrating)))
    key = build_key(split.items, backbone.fingerprint, settings)
    current = current_entry(store, category, backbone.spec.name)
    repeated = Category(store, current) if current and current.build_key == key else None
    # file locations are left out: the same images have the same points in every store
    content = sorted(
        [i.sha256, i.record.label, i.record.defect_type, i.role, i.group] for i in split.items
    )
    parent = current.head if current else ""
    attempt = attempt_id(parent, "learn", [content, backbone.fingerprint, settings])
    entry = _new_entry(category, backbone, layout, settings, key, attempt, current)
    return BuildPlan(split, layout, calibration, entry, repeated)


def _new_entry(
    category: str,
    backbone: Backbone,
    layout: Layout,
    settings: dict[str, float],
    key: str,
    attempt: str,
    current: CatalogEntry | None,
) -> CatalogEntry:
    revision = current.revision + 1 if current else 1
    return CatalogEntry(
        category=category,
        backbone=backbone.spec.name,
        revision=revision,
        attempt=attempt,
        parent=current.head if current else "",
        origin=revision,
        action=f"learnt {category}",
        fingerprint=backbone.fingerprint,
        precision=backbone.precision,
        source=str(backbone.source) if backbone.source else None,
        spec=backbone.spec,
        layout=layout.name,
        feature_space=Plain().to_payload(),
        aggregation=DEFAULT_AGGREGATION.name,
        radius=0.0,
        build_key=key,
        calibration={},
        settings=settings,
        counts={DEFECT_PATCHES: 0} if backbone.spec.level == "patch" else {},
        skipped=[],
        versions={name: version(name) for name in ("vecspect", "openvino", "numpy")},
        built_at=now(),
    )


def checked_settings(coreset: float, holdout: float, seed: int) -> dict[str, float]:
    """Settings of a build; DatasetError names a share that is out of range."""
    for name, share, example in (("coreset", coreset, 0.1), ("holdout", holdout, 0.2)):
        if not (0 < share < 1 or (name == "coreset" and share == 1)):
            raise DatasetError(
                f"--{name} is a share between 0 and 1, got {share:g}. For example --{name} "
                f"{example}."
            )
    return {"coreset": coreset, "holdout": holdout, "seed": seed}
