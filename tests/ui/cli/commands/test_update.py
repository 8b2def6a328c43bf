"""The commands that change a category after it was learnt, from outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from indexer.data.dataset import read_dataset
from tests.ui.cli.running import OwnVecspect, status_of


@pytest.fixture
def vecspect(own_vecspect: OwnVecspect) -> OwnVecspect:
    """The command on a store of its own: exit code, stdout, stderr."""
    return own_vecspect


def test_life_of_a_category(vecspect: OwnVecspect, dataset: Path, tmp_path: Path) -> None:
    first = next(r.path for r in read_dataset(dataset) if r.split == "train")
    turned = tmp_path / "turned.png"
    Image.open(first).rotate(90).save(turned)
    code, out, _ = vecspect("add", turned, "-c", "grid", "--json")
    added = json.loads(out)
    assert (code, added["revision"], len(added["images"])) == (0, 2, 1)
    code, out, err = vecspect("add", turned, "-c", "grid")
    assert (code, "nothing changed" in out) == (0, True)
    assert "the library has the same bytes" in err
    code, out, _ = vecspect("quarantine", added["images"][0], "-c", "grid")
    assert (code, "quarantined 1 image" in out) == (0, True)
    code, out, _ = vecspect("remove", added["images"][0], "-c", "grid")
    assert (code, "removed 1 image" in out) == (0, True)
    code, out, _ = vecspect("rollback", 1, "-c", "grid")
    assert (code, "back to revision 1" in out) == (0, True)
    code, out, _ = vecspect("history", "-c", "grid", "--json")
    assert [line["revision"] for line in json.loads(out)] == [1, 2, 3, 4, 5]
    assert json.loads(out)[4]["threshold"] == json.loads(out)[0]["threshold"]
    assert status_of(vecspect)["revision"] == 5
    code, _, err = vecspect("rollback", 9, "-c", "grid")
    assert (code, err.count("\n")) == (1, 1)


def test_add_replay_tells_the_verdicts_that_would_change_and_writes_nothing(
    vecspect: OwnVecspect, dataset: Path, tmp_path: Path
) -> None:
    defect = min((dataset / "test" / "contamination").iterdir())
    new = tmp_path / "new.png"
    new.write_bytes(defect.read_bytes() + b"\0")
    code, out, err = vecspect("add", new, new, "-c", "grid", "--replay")
    assert (code, err) == (0, "")
    assert "nothing was written" in out
    assert status_of(vecspect)["revision"] == 1
    code, out, _ = vecspect("add", new, new, "-c", "grid", "--replay", "--json")
    told = json.loads(out)
    assert {image["path"] for image in told["images"]} >= {str(new), str(defect)}
    assert vecspect("add", new, "-c", "grid", "--replay", "--label", "defective")[0] == 2
