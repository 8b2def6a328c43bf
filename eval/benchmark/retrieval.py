"""Measures similarity search on labelled images, leaving one out at a time.

The library that `build_index` makes of a data set is searched in the same way as by
`Inspector.similar`. Only the query is left out; if several images show one product part, further
rows leave out all images of the query's part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from backbones.base import Backbone
from backbones.decode import load_image
from backbones.geometry import Box
from backbones.pipeline import ImageFeatures, embed_images
from eval.benchmark.evaluate import read_mask
from eval.benchmark.leave_one_out import LearntLibrary, RetrievalRow
from eval.benchmark.product_parts import left_out_together, product_parts, ways_to_leave_out
from eval.benchmark.run import BenchmarkSettings, named_stages
from eval.metrics.retrieval import cosines, retrieval_figures
from indexer.data.dataset import read_dataset
from indexer.data.image_records import DatasetError, ImageRecord
from indexer.progress import Progress
from search.inspector import Inspector


def run_retrieval(
    datasets: Sequence[Path],
    backbones: Sequence[str],
    *,
    weights: Mapping[str, Path] | None = None,
    settings: BenchmarkSettings | None = None,
    on_progress: Progress = lambda stage, done, total: None,
) -> list[RetrievalRow]:
    """Leave-one-out retrieval over the images of each data set with each backbone.

    A data set without normal images (one folder per defect type) is searched only by whole image.
    By region, the query is the box around a defective image's mask; images without a mask, or with
    an empty one, are then not used as queries. DatasetError is raised if no two product parts have
    the same defect type, or if an image cannot be read.
    """
    settings = settings or BenchmarkSettings()
    rows: list[RetrievalRow] = []
    for name in backbones:
        for dataset in datasets:
            records = read_dataset(dataset, need_normal=False)
            _check_types(dataset, records)
            category = dataset.resolve().stem
            backbone = settings.load(name, weights, records)
            progress = named_stages(on_progress, f"{category}, {name}")
            if any(record.split == "train" for record in records):
                rows += _rows_of_library(records, category, backbone, settings, progress)
            else:
                rows += _rows_of_folder(records, category, backbone, progress)
    return rows


def _check_types(dataset: Path, records: Sequence[ImageRecord]) -> None:
    parts = product_parts([record.path for record in records]).tolist()
    named = {(r.defect_type, p) for r, p in zip(records, parts, strict=True) if r.defect_type}
    if len(named) == len({kind for kind, _ in named}):
        raise DatasetError(f"{dataset} lacks two images of one defect type and different parts.")


def _rows_of_folder(
    records: Sequence[ImageRecord], category: str, backbone: Backbone, on_progress: Progress
) -> list[RetrievalRow]:
    """Rows of a search by whole image, over defective images only."""
    embeddings = []
    for done, found in enumerate(embed_images(backbone, [record.path for record in records]), 1):
        if not isinstance(found, ImageFeatures):
            raise DatasetError(f"{found.path}: {found.reason}")
        embeddings.append(found.image)
        on_progress("images", done, len(records))
    likeness, types = cosines(np.stack(embeddings)), [record.defect_type for record in records]
    parts, name = product_parts([record.path for record in records]), backbone.spec.name
    rows = []
    for left_out in ways_to_leave_out(parts):
        figures = retrieval_figures(likeness, types, left_out_together(parts, left_out))
        count = len(np.unique(parts))
        rows.append(
            RetrievalRow(category, name, "defective", "type", "whole", left_out, count, figures)
        )
    return rows


def _rows_of_library(
    records: Sequence[ImageRecord],
    category: str,
    backbone: Backbone,
    settings: BenchmarkSettings,
    on_progress: Progress,
) -> list[RetrievalRow]:
    with settings.learnt(records, category, backbone, on_progress) as (store, build):
        for skipped in build.skipped:
            raise DatasetError(f"{skipped.path}: {skipped.reason}")
        library = LearntLibrary(Inspector(store, category, network=backbone))
        if backbone.spec.level == "image":
            return library.by_type(baselines=False)
        rows = library.by_type(baselines=True)
        once = [r for r in records if str(r.path.resolve()) in library.product_parts]
        if boxes := [(r, box) for r in once if (box := mask_box(r))]:
            rows += library.by_region(boxes, on_progress)
        return rows + library.by_label(on_progress)


def mask_box(record: ImageRecord) -> Box | None:
    """The box around everything that a record's mask marks; None if it marks nothing."""
    if record.mask is None:
        return None
    image = load_image(record.path)
    rows, cols = np.nonzero(read_mask(record, image.width, image.height))
    if not len(rows):
        return None
    top, left = int(rows.min()), int(cols.min())
    return Box(left, top, int(cols.max()) + 1 - left, int(rows.max()) + 1 - top)
