"""Finds defects in product images, learnt from normal images only and kept in Qdrant.

    import vecspect

    with vecspect.open_store("qdrant_data") as store:
        vecspect.build_index("parts/grid", category="grid", store=store)
        grid = vecspect.Inspector(store, "grid")
        prediction = grid.inspect("new/0001.png")
        grid.similar("new/0001.png", label="defective")

Importing it loads no network and no engine: each name is fetched when it is first used.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backbones.errors import BackboneError as BackboneError
    from backbones.errors import ImageError as ImageError
    from backbones.errors import VecspectError as VecspectError
    from backbones.geometry import Box as Box
    from backbones.pipeline import ImageFeatures as ImageFeatures
    from backbones.pipeline import Skipped as Skipped
    from backbones.registry import list_backbones as list_backbones
    from backbones.registry import load_backbone as load_backbone
    from indexer.catalog.commits import read_catalog as read_catalog
    from indexer.data.dataset import read_dataset as read_dataset
    from indexer.data.image_records import expand_paths as expand_paths
    from indexer.records.drift_window import DriftWindow as DriftWindow
    from indexer.store.open import open_store as open_store
    from search.inspector import Inspector as Inspector
    from search.prediction import Evidence as Evidence
    from search.prediction import Prediction as Prediction
    from search.retrieval.neighbors import Neighbor as Neighbor
    from search.retrieval.type_proposal import SeenBefore as SeenBefore
    from ui.functions import add_images as add_images
    from ui.functions import benchmark as benchmark
    from ui.functions import build_index as build_index
    from ui.functions import calibrate as calibrate
    from ui.functions import check_drift as check_drift
    from ui.functions import label_images as label_images
    from ui.functions import quarantine_image as quarantine_image
    from ui.functions import remove_images as remove_images
    from ui.functions import rollback as rollback

_HOMES = {
    "backbones.errors": ("BackboneError", "ImageError", "VecspectError"),
    "backbones.geometry": ("Box",),
    "backbones.pipeline": ("ImageFeatures", "Skipped"),
    "backbones.registry": ("list_backbones", "load_backbone"),
    "indexer.catalog.commits": ("read_catalog",),
    "indexer.data.dataset": ("read_dataset",),
    "indexer.data.image_records": ("expand_paths",),
    "indexer.records.drift_window": ("DriftWindow",),
    "indexer.store.open": ("open_store",),
    "search.inspector": ("Inspector",),
    "search.prediction": ("Evidence", "Prediction"),
    "search.retrieval.neighbors": ("Neighbor",),
    "search.retrieval.type_proposal": ("SeenBefore",),
    "ui.functions": (
        "add_images",
        "benchmark",
        "build_index",
        "calibrate",
        "check_drift",
        "label_images",
        "quarantine_image",
        "remove_images",
        "rollback",
    ),
}
_PACKAGES = ("backbones", "indexer", "search", "eval", "ui")
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("vecspect")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'vecspect' has no attribute {name!r}")
    if hidden := hidden_package():
        raise ImportError(hidden)
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


@functools.cache
def hidden_package() -> str:
    """One line that names the module hiding a package of vecspect, and what to do; else empty."""
    here = Path(__file__).resolve().parent
    for name in _PACKAGES:
        spec = importlib.util.find_spec(name)
        found = Path(spec.origin).resolve() if spec and spec.origin else None
        if found is None:
            return f"vecspect's package '{name}' is not at {here / name}: install vecspect again."
        if found != here / name / "__init__.py":
            return f"{found} hides vecspect's package '{name}': rename it, or move it elsewhere."
    return ""


def main() -> None:
    """Run the command line."""
    if hidden := hidden_package():
        sys.stderr.write(f"vecspect: {hidden}\n")
        sys.exit(1)
    from ui.cli.entry import main as run

    run()
