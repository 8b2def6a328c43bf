"""The command that shows the settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ui.cli import options
from ui.cli.console import Columns, columns_table, say

_SETTINGS: Columns = {"setting": "{[setting]}", "value": "{[value]}", "from": "{[from]}"}


@options.grouped
def config(
    backbone: options.BackboneName = None,
    weights: options.Weights = None,
    *,
    learning: options.LearningOptions,
    network: options.NetworkOptions,
    store: options.Store = None,
    as_json: options.AsJson = False,
) -> None:
    """Show every setting with the value that holds now and where it comes from.

    The settings file, qdrant.yaml here or the one of `vecspect --config FILE`, is stronger than a
    default, the environment stronger than the file, a flag stronger than all.
    """
    from ui.settings import origins

    flags: dict[str, Any] = {"backbone": backbone, "weights": weights, "store": store}
    flags |= {**asdict(learning), **asdict(network)}
    values = options.settings_of(**flags).model_dump(mode="json")
    found = origins(**options.settings_by_flag(**flags))
    if as_json:
        say(json.dumps({k: {"value": v, "from": found[k]} for k, v in values.items()}, indent=2))
    else:
        say(columns_table(_SETTINGS, [_row(*item, found) for item in values.items()]))


def _row(name: str, value: Any, found: Mapping[str, str]) -> dict[str, str]:
    shown = "" if value is None else ", ".join(value) if isinstance(value, list) else str(value)
    return {"setting": name, "value": shown, "from": found[name]}
