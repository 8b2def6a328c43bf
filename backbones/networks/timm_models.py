"""Networks from timm: their maps, cutting them after the last layer used, and their weights.

This module needs torch and timm, so it is imported only to export, train or run a torch network.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import timm
import torch
from torch import Tensor, nn

from backbones.base import BackboneSpec
from backbones.errors import BackboneError
from backbones.geometry import in_words

PREFIX = "timm:"
MIDDLE_STRIDES = (8, 16)
"""Strides of a CNN's default maps (layer2 and layer3 of a ResNet, as in PatchCore)."""


def timm_spec(name: str) -> BackboneSpec:
    """The spec of ``timm:NAME[:layers]``, where ``layers`` are timm's feature indices.

    Without ``layers``, a CNN gives its last maps of stride 8 and 16 and a transformer the tokens of
    its last block. Input size and normalisation are those of timm's pretrained weights; a CNN that
    accepts any size gets 256 pixels.

    Raises:
        BackboneError: no such network, one without feature maps, or no such layers.
    """
    architecture, _, wanted = name.removeprefix(PREFIX).partition(":")
    base, _, tag = architecture.partition(".")
    if not timm.is_model(base):
        close = difflib.get_close_matches(base, timm.list_models(), n=1)
        hint = f" Did you mean '{PREFIX}{close[0]}'?" if close else ""
        raise BackboneError(f"timm has no network '{base}'.{hint}")
    try:
        with torch.device("meta"):
            model: Any = timm.create_model(architecture, pretrained=False)
    except RuntimeError as error:
        raise BackboneError(f"timm cannot make '{architecture}': {error}") from error
    if not hasattr(model, "forward_intermediates"):
        raise BackboneError(f"timm's '{base}' gives no feature maps: choose another network.")
    strides = [int(info["reduction"]) for info in model.feature_info]
    transformer = hasattr(model, "num_prefix_tokens") and len(set(strides)) == 1
    layers = _layers(wanted, strides, transformer, name)
    config = model.pretrained_cfg
    fixed = transformer or config.get("fixed_input_size", False)
    height, width = map(int, config["input_size"][-2:]) if fixed else (256, 256)
    cut(model, layers)
    return BackboneSpec(
        name=f"{PREFIX}{architecture}:{','.join(map(str, layers))}",
        family="vit" if transformer else "patchcore",
        architecture=base,
        hub_tag=tag or config.get("tag") or "",
        layers=layers,
        dim=sum(int(model.feature_info[i]["num_chs"]) for i in layers),
        input_size=(height, width),
        stride=strides[layers[0]],
        parameters=round(sum(p.numel() for p in model.parameters()) / 1e6, 1),
        weights="hub",
        licence=config.get("license") or "see the network's page on the hub",
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )


def _layers(wanted: str, strides: list[int], transformer: bool, name: str) -> tuple[int, ...]:
    if not wanted:
        if transformer:
            return (len(strides) - 1,)
        last = {stride: i for i, stride in enumerate(strides)}
        middle = tuple(last[stride] for stride in MIDDLE_STRIDES if stride in last)
        return middle or (len(strides) - 1,)
    try:
        layers = tuple(sorted({int(layer) for layer in wanted.split(",")}))
    except ValueError:
        layers = (-1,)
    if layers[0] < 0 or layers[-1] >= len(strides):
        raise BackboneError(
            f"'{name}' names the layers '{wanted}': expected numbers from 0 to {len(strides) - 1} "
            f"separated by commas, of strides {', '.join(map(str, strides))}."
        )
    return layers


def cut(model: Any, layers: tuple[int, ...]) -> None:
    """Drop the layers beyond the last of ``layers``, if timm supports it for this model."""
    if hasattr(model, "prune_intermediate_layers"):
        model.prune_intermediate_layers(list(layers), prune_norm=False, prune_head=True)


def cut_model(spec: BackboneSpec, state: Mapping[str, Tensor] | None = None) -> nn.Module:
    """The timm network cut after the last layer used, with ``state`` or random weights.

    A network tied to an input size is resized to that of the spec after loading, in timm's way
    (position embeddings are interpolated).

    Raises:
        BackboneError: ``state`` belongs to another network, or the network does not accept the
            input size.
    """
    model: Any = timm.create_model(spec.architecture, pretrained=False)
    if spec.stride_in_1x1:
        for stage in (model.layer2, model.layer3):
            stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    cut(model, spec.layers)
    if state is not None:
        with torch.device("meta"):
            whole = set(timm.create_model(spec.architecture, pretrained=False).state_dict())
        copy_weights(model, state, whole, f"timm '{spec.architecture}'")
    if hasattr(model, "set_input_size"):
        try:
            model.set_input_size(img_size=spec.shape)
        except Exception as error:  # timm's networks raise errors of any kind
            raise BackboneError(
                f"timm's '{spec.architecture}' does not take an input of {in_words(spec.shape)} "
                "px: choose another --input-size."
            ) from error
    return model.eval()  # type: ignore[no-any-return]


def copy_weights(
    network: nn.Module, state: Mapping[str, Tensor], known: set[str], what: str
) -> None:
    """Copy ``state`` into ``network``; BackboneError if it is not that of a ``what``.

    Weights beyond the cut (later stages, classifier) are ignored. A name that is not ``known``
    marks the file of a deeper sibling, which would otherwise load.
    """
    wanted = network.state_dict()
    # DINOv2's published file holds a token that only its training used
    foreign = [k for k in state if k not in known and k != "mask_token"]
    missing = [k for k in wanted if k not in state and not k.endswith("num_batches_tracked")]
    misshapen = [k for k in wanted if k in state and state[k].shape != wanted[k].shape]
    for fault, names in (
        ("lacks", missing),
        ("has another shape for", misshapen),
        ("has the unknown weight", foreign),
    ):
        if names:
            raise BackboneError(
                f"the weight file is not a {what}: it {fault} '{names[0]}'. Give --weights a file "
                "of that network or choose another --backbone."
            )
    network.load_state_dict({k: state[k].float() for k in wanted if k in state}, strict=False)
