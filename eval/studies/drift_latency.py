"""Study of the number of images before the drift alarm, with and without a change."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageStat

from backbones.base import Backbone
from backbones.decode import QUALITY_STATISTICS, load_image
from eval.arrays import Float32
from indexer.calibration.base import Calibration
from indexer.calibration.methods import read_calibration
from indexer.catalog.cached_arrays import read_cached
from indexer.catalog.category import Category
from search.inspector import Inspector
from search.monitoring.drift import drift_signals

RUNS, STREAM, QUIET_FIRST = 200, 2000, 200
CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "5 % brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.05),
    "5 % darker": lambda image: ImageEnhance.Brightness(image).enhance(0.95),
    "blurred by 1 px of 512": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
    "turned by 3 degrees": lambda image: image.rotate(
        3, Image.Resampling.BILINEAR, fillcolor=tuple(map(int, ImageStat.Stat(image).mean))
    ),
}


def drift_latency(
    category: Category, network: Backbone, unseen: Sequence[Path]
) -> Iterator[tuple[str, str]]:
    """Measurements with their figures, on normal images that the category has not learnt."""
    with tempfile.TemporaryDirectory(prefix="vecspect-") as folder:
        calibration = read_calibration(category.entry)
        quality = np.array([row for _, row in read_cached(category, "quality")])
        inspector = Inspector(category.store, category.name, network=network)
        usual = [_line(inspector, path) for path in unseen]
        quiet = 0
        for run in range(RUNS):
            rng = np.random.default_rng([2, run])
            signals = drift_signals(calibration, quality, _sample(usual, STREAM, rng))
            quiet += not any(signal.alarm for signal in signals)
        yield (
            f"{STREAM} unchanged images without an alarm",
            f"{quiet} of {RUNS} runs ({calibration.n} calibration images, {len(unseen)} others, "
            "sampled with replacement)",
        )
        for name, change in CHANGES.items():
            changed = []
            for number, path in enumerate(unseen):
                file = Path(folder) / f"{number}.png"
                change(load_image(path).pixels).save(file)
                changed.append(_line(inspector, file))
            yield f"images until the alarm, {name}", _latency(calibration, quality, usual, changed)


def _latency(
    calibration: Calibration,
    quality: Float32,
    usual: Sequence[dict[str, Any]],
    changed: Sequence[dict[str, Any]],
) -> str:
    """Images from the change to the first alarm, after a run of unchanged ones."""
    needed: list[int] = []
    which: Counter[str] = Counter()
    for run in range(RUNS):
        rng = np.random.default_rng([3, run])
        lines = _sample(usual, QUIET_FIRST, rng) + _sample(changed, STREAM // 4, rng, QUIET_FIRST)
        alarms = [s for s in drift_signals(calibration, quality, lines) if s.after > QUIET_FIRST]
        if alarms:
            first = min(alarms, key=lambda signal: signal.after)
            needed.append(first.after - QUIET_FIRST)
            which[f"{first.name}, {first.direction}"] += 1
    if not needed:
        return f"none in {STREAM // 4} images, {RUNS} runs"
    told = "; ".join(f"{key} {n}" for key, n in which.most_common())
    return (
        f"median {np.median(needed):.0f}, at most {max(needed)} in {len(needed)} of {RUNS} runs, "
        f"after {QUIET_FIRST} unchanged ones (first signal: {told})"
    )


def _sample(
    lines: Sequence[dict[str, Any]], count: int, rng: np.random.Generator, first: int = 0
) -> list[dict[str, Any]]:
    chosen = rng.integers(len(lines), size=count)
    return [{**lines[i], "number": first + number} for number, i in enumerate(chosen)]


def _line(inspector: Inspector, path: Path) -> dict[str, Any]:
    prediction = inspector.inspect(path)
    line = {"score": prediction.score, "verdict": prediction.verdict, "at": ""}
    return {**line, **dict(zip(QUALITY_STATISTICS, prediction.quality.tolist(), strict=True))}
