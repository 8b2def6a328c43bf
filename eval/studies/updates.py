"""Study of the cost and benefit of incremental updates and of the audit, on one data set.

Images are embedded once. Changes and builds are the product's own, in temporary stores.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backbones.base import Backbone, BackboneSpec, Features, Precision
from backbones.pipeline import embed_images
from eval.arrays import Float32, Uint8
from eval.benchmark.run import BenchmarkSettings
from eval.metrics.detection import image_auroc
from eval.speed.costs import milliseconds
from eval.studies.drift_latency import drift_latency
from indexer.calibration.methods import CalibrationSettings, read_calibration
from indexer.catalog.collections import read_bank
from indexer.catalog.commits import find_category, is_current
from indexer.data.image_records import ImageRecord
from indexer.progress import Progress
from indexer.store.base import VectorStore
from indexer.update.insertion import add_images
from indexer.update.removal import quarantine_image
from search.inspector import Inspector
from search.monitoring.audit import audit
from search.prediction import Prediction

Finding = tuple[str, str]
"""Description of a measurement, and its figure."""

CATEGORY = "study"
METHODS = ("cross-conformal", "conformal")
PLANTED = 0.05


def study_updates(
    records: Sequence[ImageRecord],
    backbone: Backbone,
    *,
    on_finding: Callable[[Finding], None],
    on_progress: Progress = lambda stage, done, total: None,
) -> None:
    """Take each measurement in turn, and report it as soon as it is done."""
    study = _Study(records, _CachingNetwork(backbone), on_progress)
    for stage in (_learning, _adding, _auditing):
        for finding in stage(study):
            on_finding(finding)


class _CachingNetwork:
    """`Backbone` that runs the network once per image."""

    def __init__(self, network: Backbone) -> None:
        self._network = network
        self._cache: dict[bytes, tuple[NDArray[np.float16], Float32]] = {}
        self.spec: BackboneSpec = network.spec
        self.source: Path | None = network.source
        self.precision: Precision = network.precision
        self.fingerprint: str = network.fingerprint

    def embed(self, inputs: Uint8) -> Features:
        keys = [hashlib.sha256(image.tobytes()).digest() for image in inputs]
        for key, image in zip(keys, inputs, strict=True):
            if key not in self._cache:
                features = self._network.embed(image[None])
                self._cache[key] = features.patches[0].astype(np.float16), features.images[0]
        patches, images = zip(*(self._cache[key] for key in keys), strict=True)
        return Features(np.stack(patches).astype(np.float32), np.stack(images))


@dataclass(frozen=True, slots=True)
class _Study:
    records: Sequence[ImageRecord]
    network: Backbone
    on_progress: Progress
    whole: dict[str, list[Prediction]] = field(default_factory=dict)

    @property
    def train(self) -> list[ImageRecord]:
        return [record for record in self.records if record.split == "train"]

    @property
    def tests(self) -> list[ImageRecord]:
        return [record for record in self.records if record.split == "test"]

    @contextmanager
    def learnt(
        self, train: Sequence[ImageRecord], method: str = "conformal"
    ) -> Iterator[VectorStore]:
        settings = BenchmarkSettings(calibration=CalibrationSettings(method))
        with settings.learnt(train, CATEGORY, self.network, self.on_progress) as (store, _):
            yield store

    def predict(self, store: VectorStore) -> list[Prediction]:
        inspector = Inspector(store, CATEGORY, network=self.network)
        return [inspector.inspect(record.path) for record in self.tests]

    def auroc(self, predictions: Sequence[Prediction]) -> float:
        truth = [record.label == "defective" for record in self.tests]
        return image_auroc(truth, [prediction.score for prediction in predictions])


def _learning(study: _Study) -> Iterator[Finding]:
    for method in METHODS:
        with study.learnt(study.train, method) as store:
            entry = find_category(store, CATEGORY).entry
            predictions = study.whole[method] = study.predict(store)
            good = [
                p.verdict == "reject"
                for p, r in zip(predictions, study.tests, strict=True)
                if r.label == "normal"
            ]
            calibration = read_calibration(entry)
            yield (
                f"image AUROC, {method}",
                f"{study.auroc(predictions):.4f} ({entry.counts['bank_patches']} patches, "
                f"n = {calibration.n}, nominal {calibration.alpha_reject:.2%}, "
                f"{sum(good)} of {len(good)} good test images rejected)",
            )


def _auditing(study: _Study) -> Iterator[Finding]:
    defects = [record for record in study.tests if record.label == "defective"]
    count = round(PLANTED * len(study.train) / (1 - PLANTED))
    chosen = np.random.default_rng(0).permutation(len(defects))[:count]
    planted = [
        replace(defects[i], label="normal", defect_type="", split="train", mask=None)
        for i in chosen
    ]
    hidden = {str(record.path.resolve()) for record in planted}
    rest = replace(study, records=[r for r in study.records if str(r.path.resolve()) not in hidden])
    with study.learnt([*study.train, *planted], "cross-conformal") as store:
        suspects = audit(find_category(store, CATEGORY))
        top = suspects[: round(0.1 * len(suspects))]
        found = [s for s in top if s.path in hidden]
        yield (
            "planted defects among the top 10 % of the audit",
            f"{len(found)} of {count} ({len(found) / count:.0%})",
        )
        yield "image AUROC with them in the bank", f"{rest.auroc(rest.predict(store)):.4f}"
        for suspect in found:
            quarantine_image(suspect.image_id, category=find_category(store, CATEGORY))
        after = rest.auroc(rest.predict(store))
    whole = zip(study.whole["cross-conformal"], study.tests, strict=True)
    clean = rest.auroc([p for p, r in whole if str(r.path.resolve()) not in hidden])
    yield (
        "image AUROC after their quarantine, and of the clean build",
        f"{after:.4f}, {clean:.4f} (difference {after - clean:+.4f})",
    )


def _adding(study: _Study) -> Iterator[Finding]:
    order = np.random.default_rng(0).permutation(len(study.train))
    half = len(order) // 2
    first = [study.train[i] for i in order[:half]]
    second = [study.train[i] for i in order[half:]]
    *most, last = second
    for method in METHODS:
        whole = study.whole[method]
        with study.learnt(first, method) as store:
            if method == "conformal":
                unseen = [r.path for r in (*second, *study.tests) if r.label == "normal"]
                yield from drift_latency(find_category(store, CATEGORY), study.network, unseen)
            _add(study, store, [record.path for record in most])
            inspector = Inspector(store, CATEGORY, network=study.network)
            inspector.inspect(study.tests[0].path)
            next(embed_images(study.network, [last.path]))  # the time does not include the network
            adding_ms, _ = milliseconds(partial(_add, study, store, [last.path]))
            updated = study.predict(store)
            category = find_category(store, CATEGORY)
            patches = len(read_bank(category).vectors)
            check_ms, _ = milliseconds(partial(is_current, category), 200)
        apart = np.mean([abs(a.p_value - b.p_value) for a, b in zip(whole, updated, strict=True)])
        difference = study.auroc(updated) - study.auroc(whole)
        yield (
            f"half learnt, half added, against all learnt, {method}",
            f"image AUROC {study.auroc(updated):.4f} and {study.auroc(whole):.4f} "
            f"({difference:+.4f}), p-values {apart:.4f} apart on average, {patches} patches",
        )
        yield f"adding one image to it, calibration included, {method}", f"{adding_ms / 1e3:.2f} s"
        yield f"checking for a new revision before an answer, {method}", f"{check_ms:.2f} ms"


def _add(study: _Study, store: VectorStore, paths: Sequence[Path]) -> None:
    add_images(paths, category=find_category(store, CATEGORY), backbone=study.network)
