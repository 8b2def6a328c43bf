"""The command `vecspect`: its commands, and the options that stand before them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from ui.cli.console import say
from ui.cli.groups import lazy_typer
from ui.cli.table import COMMANDS


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        say(f"vecspect {version('vecspect')}")
        raise typer.Exit


def _root(
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Settings file. [default: qdrant.yaml, if there is one]"),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    if config:
        # the environment, so that the processes a command starts read the same file
        os.environ["VECSPECT_CONFIG"] = str(config)


app = lazy_typer(
    COMMANDS,
    _root,
    "Finds defects in product images, learnt from normal images only and kept in Qdrant.",
    add_completion=True,
)
