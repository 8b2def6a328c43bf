from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from backbones.decode import QUALITY_STATISTICS, image_quality


def photo(height: int = 64, width: int = 96) -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    return rng.integers(40, 220, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("shape", [(64, 64), (64, 96), (96, 40)])
def test_blur_lowers_the_sharpness_alone_and_half_the_light_the_brightness(
    shape: tuple[int, int],
) -> None:
    plain = photo(*shape)
    blurred = np.asarray(Image.fromarray(plain).filter(ImageFilter.GaussianBlur(1)))
    before, soft, dark = (image_quality(pixels) for pixels in (plain, blurred, plain // 2))
    assert soft[1] < before[1] - 0.5
    assert soft[0] == pytest.approx(before[0], abs=1)
    assert dark[0] == pytest.approx(before[0] / 2, abs=1)
    assert dark[1] == pytest.approx(before[1] - math.log(4), abs=0.01)


def test_values_are_those_of_the_definition() -> None:
    """A grey pixel on black: the Laplacian is -4 times its level there, once at four others."""
    pixels = np.zeros((7, 9, 3), dtype=np.uint8)
    pixels[3, 4] = 60
    quality = dict(zip(QUALITY_STATISTICS, image_quality(pixels).tolist(), strict=True))
    assert quality["brightness"] == pytest.approx(60 / 63)
    laplacian = np.zeros(5 * 7)
    laplacian[:5] = (-240, 60, 60, 60, 60)
    assert quality["sharpness"] == pytest.approx(math.log(laplacian.var() + 1e-6), abs=1e-5)


def test_flat_image_has_a_finite_sharpness() -> None:
    assert image_quality(np.full((8, 8, 3), 7, np.uint8)).tolist() == pytest.approx(
        [7, math.log(1e-6)]
    )
