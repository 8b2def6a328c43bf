"""Reports: what the benchmarks found, side by side, down to the images that went wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import streamlit as st
from numpy.typing import ArrayLike

from backbones.errors import VecspectError
from eval.arrays import Float64
from eval.benchmark.comparison import Run, runs_of
from eval.benchmark.results import BenchmarkResult, ImageResult, ResultError
from eval.benchmark.summary import interval_text
from eval.metrics.detection import pr_points, roc_points
from indexer.data.image_records import subfolders
from ui.app.address import in_address, put_in_address
from ui.app.components import charts
from ui.app.components.charts import show_table
from ui.app.components.comparison import run_name, show_comparisons
from ui.app.components.custom import Card, framed, gallery
from ui.app.components.library import small_picture
from ui.app.layout import go, open_session, store_title
from ui.app.session import Key, Session
from ui.app.text import plain, short_path

_DEPTH = 3
_MOST, _WORST, _CURVES = 4, 6, 8
_BETWEEN = "|"
"""Between the benchmarks that the address names."""
_ROC = ("false-positive rate", "true-positive rate")
_PR = ("recall", "precision")
Curve = Callable[[ArrayLike, ArrayLike], tuple[Float64, Float64]]


def show() -> None:
    """The page."""
    session = open_session()
    store_title(session, "Reports")
    files = _files(session)
    if not files:
        st.info("No benchmark lies below the folders of this app. Make one:")
        st.code("vecspect benchmark DATASET --out benchmark_out", language="sh")
        return
    names = [str(file.parent) for file in files]
    wanted = [name for name in in_address("runs").split(_BETWEEN) if name in names]
    chosen = st.multiselect(
        "Benchmarks",
        names,
        default=wanted[:_MOST] or names[:1],
        max_selections=_MOST,
        format_func=short_path,
        help="The first one is the reference that the others are compared with.",
    )
    put_in_address(runs=_BETWEEN.join(chosen))
    runs = runs_of(_results(chosen))
    if not runs:
        return
    _summary(runs, many=len(chosen) > 1)
    show_comparisons(runs, lambda run, path: _picture(session, run, path))
    _curves(runs)
    _one(session, runs)
    _pages([Path(name) for name in chosen])


def _files(session: Session) -> list[Path]:
    """Benchmarks in the image roots and below them, the latest first."""
    found = {file for root in session.roots for file in _benchmarks(root, _DEPTH)}
    return sorted(found, key=lambda file: -file.stat().st_mtime)


def _benchmarks(folder: Path, depth: int) -> Iterator[Path]:
    """``benchmark.json`` of a folder and of those inside it; one that cannot be read has none."""
    file = folder / "benchmark.json"
    if file.is_file():
        yield file
    try:
        inside = subfolders(folder) if depth else []
    except OSError:
        return
    for path in inside:
        yield from _benchmarks(path, depth - 1)


def _results(names: Sequence[str]) -> dict[str, BenchmarkResult]:
    """The benchmarks that can be read, by folder; the others are named on the page."""
    results = {}
    for name in names:
        file = Path(name) / "benchmark.json"
        try:
            with st.spinner(plain(f"Reading {short_path(name)}…")):
                results[name] = _read(file, file.stat().st_mtime_ns)
        except (OSError, ValueError, VecspectError) as error:
            st.error(plain(f"{name}: {error}"))
    return results


@st.cache_resource(max_entries=8, show_spinner=False)
def _read(file: Path, changed_at: int) -> BenchmarkResult:
    """A benchmark, read once until its file changes."""
    fields = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(fields, dict):
        raise ResultError(f"{file} holds no benchmark. Run the benchmark again.")
    return BenchmarkResult.from_dict(fields)


def _summary(runs: Sequence[Run], *, many: bool) -> None:
    rows = [
        {
            **({"benchmark": short_path(run.name)} if many else {}),
            "category": run.report.category,
            "backbone": run.report.backbone,
            "image AUROC": run.report.image_auroc,
            "average precision": run.report.average_precision,
            "pixel AUROC": run.report.pixel_auroc,
            "AU-PRO 30 %": run.report.au_pro_30,
            "F1-max (oracle)": run.report.f1_max,
            "false rejects": f"{run.report.false_reject.successes}/{run.report.false_reject.n}",
            "recall": f"{run.report.recall.successes}/{run.report.recall.n}",
            "ms an image": run.report.median_ms,
            "made at": run.created_at[:16].replace("T", " "),
        }
        for run in runs
    ]
    figures = ("image AUROC", "average precision", "pixel AUROC", "AU-PRO 30 %", "F1-max (oracle)")
    show_table(rows, {**dict.fromkeys(figures, "%.4f"), "ms an image": "%.0f"})


def _curves(runs: Sequence[Run]) -> None:
    """A curve a run."""
    st.header("Curves")
    shown = runs[:_CURVES]
    left, right = st.columns(2, gap="large")
    shipped = [(run.report.false_reject.value, run.report.recall.value) for run in shown]
    with left:
        st.altair_chart(charts.curves(_points(shown, roc_points), _ROC, shipped))
    with right:
        st.altair_chart(charts.curves(_points(shown, pr_points), _PR))
    more = f" Only the first {_CURVES} of {len(runs)} runs have a curve." * (len(runs) > _CURVES)
    st.caption(f"Rings mark the shipped thresholds.{more}")


def _points(runs: Sequence[Run], curve: Curve) -> dict[str, tuple[Float64, Float64]]:
    return {
        run_name(run): curve(
            [image.defective for image in run.report.images],
            [image.score for image in run.report.images],
        )
        for run in runs
    }


def _one(session: Session, runs: Sequence[Run]) -> None:
    """One run: recall by defect type, and the images that it got most wrong."""
    st.header("Hardest images")
    names = [run_name(run) for run in runs]
    wanted = in_address("run")
    chosen = st.selectbox(
        "Look closer at", names, index=names.index(wanted) if wanted in names else 0
    )
    put_in_address(run=chosen if chosen != names[0] else "")
    run = runs[names.index(chosen)]
    left, right = st.columns([2, 3], gap="large")
    with left:
        st.markdown("**Recall by defect type**")
        rows = [
            {
                "defect type": kind,
                "caught": f"{rate.successes}/{rate.n}",
                "recall": rate.value,
                "95 % interval": interval_text(rate),
            }
            for kind, rate in run.report.recall_by_type.items()
        ]
        show_table(rows, {"recall": "percent"})
    with right:
        ranked = sorted(run.report.images, key=lambda image: image.score)
        defects = [image for image in ranked if image.defective]
        normals = [image for image in reversed(ranked) if not image.defective]
        _cases(session, run, defects[:_WORST], "Defective images with the lowest scores")
        _cases(session, run, normals[:_WORST], "Normal images with the highest scores")


def _cases(session: Session, run: Run, images: list[ImageResult], label: str) -> None:
    st.markdown(f"**{label}**")
    cards = [
        Card(
            image.path,
            _picture(session, run, image.path),
            image.defect_type or image.label,
            (f"score {image.score:.4g}", Path(image.path).name),
            image.verdict,
        )
        for image in images
    ]
    chosen, _ = gallery(cards, key=f"cases {label} {run_name(run)}", label=label, side=110)
    if not chosen:
        return
    key, file = Key(run.report.category, run.report.backbone), _found(session, run, chosen)
    if file and key in map(Key.of, session.entries()):
        go("inspect", key, image=str(file))
    st.toast("This category is not in the store that is open.", icon=":material/info:")


def _picture(session: Session, run: Run, path: str) -> str:
    """Thumbnail of a test image; else the picture that the benchmark kept of it, if it did."""
    if file := _found(session, run, path):
        return small_picture(session, str(file))
    kept = (ref.picture for ref in run.report.heatmaps if ref.path == path)
    return next((small_picture(session, str(Path(run.name) / name)) for name in kept), "")


def _found(session: Session, run: Run, path: str) -> Path | None:
    """The file of a test image; a relative path counts from where the benchmark ran.

    Nobody noted where that was: tried are this process's folder, those around the benchmark, and
    the image roots.
    """
    folder = Path(run.name)
    around = (Path.cwd(), folder, *folder.parents, *session.roots)
    return next(filter(None, (session.served(base / path) for base in around)), None)


def _pages(folders: list[Path]) -> None:
    for page in filter(Path.is_file, (folder / "report.html" for folder in folders)):
        folder = page.parent
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(plain(f"{short_path(page)}, {page.stat().st_size / 2**20:.1f} MiB"))
            st.download_button(
                "Download the report",
                page.read_bytes,
                file_name=f"{folder.name}.html",
                mime="text/html",
                icon=":material/download:",
                key=f"download {folder}",
            )
            shown = st.toggle("Show it here", key=f"show {folder}")
        if shown:
            with st.spinner("Opening the report…"):
                framed(page.read_text(encoding="utf-8"), key=f"page {folder}")
