"""Torch networks by family, and the graph that goes from pixels to embeddings."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from backbones.base import BackboneSpec
from backbones.networks.efficientad import PdnNetwork
from backbones.networks.patchcore import PatchCoreNetwork, Trunk
from backbones.networks.vgg16 import Vgg16Network
from backbones.networks.vit import TokenNetwork


def build_network(spec: BackboneSpec, state: Mapping[str, Tensor] | None = None) -> nn.Module:
    """The network of ``spec`` with ``state`` or random weights, in evaluation mode.

    Its forward takes (N, 3, S, S) normalised pixels and returns patches (N, H, W, D) and image
    embeddings (N, D).

    Raises:
        BackboneError: ``state`` belongs to another network.
    """
    if spec.family == "patchcore":
        return PatchCoreNetwork(Trunk(spec, state)).eval()
    if spec.family == "vit":
        return TokenNetwork(spec, state).eval()
    return (PdnNetwork if spec.family == "pdn" else Vgg16Network)(spec, state)


class Graph(nn.Module):
    """(N, S, S, 3) uint8 pixels -> patches (N, H, W, D), image embeddings (N, D), float32.

    The network may run in another type: it is given its own.
    """

    def __init__(self, network: nn.Module, spec: BackboneSpec) -> None:
        super().__init__()
        self.network = network
        self.mean = nn.Buffer(torch.tensor(spec.mean) * 255)
        self.std = nn.Buffer(torch.tensor(spec.std) * 255)
        self.dtype = torch.float32
        self.eval()

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Normalise and embed."""
        normalised = ((pixels.float() - self.mean) / self.std).permute(0, 3, 1, 2)
        patches, images = self.network(normalised.to(self.dtype))
        return patches.float(), images.float()


def example_pixels(spec: BackboneSpec, count: int = 2) -> Tensor:
    """(N, S, S, 3) uint8 noise, the same every time, for exports and parity checks."""
    shape = (count, spec.side, spec.side, 3)
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
