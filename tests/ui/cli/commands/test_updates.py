"""The commands that change a category after it was learnt, from outside."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from indexer.calibration.base import Calibration
from indexer.catalog.collections import read_images
from indexer.catalog.commits import find_entry
from indexer.data.image_records import read_dataset
from indexer.store.open import open_store
from ui.cli.entry import main


@pytest.fixture
def vecspect(
    learnt_copy: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., tuple[int, str, str]]:
    """The command in this process on a store of its own: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VECSPECT_STORE", str(learnt_copy("own")))
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["vecspect", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return run


def status(vecspect: Callable[..., tuple[int, str, str]]) -> dict[str, Any]:
    (category,) = json.loads(vecspect("status", "--json")[1])["categories"]
    return dict(category)


def test_life_of_a_category(
    vecspect: Callable[..., tuple[int, str, str]], dataset: Path, tmp_path: Path
) -> None:
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
    assert status(vecspect)["revision"] == 5
    code, _, err = vecspect("rollback", 9, "-c", "grid")
    assert (code, err.count("\n")) == (1, 1)


def test_status_tells_method_number_smallest_level_and_bound(
    vecspect: Callable[..., tuple[int, str, str]],
) -> None:
    told = status(vecspect)
    assert (told["method"], told["n"], told["smallest_alpha"]) == ("conformal", 3, 0.25)
    assert told["bound"] == "at most alpha, exactly"
    assert vecspect("calibrate", "-c", "grid", "--method", "sigma", "--reject", 0.01)[0] == 0
    told = status(vecspect)
    assert (told["method"], told["alpha_reject"]) == ("sigma", pytest.approx(0.01))
    assert told["bound"] == "no bound on the false-reject rate"
    code, _, err = vecspect("calibrate", "-c", "grid", "--method", "cross-conformal")
    assert (code, "vecspect index DATASET --category grid --method" in err) == (1, True)
    assert vecspect("calibrate", "-c", "grid", "--method", "guess")[0] == 2
    code, _, err = vecspect("calibrate", "-c", "grid", "--method", "conformal", "--reject", 0.01)
    assert (code, "needs at least 99" in err) == (1, True)


def test_add_replay_tells_the_verdicts_that_would_change_and_writes_nothing(
    vecspect: Callable[..., tuple[int, str, str]], dataset: Path, tmp_path: Path
) -> None:
    defect = min((dataset / "test" / "contamination").iterdir())
    new = tmp_path / "new.png"
    new.write_bytes(defect.read_bytes() + b"\0")
    code, out, err = vecspect("add", new, new, "-c", "grid", "--replay")
    assert (code, err) == (0, "")
    assert "nothing was written" in out
    assert status(vecspect)["revision"] == 1
    code, out, _ = vecspect("add", new, new, "-c", "grid", "--replay", "--json")
    told = json.loads(out)
    assert {image["path"] for image in told["images"]} >= {str(new), str(defect)}
    assert vecspect("add", new, "-c", "grid", "--replay", "--label", "defective")[0] == 2


def test_status_says_when_the_bound_is_no_longer_proven(
    vecspect: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    with open_store(str(tmp_path / "own")) as store:
        images = read_images(store, find_entry(store, "grid"))
    judge = next(key for key, image in images.items() if image.split == "calibration")
    assert vecspect("quarantine", judge, "-c", "grid")[0] == 0
    assert "no longer proven: images that calibrate were taken out" in status(vecspect)["bound"]


def test_made_up_defects_set_a_threshold_and_estimate_recall_without_images_afterwards(
    vecspect: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    code, out, _ = vecspect("calibrate", "-c", "grid", "--method", "synthetic-f1")
    assert (code, "no bound on the false-reject rate" in out) == (0, True)
    with open_store(str(tmp_path / "own")) as store:
        entry = find_entry(store, "grid")
        calibration = Calibration.from_payload(entry.calibration)
        assert len(calibration.synthetic) == 3 * 9
        assert calibration.threshold in (*calibration.scores, *calibration.synthetic)
        bank = [k for k, i in read_images(store, entry).items() if i.split == "bank"]
    code, out, _ = vecspect("remove", bank[0], "-c", "grid")
    assert code == 0, "the kept patches are enough"
    code, out, _ = vecspect("calibrate", "-c", "grid", "--recall", tmp_path / "recall.png")
    assert (code, "| grid | compact | 32 px |" in out) == (0, True)
    with Image.open(tmp_path / "recall.png") as picture:
        assert picture.width > 100


def test_audit_ranks_and_needs_a_leave_one_out_category(
    vecspect: Callable[..., tuple[int, str, str]], dataset: Path
) -> None:
    code, _, err = vecspect("audit", "-c", "grid")
    assert (code, "--audit" in err) == (1, True)
    common = ("index", dataset, "-c", "grid", "--coreset", 0.02)
    code, out, _ = vecspect(*common, "--method", "cross-conformal", "--audit")
    assert (code, "at most 2 alpha in the worst case" in out) == (0, True)
    code, out, _ = vecspect("audit", "-c", "grid", "--json", "--top", 4)
    suspects = [json.loads(line) for line in out.splitlines()]
    assert [s["rank"] for s in suspects] == [1, 2, 3, 4]
    assert [s["score"] for s in suspects] == sorted((s["score"] for s in suspects), reverse=True)


def test_scoring_feeds_health(vecspect: Callable[..., tuple[int, str, str]], dataset: Path) -> None:
    assert "nothing scored yet" in vecspect("health", "-c", "grid")[1]
    images = [r.path for r in read_dataset(dataset) if r.split == "test"][:3]
    vecspect("score", *images, "-c", "grid")
    told = json.loads(vecspect("health", "-c", "grid", "--json")[1])
    assert (told["images"], told["alarm"]) == (3, False)
    assert "quiet" in vecspect("health", "-c", "grid")[1]


def test_calibrate_takes_the_device(
    vecspect: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    code, _, err = vecspect(
        "calibrate", "-c", "grid", "--recall", tmp_path / "recall.png", "--device", "gpu"
    )
    assert code != 0
    assert "device" in err
