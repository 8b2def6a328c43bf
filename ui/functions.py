"""The functions of ``import vecspect``: categories and backbones are given by name.

Each takes ``category=``, the name, and ``store=``, an open store. If a category was learnt with
several backbones, ``backbone=`` chooses one; ``weights=`` is a file to load the network from
instead of the one used for learning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backbones.base import Backbone
    from eval.benchmark.results import BenchmarkResult
    from indexer.catalog.category import Category
    from indexer.data.image_records import ImageRecord
    from indexer.learn.build import BuildReport
    from indexer.progress import Progress
    from indexer.store.base import VectorStore
    from indexer.update.change import Change
    from search.monitoring.drift import DriftReport


def quiet(stage: str, done: int, total: int) -> None:
    """Ignore progress."""


def build_index(
    dataset: Path | str | Sequence[ImageRecord],
    *,
    category: str,
    store: VectorStore,
    backbone: str | Backbone = "compact",
    weights: Path | None = None,
    calibration: str = "conformal",
    reject: float | None = None,
    review: float | None = None,
    coreset: float = 0.1,
    holdout: float = 0.2,
    seed: int = 0,
    on_progress: Progress = quiet,
) -> BuildReport:
    """Learn a category from the normal images of a data set; a repeated call changes nothing.

    Args:
        dataset: folder or CSV file of the data set, or the records from `read_dataset`.
        backbone: name of a network, or a network loaded with `load_backbone`.
        calibration: ``conformal``, ``cross-conformal``, ``sigma`` or ``synthetic-f1``.
        reject, review: false-reject rates of the two levels; by default 1 % and 5 %, or the
            smallest that the number of images supports.
        coreset: share of the normal patches kept in the memory bank, in (0, 1].
        holdout: share of the normal images kept out of the bank to calibrate.
        seed: seed of the split and the coreset.

    Raises:
        DatasetError: there are fewer than two normal images, or none can be read.
        CalibrationError: there are too few images for a level.
        BackboneError: the network is unknown, or cannot be loaded.
    """
    from backbones.registry import load_backbone
    from indexer.calibration.base import Levels
    from indexer.calibration.methods import CalibrationSettings
    from indexer.data.dataset import read_dataset
    from indexer.learn import build

    records = read_dataset(dataset) if isinstance(dataset, str | Path) else dataset
    if isinstance(backbone, str):
        backbone = load_backbone(backbone, weights=weights)
    return build.build_index(
        records,
        category=category,
        backbone=backbone,
        store=store,
        calibration=CalibrationSettings(calibration, Levels(reject, review)),
        coreset=coreset,
        holdout=holdout,
        seed=seed,
        on_progress=on_progress,
    )


def add_images(
    paths: Sequence[Path | str],
    *,
    category: str,
    store: VectorStore,
    backbone: str | None = None,
    weights: Path | None = None,
    label: str = "normal",
    defect_type: str = "",
    on_progress: Progress = quiet,
) -> Change:
    """Add images to a category as one revision, without learning it again.

    Args:
        label: ``normal`` images extend the memory bank and the calibration, ``defective`` ones only
            the library.
        defect_type: type of defective images.

    Raises:
        CategoryError: there is no such category, or it was learnt with another network.
    """
    from indexer.update import insertion

    found = _category(store, category, backbone)
    return insertion.add_images(
        [Path(path) for path in paths],
        category=found,
        backbone=_network(found, weights),
        label=label,
        defect_type=defect_type,
        on_progress=on_progress,
    )


def remove_images(
    ids: Sequence[str], *, category: str, store: VectorStore, backbone: str | None = None
) -> Change:
    """Remove library images from a category as one revision.

    Raises:
        CategoryError: there is no such category or image, or these are the last images of their
            kind.
    """
    from indexer.update import removal

    return removal.remove_images(ids, category=_category(store, category, backbone))


def quarantine_image(
    image_id: str, *, category: str, store: VectorStore, backbone: str | None = None
) -> Change:
    """Keep a library image, but take it out of the memory bank and the calibration.

    Raises:
        CategoryError: there is no such category or image, or it is the last image of its kind.
    """
    from indexer.update import removal

    return removal.quarantine_image(image_id, category=_category(store, category, backbone))


def label_images(
    ids: Sequence[str],
    *,
    category: str,
    store: VectorStore,
    backbone: str | None = None,
    weights: Path | None = None,
    defect_type: str | None = None,
    fields: Mapping[str, str] | None = None,
) -> Change:
    """Give library images a defect type, fields of your own, or both, as one revision.

    Raises:
        CategoryError: there is no such category or image, or the image is one by which others are
            judged.
        ImageError: the file of an image that becomes defective is missing or has changed.
    """
    from indexer.update import labels

    found = _category(store, category, backbone)
    return labels.label_images(
        ids,
        category=found,
        backbone=lambda: _network(found, weights),
        defect_type=defect_type,
        fields=fields,
    )


def calibrate(
    *,
    category: str,
    store: VectorStore,
    backbone: str | None = None,
    calibration: str | None = None,
    reject: float | None = None,
    review: float | None = None,
) -> Category:
    """Set the levels of a category, or its calibration method, without any image.

    Raises:
        CalibrationError: the calibration images cannot support a level, or the category was learnt
            for another calibration.
    """
    from indexer.calibration.base import Levels
    from indexer.update.levels import change_levels

    found = _category(store, category, backbone)
    return change_levels(found, Levels(reject, review), calibration)


def rollback(
    revision: int, *, category: str, store: VectorStore, backbone: str | None = None
) -> Category:
    """Make an earlier revision of a category the next one.

    Raises:
        CategoryError: there is no such revision since the category was learnt.
    """
    from indexer.update import rollback

    return rollback.rollback(revision, category=_category(store, category, backbone))


def check_drift(*, category: str, store: VectorStore, backbone: str | None = None) -> DriftReport:
    """Check whether scores, brightness and sharpness still agree with the calibration images."""
    from search.monitoring import drift

    return drift.check_drift(_category(store, category, backbone))


def benchmark(
    datasets: Sequence[Path | str],
    *,
    backbones: Sequence[str] = ("compact",),
    weights: Mapping[str, Path] | None = None,
    baselines: Sequence[str] = (),
    out: Path | str = "benchmark_out",
    on_progress: Progress = quiet,
) -> BenchmarkResult:
    """Learn labelled data sets, measure them and write a report to the folder ``out``.

    Args:
        weights: weight files by name of the backbone.
        baselines: ``brute-force`` also scores against every normal patch.

    Raises:
        DatasetError: a data set has no normal or no test images that can be read.
    """
    from eval.benchmark.report import write_report
    from eval.benchmark.run import run_benchmark

    out = Path(out)
    result = run_benchmark(
        [Path(dataset) for dataset in datasets],
        backbones,
        out=out,
        weights=weights,
        baselines=baselines,
        on_progress=on_progress,
    )
    write_report(result, out)
    return result


def _category(store: VectorStore, name: str, backbone: str | None) -> Category:
    from indexer.catalog.commits import find_category

    return find_category(store, name, backbone)


def _network(category: Category, weights: Path | None) -> Backbone:
    from search.inspector import load_category_network

    return load_category_network(category.entry, weights, "cpu")
