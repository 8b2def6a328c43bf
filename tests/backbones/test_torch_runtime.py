"""The torch runtime gives the features of the OpenVINO one, on the CPU and on a GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from backbones.base import Backbone
from backbones.errors import BackboneError
from backbones.registry import load_backbone, load_network
from backbones.specs import find_spec
from backbones.torch_runtime import TorchBackbone
from tests.backbones.pictures import assert_same, pictures

COMPACT = find_spec("compact")
needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a CUDA GPU and a build of torch that finds it"
)


@pytest.fixture
def on_openvino(cache: tuple[Path, str], weight_file: Path) -> Backbone:
    """In f32."""
    return load_backbone("compact", weights=weight_file, precision="f32")


def test_features_and_fingerprint_are_those_of_openvino_in_f32(
    on_openvino: Backbone, weight_file: Path
) -> None:
    on_torch = TorchBackbone(COMPACT, weight_file, "cpu")
    inputs = pictures(3, (256, 256))
    assert_same(on_torch.embed(inputs), on_openvino.embed(inputs), 1e-3)
    assert on_torch.fingerprint == on_openvino.fingerprint
    assert (on_torch.precision, on_torch.half) == ("f32", False)
    assert on_torch.source == weight_file


def test_features_are_plain_arrays_that_outlive_the_next_call(weight_file: Path) -> None:
    backbone = TorchBackbone(COMPACT, weight_file, "cpu")
    first = backbone.embed(pictures(2, (256, 256))[:1])
    assert first.patches.flags.c_contiguous
    before = first.patches.copy()
    backbone.embed(pictures(2, (256, 256))[1:])
    assert np.array_equal(first.patches, before)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_file({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "w.safetensors")
    with pytest.raises(BackboneError, match=r"not a timm 'resnet10t': it lacks 'conv1\.0\.weight'"):
        TorchBackbone(COMPACT, tmp_path / "w.safetensors", "cpu")


def test_half_precision_is_kept_only_if_it_keeps_the_features(
    weight_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Played on the CPU, where half precision exists too."""
    backbone = TorchBackbone(COMPACT, weight_file, "cpu")
    inputs = pictures(1, (256, 256))
    single = backbone.embed(inputs)
    monkeypatch.setattr("backbones.torch_runtime.PARITY_TOLERANCE", 0.0)
    assert not backbone._try_half()
    assert_same(backbone.embed(inputs), single, 1e-6)
    monkeypatch.setattr("backbones.torch_runtime.PARITY_TOLERANCE", 0.1)
    assert backbone._try_half()
    halved = backbone.embed(inputs)
    assert halved.patches.dtype == np.float32
    assert not np.array_equal(halved.patches, single.patches)
    assert_same(halved, single, 0.1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_device_that_is_not_there_is_one_line(weight_file: Path) -> None:
    with pytest.raises(BackboneError) as caught:
        load_backbone("compact", weights=weight_file, device="cuda")
    assert str(caught.value) == "torch finds no CUDA device here: use --device cpu."


def test_precisions_of_the_cpu_are_not_for_the_gpu(weight_file: Path) -> None:
    for precision in ("bf16", "int8"):
        with pytest.raises(BackboneError, match=f"leave out --precision {precision}") as caught:
            load_network(COMPACT, weights=weight_file, device="cuda", precision=precision)
        assert "\n" not in str(caught.value)


@needs_gpu
def test_gpu_gives_the_features_and_the_fingerprint_of_the_cpu(
    on_openvino: Backbone, weight_file: Path
) -> None:
    on_gpu = load_backbone("compact", weights=weight_file, device="cuda")
    assert isinstance(on_gpu, TorchBackbone)
    assert_same(
        on_gpu.embed(pictures(3, (256, 256))), on_openvino.embed(pictures(3, (256, 256))), 1e-3
    )
    assert on_gpu.fingerprint == on_openvino.fingerprint


@needs_gpu
def test_gpu_in_half_precision_stays_within_the_tolerance_it_was_asked_for(
    weight_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backbones.torch_runtime.PARITY_TOLERANCE", 1e-2)
    halved = TorchBackbone(COMPACT, weight_file, "cuda")
    assert halved.half
    single = TorchBackbone(COMPACT, weight_file, "cpu")
    inputs = pictures(2, (256, 256))
    assert_same(halved.embed(inputs), single.embed(inputs), 2e-2)
    assert halved.fingerprint == single.fingerprint
