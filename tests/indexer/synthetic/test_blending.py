from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.synthetic.blending import CONTRASTS, SIZES, Uint8, blend_defect
from indexer.synthetic.textures import render_normal


def photo(height: int, width: int) -> Uint8:
    rng = np.random.default_rng(0)
    return rng.integers(60, 200, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", [(256, 256), (128, 192), (192, 96)])
def test_defect_has_its_area_and_lies_within_any_shape(shape: tuple[int, int], size: int) -> None:
    image = photo(*shape)
    before = image.copy()
    for seed in range(5):
        damaged, mask = blend_defect(
            image, np.random.default_rng(seed), size=size, contrast=CONTRASTS[-1]
        )
        assert damaged.shape == image.shape
        assert mask.shape == shape
        assert mask.sum() == max(4, round((size * min(shape) / 256) ** 2))
        assert (damaged[~mask] == image[~mask]).all()
        assert (damaged[mask] != image[mask]).any()
    assert (image == before).all()


def test_defects_of_a_wide_image_appear_in_all_of_its_width() -> None:
    image, rng = photo(64, 256), np.random.default_rng(0)
    masks = [blend_defect(image, rng, size=16, contrast=0.6)[1] for _ in range(40)]
    columns = [int(np.flatnonzero(mask.any(axis=0)).mean()) for mask in masks]
    assert min(columns) < 64
    assert max(columns) > 192


def test_stronger_contrast_changes_more() -> None:
    image = photo(128, 192)
    changes = []
    for contrast in CONTRASTS:
        damaged, _ = blend_defect(image, np.random.default_rng(3), size=32, contrast=contrast)
        changes.append(np.abs(damaged.astype(int) - image).sum())
    assert changes == sorted(set(changes))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**16), st.sampled_from(SIZES), st.sampled_from(CONTRASTS))
def test_defect_has_the_area_asked_for_and_changes_nothing_beside_it(
    seed: int, size: int, contrast: float
) -> None:
    image = render_normal("grid", np.random.default_rng(0), 128)
    before = image.copy()
    changed, mask = blend_defect(image, np.random.default_rng(seed), size=size, contrast=contrast)
    assert (changed.shape, mask.shape) == ((128, 128, 3), (128, 128))
    assert mask.sum() == max(4, round((size / 2) ** 2))
    assert np.array_equal(changed[~mask], image[~mask])
    assert np.array_equal(image, before), "the image given was changed"


@pytest.mark.parametrize("contrast", CONTRASTS)
def test_contrast_is_the_weight_of_black_or_white_in_the_blend(contrast: float) -> None:
    grey = np.full((128, 128, 3), 100, np.uint8)
    changed, mask = blend_defect(grey, np.random.default_rng(3), size=32, contrast=contrast)
    black, white = 100 * (1 - contrast), 100 * (1 - contrast) + 255 * contrast
    levels = np.unique(changed[mask])
    assert len(levels) == 2
    assert levels == pytest.approx([black, white], abs=1)


def test_same_seed_gives_the_same_defect_and_another_seed_another() -> None:
    grey = np.full((128, 128, 3), 100, np.uint8)
    masks = [
        blend_defect(grey, np.random.default_rng(seed), size=16, contrast=0.3)[1]
        for seed in (1, 1, 2)
    ]
    assert np.array_equal(masks[0], masks[1])
    assert not np.array_equal(masks[0], masks[2])
