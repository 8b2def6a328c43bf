from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

from backbones.base import BackboneSpec

if TYPE_CHECKING:
    from torch import nn

MakeNetwork = Callable[[BackboneSpec], "nn.Module"]


@pytest.fixture(scope="session")
def random_network() -> MakeNetwork:
    """Makes networks in which every weight counts; the same spec gives the same ones.

    The weights come from numpy, by name: torch and timm may change how they begin a network.
    """
    import torch

    from backbones.networks import build_network

    def make(spec: BackboneSpec) -> nn.Module:
        network = build_network(spec)
        with torch.no_grad():
            for name, weight in network.state_dict().items():
                if weight.is_floating_point():
                    weight.copy_(torch.from_numpy(_weight(name, tuple(weight.shape))))
        return network

    return make


def _weight(name: str, shape: tuple[int, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("running_var") or (name.endswith("weight") and len(shape) == 1):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    values = rng.standard_normal(shape, dtype=np.float32)
    if len(shape) < 2:
        return 0.2 * values
    return values * np.float32(np.sqrt(2 / np.prod(shape[1:])))
