"""Times learning and scoring, stage by stage, alongside plain torch and anomalib in one run."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from backbones.base import Backbone
from backbones.decode import load_image
from backbones.geometry import to_input
from eval.baselines.external import ExternalBaseline, TorchCdist
from eval.metrics.detection import image_auroc
from eval.pages import page
from eval.speed.costs import Timing, alternate, item_name
from eval.speed.learning import CATEGORY, EVERY, Learned, Learning, learn_sizes
from indexer.catalog.collections import read_bank
from indexer.data.dataset import read_dataset
from indexer.data.image_records import DatasetError, ImageRecord, normal_images
from indexer.knn.exact_index import ExactIndex
from indexer.progress import Progress
from indexer.scoring.anomaly_map import anomaly_map
from indexer.store.open import open_store
from search.inspector import Inspector

WARM_UP = 3
TOGETHER = 16
ANOMALIB_PICKS = 100


@dataclass(frozen=True, slots=True)
class SpeedReport:
    """Measurements of one run.

    Attributes:
        timings: every call, in milliseconds: one image by each method, the stages of one image with
            the largest bank, and images sixteen at a time.
        learned: one per size of the training set, smallest first.
        anomalib: cost of its fit (see `eval.baselines.external_worker`), if requested.
        auroc: image AUROC of the timed images, by method; empty unless both classes are present.
    """

    timings: list[Timing]
    learned: list[Learned]
    anomalib: dict[str, Any] | None
    auroc: dict[str, float]

    def notes(self) -> list[str]:
        """Paragraphs of Markdown on learning and accuracy."""
        return page("speed_images.md", report=self).strip().split("\n\n")


def measure_speed(
    learning: Learning,
    network: Backbone,
    *,
    images: int,
    against_anomalib: bool,
    on_progress: Progress = lambda stage, done, total: None,
) -> SpeedReport:
    """Learn in temporary stores, then score test images by each method in alternation.

    The ``network`` is exported beforehand, which happens only once per machine.
    """
    records = read_dataset(learning.dataset)
    tests = _spread([r for r in records if r.split == "test"], images + WARM_UP)
    if len(tests) <= WARM_UP:
        raise DatasetError(
            f"{learning.dataset} has {len(tests)} test images; more than {WARM_UP} are needed."
        )
    with contextlib.ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vecspect-")))
        learned = learn_sizes(learning, root, on_progress)
        external = stack.enter_context(ExternalBaseline()) if against_anomalib else None
        fitted = None
        if external:
            fitted = external.ask(
                "anomalib_fit",
                normal=[str(path.resolve()) for path in normal_images(records)],
                architecture=network.spec.architecture,
                weights=str(learning.weights.resolve()),
                stride_in_1x1=network.spec.stride_in_1x1,
                coreset=learning.coreset,
                picks=ANOMALIB_PICKS,
            )
        timings: list[Timing] = []
        scores: dict[str, list[float]] = {}
        for every in EVERY:
            store = stack.enter_context(open_store(str(root / str(every))))
            inspector = Inspector(store, CATEGORY, network=network)
            bank = read_bank(inspector.category).vectors
            case = f"one image, bank {len(bank)}"
            scorers: dict[str, Callable[[Path], float]] = {"vecspect": partial(_ours, inspector)}
            beside = external if every == EVERY[-1] else None
            if every == EVERY[-1]:
                plain = TorchCdist(network.spec, learning.weights, bank)
                scorers["torch fp32, torch.cdist"] = partial(_torch, plain)
            if beside:
                beside.ask("anomalib_prepare", bank=beside.write("bank", bank))
            scores = _score(case, tests, scorers, beside, timings, on_progress)
        _stages(network, ExactIndex(bank), tests, timings)
        _together(inspector, tests, timings)
    labels = [record.label == "defective" for record in tests[WARM_UP:]]
    auroc = {name: image_auroc(labels, values) for name, values in scores.items()}
    return SpeedReport(timings, learned, fitted, auroc if len(set(labels)) == 2 else {})


def _spread(records: Sequence[ImageRecord], count: int) -> list[ImageRecord]:
    """At most ``count`` of the records, spread evenly over all."""
    chosen = np.unique(np.linspace(0, len(records) - 1, min(count, len(records))).astype(int))
    return [records[i] for i in chosen]


def _score(
    case: str,
    tests: Sequence[ImageRecord],
    scorers: dict[str, Callable[[Path], float]],
    external: ExternalBaseline | None,
    timings: list[Timing],
    on_progress: Progress,
) -> dict[str, list[float]]:
    """Scores of the images after the warm-up, by method."""
    scores: dict[str, list[float]] = {}
    for done, record in enumerate(tests):
        rows: list[Timing] = []
        actions = {name: partial(scorer, record.path) for name, scorer in scorers.items()}
        found = alternate(case, item_name(record.path), actions, rows)
        if external:
            for call, name in (("torch", "torch"), ("openvino", "OpenVINO export")):
                answer = external.ask(f"anomalib_{call}", path=str(record.path.resolve()))
                method = f"anomalib, {name}"
                found[method] = answer["score"]
                rows.append(Timing(case, method, item_name(record.path), answer["milliseconds"]))
        if done >= WARM_UP:
            timings += rows
            for method, score in found.items():
                scores.setdefault(method, []).append(score)
        on_progress(case, done + 1, len(tests))
    return scores


def _ours(inspector: Inspector, path: Path) -> float:
    prediction = inspector.inspect(path)
    prediction.anomaly_map()
    return prediction.score


def _torch(plain: TorchCdist, path: Path) -> float:
    return plain.score(path)[0]


def _stages(
    network: Backbone, index: ExactIndex, tests: Sequence[ImageRecord], timings: list[Timing]
) -> None:
    """Time the stages of one image, one after the other."""
    size = network.spec.input_size
    for done, record in enumerate(tests):
        rows: list[Timing] = []
        timed = partial(_timed, item_name(record.path), rows)
        image = timed("decode", partial(load_image, record.path, size_hint=size))
        pixels = timed("preprocess", partial(to_input, image.pixels, size))
        features = timed("backbone", partial(network.embed, pixels[None]))
        nearest = timed("kNN", partial(index.search, features.patches[0]))
        geometry = network.spec.geometry((image.height, image.width))
        timed("map", partial(anomaly_map, nearest.distances, geometry))
        if done >= WARM_UP:
            timings += rows


def _timed(item: str, rows: list[Timing], stage: str, action: Callable[[], Any]) -> Any:
    return alternate("stages of one image", item, {stage: action}, rows)[stage]


def _together(inspector: Inspector, tests: Sequence[ImageRecord], timings: list[Timing]) -> None:
    """Time files ``TOGETHER`` at a time, each counted as its share."""
    case = f"{TOGETHER} images at once, each"
    for start in range(0, len(tests) - TOGETHER + 1, TOGETHER):
        rows: list[Timing] = []
        part = [record.path for record in tests[start : start + TOGETHER]]
        action = partial(_inspect_all, inspector, part)
        alternate(case, item_name(part[0]), {"vecspect": action}, rows)
        timings.append(replace(rows[0], milliseconds=rows[0].milliseconds / TOGETHER))


def _inspect_all(inspector: Inspector, paths: Sequence[Path]) -> None:
    for prediction in inspector.inspect_files(paths):
        prediction.anomaly_map()  # type: ignore[union-attr]  # scored before: none is skipped
