from __future__ import annotations

import math
from pathlib import Path

import pytest

from backbones.base import Backbone
from eval.speed import learning
from eval.speed.learning import EVERY, Learned, Learning, learn_sizes
from indexer.store.open import open_store


def test_each_size_is_learnt_into_a_store_of_its_own_fewest_images_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    jobs: list[tuple[Path, int]] = []

    def note(learn: object, learning: Learning, folder: Path, every: int) -> Learned:
        jobs.append((folder, every))
        return Learned(100 // every, 10, {}, 1.0)

    monkeypatch.setattr(learning, "in_fresh_process", note)
    steps: list[tuple[int, int]] = []
    learned = learn_sizes(
        Learning(Path("data"), "compact", Path("weights"), None, 0.1),
        tmp_path,
        lambda stage, done, total: steps.append((done, total)),
    )
    assert [every for _, every in jobs] == list(EVERY)
    assert len({folder for folder, _ in jobs}) == len(EVERY)
    assert [size.images for size in learned] == sorted(size.images for size in learned)
    assert steps == [(1, 3), (2, 3), (3, 3)]


def test_job_learns_every_so_many_normal_images(
    dataset: Path, network: Backbone, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(learning, "load_backbone", lambda name, **options: network)
    job = Learning(dataset, "compact", Path("weights"), None, 0.02)
    learned = learning._learn(job, tmp_path / "store", 4)
    assert learned.images == 4
    assert learned.bank_patches == round(0.02 * 3 * math.prod(network.spec.grid))
    assert {"coreset", "embedding"} <= learned.seconds.keys()
    with open_store(str(tmp_path / "store")) as store:
        assert any(name.startswith(learning.CATEGORY) for name in store.collections())
