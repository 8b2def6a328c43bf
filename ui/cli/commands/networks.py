"""The commands about networks: list them, export one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ui.cli import options
from ui.cli.console import columns_table, note, say

_BACKBONES = {
    "name": "{.spec.name}",
    "patches": "{.spec.patches}",
    "image": "{.spec.dim}",
    "input px": "{.spec.input_size}",
    "M weights": "{.spec.parameters:g}",
    "GMAC": "{.spec.gmacs:g}",
    "from": "{.spec.weights}",
    "here and now": "{.state}",
    "licence": "{.spec.licence}",
}


def backbones() -> None:
    """List the known backbones and whether they run here and now."""
    from backbones.registry import list_backbones

    say(columns_table(_BACKBONES, list_backbones()))
    note(
        "Also timm:NAME[:layers], any timm network with feature maps, for example "
        "timm:convnext_tiny:1,2; and the folder of an exported network."
    )


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
