from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from backbones import pipeline
from backbones.base import Features, Precision
from backbones.decode import HashedFile, LoadedImage, image_quality, load_image
from backbones.errors import ImageError
from backbones.geometry import Size, to_input
from backbones.pipeline import ImageFeatures, Skipped, embed_image, embed_images
from backbones.registry import load_backbone
from backbones.specs import find_spec


class FakeBackbone:
    """Implements `Backbone`: an image's only patch is its mean colour, its embedding the same."""

    spec = replace(find_spec("compact"), input_size=(16, 16))
    large = replace(spec, input_size=(256, 256))
    source: Path | None = None
    precision: Precision = "f32"
    fingerprint = "fake"

    def __init__(self, on_embed: Callable[[int], None] = lambda count: None) -> None:
        self.batches: list[int] = []
        self._on_embed = on_embed

    def embed(self, inputs: NDArray[np.uint8]) -> Features:
        self.batches.append(len(inputs))
        self._on_embed(len(inputs))
        colours = inputs.mean(axis=(1, 2), dtype=np.float32)
        return Features(patches=colours[:, None, None, :], images=colours)


def write_images(folder: Path, count: int) -> list[Path]:
    """Plain images whose red channel tells their number."""
    paths = [folder / f"{number:03d}.png" for number in range(count)]
    for number, path in enumerate(paths):
        Image.new("RGB", (20 + number, 30), (number, 0, 0)).save(path)
    return paths


def test_quality_is_that_of_the_networks_input(tmp_path: Path) -> None:
    for path, features in zip(
        write_images(tmp_path, 3),
        embed_images(FakeBackbone(), write_images(tmp_path, 3)),
        strict=True,
    ):
        assert isinstance(features, ImageFeatures)
        pixels = to_input(load_image(path).pixels, FakeBackbone.spec.input_size)
        assert features.quality.tolist() == image_quality(pixels).tolist()


def test_images_of_any_shape_come_in_the_height_and_width_of_the_spec(tmp_path: Path) -> None:
    class Wide(FakeBackbone):
        spec = replace(FakeBackbone.spec, input_size=(16, 24))

        def embed(self, inputs: NDArray[np.uint8]) -> Features:
            assert inputs.shape[1:] == (16, 24, 3)
            return super().embed(inputs)

    for features in embed_images(Wide(), write_images(tmp_path, 3)):
        assert isinstance(features, ImageFeatures)
        assert features.size == (30, features.width) == (features.height, features.width)


def test_features_come_in_the_order_of_the_files_with_the_skipped_among_them(
    tmp_path: Path,
) -> None:
    paths = write_images(tmp_path, 11)
    bad = {0, 3, 4, 10}
    for number in bad:
        paths[number].write_bytes(b"" if number == 0 else b"no image")
    outcomes = list(embed_images(FakeBackbone(), paths, batch=3))
    assert [outcome.path for outcome in outcomes] == paths
    for number, outcome in enumerate(outcomes):
        if number in bad:
            assert isinstance(outcome, Skipped)
            assert outcome.reason
            assert "\n" not in outcome.reason
        else:
            assert isinstance(outcome, ImageFeatures)
            assert outcome.image[0] == outcome.patches[0, 0, 0] == number
            assert (outcome.width, outcome.height) == (20 + number, 30)


def test_skipped_files_do_not_shrink_the_batches(tmp_path: Path) -> None:
    paths = write_images(tmp_path, 8)
    paths[1].unlink()
    paths[2].unlink()
    backbone = FakeBackbone()
    assert len(list(embed_images(backbone, paths, batch=3))) == 8
    assert backbone.batches == [3, 3]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 6, 7])
def test_every_file_comes_out_once_whatever_the_batch(tmp_path: Path, count: int) -> None:
    paths = write_images(tmp_path, count)
    assert [outcome.path for outcome in embed_images(FakeBackbone(), paths, batch=3)] == paths


def test_only_bad_files_are_all_skipped_without_a_batch(tmp_path: Path) -> None:
    backbone = FakeBackbone()
    outcomes = list(embed_images(backbone, [tmp_path / "a.png", tmp_path / "b.png"]))
    assert [type(outcome) for outcome in outcomes] == [Skipped, Skipped]
    assert backbone.batches == []


class Counter:
    """Stands in for `load_image` and counts the decoded images that no batch has used yet."""

    def __init__(self) -> None:
        self.now = self.most = self.loaded = 0
        self._lock = threading.Lock()

    def load(self, path: Path, *, size_hint: Size | None = None) -> LoadedImage:
        with self._lock:
            self.now += 1
            self.loaded += 1
            self.most = max(self.most, self.now)
        return load_image(path, size_hint=size_hint)

    def used(self, count: int) -> None:
        with self._lock:
            self.now -= count


