from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from threadpoolctl import ThreadpoolController

from backbones.geometry import Box, Geometry, Size
from indexer.scoring.anomaly_map import SIGMA, anomaly_map, levels_at_cells, regions, worst_region

Float32 = NDArray[np.float32]

INPUT = (64, 64)
"""Height and width of the network's input in these tests; 8 x 8 patches."""


WIDE = (64, 96)


def seen(image: Size, grid: Size = (8, 8)) -> Geometry:
    return Geometry(image, grid, INPUT)


sides = st.integers(40, 400)
cells = st.tuples(st.integers(0, 7), st.integers(0, 7))


def drawn(seed: int, rows: int = 8, cols: int = 8) -> Float32:
    return np.random.default_rng(seed).random((rows, cols), dtype=np.float32)


def one_hot(row: int, col: int) -> Float32:
    distances = np.zeros((8, 8), dtype=np.float32)
    distances[row, col] = 1
    return distances


def step_by_step(
    distances: Float32, width: int, height: int, size: Size = INPUT
) -> NDArray[np.float64]:
    """The construction of the paper, one image after the other."""

    def bilinear(image: NDArray[np.float64], rows: int, cols: int) -> NDArray[np.float64]:
        zoom = (rows / image.shape[0], cols / image.shape[1])
        zoomed = ndimage.zoom(image, zoom, order=1, mode="nearest", grid_mode=True)
        return np.asarray(zoomed, dtype=np.float64)

    upsampled = bilinear(distances.astype(np.float64), *size)
    smoothed = ndimage.gaussian_filter(upsampled, SIGMA, mode="nearest")
    return bilinear(smoothed, height, width)


@pytest.mark.parametrize(
    ("width", "height"), [(64, 64), (128, 128), (97, 201), (200, 33), (40, 40)]
)
def test_map_is_the_step_by_step_construction(width: int, height: int) -> None:
    distances = drawn(0)
    values = anomaly_map(distances, seen((height, width)))
    assert values.shape == (height, width)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, step_by_step(distances, width, height), atol=1e-5)


@pytest.mark.parametrize("image", [(64, 96), (96, 64), (121, 77)])
def test_map_of_a_wide_input_is_the_step_by_step_construction(image: Size) -> None:
    distances, (height, width) = drawn(2, rows=8, cols=12), image
    values = anomaly_map(distances, Geometry(image, (8, 12), WIDE))
    expected = step_by_step(distances, width, height, WIDE)
    np.testing.assert_allclose(values, expected, atol=1e-5)


def test_border_of_a_wide_input_that_no_patch_covers_is_zero() -> None:
    distances = np.ones((4, 10), np.float32)
    values = anomaly_map(distances, Geometry(WIDE, (4, 10), WIDE, inset=(16, 8)))
    inner = np.zeros(WIDE, np.bool_)
    inner[16:48, 8:88] = True
    np.testing.assert_allclose(values, inner, atol=1e-5)


def test_border_of_a_wide_input_does_not_widen_the_worst_region() -> None:
    distances = np.ones((2, 12), np.float32)
    distances[0, 6] = 3
    box = worst_region(distances, Geometry(WIDE, (2, 12), WIDE, inset=(24, 0)))
    assert box.x <= 52 <= box.x + box.width
    assert box.width < 48


def test_places_of_a_wide_input_are_found_in_its_image() -> None:
    distances = np.zeros((8, 12), np.float32)
    distances[1, 10] = 1
    geometry = Geometry((640, 480), (8, 12), WIDE)
    cell = geometry.cell_box(1, 10)
    (found,) = regions(distances, geometry, threshold=0.2)
    for box in (worst_region(distances, geometry), found):
        assert box.x <= cell.x < cell.x + cell.width <= box.x + box.width <= 480
        assert box.y <= cell.y < cell.y + cell.height <= box.y + box.height <= 3 * 80
    levels = levels_at_cells(distances, geometry)
    assert levels.shape == (8, 12)
    assert int(levels.argmax()) == 1 * 12 + 10


