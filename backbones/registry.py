"""Turns a name, or the folder of an exported network, into a network ready to run."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from backbones.base import Backbone, BackboneSpec, Device, Precision
from backbones.errors import BackboneError
from backbones.geometry import Size
from backbones.model_card import read_card, sha256_of_network
from backbones.openvino_runtime import (
    OpenVinoBackbone,
    cached_network,
    export,
    fingerprint_of,
    is_whole,
    native_precision,
    save,
)
from backbones.specs import SPECS, find_spec
from backbones.weights import bundled_network, hub_file, load_state, sha256_of, torch_needed

NETWORK, CARD = "network.xml", "network.json"


@dataclass(frozen=True, slots=True)
class BackboneState:
    """A known backbone and its current state on this machine."""

    spec: BackboneSpec
    state: str
    """``bundled``, ``cached``, ``exported``, or what it needs."""


def list_backbones() -> list[BackboneState]:
    """Every known backbone, in the order of the registry."""
    return [BackboneState(spec, _state(spec)) for spec in SPECS]


def describe_backbone(name: str) -> BackboneState:
    """The spec of the network that `load_backbone` would load as ``name``, without loading it."""
    if folder := exported_folder(name):
        return BackboneState(read_card(folder / CARD).spec, "exported")
    spec = find_spec(name)
    return BackboneState(spec, _state(spec))


def load_backbone(
    name: str,
    *,
    weights: Path | None = None,
    precision: Precision | None = None,
    device: Device = "cpu",
    input_size: Size | None = None,
    crop: Size | None = None,
    padding: bool | None = None,
    images: Sequence[Path] = (),
) -> Backbone:
    """The network called ``name``, exported and compiled if necessary.

    Args:
        name: one of ``list_backbones()``, ``timm:NAME[:layers]``, or a folder that
            ``export_backbone`` wrote.
        weights: local file that replaces the bundled or hub weights.
        precision: on the CPU ``f32``, ``bf16`` (the default if the CPU is faster with it) or
            ``int8``.
        device: ``cuda`` runs torch on a GPU, in half precision if that preserves the features.
        input_size, crop, padding: replace those of the spec.
        images: normal images of the category, on which ``int8`` is calibrated.

    Raises:
        BackboneError: unknown name, missing or wrong weights, or torch is needed and missing.
    """
    if folder := exported_folder(name):
        if weights or input_size or crop or padding is not None or device == "cuda":
            raise BackboneError(
                f"{name} is an exported network: --weights, --input-size, --crop, --no-padding and "
                "--device cuda cannot change it."
            )
        return _quantized_if(load_exported(folder, precision), precision, images)
    requested: dict[str, Any] = {"input_size": input_size, "crop": crop, "padding": padding}
    changes = {field: value for field, value in requested.items() if value is not None}
    spec = replace(find_spec(name), **changes)
    return load_network(spec, weights=weights, precision=precision, device=device, images=images)


def load_network(
    spec: BackboneSpec,
    *,
    weights: Path | None = None,
    precision: Precision | None = None,
    device: Device = "cpu",
    images: Sequence[Path] = (),
    fingerprint: str | None = None,
    fallback: Path | None = None,
) -> Backbone:
    """The network of ``spec``; see ``load_backbone`` for the arguments that both take.

    Args:
        fingerprint: that of the network a category was indexed with. If it is in the cache, it is
            used without looking for weights.
        fallback: weight file or exported folder to use if it still exists and ``weights`` is None.
    """
    if fingerprint and weights is None and device == "cpu":
        network = cached_network(fingerprint)
        if is_whole(network):
            return _from_card(network, network.with_suffix(".json"), precision)
        if fallback and (fallback / CARD).is_file():
            return load_exported(fallback, precision)
    if weights is None and fallback and fallback.is_file():
        weights = fallback
    if spec.weights == "bundled" and weights is None:
        return _quantized_if(_bundled(spec, precision, device), precision, images)
    if weights is None and spec.weights == "file":
        raise BackboneError(
            f"backbone '{spec.name}' has no weights of its own: pass --weights FILE."
        )
    file = weights or hub_file(spec, download=True)
    if file is None or not file.is_file():
        raise BackboneError(f"no weight file at {file}. Give --weights an existing file.")
    if device == "cuda":
        if precision not in (None, "f32"):
            raise BackboneError(
                f"--device cuda chooses its own precision: leave out --precision {precision}."
            )
        with torch_needed(spec.name):
            from backbones.torch_runtime import TorchBackbone
        return TorchBackbone(spec, file, device)
    digest = sha256_of(file)
    chosen = "f32" if precision == "int8" else precision or native_precision()
    network = cached_network(fingerprint_of(spec, digest, chosen))
    if not is_whole(network):
        with torch_needed(spec.name):
            from backbones.networks.build import build_network
        export(build_network(spec, load_state(file)), spec, network, digest)
    backbone = OpenVinoBackbone(spec, network, chosen, digest, source=file.resolve())
    return _quantized_if(backbone, precision, images)


def exported_folder(name: str) -> Path | None:
    """The folder that ``name`` denotes; None if there is none or ``name`` is a known backbone."""
    known = name in {spec.name for spec in SPECS}
    return None if known or not Path(name).is_dir() else Path(name)


def load_exported(folder: Path, precision: Precision | None = None) -> OpenVinoBackbone:
    """The network that ``export_backbone`` wrote to ``folder``; needs neither torch nor weights.

    Raises:
        BackboneError: there is no network, or its files do not belong together.
    """
    card, network = read_card(folder / CARD), folder / NETWORK
    weights = network.with_suffix(".bin")
    if not (network.is_file() and weights.is_file()):
        raise BackboneError(f"{folder} lacks {NETWORK} or {weights.name}. Export it again.")
    if sha256_of_network(network) != card.network_sha256:
        raise BackboneError(
            f"{network} and {weights.name} are not the files that {CARD} describes. Export it "
            "again."
        )
    backbone = _from_card(network, folder / CARD, precision)
    backbone.source = folder.resolve()
    return backbone


def export_backbone(backbone: Backbone, folder: Path) -> None:
    """Copy the network of ``backbone`` and its card to ``folder``, for a machine without torch."""
    if not isinstance(backbone, OpenVinoBackbone):
        raise BackboneError(
            "only a network that runs on the CPU can be exported: leave out --device."
        )

    def copy(target: Path) -> None:
        for suffix in (".bin", ".xml"):
            shutil.copyfile(backbone.network.with_suffix(suffix), target.with_suffix(suffix))

    stored: Precision = "int8" if backbone.precision == "int8" else "f32"
    save(copy, backbone.spec, folder / NETWORK, backbone.weights_sha256, stored)


def _from_card(network: Path, card_file: Path, precision: Precision | None) -> OpenVinoBackbone:
    card = read_card(card_file)
    chosen = precision if precision in ("f32", "bf16") else native_precision()
    if card.precision == "int8":
        if precision not in (None, "int8"):
            raise BackboneError(
                f"{network.parent} holds an int8 network: leave out --precision {precision}."
            )
        chosen = "int8"
    return OpenVinoBackbone(card.spec, network, chosen, card.weights_sha256)


def _bundled(spec: BackboneSpec, precision: Precision | None, device: Device) -> OpenVinoBackbone:
    if device == "cuda":
        raise BackboneError(
            f"the bundled '{spec.name}' runs on the CPU: leave out --device, or give --weights "
            "FILE."
        )
    if spec != find_spec(spec.name):
        raise BackboneError(
            f"the bundled '{spec.name}' has a fixed input: give --weights FILE with --input-size "
            "or --crop, or leave them out."
        )
    network = bundled_network(spec)
    chosen = "f32" if precision == "int8" else precision or native_precision()
    return OpenVinoBackbone(spec, network, chosen, sha256_of(network.with_suffix(".bin")))


def _quantized_if(
    backbone: OpenVinoBackbone, precision: Precision | None, images: Sequence[Path]
) -> OpenVinoBackbone:
    if precision != "int8" or backbone.precision == "int8":
        return backbone
    if not images:
        raise BackboneError(
            "int8 is calibrated on normal images of the category: use --precision int8 with "
            "`vecspect index`, `benchmark` or `export --images`."
        )
    from backbones.quantize import quantized

    return quantized(backbone, images)


def _state(spec: BackboneSpec) -> str:
    if spec.weights == "bundled":
        return "bundled"
    if importlib.util.find_spec("torch") is None:
        return "needs torch"
    if spec.weights == "file":
        return "needs --weights"
    return "cached" if hub_file(spec, download=False) else "needs the hub or --weights"