def test_decoded_images_in_flight_are_at_most_two_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = Counter()
    monkeypatch.setattr(pipeline, "load_image", counter.load)
    outcomes = list(embed_images(FakeBackbone(counter.used), write_images(tmp_path, 43), batch=4))
    assert len(outcomes) == counter.loaded == 43
    assert counter.now == 0
    assert counter.most <= 2 * 4


def test_files_behind_the_one_asked_for_are_not_all_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = Counter()
    monkeypatch.setattr(pipeline, "load_image", counter.load)
    outcomes = embed_images(FakeBackbone(), write_images(tmp_path, 40), batch=4)
    next(outcomes)
    del outcomes
    assert counter.loaded <= 2 * 4


def test_defect_of_the_program_is_not_taken_for_a_bad_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(path: Path, *, size_hint: Size | None = None) -> LoadedImage:
        raise ZeroDivisionError

    monkeypatch.setattr(pipeline, "load_image", load)
    with pytest.raises(ZeroDivisionError):
        list(embed_images(FakeBackbone(), write_images(tmp_path, 3)))


def test_reason_is_that_of_the_image_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as caught:
        load_image(tmp_path / "a.png")
    assert list(embed_images(FakeBackbone(), [tmp_path / "a.png"])) == [
        Skipped(tmp_path / "a.png", str(caught.value))
    ]


def test_features_are_those_of_the_backbone_on_single_images(tmp_path: Path) -> None:
    backbone = load_backbone("compact", precision="f32")
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        noise = rng.integers(0, 256, (90 + 70 * number, 300, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
    for path, outcome in zip(paths, embed_images(backbone, paths, batch=2), strict=True):
        assert isinstance(outcome, ImageFeatures)
        size = backbone.spec.input_size
        alone = backbone.embed(to_input(load_image(path, size_hint=size).pixels, size)[None])
        tolerance = 1e-4 * float(np.abs(alone.patches).max())
        np.testing.assert_allclose(outcome.patches, alone.patches[0], atol=tolerance)
        np.testing.assert_allclose(outcome.image, alone.images[0], atol=tolerance)


ROOT = Path(pipeline.__file__).parent.parent
STREAM = """
import sys
from pathlib import Path
from backbones.pipeline import embed_images
from tests.backbones.test_pipeline import FakeBackbone, resident_kib

class FakeLargeBackbone(FakeBackbone):
    spec = FakeBackbone.large

outcomes = embed_images(FakeLargeBackbone(), sorted(Path(sys.argv[1]).iterdir()))
for done, outcome in enumerate(outcomes, 1):
    assert outcome.width == 2048, outcome
    if done in (100, 600):
        print(resident_kib())
"""


def resident_kib() -> int:
    """Memory of this process that is in use."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


@pytest.mark.skipif(
    not Path("/proc/self/status").is_file(), reason="resident memory is read from /proc"
)
def test_resident_memory_does_not_grow_with_the_number_of_photos(tmp_path: Path) -> None:
    """500 photos of 4 megapixels: their inputs alone would be 94 MiB, decoded they are 6 GiB."""
    ramp = np.linspace(0, 255, 2048, dtype=np.uint8)
    photo = np.broadcast_to(ramp[:, None, None], (2048, 2048, 3))
    Image.fromarray(np.ascontiguousarray(photo)).save(tmp_path / "photo.jpg")
    (tmp_path / "photos").mkdir()
    for number in range(600):
        (tmp_path / "photos" / f"{number:03d}.jpg").symlink_to(tmp_path / "photo.jpg")
    ended = subprocess.run(
        [sys.executable, "-c", STREAM, str(tmp_path / "photos")],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    after_100, after_600 = map(int, ended.stdout.split())
    assert after_600 - after_100 < 24 * 1024


def test_one_image_has_the_features_that_it_has_among_many(tmp_path: Path) -> None:
    backbone = FakeBackbone()
    for path, among in zip(
        write_images(tmp_path, 3), embed_images(backbone, write_images(tmp_path, 3)), strict=True
    ):
        one = embed_image(backbone, path)
        assert isinstance(among, ImageFeatures)
        for field in fields(ImageFeatures):
            np.testing.assert_array_equal(getattr(one, field.name), getattr(among, field.name))
    with pytest.raises(ImageError, match=r"gone\.png: there is no such file"):
        embed_image(backbone, tmp_path / "gone.png")


def test_features_of_a_frame_do_not_change_with_the_cameras_buffer(tmp_path: Path) -> None:
    frame = np.full((20, 30, 3), 90, np.uint8)
    found = embed_image(FakeBackbone(), frame)
    frame[:] = 7
    assert isinstance(found.source, Image.Image)
    assert found.source.getpixel((0, 0)) == (90, 90, 90)
    assert load_image(found.source).sha256 == found.sha256


def test_file_whose_hash_is_known_is_not_hashed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = write_images(tmp_path, 1)
    monkeypatch.setattr("backbones.decode.hashlib.file_digest", None)
    assert embed_image(FakeBackbone(), HashedFile(path, "known")).sha256 == "known"
