from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray

from backbones.base import BackboneSpec
from backbones.errors import BackboneError
from backbones.networks.patchcore import Trunk
from backbones.specs import find_spec
from tests.backbones.conftest import MakeNetwork

Float64 = NDArray[np.float64]

SMALL = [find_spec(name) for name in ("compact", "patchcore-resnet18", "patchcore-wide_resnet50_2")]


def pixels(count: int = 2, size: int = 64) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


@functools.cache
def state_of(architecture: str) -> Mapping[str, torch.Tensor]:
    """Random weights of a whole timm network, classifier included; read only."""
    torch.manual_seed(2)
    return MappingProxyType(timm.create_model(architecture, pretrained=False).state_dict())


def local_average(layer: Float64) -> Float64:
    """3x3 mean of (C, H, W); the zeros beyond the border count."""
    padded = np.pad(layer, ((0, 0), (1, 1), (1, 1)))
    _, rows, cols = layer.shape
    shifted = [padded[:, i : i + rows, j : j + cols] for i in range(3) for j in range(3)]
    return np.asarray(np.mean(shifted, axis=0))


def upsampled(layer: Float64, rows: int, cols: int) -> Float64:
    """(C, H, W) to (C, rows, cols) by linear interpolation between pixel centres."""

    def stretch(line: Float64, target: int) -> Float64:
        at = (np.arange(target) + 0.5) * len(line) / target - 0.5
        return np.interp(at, np.arange(len(line)), line)

    tall = np.apply_along_axis(stretch, 1, layer, rows)
    return np.apply_along_axis(stretch, 2, tall, cols)


def reference_patches(layers: list[Float64]) -> Float64:
    """(H, W, D) of one image from its (C, H, W) layers, as section 3.1 of the paper has it."""
    _, rows, cols = layers[0].shape
    parts = [upsampled(local_average(layer), rows, cols) for layer in layers]
    return np.moveaxis(np.concatenate(parts), 0, -1)


@pytest.mark.parametrize("spec", SMALL, ids=lambda spec: spec.name)
def test_features_are_those_of_the_papers_definition(
    spec: BackboneSpec, random_network: MakeNetwork
) -> None:
    network: Any = random_network(spec)
    with torch.inference_mode():
        layers = [layer.double().numpy() for layer in network.trunk(pixels())]
        patches, images = network(pixels())
    for number in range(2):
        expected = reference_patches([layer[number] for layer in layers])
        tolerance = 1e-5 * float(np.abs(expected).max())
        np.testing.assert_allclose(patches[number], expected, atol=tolerance)
        np.testing.assert_allclose(images[number], expected.mean(axis=(0, 1)), atol=tolerance)


def test_stride_in_1x1_moves_the_strides_and_nothing_else() -> None:
    modern, early = find_spec("patchcore-resnet50"), find_spec("patchcore-resnet50-v1")
    strides = {}
    for spec in (modern, early):
        with torch.device("meta"):
            model = Trunk(spec).model
        strides[spec.name] = {
            name: layer.stride[0]
            for name, layer in model.named_modules()
            if isinstance(layer, torch.nn.Conv2d) and layer.stride[0] > 1
        }
    moved = {"layer2.0.conv1": 2, "layer3.0.conv1": 2}
    kept = {"layer2.0.conv2": 2, "layer3.0.conv2": 2}
    common = {"conv1": 2, "layer2.0.downsample.0": 2, "layer3.0.downsample.0": 2}
    assert strides == {modern.name: common | kept, early.name: common | moved}


def test_stride_in_1x1_changes_the_features_but_not_their_shape(
    random_network: MakeNetwork,
) -> None:
    early = find_spec("patchcore-resnet50-v1")
    with torch.inference_mode():
        features = [
            random_network(spec)(pixels(1))[0]
            for spec in (early, replace(early, stride_in_1x1=False))
        ]
    assert features[0].shape == features[1].shape
    difference = (features[0] - features[1]).abs().mean() / features[0].abs().mean()
    assert difference > 0.05


def test_weights_are_copied_and_those_beyond_the_cut_ignored() -> None:
    state = state_of("resnet18")
    loaded = Trunk(find_spec("patchcore-resnet18"), state).model.state_dict()
    assert all(torch.equal(loaded[name], state[name]) for name in loaded)
    assert "layer4.1.conv2.weight" in state, "the file goes beyond the cut"
    assert "layer4.1.conv2.weight" not in loaded


def test_weights_that_end_at_the_cut_and_those_in_half_precision_load() -> None:
    spec = find_spec("patchcore-resnet18")
    used = Trunk(spec).model.state_dict()
    state = {name: state_of("resnet18")[name].half() for name in used}
    weight = Trunk(spec, state).model.state_dict()["layer3.1.conv2.weight"]
    assert weight.dtype == torch.float32
    assert torch.equal(weight, state["layer3.1.conv2.weight"].float())


def test_batch_counters_may_be_missing() -> None:
    state = {k: v for k, v in state_of("resnet18").items() if "num_batches_tracked" not in k}
    Trunk(find_spec("patchcore-resnet18"), state)


def refusal(state: Mapping[str, torch.Tensor], spec: BackboneSpec) -> str:
    """The error of loading ``state``."""
    with pytest.raises(BackboneError) as caught:
        Trunk(spec, state)
    message = str(caught.value)
    assert "\n" not in message
    assert f"not a timm '{spec.architecture}'" in message
    assert "--weights" in message
    return message


def test_missing_weight_is_refused_by_name() -> None:
    state = dict(state_of("resnet18"))
    del state["layer3.0.bn2.running_var"]
    message = refusal(state, find_spec("patchcore-resnet18"))
    assert "it lacks 'layer3.0.bn2.running_var'" in message


def test_misshapen_weight_is_refused_by_name() -> None:
    state = dict(state_of("resnet18"))
    state["layer2.0.conv1.weight"] = torch.zeros(128, 64, 1, 1)
    message = refusal(state, find_spec("patchcore-resnet18"))
    assert "it has another shape for 'layer2.0.conv1.weight'" in message


@pytest.mark.parametrize(
    ("given", "wanted", "fault"),
    [
        ("resnet34", "patchcore-resnet18", "has the unknown weight 'layer1.2.conv1.weight'"),
        ("wide_resnet50_2", "patchcore-resnet50", "has another shape for 'layer1.0.conv1.weight'"),
        ("resnet101", "patchcore-resnet50", "has the unknown weight 'layer3.6.conv1.weight'"),
        ("resnet50", "patchcore-resnet18", "has another shape for 'layer1.0.conv1.weight'"),
        ("resnet18", "patchcore-resnet50", "lacks 'layer1.0.conv3.weight'"),
        ("resnet18", "compact", "lacks 'conv1.0.weight'"),
    ],
)
def test_weights_of_another_network_are_refused(given: str, wanted: str, fault: str) -> None:
    with torch.device("meta"):
        state = dict(timm.create_model(given, pretrained=False).state_dict())
        assert fault in refusal(state, find_spec(wanted))
