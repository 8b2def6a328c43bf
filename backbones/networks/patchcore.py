"""Locally aware patch features of a CNN (PatchCore).

Roth et al., "Towards Total Recall in Industrial Anomaly Detection", CVPR 2022, section 3.1:
the maps of the middle layers are averaged over 3x3 neighbourhoods, the coarser ones are
upsampled to the finest, and all are concatenated along the channels. The image embedding is
the mean patch embedding, so that similarity search costs no second forward pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from backbones.base import BackboneSpec
from backbones.networks.timm_models import cut_model


def build(spec: BackboneSpec, state: Mapping[str, Tensor] | None) -> nn.Module:
    """The PatchCore network of ``spec``, see `build_network`."""
    return PatchCoreNetwork(Trunk(spec, state))


class Trunk(nn.Module):
    """A timm CNN: (N, 3, Y, X) -> one (N, C, H, W) map per layer of the spec, finest first."""

    def __init__(self, spec: BackboneSpec, state: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        model: Any = cut_model(spec, state)
        self.model = model
        self.layers = list(spec.layers)
        self.channels = [int(model.feature_info[i]["num_chs"]) for i in self.layers]

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """The maps of the spec's layers, not averaged."""
        maps: list[Tensor] = self.model.forward_intermediates(
            pixels, indices=self.layers, output_fmt="NCHW", stop_early=True, intermediates_only=True
        )
        return maps


class PatchCoreNetwork(nn.Module):
    """Trunk plus the parameter-free PatchCore head: (N, 3, Y, X) -> patches, image embedding."""

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
