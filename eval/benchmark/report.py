"""Writes benchmark reports: JSON for programs, CSV and Markdown tables, one self-contained page."""

from __future__ import annotations

import io
import json
import mimetypes
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from scipy.stats import betabinom

from eval.benchmark.plots import data_uri, roc_figure, score_figure, to_svg
from eval.benchmark.results import BenchmarkResult, CategoryReport, HeatmapRef
from eval.benchmark.summary import (
    COLUMNS,
    NONE,
    csv_text,
    interval_text,
    percent_text,
    summary_table,
)
from eval.pages import TEMPLATES, markdown_table, page
from indexer.calibration.base import conformal_rank

MOST_CURVES = 8  # more curves in one picture cannot be distinguished


def _plain(text: str) -> str:
    """Keep a name from acting as Markdown or HTML, on one line."""
    return re.sub(r"([\\`*\[\]|<>])", r"\\\1", " ".join(text.split()))


def _table(rows: Iterable[Sequence[str]], heads: Iterable[str]) -> str:
    head, *lines = (" | ".join(map(_plain, line)) for line in (heads, *rows))
    return markdown_table(head, lines)


TEMPLATES.filters |= {
    "interval": interval_text,
    "percent": percent_text,
    "nobreak": lambda text: text.replace(" %", "\u00a0%"),
    "plain": _plain,
    "table": _table,
}


class ReportPaths(NamedTuple):
    """The four files that `write_report` wrote."""

    json: Path
    csv: Path
    markdown: Path
    html: Path


def write_report(result: BenchmarkResult, out: Path) -> ReportPaths:
    """Write the benchmark's four files to `out`, which is created if missing.

    Pictures of the reports are read from `out` and embedded in the page; one that is missing, or
    lies outside `out`, is named on the page instead. The same result gives the same bytes.
    """
    out.mkdir(parents=True, exist_ok=True)
    names = ("benchmark.json", "benchmark.csv", "benchmark.md", "report.html")
    paths = ReportPaths(*(out / name for name in names))
    values = _values(result, out)
    stored = json.dumps(result.to_dict(), allow_nan=False, ensure_ascii=False, indent=1)
    texts = (
        stored + "\n",
        csv_text(values["table"]),
        page("benchmark.md", **values),
        page("report.html", **values),
    )
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text, encoding="utf-8", newline="\n")
    return paths


def false_reject_sentence(report: CategoryReport) -> str:
    """Sentence that compares the nominal false-reject rate with the realised one."""
    rate, alpha = report.false_reject, report.alpha_reject
    requested = f"At most {percent_text(alpha)} of normal parts were to be rejected"
    if not rate.n:
        return f"{requested}; there was no normal test image to check it."
    observed = (
        f"{requested}; {rate.successes} of {rate.n} normal test images were, "
        f"{percent_text(rate.value)} (95 % interval {interval_text(rate)})."
    )
    # the threshold depends on the drawn calibration images: among images drawn alike, the number
    # rejected is beta-binomial (Vovk 2012, conditional validity), wider than binomial
    rank = conformal_rank(alpha, report.n_calibration)
    if not 1 <= rank <= report.n_calibration:
        return observed
    drawn_alike = betabinom(rate.n, rank, report.n_calibration + 1 - rank)
    if drawn_alike.sf(rate.successes - 1) < 0.025:
        return (
            f"{observed} That is more than requested, beyond chance: the test images differ from "
            "the calibration images."
        )
    if drawn_alike.cdf(rate.successes) < 0.025:
        return f"{observed} That is fewer than requested, beyond chance."
    return (
        f"{observed} That agrees with the request, given {report.n_calibration} calibration images."
    )


def recall_sentence(report: CategoryReport) -> str:
    """Sentence on how many defective test images were rejected, sent to review, and passed."""
    rate = report.recall
    if not rate.n:
        return "There was no defective test image."
    verdicts = [image.verdict for image in report.images if image.defective]
    return (
        f"Of {rate.n} defective test images, {rate.successes} were rejected, "
        f"{percent_text(rate.value)} (95 % interval {interval_text(rate)}), "
        f"{verdicts.count('review')} went to review and {verdicts.count('ok')} passed unnoticed."
    )


