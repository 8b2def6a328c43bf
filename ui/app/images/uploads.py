"""Pictures that come through the browser: checked by their content, then kept as files."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from backbones.decode import IMAGE_SUFFIXES, load_image
from backbones.errors import ImageError

MOST_BYTES = 50 << 20
"""Bytes of one upload."""
MOST_FILES = 500
"""Files of one upload."""


class Uploads:
    """Keeps uploaded pictures below ``folder``, each under its name and a part of its hash.

    They have to stay: an image that is taught is one that the library points to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().absolute().resolve()

    def keep(self, name: str, data: bytes) -> Path:
        """Write the picture and return its path; the same bytes under one name are kept once.

        Raises:
            ImageError: too large, or not an image that can be read; nothing is kept.
        """
        if len(data) > MOST_BYTES:
            raise ImageError(
                f"expected at most {MOST_BYTES >> 20} MiB, got {len(data) / 2**20:.0f}; reduce it"
            )
        stem = re.sub(r"[^A-Za-z0-9._-]+", "_", Path(name).stem)[:64].lstrip(".") or "image"
        suffix = Path(name).suffix.lower()
        suffix = suffix if suffix in IMAGE_SUFFIXES else ".png"
        path = self.folder / f"{stem}-{hashlib.sha256(data).hexdigest()[:8]}{suffix}"
        if path.is_file():
            return path
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        partial.write_bytes(data)
        try:
            load_image(partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        return path
