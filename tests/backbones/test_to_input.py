from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from backbones.geometry import Box, Geometry, to_input
from backbones.registry import load_backbone

geometries = st.builds(
    Geometry,
    width=st.integers(40, 300),
    height=st.integers(40, 300),
    rows=st.integers(1, 40),
    cols=st.integers(1, 40),
)


@settings(deadline=None, max_examples=40)
@given(geometries)
def test_cell_boxes_tile_the_image(geometry: Geometry) -> None:
    covered = np.zeros((geometry.height, geometry.width), dtype=int)
    for row in range(geometry.rows):
        for col in range(geometry.cols):
            box = geometry.cell_box(row, col)
            covered[box.y : box.y + box.height, box.x : box.x + box.width] += 1
    assert (covered == 1).all()


@settings(deadline=None, max_examples=100)
@given(geometries, st.data())
def test_every_pixel_of_a_box_leads_back_to_its_cell(
    geometry: Geometry, data: st.DataObject
) -> None:
    row = data.draw(st.integers(0, geometry.rows - 1))
    col = data.draw(st.integers(0, geometry.cols - 1))
    box = geometry.cell_box(row, col)
    x = data.draw(st.integers(box.x, box.x + box.width - 1))
    y = data.draw(st.integers(box.y, box.y + box.height - 1))
    assert geometry.cell_at(x, y) == (row, col)
    assert geometry.cell_at(x + 0.99, y + 0.99) == (row, col)


@settings(deadline=None, max_examples=100)
@given(geometries, st.data())
def test_cells_in_a_box_are_those_whose_boxes_overlap_it(
    geometry: Geometry, data: st.DataObject
) -> None:
    x = data.draw(st.integers(-5, geometry.width - 1))
    y = data.draw(st.integers(-5, geometry.height - 1))
    width, height = data.draw(st.integers(6, 40)), data.draw(st.integers(6, 40))
    expected = []
    for row in range(geometry.rows):
        for col in range(geometry.cols):
            cell = geometry.cell_box(row, col)
            beside = cell.x >= x + width or cell.x + cell.width <= x
            if not (beside or cell.y >= y + height or cell.y + cell.height <= y):
                expected.append((row, col))
    assert geometry.cells_in(Box(x, y, width, height)) == expected


def test_box_in_the_border_that_no_cell_covers_has_the_nearest_cell() -> None:
    geometry = Geometry(width=100, height=100, rows=4, cols=4, input_size=100, inset=10)
    assert geometry.cells_in(Box(2, 45, 3, 3)) == [(1, 0)]
    assert geometry.cells_in(Box(92, 95, 8, 5)) == [(3, 3)]


def test_points_outside_the_image_belong_to_its_border_cells() -> None:
    geometry = Geometry(width=101, height=55, rows=4, cols=8)
    assert geometry.cell_at(-5, -5) == (0, 0)
    assert geometry.cell_at(500, 500) == (3, 7)
    assert geometry.cell_at(500, 0) == (0, 7)


@pytest.mark.parametrize("width", [8, 31])
def test_image_smaller_than_its_grid_has_boxes_of_at_least_a_pixel_inside(width: int) -> None:
    geometry = Geometry(width=width, height=9, rows=32, cols=32)
    for cell in range(32):
        box = geometry.cell_box(cell, cell)
        assert box.width >= 1
        assert box.height >= 1
        assert box.x + box.width <= width
        assert box.y + box.height <= 9


def test_box_is_written_as_x_y_width_height() -> None:
    assert Box(1, 2, 3, 4).as_list() == [1, 2, 3, 4]


def test_image_of_the_networks_size_is_taken_as_it_is() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert np.array_equal(to_input(Image.fromarray(pixels), 64), pixels)


def test_whole_of_a_long_image_is_kept() -> None:
    image = Image.new("RGB", (400, 100))
    image.paste((255, 0, 0), (0, 0, 40, 100))
    image.paste((0, 0, 255), (360, 0, 400, 100))
    pixels = to_input(image, 64)
    assert pixels.shape == (64, 64, 3)
    assert pixels.dtype == np.uint8
    assert (pixels[:, 0] == (255, 0, 0)).all()
    assert (pixels[:, -1] == (0, 0, 255)).all()


def test_defect_moved_by_a_stride_moves_the_largest_response_by_a_cell() -> None:
    backbone = load_backbone("compact", precision="f32")
    size, stride = backbone.spec.input_size, backbone.spec.stride

    def with_square(row: int, col: int) -> NDArray[np.uint8]:
        pixels = np.zeros((size, size, 3), dtype=np.uint8)
        pixels[row * stride : (row + 1) * stride, col * stride : (col + 1) * stride] = 255
        return pixels

    cells = [(row, col) for row in (8, 9, 10) for col in (14, 15, 16, 17)]
    black = backbone.embed(np.zeros((1, size, size, 3), dtype=np.uint8)).patches
    patches = backbone.embed(np.stack([with_square(*cell) for cell in cells])).patches
    response = np.linalg.norm(patches - black, axis=3)
    found = [np.unravel_index(int(r.argmax()), r.shape) for r in response]
    assert [(int(row), int(col)) for row, col in found] == cells
