"""The commands about networks: list them, export one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ui.cli.options import Crop, InputSize, Padding, Precision, Weights


def backbones() -> None:
    """List the known backbones and whether they run here and now."""
    from backbones.registry import list_backbones
    from ui.cli.console import note, say, table

    rows = [
        [
            state.spec.name,
            state.spec.patches,
            str(state.spec.dim),
            str(state.spec.input_size),
            f"{state.spec.parameters:g}",
            f"{state.spec.gmacs:g}",
            state.spec.weights,
            state.state,
            state.spec.licence,
        ]
        for state in list_backbones()
    ]
    heads = ["name", "patches", "image", "input px", "M weights", "GMAC", "from", "here and now"]
    heads += ["licence"]
    say(table(heads, rows))
    note(
        "Also timm:NAME[:layers], any timm network with feature maps, for example "
        "timm:convnext_tiny:1,2; and the folder of an exported network."
    )


def export(
    backbone: Annotated[str, typer.Option(help="A name from `vecspect backbones`.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    weights: Weights = None,
    precision: Precision = None,
    images: Annotated[
        Path | None,
        typer.Option(metavar="DATASET", help="Normal images on which int8 is calibrated."),
    ] = None,
    input_size: InputSize = None,
    crop: Crop = None,
    no_padding: Padding = None,
) -> None:
    """Write a network for machines without torch: OpenVINO IR and a card that describes it.

    There, give the folder as --backbone.
    """
    from backbones.errors import VecspectError
    from backbones.registry import export_backbone, load_backbone
    from indexer.data.image_records import normal_images, read_dataset
    from ui.cli.console import say
    from ui.cli.options import settings_of

    settings = settings_of(precision=precision, padding=False if no_padding else None)
    if images and settings.precision != "int8":
        raise VecspectError("--images calibrates int8: add --precision int8, or leave it out.")
    network = load_backbone(
        backbone,
        weights=weights,
        precision=settings.precision,
        input_size=input_size,
        crop=crop,
        padding=settings.padding,
        images=normal_images(read_dataset(images)) if images else (),
    )
    export_backbone(network, out)
    say(f"{network.spec.name}, fingerprint {network.fingerprint}: written to {out}")
