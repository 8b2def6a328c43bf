"""The commands around the image library, from outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from indexer.data.dataset import read_dataset
from tests.ui.cli.running import Ended, OwnVecspect, Vecspect, queries_below


@pytest.fixture
def vecspect(own_vecspect: OwnVecspect) -> OwnVecspect:
    """The command on a store of its own: exit code, stdout, stderr."""
    return own_vecspect


def test_from_a_reject_to_a_named_group(
    vecspect: OwnVecspect, dataset: Path, tmp_path: Path
) -> None:
    defect = next(r.path for r in read_dataset(dataset) if r.label == "defective")
    for degrees in (90, 180):
        Image.open(defect).rotate(degrees).save(tmp_path / f"turned-{degrees}.png")
    code, out, _ = vecspect("add", "turned-*.png", "-c", "grid", "--label", "defective")
    assert (code, "added 2 defective images" in out) == (0, True)
    code, out, _ = vecspect("clusters", "-c", "grid", "--json")
    (cluster,) = [json.loads(line) for line in out.splitlines()]
    assert (code, len(cluster["image_ids"])) == (0, 2)
    code, out, _ = vecspect(
        "label", *cluster["image_ids"], "-c", "grid", "--defect-type", "turned", "--set", "line=7"
    )
    assert (code, "labelled 2 images turned, line=7" in out) == (0, True)
    assert "fewer than two defective images" in vecspect("clusters", "-c", "grid")[2]
    asked = ("similar", defect, "-c", "grid", "--by", "defect", "--json", "--top", 50)
    code, out, _ = vecspect(*asked, "--where", "line=7")
    hits = [json.loads(line) for line in out.splitlines()]
    assert {h["image_id"] for h in hits} == set(cluster["image_ids"])
    assert {h["defect_type"] for h in hits} == {"turned"}
    code, out, _ = vecspect("similar", defect, "-c", "grid", "--by", "defect")
    assert "line=7" in out


def test_box_finds_where_library_images_look_alike(vecspect: OwnVecspect, dataset: Path) -> None:
    defect = next(r.path for r in read_dataset(dataset) if r.label == "defective")
    asked = ("similar", defect, "-c", "grid", "--by", "region", "--box", "10,20,30,24")
    code, out, _ = vecspect(*asked, "--label", "defective", "--json", "--top", 50)
    hits = [json.loads(line) for line in out.splitlines()]
    assert (code, len(hits)) == (0, 5)
    assert {h["label"] for h in hits} == {"defective"}
    assert [h["distance"] for h in hits] == sorted(h["distance"] for h in hits)
    x, y, width, height = hits[0]["box"]
    assert 0 <= x < x + width <= 128
    assert 0 <= y < y + height <= 128
    code, out, _ = vecspect(*asked, "--label", "defective", "--top", 1)
    assert (code, out.split()[:2]) == (0, ["distance", "box"])
    assert f"{x},{y},{width},{height}" in out
    code, _, err = vecspect(*asked[:-1], "500,20,30,24")
    assert (code, len(err.splitlines()), "overlaps its 128 x 128 pixels" in err) == (1, 1, True)


def test_score_proposes_a_defect_type(vecspect: OwnVecspect, dataset: Path, tmp_path: Path) -> None:
    defects = [r.path for r in read_dataset(dataset) if r.label == "defective"]
    out = vecspect("score", *defects, "-c", "grid", "--json", "--csv", tmp_path / "s.csv")[1]
    told = [json.loads(line) for line in out.splitlines()]
    rejects = [t for t in told if t["verdict"] == "reject"]
    assert rejects
    assert all(t["seen_before"]["nearest_type"] for t in rejects)
    rows = (tmp_path / "s.csv").read_text().splitlines()
    assert rows[0].endswith("defect_type,defect_type_confidence")
    first = rejects[0]
    named = first["seen_before"]["defect_type"]
    line = vecspect("score", first["path"], "-c", "grid")[1]
    assert ("unknown defect type" if named == "unknown" else named) in line.rsplit("  ", 1)[0]


def test_similar_explains_its_hits_in_pictures(
    vecspect: OwnVecspect, dataset: Path, tmp_path: Path
) -> None:
    query = min((dataset / "test" / "contamination").iterdir())
    out = vecspect("similar", query, "-c", "grid", "--top", 3, "--maps", tmp_path / "m", "--json")
    maps = [Path(json.loads(line)["map"]) for line in out[1].splitlines()]
    assert len(set(maps)) == 3
    for file in maps:
        with Image.open(file) as picture:
            assert picture.width > picture.height
    assert vecspect("similar", query, "-c", "grid", "--maps", "m", "--across-categories")[0] == 2


def test_outliers_lists_normal_images(vecspect: OwnVecspect) -> None:
    code, out, _ = vecspect("outliers", "-c", "grid", "--json", "--top", 3)
    assert (code, len(out.splitlines())) == (0, 3)
    assert "image id" in vecspect("outliers", "-c", "grid")[1]


def test_usage_errors_say_the_form(vecspect: OwnVecspect, dataset: Path) -> None:
    image = read_dataset(dataset)[-1].path
    assert vecspect("similar", image, "-c", "grid", "--by", "smell")[0] == 2
    assert vecspect("similar", image, "-c", "grid", "--where", "line")[0] == 2
    assert vecspect("similar", image, "-c", "grid", "--by", "region")[0] == 2
    assert vecspect("similar", image, "-c", "grid", "--box", "1,2,3,4")[0] == 2
    region = ("similar", image, "-c", "grid", "--by", "region", "--box")
    assert vecspect(*region, "1,2,3")[0] == 2
    assert vecspect(*region, "1,2,3,4", "--across-categories")[0] == 2
    assert vecspect("label", "some-id", "-c", "grid")[0] == 2
    assert vecspect("add", image, "-c", "grid", "--defect-type", "hole")[0] == 2


def test_similar_prints_the_nearest_images_without_the_query(
    shop_vecspect: Vecspect, dataset: Path
) -> None:
    query = queries_below(dataset)[0]
    ended = shop_vecspect("similar", query, "-c", "grid", "--json", "--top", 7)
    assert (ended.code, ended.err) == (0, [])
    neighbors = ended.json_lines
    assert len(neighbors) == 7
    assert query not in [neighbor["path"] for neighbor in neighbors]
    assert {tuple(neighbor) for neighbor in neighbors} == {
        (
            *("image_id", "category", "path", "label", "defect_type", "split"),
            *("distance", "verdict", "fields"),
        )
    }
    table = shop_vecspect("similar", query, "-c", "grid", "--label", "defective", "--top", 1)
    assert [line.split()[0] for line in table.out[:2]] == ["distance", "--------"]
    none = shop_vecspect("similar", query, "-c", "grid", "--defect-type", "unheard-of")
    assert none == Ended(0, [], ["no image of the library matches these filters."])
