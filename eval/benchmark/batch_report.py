"""A batch of verdicts as one self-contained page, for a colleague or the file."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from eval.benchmark.report import TEMPLATES


def batch_report(
    name: str,
    category: str,
    results: Sequence[Mapping[str, Any]],
    pictures: Mapping[str, Image.Image],
) -> str:
    """The page: counts, the pictures, and a row an image, highest score first.

    Args:
        results: as of `Prediction.to_dict`, or ``path`` and ``error`` of what cannot be read.
        pictures: by path, as of `Inspector.explain`.
    """
    scored = sorted((r for r in results if "error" not in r), key=lambda r: -r["score"])
    return TEMPLATES.get_template("batch.html.j2").render(
        name=name,
        category=category,
        counts=Counter(r["verdict"] for r in scored),
        scored=scored,
        unreadable=[r for r in results if "error" in r],
        pictures={path: _data_uri(picture) for path, picture in pictures.items()},
    )


def _data_uri(picture: Image.Image) -> str:
    stream = io.BytesIO()
    picture.convert("RGB").save(stream, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
