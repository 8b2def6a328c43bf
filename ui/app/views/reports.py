"""Reports: what the benchmarks found, side by side, down to the images that went wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import streamlit as st
from numpy.typing import ArrayLike

from backbones.errors import VecspectError
from eval.arrays import Float64
from eval.benchmark.results import BenchmarkResult, CategoryReport, ImageResult, ResultError
from eval.benchmark.summary import interval_text
from eval.metrics.detection import pr_points, roc_points
from ui.app.components import charts
from ui.app.components.charts import show_table
from ui.app.components.custom import Card, framed, gallery
from ui.app.components.library import small_picture
from ui.app.layout import go, open_session
from ui.app.session import Session
from ui.app.text import plain, short_path

_DEPTH = 3
_WORST = 6
_CURVES = 8
_ROC = ("false-positive rate", "true-positive rate")
_PR = ("recall", "precision")
Curve = Callable[[ArrayLike, ArrayLike], tuple[Float64, Float64]]


def show() -> None:
    """The page."""
    session = open_session()
    st.title("Reports")
    files = _files(session)
    if not files:
        st.info("No benchmark lies below the folders of this app. Make one:")
        st.code("vecspect benchmark DATASET --out benchmark_out", language="sh")
        return
    names = [str(file.parent) for file in files]
    wanted = st.query_params.get("report", "")
    chosen = st.multiselect(
        "Benchmarks",
        names,
        default=[wanted if wanted in names else names[0]],
        max_selections=4,
        format_func=short_path,
    )
    reports: list[tuple[str, CategoryReport]] = []
    for name in chosen:
        try:
            result = _read(Path(name) / "benchmark.json")
        except (OSError, ValueError, VecspectError) as error:
            st.error(plain(f"{name}: {error}"))
            continue
        reports += [(name, report) for report in result.reports]
    if not reports:
        return
    st.query_params["report"] = chosen[0]
    _summary(reports, many=len(chosen) > 1)
    _curves([report for _, report in reports])
    _one(session, reports)
    _pages([Path(name) for name in chosen])


def _files(session: Session) -> list[Path]:
    """Benchmarks below the image roots, the latest first."""
    patterns = ["*/" * depth + "benchmark.json" for depth in range(1, _DEPTH + 1)]
    found = {file for root in session.roots for form in patterns for file in root.glob(form)}
    return sorted(found, key=lambda file: -file.stat().st_mtime)


def _read(file: Path) -> BenchmarkResult:
    fields = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(fields, dict):
        raise ResultError(f"{file} holds no benchmark. Run the benchmark again.")
    return BenchmarkResult.from_dict(fields)


def _summary(reports: list[tuple[str, CategoryReport]], *, many: bool) -> None:
    rows = [
        {
            **({"benchmark": short_path(name)} if many else {}),
            "category": report.category,
            "backbone": report.backbone,
            "image AUROC": report.image_auroc,
            "average precision": report.average_precision,
            "pixel AUROC": report.pixel_auroc,
            "AU-PRO 30 %": report.au_pro_30,
            "F1-max (oracle)": report.f1_max,
            "false rejects": f"{report.false_reject.successes}/{report.false_reject.n}",
            "recall": f"{report.recall.successes}/{report.recall.n}",
            "ms an image": report.median_ms,
        }
        for name, report in reports
    ]
    figures = ("image AUROC", "average precision", "pixel AUROC", "AU-PRO 30 %", "F1-max (oracle)")
    show_table(rows, {**dict.fromkeys(figures, "%.4f"), "ms an image": "%.0f"})


def _curves(reports: list[CategoryReport]) -> None:
    left, right = st.columns(2, gap="large")
    shipped = [(r.false_reject.value, r.recall.value) for r in reports]
    with left:
        st.altair_chart(charts.curves(_points(reports, roc_points), _ROC, shipped))
    with right:
        st.altair_chart(charts.curves(_points(reports, pr_points), _PR))
    st.caption("Rings mark the shipped thresholds.")


def _points(reports: list[CategoryReport], curve: Curve) -> dict[str, tuple[Float64, Float64]]:
    return {
        f"{report.category}, {report.backbone}": curve(
            [image.defective for image in report.images], [image.score for image in report.images]
        )
        for report in reports[:_CURVES]
    }


def _one(session: Session, reports: list[tuple[str, CategoryReport]]) -> None:
    names = [f"{r.category} · {r.backbone} · {short_path(name)}" for name, r in reports]
    chosen = st.selectbox("Look closer at", names)
    report = reports[names.index(chosen)][1]
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
            for kind, rate in report.recall_by_type.items()
        ]
        show_table(rows, {"recall": "percent"})
    with right:
        ranked = sorted(report.images, key=lambda image: image.score)
        defects = [image for image in ranked if image.defective]
        normals = [image for image in reversed(ranked) if not image.defective]
        st.markdown("**Defective images with the lowest scores**")
        _cases(session, report, defects[:_WORST], "defects")
        st.markdown("**Normal images with the highest scores**")
        _cases(session, report, normals[:_WORST], "normals")


def _cases(session: Session, report: CategoryReport, images: list[ImageResult], name: str) -> None:
    cards = [
        Card(
            image.path,
            small_picture(session, image.path),
            image.defect_type or image.label,
            (f"score {image.score:.4g}", Path(image.path).name),
            image.verdict,
        )
        for image in images
    ]
    chosen, _ = gallery(cards, key=f"cases {name}", label=name, side=110)
    if chosen and any(entry.category == report.category for entry in session.entries()):
        path = str(Path(chosen).resolve())
        go("inspect", category=report.category, backbone=report.backbone, image=path)
    elif chosen:
        st.info("This category is not in the store that is open.")


def _pages(folders: list[Path]) -> None:
    for page in filter(Path.is_file, (folder / "report.html" for folder in folders)):
        folder = page.parent
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(plain(short_path(page)))
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
            framed(page.read_text(encoding="utf-8"), key=f"page {folder}")
