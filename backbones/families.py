"""The families of networks: the embeddings each one gives, and the module that builds it.

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
    """Properties shared by every network of a family.

    Attributes:
        module: in `backbones.networks`; its ``build(spec, state)`` makes the network.
        level: ``patch`` for patch embeddings, ``image`` for one embedding per image, which is
            scored directly.
        normalised: a category normalises the channels over its normal images.
        about: description of its embeddings, in a phrase.
        border: input pixels on each side that no cell covers if maps are not padded.
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
    # its maps hold negative values, and in int8 OpenVINO pads them with a code that does not stand
    # for zero
    "patchcore": Family(
        "patchcore",
        "PatchCore: intermediate maps of a CNN, averaged over neighbourhoods",
        unquantised=("AvgPool",),
    ),
    "pdn": Family(
        "efficientad",
        "EfficientAD's teacher, a patch description network",
        normalised=True,
        border=16,
    ),
    "vit": Family("vit", "patch tokens of a vision transformer", transformer=True),
    "vgg": Family("vgg16", "one embedding per image, no patches", level="image"),
}
