"""The card beside an exported network: everything another machine needs to run it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from backbones.base import BackboneSpec, Precision
from backbones.errors import BackboneError
from backbones.weights import sha256_of

FORMAT = 2


@dataclass(frozen=True, slots=True)
class Card:
    """Description of an exported network.

    Attributes:
        weights_sha256: hash of the weight file it was made from; for int8, of the calibration
            images too.
        precision: number format of the file, ``int8`` for a quantised network, otherwise ``f32``,
            which may still be run in bf16.
        network_sha256: hash of the two files beside it, see `sha256_of_network`.
    """

    spec: BackboneSpec
    weights_sha256: str
    precision: Precision
    network_sha256: str

    def write(self, file: Path) -> None:
        """Write the card as JSON, with the preprocessing in words for use without vecspect."""
        spec = self.spec
        size, seen = ("{} x {}".format(*pixels) for pixels in (spec.input_size, spec.shape))
        centre = f", centre {seen} of it" if spec.crop else ""
        shape, grid = (", ".join(map(str, counts)) for counts in (spec.shape, spec.grid))
        content = {
            "format": FORMAT,
            "spec": spec_to_dict(spec),
            "weights_sha256": self.weights_sha256,
            "precision": self.precision,
            "network_sha256": self.network_sha256,
            "preprocessing": (
                f"upright RGB, resized (bilinear, antialiased) to {size} pixels (height x width)"
                f"{centre}, uint8 (N, {shape}, 3); the network subtracts the mean "
                f"{list(spec.mean)} and divides by {list(spec.std)} itself"
            ),
            "outputs": (f"patches float32 (N, {grid}, {spec.dim}), images float32 (N, {spec.dim})"),
            "versions": {name: version(name) for name in ("vecspect", "openvino")},
        }
        file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def sha256_of_network(network: Path) -> str:
    """Hex digest of an exported network, taken over the digests of its .xml and .bin."""
    digests = (sha256_of(network.with_suffix(suffix)) for suffix in (".xml", ".bin"))
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


def read_card(file: Path) -> Card:
    """The card in ``file``; BackboneError if it is missing or of an unknown format."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']}, expected {FORMAT}")
        return Card(
            spec_from_dict(content["spec"]),
            str(content["weights_sha256"]),
            content["precision"],
            str(content["network_sha256"]),
        )
    except FileNotFoundError as error:
        raise BackboneError(
            f"{file.parent} holds no exported network ({file.name} is missing). Make one: "
            "vecspect export --backbone NAME --out DIR"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise BackboneError(
            f"{file} cannot be used: {reason}. Export the network again."
        ) from error


def spec_to_dict(spec: BackboneSpec) -> dict[str, Any]:
    """Fields of a spec as JSON types; a size becomes a list of height and width."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(spec).items()}


def spec_from_dict(values: Mapping[str, Any]) -> BackboneSpec:
    """Inverse of ``spec_to_dict``; TypeError or ValueError for anything else."""
    known = {field.name for field in fields(BackboneSpec)}
    if unknown := sorted(set(values) - known):
        raise ValueError(f"unknown field '{unknown[0]}' in the spec")
    fixed: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return BackboneSpec(**fixed)