def _values(result: BenchmarkResult, out: Path) -> dict[str, Any]:
    """Values shown by the templates."""
    several = 1 < len(result.reports) <= MOST_CURVES
    return {
        "result": result,
        "table": summary_table(result),
        "columns": COLUMNS,
        "curves": to_svg(roc_figure(result.reports)) if several else "",
        "fence": "`" * (1 + max([2, *map(len, re.findall("`+", result.command))])),
        "sections": [
            {
                "report": report,
                "false_rejects": false_reject_sentence(report),
                "recall": recall_sentence(report),
                "recall_by_type": [
                    (name, f"{r.successes} of {r.n}", percent_text(r.value), interval_text(r))
                    for name, r in report.recall_by_type.items()
                ],
                "roc": to_svg(roc_figure([report])),
                "scores": to_svg(score_figure(report)),
                "pictures": list(_pictures(report.heatmaps, out)),
                "settings": _settings(report),
            }
            for report in result.reports
        ],
    }


def _settings(report: CategoryReport) -> list[tuple[str, str]]:
    return [
        ("data set", report.dataset),
        ("normal images learnt from", f"{report.n_train:,}"),
        ("normal images held out for calibration", f"{report.n_calibration:,}"),
        ("share held out", percent_text(report.holdout)),
        ("share of patches kept (coreset)", percent_text(report.coreset)),
        ("memory bank", f"{report.bank_size:,} patches"),
        ("requested false rejects", percent_text(report.alpha_reject)),
        ("requested false rejects and reviews", percent_text(report.alpha_review)),
        ("threshold", f"{report.threshold:.6g}"),
        ("threshold of F1-max (oracle)", f"{report.f1_max_threshold:.6g}".replace("nan", NONE)),
        ("seed", str(report.seed)),
        ("fingerprint", report.fingerprint),
        *((f"version of {name}", version) for name, version in report.versions.items()),
    ]


def _pictures(
    heatmaps: Sequence[HeatmapRef], out: Path
) -> Iterator[tuple[str, list[tuple[HeatmapRef, str]]]]:
    """Group the pictures by kind, in order of first appearance, each with its data URI."""
    for kind in dict.fromkeys(ref.kind for ref in heatmaps):
        yield kind, [(ref, _inlined(out, ref.picture)) for ref in heatmaps if ref.kind == kind]


def _inlined(out: Path, name: str) -> str:
    """Inline a picture below `out`; empty if it is missing, elsewhere, or not a picture."""
    path = (out / name).resolve()
    kind = mimetypes.guess_type(path.name)[0] or ""
    if not (path.is_relative_to(out.resolve()) and path.is_file() and kind.startswith("image/")):
        return ""
    return data_uri(path.read_bytes(), kind)


def batch_report(
    name: str,
    category: str,
    results: Sequence[Mapping[str, Any]],
    pictures: Mapping[str, Image.Image],
) -> str:
    """Page of a batch: counts, the pictures, and one row per image, highest score first.

    Args:
        results: as from `Prediction.to_dict`, or ``path`` and ``error`` of a file that cannot be
            read.
        pictures: pictures by path, as from `Inspector.explain`.
    """
    scored = sorted((r for r in results if "error" not in r), key=lambda r: -r["score"])
    return page(
        "batch.html",
        name=name,
        category=category,
        counts=Counter(r["verdict"] for r in scored),
        scored=scored,
        unreadable=[r for r in results if "error" in r],
        pictures={path: _as_jpeg(picture) for path, picture in pictures.items()},
    )


def _as_jpeg(picture: Image.Image) -> str:
    stream = io.BytesIO()
    picture.convert("RGB").save(stream, "JPEG", quality=82)
    return data_uri(stream.getvalue(), "image/jpeg")
