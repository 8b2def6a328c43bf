"""Image files to upright 8-bit RGB images: the only place that decodes.

Every way in which a file can be wrong becomes one line in an `ImageError`, so that one bad
file never stops a batch.
"""

from __future__ import annotations

import re
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base

from backbones.errors import ImageError
from backbones.geometry import Size

IMAGE_SUFFIXES: frozenset[str] = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)
"""Lower-case endings by which an image is recognised when a folder is walked."""
MAX_PIXELS = 100_000_000
"""Pixels above which a file is refused before it is decoded (300 MB as RGB)."""
MIN_SIDE = 8
"""Pixels that each side must have; a smaller image holds nothing to inspect."""
# Only these are tried: others (EPS, PDF, ...) may start programs or be mistaken for text.
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF")
# The filter that keeps the warnings of Pillow's modules to itself, as `warnings` stores it.
_QUIET = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
QUALITY_STATISTICS = ("brightness", "sharpness")
"""What `image_quality` measures: what moves when a lamp or a lens does, whatever an image shows."""


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """An upright image and the size it has on disk.

    Attributes:
        pixels: mode RGB, 8 bits a channel, upright; smaller than the file's image where a
            ``size_hint`` allowed it.
        width, height: of the full upright image, in pixels.
    """

    pixels: Image.Image
    width: int
    height: int


def load_image(path: Path, *, size_hint: Size | None = None) -> LoadedImage:
    """Decode the (first) image in a file, upright and as 8-bit RGB.

    - Grey of 16 bits, and 32-bit integers within 0..65535, are divided by 257; floats are
      taken as 0..1. The scale never depends on the picture, so images stay comparable.
    - Transparent pixels are laid on black: what an editor left hidden below them must not
      count, and black is what most cut-outs hold there, so other tools see the same image.

    Args:
        path: the file.
        size_hint: height and width in pixels that the image is going to be resized to. A JPEG is
            then decoded at 1/2, 1/4 or 1/8 of its size while both sides stay at least twice the
            longer of the two.

    Raises:
        ImageError: one line without the path, whatever is wrong with the file.
    """
    _silence_pillow()
    try:
        _check_file(path)
        with path.open("rb") as stream, Image.open(stream, formats=_FORMATS) as image:
            width, height = image.size
            _check_size(width, height)
            if size_hint is not None:
                side = 2 * max(size_hint)  # the file may lie on its side
                image.draft(None, (side, side))
            image.load()
            turn = _orientation(image)  # after load: TIFF files are turned by Pillow itself
            pixels = _to_rgb(image)
    except ImageError:
        raise
    except Image.DecompressionBombError:
        raise ImageError(_too_large("far more pixels")) from None
    except UnidentifiedImageError:
        raise ImageError(
            "expected an image, got a file that no reader recognises (damaged, cut short, or "
            f"another format); readable are {', '.join(_FORMATS)}"
        ) from None
    except Exception as error:  # Pillow's readers raise anything, down to KeyError
        raise ImageError(_explain(error)) from error

    if turn in _TURNS:
        pixels = pixels.transpose(_TURNS[turn])
        width, height = (height, width) if turn >= 5 else (width, height)
    return LoadedImage(pixels=pixels, width=width, height=height)


def image_quality(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(2,) float32 of a network's input (H, W, 3): mean grey level and log variance of Laplacian.

    The grey level is in [0, 255]. The variance of the Laplacian is the focus measure of
    Pech-Pacheco et al. (2000).
    """
    grey = pixels.astype(np.float32).mean(axis=2)
    sides = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    sharpness = np.log(np.var(sides - 4 * grey[1:-1, 1:-1]) + 1e-6)
    return np.array([grey.mean(), sharpness], np.float32)


def _silence_pillow() -> None:
    """Keep Pillow's warnings about odd files to itself: they name no file and stop nothing.

    `warnings.catch_warnings` swaps state that all threads share, so threads would restore each
    other's filters; a filter that stays, for Pillow's modules only, has no such race.
    """
    if list(warnings.filters[:1]) != [_QUIET]:
        warnings.filterwarnings("ignore", module=_QUIET[3].pattern)


def _check_file(path: Path) -> None:
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise ImageError("expected an image file, got a folder")
    if not stat.S_ISREG(status.st_mode):
        raise ImageError("expected an image file, got a device, pipe or socket")
    if status.st_size == 0:
        raise ImageError("the file is empty (0 bytes); write it again")


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError(_too_large(f"{width} x {height}"))
    if min(width, height) < MIN_SIDE:
        raise ImageError(
            f"expected at least {MIN_SIDE} x {MIN_SIDE} pixels, got {width} x {height}"
        )


def _too_large(came: str) -> str:
    limit = MAX_PIXELS // 1_000_000
    return f"expected at most {limit} megapixels, got {came}; crop or reduce it"


def _orientation(image: Image.Image) -> int:
    """Read the EXIF orientation 1..8; 1 (upright) where there is none that can be read."""
    try:
        value = image.getexif().get(Base.Orientation, 1)
    except Exception:  # a damaged EXIF block leaves the pixels as good as they were
        return 1
    return value if isinstance(value, int) else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    """Return a copy in mode RGB that no longer needs the file."""
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_grey_to_8bit(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        black = Image.new("RGBA", layer.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, layer).convert("RGB")
    return image.convert("RGB")


def _grey_to_8bit(grey: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Scale (H, W) grey values of 16-bit, 32-bit integer or float type to (H, W) uint8."""
    top = 1.0 if grey.dtype.kind == "f" else 65535.0
    values = grey.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= top):  # NaN fails both
        raise ImageError(
            f"expected 32-bit grey values within 0..{top:g}, got {low:g}..{high:g}; "
            "save it with 8 or 16 bits"
        )
    return np.rint(values * (255 / top)).astype(np.uint8)


def _explain(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, PermissionError):
        return "no permission to read the file"
    if isinstance(error, MemoryError):
        return "not enough memory to decode it"
    reason = " ".join(str(error).split()) or type(error).__name__
    return f"the image is damaged or cut short and cannot be decoded ({reason})"
