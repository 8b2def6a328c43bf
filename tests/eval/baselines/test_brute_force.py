from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from backbones.base import BackboneSpec, Features, Float32, Precision
from eval.baselines.brute_force import BruteForce


class PlainPixels:
    """A network whose features can be read off the image: 8 x 8 patches, each one pixel's RGB."""

    spec = BackboneSpec(
        name="plain-pixels",
        architecture="",
        dim=3,
        parameters=0,
        weights="bundled",
        licence="",
        input_size=(8, 8),
        stride=1,
    )
    source: Path | None = None
    precision: Precision = "f32"
    fingerprint = "pixels"

    def embed(self, inputs: NDArray[np.uint8]) -> Features:
        patches = inputs.astype(np.float32)
        return Features(patches, patches.mean(axis=(1, 2)))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), normal=st.integers(1, 6), levels=st.sampled_from([2, 12, 256])
)
def test_baseline_scores_like_plain_brute_force_whatever_bounds_it_is_given(
    seed: int, normal: int, levels: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, levels, (normal + 2, 8, 8, 3), dtype=np.uint8)
    folder = tmp_path_factory.mktemp("pixels")
    paths = [folder / f"{number}.png" for number in range(len(pixels))]
    for path, picture in zip(paths, pixels, strict=True):
        Image.fromarray(picture).save(path)
    patches = PlainPixels().embed(pixels).patches.reshape(len(pixels), 64, 3)
    bank = patches[:normal].reshape(-1, 3)
    kept = rng.choice(len(bank), size=rng.integers(1, len(bank) + 1), replace=False)

    def distances(queries: Float32, normal_patches: Float32) -> Float32:
        nearest: Float32 = np.linalg.norm(queries[:, None] - normal_patches, axis=2).min(axis=1)
        return nearest

    baseline = BruteForce.fit(PlainPixels(), paths[:normal])
    assert len(baseline) == len(bank)
    found = baseline.scores(
        paths[normal:], (distances(q, bank[kept]).reshape(8, 8) for q in patches[normal:])
    )
    expected = [float(distances(queries, bank).max()) for queries in patches[normal:]]
    assert found == pytest.approx(expected, rel=1e-6)


def test_baseline_says_nan_for_an_image_it_cannot_read_and_leaves_out_such_normal_ones(
    tmp_path: Path,
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"damaged")
    good = tmp_path / "good.png"
    Image.new("RGB", (8, 8), (3, 4, 0)).save(good)
    baseline = BruteForce.fit(PlainPixels(), [bad, good, bad])
    assert len(baseline) == 64
    everywhere = np.full((8, 8), np.inf, dtype=np.float32)
    scores = baseline.scores([good, bad], [everywhere, everywhere])
    assert scores == pytest.approx([0, float("nan")], nan_ok=True)
