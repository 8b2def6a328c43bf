"""The second score: what lies near a known defect is caught, at its own false-reject rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backbones.base import Backbone
from indexer.build import build_index
from indexer.catalog import find_entry
from indexer.category import read_defect_patches
from indexer.dataset import read_dataset
from indexer.kept import read_kept
from indexer.living import add_images, remove_images, rollback
from indexer.store import VectorStore, open_store
from search.calibration import Calibration, Method, calibrate
from search.calibrator import ConformalCalibrator, change_levels
from search.inspector import Inspector
from search.known_defects import known_defect_score
from search.replay import replay_additions


@given(
    st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=40),
    st.floats(-10, 10, width=32),
    st.floats(0.01, 0.5),
)
def test_the_second_score_rejects_exactly_at_its_p_value(
    known: list[float], score: float, alpha: float
) -> None:
    alpha = max(alpha, 1 / (len(known) + 1))
    calibration = calibrate([1.0] * len(known), alpha_reject=alpha, known_defects=True, known=known)
    p_value = (1 + sum(value >= score for value in known)) / (len(known) + 1)
    assert calibration.known_p_value(score) == pytest.approx(p_value)
    # the first score is that of every normal image: its own verdict is ok
    rejected = calibration.verdict(0.0, score) == "reject"
    assert rejected == (p_value <= alpha + 1e-9)


def test_without_a_known_defect_the_first_score_alone_decides() -> None:
    calibration = calibrate([1.0, 2.0, 3.0], known_defects=True)
    assert calibration.verdict(0.0, 1e9) == "ok"
    assert calibration.verdict(4.0, -1e9) == "reject"


def test_score_is_the_largest_gain_over_the_nearest_normal_patch() -> None:
    to_normal = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    to_defect = np.array([[2.0, 2.0], [2.5, 5.0]], np.float32)
    assert known_defect_score(to_normal, to_defect) == 0.5


@pytest.fixture(params=["conformal", "cross-conformal"])
def store(request: pytest.FixtureRequest, dataset: Path, network: Backbone) -> VectorStore:
    return learnt_by(dataset, network, request.param)


def learnt_by(dataset: Path, network: Backbone, method: Method) -> VectorStore:
    opened = open_store(":memory:")
    build_index(
        read_dataset(dataset),
        category="grid",
        backbone=network,
        store=opened,
        calibrator=ConformalCalibrator(method=method),
        coreset=0.02,
    )
    return opened


def by_hand(store: VectorStore, network: Backbone) -> list[float]:
    """Known-defect scores of what calibrates now, by brute force."""
    entry = find_entry(store, "grid")
    defects = read_defect_patches(store, entry).vectors
    distances = dict(read_kept(store, entry, "distances"))
    scores = []
    for key, patches in read_kept(store, entry, "patches", list(distances)):
        flat = patches.reshape(-1, patches.shape[-1])
        to_defect = np.linalg.norm(flat[:, None] - defects[None], axis=2).min(axis=1)
        scores.append(float((distances[key].ravel() - to_defect).max()))
    return sorted(scores)


def kept(store: VectorStore) -> list[float]:
    return list(Calibration.from_payload(find_entry(store, "grid").calibration).known)


def test_every_change_measures_the_second_score_again(
    store: VectorStore, network: Backbone, dataset: Path, tmp_path: Path
) -> None:
    change_levels(store, find_entry(store, "grid"), known_defects=True)
    assert kept(store) == pytest.approx(by_hand(store, network), abs=2e-3)
    defect = next(iter(sorted((dataset / "test" / "contamination").iterdir())))
    for label in ("defective", "normal"):
        new = tmp_path / f"{label}.png"
        new.write_bytes(defect.read_bytes() + label.encode())
        entry = find_entry(store, "grid")
        calibrator = ConformalCalibrator.of(entry)
        change = add_images(
            [new],
            store=store,
            entry=entry,
            backbone=network,
            calibrator=calibrator,
            label=label,
        )
        assert kept(store) == pytest.approx(by_hand(store, network), abs=2e-3)
        remove_images(change.images, store=store, entry=change.entry, calibrator=calibrator)
        assert kept(store) == pytest.approx(by_hand(store, network), abs=2e-3)
    before = kept(store)
    rollback(2, store=store, entry=find_entry(store, "grid"))
    assert kept(store) == pytest.approx(before, abs=2e-3)


def test_an_image_is_not_near_itself(
    store: VectorStore, network: Backbone, dataset: Path, tmp_path: Path
) -> None:
    change_levels(store, find_entry(store, "grid"), known_defects=True)
    inspector = Inspector(store, "grid", network=network)
    known = min((dataset / "test" / "contamination").iterdir())
    copy = tmp_path / "copy.png"
    copy.write_bytes(known.read_bytes() + b"\0")
    itself, twin = inspector.inspect(known), inspector.inspect(copy)
    assert itself.near_known_defect
    assert twin.near_known_defect
    assert Path(itself.near_known_defect.path).name != known.name or (
        itself.near_known_defect.defect_type != "contamination"
    )
    assert itself.near_known_defect.score < twin.near_known_defect.score
    assert twin.near_known_defect.path == str(known.resolve())
    assert twin.verdict == "reject"


def test_a_missed_defect_that_is_taught_is_caught_when_it_comes_again(
    dataset: Path, network: Backbone, tmp_path: Path
) -> None:
    """The missed defect is a normal part: no first score tells it from the others."""
    with learnt_by(dataset, network, "conformal") as store:
        change_levels(store, find_entry(store, "grid"), known_defects=True)
        inspector = Inspector(store, "grid", network=network)
        normal = sorted((dataset / "test" / "good").iterdir())
        missed = next(path for path in normal if inspector.inspect(path).verdict == "ok")
        taught, again = tmp_path / "taught.png", tmp_path / "again.png"
        taught.write_bytes(missed.read_bytes() + b"taught")
        again.write_bytes(missed.read_bytes() + b"again")
        assert inspector.inspect(again).verdict == "ok"
        entry = find_entry(store, "grid")
        add_images(
            [taught],
            store=store,
            entry=entry,
            backbone=network,
            calibrator=ConformalCalibrator.of(entry),
            label="defective",
            defect_type="slight",
        )
        prediction = inspector.inspect(again)
        assert prediction.verdict == "reject"
        assert prediction.near_known_defect
        assert prediction.near_known_defect.defect_type == "slight"


def test_replay_counts_the_second_score(
    store: VectorStore, network: Backbone, dataset: Path, tmp_path: Path
) -> None:
    change_levels(store, find_entry(store, "grid"), known_defects=True)
    inspector = Inspector(store, "grid", network=network)
    others = sorted((dataset / "test").rglob("*.png"))
    new = tmp_path / "new.png"
    new.write_bytes(others[0].read_bytes() + b"\0")
    replay = replay_additions(inspector, [new], others)
    assert [image.verdict for image in replay.images[1:]] == [
        inspector.inspect(path).verdict for path in others
    ]
    entry = find_entry(store, "grid")
    add_images(
        [new],
        store=store,
        entry=entry,
        backbone=network,
        calibrator=ConformalCalibrator.of(entry),
    )
    assert [image.verdict_after for image in replay.images] == [
        inspector.inspect(path).verdict for path in [new, *others]
    ]
