"""Draws heat maps, and pictures side by side."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from backbones.geometry import Box

Float32 = NDArray[np.float32]
Panel = tuple[Image.Image, str, Box | None]
"""A picture, its caption of two lines, and a box in its pixels to outline."""
PANEL = 360
"""Height of a panel in pixels."""
_MARGIN = 12
_CAPTION = 44
_INK, _PAPER, _MARK = (24, 24, 27), (255, 255, 255), (0, 174, 239)


def overlay(image: Image.Image, values: Float32, *, threshold: float) -> Image.Image:
    """``image`` blended with the heat of ``values`` (height, width), see `heat_colours`."""
    colours, strength = heat_colours(values, threshold=threshold)
    blended = np.asarray(image, dtype=np.float32) * (1 - strength) + colours * strength
    return Image.fromarray(blended.astype(np.uint8))


def heat_layer(values: Float32, *, threshold: float) -> Image.Image:
    """RGBA picture of the heat of ``values`` (height, width), to be laid over the image."""
    colours, strength = heat_colours(values, threshold=threshold)
    return Image.fromarray(np.concatenate([colours, strength * 255], axis=2).astype(np.uint8))


def heat_colours(values: Float32, *, threshold: float) -> tuple[Float32, Float32]:
    """Colours (height, width, 3) from 0 to 255 and strengths (height, width, 1) up to 0.75.

    The colours mean the same for every image of a category: no heat below 0.7 times the threshold,
    full heat from 1.3 times the threshold on.
    """
    # the threshold is zero if the calibration images repeat those of the bank
    heat = np.clip((values / max(threshold, 1e-12) - 0.7) / 0.6, 0.0, 1.0)
    return _palette()[(heat * 255).astype(np.uint8)], (0.75 * np.sqrt(heat))[..., None]


@functools.cache
def _palette() -> NDArray[np.float32]:
    """(256, 3) colours of the perceptually uniform map 'inferno', 0 to 255."""
    from matplotlib import colormaps

    return (colormaps["inferno"](np.linspace(0.15, 1, 256))[:, :3] * 255).astype(np.float32)


def at_panel_height(picture: Image.Image) -> Image.Image:
    """The picture resized to the height of a panel."""
    return picture.resize((max(1, round(picture.width * PANEL / picture.height)), PANEL))


def panels(pictures: Sequence[Panel]) -> Image.Image:
    """The pictures side by side at one height, with captions above and their boxes outlined."""
    font = ImageFont.load_default(size=15)
    scaled = [(at_panel_height(picture), picture) for picture, _, _ in pictures]
    width = sum(s.width for s, _ in scaled) + _MARGIN * (len(scaled) + 1)
    sheet = Image.new("RGB", (width, PANEL + _CAPTION + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)
    left = _MARGIN
    for (small, original), (_, caption, box) in zip(scaled, pictures, strict=True):
        sheet.paste(small, (left, _CAPTION))
        draw.text((left, 6), _fit(caption, small.width, font), fill=_INK, font=font, spacing=3)
        if box is not None:
            scale = PANEL / original.height
            corner = (left + box.x * scale, _CAPTION + box.y * scale)
            far = (corner[0] + box.width * scale, corner[1] + box.height * scale)
            draw.rectangle((*corner, *far), outline=_PAPER, width=5)
            draw.rectangle((*corner, *far), outline=_MARK, width=3)
        left += small.width + _MARGIN
    return sheet


def _fit(caption: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Each line cut to ``width`` pixels, with an ellipsis if something is missing."""
    lines = []
    for line in caption.splitlines():
        cut = line
        while len(cut) > 1 and font.getlength(cut) > width:
            cut = cut[:-2] + "…"
        lines.append(cut)
    return "\n".join(lines)
