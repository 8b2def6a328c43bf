"""Locally aware patch features of a timm CNN (PatchCore).

Roth et al., "Towards Total Recall in Industrial Anomaly Detection", CVPR 2022, section 3.1:
the maps of the middle layers are averaged over 3x3 neighbourhoods, the coarser ones are
upsampled to the finest, and all are concatenated along the channels. The image embedding is
the mean patch embedding, so that similarity search costs no second forward pass.

This module needs torch and timm. It is imported only to export or train a network.
"""

from __future__ import annotations

from collections.abc import Mapping

import timm
import torch
from torch import Tensor, nn

from backbones.base import BackboneSpec
from backbones.errors import BackboneError


def build_trunk(spec: BackboneSpec) -> nn.Module:
    """The timm network cut after the last layer used, with random weights.

    Its forward takes (N, 3, S, S) and returns one (N, C, H, W) map per layer of the spec.
    """
    trunk = timm.create_model(
        spec.architecture, pretrained=False, features_only=True, out_indices=spec.layers
    )
    if spec.stride_in_1x1:
        for stage in ("layer2", "layer3"):
            block = getattr(trunk, stage)[0]
            block.conv1.stride, block.conv2.stride = (2, 2), (1, 1)
    return trunk.eval()


def load_weights(trunk: nn.Module, state: Mapping[str, Tensor], spec: BackboneSpec) -> None:
    """Copy ``state`` into ``trunk``; BackboneError if it belongs to another network.

    Weights beyond the cut (later stages, classifier) are ignored. A name that the whole timm
    network does not have marks the file of a deeper sibling, which would otherwise load.
    """
    wanted = trunk.state_dict()
    with torch.device("meta"):
        whole = set(timm.create_model(spec.architecture, pretrained=False).state_dict())
    missing = [k for k in wanted if k not in state and not k.endswith("num_batches_tracked")]
    foreign = [k for k in state if k not in whole]
    misshapen = [k for k in wanted if k in state and state[k].shape != wanted[k].shape]
    if missing or foreign or misshapen:
        what, name = next(
            (what, names[0])
            for what, names in (
                ("lacks", missing),
                ("has another shape for", misshapen),
                ("has the unknown weight", foreign),
            )
            if names
        )
        raise BackboneError(
            f"the weight file is not a timm '{spec.architecture}': it {what} '{name}'. "
            f"Give --weights a '{spec.architecture}' file or choose another --backbone."
        )
    trunk.load_state_dict({k: state[k].float() for k in wanted if k in state}, strict=False)


class PatchCoreNetwork(nn.Module):
    """Trunk plus the parameter-free PatchCore head: (N, 3, S, S) -> patches, image embedding."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return patches (N, H, W, D) and images (N, D)."""
        maps = [nn.functional.avg_pool2d(m, 3, stride=1, padding=1) for m in self.trunk(pixels)]
        size = maps[0].shape[-2:]
        upsampled = [maps[0]] + [
            nn.functional.interpolate(m, size=size, mode="bilinear", align_corners=False)
            for m in maps[1:]
        ]
        patches = torch.cat(upsampled, dim=1).permute(0, 2, 3, 1)
        return patches, patches.mean(dim=(1, 2))
