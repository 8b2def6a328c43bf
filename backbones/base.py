"""What a backbone is: its description, its output, and the registry of known ones.

A backbone turns images into patch embeddings and an image embedding. It knows
nothing of categories, stores or thresholds.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from backbones.errors import BackboneError

Float32 = NDArray[np.float32]
Precision = Literal["f32", "bf16"]


@dataclass(frozen=True, slots=True)
class BackboneSpec:
    """Everything that fixes a backbone's features, apart from the weights themselves.

    Attributes:
        name: the word users type.
        architecture: the timm network.
        layers: timm feature indices whose maps are concatenated (2 = stride 8).
        input_size: height and width in pixels of the square the image is resized to.
        stride: input pixels per patch cell.
        patch_dim: length of a patch embedding; the image embedding has the same length.
        parameters: millions of weights up to the last layer used.
        weights: ``bundled`` (in this package), ``hub`` (timm's) or ``file`` (only ``--weights``).
        hub_tag: timm's pretrained tag.
        licence: of the weights at that source.
        stride_in_1x1: bottleneck blocks stride in their first 1x1 convolution (He et al. 2016,
            Keras), not in the 3x3 one (torchvision, timm).
    """

    name: str
    architecture: str
    patch_dim: int
    parameters: float
    weights: Literal["bundled", "hub", "file"]
    licence: str
    hub_tag: str = ""
    layers: tuple[int, ...] = (2, 3)
    input_size: int = 256
    stride: int = 8
    stride_in_1x1: bool = False

    @property
    def grid(self) -> int:
        """Rows (and columns) of the patch grid."""
        return self.input_size // self.stride


SPECS: tuple[BackboneSpec, ...] = (
    BackboneSpec(
        name="compact",
        architecture="resnet10t",
        patch_dim=384,
        parameters=1.2,
        weights="bundled",
        licence="see backbones/assets/README.md",
    ),
    BackboneSpec(
        name="patchcore-resnet18",
        architecture="resnet18",
        patch_dim=384,
        parameters=2.8,
        weights="hub",
        hub_tag="tv_in1k",
        licence="BSD-3-Clause (torchvision)",
    ),
    BackboneSpec(
        name="patchcore-resnet50",
        architecture="resnet50",
        patch_dim=1536,
        parameters=8.5,
        weights="hub",
        hub_tag="tv_in1k",
        licence="BSD-3-Clause (torchvision)",
    ),
    BackboneSpec(
        name="patchcore-resnet50-v1",
        architecture="resnet50",
        patch_dim=1536,
        parameters=8.5,
        weights="file",
        licence="that of your file",
        stride_in_1x1=True,
    ),
    BackboneSpec(
        name="patchcore-wide_resnet50_2",
        architecture="wide_resnet50_2",
        patch_dim=1536,
        parameters=24.9,
        weights="hub",
        hub_tag="tv_in1k",
        licence="BSD-3-Clause (torchvision)",
    ),
)


@dataclass(frozen=True, slots=True)
class Features:
    """Embeddings of N images: ``patches`` (N, H, W, D) and ``images`` (N, E), both float32."""

    patches: Float32
    images: Float32

    def __post_init__(self) -> None:
        if self.patches.ndim != 4 or self.patches.dtype != np.float32:
            raise ValueError(
                "patches must be float32 with shape (N, H, W, D), "
                f"got {self.patches.dtype} {self.patches.shape}"
            )
        if self.images.ndim != 2 or self.images.dtype != np.float32:
            raise ValueError(
                "images must be float32 with shape (N, E), "
                f"got {self.images.dtype} {self.images.shape}"
            )
        if len(self.patches) != len(self.images):
            raise ValueError(
                "patches and images must agree in N, got "
                f"{len(self.patches)} and {len(self.images)}"
            )


class Backbone(Protocol):
    """A network ready to run."""

    @property
    def spec(self) -> BackboneSpec:
        """What fixes the features, apart from the weights."""

    @property
    def weights_file(self) -> Path | None:
        """The file given by the user, so that another process can load the same network."""

    @property
    def precision(self) -> Precision:
        """Number format of the inference."""

    @property
    def fingerprint(self) -> str:
        """Hash of everything that changes the features: weights, layers, size, precision."""

    def embed(self, inputs: NDArray[np.uint8]) -> Features:
        """Features of (N, S, S, 3) RGB images at the spec's input size (`to_input` makes them)."""


def find_spec(name: str) -> BackboneSpec:
    """The spec called ``name``; BackboneError with the nearest known name otherwise."""
    for spec in SPECS:
        if spec.name == name:
            return spec
    known = [spec.name for spec in SPECS]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.3)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    raise BackboneError(f"unknown backbone '{name}'. Known: {', '.join(known)}.{hint}")
