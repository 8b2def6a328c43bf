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
        about: what it makes of an image, in a phrase.
        border: input pixels on each side that no cell covers where maps are not padded.
        transformer: int8 quantises it as a transformer.
        unquantised: OpenVINO layers that stay in floating point in int8.
    """

    module: str
    about: str
    level: Level = "patch"
    normalised: bool = False
    border: int = 0
    transformer: bool = False
    unquantised: tuple[str, ...] = ()


FAMILIES: dict[FamilyName, Family] = {
    # its maps hold negative values, and OpenVINO pads them in int8 with a code that does not mean
    # zero
    "patchcore": Family(
        "patchcore",
        "PatchCore: middle maps of a CNN, averaged over neighbourhoods",
        unquantised=("AvgPool",),
    ),
    "pdn": Family(
        "efficientad",
        "EfficientAD's teacher, a patch description network",
        normalised=True,
        border=16,
    ),
    "vit": Family("vit", "patch tokens of a vision transformer", transformer=True),
    "vgg": Family("vgg16", "one embedding an image, no patches", level="image"),
}
