"""The project as a whole: its packages, its pinned requirements, its demonstration."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from ui import demo

ROOT = Path(__file__).parents[1]
PACKAGES = ("backbones", "indexer", "search", "eval", "ui")


@pytest.mark.parametrize("name", PACKAGES)
def test_package_of_a_plain_name_is_ours(name: str) -> None:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin == str(ROOT / name / "__init__.py")


def test_no_module_of_the_pages_takes_the_name_of_a_package() -> None:
    below = {path.stem for path in (ROOT / "ui").rglob("*") if path.suffix in ("", ".py")}
    assert below.isdisjoint(PACKAGES)


def test_every_requirement_is_pinned_by_name_and_version_alone() -> None:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    assert lines
    wrong = [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[\w.+!]+", line)]
    assert wrong == []
    names = [re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower() for line in lines]
    assert len(set(names)) == len(names), "a package is pinned twice"


def test_demonstration_does_the_whole_job_and_can_be_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, size in (("TRAIN", 4), ("TEST_NORMAL", 2), ("TEST_DEFECTIVE", 3)):
        monkeypatch.setattr(demo, name, size)
    stale = tmp_path / "demo/data/grid/train/good/999.png"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"of an earlier run with other sizes")
    demo.run_demo(tmp_path / "demo", lambda stage, done, total: None)
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[2:5]] == ["tile", "leather", "grid"]
    assert lines[0].startswith("category ")
    named = [
        Path(line.split(":", 1)[1].strip())
        for line in lines
        if line.startswith(("report:", "heat map:"))
    ]
    assert len(named) == 4
    assert all(path.is_file() for path in named)
    assert {path.name for path in tmp_path.iterdir()} == {"demo"}
    assert out.count("is most like") == 3
    assert "vecspect score" in lines[-1]
