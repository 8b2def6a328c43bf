from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from backbones.errors import BackboneError
from backbones.geometry import Geometry
from backbones.specs import find_spec

CNN, PDN, VGG = (find_spec(name) for name in ("compact", "efficientad-small", "vgg16"))


def test_cells_of_a_wide_input_are_rows_and_columns() -> None:
    spec = replace(CNN, input_size=(64, 96))
    assert (spec.shape, spec.inset, spec.grid) == ((64, 96), (0, 0), (8, 12))
    assert spec.patches == "8x12x384"
    assert spec.geometry((640, 480)) == Geometry((640, 480), (8, 12), (64, 96), (0, 0))


def test_crop_and_unpadded_border_add_up_in_each_direction() -> None:
    spec = replace(PDN, input_size=(128, 192), crop=(96, 176), padding=False)
    assert (spec.shape, spec.inset, spec.grid) == ((96, 176), (32, 24), (8, 18))
    assert spec.geometry((128, 192)).inset == (32, 24)


def test_image_level_backbone_has_one_cell_whatever_its_input() -> None:
    assert replace(VGG, input_size=(64, 96)).grid == (1, 1)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"input_size": (64, 100)}, "multiple of 8 px, got 64 x 100. Try --input-size 64 x 96."),
        ({"input_size": (60, 96)}, "multiple of 8 px, got 60 x 96. Try --input-size 64 x 96."),
        ({"input_size": (0, 96)}, "multiple of 8 px, got 0 x 96. Try --input-size 8 x 96."),
        ({"crop": (224, 300)}, "--crop 224 x 300 does not lie within the input of 256 px."),
        ({"crop": (223, 224)}, "--crop 223 x 224 has no centre in 256 px."),
    ],
)
def test_either_side_that_cannot_be_is_refused(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(BackboneError) as caught:
        replace(CNN, **changes)
    assert line in str(caught.value)
