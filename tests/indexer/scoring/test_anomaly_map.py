from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from threadpoolctl import ThreadpoolController

from backbones.geometry import Box, Geometry
from indexer.scoring.anomaly_map import (
    PANEL,
    SIGMA,
    anomaly_map,
    heat_layer,
    overlay,
    panels,
    regions,
    worst_region,
)

Float32 = NDArray[np.float32]

INPUT = 64
"""Side of the network's input in these tests; 8 x 8 patches."""

sides = st.integers(40, 400)
cells = st.tuples(st.integers(0, 7), st.integers(0, 7))


def drawn(seed: int, rows: int = 8, cols: int = 8) -> Float32:
    return np.random.default_rng(seed).random((rows, cols), dtype=np.float32)


def one_hot(row: int, col: int) -> Float32:
    distances = np.zeros((8, 8), dtype=np.float32)
    distances[row, col] = 1
    return distances


def step_by_step(distances: Float32, width: int, height: int) -> NDArray[np.float64]:
    """The construction of the paper, one image after the other."""

    def bilinear(image: NDArray[np.float64], rows: int, cols: int) -> NDArray[np.float64]:
        zoom = (rows / image.shape[0], cols / image.shape[1])
        zoomed = ndimage.zoom(image, zoom, order=1, mode="nearest", grid_mode=True)
        return np.asarray(zoomed, dtype=np.float64)

    upsampled = bilinear(distances.astype(np.float64), INPUT, INPUT)
    smoothed = ndimage.gaussian_filter(upsampled, SIGMA, mode="nearest")
    return bilinear(smoothed, height, width)


@pytest.mark.parametrize(
    ("width", "height"), [(64, 64), (128, 128), (97, 201), (200, 33), (40, 40)]
)
def test_map_is_the_step_by_step_construction(width: int, height: int) -> None:
    distances = drawn(0)
    values = anomaly_map(distances, input_size=INPUT, width=width, height=height)
    assert values.shape == (height, width)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, step_by_step(distances, width, height), atol=1e-5)


def test_patch_grid_need_not_be_square() -> None:
    distances = drawn(1, rows=4, cols=16)
    values = anomaly_map(distances, input_size=INPUT, width=50, height=90)
    np.testing.assert_allclose(values, step_by_step(distances, 50, 90), atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(sides, sides, st.floats(0, 1e3, width=32))
def test_constant_distances_give_a_constant_map(width: int, height: int, value: float) -> None:
    distances = np.full((8, 8), value, dtype=np.float32)
    values = anomaly_map(distances, input_size=INPUT, width=width, height=height)
    np.testing.assert_allclose(values, value, rtol=1e-5, atol=1e-12)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), sides, sides)
def test_map_never_leaves_the_range_of_the_distances(seed: int, width: int, height: int) -> None:
    distances = drawn(seed)
    values = anomaly_map(distances, input_size=INPUT, width=width, height=height)
    assert distances.min() - 1e-5 <= values.min()
    assert values.max() <= distances.max() + 1e-5


@settings(deadline=None, max_examples=60)
@given(cells, sides, sides)
def test_single_hot_cell_peaks_inside_its_own_box(
    cell: tuple[int, int], width: int, height: int
) -> None:
    values = anomaly_map(one_hot(*cell), input_size=INPUT, width=width, height=height)
    y, x = np.unravel_index(int(values.argmax()), values.shape)
    box = Geometry(width, height, 8, 8).cell_box(*cell)
    assert box.x <= x < box.x + box.width
    assert box.y <= y < box.y + box.height


@settings(deadline=None, max_examples=60)
@given(cells, sides, sides)
def test_heat_of_a_cell_lies_about_its_centre(
    cell: tuple[int, int], width: int, height: int
) -> None:
    values = anomaly_map(one_hot(*cell), input_size=INPUT, width=width, height=height)
    mass_y, mass_x = ndimage.center_of_mass(values)
    # the border holds back what would spill over it, so that the mass stays near, not put
    assert abs(mass_x + 0.5 - (cell[1] + 0.5) * width / 8) <= width / 16
    assert abs(mass_y + 0.5 - (cell[0] + 0.5) * height / 8) <= height / 16


@settings(deadline=None, max_examples=80)
@given(
    st.one_of(cells.map(lambda cell: one_hot(*cell)), st.integers(0, 1000).map(drawn)),
    sides,
    sides,
)
def test_worst_region_holds_the_worst_patch_and_lies_in_the_image(
    distances: Float32, width: int, height: int
) -> None:
    box = worst_region(distances, input_size=INPUT, width=width, height=height)
    row, col = np.unravel_index(int(distances.argmax()), distances.shape)
    assert box.x <= (col + 0.5) * width / 8 <= box.x + box.width
    assert box.y <= (row + 0.5) * height / 8 <= box.y + box.height
    assert 0 <= box.x < box.x + box.width <= width
    assert 0 <= box.y < box.y + box.height <= height


def test_worst_region_of_equal_distances_is_the_whole_image() -> None:
    box = worst_region(np.ones((8, 8), np.float32), input_size=INPUT, width=123, height=77)
    assert box == Box(0, 0, 123, 77)


def test_worst_region_leaves_out_a_lesser_defect_elsewhere() -> None:
    distances = one_hot(1, 1) + np.float32(0.8) * one_hot(6, 6)
    box = worst_region(distances, input_size=INPUT, width=80, height=80)
    assert box.x + box.width < 50
    assert box.y + box.height < 50


def picture(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_regions_are_the_places_above_the_threshold_worst_first() -> None:
    distances = np.zeros((16, 16), np.float32)
    distances[2, 3], distances[12, 11] = 5.0, 9.0
    found = regions(distances, threshold=0.5, input_size=INPUT, width=160, height=80)
    worst = worst_region(distances, input_size=INPUT, width=160, height=80)
    assert len(found) == 2
    assert found[0].x <= worst.x + worst.width / 2 <= found[0].x + found[0].width
    centre = (35, 12)  # of the patch in row 2 and column 3
    assert found[1].x <= centre[0] <= found[1].x + found[1].width
    assert found[1].y <= centre[1] <= found[1].y + found[1].height
    assert (
        len(regions(distances, threshold=0.5, input_size=INPUT, width=160, height=80, most=1)) == 1
    )


def test_an_image_below_the_threshold_has_no_region() -> None:
    flat = np.ones((8, 8), np.float32)
    assert regions(flat, threshold=1.5, input_size=INPUT, width=80, height=80) == []


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


def test_map_leaves_no_blas_threads_waiting_on_the_cores() -> None:
    controller = ThreadpoolController().select(user_api="blas")
    threads: list[int] = []

    class Watched(np.ndarray):
        def __rmatmul__(self, other: Any, /) -> Any:
            threads.extend(library["num_threads"] for library in controller.info())
            return np.asarray(other) @ np.asarray(self)

    distances = np.ones((4, 4), np.float32).view(Watched)
    anomaly_map(distances, input_size=32, width=32, height=32)
    assert threads
    assert set(threads) == {1}
