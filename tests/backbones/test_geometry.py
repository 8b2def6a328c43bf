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
from backbones.geometry import Box, Geometry
from backbones.networks.build import Graph
from backbones.pipeline import ImageFeatures, embed_files
from backbones.specs import SPECS, find_spec
from tests.backbones.conftest import MakeNetwork

PDN = find_spec("efficientad-small")


def seen(spec: BackboneSpec) -> BackboneSpec:
    """``spec`` with few cells, of which those in the middle do not feel the border."""
    return replace(spec, input_size=spec.stride * (6 if spec.family == "vit" else 16))


IN_PARTS = [
    replace(seen(PDN), name="PDN without padding", padding=False),
    replace(seen(PDN), name="centre of a PDN", crop=96),
    replace(seen(PDN), name="centre of a PDN without padding", crop=96, padding=False),
    replace(seen(find_spec("compact")), name="centre of a CNN", crop=96),
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
    square = np.zeros((spec.input_size, spec.input_size, 3), dtype=np.uint8)
    side = box.width // 2 if spec.family == "patchcore" else box.width
    square[box.y : box.y + side, box.x : box.x + side] = 255
    cut = (spec.input_size - spec.side) // 2
    return square[cut : cut + spec.side, cut : cut + spec.side]


@pytest.mark.parametrize("spec", PATCH_LEVEL, ids=lambda spec: spec.name)
def test_white_square_moved_by_a_stride_moves_the_largest_response_by_a_cell(
    random_network: MakeNetwork, spec: BackboneSpec
) -> None:
    graph = Graph(centred(random_network(spec)), spec)
    first = spec.grid // 2 - 1
    cells = [(first + down, first + right) for down in (0, 1, 2) for right in (0, 1, 2)]
    boxes = [spec.geometry(spec.input_size, spec.input_size).cell_box(*cell) for cell in cells]
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
    grid = draw(st.integers(1, 32))
    inset = draw(st.integers(0, 2 * grid))
    return Geometry(
        width=draw(st.integers(130, 301)),
        height=draw(st.integers(130, 301)),
        rows=grid,
        cols=grid,
        input_size=8 * grid + 2 * inset,
        inset=inset,
    )


@settings(deadline=None, max_examples=40)
@given(geometries())
def test_boxes_of_the_cells_tile_all_but_the_border(geometry: Geometry) -> None:
    covered = np.zeros((geometry.height, geometry.width), dtype=int)
    for row in range(geometry.rows):
        for col in range(geometry.cols):
            box = geometry.cell_box(row, col)
            covered[box.y : box.y + box.height, box.x : box.x + box.width] += 1
    top = geometry.inset * geometry.height // geometry.input_size
    left = geometry.inset * geometry.width // geometry.input_size
    outer = geometry.input_size - geometry.inset
    bottom = outer * geometry.height // geometry.input_size
    right = outer * geometry.width // geometry.input_size
    assert (covered[top:bottom, left:right] == 1).all()
    assert covered.sum() == (bottom - top) * (right - left)


@settings(deadline=None, max_examples=200)
@given(geometries(), st.data())
def test_every_pixel_of_a_cells_box_leads_back_to_the_cell(
    geometry: Geometry, data: st.DataObject
) -> None:
    row, col = (data.draw(st.integers(0, geometry.rows - 1)) for _ in range(2))
    box = geometry.cell_box(row, col)
    x = data.draw(st.integers(box.x, box.x + box.width - 1))
    y = data.draw(st.integers(box.y, box.y + box.height - 1))
    assert geometry.cell_at(x, y) == (row, col)


@pytest.mark.parametrize("spec", PATCH_LEVEL, ids=lambda spec: spec.name)
def test_cells_of_a_wide_odd_picture_lead_back_to_themselves(spec: BackboneSpec) -> None:
    geometry = spec.geometry(641, 479)
    for row in range(spec.grid):
        for col in range(spec.grid):
            box = geometry.cell_box(row, col)
            centre = box.x + box.width / 2, box.y + box.height / 2
            assert geometry.cell_at(*centre) == (row, col)


@pytest.mark.parametrize(
    ("changes", "inset"),
    [
        ({}, 0),
        ({"crop": 224}, 16),
        ({"padding": False}, 16),
        ({"crop": 224, "padding": False}, 32),
    ],
)
def test_first_and_last_cell_lie_where_the_removed_border_ends(
    changes: dict[str, Any], inset: int
) -> None:
    spec = replace(PDN, **changes)
    assert (spec.inset, spec.grid) == (inset, (256 - 2 * inset) // 8)
    geometry = spec.geometry(512, 256)
    first, last = geometry.cell_box(0, 0), geometry.cell_box(spec.grid - 1, spec.grid - 1)
    assert (first.x, first.y) == (2 * inset, inset)
    assert (last.x + last.width, last.y + last.height) == (512 - 2 * inset, 256 - inset)


class FakeBackbone:
    """Implements `Backbone`: a cell's patch is the mean colour below it."""

    spec = replace(find_spec("compact"), input_size=64)
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

    (features,) = embed_files(FakeBackbone(), [tmp_path / "photo.png"])
    assert isinstance(features, ImageFeatures)
    assert (features.width, features.height) == (241, 121)
    row, col = np.unravel_index(int(features.patches[..., 0].argmax()), (8, 8))
    box = FakeBackbone.spec.geometry(features.width, features.height).cell_box(int(row), int(col))
    assert box.x <= spot.x + spot.width / 2 < box.x + box.width
    assert box.y <= spot.y + spot.height / 2 < box.y + box.height
