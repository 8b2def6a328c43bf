"""Pieces that several pages show: verdicts, library cards, folders, what a change would do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from backbones.decode import IMAGE_SUFFIXES
from backbones.errors import ImageError
from backbones.geometry import Box
from indexer.calibration.base import Calibration
from indexer.catalog.schema import LibraryImage
from search.monitoring.replay_update import Replay
from search.prediction import Prediction
from ui.app.components.widgets import GLYPHS, Card
from ui.app.images.pictures import around, data_uri, thumbnail
from ui.app.images.uploads import MOST_FILES
from ui.app.layout import plain
from ui.app.session import Desk, Key

_BANNER = """
<div style="display:flex;align-items:center;gap:.9rem;padding:.7rem 1rem;border-radius:8px;
background:{colour};color:#fff"><span style="font-size:2.1rem;line-height:1">{glyph}</span>
<span><b style="font-size:1.3rem">{word}</b><br>{meaning}</span></div>
"""
_COLOURS = {"ok": "#15803d", "review": "#b45309", "reject": "#b91c1c"}
_MEANINGS = {
    "ok": "Looks like the normal parts.",
    "review": "Unusual: worth a look.",
    "reject": "Stranger than the normal parts allow.",
}


def verdict_banner(prediction: Prediction) -> None:
    """The verdict by colour, shape and word, and its p-value in a sentence."""
    verdict = prediction.verdict
    st.html(
        _BANNER.format(
            colour=_COLOURS[verdict],
            glyph=GLYPHS[verdict],
            word=verdict.capitalize(),
            meaning=_MEANINGS[verdict],
        )
    )
    st.markdown(
        f"**p = {prediction.p_value:.3g}**: {prediction.p_value:.1%} of normal parts are expected "
        f"to score this high or higher. Score {prediction.score:.4g}, rejected above "
        f"{prediction.threshold:.4g}."
    )


def library_card(opened: Desk, image: LibraryImage, calibration: Calibration) -> Card:
    """An image of the library, with the verdict of its score at the levels of ``calibration``."""
    title = image.defect_type or image.label
    fields = ", ".join(f"{name} {value}" for name, value in image.fields.items())
    lines = (Path(image.path).name, image.split, fields)
    return Card(
        image.image_id,
        small(opened, image.path),
        title,
        tuple(line for line in lines if line),
        "" if image.score is None else calibration.verdict(image.score),
    )


def small(opened: Desk, path: str, box: Box | None = None) -> str:
    """Thumbnail as a data URI, of the part around ``box`` if there is one.

    Empty where the file is gone or may not be shown.
    """
    served = opened.served(path)
    if served is None:
        return ""
    try:
        return data_uri(around(served, box) if box else thumbnail(served))
    except ImageError:
        return ""


def short(path: Path | str) -> str:
    """A path as seen from where the app runs, if it lies below."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else str(path)


def not_served(path: str) -> str:
    """Why a file is not shown, and what helps."""
    folder = Path(path).parent
    if not Path(path).is_file():
        return plain(f"{path}: there is no such file any more.")
    return plain(
        f"{path} lies outside the folders this app may show. Start it with: "
        f"vecspect ui --images {folder}"
    )


def folder_input(opened: Desk, name: str) -> list[Path]:
    """A folder below the image roots, typed in; its images."""
    given = st.text_input(
        "Folder with images",
        placeholder=str(opened.roots[0]) if opened.roots else "",
        key=f"folder {name}",
        help="Below: " + plain(", ".join(str(root) for root in opened.roots)),
    )
    if not given:
        return []
    folder = Path(given).expanduser().resolve()
    if not any(folder.is_relative_to(root) for root in opened.roots):
        st.warning(not_served(str(folder / "*")) if folder.is_dir() else "No such folder.")
        return []
    if not folder.is_dir():
        st.warning("There is no such folder.")
        return []
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES and opened.served(path)
    )
    st.caption(f"{len(found)} images")
    return found


def defect_type_input(opened: Desk, key: Key) -> str:
    """A defect type: one that the library knows, or a new one; may be empty."""
    known = sorted({i.defect_type for i in opened.library(key).values() if i.defect_type})
    chosen = st.selectbox(
        "Defect type",
        known,
        index=None,
        accept_new_options=True,
        placeholder="Choose one, or write a new one",
    )
    return chosen or ""


def upload_input(label: str, key: str) -> list[UploadedFile]:
    """Image files through the browser, at most `MOST_FILES` of them."""
    files = st.file_uploader(
        label,
        type=sorted(suffix[1:] for suffix in IMAGE_SUFFIXES),
        accept_multiple_files=True,
        key=key,
    )
    if len(files) > MOST_FILES:
        st.warning(f"Only the first {MOST_FILES} files are taken; use a folder for more.")
    return list(files[:MOST_FILES])


def keep_uploads(opened: Desk, files: Sequence[tuple[str, bytes]]) -> list[Path]:
    """Keep named pictures; what is none is told on the page and left out."""
    kept = []
    for name, data in files:
        try:
            kept.append(opened.uploads.keep(name, data))
        except ImageError as error:
            st.error(plain(f"{name}: {error}"), icon=":material/broken_image:")
    return kept


def replay_summary(replay: Replay) -> None:
    """What letting an image join as normal would change, in words and a table."""
    first = replay.images[0]
    role = (
        "it would calibrate"
        if replay.roles[0] == "calibration"
        else (f"{replay.patches} of its patches would join the memory bank")
    )
    st.markdown(
        f"As a normal image {role}. Its verdict: **{first.verdict} → {first.verdict_after}** "
        f"(score {first.score:.3g} → {first.score_after:.3g}). Reject threshold "
        f"{replay.threshold:.4g} → {replay.threshold_after:.4g}."
    )
    others = [image for image in replay.changed if image is not first]
    asked = len(replay.images) - 1
    if not asked:
        st.caption("No known defect or other image is there to replay.")
    elif not others:
        st.markdown(f"Of {asked} known defects and images brought in, **no verdict changes**.")
    else:
        st.markdown(f"Of {asked} known defects and images brought in, **{len(others)} change**:")
        st.dataframe(
            [
                {
                    "image": image.path.name,
                    "now": image.verdict,
                    "then": image.verdict_after,
                    "score now": image.score,
                    "score then": image.score_after,
                }
                for image in others
            ],
            hide_index=True,
        )
