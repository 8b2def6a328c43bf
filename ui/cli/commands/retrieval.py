"""The commands around the image library: what is like it, what it is called, what stands out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ui.cli.options import (
    AsJson,
    BackboneName,
    Category,
    Device,
    Store,
    Weights,
    open_existing,
    settings_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backbones.geometry import Box
    from search.inspector import Inspector
    from search.retrieval.neighbors import By, Neighbor


def similar(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="The query image.")],
    category: Category,
    by: Annotated[
        str,
        typer.Option(
            help="whole: the image; defect: what deviates, among defective images; region: the "
            "patches in --box."
        ),
    ] = "whole",
    box: Annotated[
        str | None,
        typer.Option(metavar="X,Y,W,H", help="By region, in pixels of the upright image."),
    ] = None,
    label: Annotated[str | None, typer.Option(help="normal or defective.")] = None,
    defect_type: Annotated[str | None, typer.Option(help="Only this defect type.")] = None,
    where: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Only with this user field.")
    ] = None,
    across_categories: Annotated[
        bool,
        typer.Option("--across-categories", help="Also search categories of the same network."),
    ] = False,
    top: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 5,
    maps: Annotated[
        Path | None, typer.Option(help="Write an explaining picture per hit to this folder.")
    ] = None,
    as_json: AsJson = False,
    backbone: BackboneName = None,
    weights: Weights = None,
    device: Device = None,
    store: Store = None,
) -> None:
    """Show the library images most like IMAGE: as a whole, in what deviates, or in a box.

    By whole image, those that deviate from normal as IMAGE does come first: of a rejected image
    the rejected ones, of any other those learnt from and those that score no higher. With --label
    or --defect-type looks alone decide.

    By region, --box X,Y,W,H, each hit shows where it matched. Not every patch of the library is
    kept: of defective images those that deviate; of normal ones those in the memory bank, so
    normal images outside it are not found.
    """
    from search.inspector import Inspector
    from ui.cli.console import note, say, table

    if label not in (None, "normal", "defective"):
        raise typer.BadParameter(
            f"expected normal or defective, got '{label}'", param_hint="--label"
        )
    fields = _pairs(where or [], "--where")
    asked, region = _by(by), _box(box)
    if (asked == "region") != (region is not None):
        raise typer.BadParameter("by region takes a box, and nothing else does", param_hint="--box")
    if region and across_categories:
        raise typer.BadParameter(
            "by region searches one category", param_hint="--across-categories"
        )
    if maps and across_categories:
        raise typer.BadParameter(
            "pictures are of hits of one category", param_hint="--across-categories"
        )
    settings = settings_of(store=store, device=device)
    with open_existing(settings) as opened:
        inspector = Inspector(
            opened, category, backbone=backbone, weights=weights, device=settings.device
        )
        neighbors = inspector.similar(
            image,
            top=top,
            by=asked,
            box=region,
            label=label,
            defect_type=defect_type,
            where=fields,
            across_categories=across_categories,
        )
        pictures = _explain(inspector, neighbors, maps) if maps else {}
    if as_json:
        for neighbor in neighbors:
            picture = {"map": pictures.get(neighbor.image_id)} if maps else {}
            say(json.dumps({**neighbor.to_dict(), **picture}))
    elif neighbors:
        heads = ["distance", "label", "defect type", "verdict", "fields", "path"]
        rows = [
            [
                f"{n.distance:.4f}",
                n.label,
                n.defect_type,
                n.verdict or "",
                " ".join(f"{name}={value}" for name, value in n.fields.items()),
                n.path,
            ]
            for n in neighbors
        ]
        if across_categories:
            heads.insert(1, "category")
            for row, neighbor in zip(rows, neighbors, strict=True):
                row.insert(1, neighbor.category)
        if region:
            heads.insert(1, "box")
            for row, neighbor in zip(rows, neighbors, strict=True):
                row.insert(1, ",".join(map(str, neighbor.box.as_list() if neighbor.box else [])))
        say(table(heads, rows))
    else:
        note("no image of the library matches these filters.")


def _explain(inspector: Inspector, neighbors: Sequence[Neighbor], folder: Path) -> dict[str, str]:
    """Write a picture of each hit whose file is there; its path by image id."""
    from backbones.errors import ImageError
    from ui.cli.console import note
    from ui.cli.formatting import write_map

    folder.mkdir(parents=True, exist_ok=True)
    used: set[str] = set()
    written = {}
    for neighbor in neighbors:
        try:
            prediction = inspector.inspect(neighbor.path)
        except ImageError as error:
            note(f"no picture: {error}")
            continue
        written[neighbor.image_id] = str(write_map(inspector, prediction, folder, used))
    return written


def label(
    image_ids: Annotated[list[str], typer.Argument(metavar="IMAGE_ID")],
    category: Category,
    defect_type: Annotated[str | None, typer.Option(help="What the images show.")] = None,
    fields: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A user field; KEY= removes it."),
    ] = None,
    as_json: AsJson = False,
    backbone: BackboneName = None,
    weights: Weights = None,
    device: Device = None,
    store: Store = None,
) -> None:
    """Name what library images show, and note what is known of them, such as line or batch."""
    from indexer.catalog.commits import find_entry
    from indexer.update.labels import label_images
    from search.calibrator import ConformalCalibrator
    from search.inspector import load_category_network
    from ui.cli.console import say

    if not (defect_type or fields):
        raise typer.BadParameter("expected a type, or --set KEY=VALUE", param_hint="--defect-type")
    notes = _pairs(fields or [], "--set")
    settings = settings_of(store=store, device=device)
    with open_existing(settings) as opened:
        entry = find_entry(opened, category, backbone)
        change = label_images(
            image_ids,
            store=opened,
            entry=entry,
            calibrator=ConformalCalibrator.of(entry),
            backbone=lambda: load_category_network(entry, weights, settings.device),
            defect_type=defect_type,
            fields=notes,
        )
    entry = change.entry
    if as_json:
        say(json.dumps({"revision": entry.revision, "images": change.images}))
    elif change.images:
        say(f"{category} ({entry.backbone}): revision {entry.revision}, {entry.action}.")
    else:
        say(f"{category} ({entry.backbone}): nothing changed, revision {entry.revision} stands.")


def clusters(
    category: Category, as_json: AsJson = False, backbone: BackboneName = None, store: Store = None
) -> None:
    """Group the defective images without a type into candidate types, for `label`."""
    from indexer.catalog.commits import find_entry
    from search.retrieval.clustering import cluster_defects
    from ui.cli.console import note, say, say_each, table

    with open_existing(settings_of(store=store)) as opened:
        found = cluster_defects(opened, find_entry(opened, category, backbone))
    if as_json:
        say_each(found)
    elif found:
        rows = [[str(len(c.image_ids)), c.medoid_id, c.medoid_path] for c in found]
        say(table(["images", "most typical", "path"], rows))
    else:
        note(
            "fewer than two defective images without a type. Add them: "
            f"vecspect add IMAGE --category {category} --label defective"
        )


def outliers(
    category: Category,
    top: Annotated[int, typer.Option(min=1, help="How many.")] = 10,
    as_json: AsJson = False,
    backbone: BackboneName = None,
    store: Store = None,
) -> None:
    """List the normal images that look least like the other normal ones as a whole."""
    from indexer.catalog.commits import find_entry
    from search.retrieval.clustering import unusual_images
    from ui.cli.console import say, say_each, table

    with open_existing(settings_of(store=store)) as opened:
        found = unusual_images(opened, find_entry(opened, category, backbone))[:top]
    if as_json:
        say_each(found)
    else:
        rows = [[f"{o.distance:.4f}", o.split, o.image_id, o.path] for o in found]
        say(table(["distance", "role", "image id", "path"], rows))


def _by(name: str) -> By:
    if name == "whole":
        return "whole"
    if name == "defect":
        return "defect"
    if name == "region":
        return "region"
    raise typer.BadParameter(f"expected whole, defect or region, got '{name}'", param_hint="--by")


def _box(text: str | None) -> Box | None:
    from backbones.geometry import Box

    if text is None:
        return None
    try:
        x, y, width, height = map(int, text.split(","))
    except ValueError:
        raise typer.BadParameter(
            f"expected X,Y,W,H in whole pixels, for example 40,60,32,32, got '{text}'",
            param_hint="--box",
        ) from None
    return Box(x, y, width, height)


def _pairs(texts: list[str], option: str) -> dict[str, str]:
    pairs = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not (key and separator):
            raise typer.BadParameter(f"expected KEY=VALUE, got '{text}'", param_hint=option)
        pairs[key] = value
    return pairs
