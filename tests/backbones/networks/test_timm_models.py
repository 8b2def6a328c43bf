"""`timm:NAME[:layers]`: what is known of any timm network before its weights are there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, IMAGENET_INCEPTION_MEAN

from backbones.base import Features
from backbones.errors import BackboneError
from backbones.networks.build import Graph, build_network
from backbones.networks.timm_models import timm_spec
from backbones.openvino_runtime import OpenVinoBackbone, export
from backbones.specs import find_spec
from tests.backbones.conftest import MakeNetwork
from tests.backbones.pictures import assert_same, pictures


@pytest.mark.parametrize(
    ("name", "family", "layers", "stride", "grid", "dim"),
    [
        ("convnext_atto", "patchcore", (1, 2), 8, 32, 240),
        ("convnext_atto:0,1", "patchcore", (0, 1), 4, 64, 120),
        ("convnext_atto:3", "patchcore", (3,), 32, 8, 320),
        ("efficientnet_b0", "patchcore", (2, 3), 8, 32, 152),
        ("efficientnet_b0:1,2,3", "patchcore", (1, 2, 3), 4, 64, 176),
        ("swin_tiny_patch4_window7_224", "patchcore", (1, 2), 8, 28, 576),
        ("deit_tiny_patch16_224", "vit", (11,), 16, 14, 192),
        ("deit_tiny_patch16_224:3,7", "vit", (3, 7), 16, 14, 384),
        ("resnet18", "patchcore", (2, 3), 8, 32, 384),
    ],
)
def test_spec_tells_what_the_network_gives(
    name: str, family: str, layers: tuple[int, ...], stride: int, grid: int, dim: int
) -> None:
    spec = find_spec(f"timm:{name}")
    assert (spec.family, spec.layers, spec.stride, spec.grid, spec.dim) == (
        family, layers, stride, (grid, grid), dim
    )  # fmt: skip
    with torch.device("meta"):
        network = build_network(spec)
        patches, images = network(torch.empty(1, 3, *spec.shape))
    assert patches.shape == (1, grid, grid, dim)
    assert images.shape == (1, dim)
    weights = sum(weight.numel() for weight in network.parameters())
    assert weights / 1e6 == pytest.approx(spec.parameters, abs=0.06)


def test_name_of_the_spec_holds_the_layers_in_order_and_names_it_again() -> None:
    spec = timm_spec("timm:convnext_atto:2,1,2")
    assert spec.name == "timm:convnext_atto:1,2"
    assert timm_spec(spec.name) == spec == timm_spec("timm:convnext_atto")


def test_normalisation_size_and_source_are_those_of_the_pretrained_weights() -> None:
    usual, other = timm_spec("timm:deit_tiny_patch16_224"), timm_spec("timm:test_vit")
    assert (usual.mean, usual.std) == (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
    assert (usual.input_size, usual.hub_tag, usual.licence) == ((224, 224), "fb_in1k", "apache-2.0")
    assert other.mean == IMAGENET_INCEPTION_MEAN == other.std
    assert other.input_size == (160, 160)
    assert timm_spec("timm:resnet18.tv_in1k").hub_tag == "tv_in1k"
    assert timm_spec("timm:resnet18.tv_in1k").architecture == "resnet18"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("convnext_ato", "timm has no network 'convnext_ato'. Did you mean 'timm:convnext_atto'?"),
        ("nothing-like-it", "timm has no network 'nothing-like-it'."),
        ("resnet18.bogus", "timm cannot make 'resnet18.bogus': Invalid pretrained tag (bogus)"),
        ("resnet18:5", "names the layers '5': expected numbers from 0 to 4 separated by commas"),
        ("resnet18:-1", "names the layers '-1': expected numbers from 0 to 4"),
        ("resnet18:two", "names the layers 'two': expected numbers from 0 to 4"),
        ("deit_tiny_patch16_224:12", "names the layers '12': expected numbers from 0 to 11"),
    ],
)
def test_what_timm_does_not_have_is_refused_in_one_line(name: str, line: str) -> None:
    with pytest.raises(BackboneError) as caught:
        find_spec(f"timm:{name}")
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_size_that_a_network_cannot_take_is_refused_in_one_line() -> None:
    spec = replace(timm_spec("timm:swin_tiny_patch4_window7_224"), input_size=(8, 8))
    with pytest.raises(BackboneError, match="does not take an input of 8 px") as caught:
        build_network(spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["test_convnext", "deit_tiny_patch16_224"])
def test_exported_network_gives_the_features_of_torch(
    random_network: MakeNetwork, tmp_path: Path, name: str
) -> None:
    spec = replace(timm_spec(f"timm:{name}"), input_size=(64, 64))
    network = random_network(spec)
    export(network, spec, tmp_path / "network.xml", "weights")
    with torch.inference_mode():
        patches, images = Graph(network, spec)(torch.from_numpy(pictures(2, (64, 64))))
    exported = OpenVinoBackbone(spec, tmp_path / "network.xml", "f32", "weights")
    assert_same(
        exported.embed(pictures(2, (64, 64))),
        Features(patches.contiguous().numpy(), images.numpy()),
        1e-3,
    )


def test_network_that_openvino_cannot_hold_is_refused_in_one_line(tmp_path: Path) -> None:
    """It interpolates its position embeddings anew for every picture."""
    spec = replace(timm_spec("timm:test_vit"), input_size=(64, 64))
    with pytest.raises(BackboneError, match="'timm:test_vit:5' cannot be exported") as caught:
        export(build_network(spec), spec, tmp_path / "network.xml", "weights")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
