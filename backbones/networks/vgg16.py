"""The 4096-d image embedding of VGG16: after the second fully connected layer's ReLU.

Simonyan & Zisserman, ICLR 2015, configuration D. It describes what an image shows, not where.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import timm
import torch
from torch import Tensor, nn

from backbones.base import BackboneSpec
from backbones.networks.timm_models import copy_weights

_TORCHVISION = {
    "classifier.0": ("pre_logits.fc1", (4096, 512, 7, 7)),
    "classifier.3": ("pre_logits.fc2", (4096, 4096, 1, 1)),
    "classifier.6": ("head.fc", None),
}


def build(spec: BackboneSpec, state: Mapping[str, Tensor] | None) -> nn.Module:
    """The VGG16 of ``spec``, see `build_network`."""
    return Vgg16Network(spec, state)


class Vgg16Network(nn.Module):
    """VGG16: (N, 3, 224, 224) -> embedding (N, 4096), also given as patches (N, 1, 1, 4096)."""

    def __init__(self, spec: BackboneSpec, state: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        self.model: Any = timm.create_model(spec.architecture, pretrained=False, num_classes=0)
        if state is not None:
            with torch.device("meta"):
                whole = set(timm.create_model(spec.architecture, pretrained=False).state_dict())
            copy_weights(self.model, _as_timm(state), whole, f"timm '{spec.architecture}'")
        self.eval()

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return patches (N, 1, 1, 4096) and images (N, 4096)."""
        features = self.model.forward_features(pixels)
        images: Tensor = self.model.forward_head(features, pre_logits=True)
        return images[:, None, None, :], images


def _as_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under timm's names: torchvision's fully connected layers become convolutions."""
    renamed = {}
    for name, weight in state.items():
        layer, _, kind = name.rpartition(".")
        target, shape = _TORCHVISION.get(layer, (layer, None))
        if shape and kind == "weight" and weight.numel() == torch.Size(shape).numel():
            weight = weight.reshape(shape)
        renamed[f"{target}.{kind}"] = weight
    return renamed
