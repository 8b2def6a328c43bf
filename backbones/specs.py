"""The known backbones.

A new one takes a literal here, a golden vector in the tests and a row in the README's table.
"""

from __future__ import annotations

import difflib
from functools import partial

from backbones.base import BackboneSpec
from backbones.errors import BackboneError

_torchvision = partial(
    BackboneSpec,
    weights="hub",
    hub_tag="tv_in1k",
    licence="BSD-3-Clause (torchvision)",
    trained_on="ImageNet-1k",
)
_file = partial(BackboneSpec, weights="file", licence="that of your file")
_pdn = partial(
    _file,
    family="pdn",
    layers=(),
    dim=384,
    trained_on="ImageNet-1k, by a WideResNet-101",
)
_dino = partial(
    BackboneSpec, family="vit", layers=(11,), input_size=(448, 448), stride=14, weights="hub"
)
_dinov2 = partial(_dino, hub_tag="lvd142m", licence="Apache-2.0", trained_on="LVD-142M")
_dinov3 = partial(
    _dino,
    hub_tag="lvd1689m",
    licence="DINOv3 License",
    stride=16,
    trained_on="LVD-1689M",
)

SPECS: tuple[BackboneSpec, ...] = (
    BackboneSpec(
        name="compact",
        architecture="resnet10t",
        dim=384,
        parameters=1.2,
        gmacs=1.2,
        weights="bundled",
        licence="see backbones/assets/README.md",
        trained_on="natural images, by a ResNet-50",
        source="comes with vecspect",
    ),
    _torchvision(
        name="patchcore-resnet18",
        architecture="resnet18",
        dim=384,
        parameters=2.8,
        gmacs=1.8,
        published=("resnet18-f37072fd.pth", "resnet18-5c106cde.pth"),
    ),
    _torchvision(
        name="patchcore-resnet50",
        architecture="resnet50",
        dim=1536,
        parameters=8.5,
        gmacs=4.3,
        published=("resnet50-0676ba61.pth", "resnet50-19c8e357.pth"),
    ),
    _file(
        name="patchcore-resnet50-v1",
        architecture="resnet50",
        dim=1536,
        parameters=8.5,
        gmacs=4.1,
        stride_in_1x1=True,
        trained_on="ImageNet-1k",
        source="Keras Applications' ResNet-50 (MIT), with timm's names of the weights",
    ),
    _torchvision(
        name="patchcore-wide_resnet50_2",
        architecture="wide_resnet50_2",
        dim=1536,
        parameters=24.9,
        gmacs=12.0,
        published=("wide_resnet50_2-95faca4d.pth",),
    ),
    _pdn(
        name="efficientad-small",
        architecture="small",
        parameters=2.7,
        gmacs=18.8,
        source="teacher_small.pth of github.com/nelson1425/EfficientAD",
    ),
    _pdn(
        name="efficientad-medium",
        architecture="medium",
        parameters=8.0,
        gmacs=63.2,
        source="teacher_medium.pth of github.com/nelson1425/EfficientAD",
    ),
    _torchvision(
        name="vgg16",
        family="vgg",
        architecture="vgg16",
        layers=(),
        dim=4096,
        input_size=(224, 224),
        stride=32,
        parameters=134.3,
        gmacs=15.5,
        published=("vgg16-397923af.pth",),
    ),
    _dinov2(
        name="dinov2-small",
        architecture="vit_small_patch14_dinov2",
        dim=384,
        parameters=21.9,
        gmacs=31.7,
    ),
    _dinov2(
        name="dinov2-base",
        architecture="vit_base_patch14_dinov2",
        dim=768,
        parameters=86.3,
        gmacs=106.9,
    ),
    _dinov3(
        name="dinov3-small",
        architecture="vit_small_patch16_dinov3",
        dim=384,
        parameters=21.6,
        gmacs=22.7,
    ),
    _dinov3(
        name="dinov3-base",
        architecture="vit_base_patch16_dinov3",
        dim=768,
        parameters=85.6,
        gmacs=79.0,
    ),
)


def find_spec(name: str) -> BackboneSpec:
    """The spec called ``name``, or that of ``timm:NAME[:layers]``, which needs timm.

    Raises:
        BackboneError: there is no such backbone; the message names the nearest known one.
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
