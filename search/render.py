"""One picture that says why."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from PIL import Image

from backbones.decode import load_image
from backbones.errors import ImageError
from backbones.geometry import Box
from indexer.scoring.anomaly_map import overlay, panels
from search.prediction import Prediction


def explanation(prediction: Prediction, level: Literal["patch", "image"]) -> Image.Image:
    """Image, heat map with the worst region outlined, and the nearest normal patch's image.

    Of an image-level backbone, the image and the nearest normal one.
    """
    image = _upright(prediction.path, prediction)
    evidence = prediction.evidence
    title = f"{prediction.verdict}  score {prediction.score:.3g}  p {prediction.p_value:.2g}"
    pictures: list[tuple[Image.Image, str, Box | None]] = [
        (image, f"{prediction.path.name}\n{title}", evidence.query_box)
    ]
    if level == "patch":
        heat = overlay(image, prediction.anomaly_map(), threshold=prediction.map_threshold)
        caption = f"heat map, worst region\nthreshold {prediction.map_threshold:.3g}"
        pictures.append((heat, caption, prediction.box))
    try:
        normal = load_image(Path(evidence.path)).pixels
        name = Path(evidence.path).name
        pictures.append(
            (
                normal,
                f"nearest normal {level}\n{name}  distance {evidence.distance:.3g}",
                evidence.box,
            )
        )
    except ImageError as error:
        missing = Image.new("RGB", image.size, (228, 228, 231))
        pictures.append((missing, f"nearest normal image not readable\n{error}", None))
    return panels(pictures)


def _upright(path: Path, prediction: Prediction) -> Image.Image:
    try:
        pixels = load_image(path).pixels
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error
    if pixels.size != (prediction.width, prediction.height):
        raise ImageError(f"{path}: changed since it was scored")
    return pixels
