"""The description, the output and the protocol that all backbones share.

A backbone turns images into patch embeddings and an image embedding. It knows
nothing of categories, stores or thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from backbones.errors import BackboneError
from backbones.families import FAMILIES, FamilyName, Level
from backbones.geometry import MEAN, STD, Geometry, Size, in_words

Float32 = NDArray[np.float32]
Precision = Literal["f32", "bf16", "int8"]
Device = Literal["cpu", "cuda"]


@dataclass(frozen=True, slots=True)
class BackboneSpec:
    """Everything that fixes a backbone's features, apart from the weights themselves.

    Attributes:
        name: the name users type.
        family: how embeddings are made from the network's maps, see `FAMILIES`.
        architecture: the timm network; ``small`` or ``medium`` for a PDN.
        dim: length of a patch embedding and of the image embedding.
        parameters: millions of weights up to the last layer used.
        gmacs: billions of multiply-adds per image; 0 if not counted.
        weights: ``bundled`` (in this package), ``hub`` (timm's) or ``file`` (``--weights`` only).
        licence: licence of the weights at that source.
        trained_on: training images of the weights, and their teacher network, if any.
        source: where to get the weights, besides the hub.
        published: names under which the weights are published as files. Eight hex digits in such a
            name begin the file's SHA-256, as torchvision's do.
        hub_tag: timm's pretrained tag.
        layers: timm feature indices whose maps are concatenated (for a CNN, 2 is stride 8; for a
            transformer, the block number).
        input_size: height and width in pixels that the image is resized to.
        crop: height and width in pixels of the central crop that is embedded; None for the whole
            image.
        stride: input pixels per patch cell.
        stride_in_1x1: bottleneck blocks stride in their first 1x1 convolution (He et al. 2016,
            Keras), not in the 3x3 one (torchvision, timm).
        padding: a PDN pads its maps with zeros, so that its cells cover the whole image.
        mean, std: RGB statistics in [0, 1], applied inside the network's graph.
    """

    name: str
    architecture: str
    dim: int
    parameters: float
    weights: Literal["bundled", "hub", "file"]
    licence: str = field(compare=False)
    trained_on: str = field(default="", compare=False)
    source: str = field(default="", compare=False)
    published: tuple[str, ...] = field(default=(), compare=False)
    gmacs: float = 0.0
    family: FamilyName = "patchcore"
    hub_tag: str = ""
    layers: tuple[int, ...] = (2, 3)
    input_size: Size = (256, 256)
    crop: Size | None = None
    stride: int = 8
    stride_in_1x1: bool = False
    padding: bool = True
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD

    def __post_init__(self) -> None:
        crop, size = in_words(self.shape), in_words(self.input_size)
        pairs = list(zip(self.shape, self.input_size, strict=True))
        if self.crop and not all(0 < seen <= side for seen, side in pairs):
            raise BackboneError(f"--crop {crop} does not lie within the input of {size} px.")
        if any((side - seen) % 2 for seen, side in pairs):
            raise BackboneError(f"--crop {crop} has no centre in {size} px.")
        if any(seen <= 0 or seen % self.stride for seen in self.shape) or min(self.grid) < 1:
            height, width = (max(1, round(s / self.stride)) * self.stride for s in self.shape)
            raise BackboneError(
                f"backbone '{self.name}' needs an input side that is a multiple of {self.stride} "
                f"px, got {crop}. Try --input-size {in_words((height, width))}."
            )

    @property
    def level(self) -> Level:
        """Level of the embeddings: patches, or one embedding per image that is scored directly."""
        return FAMILIES[self.family].level

    @property
    def shape(self) -> Size:
        """Height and width in pixels of the network's input."""
        return self.crop or self.input_size

    @property
    def inset(self) -> Size:
        """Pixels at top and bottom, and at left and right, that no patch cell covers."""
        border = 0 if self.padding else FAMILIES[self.family].border
        (height, width), (rows, cols) = self.input_size, self.shape
        return (height - rows) // 2 + border, (width - cols) // 2 + border

    @property
    def grid(self) -> Size:
        """Rows and columns of patch cells; an image-level backbone has one cell."""
        if self.level == "image":
            return 1, 1
        (height, width), (top, left) = self.input_size, self.inset
        return (height - 2 * top) // self.stride, (width - 2 * left) // self.stride

    @property
    def patches(self) -> str:
        """Shape of the patch embeddings in words: ``32x32x384``, or ``none``."""
        return "none" if self.level == "image" else "{}x{}x{}".format(*self.grid, self.dim)

    @property
    def megabytes(self) -> float:
        """Size of the weights up to the last layer used, in f32."""
        return 4 * self.parameters

    @property
    def hub_repository(self) -> str:
        """Repository of timm's weights on the model hub."""
        return f"timm/{self.architecture}.{self.hub_tag}"

    @property
    def normalised(self) -> bool:
        """True if a category normalises the channels over its normal images (EfficientAD)."""
        return FAMILIES[self.family].normalised

    def geometry(self, image: Size) -> Geometry:
        """Position of the patch cells in an image of the given height and width in pixels."""
        return Geometry(image, self.grid, self.input_size, self.inset)


@dataclass(frozen=True, slots=True)
class Features:
    """Embeddings of N images: ``patches`` (N, H, W, D) and ``images`` (N, D), both float32.

    For an image-level backbone, H and W are 1 and the patch is the image embedding.
    """

    patches: Float32
    images: Float32

    def __post_init__(self) -> None:
        for name, array, shape in (
            ("patches", self.patches, "(N, H, W, D)"),
            ("images", self.images, "(N, D)"),
        ):
            if array.ndim != shape.count(",") + 1 or array.dtype != np.float32:
                raise ValueError(
                    f"{name} must be float32 with shape {shape}, got {array.dtype} {array.shape}"
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
        """Everything that fixes the features, apart from the weights."""

    @property
    def source(self) -> Path | None:
        """Weight file or exported folder that the network was loaded from, for other processes."""

    @property
    def precision(self) -> Precision:
        """Number format of the inference."""

    @property
    def fingerprint(self) -> str:
        """Hash of everything that changes the features: weights, layers, size, precision."""

    def embed(self, inputs: NDArray[np.uint8]) -> Features:
        """Features of (N, H, W, 3) RGB images of the spec's ``shape``, see `to_input`."""
