"""Patch tokens and class token of a vision transformer.

Damm et al., "AnomalyDINO", WACV 2025: the normalised patch tokens of the last block, compared by
cosine. They are returned with length 1, so that half the squared Euclidean distance is the cosine
distance and one exact search serves all backbones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from backbones.base import BackboneSpec
from backbones.networks.timm_models import cut_model


def build(spec: BackboneSpec, state: Mapping[str, Tensor] | None) -> nn.Module:
    """The vision transformer of ``spec``, see `build_network`."""
    return TokenNetwork(spec, state)


class TokenNetwork(nn.Module):
    """Token network: (N, 3, Y, X) -> patches (N, H, W, D) of length 1, image embedding (N, D).

    The image embedding is the class token, or the mean patch if the network has no class token.
    """

    def __init__(self, spec: BackboneSpec, state: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        self.model: Any = cut_model(spec, state)
        self.layers = list(spec.layers)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return patches (N, H, W, D) and images (N, D)."""
        prefixed = self.model.num_prefix_tokens > 0
        outputs = self.model.forward_intermediates(
            pixels,
            indices=self.layers,
            return_prefix_tokens=prefixed,
            norm=True,
            output_fmt="NCHW",
            stop_early=True,
            intermediates_only=True,
        )
        maps = [output[0] if prefixed else output for output in outputs]
        patches = nn.functional.normalize(torch.cat(maps, dim=1).permute(0, 2, 3, 1), dim=-1)
        if not prefixed:
            return patches, patches.mean(dim=(1, 2))
        return patches, torch.cat([output[1][:, 0] for output in outputs], dim=1)
