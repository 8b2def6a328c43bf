"""Decodes images, from files or memory, to upright 8-bit RGB: the only module that decodes.

Whatever is wrong with an image becomes one line in an `ImageError`, so that one bad file never
stops a batch.
"""

from __future__ import annotations

import hashlib
import io
import re
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base

from backbones.errors import ImageError
from backbones.geometry import Size

IMAGE_SUFFIXES: frozenset[str] = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)
"""Lower-case suffixes by which images are recognised in a folder."""
MAX_PIXELS = 100_000_000
"""Largest number of pixels; a larger file is refused before it is decoded (300 MB as RGB)."""
MIN_SIDE = 8
"""Smallest side in pixels; a smaller image shows nothing to inspect."""
# Only these are tried: others (EPS, PDF, ...) may start programs or misread text files.
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF")
# The filter that silences the warnings of Pillow's modules, in the form `warnings` stores.
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
"""Names of the statistics of `image_quality`, which change with lamp or lens, not with the
product."""


@dataclass(frozen=True, slots=True)
class HashedFile:
    """An image file whose bytes have been hashed already."""

    path: Path
    sha256: str


ImageInput = Path | str | bytes | Image.Image | NDArray[np.uint8] | NDArray[np.uint16] | HashedFile
"""An image: a file, its bytes, or pixels (H, W, 3) or (H, W); 16-bit values are divided by 257."""


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """An upright image, its full size, and the hash that identifies it.

    Attributes:
        path: the file; ``<bytes>``, ``<image>`` or ``<array>`` for an image in memory.
        pixels: mode RGB, 8 bits per channel, upright; smaller than the file's image if a
            ``size_hint`` allowed it.
        width, height: size of the full upright image, in pixels.
        sha256: hex digest of the file's bytes; for pixels in memory, of their size and RGB values.
    """

    path: Path
    pixels: Image.Image
    width: int
    height: int
    sha256: str


def load_image(image: ImageInput, *, size_hint: Size | None = None) -> LoadedImage:
    """Decode an image, the first in a file, upright and as 8-bit RGB.

    - Grey of 16 bits, and 32-bit integers within 0..65535, are divided by 257; floats are
      taken as 0..1. The scale never depends on the picture, so images stay comparable.
    - Transparent pixels become black: content that an editor left hidden in them must not count,
      and most cut-outs are black there, so that other tools see the same image.

    Args:
        image: a file, its bytes, a PIL image, or an array.
        size_hint: height and width in pixels to which the image will be resized. A JPEG is then
            decoded at 1/2, 1/4 or 1/8 of its size while both sides stay at least twice the longer
            of the two.

    Raises:
        ImageError: one line without the path, whatever is wrong with the image.
    """
    _silence_pillow()
    try:
        match image:
            case np.ndarray():
                return _of_pixels(path_of(image), _from_array(image))
            case Image.Image():
                _check_size(*image.size)
                return _of_pixels(path_of(image), _upright(_to_rgb(image), _orientation(image)))
            case bytes():
                digest = hashlib.sha256(image).hexdigest()
                return _decode(path_of(image), io.BytesIO(image), digest, size_hint)
            case HashedFile():
                with _opened(image.path) as stream:
                    return _decode(image.path, stream, image.sha256, size_hint)
            case str() | Path():
                path = path_of(image)
                with _opened(path) as stream:
                    digest = hashlib.file_digest(stream, "sha256").hexdigest()
                    stream.seek(0)
                    return _decode(path, stream, digest, size_hint)
    except ImageError:
        raise
    except Image.DecompressionBombError:
        raise ImageError(_too_large("far more pixels")) from None
    except UnidentifiedImageError:
        raise ImageError(
            "expected an image, got a file that no reader recognises (damaged, cut short, or "
            f"another format); readable are {', '.join(_FORMATS)}"
        ) from None
    except Exception as error:  # Pillow's readers raise errors of any kind, even KeyError
        raise ImageError(_explain(error)) from error
    raise ImageError(
        "expected a path, bytes, a PIL image, or an array (H, W, 3) or (H, W) of uint8 or uint16, "
        f"got {type(image).__name__}"
    )


