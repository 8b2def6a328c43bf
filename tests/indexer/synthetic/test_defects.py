from __future__ import annotations

import numpy as np
import pytest

from indexer.data.image_records import DatasetError
from indexer.synthetic.defects import MIN_DEFECT_AREA, add_defect, defect_types
from indexer.synthetic.textures import CATEGORIES, render_normal

DEFECTS = [(category, name) for category in CATEGORIES for name in defect_types(category)]


@pytest.mark.parametrize("size", [64, 256])
@pytest.mark.parametrize(("category", "defect_type"), DEFECTS)
def test_mask_is_where_the_image_changed(category: str, defect_type: str, size: int) -> None:
    image = render_normal(category, np.random.default_rng(0), size)
    before = image.copy()
    for seed in range(6):
        defective, mask = add_defect(image, defect_type, np.random.default_rng(seed))
        assert defective.dtype == np.uint8
        assert mask.dtype == np.bool_
        assert defective.shape == (size, size, 3)
        change = np.abs(defective.astype(int) - image).max(axis=2)
        assert not change[~mask].any(), "changed outside the mask"
        assert (change >= 6).sum() > mask.sum() / 2, "mask much larger than the change"
        assert MIN_DEFECT_AREA <= mask.mean() < 0.2
    assert np.array_equal(image, before), "the image given was changed"


def test_defect_that_cannot_show_is_refused() -> None:
    with pytest.raises(DatasetError, match="'crack' does not show"):
        add_defect(np.zeros((64, 64, 3), np.uint8), "crack", np.random.default_rng(0))


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(DatasetError, match="Known: crack, stain, chip, cut"):
        add_defect(np.zeros((64, 64, 3), np.uint8), "moth", np.random.default_rng(0))
    with pytest.raises(DatasetError, match="Known: tile, leather, grid"):
        defect_types("wood")


@pytest.mark.parametrize(("category", "defect_type"), DEFECTS)
def test_defect_is_where_the_seed_puts_it(category: str, defect_type: str) -> None:
    image = render_normal(category, np.random.default_rng(0), 64)
    masks = [add_defect(image, defect_type, np.random.default_rng(seed))[1] for seed in (1, 1, 2)]
    assert np.array_equal(masks[0], masks[1])
    assert not np.array_equal(masks[0], masks[2])
