"""int8: calibrated on a category's images, kept in the cache, and silent."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backbones import quantize
from backbones.errors import BackboneError
from backbones.openvino_runtime import OpenVinoBackbone, export
from backbones.quantize import quantized
from backbones.registry import export_backbone, load_backbone, load_network
from tests.backbones.pictures import pictures
from tests.backbones.tiny import TINY, tiny_network

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("nncf") is None, reason="NNCF is not installed: the extra int8"
)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> OpenVinoBackbone:
    """In f32."""
    file = tmp_path_factory.mktemp("network") / "tiny.xml"
    export(tiny_network(), TINY, file, "weights")
    return OpenVinoBackbone(TINY, file, "f32", "weights")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("images")
    paths = [folder / f"{number}.png" for number in range(4)]
    for path, pixels in zip(paths, pictures(4, (64, 64)), strict=True):
        Image.fromarray(pixels).save(path)
    return paths


@pytest.fixture(scope="module")
def whole_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def cache(whole_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One for all tests of this file: what one has quantised the next one finds."""
    monkeypatch.setenv("VECSPECT_CACHE", str(whole_cache))
    return whole_cache


def test_nothing_is_printed_while_a_network_is_quantised(
    network: OpenVinoBackbone,
    images: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("VECSPECT_CACHE", str(tmp_path))
    quantized(network, images)
    assert capfd.readouterr() == ("", "")


def test_features_are_near_those_in_f32_and_the_weights_are_bytes(
    network: OpenVinoBackbone, images: list[Path]
) -> None:
    small = quantized(network, images)
    assert small.precision == "int8"
    got, want = (each.embed(pictures(4, (64, 64))).patches for each in (small, network))
    assert got.shape == want.shape
    error = np.abs(got - want).max() / np.abs(want).max()
    assert 0 < error < 0.1
    assert 'element_type="i8"' in small.network.read_text()


def test_second_call_takes_the_network_from_the_cache(
    network: OpenVinoBackbone, images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = quantized(network, images)

    def fail(*arguments: object) -> None:
        raise AssertionError("quantised what lies in the cache")

    monkeypatch.setattr(quantize, "_quantize", fail)
    again = quantized(network, list(reversed(images)))
    assert again.fingerprint == first.fingerprint
    np.testing.assert_array_equal(
        again.embed(pictures(1, (64, 64))).patches, first.embed(pictures(1, (64, 64))).patches
    )


def test_fingerprint_depends_on_images_and_weights_and_not_on_the_images_names(
    network: OpenVinoBackbone,
    images: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = OpenVinoBackbone(TINY, network.network, "f32", "other weights")
    copies = [tmp_path / f"renamed {path.name}" for path in images]
    for path, copy in zip(images, copies, strict=True):
        copy.write_bytes(path.read_bytes())
    before = quantized(network, images).fingerprint
    assert quantized(network, copies).fingerprint == before
    prints = {
        before,
        network.fingerprint,
        quantized(network, images[:3]).fingerprint,
        quantized(other, images).fingerprint,
    }
    assert len(prints) == 4


def test_images_that_cannot_be_read_are_left_out(
    network: OpenVinoBackbone, images: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    quantized(network, [tmp_path / "bad.png", tmp_path / "gone.png", images[0]])
    for bad in ([tmp_path / "bad.png"], [tmp_path / "gone.png"]):
        with pytest.raises(BackboneError, match="calibrated on normal images, and none could be"):
            quantized(network, bad)


def test_evenly_taken_images_calibrate(
    network: OpenVinoBackbone, images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantize, "SUBSET", 2)
    of_all, of_two = quantized(network, images), quantized(network, [images[0], images[2]])
    assert of_all.fingerprint == of_two.fingerprint


def test_missing_nncf_is_one_line(
    network: OpenVinoBackbone, images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "nncf" else find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    with pytest.raises(BackboneError) as caught:
        quantized(network, images)
    assert "--precision int8 needs NNCF, which is not installed" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_images_are_one_line() -> None:
    with pytest.raises(BackboneError) as caught:
        load_backbone("compact", precision="int8")
    assert "int8 is calibrated on normal images of the category" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_category_finds_its_quantised_network_again(
    network: OpenVinoBackbone, images: list[Path], tmp_path: Path
) -> None:
    """In the cache by its fingerprint; without the cache in the folder it was exported to."""
    small = quantized(network, images)
    found = load_network(TINY, precision="int8", fingerprint=small.fingerprint)
    assert (found.precision, found.fingerprint) == ("int8", small.fingerprint)
    export_backbone(small, tmp_path / "exported")
    exported = load_backbone(str(tmp_path / "exported"))
    assert (exported.precision, exported.fingerprint) == ("int8", small.fingerprint)
    with pytest.raises(BackboneError, match="holds an int8 network: leave out --precision f32"):
        load_backbone(str(tmp_path / "exported"), precision="f32")
