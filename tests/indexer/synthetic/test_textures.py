from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from indexer.data.image_records import DatasetError
from indexer.synthetic.textures import CATEGORIES, blur, noise, render_normal, to_uint8, vary_color


@pytest.mark.parametrize("category", CATEGORIES)
def test_normal_images_vary_but_stay_one_material(category: str) -> None:
    images = [render_normal(category, np.random.default_rng(seed)) for seed in range(6)]
    assert images[0].shape == (256, 256, 3)
    assert images[0].dtype == np.uint8
    means, contrasts = [image.mean() for image in images], [image.std() for image in images]
    assert 1 < np.ptp(means) < 30
    assert min(contrasts) > 10
    assert max(contrasts) < 1.4 * min(contrasts)


@pytest.mark.parametrize("category", CATEGORIES)
def test_texture_keeps_its_proportions_at_any_size(category: str) -> None:
    def roughness(size: int) -> float:
        images = [render_normal(category, np.random.default_rng(seed), size) for seed in range(4)]
        reduced = [np.asarray(Image.fromarray(image).reduce(size // 128), int) for image in images]
        return float(np.abs(np.diff(reduced, axis=1)).mean())

    assert roughness(256) == pytest.approx(roughness(512), rel=0.15)


def test_unknown_category_is_refused_with_the_known_ones() -> None:
    with pytest.raises(DatasetError, match="Known: tile, leather, grid"):
        render_normal("wood", np.random.default_rng(0))


@pytest.mark.parametrize("spread", [1.5, 5, 8])
def test_noise_has_mean_0_deviation_1_and_features_of_its_spread(spread: float) -> None:
    values = noise(np.random.default_rng(0), 256, spread)
    assert values.shape == (256, 256)
    assert values.mean() == pytest.approx(0, abs=1e-4)
    assert values.std() == pytest.approx(1, rel=1e-4)
    # white noise blurred by s is correlated with itself d further on by exp(-d^2 / 4 s^2)
    further = round(2 * spread)
    alike = float((values * np.roll(values, further, axis=1)).mean())
    assert alike == pytest.approx(np.exp(-((further / spread) ** 2) / 4), abs=0.15)


def test_blur_keeps_the_mean_and_spreads_a_point_to_a_bell() -> None:
    point = np.zeros((65, 65), np.float32)
    point[32, 32] = 1
    bell = blur(point, 3)
    assert bell.sum() == pytest.approx(1, rel=1e-5)
    away = np.arange(-32, 33)
    assert (bell.sum(axis=0) * away**2).sum() == pytest.approx(9, rel=1e-3)
    assert np.allclose(bell, bell.T, atol=1e-7)


def test_grey_levels_are_rounded_and_cut_off() -> None:
    levels = to_uint8(np.array([-3.0, 0.4, 0.6, 254.6, 300.0]))
    assert levels.tolist() == [0, 0, 1, 255, 255]


def test_colour_varies_mostly_in_brightness() -> None:
    rng = np.random.default_rng(0)
    colors = np.stack([vary_color(rng, (100, 150, 200)) for _ in range(4000)])
    assert colors.mean(axis=0) == pytest.approx([100, 150, 200], abs=0.3)
    assert colors.std(axis=0) == pytest.approx([np.hypot(1, 2.5)] * 3, rel=0.1)
    brightness = colors.mean(axis=1)
    beside = (colors - brightness[:, None]).std(axis=0)
    assert (beside < brightness.std()).all()
