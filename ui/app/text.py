"""Words and paths as the pages write them."""

from __future__ import annotations

import re
from pathlib import Path

from indexer.catalog.entry import CatalogEntry

_LONGEST = 200


def plain(text: str) -> str:
    """Text that Streamlit shows as it is, whatever marks of Markdown or HTML it holds."""
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|~$:<>&])", r"\\\1", " ".join(text.split()))


def percent(share: float) -> str:
    """A share as ``5.9 %``."""
    return f"{round(100 * share, 1):g} %"


def short_path(path: Path | str) -> str:
    """A path as seen from where the app runs, if it lies below."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else str(path)


def not_served(path: str) -> str:
    """Reason why a file is not shown, and what to do; the same whether it exists or not."""
    shown = path if len(path) <= _LONGEST else path[:_LONGEST] + " …"
    return plain(
        f"{shown} cannot be shown: it is gone, or lies outside the folders this app may show. "
        "Start the app with: vecspect ui --images FOLDER"
    )


def revision_text(entry: CatalogEntry) -> str:
    """One line on the revision in use."""
    counts = entry.counts
    return (
        f"revision {entry.revision} · {counts['bank_images']} normal images in the memory bank · "
        f"{counts['calibration_images']} calibrate · {entry.backbone}"
    )
