from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
import torch
from numpy.typing import NDArray

from backbones import openvino_runtime
from backbones.base import Features
from backbones.errors import BackboneError
from backbones.model_card import read_card
from backbones.networks.build import Graph
from backbones.openvino_runtime import (
    OpenVinoBackbone,
    cache_folder,
    compile_network,
    export,
    fingerprint_of,
)
from backbones.registry import load_backbone
from backbones.specs import SPECS, find_spec
from tests.backbones.conftest import MakeNetwork
from tests.backbones.pictures import assert_same, pictures
from tests.backbones.tiny import TINY, tiny_network

COMPACT = replace(find_spec("compact"), input_size=(64, 64))


@pytest.fixture(scope="module")
def compact(
    random_network: MakeNetwork, tmp_path_factory: pytest.TempPathFactory
) -> OpenVinoBackbone:
    """Random weights, exported."""
    file = tmp_path_factory.mktemp("networks") / "compact.xml"
    export(random_network(COMPACT), COMPACT, file, "weights")
    return OpenVinoBackbone(COMPACT, file, "f32", "weights")


@pytest.mark.parametrize("count", [1, 2, 5])
def test_batch_of_any_size_gives_the_features_of_single_images(
    compact: OpenVinoBackbone, count: int
) -> None:
    inputs = pictures(count, (64, 64))
    alone = [compact.embed(inputs[i : i + 1]) for i in range(count)]
    stacked = Features(
        np.concatenate([a.patches for a in alone]), np.concatenate([a.images for a in alone])
    )
    assert_same(compact.embed(inputs), stacked, 1e-5)


def test_features_outlive_the_next_call(compact: OpenVinoBackbone) -> None:
    inputs = pictures(2, (64, 64))
    first = compact.embed(inputs[:1])
    before = first.patches.copy()
    compact.embed(inputs[1:])
    assert np.array_equal(first.patches, before)


def test_network_of_a_wide_input_is_exported_and_takes_nothing_else(tmp_path: Path) -> None:
    spec = replace(TINY, input_size=(64, 96))
    file = tmp_path / "wide.xml"
    export(tiny_network(), spec, file, "weights")
    assert read_card(file.with_suffix(".json")).spec == spec
    backbone = OpenVinoBackbone(spec, file, "f32", "weights")
    inputs = pictures(3, (64, 96))
    found = backbone.embed(inputs)
    assert found.patches.shape == (3, 8, 12, 10)
    with torch.inference_mode():
        patches, images = Graph(tiny_network(), spec)(torch.from_numpy(inputs))
    assert_same(found, Features(patches.numpy(), images.numpy()), 1e-4)
    with pytest.raises(RuntimeError):
        backbone.embed(pictures(1, (96, 64)))


CHANGES: dict[str, dict[str, Any]] = {
    "patchcore-resnet50": {
        "architecture": "resnet101",
        "input_size": (320, 320),
        "crop": (224, 224),
        "layers": (1, 2),
        "stride_in_1x1": True,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
    },
    "efficientad-small": {
        "architecture": "medium",
        "input_size": (320, 320),
        "crop": (224, 224),
        "padding": False,
        "family": "patchcore",
    },
    "vgg16": {"mean": (0.5, 0.5, 0.5), "family": "vit"},
    "dinov2-small": {"layers": (8,), "input_size": (518, 518), "family": "patchcore"},
}


@pytest.mark.parametrize("name", CHANGES)
def test_fingerprint_changes_with_all_that_changes_the_features(name: str) -> None:
    spec = find_spec(name)
    changed = [replace(spec, **{field: value}) for field, value in CHANGES[name].items()]
    prints = [fingerprint_of(each, "a", "f32") for each in (spec, *changed)]
    prints += [fingerprint_of(spec, "b", "f32")]
    prints += [fingerprint_of(spec, "a", precision) for precision in ("bf16", "int8")]
    assert len(set(prints)) == len(prints)


def test_fingerprint_knows_the_order_of_the_layers() -> None:
    spec = find_spec("patchcore-resnet50")
    turned = replace(spec, layers=(3, 2))
    assert fingerprint_of(turned, "a", "f32") != fingerprint_of(spec, "a", "f32")


def test_no_two_backbones_share_a_fingerprint() -> None:
    assert len({fingerprint_of(spec, "a", "f32") for spec in SPECS}) == len(SPECS)


def test_fingerprint_changes_with_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = find_spec("compact")
    before = fingerprint_of(spec, "a", "f32")
    monkeypatch.setattr(openvino_runtime, "GRAPH_VERSION", openvino_runtime.GRAPH_VERSION + 1)
    assert fingerprint_of(spec, "a", "f32") != before


def test_fingerprint_does_not_change_with_names_licences_and_sources() -> None:
    spec = find_spec("patchcore-resnet50")
    renamed = replace(
        spec, name="mine", licence="none", hub_tag="other", weights="file", parameters=1.0
    )
    assert fingerprint_of(renamed, "a", "f32") == fingerprint_of(spec, "a", "f32")


@pytest.mark.parametrize(
    ("name", "fingerprint"),
    [
        ("compact", "971a950c8ea11315"),
        ("patchcore-resnet50", "d9095570a934a6a3"),
        ("efficientad-small", "9ef0fe11b275e0da"),
        ("vgg16", "df8502ee28e53cc6"),
        ("dinov2-small", "f96944ccda535892"),
    ],
)
def test_fingerprint_is_that_of_the_day_the_test_was_written(name: str, fingerprint: str) -> None:
    """Categories on disk carry it: a change turns every one of them void."""
    assert fingerprint_of(find_spec(name), "a", "f32") == fingerprint


