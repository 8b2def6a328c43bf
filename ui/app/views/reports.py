"""Reports: what the benchmarks found, side by side, down to the images that went wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import streamlit as st
from numpy.typing import ArrayLike

from backbones.errors import VecspectError
from eval.benchmark.results import BenchmarkResult, CategoryReport, ImageResult, ResultError
from eval.benchmark.summary import interval_text
from eval.metrics.detection import Float64, pr_points, roc_points
from ui.app.components import cards, charts
from ui.app.components.widgets import Card, framed, gallery
from ui.app.layout import desk, go, plain
from ui.app.session import Desk

_DEPTH = 3
_WORST = 6
_CURVES = 8
_ROC = ("false-positive rate", "true-positive rate")
_PR = ("recall", "precision")
Curve = Callable[[ArrayLike, ArrayLike], tuple[Float64, Float64]]


def show() -> None:
    """The page."""
    opened = desk()
    st.title("Reports")
    files = _files(opened)
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
        format_func=cards.short,
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
    _one(opened, reports)
    _pages([Path(name) for name in chosen])


def _files(opened: Desk) -> list[Path]:
    """Benchmarks below the image roots, the latest first."""
    found: set[Path] = set()
    for root in opened.roots:
        for depth in range(1, _DEPTH + 1):
            found.update(root.glob("*/" * depth + "benchmark.json"))
    return sorted(found, key=lambda file: -file.stat().st_mtime)


def _read(file: Path) -> BenchmarkResult:
    fields = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(fields, dict):
        raise ResultError(f"{file} holds no benchmark. Run the benchmark again.")
    return BenchmarkResult.from_dict(fields)


def _summary(reports: list[tuple[str, CategoryReport]], *, many: bool) -> None:
    rows = [
        {
            **({"benchmark": cards.short(name)} if many else {}),
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
    columns = {name: st.column_config.NumberColumn(name, format="%.4f") for name in figures}
    columns["ms an image"] = st.column_config.NumberColumn("ms an image", format="%.0f")
    st.dataframe(rows, hide_index=True, column_config=columns)


def _curves(reports: list[CategoryReport]) -> None:
    left, right = st.columns(2, gap="large")
    shipped = [(r.false_reject.value, r.recall.value) for r in reports]
    with left:
        st.altair_chart(charts.curves(_points(reports, roc_points), _ROC, shipped))
    with right:
        st.altair_chart(charts.curves(_points(reports, pr_points), _PR))
    st.caption("Rings mark the shipped thresholds.")


def _points(reports: list[CategoryReport], curve: Curve) -> dict[str, tuple[Float64, Float64]]:
    found = {}
    for report in reports[:_CURVES]:
        labels = [image.defective for image in report.images]
        found[_name(report)] = curve(labels, [image.score for image in report.images])
    return found


def _name(report: CategoryReport) -> str:
    return f"{report.category}, {report.backbone}"


def _one(opened: Desk, reports: list[tuple[str, CategoryReport]]) -> None:
    names = [f"{r.category} · {r.backbone} · {cards.short(name)}" for name, r in reports]
    chosen = st.selectbox("Look closer at", names)
    report = reports[names.index(chosen)][1]
    left, right = st.columns([2, 3], gap="large")
    with left:
        st.markdown("**Recall by defect type**")
        st.dataframe(
            [
                {
                    "defect type": kind,
                    "caught": f"{rate.successes}/{rate.n}",
                    "recall": rate.value,
                    "95 % interval": interval_text(rate),
                }
                for kind, rate in report.recall_by_type.items()
            ],
            hide_index=True,
            column_config={"recall": st.column_config.NumberColumn(format="percent")},
        )
    with right:
        normal = sorted((i for i in report.images if not i.defective), key=lambda i: -i.score)
        defects = sorted((i for i in report.images if i.defective), key=lambda i: i.score)
        st.markdown("**Defective images with the lowest scores**")
        _cases(opened, report, defects[:_WORST], "defects")
        st.markdown("**Normal images with the highest scores**")
        _cases(opened, report, normal[:_WORST], "normals")


def _cases(opened: Desk, report: CategoryReport, images: list[ImageResult], name: str) -> None:
    cards = [
        Card(
            image.path,
            cards.small(opened, image.path),
            image.defect_type or image.label,
            (f"score {image.score:.4g}", Path(image.path).name),
            image.verdict,
        )
        for image in images
    ]
    chosen, _ = gallery(cards, key=f"cases {name}", label=name, side=110)
    if chosen and any(entry.category == report.category for entry in opened.entries()):
        path = str(Path(chosen).resolve())
        go("inspect", category=report.category, backbone=report.backbone, image=path)
    elif chosen:
        st.info("This category is not in the store that is open.")


def _pages(folders: list[Path]) -> None:
    for folder in folders:
        page = folder / "report.html"
        if not page.is_file():
            continue
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(plain(cards.short(page)))
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
