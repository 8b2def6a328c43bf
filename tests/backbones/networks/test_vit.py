"""Tokens of a vision transformer are those that timm computes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import timm
import torch
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models.vision_transformer import checkpoint_filter_fn

from backbones.base import BackboneSpec
from backbones.errors import BackboneError
from backbones.networks.build import build_network
from backbones.networks.timm_models import timm_spec
from backbones.specs import find_spec
from tests.backbones.conftest import MakeNetwork

DINOV2, DINOV3 = find_spec("dinov2-small"), find_spec("dinov3-small")


def pixels(height: int, width: int) -> torch.Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))


def state_of(random_network: MakeNetwork, spec: BackboneSpec) -> dict[str, torch.Tensor]:
    """What the published file holds: weights at the input size that the network was trained at."""
    with torch.device("meta"):
        as_published: Any = timm.create_model(spec.architecture, pretrained=False)
    trained_at = as_published.patch_embed.img_size[0]
    network: Any = random_network(replace(spec, input_size=(trained_at, trained_at)))
    state: dict[str, torch.Tensor] = network.model.state_dict()
    return state


def tokens_by_timm(
    spec: BackboneSpec, state: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """What timm's own forward gives: patch tokens (N, H, W, D) and prefix tokens (N, P, D)."""
    model: Any = timm.create_model(
        spec.architecture, pretrained=False, img_size=spec.shape, num_classes=0
    )
    with torch.inference_mode():
        missing = model.load_state_dict(checkpoint_filter_fn(state, model), strict=False)
        assert missing == ([], [])
        tokens = model.eval().forward_features(pixels(*spec.shape))
    prefix = model.num_prefix_tokens
    grid = (len(tokens), *spec.grid, spec.dim)
    return tokens[:, prefix:].reshape(grid), tokens[:, :prefix]


@pytest.mark.parametrize(
    "name", ["dinov2-small", "dinov3-small", "timm:deit_tiny_patch16_224", "timm:test_vit"]
)
def test_patches_are_timms_normalised_tokens_and_the_image_its_class_token(
    random_network: MakeNetwork, name: str
) -> None:
    spec = timm_spec(name) if name.startswith("timm:") else find_spec(name)
    spec = replace(spec, input_size=(4 * spec.stride, 5 * spec.stride))
    state = state_of(random_network, spec)
    tokens, prefix = tokens_by_timm(spec, state)
    with torch.inference_mode():
        patches, images = build_network(spec, state)(pixels(*spec.shape))
    expected = tokens / tokens.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(patches, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(images, prefix[:, 0], rtol=1e-4, atol=1e-4)
    norms = images.norm(dim=-1)
    assert ((norms - 1).abs() > 0.1).all(), "the class token is not brought to length 1"


def test_network_without_a_class_token_gives_its_mean_patch(random_network: MakeNetwork) -> None:
    spec = replace(timm_spec("timm:test_vit_relpos"), input_size=(160, 160))
    network: Any = random_network(spec)
    assert network.model.num_prefix_tokens == 0
    with torch.inference_mode():
        patches, images = network(pixels(160, 160))
    torch.testing.assert_close(images, patches.mean(dim=(1, 2)))


def test_several_blocks_lie_side_by_side(random_network: MakeNetwork) -> None:
    spec = replace(timm_spec("timm:test_vit:1,4"), input_size=(64, 64))
    network: Any = random_network(spec)
    with torch.inference_mode():
        patches, images = network(pixels(64, 64))
        first, second = network.model.get_intermediate_layers(
            pixels(64, 64), n=[1, 4], norm=True, return_prefix_tokens=True
        )
    assert spec.dim == patches.shape[-1] == images.shape[-1] == 128
    both = torch.cat([first[0], second[0]], dim=2).reshape(patches.shape)
    expected = both / both.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(patches, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(images, torch.cat([first[1][:, 0], second[1][:, 0]], dim=1))


def test_position_embeddings_of_a_518_px_file_are_interpolated_as_timm_does(
    random_network: MakeNetwork,
) -> None:
    """The published DINOv2 has 37 x 37 of them, 448 px take 32 x 32."""
    state = state_of(random_network, DINOV2)
    assert state["pos_embed"].shape == (1, 1 + 37 * 37, 384)
    assert DINOV2.input_size == (448, 448)
    network: Any = build_network(DINOV2, state)
    expected = resample_abs_pos_embed(state["pos_embed"], new_size=[32, 32], num_prefix_tokens=1)
    torch.testing.assert_close(network.model.pos_embed.data, expected)


def test_518_px_file_gives_the_features_of_timm_at_a_smaller_size(
    random_network: MakeNetwork,
) -> None:
    state = state_of(random_network, DINOV2)
    small = replace(DINOV2, input_size=(112, 112))
    tokens, _ = tokens_by_timm(small, state)
    with torch.inference_mode():
        patches, _ = build_network(small, state)(pixels(112, 112))
    expected = tokens / tokens.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(patches, expected, rtol=0, atol=1e-5)


def test_token_that_only_training_used_may_lie_in_the_file(random_network: MakeNetwork) -> None:
    state = state_of(random_network, DINOV2)
    build_network(DINOV2, state | {"mask_token": torch.zeros(1, 384)})


@pytest.mark.parametrize(
    ("given", "wanted", "fault"),
    [
        (DINOV3, DINOV2, "it lacks 'pos_embed'"),
        (DINOV2, DINOV3, "it lacks '"),
        (find_spec("dinov2-base"), DINOV2, "it has another shape for 'cls_token'"),
    ],
    ids=["dinov3 as dinov2", "dinov2 as dinov3", "base as small"],
)
def test_file_of_another_transformer_is_refused(
    given: BackboneSpec, wanted: BackboneSpec, fault: str
) -> None:
    with torch.device("meta"):
        state = dict(timm.create_model(given.architecture, pretrained=False).state_dict())
        with pytest.raises(BackboneError) as caught:
            build_network(wanted, state)
    assert f"not a timm '{wanted.architecture}': {fault}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_input_size_that_is_no_multiple_of_the_patch_is_refused_with_the_nearest_that_is() -> None:
    with pytest.raises(BackboneError, match=r"multiple of 14 px, got 450\. Try --input-size 448"):
        replace(DINOV2, input_size=(450, 450))
