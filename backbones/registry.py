"""Turns a name into a network ready to run."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from backbones.base import SPECS, Backbone, BackboneSpec, Precision, find_spec
from backbones.errors import BackboneError
from backbones.runtime import (
    OpenVinoBackbone,
    cache_folder,
    export,
    fingerprint_of,
    native_precision,
)
from backbones.weights import TORCH_MISSING, bundled_network, hub_file, load_state, sha256_of


@dataclass(frozen=True, slots=True)
class BackboneState:
    """A known backbone and whether it runs here and now."""

    spec: BackboneSpec
    state: str
    """``bundled``, ``cached``, ``needs the hub``, ``needs --weights`` or ``needs torch``."""


def list_backbones() -> list[BackboneState]:
    """Every known backbone, in the order of the registry."""
    return [BackboneState(spec, _state(spec)) for spec in SPECS]


def load_backbone(
    name: str,
    *,
    weights: Path | None = None,
    precision: Precision | None = None,
    fingerprint: str | None = None,
    fallback_weights: Path | None = None,
) -> Backbone:
    """The network called ``name``, exported and compiled if need be.

    Args:
        name: one of ``list_backbones()``.
        weights: local file to use in place of the bundled or hub weights.
        precision: ``f32`` or ``bf16``; the CPU's faster one by default.
        fingerprint: what a category was indexed with. If that very network lies exported in
            the cache, it is used without looking for weights.
        fallback_weights: file to use, if it is still there, when ``weights`` is not given.

    Raises:
        BackboneError: unknown name, no or wrong weights, torch missing where it is needed.
    """
    spec = find_spec(name)
    precision = precision or native_precision()
    if fingerprint and weights is None and (cached := _cached(fingerprint)).is_file():
        return OpenVinoBackbone(spec, cached, precision, fingerprint)
    if weights is None and fallback_weights and fallback_weights.is_file():
        weights = fallback_weights
    if spec.weights == "bundled" and weights is None:
        network = bundled_network(spec)
        digest = sha256_of(network.with_suffix(".bin"))
        return OpenVinoBackbone(spec, network, precision, fingerprint_of(spec, digest, precision))
    file = weights or _default_file(spec)
    if not file.is_file():
        raise BackboneError(f"no weight file at {file}. Give --weights an existing file.")
    fingerprint = fingerprint_of(spec, sha256_of(file), precision)
    network = _cached(fingerprint)
    if not network.is_file():
        _export_file(spec, file, network)
    backbone = OpenVinoBackbone(spec, network, precision, fingerprint)
    backbone.weights_file = file.resolve()
    return backbone


def _cached(fingerprint: str) -> Path:
    return cache_folder() / f"{fingerprint}.xml"


def _default_file(spec: BackboneSpec) -> Path:
    if spec.weights == "file":
        raise BackboneError(
            f"backbone '{spec.name}' has no weights of its own: pass --weights FILE."
        )
    file = hub_file(spec, download=True)
    assert file is not None
    return file


def _export_file(spec: BackboneSpec, file: Path, network: Path) -> None:
    try:
        from backbones.patchcore import build_trunk, load_weights
    except ImportError as error:
        raise BackboneError(f"backbone '{spec.name}' {TORCH_MISSING}") from error
    trunk = build_trunk(spec)
    load_weights(trunk, load_state(file), spec)
    export(trunk, spec, network)


def _state(spec: BackboneSpec) -> str:
    if spec.weights == "bundled":
        return "bundled"
    if importlib.util.find_spec("torch") is None:
        return "needs torch"
    if spec.weights == "file":
        return "needs --weights"
    return "cached" if hub_file(spec, download=False) else "needs the hub or --weights"
