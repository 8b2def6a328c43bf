"""Times learning and scoring, stage by stage, beside plain torch and anomalib in one run."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from backbones.base import Backbone, Precision
from backbones.decode import load_image
from backbones.geometry import to_input
from backbones.registry import load_backbone
from eval.baselines.external.client import Rival
from eval.baselines.external.torch_cdist import TorchCdist
from eval.metrics.detection import image_auroc
from eval.speed.learning import CATEGORY, Job, Learned, learn_alone
from eval.speed.timings import Timing, alternate, item_name
from indexer.catalog.collections import read_bank
from indexer.catalog.commits import find_entry
from indexer.data.image_records import DatasetError, ImageRecord, read_dataset
from indexer.knn.exact_index import ExactIndex
from indexer.progress import Progress
from indexer.scoring.anomaly_map import anomaly_map
from indexer.scoring.distances import patch_distances
from indexer.store.open import open_store
from search.inspector import Inspector

WARM_UP = 3
TOGETHER = 16
EVERY = (16, 4, 1)
"""One normal image in so many is learnt: 1, 4 and 16 times the fewest."""
ANOMALIB_PICKS = 100


@dataclass(frozen=True, slots=True)
class SpeedReport:
    """What was measured.

    Attributes:
        timings: of every call, in milliseconds; one image by each method, the stages of one image
            with the largest bank, and images sixteen at a time.
        learned: one a size of the training set, fewest images first.
        anomalib: what its fit took (see `compare_server`), if it was asked for.
        auroc: image AUROC of the images timed, by method; empty without both classes.
    """

    timings: list[Timing]
    learned: list[Learned]
    anomalib: dict[str, Any] | None
    auroc: dict[str, float]


def measure_speed(
    dataset: Path,
    backbone: str,
    weights: Path,
    *,
    images: int,
    coreset: float,
    precision: Precision | None,
    against_anomalib: bool,
    on_progress: Progress = lambda stage, done, total: None,
) -> SpeedReport:
    """Learn ``dataset`` in throw-away stores, then score test images in alternation.

    The network is exported beforehand: that happens once in a machine's life.
    """
    network = load_backbone(backbone, weights=weights, precision=precision)
    records = read_dataset(dataset)
    tests = _spread([r for r in records if r.split == "test"], images + WARM_UP)
    if len(tests) <= WARM_UP:
        raise DatasetError(
            f"{dataset} has {len(tests)} test images, more than {WARM_UP} are needed."
        )
    with contextlib.ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vecspect-")))
        learned = []
        for done, every in enumerate(EVERY, 1):
            folder = root / str(every)
            job = Job(dataset, backbone, weights, precision, coreset, folder, every)
            learned.append(learn_alone(job))
            on_progress("learning", done, len(EVERY))
        rival = stack.enter_context(Rival()) if against_anomalib else None
        fitted = None
        if rival:
            normal = [str(r.path.resolve()) for r in records if r.split == "train"]
            fitted = rival.ask(
                "anomalib_fit",
                normal=normal,
                architecture=network.spec.architecture,
                weights=str(weights.resolve()),
                stride_in_1x1=network.spec.stride_in_1x1,
                coreset=coreset,
                picks=ANOMALIB_PICKS,
            )
        timings: list[Timing] = []
        scores: dict[str, list[float]] = {}
        for every in EVERY:
            store = stack.enter_context(open_store(str(root / str(every))))
            inspector = Inspector(store, CATEGORY, network=network)
            bank = read_bank(store, find_entry(store, CATEGORY)).vectors
            case = f"one image, bank {len(bank)}"
            scorers: dict[str, Callable[[Path], float]] = {"vecspect": partial(_ours, inspector)}
            if every == EVERY[-1]:
                plain = TorchCdist(network.spec, weights, bank)
                scorers["torch fp32, torch.cdist"] = partial(_torch, plain)
            if rival and every == EVERY[-1]:
                rival.ask("anomalib_prepare", bank=rival.write("bank", bank))
            scores = _score(case, tests, scorers, rival, every == EVERY[-1], timings, on_progress)
        _stages(network, ExactIndex(bank), tests, timings)
        _together(inspector, tests, timings)
    labels = [record.label == "defective" for record in tests[WARM_UP:]]
    auroc = {name: image_auroc(labels, values) for name, values in scores.items()}
    return SpeedReport(timings, learned, fitted, auroc if len(set(labels)) == 2 else {})


def _spread(records: Sequence[ImageRecord], count: int) -> list[ImageRecord]:
    """At most ``count`` of the records, evenly spread over all."""
    chosen = np.unique(np.linspace(0, len(records) - 1, min(count, len(records))).astype(int))
    return [records[i] for i in chosen]


def _score(
    case: str,
    tests: Sequence[ImageRecord],
    scorers: dict[str, Callable[[Path], float]],
    rival: Rival | None,
    with_rival: bool,
    timings: list[Timing],
    on_progress: Progress,
) -> dict[str, list[float]]:
    """Scores of the images after the warm-up, by method."""
    scores: dict[str, list[float]] = {}
    for done, record in enumerate(tests):
        rows: list[Timing] = []
        actions = {name: partial(scorer, record.path) for name, scorer in scorers.items()}
        found = alternate(case, item_name(record.path), actions, rows)
        if rival and with_rival:
            for call, name in (("torch", "torch"), ("openvino", "OpenVINO export")):
                answer = rival.ask(f"anomalib_{call}", path=str(record.path.resolve()))
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


def _torch(rival: TorchCdist, path: Path) -> float:
    return rival.score(path)[0]


def _stages(
    network: Backbone, index: ExactIndex, tests: Sequence[ImageRecord], timings: list[Timing]
) -> None:
    """The stages of one image, one after the other."""
    size = network.spec.input_size
    for done, record in enumerate(tests):
        rows: list[Timing] = []

        timed = partial(_timed, item_name(record.path), rows)
        image = timed("decode", partial(load_image, record.path, size_hint=size))
        pixels = timed("preprocess", partial(to_input, image.pixels, size))
        features = timed("backbone", partial(network.embed, pixels[None]))
        nearest = timed("kNN", partial(patch_distances, features.patches[0], index))
        shape = {"input_size": size, "width": image.width, "height": image.height}
        timed("map", partial(anomaly_map, nearest.distances, **shape))
        if done >= WARM_UP:
            timings += rows


def _timed(item: str, rows: list[Timing], stage: str, action: Callable[[], Any]) -> Any:
    return alternate("stages of one image", item, {stage: action}, rows)[stage]


def _together(inspector: Inspector, tests: Sequence[ImageRecord], timings: list[Timing]) -> None:
    """Files ``TOGETHER`` at a time, the time of each a share of theirs."""
    for start in range(0, len(tests) - TOGETHER + 1, TOGETHER):
        rows: list[Timing] = []
        part = [record.path for record in tests[start : start + TOGETHER]]
        alternate("", item_name(part[0]), {"": partial(_inspect_all, inspector, part)}, rows)
        each = rows[0].milliseconds / TOGETHER
        timings.append(
            Timing(f"{TOGETHER} images at once, each", "vecspect", item_name(part[0]), each)
        )


def _inspect_all(inspector: Inspector, paths: Sequence[Path]) -> None:
    for prediction in inspector.inspect_files(paths):
        prediction.anomaly_map()  # type: ignore[union-attr]  # scored before: none is skipped
