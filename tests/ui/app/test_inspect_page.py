"""The page Inspect: verdict first, its reasons in words, and what teaching would cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from backbones.base import Backbone
from indexer.data.dataset import read_dataset
from indexer.learn.build import build_index
from indexer.store.open import open_store
from indexer.synthetic.dataset import write_dataset
from search.prediction import Prediction
from search.retrieval.type_proposal import SeenBefore
from tests.ui.app.reading import GRID, button, session_of_process, texts
from ui.app.session import Session, app_state

OpenPage = Callable[..., AppTest]


def defect(dataset: Path) -> Path:
    return min((dataset / "test").glob("[!g]*/*.png"))


def test_score_stands_beside_its_threshold_with_how_many_normal_parts_scored_so(
    open_page: OpenPage, dataset: Path
) -> None:
    open_page("inspect", category="grid")
    session = session_of_process()
    defects = (dataset / "test").glob("[!g]*/*.png")
    prediction = max((session.inspect(GRID, path) for path in defects), key=lambda p: p.score)
    page = open_page("inspect", category="grid", image=str(prediction.path))
    n = session.entry(GRID).counts["calibration_images"]
    said = texts(page)
    assert f"None of {n} normal parts scored this high" in said
    assert f"Score {prediction.score:.4g}" in said
    assert f"reject above {prediction.threshold:.4g}" in said
    normal = next(i for i in session.library(GRID).values() if i.split == "calibration")
    page = open_page("inspect", category="grid", image=normal.path)
    assert f"of {n} normal parts scored this high or higher" in texts(page)


def test_a_part_of_another_product_is_said_before_the_verdict(
    open_page: OpenPage, tmp_path: Path, network: Backbone
) -> None:
    data = write_dataset(tmp_path / "w", "leather", train=8, test_normal=1, test_defective=0)
    with open_store(app_state().settings.store) as store:
        build_index(read_dataset(data), category="leather", backbone=network, store=store)
    part = next((data / "test" / "good").iterdir())
    page = open_page("inspect", category="grid", image=str(part))
    shown = [str(getattr(e, "value", "")) or str(getattr(e, "body", "")) for e in page.main]
    hint = next(n for n, text in enumerate(shown) if "looks like a part of leather" in text)
    score = next(n for n, text in enumerate(shown) if "**Score " in text)
    assert hint < score
    assert button(page, "Inspect it as leather")


def captions(page: AppTest) -> list[str]:
    pictures = [list(image.proto.imgs) for image in page.get("image")]
    return [picture.caption for group in pictures for picture in group]


def test_patch_and_likeness_are_in_the_address(open_page: OpenPage, dataset: Path) -> None:
    image = str(defect(dataset))
    page = open_page("inspect", category="grid", image=image, patch="0,1", alike="the whole")
    assert captions(page)[0].startswith("patch 0, 1, distance")
    assert page.segmented_control[0].value == "whole"
    page = open_page("inspect", category="grid", image=image, patch="99999,7")
    assert captions(page)[0].startswith("worst patch, distance")


def test_known_defects_that_would_pass_are_shown_in_red_before_a_defect_is_taught_as_fine(
    open_page: OpenPage, dataset: Path, tmp_path: Path
) -> None:
    new = tmp_path / "new.png"
    new.write_bytes(defect(dataset).read_bytes() + b"\0")
    page = open_page("inspect", category="grid", image=str(new))
    revision = session_of_process().entry(GRID).revision
    button(page, "This is fine").click().run()
    kind = defect(dataset).parent.name
    alarm = next(e.value for e in page.error if "would pass" in e.value)
    assert kind in alarm
    assert not [b for b in page.button if b.label == "Teach"], "it must not look like any other"
    button(page, "Cancel").click().run()
    assert session_of_process().entry(GRID).revision == revision
    assert not [b for b in page.button if b.label == "Cancel"]


def test_type_proposed_is_told_with_its_certainty_and_cases(
    open_page: OpenPage, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = SeenBefore("broken", 0.82, "broken", 0.1, "id", "a.png", 22, 0.5, {})
    inspect = Session.inspect

    def named(self: Session, *asked: object) -> Prediction:
        return replace(inspect(self, *asked), seen_before=seen)  # type: ignore[arg-type]

    monkeypatch.setattr(Session, "inspect", named)
    page = open_page("inspect", category="grid", image=str(defect(dataset)))
    assert "**Looks like broken** (82 % sure, 22 past cases)" in texts(page)


def test_a_category_of_three_images_opens_on_every_page(
    open_page: OpenPage, tmp_path: Path, network: Backbone
) -> None:
    folder = tmp_path / "three" / "train" / "good"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(3):
        pixels = rng.integers(0, 255, (64, 64, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    with open_store(app_state().settings.store) as store:
        records = read_dataset(tmp_path / "three")
        build_index(records, category="three", backbone=network, store=store)
    for name in ("inspect", "batch", "library", "calibration", "reports", "system"):
        page = open_page(name, category="three")
        assert "defect of vecspect" not in texts(page), name
