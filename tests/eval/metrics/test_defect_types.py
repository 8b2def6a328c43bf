from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from eval.metrics.defect_types import group_figures, proposal_figures


def clouds(types: int, each: int, spread: float) -> tuple[NDArray[np.float32], list[str]]:
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(types), each)
    vectors = np.eye(16)[truth] + spread * rng.standard_normal((len(truth), 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), [f"type {i}" for i in truth]


def test_types_far_apart_are_named_and_few_called_unknown() -> None:
    figures = proposal_figures(*clouds(3, 20, 0.05), np.arange(60))
    assert (figures.defects, figures.accuracy, figures.risks) == (60, 1.0, (0, 0, 0, 0))
    assert figures.unknown < 0.15
    assert math.isclose(figures.commonest, 1 / 3)


def test_types_that_cannot_be_told_apart_are_mostly_unknown() -> None:
    vectors, _ = clouds(1, 60, 0.3)
    kinds = [str(k) for k in np.random.default_rng(1).permutation([0, 1, 2, 3] * 15)]
    figures = proposal_figures(vectors, kinds, np.arange(60))
    assert figures.unknown > 0.8
    assert figures.risks[-1] > 0.5


def test_risk_is_that_of_the_surest() -> None:
    clear, names = clouds(2, 20, 0.05)
    rng = np.random.default_rng(2)
    muddle = np.eye(16)[5] + 0.3 * rng.standard_normal((20, 16))
    muddle /= np.linalg.norm(muddle, axis=1, keepdims=True)
    kinds = [str(k) for k in rng.permutation([0, 1, 2, 3] * 5)]
    vectors = np.concatenate([clear, muddle.astype(np.float32)])
    figures = proposal_figures(vectors, [*names, *kinds], np.arange(60))
    assert figures.risks[0] == figures.risks[1] == 0
    assert 0.1 < figures.risks[-1] < 0.34


def test_a_part_seen_again_is_not_asked() -> None:
    vectors, _ = clouds(10, 6, 0.05)  # what deviates is the part, whatever it is called
    kinds = [["crack", "hole"][part % 2] for part in range(10) for _ in range(6)]
    assert proposal_figures(vectors, kinds, np.arange(60)).risks[-1] == 0
    assert proposal_figures(vectors, kinds, np.repeat(np.arange(10), 6)).risks[-1] > 0.3


def test_purity_is_what_naming_each_group_at_once_names_rightly() -> None:
    corners = np.repeat(np.eye(8, dtype=np.float32)[:2], 6, axis=0)
    apart = group_figures(corners, ["a"] * 6 + ["b"] * 6)
    assert (apart.groups, apart.purity, apart.v_measure, apart.commonest) == (2, 1, 1, 0.5)
    mixed = group_figures(corners, ["a", "a", "a", "b", "b", "c"] * 2)
    assert (mixed.groups, mixed.purity) == (2, 0.5)
    assert mixed.v_measure == pytest.approx(0, abs=1e-9)
