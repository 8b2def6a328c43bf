from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from backbones.base import Features, Precision
from backbones.specs import find_spec
from indexer.bank.feature_space import FEATURE_SPACES, default_space, in_space, read_space

DIM = 4


class Given:
    """Implements `Backbone`: patches whose channels differ in place and in scale."""

    spec = replace(find_spec("efficientad-small"), dim=DIM)
    source: Path | None = None
    precision: Precision = "f32"
    fingerprint = "fakefakefakefake"

    def embed(self, inputs: NDArray[np.uint8]) -> Features:
        return features_of(len(inputs))


def features_of(seed: int, images: int = 2) -> Features:
    rng = np.random.default_rng(seed)
    scales = np.array([1, 10, 100, 1000])
    patches = (rng.normal(size=(images, 3, 5, DIM)) * scales + 7).astype(np.float32)
    return Features(patches, patches.mean(axis=(1, 2)))


@pytest.mark.parametrize("name", FEATURE_SPACES)
@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000))
def test_space_survives_the_catalog_to_the_last_bit(name: str, seed: int) -> None:
    space = FEATURE_SPACES[name].fit([features_of(seed).patches], DIM)
    payload = json.loads(json.dumps(space.to_payload()))
    assert payload["name"] == name
    again = read_space(payload)
    assert type(again) is FEATURE_SPACES[name]
    assert again.to_payload() == space.to_payload()
    features = features_of(seed + 1)
    for before, after in zip(
        (space.transform(features).patches, space.transform(features).images),
        (again.transform(features).patches, again.transform(features).images),
        strict=True,
    ):
        np.testing.assert_array_equal(before, after)
        assert after.dtype == np.float32


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.integers(1, 4))
def test_channels_of_what_it_was_fitted_to_have_mean_0_and_deviation_1(
    seed: int, images: int
) -> None:
    """Whether the patches come together or image by image."""
    features = features_of(seed, images)
    kind = FEATURE_SPACES["channel-normalised"]
    for given_as in ([features.patches], list(features.patches)):
        found = kind.fit(iter(given_as), DIM).transform(features).patches.reshape(-1, DIM)
        np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-4)
        np.testing.assert_allclose(found.std(axis=0), 1, rtol=1e-3)


def test_channel_that_never_varies_stays_finite() -> None:
    patches = np.ones((3, 3, DIM), np.float32)
    space = FEATURE_SPACES["channel-normalised"].fit([patches], DIM)
    found = space.transform(Features(patches[None], patches[None, 0, 0]))
    assert not found.patches.any()


def test_kind_of_space_is_that_of_the_backbone() -> None:
    assert default_space(find_spec("compact")) is FEATURE_SPACES["plain"]
    assert default_space(find_spec("efficientad-small")) is FEATURE_SPACES["channel-normalised"]


def test_backbone_in_a_space_gives_features_of_it_and_is_else_the_same() -> None:
    backbone = Given()
    assert in_space(backbone, {"name": "plain"}) is backbone
    space = FEATURE_SPACES["channel-normalised"].fit([features_of(5).patches], DIM)
    inside = in_space(backbone, space.to_payload())
    for name in ("spec", "source", "precision", "fingerprint"):
        assert getattr(inside, name) == getattr(backbone, name)
    found, plain = inside.embed(np.zeros((2, 8, 8, 3), np.uint8)), features_of(2)
    mean, std = (np.array(space.to_payload()[name], np.float32) for name in ("mean", "std"))
    np.testing.assert_array_equal(found.patches, (plain.patches - mean) / std)
    np.testing.assert_array_equal(found.images, (plain.images - mean) / std)
