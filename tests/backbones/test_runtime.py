from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import openvino
import pytest
import torch
from numpy.typing import NDArray

from backbones import runtime
from backbones.base import BackboneSpec, Features
from backbones.errors import BackboneError
from backbones.patchcore import PatchCoreNetwork
from backbones.preprocess import MEAN, STD
from backbones.runtime import OpenVinoBackbone, cache_folder, export, fingerprint_of
from backbones.specs import find_spec

MakeTrunk = Callable[[BackboneSpec], torch.nn.Module]

SMALL = [
    replace(find_spec(name), input_size=64)
    for name in (
        "compact",
        "patchcore-resnet18",
        "patchcore-resnet50-v1",
        "patchcore-wide_resnet50_2",
    )
]


@dataclass(frozen=True)
class Exported:
    """A random network and the file it was exported to."""

    spec: BackboneSpec
    trunk: torch.nn.Module
    file: Path

    def load(self) -> OpenVinoBackbone:
        return OpenVinoBackbone(self.spec, self.file, "f32", "fingerprint")


@pytest.fixture(scope="module", params=SMALL, ids=lambda spec: spec.name)
def exported(
    request: pytest.FixtureRequest,
    random_trunk: MakeTrunk,
    tmp_path_factory: pytest.TempPathFactory,
) -> Exported:
    spec: BackboneSpec = request.param
    file = tmp_path_factory.mktemp("networks") / f"{spec.name}.xml"
    trunk = random_trunk(spec)
    export(trunk, spec, file)
    return Exported(spec, trunk, file)


def images(count: int, size: int = 64) -> NDArray[np.uint8]:
    """Noise at several scales: flat and busy regions."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, size // 8, size // 8, 3), dtype=np.uint8)
    fine = rng.integers(-40, 41, (count, size, size, 3))
    noisy = coarse.repeat(8, axis=1).repeat(8, axis=2) + fine
    return np.asarray(np.clip(noisy, 0, 255), dtype=np.uint8)


def in_torch(trunk: torch.nn.Module, inputs: NDArray[np.uint8]) -> Features:
    """The features as torch computes them, normalised here."""
    normalised = (inputs / 255 - MEAN) / STD
    pixels = torch.tensor(normalised, dtype=torch.float32).permute(0, 3, 1, 2)
    with torch.inference_mode():
        patches, embeddings = PatchCoreNetwork(trunk)(pixels)
    return Features(patches.numpy(), embeddings.numpy())


def assert_same(got: Features, want: Features, tolerance: float) -> None:
    """Equal up to ``tolerance`` times the largest value."""
    for one, other in ((got.patches, want.patches), (got.images, want.images)):
        assert one.shape == other.shape
        assert np.abs(one - other).max() <= tolerance * np.abs(other).max()


def test_openvino_gives_the_features_of_torch(exported: Exported) -> None:
    assert_same(exported.load().embed(images(3)), in_torch(exported.trunk, images(3)), 1e-3)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_batch_of_any_size_gives_the_features_of_single_images(
    exported: Exported, count: int
) -> None:
    backbone, inputs = exported.load(), images(count)
    together = backbone.embed(inputs)
    alone = [backbone.embed(inputs[i : i + 1]) for i in range(count)]
    stacked = Features(
        np.concatenate([a.patches for a in alone]), np.concatenate([a.images for a in alone])
    )
    assert_same(together, stacked, 1e-5)


def test_features_outlive_the_next_call(exported: Exported) -> None:
    backbone, inputs = exported.load(), images(2)
    first = backbone.embed(inputs[:1])
    before = first.patches.copy()
    backbone.embed(inputs[1:])
    assert np.array_equal(first.patches, before)


GOLDEN = {
    (0, 0): ([1.6746, 0.0193, 1.1307, 0.0, 0.0, 0.1321, 0.7748, 5.3154], 17.4947),
    (5, 2): ([4.4874, 0.0, 2.7669, 0.2269, 0.0, 0.0, 0.0196, 8.3828], 35.1253),
}
"""Cell -> first eight values and norm of its patch embedding, by torch, from the seeds above."""


@pytest.mark.parametrize("exported", SMALL[:1], indirect=True, ids=lambda spec: spec.name)
def test_features_are_those_of_the_day_the_test_was_written(exported: Exported) -> None:
    patches = exported.load().embed(images(1)).patches[0]
    for cell, (values, norm) in GOLDEN.items():
        np.testing.assert_allclose(patches[cell][:8], values, atol=1e-3)
        assert np.linalg.norm(patches[cell]) == pytest.approx(norm, rel=1e-4)


def test_fingerprint_changes_with_all_that_changes_the_features() -> None:
    spec = find_spec("patchcore-resnet50")
    variants = {
        fingerprint_of(spec, "a", "f32"),
        fingerprint_of(spec, "b", "f32"),
        fingerprint_of(spec, "a", "bf16"),
        fingerprint_of(replace(spec, input_size=320), "a", "f32"),
        fingerprint_of(replace(spec, layers=(1, 2)), "a", "f32"),
        fingerprint_of(replace(spec, layers=(3, 2)), "a", "f32"),
        fingerprint_of(replace(spec, architecture="resnet101"), "a", "f32"),
        fingerprint_of(replace(spec, stride_in_1x1=True), "a", "f32"),
    }
    assert len(variants) == 8


def test_fingerprint_changes_with_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = find_spec("compact")
    before = fingerprint_of(spec, "a", "f32")
    monkeypatch.setattr(runtime, "GRAPH_VERSION", runtime.GRAPH_VERSION + 1)
    assert fingerprint_of(spec, "a", "f32") != before


def test_fingerprint_does_not_change_with_names_licences_and_sources() -> None:
    spec = find_spec("patchcore-resnet50")
    renamed = replace(
        spec, name="mine", licence="none", hub_tag="other", weights="file", parameters=1.0
    )
    assert fingerprint_of(renamed, "a", "f32") == fingerprint_of(spec, "a", "f32")


def test_fingerprint_is_that_of_the_day_the_test_was_written() -> None:
    """Categories on disk carry it: a change turns every one of them void."""
    assert fingerprint_of(find_spec("patchcore-resnet50"), "a", "f32") == "d9863c134f0463b4"


def test_cache_folder_is_the_one_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VECSPECT_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path / "networks"
    monkeypatch.setenv("VECSPECT_CACHE", "")
    assert tmp_path not in cache_folder().parents


class TinyTrunk(torch.nn.Module):
    """Two layers of a few channels: exported in no time."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = torch.nn.Conv2d(3, 4, 3, stride=8, padding=1)
        self.second = torch.nn.Conv2d(4, 6, 3, stride=2, padding=1)

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        first = self.first(pixels)
        return [first, self.second(first)]


