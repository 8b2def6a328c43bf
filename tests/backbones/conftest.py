from __future__ import annotations

import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from backbones.base import BackboneSpec
from backbones.errors import BackboneError
from backbones.registry import load_backbone
from backbones.specs import find_spec

if TYPE_CHECKING:
    from torch import nn

MakeNetwork = Callable[[BackboneSpec], "nn.Module"]


@pytest.fixture(scope="session")
def random_network() -> MakeNetwork:
    """Makes networks in which every weight counts; the same spec gives the same ones.

    The weights come from numpy, by name: torch and timm may change how they begin a network.
    """
    import torch
    from torch import Tensor
    from torch.overrides import TorchFunctionMode

    from backbones.networks.build import build_network

    class NoRandomBeginning(TorchFunctionMode):
        """Spares the draws that are overwritten anyway: of 90 million weights they take seconds."""

        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if func in (Tensor.normal_, Tensor.uniform_, Tensor.erfinv_):
                return args[0].zero_()
            return func(*args, **(kwargs or {}))

    def make(spec: BackboneSpec) -> nn.Module:
        with NoRandomBeginning():
            network = build_network(spec)
        with torch.no_grad():
            for name, weight in network.state_dict().items():
                if weight.is_floating_point():
                    weight.copy_(torch.from_numpy(_weight(name, tuple(weight.shape))))
        return network

    return make


def refusal(name: str, **options: Any) -> str:
    """The one line with which `load_backbone` refuses."""
    with pytest.raises(BackboneError) as caught:
        load_backbone(name, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def _weight(name: str, shape: tuple[int, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("running_var"):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    if name.endswith("weight") and len(shape) == 1:
        # below 1 on the whole: what residual blocks add must not drown what came before
        return rng.uniform(0.4, 1.0, shape).astype(np.float32)
    values = rng.standard_normal(shape, dtype=np.float32)
    if len(shape) in (1, 3):  # biases, scales; tokens and position embeddings
        return 0.2 * values
    return values * np.float32(np.sqrt(2 / np.prod(shape[1:])))


@pytest.fixture(scope="session")
def weight_file(random_network: MakeNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read only: random weights for the network of `compact`."""
    from safetensors.torch import save_file

    network: Any = random_network(find_spec("compact"))
    file = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    save_file(network.trunk.model.state_dict(), file)
    return file


@pytest.fixture(scope="session")
def filled_cache(weight_file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Read only: a cache in which ``weight_file`` lies exported, and its fingerprint."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VECSPECT_CACHE", str(cache))
        backbone = load_backbone("compact", weights=weight_file, precision="f32")
    return cache, backbone.fingerprint


@pytest.fixture
def cache(
    filled_cache: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, str]:
    """A copy of ``filled_cache`` that is in force."""
    folder = shutil.copytree(filled_cache[0], tmp_path / "cache")
    monkeypatch.setenv("VECSPECT_CACHE", str(folder))
    return folder, filled_cache[1]
