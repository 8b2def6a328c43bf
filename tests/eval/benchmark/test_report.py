"""The written benchmark: strict JSON, one definition of columns, a page that loads nothing."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eval.benchmark.report import batch_report, false_reject_sentence, recall_sentence, write_report
from eval.benchmark.results import (
    BenchmarkResult,
    CategoryReport,
    CategoryRun,
    HeatmapRef,
    ImageResult,
    summarise,
)
from eval.benchmark.summary import COLUMNS, summary_table
from eval.metrics.detection import Rate

HOSTILE = "<script>alert('$\\frac$')</script>|`\"&_漢"


def report(category: str = "tile", backbone: str = "compact", **changes: object) -> CategoryReport:
    rng = np.random.default_rng(0)
    calibration = tuple(float(score) for score in rng.normal(2, 0.2, 40))
    images = [
        ImageResult(f"good/{i}.png", "normal", "good", score, 0.5, "ok", 20.0 + i)
        for i, score in enumerate(rng.normal(2, 0.2, 10).tolist())
    ]
    images += [
        ImageResult(f"{kind}/{i}.png", "defective", kind, score, 0.02, verdict, 30.0)
        for kind, verdict in (("crack", "reject"), ("oil", "review"), (category, "ok"))
        for i, score in enumerate(rng.normal(2.6, 0.2, 5).tolist())
    ]
    run = CategoryRun(
        category=category,
        backbone=backbone,
        dataset=f"data/{category}",
        n_train=100,
        bank_size=12_345,
        coreset=0.1,
        holdout=0.2,
        seed=0,
        alpha_reject=0.05,
        alpha_review=0.1,
        threshold=2.4,
        index_seconds=12.5,
        calibration_scores=calibration,
        fingerprint="f00d",
        versions={"vecspect": "0.1.0"},
    )
    return replace(summarise(run, images), **changes)  # type: ignore[arg-type]


def benchmark(*reports: CategoryReport) -> BenchmarkResult:
    return BenchmarkResult(reports, "2026-11-22T06:30:00+00:00", "vecspect benchmark data")


class Page(HTMLParser):
    """What a browser would load from a page, and the tags that are open at its end."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        loading = ("src", "href", "xlink:href", "srcset", "action", "data", "poster")
        self.addresses += [value or "" for name, value in attrs if name in loading]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_four_files_come_out_and_the_same_result_gives_the_same_bytes(tmp_path: Path) -> None:
    result = benchmark(report(), report(backbone="patchcore-resnet18"), report("grid"))
    first = write_report(result, tmp_path / "a" / "deep")
    second = write_report(result, tmp_path / "b")
    names = [first.json.name, first.csv.name, first.markdown.name, first.html.name]
    assert names == ["benchmark.json", "benchmark.csv", "benchmark.md", "report.html"]
    for name in names:
        assert (first.json.parent / name).read_bytes() == (second.json.parent / name).read_bytes()


def test_json_is_strict_and_reads_back(tmp_path: Path) -> None:
    def refuse(token: str) -> None:
        raise AssertionError(f"{token} is not JSON")

    result = benchmark(report())
    text = write_report(result, tmp_path).json.read_text("utf-8")
    fields = json.loads(text, parse_constant=refuse)
    assert BenchmarkResult.from_dict(fields).to_dict() == result.to_dict()


def test_csv_has_a_row_per_report_with_raw_figures_and_empty_undefined_ones(
    tmp_path: Path,
) -> None:
    first, second = report(baseline={"brute-force image AUROC": 0.94}), report("a,b\n")
    with write_report(benchmark(first, second), tmp_path).csv.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["category"] for row in rows] == ["tile", "a,b\n"]
    assert float(rows[0]["image_auroc"]) == first.image_auroc
    assert rows[0]["pixel_auroc"] == ""
    assert [row["brute-force image AUROC"] for row in rows] == ["0.94", ""]
    low, high = first.recall.interval
    assert float(rows[0]["recall"]) == first.recall.value
    assert (float(rows[0]["recall_low"]), float(rows[0]["recall_high"])) == (low, high)
    assert rows[0]["recall_n"] == "15"


def test_summary_shows_each_column_once_in_csv_markdown_and_html(tmp_path: Path) -> None:
    result = benchmark(report(baseline={"rival": 0.5}))
    table = summary_table(result)
    paths = write_report(result, tmp_path)
    page = Page(paths.html.read_text("utf-8"))
    flat = page.text.replace("\u00a0", " ").replace("\u2011", "-")  # no-break space and hyphen
    markdown = paths.markdown.read_text("utf-8")
    head = paths.csv.read_text("utf-8").splitlines()[0].split(",")
    assert [column.key for column in table.columns] == [*(c.key for c in COLUMNS), "rival"]
    for column, text in zip(table.columns, table.texts[0], strict=True):
        assert column.key in head
        assert column.title in markdown.splitlines()[2]
        assert text in markdown.splitlines()[4]
        assert column.title in flat


def test_page_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "worst.png")
    ref = HeatmapRef("good/1.png", "normal", "good", 2.0, "worst.png", "worst normal")
    text = write_report(benchmark(report(heatmaps=(ref,)), report()), tmp_path).html.read_text()
    page = Page(text)
    assert page.addresses
    for address in page.addresses:
        assert address.startswith(("data:image/png;base64,", "#")), address
    assert not re.findall(r"url\((?!#)|@import|<link|<script", text)
    assert "default-src 'none'" in text
    spaces = {"http://www.w3.org/1999/xlink", "http://www.w3.org/2000/svg"}
    assert set(re.findall(r"https?://[^\"'\s<]*", text)) <= spaces


