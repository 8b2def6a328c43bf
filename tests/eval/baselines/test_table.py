from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eval.baselines.table import BASELINES
from tests.eval.baselines.test_brute_force import PlainPixels


@pytest.mark.parametrize("name", BASELINES)
def test_baseline_scores_a_defective_image_above_those_it_was_fitted_to(
    name: str, tmp_path: Path
) -> None:
    for number, colour in enumerate(("grey", "silver", "red")):
        Image.new("RGB", (8, 8), colour).save(tmp_path / f"{number}.png")
    *normal, red = sorted(tmp_path.iterdir())
    fitted = BASELINES[name].kind.fit(PlainPixels(), normal)
    unbounded = np.full((8, 8), np.inf, np.float32)
    first, second, defective = fitted.scores([*normal, red], [unbounded] * 3)
    assert max(first, second) < defective


def test_titles_tell_baselines_apart() -> None:
    titles = [baseline.title for baseline in BASELINES.values()]
    assert len(set(titles)) == len(titles)
    assert all(baseline.sentence.endswith(".") for baseline in BASELINES.values())
