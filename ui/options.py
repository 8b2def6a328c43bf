"""The options that several commands share, and what they turn into."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backbones.errors import VecspectError

if TYPE_CHECKING:
    from indexer.settings import Settings
    from indexer.store import VectorStore

FAILED, ANOMALY = 1, 3
"""Exit codes: something failed or was skipped; an anomaly was found."""

Category = Annotated[str, typer.Option("--category", "-c", help="Name of the category.")]
Store = Annotated[
    str | None,
    typer.Option(help="Folder of the embedded store, or URL of a Qdrant server."),
]
BackboneName = Annotated[
    str | None,
    typer.Option("--backbone", help="A name from `vecspect backbones`, or an exported folder."),
]
Weights = Annotated[Path | None, typer.Option(help="Weight file, .safetensors or .pth.")]
Coreset = Annotated[
    float | None, typer.Option(help="Share of the normal patches kept in the memory bank.")
]
Holdout = Annotated[
    float | None, typer.Option(help="Share of the normal images kept out to calibrate.")
]
Seed = Annotated[int | None, typer.Option(help="Of the split and the coreset.")]
Reject = Annotated[
    float | None, typer.Option("--reject", help="False-reject rate at which to reject.")
]
Review = Annotated[
    float | None, typer.Option("--review", help="False-reject rate at which to send to review.")
]
Precision = Annotated[
    str | None, typer.Option(help="f32, bf16 or int8; by default the faster of the first two.")
]
Device = Annotated[str | None, typer.Option(help="cpu (OpenVINO, the default) or cuda (torch).")]
InputSize = Annotated[int | None, typer.Option(help="Side in pixels that images are resized to.")]
Crop = Annotated[
    int | None, typer.Option(help="See only the centre of that many pixels; the border is lost.")
]
Padding = Annotated[
    bool | None,
    typer.Option("--no-padding", help="EfficientAD without zero padding: loses 16 px of border."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def settings_of(**flags: Any) -> Settings:
    """Settings of this process, with the flags that were given."""
    from indexer.settings import load_settings

    return load_settings(**flags)


def open_store_of(settings: Settings) -> VectorStore:
    """The store in use, made if it is not there."""
    from indexer.store import open_store

    key = settings.api_key.get_secret_value() if settings.api_key else None
    return open_store(settings.store, api_key=key, prefer_grpc=settings.prefer_grpc)


def open_existing(settings: Settings) -> VectorStore:
    """For commands that only read: a mistyped folder is named, not made."""
    if "://" not in settings.store and not Path(settings.store).expanduser().is_dir():
        raise VecspectError(
            f"no store at {settings.store}. Name another with --store, or learn a category: "
            "vecspect index DATASET --category NAME"
        )
    return open_store_of(settings)
