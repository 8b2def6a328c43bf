from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from backbones.base import BackboneSpec

if TYPE_CHECKING:
    from torch import nn


@pytest.fixture(scope="session")
def random_trunk() -> Callable[[BackboneSpec], nn.Module]:
    """Makes trunks in which every weight counts; the same spec gives the same ones."""
    import torch

    from backbones.patchcore import build_trunk

    def make(spec: BackboneSpec) -> nn.Module:
        torch.manual_seed(0)
        trunk = build_trunk(spec)
        # timm starts every residual branch at zero: its convolutions could be anything
        for layer in trunk.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(layer.weight, 0.5, 1.5)
                torch.nn.init.uniform_(layer.bias, -0.5, 0.5)
                assert layer.running_mean is not None
                assert layer.running_var is not None
                torch.nn.init.uniform_(layer.running_mean, -0.5, 0.5)
                torch.nn.init.uniform_(layer.running_var, 0.5, 1.5)
        return trunk

    return make
