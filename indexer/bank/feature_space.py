"""The space in which patches are compared: a property of the category, stored with it.

A new one takes a class here and an entry in `FEATURE_SPACES`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from backbones.base import Backbone, BackboneSpec, Features

Float32 = NDArray[np.float32]


class FeatureSpace(Protocol):
    """A transformation of a backbone's features before they are compared."""

    @classmethod
    def fit(cls, patches: Iterable[Float32], dim: int) -> Self:
        """Fit the space to normal patches (..., D), which arrive image by image and only once."""

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Self:
        """Restore the space from its stored form, the inverse of `to_payload`."""

    def to_payload(self) -> dict[str, Any]:
        """The form stored in the catalog, with ``name``."""

    def transform(self, features: Features) -> Features:
        """Features transformed into this space."""


@dataclass(frozen=True, slots=True)
class Plain:
    """Features exactly as the backbone gives them."""

    @classmethod
    def fit(cls, patches: Iterable[Float32], dim: int) -> Self:
        """Return the one plain space without reading a patch."""
        return cls()

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Self:
        """Restore the space from its stored form, the inverse of `to_payload`."""
        return cls()

    def to_payload(self) -> dict[str, Any]:
        """The stored form of the space, which is only its name."""
        return {"name": "plain"}

    def transform(self, features: Features) -> Features:
        """Features, unchanged."""
        return features


@dataclass(frozen=True, slots=True, eq=False)
class ChannelNormalised:
    """Channels of mean 0 and deviation 1 over the patches of a category's normal images.

    Batzner et al., "EfficientAD", WACV 2024, section 3.2: the teacher's channels differ in scale,
    and a few large ones would dominate every distance.

    Attributes:
        mean, std: (D,) float32.
    """

    mean: Float32
    std: Float32

    @classmethod
    def fit(cls, patches: Iterable[Float32], dim: int) -> Self:
        """Fit the space to normal patches (..., D), which arrive image by image and only once."""
        count, first, second = 0, np.zeros(dim), np.zeros(dim)
        for image in patches:
            flat = image.reshape(-1, dim).astype(np.float64)
            count += len(flat)
            first += flat.sum(axis=0)
            second += np.einsum("nd,nd->d", flat, flat)
        mean = first / max(count, 1)
        std = np.sqrt(np.maximum(second / max(count, 1) - mean**2, 1e-12))
        return cls(mean.astype(np.float32), std.astype(np.float32))

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Self:
        """Restore the space from its stored form, the inverse of `to_payload`."""
        return cls(*(np.array(payload[name], np.float32) for name in ("mean", "std")))

    def to_payload(self) -> dict[str, Any]:
        """The stored form of the space: mean and deviation of each channel."""
        statistics = {"mean": self.mean.tolist(), "std": self.std.tolist()}
        return {"name": "channel-normalised", **statistics}

    def transform(self, features: Features) -> Features:
        """Features less the mean of their channels, divided by the deviation."""
        patches, images = features.patches, features.images
        return Features((patches - self.mean) / self.std, (images - self.mean) / self.std)


FEATURE_SPACES: dict[str, type[FeatureSpace]] = {
    "plain": Plain,
    "channel-normalised": ChannelNormalised,
}


def default_space(spec: BackboneSpec) -> type[FeatureSpace]:
    """The default kind of space for the patches of a backbone."""
    return FEATURE_SPACES["channel-normalised" if spec.normalised else "plain"]


def read_space(payload: Mapping[str, Any]) -> FeatureSpace:
    """The feature space stored in the catalog."""
    return FEATURE_SPACES[payload["name"]].from_payload(payload)


class TransformedBackbone:
    """A `Backbone` whose features are transformed into a feature space."""

    def __init__(self, backbone: Backbone, space: FeatureSpace) -> None:
        self._backbone, self._space = backbone, space
        self.spec = backbone.spec
        self.source = backbone.source
        self.precision = backbone.precision
        self.fingerprint = backbone.fingerprint

    def embed(self, inputs: NDArray[np.uint8]) -> Features:
        """Features of (N, H, W, 3) images, transformed into the space."""
        return self._space.transform(self._backbone.embed(inputs))


def in_space(backbone: Backbone, payload: Mapping[str, Any]) -> Backbone:
    """The backbone with its features transformed into the feature space of a catalog entry."""
    space = read_space(payload)
    return backbone if isinstance(space, Plain) else TransformedBackbone(backbone, space)
