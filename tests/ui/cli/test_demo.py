"""The demonstration: the whole job on procedurally made data."""

from __future__ import annotations

from pathlib import Path

import pytest

from ui.cli import demo


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
