"""Image files as the app shows them, and those that come through the browser.

Shown ones are small, cached on disk, never larger than a page needs; uploads are checked by their
content, then kept as files.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import re
from dataclasses import replace
from pathlib import Path

from PIL import Image, ImageDraw
from platformdirs import user_cache_path

from backbones.decode import IMAGE_SUFFIXES, load_image
from backbones.errors import ImageError
from backbones.geometry import Box
from indexer.scoring.anomaly_map import anomaly_map
from search.prediction import Evidence, Prediction
from search.render import heat_layer
from ui.settings import MOST_UPLOADED

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
        made = _shrunk(path, THUMBNAIL)
    with contextlib.suppress(OSError):  # a cache that cannot be written only costs time
        cached.parent.mkdir(parents=True, exist_ok=True)
        partial = cached.with_suffix(".partial")
        partial.write_bytes(made)
        partial.replace(cached)
    return made


def picture(path: Path) -> bytes:
    """JPEG of at most `SHOWN` pixels a side; ImageError if the file cannot be read."""
    return _shrunk(path, SHOWN, quality=90)


def heat(prediction: Prediction) -> bytes:
    """PNG of only the heat, transparent where the map is cool, as large as `picture`."""
    scale = min(1.0, SHOWN / 2 / max(prediction.width, prediction.height))
    height, width = (max(1, round(side * scale)) for side in prediction.geometry.image)
    values = anomaly_map(prediction.distances, replace(prediction.geometry, image=(height, width)))
    stream = io.BytesIO()
    heat_layer(values, threshold=prediction.map_threshold).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def patch_pair(query: Path, normal: Path | None, evidence: Evidence) -> tuple[Image.Image, ...]:
    """The query's patch and its nearest normal one at the same scale, each outlined.

    Only the query's if the file of the normal image is missing or cannot be read.
    """
    shown = _around(query, evidence.query_box)
    with contextlib.suppress(ImageError):
        if normal:
            return shown, _around(normal, evidence.box)
    return (shown,)


def around(path: Path, box: Box) -> bytes:
    """JPEG of the neighbourhood of ``box``, which is outlined; ImageError if it cannot be read."""
    return _jpeg(_around(path, box, beside=0.5), THUMBNAIL)


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
    x, y = (box.x - left) * scale, (box.y - top) * scale
    corners = (x, y, x + box.width * scale, y + box.height * scale)
    draw = ImageDraw.Draw(cut)
    draw.rectangle(corners, outline=(255, 255, 255), width=5)
    draw.rectangle(corners, outline=(0, 174, 239), width=3)
    return cut


def _shrunk(path: Path, side: int, quality: int = 82) -> bytes:
    return _jpeg(load_image(path, size_hint=(side, side)).pixels, side, quality)


def _jpeg(pixels: Image.Image, side: int, quality: int = 82) -> bytes:
    pixels.thumbnail((side, side), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    pixels.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


MOST_FILES = 500
"""Files of one upload."""


class Uploads:
    """Uploaded pictures below ``folder``, each under its name and a part of its hash.

    They have to stay: an image that is taught is one that the library points to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().absolute().resolve()

    def keep(self, name: str, data: bytes) -> Path:
        """Write the picture and return its path; the same bytes under one name are kept once.

        Raises:
            ImageError: too large, or not an image that can be read; nothing is kept.
        """
        if len(data) > MOST_UPLOADED:
            raise ImageError(
                f"expected at most {MOST_UPLOADED >> 20} MiB, got {len(data) / 2**20:.0f}; "
                "reduce it"
            )
        stem = re.sub(r"[^A-Za-z0-9._-]+", "_", Path(name).stem)[:64].lstrip(".") or "image"
        suffix = Path(name).suffix.lower()
        suffix = suffix if suffix in IMAGE_SUFFIXES else ".png"
        path = self.folder / f"{stem}-{hashlib.sha256(data).hexdigest()[:8]}{suffix}"
        if path.is_file():
            return path
        partial = path.with_name(path.name + ".partial")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(data)
        except OSError as error:
            raise ImageError(
                f"expected to keep it in {self.folder}, got {error.strerror}; make that folder "
                "writable or set VECSPECT_UI_FOLDER"
            ) from error
        try:
            load_image(partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        return path
