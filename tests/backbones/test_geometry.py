"""What is seen at a place of the picture comes out in the cell of that place."""

from __future__ import annotations

import itertools
from dataclasses import replace
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import Base

from backbones.base import BackboneSpec, Features, Precision
from backbones.geometry import Box, Geometry, to_input
from backbones.networks.build import Graph
from backbones.pipeline import ImageFeatures, embed_images
from backbones.registry import load_backbone
from backbones.specs import SPECS, find_spec
from tests.backbones.conftest import MakeNetwork

without_border = st.builds(
    Geometry,
    image=st.tuples(st.integers(40, 300), st.integers(40, 300)),
    grid=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    input_size=st.just((1, 1)),
)


@settings(deadline=None, max_examples=40)
@given(without_border)
def test_cell_boxes_tile_the_image(geometry: Geometry) -> None:
    covered = np.zeros(geometry.image, dtype=int)
    for row in range(geometry.grid[0]):
        for col in range(geometry.grid[1]):
            box = geometry.cell_box(row, col)
            covered[box.y : box.y + box.height, box.x : box.x + box.width] += 1
    assert (covered == 1).all()


@settings(deadline=None, max_examples=100)
@given(without_border, st.data())
def test_every_pixel_of_a_box_leads_back_to_its_cell(
    geometry: Geometry, data: st.DataObject
) -> None:
    row = data.draw(st.integers(0, geometry.grid[0] - 1))
    col = data.draw(st.integers(0, geometry.grid[1] - 1))
    box = geometry.cell_box(row, col)
    x = data.draw(st.integers(box.x, box.x + box.width - 1))
    y = data.draw(st.integers(box.y, box.y + box.height - 1))
    assert geometry.cell_at(x, y) == (row, col)
    assert geometry.cell_at(x + 0.99, y + 0.99) == (row, col)


@settings(deadline=None, max_examples=100)
@given(without_border, st.data())
def test_cells_in_a_box_are_those_whose_boxes_overlap_it(
    geometry: Geometry, data: st.DataObject
) -> None:
    x = data.draw(st.integers(-5, geometry.image[1] - 1))
    y = data.draw(st.integers(-5, geometry.image[0] - 1))
    width, height = data.draw(st.integers(6, 40)), data.draw(st.integers(6, 40))
    expected = []
    for row in range(geometry.grid[0]):
        for col in range(geometry.grid[1]):
            cell = geometry.cell_box(row, col)
            beside = cell.x >= x + width or cell.x + cell.width <= x
            if not (beside or cell.y >= y + height or cell.y + cell.height <= y):
                expected.append((row, col))
    assert geometry.cells_in(Box(x, y, width, height)) == expected


def test_box_in_the_border_that_no_cell_covers_has_the_nearest_cell() -> None:
    geometry = Geometry((100, 100), (4, 4), input_size=(100, 100), inset=(10, 10))
    assert geometry.cells_in(Box(2, 45, 3, 3)) == [(1, 0)]
    assert geometry.cells_in(Box(92, 95, 8, 5)) == [(3, 3)]


def test_points_outside_the_image_belong_to_its_border_cells() -> None:
    geometry = Geometry((55, 101), (4, 8), input_size=(1, 1))
    assert geometry.cell_at(-5, -5) == (0, 0)
    assert geometry.cell_at(500, 500) == (3, 7)
    assert geometry.cell_at(500, 0) == (0, 7)


@pytest.mark.parametrize("width", [8, 31])
def test_image_smaller_than_its_grid_has_boxes_of_at_least_a_pixel_inside(width: int) -> None:
    geometry = Geometry((9, width), (32, 32), input_size=(1, 1))
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
    assert np.array_equal(to_input(Image.fromarray(pixels), (64, 64)), pixels)


def test_input_may_be_wider_than_high() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    assert np.array_equal(to_input(Image.fromarray(pixels), (64, 96)), pixels)
    image = Image.new("RGB", (300, 100), (0, 0, 255))
    image.paste((255, 0, 0), (0, 0, 300, 50))
    halves = to_input(image, (64, 96))
    assert halves.shape == (64, 96, 3)
    assert (halves[:30] == (255, 0, 0)).all()
    assert (halves[34:] == (0, 0, 255)).all()


def test_crop_is_the_centre_in_height_and_in_width() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    seen = to_input(Image.fromarray(pixels), (64, 96), (48, 40))
    assert np.array_equal(seen, pixels[8:56, 28:68])


def test_cells_of_a_wide_input_lie_in_the_resized_image_every_8_pixels() -> None:
    geometry = Geometry((120, 90), (8, 12), input_size=(64, 96))
    assert geometry.at_input() == Geometry((64, 96), (8, 12), input_size=(64, 96))
    assert geometry.at_input().cell_box(7, 11) == Box(88, 56, 8, 8)
    assert geometry.cell_box(7, 11) == Box(82, 105, 8, 15)


