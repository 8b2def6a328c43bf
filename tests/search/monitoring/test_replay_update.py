"""What a replay says before a change is what the change then does."""

from __future__ import annotations

from pathlib import Path

import pytest

from backbones.base import Backbone
from backbones.errors import ImageError
from indexer.calibration.methods import read_calibration
from indexer.catalog.collections import read_bank
from indexer.store.base import VectorStore
from indexer.store.open import open_store
from indexer.update.insertion import add_images
from search.inspector import Inspector
from search.monitoring.replay_update import read_known_defects, replay_additions
from tests.indexer.world import learn


def inspector_of(store: VectorStore, dataset: Path, network: Backbone, method: str) -> Inspector:
    learn(store, dataset, network, method)
    return Inspector(store, "grid", network=network)


@pytest.mark.parametrize("method", ["conformal", "cross-conformal"])
@pytest.mark.parametrize("number", [0, 1])
def test_replay_foretells_what_adding_the_image_does(
    dataset: Path, network: Backbone, tmp_path: Path, method: str, number: int
) -> None:
    others = sorted((dataset / "test").rglob("*.png"))
    new = tmp_path / "new.png"
    new.write_bytes(others[3 * number].read_bytes() + b"\0")
    with open_store(":memory:") as store:
        inspector = inspector_of(store, dataset, network, method)
        if number:  # the next one then has the other role
            _add(inspector, network, _copy(others[1], tmp_path / "before.png"))
        inspector.refresh()
        before = read_bank(inspector.category)
        scores_before = [inspector.inspect(path).score for path in others]

        replay = replay_additions(inspector, [new], others)

        assert [image.path for image in replay.images] == [new, *others]
        assert [image.score for image in replay.images[1:]] == pytest.approx(scores_before)
        _add(inspector, network, new)
        inspector.refresh()
        bank = read_bank(inspector.category)
        assert replay.patches == len(bank.vectors) - len(before.vectors)
        calibration = read_calibration(inspector.entry)
        assert replay.threshold_after == pytest.approx(calibration.threshold, rel=1e-5)
        after = [inspector.inspect(path) for path in [new, *others]]
        assert [i.score_after for i in replay.images] == pytest.approx(
            [prediction.score for prediction in after], abs=1e-3
        )
        assert [i.verdict_after for i in replay.images] == [p.verdict for p in after]


@pytest.mark.parametrize("method", ["conformal", "cross-conformal"])
def test_replay_of_several_images_is_that_of_adding_them_together(
    dataset: Path, network: Backbone, tmp_path: Path, method: str
) -> None:
    others = sorted((dataset / "test").rglob("*.png"))
    new = [_copy(other, tmp_path / f"{n}.png") for n, other in enumerate(others[:4])]
    with open_store(":memory:") as store:
        inspector = inspector_of(store, dataset, network, method)
        before = inspector.entry.counts
        replay = replay_additions(inspector, new, others)
        _add(inspector, network, *new)
        after = inspector.entry.counts
        for role in ("bank", "calibration"):
            joined = after[f"{role}_images"] - before[f"{role}_images"]
            if method == "conformal":
                assert replay.roles.count(role) == joined
        assert replay.patches == after["bank_patches"] - before["bank_patches"]
        calibration = read_calibration(inspector.entry)
        assert replay.threshold_after == pytest.approx(calibration.threshold, rel=1e-5)
        verdicts = [inspector.inspect(path).verdict for path in [*new, *others]]
        assert [image.verdict_after for image in replay.images] == verdicts


@pytest.mark.parametrize("method", ["conformal", "cross-conformal"])
def test_every_known_defect_that_would_pass_is_named_before_one_is_taught_as_fine(
    dataset: Path, network: Backbone, tmp_path: Path, method: str
) -> None:
    caught = []
    with open_store(":memory:") as store:
        inspector = inspector_of(store, dataset, network, method)
        for number, path in enumerate(sorted((dataset / "test").glob("[!g]*/*.png"))):
            if inspector.inspect(path).verdict != "ok":
                caught.append(_copy(path, tmp_path / f"{number}.png"))
        before = read_known_defects(inspector)
        now = {image.path: inspector.inspect(image.path) for image in before.images}

        replay = replay_additions(inspector, caught, known=before)

        assert len(replay.defects) == len(before.images) == 6
        _add(inspector, network, *caught)
        then = {image.path: inspector.inspect(image.path) for image in before.images}
        lost = {p for p in now if now[p].verdict != "ok" and then[p].verdict == "ok"}
        assert lost
        assert lost <= {defect.image.path for defect in replay.missed}
        for defect in replay.defects:
            assert defect.score == pytest.approx(now[defect.image.path].score, abs=1e-3)
            assert defect.score_after <= then[defect.image.path].score + 1e-3
        again = replay_additions(inspector, caught[:1], known=before)
        assert again == replay_additions(inspector, caught[:1]), "defects of an old revision"


def test_teaching_a_normal_part_costs_no_known_defect(
    learnt: VectorStore, network: Backbone, dataset: Path
) -> None:
    inspector = Inspector(learnt, "grid", network=network)
    replay = replay_additions(inspector, [min((dataset / "test" / "good").iterdir())])
    assert replay.defects
    assert not replay.missed


def test_replay_writes_nothing(learnt: VectorStore, network: Backbone, dataset: Path) -> None:
    inspector = Inspector(learnt, "grid", network=network)
    points = {name: learnt.count(name) for name in learnt.collections()}
    replay_additions(inspector, [min((dataset / "test").rglob("*.png"))])
    assert {name: learnt.count(name) for name in learnt.collections()} == points


def test_replay_names_what_cannot_be_read_and_replays_the_rest(
    learnt: VectorStore, network: Backbone, dataset: Path
) -> None:
    inspector = Inspector(learnt, "grid", network=network)
    image = min((dataset / "test").rglob("*.png"))
    replay = replay_additions(inspector, [image], [Path("gone.png"), image])
    assert [skipped.path for skipped in replay.unreadable] == [Path("gone.png")]
    assert len(replay.images) == 2
    with pytest.raises(ImageError, match=r"gone\.png: there is no such file"):
        replay_additions(inspector, [Path("gone.png")])


def _add(inspector: Inspector, network: Backbone, *paths: Path) -> None:
    add_images(paths, category=inspector.category, backbone=network)
    inspector.refresh()


def _copy(source: Path, target: Path) -> Path:
    target.write_bytes(source.read_bytes() + b"\0")
    return target