def test_patch_grid_need_not_be_square() -> None:
    distances = drawn(1, rows=4, cols=16)
    values = anomaly_map(distances, seen((90, 50), (4, 16)))
    np.testing.assert_allclose(values, step_by_step(distances, 50, 90), atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(sides, sides, st.floats(0, 1e3, width=32))
def test_constant_distances_give_a_constant_map(width: int, height: int, value: float) -> None:
    distances = np.full((8, 8), value, dtype=np.float32)
    values = anomaly_map(distances, seen((height, width)))
    np.testing.assert_allclose(values, value, rtol=1e-5, atol=1e-12)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), sides, sides)
def test_map_never_leaves_the_range_of_the_distances(seed: int, width: int, height: int) -> None:
    distances = drawn(seed)
    values = anomaly_map(distances, seen((height, width)))
    assert distances.min() - 1e-5 <= values.min()
    assert values.max() <= distances.max() + 1e-5


@settings(deadline=None, max_examples=60)
@given(cells, sides, sides)
def test_single_hot_cell_peaks_inside_its_own_box(
    cell: tuple[int, int], width: int, height: int
) -> None:
    values = anomaly_map(one_hot(*cell), seen((height, width)))
    y, x = np.unravel_index(int(values.argmax()), values.shape)
    box = seen((height, width)).cell_box(*cell)
    assert box.x <= x < box.x + box.width
    assert box.y <= y < box.y + box.height


@settings(deadline=None, max_examples=60)
@given(cells, sides, sides)
def test_heat_of_a_cell_lies_about_its_centre(
    cell: tuple[int, int], width: int, height: int
) -> None:
    values = anomaly_map(one_hot(*cell), seen((height, width)))
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
    box = worst_region(distances, seen((height, width)))
    row, col = np.unravel_index(int(distances.argmax()), distances.shape)
    assert box.x <= (col + 0.5) * width / 8 <= box.x + box.width
    assert box.y <= (row + 0.5) * height / 8 <= box.y + box.height
    assert 0 <= box.x < box.x + box.width <= width
    assert 0 <= box.y < box.y + box.height <= height


def test_worst_region_of_equal_distances_is_the_whole_image() -> None:
    box = worst_region(np.ones((8, 8), np.float32), seen((77, 123)))
    assert box == Box(0, 0, 123, 77)


def test_worst_region_leaves_out_a_lesser_defect_elsewhere() -> None:
    distances = one_hot(1, 1) + np.float32(0.8) * one_hot(6, 6)
    box = worst_region(distances, seen((80, 80)))
    assert box.x + box.width < 50
    assert box.y + box.height < 50


def test_regions_are_the_places_above_the_threshold_worst_first() -> None:
    distances = np.zeros((16, 16), np.float32)
    distances[2, 3], distances[12, 11] = 5.0, 9.0
    found = regions(distances, seen((80, 160), (16, 16)), threshold=0.5)
    worst = worst_region(distances, seen((80, 160), (16, 16)))
    assert len(found) == 2
    assert found[0].x <= worst.x + worst.width / 2 <= found[0].x + found[0].width
    centre = (35, 12)  # of the patch in row 2 and column 3
    assert found[1].x <= centre[0] <= found[1].x + found[1].width
    assert found[1].y <= centre[1] <= found[1].y + found[1].height
    assert len(regions(distances, seen((80, 160), (16, 16)), threshold=0.5, most=1)) == 1


def test_an_image_below_the_threshold_has_no_region() -> None:
    flat = np.ones((8, 8), np.float32)
    assert regions(flat, seen((80, 80)), threshold=1.5) == []


def test_map_leaves_no_blas_threads_waiting_on_the_cores() -> None:
    controller = ThreadpoolController().select(user_api="blas")
    threads: list[int] = []

    class Watched(np.ndarray):
        def __rmatmul__(self, other: Any, /) -> Any:
            threads.extend(library["num_threads"] for library in controller.info())
            return np.asarray(other) @ np.asarray(self)

    distances = np.ones((4, 4), np.float32).view(Watched)
    anomaly_map(distances, Geometry((32, 32), (4, 4), (32, 32)))
    assert threads
    assert set(threads) == {1}
