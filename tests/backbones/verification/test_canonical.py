"""The canonical vectors, and the picture that they are of."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from backbones.errors import BackboneError
from backbones.registry import load_backbone
from backbones.specs import SPECS
from backbones.verification import canonical
from backbones.verification.canonical import (
    CANONICAL,
    PICTURE,
    draw_picture,
    patches_of_picture,
)


def test_picture_is_the_one_that_is_drawn() -> None:
    with Image.open(PICTURE) as committed:
        np.testing.assert_array_equal(np.asarray(committed), np.asarray(draw_picture()))


def test_canonical_vectors_are_ten_numbers_of_known_networks() -> None:
    names = {spec.name for spec in SPECS}
    for name, known in CANONICAL.items():
        assert name in names
        assert len(known.vector) == 10
        assert known.weights


def test_missing_picture_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canonical, "PICTURE", PICTURE.with_name("gone.png"))
    with pytest.raises(BackboneError, match=r"gone\.png: there is no such file"):
        patches_of_picture(load_backbone("compact"))
