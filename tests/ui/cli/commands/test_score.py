"""Scoring images, from outside."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from PIL import Image

from tests.ui.cli.running import (
    Ended,
    Vecspect,
    png_header,
    queries_below,
    write_noise,
)
from ui.cli import formatting


def test_score_prints_one_strict_json_object_a_line_and_nothing_else(
    vecspect: Vecspect, dataset: Path
) -> None:
    ended = vecspect("score", dataset / "test", "-c", "grid", "--json")
    assert (ended.code, ended.err) == (0, [])
    assert sorted(fields["path"] for fields in ended.json_lines) == sorted(queries_below(dataset))
    assert {fields["revision"] for fields in ended.json_lines} == {1}


def test_score_prints_a_line_an_image_for_people(vecspect: Vecspect, dataset: Path) -> None:
    files = queries_below(dataset)[:2]
    ended = vecspect("score", *files, "-c", "grid")
    assert [line.rsplit("  ", 1)[1] for line in ended.out] == files
    assert all(re.match(r"(ok|review|reject) +score [\d.]+ +p 0\.\d{4} |ok", x) for x in ended.out)


def test_score_writes_a_csv_file_of_the_same_results(vecspect: Vecspect, dataset: Path) -> None:
    ended = vecspect("score", dataset / "test", "-c", "grid", "--csv", "out/results.csv", "--json")
    assert [path.name for path in Path("out").iterdir()] == ["results.csv"]
    with Path("out/results.csv").open(newline="", encoding="utf-8") as stream:
        header, *rows = csv.reader(stream)
    assert tuple(header) == formatting.CSV_COLUMNS
    assert len(rows) == 10
    for row, fields in zip(rows, ended.json_lines, strict=True):
        cells = dict(zip(header, row, strict=True))
        assert (cells["path"], cells["verdict"]) == (fields["path"], fields["verdict"])
        assert float(cells["score"]) == fields["score"]
        box = [int(cells[f"box_{side}"]) for side in ("x", "y", "width", "height")]
        assert box == fields["box"]
        assert cells["evidence_path"] == fields["evidence"]["path"]
        assert cells["map"] == ""


def test_csv_alone_keeps_stdout_quiet(vecspect: Vecspect, dataset: Path) -> None:
    ended = vecspect("score", queries_below(dataset)[0], "-c", "grid", "--csv", "results.csv")
    assert ended == Ended(0, [], [])


def test_maps_are_pictures_named_in_the_results_with_no_name_used_twice(
    vecspect: Vecspect, dataset: Path
) -> None:
    ended = vecspect("score", dataset / "test", "-c", "grid", "--maps", "maps", "--json")
    named = [fields["map"] for fields in ended.json_lines]
    assert len(set(named)) == 10
    assert {Path(name) for name in named} == set(Path("maps").iterdir())
    with Image.open(named[0]) as picture:
        picture.load()
        assert picture.format == "PNG"


def test_files_that_are_no_images_are_named_with_a_reason_and_the_others_are_scored(
    vecspect: Vecspect, dataset: Path, tmp_path: Path
) -> None:
    good = queries_below(dataset)[:4]
    bad = {
        "missing.png": "there is no such file",
        "empty.png": "the file is empty",
        "truncated.png": "damaged or cut short",
        "text.png": "expected an image",
        "tiny.png": "expected at least 8 x 8 pixels, got 1 x 1",
        "huge.png": "expected at most 100 megapixels",
    }
    (tmp_path / "empty.png").touch()
    (tmp_path / "truncated.png").write_bytes(Path(good[0]).read_bytes()[:3000])
    (tmp_path / "text.png").write_text("hello")
    Image.new("RGB", (1, 1)).save(tmp_path / "tiny.png")
    (tmp_path / "huge.png").write_bytes(png_header(20_000, 10_000))
    files = [good[0], *(str(tmp_path / name) for name in bad), *good[1:]]
    ended = vecspect("score", *files, "-c", "grid", "--json")
    assert ended.code == 1
    assert [fields["path"] for fields in ended.json_lines] == good
    assert len(ended.err) == len(bad)
    for (name, reason), line in zip(bad.items(), ended.err, strict=True):
        assert re.match(rf"skipped {tmp_path / name}: .*{reason}", line)


def test_rejected_image_fails_the_command_only_if_asked_to(
    vecspect: Vecspect, tmp_path: Path
) -> None:
    noise = write_noise(tmp_path / "noise.png")
    assert vecspect("score", noise, "-c", "grid").code == 0
    assert vecspect("score", noise, "-c", "grid", "--fail-on-anomaly").code == 3
    both = vecspect("score", noise, "missing.png", "-c", "grid", "--fail-on-anomaly")
    assert (both.code, len(both.out), len(both.err)) == (3, 1, 1)
    only_missing = vecspect("score", "missing.png", "-c", "grid", "--fail-on-anomaly")
    assert only_missing.code == 1