TINY = SMALL[0]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read only: the exported `TinyTrunk`."""
    file = tmp_path_factory.mktemp("tiny") / "tiny.xml"
    export(TinyTrunk(), TINY, file)
    return file


def copied(network: Path, folder: Path) -> Path:
    for suffix in (".xml", ".bin"):
        shutil.copy(network.with_suffix(suffix), folder / network.with_suffix(suffix).name)
    return folder / network.name


def test_failed_write_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(model: openvino.Model, path: Path, *, compress_to_fp16: bool) -> None:
        path.with_suffix(".bin").write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(openvino, "save_model", save)
    with pytest.raises(OSError, match="no space left"):
        export(TinyTrunk(), TINY, tmp_path / "networks" / "tiny.xml")
    assert list((tmp_path / "networks").iterdir()) == []


def test_network_on_which_openvino_and_torch_disagree_is_not_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "parity_error", lambda *_: float("nan"))
    with pytest.raises(BackboneError, match="OpenVINO and torch disagree on 'compact' by nan"):
        export(TinyTrunk(), TINY, tmp_path / "tiny.xml")
    assert list(tmp_path.iterdir()) == []


def test_parity_error_is_relative_to_the_largest_value_of_each_output() -> None:
    class Result:
        def to_tuple(self) -> tuple[NDArray[np.float32], ...]:
            return np.array([100.0, 1.0], np.float32), np.array([1.1], np.float32)

    expected = [np.array([100.0, 3.0], np.float32), np.array([1.0], np.float32)]
    error = runtime.parity_error(lambda _: Result(), images(1), expected)
    assert error == pytest.approx(0.1, rel=1e-5)


def test_export_at_half_precision_is_smaller_and_close(tiny: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.xml"
    export(TinyTrunk(), TINY, small, half=True)
    halved, whole = (
        OpenVinoBackbone(TINY, file, "f32", "x").embed(images(1)) for file in (small, tiny)
    )
    assert_same(halved, whole, 5e-3)
    assert small.with_suffix(".bin").stat().st_size < tiny.with_suffix(".bin").stat().st_size


@pytest.mark.parametrize("damage", ["no network", "half a network", "half the weights"])
def test_damaged_network_is_one_line_that_names_the_file(
    tiny: Path, tmp_path: Path, damage: str
) -> None:
    file = copied(tiny, tmp_path)
    if damage == "no network":
        file.write_bytes(b"\x00\x01 no network")
    elif damage == "half a network":
        text = file.read_bytes()
        file.write_bytes(text[: len(text) // 2])
    else:
        weights = file.with_suffix(".bin").read_bytes()
        file.with_suffix(".bin").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(BackboneError) as caught:
        OpenVinoBackbone(TINY, file, "f32", "x")
    message = str(caught.value)
    assert str(file) in message
    assert "Delete it and try again" in message
    assert "\n" not in message


def test_network_runs_from_any_folder(tiny: Path, tmp_path: Path) -> None:
    here, there = (
        OpenVinoBackbone(TINY, file, "f32", "x") for file in (tiny, copied(tiny, tmp_path))
    )
    assert_same(here.embed(images(1)), there.embed(images(1)), 0)
