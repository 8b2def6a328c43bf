"""Words and paths as the pages write them."""

from __future__ import annotations

import re
from pathlib import Path

from indexer.catalog.entry import CatalogEntry


def plain(text: str) -> str:
    """Text that Streamlit shows as it is, whatever marks of Markdown or HTML it holds."""
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|~$:<>&])", r"\\\1", " ".join(text.split()))


def short_path(path: Path | str) -> str:
    """A path as seen from where the app runs, if it lies below."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else str(path)


def not_served(path: str) -> str:
    """Reason why a file is not shown, and what to do."""
    folder = Path(path).parent
    if not Path(path).is_file():
        return plain(f"{path}: there is no such file any more.")
    return plain(
        f"{path} lies outside the folders this app may show. Start it with: "
        f"vecspect ui --images {folder}"
    )


def revision_text(entry: CatalogEntry) -> str:
    """One line on the revision in use."""
    counts = entry.counts
    return (
        f"revision {entry.revision} · {counts['bank_images']} normal images in the memory bank · "
        f"{counts['calibration_images']} calibrate · {entry.backbone}"
    )