def test_fingerprint_knows_nothing_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = find_spec("vgg16")
    before = fingerprint_of(spec, "a", "f32")
    monkeypatch.setenv("VECSPECT_CACHE", "/elsewhere")
    monkeypatch.setattr(openvino_runtime, "native_precision", lambda: "bf16")
    assert fingerprint_of(spec, "a", "f32") == before


def test_cache_folder_is_the_one_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VECSPECT_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path / "networks"
    monkeypatch.setenv("VECSPECT_CACHE", "")
    assert tmp_path not in cache_folder().parents


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read only: the exported `TinyTrunk`."""
    file = tmp_path_factory.mktemp("tiny") / "tiny.xml"
    export(tiny_network(), TINY, file, "weights")
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
        export(tiny_network(), TINY, tmp_path / "networks" / "tiny.xml", "weights")
    assert list((tmp_path / "networks").iterdir()) == []


def test_network_on_which_openvino_and_torch_disagree_is_not_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_runtime, "parity_error", lambda *_: float("nan"))
    with pytest.raises(BackboneError, match="OpenVINO and torch disagree on 'compact' by nan"):
        export(tiny_network(), TINY, tmp_path / "tiny.xml", "weights")
    assert list(tmp_path.iterdir()) == []


def test_parity_error_is_relative_to_the_largest_value_of_each_output() -> None:
    outputs = [np.array([100.0, 1.0], np.float32), np.array([1.1], np.float32)]
    expected = [np.array([100.0, 3.0], np.float32), np.array([1.0], np.float32)]
    error = openvino_runtime.parity_error(outputs, expected)
    assert error == pytest.approx(0.1, rel=1e-5)


def test_export_at_half_precision_is_smaller_and_close(tiny: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.xml"
    export(tiny_network(), TINY, small, "weights", half=True)
    halved, whole = (
        OpenVinoBackbone(TINY, file, "f32", "x").embed(pictures(1, (64, 64)))
        for file in (small, tiny)
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
    assert_same(here.embed(pictures(1, (64, 64))), there.embed(pictures(1, (64, 64))), 0)


def test_card_beside_the_network_tells_what_it_is(tiny: Path) -> None:
    card = read_card(tiny.with_suffix(".json"))
    assert (card.spec, card.weights_sha256, card.precision) == (TINY, "weights", "f32")


def test_network_whose_maps_are_not_those_of_the_spec_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"gives patches of shape \(8, 8, 10\), expected") as e:
        export(tiny_network(), COMPACT, tmp_path / "tiny.xml", "weights")
    assert "\n" not in str(e.value)
    assert list(tmp_path.iterdir()) == []


class Wild(torch.nn.Module):
    """Branches on its values, which no graph can hold."""

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        side = 8 if pixels.sum() > 0 else 4
        patches = pixels[:, :1, :side, :side].permute(0, 2, 3, 1)
        return patches, patches.mean(dim=(1, 2))


def test_network_that_cannot_be_exported_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="'compact' cannot be exported") as caught:
        export(Wild(), replace(COMPACT, dim=1), tmp_path / "wild.xml", "weights")
    assert "\n" not in str(caught.value)


class Gate:
    """Lets a network answer only while nobody else asks it, and counts the answers."""

    def __init__(self, compiled: Any) -> None:
        self._compiled, self._inside = compiled, threading.Lock()
        self.answers = 0

    def __call__(self, inputs: NDArray[np.uint8], **options: Any) -> Any:
        assert self._inside.acquire(blocking=False), "two threads are in one request"
        try:
            self.answers += 1
            return self._compiled(inputs, **options)
        finally:
            self._inside.release()


def test_threads_that_share_a_network_get_its_features_each_by_half_of_the_cores() -> None:
    network = load_backbone("compact")
    assert isinstance(network, OpenVinoBackbone)
    network._compiled = Gate(network._compiled)
    shape = (12, 1, *network.spec.shape, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    expected = [network.embed(image) for image in images]
    alone = network._compiled.answers
    together = threading.Barrier(4)

    def embed(_: int) -> list[Features]:
        together.wait()
        return [network.embed(image) for image in images]

    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(embed, range(4)):
            for got, want in zip(found, expected, strict=True):
                np.testing.assert_array_equal(got.patches, want.patches)
                np.testing.assert_array_equal(got.images, want.images)
    assert network._compiled.answers < alone + 4 * len(images)


def test_network_that_would_give_other_features_by_half_of_the_cores_is_asked_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = load_backbone("compact")
    assert isinstance(network, OpenVinoBackbone)
    other = compile_network(network.network, "f32")
    monkeypatch.setattr("backbones.openvino_runtime.compile_network", lambda *_, **__: other)
    inputs = np.random.default_rng(0).integers(0, 256, (1, *network.spec.shape, 3), np.uint8)
    expected = network.embed(inputs)
    network._shared_calls = 1
    monkeypatch.setattr("backbones.openvino_runtime.np.array_equal", lambda *_: False)
    np.testing.assert_array_equal(network.embed(inputs).patches, expected.patches)
    assert network._of_thread.request is None
