"""The commands about networks, and the others with an exported one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from backbones.base import BackboneSpec
from backbones.specs import SPECS
from backbones.verification.canonical import CANONICAL, Canonical
from tests.ui.cli.running import Vecspect, only_line, strict_json


@pytest.fixture
def vecspect(run_command: Vecspect) -> Vecspect:
    """The command on no store."""
    return run_command


def test_every_backbone_is_listed_with_what_it_yields_and_where_it_comes_from(
    vecspect: Vecspect,
) -> None:
    code, out, err = vecspect("backbones")
    assert code == 0
    head, _, *rows = out
    assert [row.split()[0] for row in rows] == [spec.name for spec in SPECS]
    for word in ("trained on", "M weights", "licence", "from", "here and now"):
        assert word in head
    assert "ms per image" not in head
    for spec, row in zip(SPECS, rows, strict=True):
        assert f"{spec.parameters:g}" in row
        assert all(text in row for text in (spec.trained_on, spec.licence, spec.weights))
    assert "timm:NAME[:layers]" in "\n".join(err)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_details_of_a_backbone_are_told(vecspect: Vecspect, spec: BackboneSpec) -> None:
    told = strict_json("\n".join(vecspect("backbones", spec.name, "--json").out))
    assert told["name"] == spec.name
    assert told["trained on"]
    assert told["weights"]
    assert (told["patches"], told["image"]) == (spec.patches, spec.dim)
    assert told["MB f32"] == pytest.approx(4 * spec.parameters)
    shown = vecspect("backbones", spec.name).out
    assert [line for line in shown if line.startswith("licence") and spec.licence in line]


def test_time_of_an_image_is_measured_of_what_runs_here(
    vecspect: Vecspect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backbones.verification.verify.median_ms", lambda backbone: 12.34)
    told = strict_json("\n".join(vecspect("backbones", "--time", "--json").out))
    times = {row["name"]: row["ms per image"] for row in told}
    assert times["compact"] == 12.3
    assert times["efficientad-small"] is None
    (alone,) = [x for x in vecspect("backbones", "compact", "--time").out if x.startswith("ms per")]
    assert alone.split()[-1] == "12.3"


def test_verified_network_shows_what_was_expected_what_came_and_the_verdict(
    vecspect: Vecspect,
) -> None:
    ended = vecspect("backbones", "--verify", "compact")
    assert (ended.code, ended.err) == (0, [])
    expected, got, verdict = ended.out
    assert len(expected.split()) == len(got.split()) == 11
    assert verdict.startswith("right: compact is ")
    vecspect("export", "--backbone", "compact", "--out", "net")
    assert vecspect("backbones", "--verify", "net").out[-1] == verdict


def test_wrong_weights_end_with_1(vecspect: Vecspect, monkeypatch: pytest.MonkeyPatch) -> None:
    twice = tuple(2 * value for value in CANONICAL["compact"].vector)
    monkeypatch.setitem(CANONICAL, "compact", Canonical("others", twice))
    ended = vecspect("backbones", "compact", "--verify")
    assert ended.code == 1
    assert ended.out[-1].startswith("WRONG: compact is 50")
    told = strict_json(vecspect("backbones", "compact", "--verify", "--json").out[0])
    assert (told["right"], told["expected"]["weights"]) == (False, "others")


def test_vector_of_weights_of_which_nothing_is_known_is_shown(
    vecspect: Vecspect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(CANONICAL, "compact")
    ended = vecspect("backbones", "compact", "--verify")
    got, verdict = ended.out
    assert ended.code == 0
    assert got.startswith("got ")
    assert verdict.startswith("not known: compact has no canonical vector")


@pytest.mark.parametrize("flags", [("--verify",), ("--weights", "file.pth")])
def test_what_is_done_with_one_network_needs_its_name(
    vecspect: Vecspect, flags: tuple[str, ...]
) -> None:
    ended = vecspect("backbones", *flags)
    assert ended.code == 2
    assert "NAME" in " ".join(ended.err)


def test_exported_network_learns_and_scores(vecspect: Vecspect, dataset: Path) -> None:
    code, out, err = vecspect("export", "--backbone", "compact", "--out", "net")
    assert (code, err) == (0, [])
    (line,) = out
    assert line.startswith("compact, fingerprint ")
    assert line.endswith(": written to net")
    assert {p.name for p in Path("net").iterdir()} == {
        "network.xml", "network.bin", "network.json"
    }  # fmt: skip

    learnt = vecspect("index", dataset, "-c", "grid", "--coreset", 0.01, "--backbone", "net")
    assert learnt[0] == 0, learnt
    assert learnt[1][0].startswith("grid (compact): learnt as revision 1 in ")

    query = next((dataset / "test").glob("*/*.png"))
    by_folder = vecspect("score", query, "-c", "grid", "--backbone", "net", "--json")
    by_name = vecspect("score", query, "-c", "grid", "--json")
    assert by_folder[0] == by_name[0] == 0
    assert json.loads(by_folder[1][0]) == json.loads(by_name[1][0])
    again = vecspect("index", dataset, "-c", "grid", "--coreset", 0.01, "--backbone", "net")
    assert again[1][0] == "grid (compact): nothing changed, revision 1 stands."


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (("--weights", "w.pth"), "is an exported network: --weights, --input-size, --crop"),
        (("--input-size", 320), "is an exported network"),
        (("--crop", 224), "is an exported network"),
        (("--no-padding",), "is an exported network"),
        (("--device", "cuda"), "is an exported network"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_flags_that_make_a_network_do_not_go_with_an_exported_one(
    vecspect: Vecspect, dataset: Path, flags: tuple[object, ...], line: str
) -> None:
    vecspect("export", "--backbone", "compact", "--out", "net")
    ended = vecspect("index", dataset, "-c", "grid", "--backbone", "net", *flags)
    assert line in only_line(ended)
    assert not Path("qdrant_data").exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--backbone", "compct"), "unknown backbone 'compct'. Known: "),
        (("--backbone", "compact", "--crop", 224), "the bundled 'compact' has a fixed input"),
        (("--backbone", "efficientad-small"), "has no weights of its own: pass --weights FILE"),
        (("--backbone", "compact", "--weights", "gone.pth"), "no weight file at gone.pth"),
        (("--backbone", "compact", "--precision", "int8"), "int8 is calibrated on normal images"),
        (("--backbone", "compact", "--images", "."), "--images calibrates int8: add --precision"),
        (("--backbone", "dinov2-small", "--input-size", 450), "Try --input-size 448."),
        (("--backbone", "compact", "--precision", "f16"), "precision"),
        (("--backbone", "."), "holds no exported network (network.json is missing)"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_export_that_cannot_be_is_one_line_and_writes_nothing(
    vecspect: Vecspect, arguments: tuple[object, ...], line: str
) -> None:
    assert line in only_line(vecspect("export", *arguments, "--out", "net"))
    assert not Path("net").exists()


def test_folder_of_another_network_is_refused_when_scoring(
    vecspect: Vecspect, dataset: Path, learnt_copy: Callable[[str], Path]
) -> None:
    """The same network by its card, but made from other weights."""
    store = learnt_copy("shop")
    vecspect("export", "--backbone", "compact", "--out", "net")
    card = json.loads(Path("net/network.json").read_text())
    Path("net/network.json").write_text(json.dumps(card | {"weights_sha256": "others"}))
    query = next((dataset / "test").glob("*/*.png"))
    ended = vecspect("score", query, "-c", "grid", "--store", store, "--backbone", "net")
    assert "was indexed with fingerprint" in only_line(ended)


def test_backbones_lists_every_backbone_with_its_state(vecspect: Vecspect) -> None:
    ended = vecspect("backbones")
    assert ended.code == 0
    assert "bundled" in next(line for line in ended.out if line.startswith("compact "))
    assert any(line.startswith("patchcore-wide_resnet50_2 ") for line in ended.out)
