"""The torch network of a spec, and the graph from pixels to embeddings."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from backbones.base import BackboneSpec
from backbones.families import FAMILIES
from backbones.weights import torch_needed


def build_network(spec: BackboneSpec, state: Mapping[str, Tensor] | None = None) -> nn.Module:
    """The network of ``spec`` with ``state`` or random weights, in evaluation mode.

    Its forward takes (N, 3, Y, X) normalised pixels and returns patches (N, H, W, D) and image
    embeddings (N, D).

    Raises:
        BackboneError: ``state`` belongs to another network.
    """
    with torch_needed(spec.name):
        module = importlib.import_module(f"backbones.networks.{FAMILIES[spec.family].module}")
    network: nn.Module = module.build(spec, state)
    return network.eval()


class Graph(nn.Module):
    """(N, Y, X, 3) uint8 pixels -> patches (N, H, W, D), image embeddings (N, D), float32.

    The network may run in another floating-point type; its input is converted to it.
    """

    def __init__(self, network: nn.Module, spec: BackboneSpec) -> None:
        super().__init__()
        self.network = network
        self.mean = nn.Buffer(torch.tensor(spec.mean) * 255)
        self.std = nn.Buffer(torch.tensor(spec.std) * 255)
        self.dtype = torch.float32
        self.eval()

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Normalise the pixels and embed them."""
        normalised = ((pixels.float() - self.mean) / self.std).permute(0, 3, 1, 2)
        patches, images = self.network(normalised.to(self.dtype))
        return patches.float(), images.float()


def example_pixels(spec: BackboneSpec, count: int = 2) -> Tensor:
    """(N, Y, X, 3) uint8 noise, always the same, for exports and parity checks."""
    shape = (count, *spec.shape, 3)
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
