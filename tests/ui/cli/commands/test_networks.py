"""The commands about networks, and the others with an exported one."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from backbones.specs import SPECS
from ui.cli import entry

Vecspect = Callable[..., tuple[int, list[str], list[str]]]


@pytest.fixture
def vecspect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Vecspect:
    """The command in an empty folder; gives exit code and the lines of stdout and stderr."""
    for name in [n for n in os.environ if n.startswith(("VECSPECT_", "QDRANT_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # it would outlive the command

    def run(*arguments: object) -> tuple[int, list[str], list[str]]:
        monkeypatch.setattr(sys, "argv", ["vecspect", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            entry.main()
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out.splitlines(), err.splitlines()

    return run


def only_line(ended: tuple[int, list[str], list[str]]) -> str:
    """The one line with which a command explains its failure."""
    code, out, err = ended
    assert (code, out) == (1, [])
    (line,) = err
    assert line.startswith("vecspect: ")
    return line


def test_every_backbone_is_listed_with_what_it_yields_and_where_it_comes_from(
    vecspect: Vecspect,
) -> None:
    code, out, err = vecspect("backbones")
    assert code == 0
    head, _, *rows = out
    assert [row.split()[0] for row in rows] == [spec.name for spec in SPECS]
    for word in ("patches", "image", "input px", "M weights", "licence"):
        assert word in head
    for spec, row in zip(SPECS, rows, strict=True):
        assert spec.patches in row
        assert str(spec.input_size) in row
        assert f"{spec.parameters:g}" in row
        assert spec.licence in row
    assert "timm:NAME[:layers]" in "\n".join(err)


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
