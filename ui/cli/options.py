"""The options that several commands share, and what they turn into."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backbones.errors import VecspectError

if TYPE_CHECKING:
    from indexer.calibration.base import Method as SearchMethod
    from indexer.settings import Settings
    from indexer.store.base import VectorStore

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
BackboneNames = Annotated[
    list[str] | None,
    typer.Option("--backbone", help="A name from `vecspect backbones`; repeatable."),
]
NamedWeights = Annotated[
    list[str] | None,
    typer.Option("--weights", metavar="NAME=FILE", help="Weights of a backbone; repeatable."),
]
Labelled = Annotated[list[Path], typer.Argument(metavar="DATASET", help="Labelled data sets.")]
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
Method = Annotated[
    str | None,
    typer.Option(help="conformal, cross-conformal, sigma or synthetic-f1."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def settings_of(**flags: Any) -> Settings:
    """Settings of this process, with the flags that were given."""
    from indexer.settings import load_settings

    return load_settings(**flags)


def open_store_of(settings: Settings) -> VectorStore:
    """The store in use, made if it is not there."""
    from indexer.store.base import ServerCollections
    from indexer.store.open import open_store

    key = settings.api_key.get_secret_value() if settings.api_key else None
    collections = ServerCollections(
        settings.shards, settings.replication, settings.write_consistency, settings.quantization
    )
    return open_store(
        settings.store, api_key=key, prefer_grpc=settings.prefer_grpc, collections=collections
    )


def method_of(name: str | None) -> SearchMethod | None:
    """The method of that name; a usage error lists those there are."""
    from indexer.calibration.base import METHODS

    if name is None:
        return None
    if name not in METHODS:
        raise typer.BadParameter(
            f"expected one of {', '.join(METHODS)}, got '{name}'", param_hint="--method"
        )
    return METHODS[METHODS.index(name)]


def open_existing(settings: Settings) -> VectorStore:
    """For commands that only read: a mistyped folder is named, not made."""
    if "://" not in settings.store and not Path(settings.store).expanduser().is_dir():
        raise VecspectError(
            f"no store at {settings.store}. Name another with --store, or learn a category: "
            "vecspect index DATASET --category NAME"
        )
    return open_store_of(settings)


def weights_by_name(pairs: list[str]) -> dict[str, Path]:
    """Files by backbone from NAME=FILE; a usage error shows the form."""
    named = {}
    for pair in pairs:
        name, separator, file = pair.partition("=")
        if not separator or not file:
            raise typer.BadParameter(
                f"expected NAME=FILE, for example patchcore-resnet18=resnet18.safetensors, "
                f"got '{pair}'",
                param_hint="--weights",
            )
        named[name] = Path(file)
    return named
