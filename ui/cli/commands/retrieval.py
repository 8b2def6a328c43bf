"""The commands around the image library: what is like it, what it is called, what stands out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ui.cli import options
from ui.cli.console import Columns, columns_table, note, say, say_found

if TYPE_CHECKING:
    from backbones.geometry import Box
    from search.inspector import Inspector
    from search.retrieval.neighbors import By, Neighbor

_BY: tuple[By, ...] = ("whole", "defect", "region")
_HITS: Columns = {
    "distance": "{.distance:.4f}",
    "box": lambda hit: ",".join(map(str, hit.box.as_list() if hit.box else [])),
    "category": "{.category}",
    "label": "{.label}",
    "defect type": "{.defect_type}",
    "verdict": lambda hit: hit.verdict or "",
    "fields": lambda hit: " ".join(f"{name}={value}" for name, value in hit.fields.items()),
    "path": "{.path}",
}
_CLUSTERS: Columns = {
    "images": lambda cluster: str(len(cluster.image_ids)),
    "most typical": "{.medoid_id}",
    "path": "{.medoid_path}",
}
_OUTLIERS = {
    "distance": "{.distance:.4f}",
    "role": "{.split}",
    "image id": "{.image_id}",
    "path": "{.path}",
}


@options.grouped
def similar(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="The query image.")],
    category: options.Category,
    by: Annotated[
        str,
        typer.Option(
            help="whole: the image; defect: its defect, among defective images; region: the "
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
    top: options.Top = 5,
    maps: Annotated[
        Path | None, typer.Option(help="Write an explaining picture per hit to this folder.")
    ] = None,
    as_json: options.AsJson = False,
    *,
    scoring: options.ScoringOptions,
) -> None:
    """Show the library images most like IMAGE: as a whole, in the defect, or in a box.

    By whole image, images with a verdict like that of IMAGE come first: for a rejected image the
    rejected ones, for any other those learnt from and those that score no higher. With --label or
    --defect-type only the embedding counts.

    By region, --box X,Y,W,H, each hit shows where it matched. The store keeps the anomalous patches
    of defective images and the memory bank, so normal images outside the bank are not found.
    """
    if label:
        options.one_of(label, ("normal", "defective"), "--label")
    fields = options.pairs_of(where, "--where")
    asked, region = options.one_of(by, _BY, "--by"), _box(box)
    if (asked == "region") != (region is not None):
        raise typer.BadParameter("--box and --by region go together", param_hint="--box")
    for one, said in ((region, "by region searches"), (maps, "pictures are of hits of")):
        if one and across_categories:
            raise typer.BadParameter(f"{said} one category", param_hint="--across-categories")
    with scoring.open_inspector(category) as inspector:
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
        shown = {"box": region is not None, "category": across_categories}
        hits = {head: cell for head, cell in _HITS.items() if shown.get(head, True)}
        say(columns_table(hits, neighbors))
    else:
        note("no image of the library matches these filters.")


@options.grouped
def label(
    image_ids: options.ImageIds,
    category: options.Category,
    defect_type: Annotated[str | None, typer.Option(help="What the images show.")] = None,
    fields: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A user field; KEY= removes it."),
    ] = None,
    as_json: options.AsJson = False,
    *,
    scoring: options.ScoringOptions,
) -> None:
    """Name what library images show, and note what is known of them, such as line or batch."""
    from indexer.update.labels import label_images
    from ui.cli.formatting import describe_revision

    if not (defect_type or fields):
        raise typer.BadParameter("expected a type, or --set KEY=VALUE", param_hint="--defect-type")
    notes = options.pairs_of(fields, "--set")
    with scoring.open(category) as opened:
        change = label_images(
            image_ids,
            category=opened,
            backbone=partial(scoring.network, opened),
            defect_type=defect_type,
            fields=notes,
        )
    if as_json:
        say(json.dumps({"revision": change.entry.revision, "images": change.images}))
    else:
        say(describe_revision(change.entry, changed=bool(change.images)))


@options.grouped
def clusters(
    category: options.Category, as_json: options.AsJson = False, *, stored: options.StoredOptions
) -> None:
    """Group the defective images without a type into candidate types, for `label`."""
    from search.retrieval.clustering import cluster_defects

    with stored.open(category) as opened:
        found = cluster_defects(opened)
    if as_json or found:
        say_found(found, _CLUSTERS, as_json=as_json)
    else:
        note(
            "fewer than two defective images without a type. Add them: "
            f"vecspect add IMAGE --category {category} --label defective"
        )


@options.grouped
def outliers(
    category: options.Category,
    top: options.Top = 10,
    as_json: options.AsJson = False,
    *,
    stored: options.StoredOptions,
) -> None:
    """List the normal images that look least like the other normal ones, as whole images."""
    from search.retrieval.outliers import unusual_images

    with stored.open(category) as opened:
        found = unusual_images(opened)[:top]
    say_found(found, _OUTLIERS, as_json=as_json)


def _explain(inspector: Inspector, neighbors: Sequence[Neighbor], folder: Path) -> dict[str, str]:
    """Write a picture of each hit whose file is there; its path by image id."""
    from backbones.errors import ImageError
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
        written[neighbor.image_id] = str(write_map(prediction, folder, used))
    return written


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
