"""What a backbone is: its description, its output and the protocol that all of them follow.

A backbone turns images into patch embeddings and an image embedding. It knows
nothing of categories, stores or thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from backbones.errors import BackboneError
from backbones.geometry import MEAN, STD, Geometry

Float32 = NDArray[np.float32]
Family = Literal["patchcore", "pdn", "vit", "vgg"]
Precision = Literal["f32", "bf16", "int8"]
Device = Literal["cpu", "cuda"]

PDN_BORDER = 16
"""Input pixels on each side that no cell of an unpadded PDN has its centre in."""


@dataclass(frozen=True, slots=True)
class BackboneSpec:
    """Everything that fixes a backbone's features, apart from the weights themselves.

    Attributes:
        name: the word users type.
        family: which head makes embeddings of the network's maps: ``patchcore`` (any CNN),
            ``vit`` (any vision transformer), ``pdn`` (EfficientAD's teacher), ``vgg`` (one
            embedding an image, no patches).
        architecture: the timm network; ``small`` or ``medium`` for a PDN.
        dim: length of a patch embedding and of the image embedding.
        parameters: millions of weights up to the last layer used.
        gmacs: billions of multiply-adds an image takes; 0 where nobody counted them.
        weights: ``bundled`` (in this package), ``hub`` (timm's) or ``file`` (only ``--weights``).
        licence: of the weights at that source.
        hub_tag: timm's pretrained tag.
        layers: timm feature indices whose maps are concatenated (of a CNN, 2 is stride 8; of a
            transformer, the number of the block).
        input_size: height and width in pixels of the square the image is resized to.
        crop: side in pixels of the centre of that square which alone is seen; 0 for all of it.
        stride: input pixels per patch cell.
        stride_in_1x1: bottleneck blocks stride in their first 1x1 convolution (He et al. 2016,
            Keras), not in the 3x3 one (torchvision, timm).
        padding: a PDN pads its maps with zeros, so that its cells cover the whole image.
        mean, std: of RGB in [0, 1], taken off inside the network's graph.
    """

    name: str
    architecture: str
    dim: int
    parameters: float
    weights: Literal["bundled", "hub", "file"]
    licence: str
    gmacs: float = 0.0
    family: Family = "patchcore"
    hub_tag: str = ""
    layers: tuple[int, ...] = (2, 3)
    input_size: int = 256
    crop: int = 0
    stride: int = 8
    stride_in_1x1: bool = False
    padding: bool = True
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD

    def __post_init__(self) -> None:
        side, name = self.side, f"backbone '{self.name}'"
        if self.crop and not (0 < self.crop <= self.input_size):
            raise BackboneError(
                f"--crop {self.crop} does not lie within the input of {self.input_size} px."
            )
        if (self.input_size - side) % 2:
            raise BackboneError(f"--crop {self.crop} has no centre in {self.input_size} px.")
        if side <= 0 or side % self.stride or self.grid < 1:
            raise BackboneError(
                f"{name} takes an input side that is a multiple of {self.stride} px, got {side}. "
                f"Try --input-size {max(1, round(side / self.stride)) * self.stride}."
            )

    @property
    def level(self) -> Literal["patch", "image"]:
        """Whether it gives patch embeddings, or one embedding an image that scores by itself."""
        return "image" if self.family == "vgg" else "patch"

    @property
    def side(self) -> int:
        """Height and width in pixels of what the network takes."""
        return self.crop or self.input_size

    @property
    def inset(self) -> int:
        """Pixels at each border of the input square that no patch cell covers."""
        unpadded = self.family == "pdn" and not self.padding
        return (self.input_size - self.side) // 2 + (PDN_BORDER if unpadded else 0)

    @property
    def grid(self) -> int:
        """Rows (and columns) of the patch grid; an image-level backbone has one cell."""
        return 1 if self.level == "image" else (self.input_size - 2 * self.inset) // self.stride

    @property
    def patches(self) -> str:
        """What it yields of patches, in words: ``32x32x384``, or ``none``."""
        return "none" if self.level == "image" else f"{self.grid}x{self.grid}x{self.dim}"

    @property
    def normalised(self) -> bool:
        """Whether a category normalises the channels over its normal images (EfficientAD)."""
        return self.family == "pdn"

    def geometry(self, width: int, height: int) -> Geometry:
        """Where the patch cells lie in an image of ``width`` x ``height`` pixels."""
        return Geometry(width, height, self.grid, self.grid, self.input_size, self.inset)


@dataclass(frozen=True, slots=True)
class Features:
    """Embeddings of N images: ``patches`` (N, H, W, D) and ``images`` (N, D), both float32.

    Of an image-level backbone H and W are 1 and the patch is the image embedding.
    """

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
                "images must be float32 with shape (N, D), "
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
    def source(self) -> Path | None:
        """The weight file or exported folder it was loaded from, for another process to find."""

    @property
    def precision(self) -> Precision:
        """Number format of the inference."""

    @property
    def fingerprint(self) -> str:
        """Hash of everything that changes the features: weights, layers, size, precision."""

    def embed(self, inputs: NDArray[np.uint8]) -> Features:
        """Features of (N, S, S, 3) RGB images, S the spec's ``side`` (`to_input` makes them)."""


class ChannelNormalised:
    """A `Backbone` whose channels have mean 0 and deviation 1 over a category's normal images.

    Batzner et al., "EfficientAD", WACV 2024, section 3.2: the teacher's channels differ in scale,
    and a distance would be that of the few loudest ones.

    Args:
        mean, std: (D,) float32, of the patches of the normal images.
    """

    def __init__(self, backbone: Backbone, mean: Float32, std: Float32) -> None:
        self._backbone = backbone
        self._mean, self._std = mean, std
        self.spec = backbone.spec
        self.source = backbone.source
        self.precision = backbone.precision
        self.fingerprint = backbone.fingerprint

    def embed(self, inputs: NDArray[np.uint8]) -> Features:
        """Features of (N, S, S, 3) images, normalised."""
        features = self._backbone.embed(inputs)
        return Features(
            (features.patches - self._mean) / self._std, (features.images - self._mean) / self._std
        )
