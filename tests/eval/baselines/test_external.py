from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from backbones.errors import VecspectError
from backbones.networks.patchcore import Trunk
from backbones.pipeline import ImageFeatures, embed_images
from backbones.specs import find_spec
from backbones.torch_runtime import TorchBackbone
from eval.baselines import external as client
from eval.baselines.external import ExternalBaseline, TorchCdist


def test_missing_baselines_are_named_with_the_command_that_makes_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(client, "PYTHON", tmp_path / "python")
    with pytest.raises(VecspectError, match="make compare-env"):
        ExternalBaseline()


def test_baseline_that_fails_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PYTHON", Path(sys.executable))
    with (
        ExternalBaseline() as external,
        pytest.raises(VecspectError, match=r"failed on faiss_load: .*missing\.npy|.*faiss"),
    ):
        external.ask("faiss_load", bank="missing.npy")


def test_score_is_the_largest_distance_to_the_nearest_vector_of_the_bank(tmp_path: Path) -> None:
    torch.manual_seed(0)
    spec, weights = find_spec("compact"), tmp_path / "random.safetensors"
    save_file(Trunk(spec).model.state_dict(), weights)
    noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "image.png")
    (image,) = embed_images(TorchBackbone(spec, weights, "cpu"), [tmp_path / "image.png"])
    assert isinstance(image, ImageFeatures)
    patches = image.patches.reshape(-1, spec.dim)
    bank = patches[::7] + 0.01
    expected = max(np.linalg.norm(bank - patch, axis=1).min() for patch in patches)
    score, heat = TorchCdist(spec, weights, bank).score(tmp_path / "image.png")
    assert score == pytest.approx(float(expected), rel=1e-3)
    assert heat.shape == (40, 60)
    assert 0 < heat.max() <= score * (1 + 1e-5)
