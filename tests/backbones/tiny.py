"""A network of few layers and a few channels: exported in no time."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from backbones.networks.patchcore import PatchCoreNetwork
from backbones.specs import find_spec

TINY = replace(find_spec("compact"), input_size=(64, 64), dim=10)


class TinyTrunk(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        self.first = nn.Conv2d(8, 4, 3, stride=2, padding=1)
        self.second = nn.Conv2d(4, 6, 3, stride=2, padding=1)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        first = self.first(self.stem(pixels))
        return [first, self.second(first)]


def tiny_network() -> nn.Module:
    return PatchCoreNetwork(TinyTrunk()).eval()
