"""The families of networks: what each makes of an image, and which module builds it.

A new family is an entry here, a module with ``build`` in `backbones.networks` and the specs
of its networks in ``backbones/specs.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FamilyName = Literal["patchcore", "pdn", "vit", "vgg"]
Level = Literal["patch", "image"]


@dataclass(frozen=True, slots=True)
class Family:
    """What holds for every network of a family.

    Attributes:
        module: in `backbones.networks`; its ``build(spec, state)`` makes the network.
        level: whether it gives patch embeddings, or one embedding an image that scores by itself.
        normalised: a category normalises the channels over its normal images.
        border: input pixels on each side that no cell covers where maps are not padded.
        transformer: int8 quantises it as a transformer.
        unquantised: OpenVINO layers that stay in floating point in int8.
    """

    module: str
    level: Level = "patch"
    normalised: bool = False
    border: int = 0
    transformer: bool = False
    unquantised: tuple[str, ...] = ()


FAMILIES: dict[FamilyName, Family] = {
    # middle maps of any CNN, averaged over neighbourhoods; they hold negative values, and
    # OpenVINO pads them in int8 with a code that does not mean zero
    "patchcore": Family("patchcore", unquantised=("AvgPool",)),
    # EfficientAD's teacher, a patch description network
    "pdn": Family("efficientad", normalised=True, border=16),
    # patch tokens of any vision transformer
    "vit": Family("vit", transformer=True),
    # one embedding an image of VGG16, no patches
    "vgg": Family("vgg16", level="image"),
}