def test_hostile_names_stay_text_everywhere(tmp_path: Path) -> None:
    ref = HeatmapRef(HOSTILE, "defective", HOSTILE, 2.0, HOSTILE, HOSTILE)
    evil = report(
        HOSTILE,
        HOSTILE,
        heatmaps=(ref,),
        versions={HOSTILE: HOSTILE},
        fingerprint=HOSTILE,
        baseline={HOSTILE: 0.5},
    )
    result = BenchmarkResult((evil, evil), HOSTILE, f"vecspect {HOSTILE} ```")
    paths = write_report(result, tmp_path)
    text = paths.html.read_text("utf-8")
    page = Page(text)
    assert "script" not in page.tags
    assert "<script" not in text.lower()
    assert HOSTILE in page.text
    markdown, _, command = paths.markdown.read_text("utf-8").partition("````\n")
    assert not re.search(r"(?<!\\)<script", markdown)
    assert command == f"vecspect {HOSTILE} ```\n````\n"
    rows = [line for line in markdown.splitlines() if line.startswith("| ")]
    cells = {len(re.findall(r"(?<!\\)\|", row)) for row in rows[:4]}
    assert cells == {len(COLUMNS) + 2}, "a name broke the summary into other columns"


def test_pictures_are_inlined_and_missing_or_foreign_ones_are_named(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    Image.new("RGB", (8, 8), "red").save(out / "ok.png")
    Image.new("RGB", (8, 8), "blue").save(tmp_path / "foreign.png")
    (out / "notes.txt").write_text("no picture")
    names = ("ok.png", "gone.png", "../foreign.png", "notes.txt")
    refs = tuple(HeatmapRef("a.png", "normal", "good", 2.0, name, "worst normal") for name in names)
    text = write_report(benchmark(report(heatmaps=refs)), out).html.read_text("utf-8")
    assert text.count('<img src="data:image/png;base64,') == 1
    for name in names[1:]:
        assert f"No picture at {name}" in text


def test_realised_false_rejects_are_compared_with_the_request() -> None:
    def sentence(successes: int, n: int) -> str:
        calibrated = replace(report(), calibration_scores=tuple(range(1, 100)))
        return false_reject_sentence(replace(calibrated, false_reject=Rate(successes, n)))

    assert "3 of 32 normal test images were, 9.4 % (95 % interval 3.2 to 24.2 %)" in sentence(3, 32)
    assert "agrees with the request, given 99 calibration images" in sentence(3, 32)
    assert "more than requested, beyond chance" in sentence(20, 32)
    assert "fewer than requested" in sentence(0, 500)
    assert "no normal test image" in sentence(0, 0)
    assert "At most 5.0 %" in sentence(0, 0)


def test_few_calibration_images_excuse_what_many_would_not() -> None:
    # the largest of 49 scores as threshold: 2 of 21 above it has probability 0.087, 5 of 21 0.0017
    few = replace(report(), alpha_reject=0.02, calibration_scores=tuple(range(49)))
    assert "agrees" in false_reject_sentence(replace(few, false_reject=Rate(2, 21)))
    assert "more than requested, beyond chance" in false_reject_sentence(
        replace(few, false_reject=Rate(5, 21))
    )


def test_recall_is_told_with_reviews_and_misses() -> None:
    assert recall_sentence(report()) == (
        "Of 15 defective test images, 5 were rejected, 33.3 % (95 % interval 15.2 to 58.3 %), "
        "5 went to review and 5 passed unnoticed."
    )


def test_oracle_figure_is_called_one(tmp_path: Path) -> None:
    paths = write_report(benchmark(report()), tmp_path)
    for path in (paths.html, paths.markdown):
        assert "F1-max (oracle)" in path.read_text("utf-8")


@pytest.mark.parametrize("kept", ["normal", "defective", "nothing"])
def test_one_class_alone_still_makes_a_report(kept: str, tmp_path: Path) -> None:
    whole = report()
    images = [image for image in whole.images if image.label == kept]
    partial = summarise(whole, images)
    html = write_report(benchmark(partial), tmp_path).html.read_text("utf-8")
    assert "needs normal and defective test images" in html


def test_benchmark_without_reports_makes_an_empty_summary(tmp_path: Path) -> None:
    paths = write_report(benchmark(), tmp_path)
    assert "0 reports" in paths.html.read_text("utf-8")


def test_template_travels_with_the_package() -> None:
    import eval.pages

    assert (Path(eval.pages.__file__).parent / "templates" / "report.html.j2").is_file()


def result(path: str, score: float, verdict: str) -> dict[str, Any]:
    return {"path": path, "score": score, "p_value": 0.1, "verdict": verdict, "seen_before": None}


def test_page_has_a_row_an_image_highest_score_first_and_names_what_cannot_be_read() -> None:
    results = [
        result("low.png", 1.0, "ok"),
        result("high.png", 3.0, "reject"),
        {"path": "bad.png", "error": "not an image"},
    ]
    page = batch_report("line 1", "grid", results, {"high.png": Image.new("RGB", (8, 8), "red")})
    assert page.index("high.png") < page.index("low.png")
    assert "not an image" in page
    assert len(re.findall("data:image/jpeg;base64,", page)) == 1


def test_hostile_name_stays_text() -> None:
    page = batch_report("<script>", "grid", [result("<b>.png", 1.0, "ok")], {})
    assert "<script>" not in page
    assert "<b>.png" not in page
