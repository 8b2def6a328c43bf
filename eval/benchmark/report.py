"""Write a benchmark down: JSON for programs, CSV and Markdown tables, one self-contained page."""

from __future__ import annotations

import base64
import json
import mimetypes
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
from scipy.stats import betabinom

from eval.benchmark.plots import roc_figure, score_figure, to_svg
from eval.benchmark.results import BenchmarkResult, CategoryReport, HeatmapRef
from eval.benchmark.summary import (
    COLUMNS,
    NONE,
    csv_text,
    interval_text,
    percent_text,
    summary_table,
)
from eval.metrics.detection import Rate
from indexer.calibration.base import conformal_rank

MOST_CURVES = 8  # more in one picture cannot be told apart

TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.filters |= {
    "interval": interval_text,
    "percent": percent_text,
    "nobreak": lambda text: text.replace(" %", "\u00a0%"),
}


@dataclass(frozen=True, slots=True)
class ReportPaths:
    """The four files that `write_report` wrote."""

    json: Path
    csv: Path
    markdown: Path
    html: Path


def write_report(result: BenchmarkResult, out: Path) -> ReportPaths:
    """Write the benchmark's four files into `out`, which is made if missing.

    Pictures of the reports are read from `out` and become part of the page; one that is
    missing, or lies outside `out`, is named on the page instead. Same result, same bytes.
    """
    out.mkdir(parents=True, exist_ok=True)
    names = ("benchmark.json", "benchmark.csv", "benchmark.md", "report.html")
    paths = ReportPaths(*(out / name for name in names))
    stored = json.dumps(result.to_dict(), allow_nan=False, ensure_ascii=False, indent=1)
    _write(paths.json, stored + "\n")
    _write(paths.csv, csv_text(summary_table(result)))
    _write(paths.markdown, _as_markdown(result))
    _write(paths.html, _as_html(result, out))
    return paths


def false_reject_sentence(report: CategoryReport) -> str:
    """Compare the false-reject rate that was requested with the one observed, in words."""
    rate, alpha = report.false_reject, report.alpha_reject
    requested = f"At most {percent_text(alpha)} of normal parts were to be rejected"
    if not rate.n:
        return f"{requested}; no normal test image was there to check it."
    observed = (
        f"{requested}; {rate.successes} of {rate.n} normal test images were, "
        f"{percent_text(rate.value)} (95 % interval {interval_text(rate)})."
    )
    # the threshold is itself drawn with the calibration images: among images drawn alike, the
    # number rejected is beta-binomial (Vovk 2012, conditional validity), wider than binomial
    rank = conformal_rank(alpha, report.n_calibration)
    if not 1 <= rank <= report.n_calibration:
        return observed
    drawn_alike = betabinom(rate.n, rank, report.n_calibration + 1 - rank)
    if drawn_alike.sf(rate.successes - 1) < 0.025:
        return (
            f"{observed} That is more than requested and beyond the chance of drawing the "
            "calibration images: the test images differ from them."
        )
    if drawn_alike.cdf(rate.successes) < 0.025:
        return f"{observed} That is fewer than requested, beyond chance."
    return (
        f"{observed} That agrees with the request, given {report.n_calibration} calibration images."
    )


def recall_sentence(report: CategoryReport) -> str:
    """Say how many defective test images were rejected, sent to review, and passed."""
    rate = report.recall
    if not rate.n:
        return "There was no defective test image."
    verdicts = [image.verdict for image in report.images if image.defective]
    return (
        f"Of {rate.n} defective test images, {rate.successes} were rejected, "
        f"{percent_text(rate.value)} (95 % interval {interval_text(rate)}), "
        f"{verdicts.count('review')} went to review and {verdicts.count('ok')} passed unnoticed."
    )


def _as_markdown(result: BenchmarkResult) -> str:
    table = summary_table(result)
    titles = [column.title for column in table.columns]
    blocks = ["# Benchmark", _markdown_table(titles, table.texts)]
    blocks.append("\n".join(f"- **{c.title}**: {c.explanation}" for c in COLUMNS if c.explanation))
    for report in result.reports:
        blocks.append(f"## {_markdown_text(report.category)}, {_markdown_text(report.backbone)}")
        blocks += [false_reject_sentence(report), recall_sentence(report)]
        if report.recall_by_type:
            rows = [[name, *_recall_cells(rate)] for name, rate in report.recall_by_type.items()]
            heads = ["defect type", "rejected", "recall", "95 % interval"]
            blocks.append(_markdown_table(heads, rows))
        blocks.append(_markdown_table(["setting", "value"], _settings(report)))
    fence = "`" * (1 + max([2, *map(len, re.findall("`+", result.command))]))
    blocks.append(
        f"Made {_markdown_text(result.created_at)} by\n\n{fence}\n{result.command}\n{fence}"
    )
    return "\n\n".join(blocks) + "\n"


def _markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(_markdown_text, line)) + " |" for line in lines)


def _markdown_text(text: str) -> str:
    """Keep a name from acting as Markdown or HTML, on one line."""
    return re.sub(r"([\\`*\[\]|<>])", r"\\\1", " ".join(text.split()))


def _as_html(result: BenchmarkResult, out: Path) -> str:
    curves = to_svg(roc_figure(result.reports)) if 1 < len(result.reports) <= MOST_CURVES else ""
    sections = [
        {
            "report": report,
            "false_rejects": false_reject_sentence(report),
            "recall": recall_sentence(report),
            "recall_by_type": [
                (name, *_recall_cells(rate)) for name, rate in report.recall_by_type.items()
            ],
            "roc": to_svg(roc_figure([report])),
            "scores": to_svg(score_figure(report)),
            "pictures": list(_pictures(report.heatmaps, out)),
            "settings": _settings(report),
        }
        for report in result.reports
    ]
    template = TEMPLATES.get_template("report.html.j2")
    table = summary_table(result)
    return template.render(result=result, table=table, curves=curves, sections=sections) + "\n"


def _recall_cells(rate: Rate) -> tuple[str, str, str]:
    return f"{rate.successes} of {rate.n}", percent_text(rate.value), interval_text(rate)


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
        yield kind, [(ref, _data_uri(out, ref.picture)) for ref in heatmaps if ref.kind == kind]


def _data_uri(out: Path, name: str) -> str:
    """Inline a picture below `out`; empty when it is missing, elsewhere, or not a picture."""
    path = (out / name).resolve()
    kind = mimetypes.guess_type(path.name)[0] or ""
    if not (path.is_relative_to(out.resolve()) and path.is_file() and kind.startswith("image/")):
        return ""
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
