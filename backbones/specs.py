"""The known backbones.

Adding one is a literal here, a golden vector in the tests and a row in the README's table.
"""

from __future__ import annotations

import difflib

from backbones.base import BackboneSpec
from backbones.errors import BackboneError

_TORCHVISION = "BSD-3-Clause (torchvision)"
_YOURS = "that of your file"

SPECS: tuple[BackboneSpec, ...] = (
    BackboneSpec(
        name="compact",
        architecture="resnet10t",
        dim=384,
        parameters=1.2,
        gmacs=1.2,
        weights="bundled",
        licence="see backbones/assets/README.md",
    ),
    BackboneSpec(
        name="patchcore-resnet18",
        architecture="resnet18",
        dim=384,
        parameters=2.8,
        gmacs=1.8,
        weights="hub",
        hub_tag="tv_in1k",
        licence=_TORCHVISION,
    ),
    BackboneSpec(
        name="patchcore-resnet50",
        architecture="resnet50",
        dim=1536,
        parameters=8.5,
        gmacs=4.3,
        weights="hub",
        hub_tag="tv_in1k",
        licence=_TORCHVISION,
    ),
    BackboneSpec(
        name="patchcore-resnet50-v1",
        architecture="resnet50",
        dim=1536,
        parameters=8.5,
        gmacs=4.1,
        weights="file",
        licence=_YOURS,
        stride_in_1x1=True,
    ),
    BackboneSpec(
        name="patchcore-wide_resnet50_2",
        architecture="wide_resnet50_2",
        dim=1536,
        parameters=24.9,
        gmacs=12.0,
        weights="hub",
        hub_tag="tv_in1k",
        licence=_TORCHVISION,
    ),
    BackboneSpec(
        name="efficientad-small",
        family="pdn",
        architecture="small",
        layers=(),
        dim=384,
        parameters=2.7,
        gmacs=18.8,
        weights="file",
        licence=_YOURS,
    ),
    BackboneSpec(
        name="efficientad-medium",
        family="pdn",
        architecture="medium",
        layers=(),
        dim=384,
        parameters=8.0,
        gmacs=63.2,
        weights="file",
        licence=_YOURS,
    ),
    BackboneSpec(
        name="vgg16",
        family="vgg",
        architecture="vgg16",
        layers=(),
        dim=4096,
        input_size=224,
        stride=32,
        parameters=134.3,
        gmacs=15.5,
        weights="hub",
        hub_tag="tv_in1k",
        licence=_TORCHVISION,
    ),
    BackboneSpec(
        name="dinov2-small",
        family="vit",
        architecture="vit_small_patch14_dinov2",
        layers=(11,),
        dim=384,
        input_size=448,
        stride=14,
        parameters=21.9,
        gmacs=31.7,
        weights="hub",
        hub_tag="lvd142m",
        licence="Apache-2.0",
    ),
    BackboneSpec(
        name="dinov2-base",
        family="vit",
        architecture="vit_base_patch14_dinov2",
        layers=(11,),
        dim=768,
        input_size=448,
        stride=14,
        parameters=86.3,
        gmacs=106.9,
        weights="hub",
        hub_tag="lvd142m",
        licence="Apache-2.0",
    ),
    BackboneSpec(
        name="dinov3-small",
        family="vit",
        architecture="vit_small_patch16_dinov3",
        layers=(11,),
        dim=384,
        input_size=448,
        stride=16,
        parameters=21.6,
        gmacs=22.7,
        weights="hub",
        hub_tag="lvd1689m",
        licence="DINOv3 License",
    ),
    BackboneSpec(
        name="dinov3-base",
        family="vit",
        architecture="vit_base_patch16_dinov3",
        layers=(11,),
        dim=768,
        input_size=448,
        stride=16,
        parameters=85.6,
        gmacs=79.0,
        weights="hub",
        hub_tag="lvd1689m",
        licence="DINOv3 License",
    ),
)


def find_spec(name: str) -> BackboneSpec:
    """The spec called ``name``, or of ``timm:NAME[:layers]``, which needs timm.

    Raises:
        BackboneError: no such backbone, with the nearest known name.
    """
    for spec in SPECS:
        if spec.name == name:
            return spec
    if name.startswith("timm:"):
        from backbones.weights import torch_needed

        with torch_needed(name):
            from backbones.networks.timm_models import timm_spec
        return timm_spec(name)
    known = [spec.name for spec in SPECS]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.3)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    raise BackboneError(
        f"unknown backbone '{name}'. Known: {', '.join(known)}, timm:NAME[:layers], or the folder "
        f"of an exported one.{hint}"
    )
