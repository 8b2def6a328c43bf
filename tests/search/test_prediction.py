from __future__ import annotations

import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backbones.decode import ImageInput, LoadedImage, load_image
from backbones.geometry import Box
from indexer.scoring.anomaly_map import anomaly_map
from search.inspector import Inspector
from tests.indexer.world import queries_of
from tests.search.queries import write_spotted


def test_prediction_is_strict_json_with_exactly_the_documented_keys(
    inspector: Inspector, dataset: Path
) -> None:
    predictions = (inspector.inspect(path) for path in queries_of(dataset))
    rejected = next(found for found in predictions if found.verdict == "reject")
    path, fields = rejected.path, rejected.to_dict()
    assert json.loads(json.dumps(fields, allow_nan=False)) == fields
    shape: dict[str, type] = {name: type(value) for name, value in fields.items()}
    assert shape == {
        "path": str,
        "category": str,
        "backbone": str,
        "score": float,
        "p_value": float,
        "verdict": str,
        "threshold": float,
        "map_threshold": float,
        "box": list,
        "evidence": dict,
        "revision": int,
        "seen_before": dict,
    }
    assert {name: type(value) for name, value in fields["evidence"].items()} == {
        "query_cell": list,
        "query_box": list,
        "image_id": str,
        "path": str,
        "cell": list,
        "box": list,
        "distance": float,
    }
    assert fields["path"] == str(path)
    assert [fields["category"], fields["backbone"], fields["revision"]] == ["grid", "compact", 1]


def test_map_and_distances_are_those_of_what_was_scored_in_pixels_of_the_photo(
    inspector: Inspector, dataset: Path, tmp_path: Path
) -> None:
    spot = Box(10, 20, 30, 24)
    photo = write_spotted(tmp_path / "spotted.png", queries_of(dataset)[0], spot)
    prediction = inspector.inspect(photo)
    assert (prediction.height, prediction.width) == (120, 240)
    assert prediction.distances is prediction.scored.distances
    assert prediction.score == prediction.distances.max()
    heat = prediction.anomaly_map()
    assert heat.shape == (120, 240)
    assert heat.dtype == np.float32
    np.testing.assert_array_equal(heat, anomaly_map(prediction.distances, prediction.geometry))
    row, col = np.unravel_index(int(heat.argmax()), heat.shape)
    assert spot.x - 8 <= col <= spot.x + spot.width + 8
    assert spot.y - 8 <= row <= spot.y + spot.height + 8


def test_explaining_a_large_photo_takes_no_map_of_its_size(
    inspector: Inspector, dataset: Path, tmp_path: Path
) -> None:
    photo = tmp_path / "wide.png"
    with Image.open(queries_of(dataset)[-1]) as query:
        query.resize((6000, 2000)).save(photo, compress_level=1)
    prediction = inspector.inspect(photo)
    tracemalloc.start()
    shown = prediction.explain()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert shown.width > 2 * 1080, "the photo and its heat map, three times as wide as high"
    file_size = photo.stat().st_size
    assert peak - file_size < 4 * 6000 * 2000, "no room for a single float32 map of the photo"


def test_what_is_recorded_of_a_prediction_is_what_it_says(
    inspector: Inspector, dataset: Path
) -> None:
    prediction = inspector.inspect(queries_of(dataset)[-1])
    recorded = prediction.inspected()
    for name in ("revision", "score", "p_value", "verdict"):
        assert getattr(recorded, name) == getattr(prediction, name)
    np.testing.assert_array_equal(recorded.quality, prediction.quality)


def test_frame_is_scored_like_the_file_that_holds_it_and_shows_its_picture(
    inspector: Inspector, dataset: Path
) -> None:
    path = queries_of(dataset)[-1]
    with Image.open(path) as opened:
        frames: dict[str, ImageInput] = {"<image>": opened.copy(), "<array>": np.asarray(opened)}
    frames["<bytes>"] = path.read_bytes()
    expected = inspector.inspect(path)
    for name, frame in frames.items():
        prediction = inspector.inspect(frame)
        assert prediction.to_dict() | {"path": str(path)} == expected.to_dict()
        assert prediction.to_dict()["path"] == name
        shown = Image.open(io.BytesIO(prediction._repr_png_()))
        assert shown.format == "PNG"
        assert shown.size == prediction.explain().size


def test_repr_fits_a_line_and_says_verdict_score_and_file(
    inspector: Inspector, dataset: Path
) -> None:
    prediction = inspector.inspect(queries_of(dataset)[-1])
    told = repr(prediction)
    assert len(told) < 120
    for said in (prediction.verdict, f"{prediction.score:.4g}", prediction.path.name, "grid"):
        assert said in told


def test_image_is_decoded_hashed_and_embedded_once_however_much_is_asked(
    inspector: Inspector, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prediction = inspector.inspect(queries_of(dataset)[-1])  # everything else is at hand
    decoded: list[ImageInput] = []

    def load(image: ImageInput, **options: Any) -> LoadedImage:
        decoded.append(image)
        return load_image(image, **options)

    monkeypatch.setattr("backbones.pipeline.load_image", load)
    features = inspector.features(prediction.path)
    again = inspector.inspect(features)
    assert again.to_dict() == prediction.to_dict()
    of_features, of_file = (
        [found.image_id for found in inspector.similar(image, by="defect")]
        for image in (features, prediction.path)
    )
    assert of_features == of_file
    inspector.evidence(again, 0, 0)
    assert decoded == [prediction.path] * 2, "once for the features, once for the plain path"
