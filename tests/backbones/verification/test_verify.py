"""Weights are told apart by what a network makes of a picture, and by the digest of their file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backbones.registry import load_backbone
from backbones.verification import verify as verifying
from backbones.verification.canonical import CANONICAL, Canonical, canonical_vector
from backbones.verification.verify import TOLERANCE, median_ms, verify
from backbones.weights import load_state, sha256_of


def test_bundled_network_gives_its_canonical_vector() -> None:
    found = verify(load_backbone("compact", precision="f32"))
    assert found.right
    assert found.difference is not None
    assert found.difference <= TOLERANCE
    assert found.expected == CANONICAL["compact"]


def test_other_weights_of_the_same_network_are_wrong(cache: object, weight_file: Path) -> None:
    found = verify(load_backbone("compact", weights=weight_file, precision="f32"))
    assert found.right is False


@pytest.mark.parametrize(
    "layer", ["conv1.0.weight", "layer2.0.conv2.weight", "layer3.0.conv2.weight"]
)
def test_weights_perturbed_in_one_layer_are_told_apart(
    cache: object, weight_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layer: str
) -> None:
    import torch
    from safetensors.torch import save_file

    whole = load_backbone("compact", weights=weight_file, precision="f32")
    published = Canonical("mine", canonical_vector(whole))
    monkeypatch.setitem(CANONICAL, "compact", published)
    assert verify(whole).right
    state = load_state(weight_file)
    weights = state[layer].numpy()
    noise = np.random.default_rng(0).normal(0, 0.1 * weights.std(), weights.shape)
    state[layer] = torch.from_numpy((weights + noise).astype(np.float32))
    save_file(state, tmp_path / "perturbed.safetensors")
    perturbed = load_backbone(
        "compact", weights=tmp_path / "perturbed.safetensors", precision="f32"
    )
    assert verify(perturbed).right is False


def test_weights_in_half_precision_are_those_they_were_made_from(
    cache: object, weight_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import save_file

    whole = load_backbone("compact", weights=weight_file, precision="f32")
    monkeypatch.setitem(CANONICAL, "compact", Canonical("mine", canonical_vector(whole)))
    half = {name: weight.half() for name, weight in load_state(weight_file).items()}
    save_file(half, tmp_path / "half.safetensors")
    halved = load_backbone("compact", weights=tmp_path / "half.safetensors", precision="f32")
    assert verify(halved).right


def test_published_file_is_known_by_its_digest_where_no_vector_is(
    cache: object, weight_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(CANONICAL, "compact")
    backbone = load_backbone("compact", weights=weight_file, precision="f32")
    assert (verify(backbone).right, verify(backbone).published) == (None, None)
    name = f"mine-{sha256_of(weight_file)[:8]}.pth"
    backbone.spec = replace(backbone.spec, published=("other-00000000.pth", name))  # type: ignore[misc]
    assert (verify(backbone).right, verify(backbone).published) == (True, name)


def test_canonical_vector_is_that_of_the_network_as_it_is_listed(
    cache: object, weight_file: Path
) -> None:
    smaller = load_backbone("compact", weights=weight_file, precision="f32", input_size=(128, 128))
    assert verify(smaller).expected is None


def test_time_of_an_image_is_the_median(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([second for run in range(10) for second in (run, run + 0.001 * (run + 1))])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    monkeypatch.setattr(verifying, "patches_of_picture", lambda backbone: None)
    assert median_ms(None) == pytest.approx(5.5)  # type: ignore[arg-type]
