from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backbones.errors import ImageError, VecspectError
from backbones.geometry import Box
from search.inspector import Inspector
from search.render import PANEL, heat_colours, heat_layer, overlay, panels
from tests.indexer.world import queries_of


def picture(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_heat_layer_over_the_image_is_the_overlay() -> None:
    values = np.linspace(0, 20, 64 * 48, dtype=np.float32).reshape(48, 64)
    image = Image.new("RGB", (64, 48), (90, 120, 60))
    laid = Image.alpha_composite(image.convert("RGBA"), heat_layer(values, threshold=10.0))
    expected = np.asarray(overlay(image, values, threshold=10.0), dtype=int)
    assert np.abs(np.asarray(laid.convert("RGB"), dtype=int) - expected).max() <= 2


def test_overlay_leaves_the_image_as_it_is_where_the_map_is_cool() -> None:
    image = picture(50, 30)
    values = np.zeros((30, 50), dtype=np.float32)
    values[:, :25] = 5.0  # half the threshold
    values[:, 25:] = 30.0
    shown = np.asarray(overlay(image, values, threshold=10.0))
    assert np.array_equal(shown[:, :25], np.asarray(image)[:, :25])
    assert (shown[:, 25:] != np.asarray(image)[:, 25:]).any(axis=2).all()


def test_overlay_shows_more_heat_where_the_map_is_higher() -> None:
    values = np.linspace(0, 30, 200, dtype=np.float32)[None].repeat(8, axis=0)
    shown = np.asarray(overlay(Image.new("RGB", (200, 8)), values, threshold=10.0), dtype=int)
    brightness = shown[0].sum(axis=1)
    assert (np.diff(brightness) >= 0).all()
    assert brightness[-1] > brightness[66] > brightness[0] == 0  # 66: on the threshold


@pytest.mark.parametrize("value", [0.0, 1e-3, 1e9])
def test_overlay_stands_a_threshold_of_zero(value: float) -> None:
    """Calibration images that repeat those of the bank all score zero."""
    image = picture(20, 10)
    shown = overlay(image, np.full((10, 20), value, dtype=np.float32), threshold=0.0)
    assert (shown.tobytes() == image.tobytes()) == (value == 0)


@pytest.mark.parametrize(("width", "height"), [(300, 200), (33, 401), (401, 33), (8, 900)])
def test_panels_outline_boxes_on_their_own_picture(width: int, height: int) -> None:
    grey = Image.new("RGB", (width, height), (128, 128, 128))
    whole = Box(0, 0, width, height)
    plain, outlined = panels([(grey, "a", None)]), panels([(grey, "a", whole)])
    assert plain.size == outlined.size
    changed = np.argwhere((np.asarray(plain) != np.asarray(outlined)).any(axis=2))
    top, left = changed.min(axis=0)
    bottom, right = changed.max(axis=0)
    on_picture = np.argwhere((np.asarray(plain) == 128).all(axis=2))
    # an outline is drawn inwards; rounding may set its far side one pixel beyond
    assert (np.array([top, left]) >= on_picture.min(axis=0) - 1).all()
    assert (np.array([bottom, right]) <= on_picture.max(axis=0) + 1).all()
    assert left > 0
    assert right < outlined.width - 1
    assert bottom < outlined.height - 1


def test_panels_stand_side_by_side_without_overlap() -> None:
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    images = [Image.new("RGB", (60 + 30 * i, 90), colour) for i, colour in enumerate(colours)]
    sheet = np.asarray(panels([(image, "a\nb", None) for image in images]))
    ends = 0
    for image, colour in zip(images, colours, strict=True):
        columns = np.flatnonzero((sheet == colour).all(axis=2).any(axis=0))
        assert columns[0] > ends
        assert len(columns) == columns[-1] - columns[0] + 1
        assert len(columns) == round(image.width * PANEL / image.height)
        ends = columns[-1]


def test_long_caption_stays_within_its_panel() -> None:
    image = Image.new("RGB", (100, 100), (128, 128, 128))
    sheet = np.asarray(panels([(image, "wide " * 100, None), (image, "", None)]))
    inked = np.flatnonzero((sheet[:40] < 200).all(axis=2).any(axis=0))
    assert len(inked)
    assert inked[-1] <= 12 + PANEL


def test_explanation_is_a_picture_also_when_the_normal_image_was_moved_away(
    inspector: Inspector, dataset: Path
) -> None:
    prediction = inspector.inspect(queries_of(dataset)[0])
    moved = replace(prediction, evidence=replace(prediction.evidence, path="/nowhere/at/all.png"))
    with_it, without = prediction.explain(), moved.explain()
    assert with_it.mode == without.mode == "RGB"
    assert with_it.size == without.size
    assert with_it.tobytes() != without.tobytes()


def test_explanation_of_an_image_that_changed_or_went_since_is_refused(
    inspector: Inspector, dataset: Path, tmp_path: Path
) -> None:
    path = Path(shutil.copy(queries_of(dataset)[0], tmp_path / "query.png"))
    prediction = inspector.inspect(path)
    Image.new("RGB", (64, 64)).save(path)
    with pytest.raises(ImageError, match=rf"^{path}: changed since it was scored"):
        prediction.explain()
    path.unlink()
    with pytest.raises(VecspectError, match=r"query\.png|no such file"):
        prediction.explain()


def test_colours_depend_on_the_share_of_the_threshold_alone() -> None:
    values = np.linspace(0, 3, 40, dtype=np.float32)[None]
    colours, strength = heat_colours(values, threshold=1.0)
    scaled, strength_scaled = heat_colours(values * 1000, threshold=1000.0)
    np.testing.assert_array_equal(colours, scaled)
    np.testing.assert_allclose(strength, strength_scaled, atol=1e-3)
    assert (strength[values <= 0.7] == 0).all()
    assert strength[values > 1.3] == pytest.approx(0.75)
    assert (np.diff(strength[0, :, 0]) >= 0).all()