def test_border_at_top_and_bottom_may_differ_from_that_at_left_and_right() -> None:
    geometry = Geometry((64, 96), (4, 10), input_size=(64, 96), inset=(16, 8))
    assert geometry.cell_box(0, 0) == Box(8, 16, 8, 8)
    assert geometry.cell_box(3, 9) == Box(80, 40, 8, 8)


def test_whole_of_a_long_image_is_kept() -> None:
    image = Image.new("RGB", (400, 100))
    image.paste((255, 0, 0), (0, 0, 40, 100))
    image.paste((0, 0, 255), (360, 0, 400, 100))
    pixels = to_input(image, (64, 64))
    assert pixels.shape == (64, 64, 3)
    assert pixels.dtype == np.uint8
    assert (pixels[:, 0] == (255, 0, 0)).all()
    assert (pixels[:, -1] == (0, 0, 255)).all()


def test_defect_moved_by_a_stride_moves_the_largest_response_by_a_cell() -> None:
    backbone = load_backbone("compact", precision="f32")
    (side, _), stride = backbone.spec.input_size, backbone.spec.stride

    def with_square(row: int, col: int) -> NDArray[np.uint8]:
        pixels = np.zeros((side, side, 3), dtype=np.uint8)
        pixels[row * stride : (row + 1) * stride, col * stride : (col + 1) * stride] = 255
        return pixels

    cells = [(row, col) for row in (8, 9, 10) for col in (14, 15, 16, 17)]
    black = backbone.embed(np.zeros((1, side, side, 3), dtype=np.uint8)).patches
    patches = backbone.embed(np.stack([with_square(*cell) for cell in cells])).patches
    response = np.linalg.norm(patches - black, axis=3)
    found = [np.unravel_index(int(r.argmax()), r.shape) for r in response]
    assert [(int(row), int(col)) for row, col in found] == cells


PDN = find_spec("efficientad-small")


def seen(spec: BackboneSpec) -> BackboneSpec:
    """``spec`` with few cells, of which those in the middle do not feel the border."""
    side = spec.stride * (6 if spec.family == "vit" else 16)
    return replace(spec, input_size=(side, side))


IN_PARTS = [
    replace(seen(PDN), name="PDN without padding", padding=False),
    replace(seen(PDN), name="centre of a PDN", crop=(96, 96)),
    replace(seen(PDN), name="centre of a PDN without padding", crop=(96, 96), padding=False),
    replace(seen(find_spec("compact")), name="centre of a CNN", crop=(96, 96)),
]
PATCH_LEVEL = [seen(spec) for spec in SPECS if spec.level == "patch"] + IN_PARTS


def centred(network: torch.nn.Module) -> torch.nn.Module:
    """``network`` with kernels that, as trained ones do, weigh what lies below them most."""
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d) and layer.kernel_size[0] <= 7:
            side = layer.kernel_size[0]
            row = torch.tensor([comb(side - 1, i) for i in range(side)], dtype=torch.float32)
            window = torch.outer(row, row)
            layer.weight.data *= window * side / window.norm()
    return network


def with_square(spec: BackboneSpec, box: Box) -> NDArray[np.uint8]:
    """(S, S, 3), black but for a white square in ``box``, in pixels of the uncropped picture.

    It fills the box, or of a CNN its first quarter: strided 3x3 convolutions look at the corner.
    """
    square = np.zeros((*spec.input_size, 3), dtype=np.uint8)
    side = box.width // 2 if spec.family == "patchcore" else box.width
    square[box.y : box.y + side, box.x : box.x + side] = 255
    (height, width), (rows, cols) = spec.input_size, spec.shape
    top, left = (height - rows) // 2, (width - cols) // 2
    return square[top : top + rows, left : left + cols]