def path_of(image: ImageInput) -> Path:
    """The file of an image; ``<bytes>``, ``<image>`` or ``<array>`` for an image in memory."""
    match image:
        case HashedFile():
            return image.path
        case str() | Path():
            return Path(image)
        case bytes():
            return Path("<bytes>")
        case Image.Image():
            return Path("<image>")
        case np.ndarray():
            return Path("<array>")
    return Path(f"<{type(image).__name__}>")


def hash_file(path: Path) -> HashedFile:
    """Hash an image file; ImageError, one line without the path, if it cannot be read."""
    try:
        with _opened(path) as stream:
            return HashedFile(path, hashlib.file_digest(stream, "sha256").hexdigest())
    except OSError as error:
        raise ImageError(_explain(error)) from error


def _decode(
    path: Path, stream: io.BufferedReader | io.BytesIO, sha256: str, size_hint: Size | None
) -> LoadedImage:
    with Image.open(stream, formats=_FORMATS) as image:
        width, height = image.size
        _check_size(width, height)
        if size_hint is not None:
            side = 2 * max(size_hint)  # the file may lie on its side
            image.draft(None, (side, side))
        image.load()
        turn = _orientation(image)  # after loading, because Pillow rotates TIFF files itself
        pixels = _upright(_to_rgb(image), turn)
    if turn >= 5:
        width, height = height, width
    return LoadedImage(path, pixels, width, height, sha256)


def _of_pixels(path: Path, pixels: Image.Image) -> LoadedImage:
    sha256 = hashlib.sha256(repr(pixels.size).encode() + pixels.tobytes()).hexdigest()
    return LoadedImage(path, pixels, *pixels.size, sha256)


def _from_array(array: NDArray[Any]) -> Image.Image:
    shape_fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
    if not shape_fits or array.dtype not in (np.uint8, np.uint16):
        raise ImageError(
            "expected an array (H, W, 3) or (H, W) of uint8 or uint16, got "
            f"{array.dtype} {array.shape}"
        )
    _check_size(array.shape[1], array.shape[0])
    values = _to_8bit(array) if array.dtype == np.uint16 else array
    return Image.fromarray(np.ascontiguousarray(values)).convert("RGB")


def _upright(pixels: Image.Image, orientation: int) -> Image.Image:
    return pixels if orientation == 1 else pixels.transpose(_TURNS[orientation])


def image_quality(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean grey level and log variance of the Laplacian, (2,) float32, of an input (H, W, 3).

    The grey level is in [0, 255]. The variance of the Laplacian is the focus measure of
    Pech-Pacheco et al. (2000).
    """
    grey = pixels.astype(np.float32).mean(axis=2)
    sides = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    sharpness = np.log(np.var(sides - 4 * grey[1:-1, 1:-1]) + 1e-6)
    return np.array([grey.mean(), sharpness], np.float32)


def _silence_pillow() -> None:
    """Silence Pillow's warnings about odd files: they name no file and stop nothing.

    `warnings.catch_warnings` swaps state that all threads share, so that threads would restore each
    other's filters; a permanent filter for Pillow's modules has no such race.
    """
    if list(warnings.filters[:1]) != [_QUIET]:
        warnings.filterwarnings("ignore", module=_QUIET[3].pattern)


@contextmanager
def _opened(path: Path) -> Iterator[io.BufferedReader]:
    """The file, opened for reading after a check that it is one: opening a pipe would block."""
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise ImageError("expected an image file, got a folder")
    if not stat.S_ISREG(status.st_mode):
        raise ImageError("expected an image file, got a device, pipe or socket")
    if status.st_size == 0:
        raise ImageError("the file is empty (0 bytes); write it again")
    with path.open("rb") as stream:
        yield stream


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
    """The EXIF orientation 1 (upright) to 8; 1 if none can be read."""
    try:
        value = image.getexif().get(Base.Orientation, 1)
    except Exception:  # a damaged EXIF block does not harm the pixels
        return 1
    return value if value in _TURNS else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    """A copy in mode RGB that no longer needs the file."""
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_to_8bit(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        black = Image.new("RGBA", layer.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, layer).convert("RGB")
    return image.convert("RGB")


def _to_8bit(deep: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Scale values of 16-bit, 32-bit integer or float type to uint8 of the same shape."""
    top = 1.0 if deep.dtype.kind == "f" else 65535.0
    values = deep.astype(np.float64)
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
