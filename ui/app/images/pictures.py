"""Image files as the app shows them: small, cached on disk, never larger than a page needs."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
from pathlib import Path

from PIL import Image, ImageDraw
from platformdirs import user_cache_path

from backbones.decode import load_image
from backbones.errors import ImageError
from backbones.geometry import Box
from indexer.scoring.anomaly_map import anomaly_map, heat_layer
from search.prediction import Evidence, Prediction

THUMBNAIL = 192
SHOWN = 900
"""Longest side in pixels of the picture on Inspect."""
_AROUND = 3.0
"""A patch is shown with this many times its side around it."""


def thumbnail(path: Path) -> bytes:
    """JPEG of at most `THUMBNAIL` pixels a side, made once and kept until the file changes.

    Raises:
        ImageError: the file cannot be read.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise ImageError("there is no such file") from error
    seen = f"{path}\n{status.st_size}\n{status.st_mtime_ns}\n{THUMBNAIL}"
    name = hashlib.sha256(seen.encode()).hexdigest()
    cached = user_cache_path("vecspect") / "thumbnails" / name[:2] / f"{name}.jpg"
    try:
        return cached.read_bytes()
    except OSError:
        made = _jpeg(_at_most(load_image(path, size_hint=THUMBNAIL).pixels, THUMBNAIL))
    with contextlib.suppress(OSError):  # a cache that cannot be written only costs time
        cached.parent.mkdir(parents=True, exist_ok=True)
        partial = cached.with_suffix(".partial")
        partial.write_bytes(made)
        partial.replace(cached)
    return made


def picture(path: Path) -> bytes:
    """JPEG of at most `SHOWN` pixels a side; ImageError if the file cannot be read."""
    return _jpeg(_at_most(load_image(path, size_hint=SHOWN).pixels, SHOWN), quality=90)


def heat(prediction: Prediction) -> bytes:
    """PNG of the heat alone, transparent where the map is cool, as large as `picture`."""
    scale = min(1.0, SHOWN / 2 / max(prediction.width, prediction.height))
    values = anomaly_map(
        prediction.distances,
        input_size=prediction.input_size,
        width=max(1, round(prediction.width * scale)),
        height=max(1, round(prediction.height * scale)),
        inset=prediction.inset,
    )
    stream = io.BytesIO()
    heat_layer(values, threshold=prediction.map_threshold).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def patch_pair(query: Path, normal: Path | None, evidence: Evidence) -> tuple[Image.Image, ...]:
    """The query's patch and its nearest normal one at the same scale, each outlined.

    Without the normal image's file, or if it cannot be read, the first alone.
    """
    pictures = [_around(query, evidence.query_box)]
    if normal is not None:
        with contextlib.suppress(ImageError):
            pictures.append(_around(normal, evidence.box))
    return tuple(pictures)


def around(path: Path, box: Box) -> bytes:
    """JPEG of the neighbourhood of ``box``, which is outlined; ImageError if it cannot be read."""
    return _jpeg(_at_most(_around(path, box, beside=0.5), THUMBNAIL))


def data_uri(picture: bytes) -> str:
    """A JPEG or PNG as text that a page can show."""
    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"


def _around(path: Path, box: Box, beside: float = _AROUND) -> Image.Image:
    """(360, 360) of ``box`` and ``beside`` times its side; outside the image it is grey."""
    pixels = load_image(path).pixels
    side = max(box.width, box.height) * (1 + 2 * beside)
    left = box.x + box.width / 2 - side / 2
    top = box.y + box.height / 2 - side / 2
    area = (left, top, left + side, top + side)
    scale = 360 / side
    cut = pixels.transform(
        (360, 360), Image.Transform.EXTENT, area, Image.Resampling.BICUBIC, fillcolor=(128,) * 3
    )
    corner = ((box.x - left) * scale, (box.y - top) * scale)
    far = (corner[0] + box.width * scale, corner[1] + box.height * scale)
    draw = ImageDraw.Draw(cut)
    draw.rectangle((*corner, *far), outline=(255, 255, 255), width=5)
    draw.rectangle((*corner, *far), outline=(0, 174, 239), width=3)
    return cut


def _at_most(pixels: Image.Image, side: int) -> Image.Image:
    pixels.thumbnail((side, side), Image.Resampling.LANCZOS)
    return pixels


def _jpeg(pixels: Image.Image, quality: int = 82) -> bytes:
    stream = io.BytesIO()
    pixels.save(stream, "JPEG", quality=quality)
    return stream.getvalue()