@pytest.mark.parametrize("spec", PATCH_LEVEL, ids=lambda spec: spec.name)
def test_white_square_moved_by_a_stride_moves_the_largest_response_by_a_cell(
    random_network: MakeNetwork, spec: BackboneSpec
) -> None:
    graph = Graph(centred(random_network(spec)), spec)
    row, col = (n // 2 - 1 for n in spec.grid)
    cells = [(row + down, col + right) for down in (0, 1, 2) for right in (0, 1, 2)]
    boxes = [spec.geometry(spec.input_size).cell_box(*cell) for cell in cells]
    steps = {(b.x - a.x, b.y - a.y) for a, b in itertools.pairwise(boxes)}
    assert steps == {(spec.stride, 0), (-2 * spec.stride, spec.stride)}
    inputs = [with_square(spec, box) for box in boxes]
    with torch.inference_mode():
        patches, _ = graph(torch.from_numpy(np.stack([np.zeros_like(inputs[0]), *inputs])))
    response = (patches[1:] - patches[0]).norm(dim=3).numpy()
    found = [np.unravel_index(int(r.argmax()), r.shape) for r in response]
    assert [(int(row), int(col)) for row, col in found] == cells


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    """Of pictures of any shape, odd ones too, with a border that no cell covers or without."""
    image = draw(st.integers(130, 301)), draw(st.integers(130, 301))
    rows, cols = draw(st.integers(1, 32)), draw(st.integers(1, 32))
    top, left = draw(st.integers(0, 2 * rows)), draw(st.integers(0, 2 * cols))
    pixels = (8 * rows + 2 * top, 8 * cols + 2 * left)
    return Geometry(image, (rows, cols), pixels, (top, left))


@settings(deadline=None, max_examples=40)
@given(geometries())
def test_boxes_of_the_cells_tile_all_but_the_border(geometry: Geometry) -> None:
    covered = np.zeros(geometry.image, dtype=int)
    for row in range(geometry.grid[0]):
        for col in range(geometry.grid[1]):
            box = geometry.cell_box(row, col)
            covered[box.y : box.y + box.height, box.x : box.x + box.width] += 1
    (top, bottom), (left, right) = (
        (inset * pixels // side, (side - inset) * pixels // side)
        for inset, pixels, side in zip(
            geometry.inset, geometry.image, geometry.input_size, strict=True
        )
    )
    assert (covered[top:bottom, left:right] == 1).all()
    assert covered.sum() == (bottom - top) * (right - left)


@settings(deadline=None, max_examples=200)
@given(geometries(), st.data())
def test_every_pixel_of_a_cells_box_leads_back_to_the_cell(
    geometry: Geometry, data: st.DataObject
) -> None:
    row, col = (data.draw(st.integers(0, n - 1)) for n in geometry.grid)
    box = geometry.cell_box(row, col)
    x = data.draw(st.integers(box.x, box.x + box.width - 1))
    y = data.draw(st.integers(box.y, box.y + box.height - 1))
    assert geometry.cell_at(x, y) == (row, col)


@pytest.mark.parametrize("spec", PATCH_LEVEL, ids=lambda spec: spec.name)
def test_cells_of_a_wide_odd_picture_lead_back_to_themselves(spec: BackboneSpec) -> None:
    geometry = spec.geometry((479, 641))
    for row in range(spec.grid[0]):
        for col in range(spec.grid[1]):
            box = geometry.cell_box(row, col)
            centre = box.x + box.width / 2, box.y + box.height / 2
            assert geometry.cell_at(*centre) == (row, col)


@pytest.mark.parametrize(
    ("changes", "inset"),
    [
        ({}, 0),
        ({"crop": (224, 224)}, 16),
        ({"padding": False}, 16),
        ({"crop": (224, 224), "padding": False}, 32),
    ],
)
def test_first_and_last_cell_lie_where_the_removed_border_ends(
    changes: dict[str, Any], inset: int
) -> None:
    spec = replace(PDN, **changes)
    cells = (256 - 2 * inset) // 8
    assert (spec.inset, spec.grid) == ((inset, inset), (cells, cells))
    geometry = spec.geometry((256, 512))
    first, last = geometry.cell_box(0, 0), geometry.cell_box(cells - 1, cells - 1)
    assert (first.x, first.y) == (2 * inset, inset)
    assert (last.x + last.width, last.y + last.height) == (512 - 2 * inset, 256 - inset)


class FakeBackbone:
    """Implements `Backbone`: a cell's patch is the mean colour below it."""

    spec = replace(find_spec("compact"), input_size=(64, 64))
    source: Path | None = None
    precision: Precision = "f32"
    fingerprint = "fake"

    def embed(self, inputs: NDArray[np.uint8]) -> Features:
        cells = inputs.reshape(len(inputs), 8, 8, 8, 8, 3).mean(axis=(2, 4), dtype=np.float32)
        return Features(cells, cells.mean(axis=(1, 2)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photo_stored_lying_comes_out_in_upright_pixels(tmp_path: Path, orientation: int) -> None:
    """A red spot at a known place of an upright picture of 241 x 121 pixels."""
    spot = Box(181, 21, 20, 10)
    upright = Image.new("RGB", (241, 121))
    upright.paste((255, 0, 0), (spot.x, spot.y, spot.x + spot.width, spot.y + spot.height))
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    stored_by = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(stored_by[orientation]) if orientation > 1 else upright
    stored.save(tmp_path / "photo.png", exif=exif)

    (features,) = embed_images(FakeBackbone(), [tmp_path / "photo.png"])
    assert isinstance(features, ImageFeatures)
    assert (features.width, features.height) == (241, 121)
    row, col = np.unravel_index(int(features.patches[..., 0].argmax()), (8, 8))
    box = FakeBackbone.spec.geometry(features.size).cell_box(int(row), int(col))
    assert box.x <= spot.x + spot.width / 2 < box.x + box.width
    assert box.y <= spot.y + spot.height / 2 < box.y + box.height
