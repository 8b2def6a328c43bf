"""What it costs and what it gives that a category lives: measured on one data set.

Images are embedded once. Changes and builds are the product's own, in throw-away stores.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

from backbones.base import Backbone, BackboneSpec, Features, Precision
from backbones.decode import load_image
from backbones.geometry import to_input
from backbones.image_quality import LOOKS, look_of
from eval.metrics.detection import image_auroc
from indexer.calibration.base import Calibration, Method
from indexer.catalog.cached_arrays import read_kept
from indexer.catalog.collections import read_bank
from indexer.catalog.commits import find_entry, is_current
from indexer.data.image_records import ImageRecord
from indexer.learn.build import build_index
from indexer.progress import Progress
from indexer.store.base import VectorStore
from indexer.store.open import open_store
from indexer.update.insertion import add_images, quarantine_image
from search.calibrator import ConformalCalibrator
from search.inspector import Inspector
from search.monitoring.audit import audit
from search.monitoring.drift import judge
from search.prediction import Prediction

Finding = tuple[str, str]
"""What was measured, and the figure."""

METHODS: tuple[Method, ...] = ("cross-conformal", "conformal")
PLANTED = 0.05
RUNS, STREAM, QUIET_FIRST = 200, 2000, 200
CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "5 % brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.05),
    "5 % darker": lambda image: ImageEnhance.Brightness(image).enhance(0.95),
    "blurred by 1 px of 512": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
    "turned by 3 degrees": lambda image: image.rotate(
        3, Image.Resampling.BILINEAR, fillcolor=_mean_colour(image)
    ),
}


def study_living(
    records: Sequence[ImageRecord],
    backbone: Backbone,
    *,
    on_finding: Callable[[Finding], None],
    on_progress: Progress = lambda stage, done, total: None,
) -> None:
    """Measure in turn and tell each finding as soon as it is there."""
    world = _World(records, _Remembering(backbone), on_progress)
    for part in (_learning, _growing, _auditing):
        for finding in part(world):
            on_finding(finding)


class _Remembering:
    """`Backbone` that runs the network once per image."""

    def __init__(self, network: Backbone) -> None:
        self._network = network
        self._seen: dict[bytes, tuple[NDArray[np.float16], NDArray[np.float32]]] = {}
        self.spec: BackboneSpec = network.spec
        self.source: Path | None = network.source
        self.precision: Precision = network.precision
        self.fingerprint: str = network.fingerprint

    def embed(self, inputs: NDArray[np.uint8]) -> Features:
        keys = [hashlib.sha256(image.tobytes()).digest() for image in inputs]
        for key, image in zip(keys, inputs, strict=True):
            if key not in self._seen:
                features = self._network.embed(image[None])
                self._seen[key] = features.patches[0].astype(np.float16), features.images[0]
        patches, images = zip(*(self._seen[key] for key in keys), strict=True)
        return Features(np.stack(patches).astype(np.float32), np.stack(images))


@dataclass(frozen=True, slots=True)
class _World:
    records: Sequence[ImageRecord]
    network: Backbone
    on_progress: Progress
    whole: dict[Method, list[Prediction]] = field(default_factory=dict)

    @property
    def train(self) -> list[ImageRecord]:
        return [record for record in self.records if record.split == "train"]

    @property
    def tests(self) -> list[ImageRecord]:
        return [record for record in self.records if record.split == "test"]

    @contextmanager
    def learnt(
        self, train: Sequence[ImageRecord], method: Method = "conformal"
    ) -> Iterator[VectorStore]:
        with tempfile.TemporaryDirectory(prefix="vecspect-") as folder, open_store(folder) as store:
            build_index(
                train,
                category="study",
                backbone=self.network,
                store=store,
                calibrator=ConformalCalibrator(method=method),
                on_progress=self.on_progress,
            )
            yield store

    def predict(self, store: VectorStore) -> list[Prediction]:
        inspector = Inspector(store, "study", network=self.network)
        return [inspector.inspect(record.path) for record in self.tests]

    def auroc(self, predictions: Sequence[Prediction]) -> float:
        truth = [record.label == "defective" for record in self.tests]
        return image_auroc(truth, [prediction.score for prediction in predictions])


def _learning(world: _World) -> Iterator[Finding]:
    for method in METHODS:
        with world.learnt(world.train, method) as store:
            entry = find_entry(store, "study")
            predictions = world.whole[method] = world.predict(store)
            good = [
                p.verdict == "reject"
                for p, r in zip(predictions, world.tests, strict=True)
                if r.label == "normal"
            ]
            calibration = Calibration.from_payload(entry.calibration)
            yield (
                f"image AUROC, {method}",
                f"{world.auroc(predictions):.4f} ({entry.counts['bank_patches']} patches, "
                f"n = {calibration.n}, asked {calibration.alpha_reject:.2%}, "
                f"{sum(good)} of {len(good)} good test images rejected)",
            )


def _auditing(world: _World) -> Iterator[Finding]:
    defects = [record for record in world.tests if record.label == "defective"]
    count = round(PLANTED * len(world.train) / (1 - PLANTED))
    chosen = np.random.default_rng(0).permutation(len(defects))[:count]
    planted = [
        replace(defects[i], label="normal", defect_type="", split="train", mask=None)
        for i in chosen
    ]
    hidden = {str(record.path.resolve()) for record in planted}
    rest = replace(world, records=[r for r in world.records if str(r.path.resolve()) not in hidden])
    with world.learnt([*world.train, *planted], "cross-conformal") as store:
        entry = find_entry(store, "study")
        suspects = audit(store, entry)
        top = suspects[: round(0.1 * len(suspects))]
        found = [s for s in top if s.path in hidden]
        yield (
            "planted defects among the top 10 % of the audit",
            f"{len(found)} of {count} ({len(found) / count:.0%})",
        )
        yield "image AUROC with them in the bank", f"{rest.auroc(rest.predict(store)):.4f}"
        for suspect in found:
            entry = find_entry(store, "study")
            quarantine_image(
                suspect.image_id,
                store=store,
                entry=entry,
                calibrator=ConformalCalibrator.of(entry),
            )
        after = rest.auroc(rest.predict(store))
    whole = zip(world.whole["cross-conformal"], world.tests, strict=True)
    clean = rest.auroc([p for p, r in whole if str(r.path.resolve()) not in hidden])
    yield (
        "image AUROC after their quarantine, and of the clean build",
        f"{after:.4f}, {clean:.4f} (difference {after - clean:+.4f})",
    )


def _growing(world: _World) -> Iterator[Finding]:
    order = np.random.default_rng(0).permutation(len(world.train))
    half = len(order) // 2
    first = [world.train[i] for i in order[:half]]
    second = [world.train[i] for i in order[half:]]
    *most, last = second
    for method in METHODS:
        whole = world.whole[method]
        with world.learnt(first, method) as store:
            if method == "conformal":
                yield from _drifting(world, store, [record.path for record in second])
            _add(world, store, [record.path for record in most])
            inspector = Inspector(store, "study", network=world.network)
            inspector.inspect(world.tests[0].path)
            world.network.embed(_input(world, last.path))
            began = time.perf_counter()
            _add(world, store, [last.path])
            seconds = time.perf_counter() - began
            grown = world.predict(store)
            entry = find_entry(store, "study")
            patches = len(read_bank(store, entry).vectors)
            checks = 200
            began = time.perf_counter()
            for _ in range(checks):
                is_current(store, entry)
            check_ms = (time.perf_counter() - began) / checks * 1e3
        apart = np.mean([abs(a.p_value - b.p_value) for a, b in zip(whole, grown, strict=True)])
        difference = world.auroc(grown) - world.auroc(whole)
        yield (
            f"half learnt, half added, against all learnt, {method}",
            f"image AUROC {world.auroc(grown):.4f} and {world.auroc(whole):.4f} "
            f"({difference:+.4f}), p-values {apart:.4f} apart on average, {patches} patches",
        )
        yield f"adding one image to it, calibration included, {method}", f"{seconds:.2f} s"
        yield f"asking for a new revision before an answer, {method}", f"{check_ms:.2f} ms"


def _add(world: _World, store: VectorStore, paths: Sequence[Path]) -> None:
    entry = find_entry(store, "study")
    add_images(
        paths,
        store=store,
        entry=entry,
        backbone=world.network,
        calibrator=ConformalCalibrator.of(entry),
    )


def _input(world: _World, path: Path) -> NDArray[np.uint8]:
    spec = world.network.spec
    pixels = load_image(path, size_hint=spec.input_size).pixels
    return to_input(pixels, spec.input_size, spec.crop)[None]


def _drifting(world: _World, store: VectorStore, unseen: list[Path]) -> Iterator[Finding]:
    unseen = unseen + [record.path for record in world.tests if record.label == "normal"]
    with tempfile.TemporaryDirectory(prefix="vecspect-") as folder:
        entry = find_entry(store, "study")
        calibration = Calibration.from_payload(entry.calibration)
        looks = np.array([look for _, look in read_kept(store, entry, "looks")])
        inspector = Inspector(store, "study", network=world.network)
        usual = [_line(inspector, path) for path in unseen]
        quiet = 0
        for run in range(RUNS):
            rng = np.random.default_rng([2, run])
            signals = judge(calibration, looks, _draw(usual, STREAM, rng))
            quiet += not any(signal.alarm for signal in signals)
        yield (
            f"{STREAM} unchanged images without an alarm",
            f"{quiet} of {RUNS} runs ({calibration.n} calibration images, {len(unseen)} others, "
            "drawn with replacement)",
        )
        for name, change in CHANGES.items():
            changed = []
            for number, path in enumerate(unseen):
                file = Path(folder) / f"{number}.png"
                change(load_image(path).pixels).save(file)
                changed.append(_line(inspector, file))
            yield f"images until the alarm, {name}", _latency(calibration, looks, usual, changed)


def _latency(
    calibration: Calibration,
    looks: NDArray[np.float32],
    usual: Sequence[dict[str, Any]],
    changed: Sequence[dict[str, Any]],
) -> str:
    """Images after the change until the first alarm, which follows unchanged ones."""
    needed: list[int] = []
    which: dict[str, int] = {}
    for run in range(RUNS):
        rng = np.random.default_rng([3, run])
        lines = _draw(usual, QUIET_FIRST, rng) + _draw(changed, STREAM // 4, rng, QUIET_FIRST)
        alarms = [s for s in judge(calibration, looks, lines) if s.after > QUIET_FIRST]
        if alarms:
            first = min(alarms, key=lambda signal: signal.after)
            needed.append(first.after - QUIET_FIRST)
            key = f"{first.name}, {first.direction}"
            which[key] = which.get(key, 0) + 1
    if not needed:
        return f"none in {STREAM // 4} images, {RUNS} runs"
    told = "; ".join(f"{key} {n}" for key, n in sorted(which.items(), key=lambda k: -k[1]))
    return (
        f"median {np.median(needed):.0f}, at most {max(needed)} in {len(needed)} of {RUNS} runs, "
        f"after {QUIET_FIRST} unchanged ones (first to tell: {told})"
    )


def _draw(
    lines: Sequence[dict[str, Any]], count: int, rng: np.random.Generator, first: int = 0
) -> list[dict[str, Any]]:
    chosen = rng.integers(len(lines), size=count)
    return [{**lines[i], "number": first + number} for number, i in enumerate(chosen)]


def _line(inspector: Inspector, path: Path) -> dict[str, Any]:
    prediction = inspector.inspect(path)
    look = look_of(path, inspector.entry.spec).tolist()
    line = {"score": prediction.score, "verdict": prediction.verdict, "at": ""}
    return {**line, **dict(zip(LOOKS, look, strict=True))}


def _mean_colour(image: Image.Image) -> tuple[int, ...]:
    mean = np.asarray(image).reshape(-1, 3).mean(axis=0)
    return tuple(int(value) for value in mean)
