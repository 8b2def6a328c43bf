"""The commands about networks: list, describe, verify and export them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ui.cli import options
from ui.cli.console import note, say, table

if TYPE_CHECKING:
    from backbones.base import BackboneSpec
    from backbones.verification.verify import Verification

_BACKBONES = (
    "name",
    "trained on",
    "M weights",
    "ms per image",
    "licence",
    "from",
    "here and now",
)


def backbones(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Show all there is to know of this one.")
    ] = None,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Run NAME on a picture: are its weights the published ones?"),
    ] = False,
    time: Annotated[
        bool, typer.Option("--time", help="Also measure the ms per image of what runs here.")
    ] = False,
    weights: options.Weights = None,
    as_json: options.AsJson = False,
) -> None:
    """List the networks: what they were trained on, licence, size, where weights come from.

    --verify compares ten values of the embedding of a picture, which comes with vecspect, with
    the canonical ones of the published weights where these are known, at a tolerance of 0.5 % of
    the largest, and exits with 1 where they differ.
    """
    if name is None and (verify or weights):
        option = "--verify" if verify else "--weights"
        raise typer.BadParameter("expected the NAME of a network beside it", param_hint=option)
    if name is not None and verify:
        _verify(name, weights, as_json)
    elif name is not None:
        _show(name, weights, time, as_json)
    else:
        _list(time, as_json)


def _list(time: bool, as_json: bool) -> None:
    from backbones.registry import list_backbones

    rows = [_fields(known.spec, known.state) for known in list_backbones()]
    if time:
        for row in rows:
            row["ms per image"] = _ms(row["name"], None) if row["here and now"] in _RUN else None
    if as_json:
        say(json.dumps(rows, indent=2))
        return
    heads = [head for head in _BACKBONES if time or head != "ms per image"]
    say(table(heads, [[_text(row[head]) for head in heads] for row in rows]))
    note(
        "Also timm:NAME[:layers], any timm network with feature maps, for example "
        "timm:convnext_tiny:1,2; and the folder of an exported network."
    )


def _show(name: str, weights: Path | None, time: bool, as_json: bool) -> None:
    from backbones.registry import describe_backbone
    from backbones.verification.canonical import CANONICAL

    known = describe_backbone(name)
    fields = _fields(known.spec, known.state)
    fields["canonical vector"] = "known" if known.spec.name in CANONICAL else "not known"
    if time:
        fields["ms per image"] = _ms(name, weights)
    if as_json:
        say(json.dumps(fields, indent=2))
    else:
        say(table(["property", "value"], [[head, _text(value)] for head, value in fields.items()]))


def _verify(name: str, weights: Path | None, as_json: bool) -> None:
    from backbones.registry import load_backbone
    from backbones.verification.verify import verify

    found = verify(load_backbone(name, weights=weights, precision="f32"))
    if as_json:
        say(json.dumps({**asdict(found), "difference": found.difference, "right": found.right}))
    else:
        for line in describe_verification(found):
            say(line)
    if found.right is False:
        raise typer.Exit(options.FAILED)


def describe_verification(found: Verification) -> Iterator[str]:
    """Lines: what was expected, what came, and the verdict."""
    from backbones.verification.canonical import PICTURE
    from backbones.verification.verify import TOLERANCE

    if found.expected:
        yield _values("expected", found.expected.vector)
    yield _values("got", found.vector)
    if found.expected and found.difference is not None:
        verdict = "right" if found.right else "WRONG"
        yield (
            f"{verdict}: {found.name} is {found.difference:.2%} of the largest value off "
            f"the canonical vector ({found.expected.weights}); {TOLERANCE:.1%} is allowed."
        )
    elif found.published:
        yield (
            f"right: the weights of {found.name} are {found.published}, by its SHA-256; no "
            "canonical vector is known."
        )
    else:
        published = f" and the file is none of {', '.join(found.names)}" if found.names else ""
        yield (
            f"not known: {found.name} has no canonical vector{published}. The values are of "
            f"{PICTURE.name}, to compare with those of another machine."
        )


def _values(head: str, vector: Sequence[float]) -> str:
    return f"{head:<8}  " + "  ".join(f"{value:.4g}" for value in vector)


_RUN = ("bundled", "cached", "exported")
"""States of networks that run without a download and without another file."""


def _ms(name: str, weights: Path | None) -> float:
    from backbones.registry import load_backbone
    from backbones.verification.verify import median_ms

    return round(median_ms(load_backbone(name, weights=weights)), 1)


def _fields(spec: BackboneSpec, state: str) -> dict[str, Any]:
    """The known facts about a network, by their names."""
    from backbones.families import FAMILIES
    from backbones.geometry import in_words

    return {
        "name": spec.name,
        "what": FAMILIES[spec.family].about,
        "trained on": spec.trained_on,
        "licence": spec.licence,
        "M weights": spec.parameters,
        "MB f32": spec.megabytes,
        "GMAC": spec.gmacs,
        "patches": spec.patches,
        "image": spec.dim,
        "input px": in_words(spec.input_size),
        "from": spec.weights,
        "weights": spec.source or spec.hub_repository,
        "published as": list(spec.published),
        "here and now": state,
    }


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, int | float) else value or ""


def export(
    backbone: options.ListedBackbone,
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    weights: options.Weights = None,
    precision: options.Precision = None,
    images: Annotated[
        Path | None,
        typer.Option(metavar="DATASET", help="Normal images on which int8 is calibrated."),
    ] = None,
    input_size: options.InputSize = None,
    crop: options.Crop = None,
    no_padding: options.Padding = None,
) -> None:
    """Write a network for machines without torch: OpenVINO IR and a card that describes it.

    There, give the folder as --backbone.
    """
    from backbones.errors import VecspectError
    from backbones.registry import export_backbone, load_backbone
    from indexer.data.dataset import read_dataset
    from indexer.data.image_records import normal_images
    from ui.settings import square

    settings = options.settings_of(precision=precision, no_padding=no_padding)
    if images and settings.precision != "int8":
        raise VecspectError("--images calibrates int8: add --precision int8, or leave it out.")
    network = load_backbone(
        backbone,
        weights=weights,
        precision=settings.precision,
        input_size=square(input_size),
        crop=square(crop or None),
        padding=settings.padding,
        images=normal_images(read_dataset(images)) if images else (),
    )
    export_backbone(network, out)
    say(f"{network.spec.name}, fingerprint {network.fingerprint}: written to {out}")
