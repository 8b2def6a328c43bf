"""What a commit point says comes back to the last bit, and is named by what it starts from."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backbones.specs import find_spec
from indexer.catalog.entry import CatalogEntry, MemoryBank, attempt_id
from tests.indexer.world import an_entry

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(radius=FINITE, scores=st.lists(FINITE), mean=st.lists(st.floats(width=32, allow_nan=False)))
def test_entry_comes_back_from_its_text_to_the_last_bit(
    radius: float, scores: list[float], mean: list[float]
) -> None:
    entry = an_entry(
        radius=radius,
        calibration={"scores": scores},
        feature_space={"name": "channel-normalised", "mean": mean},
    )
    again = CatalogEntry.from_text(entry.to_text())
    assert again == entry
    assert math.copysign(1, again.radius) == math.copysign(1, radius)
    stored = np.array(again.calibration["scores"], np.float64)
    assert stored.tobytes() == np.array(scores, np.float64).tobytes()


@pytest.mark.parametrize("name", ["compact", "efficientad-small", "vgg16"])
def test_every_field_comes_back_with_its_type(name: str) -> None:
    entry = an_entry(
        spec=find_spec(name),
        backbone=name,
        parent="1-aa",
        source="/weights/a.safetensors",
        skipped=[["/a.png", "cannot be read"]],
        versions={"numpy": "2"},
        user="anna",
        reason="new lamp",
        station="line 3",
    )
    again = CatalogEntry.from_text(entry.to_text())
    assert again == entry
    assert again.spec == find_spec(name)
    assert isinstance(again.spec.input_size, tuple)


def test_head_names_revision_and_attempt() -> None:
    assert an_entry(revision=7, attempt="abc").head == "7-abc"


def test_attempt_id_is_the_same_in_every_process() -> None:
    text = '["1-aa", "add", ["normal", "", "sha"]]'
    expected = hashlib.sha256(text.encode()).hexdigest()[:16]
    assert attempt_id("1-aa", "add", ["normal", "", "sha"]) == expected
    assert attempt_id("", "label", {"a": 1, "b": 2}) == attempt_id("", "label", {"b": 2, "a": 1})


def test_attempt_id_differs_by_head_action_and_inputs() -> None:
    attempts = [
        attempt_id("1-aa", "add", ["a"]),
        attempt_id("2-aa", "add", ["a"]),
        attempt_id("1-ab", "add", ["a"]),
        attempt_id("1-aa", "remove", ["a"]),
        attempt_id("1-aa", "add", ["b"]),
        attempt_id("1-aa", "add", ["a", "b"]),
        attempt_id("1-aa", "add", []),
        attempt_id("1-aa", "add", None),
    ]
    assert len(set(attempts)) == len(attempts)


def bank(count: int) -> MemoryBank:
    vectors = np.arange(count * 3, dtype=np.float32).reshape(count, 3)
    cells = np.arange(count * 2, dtype=np.int32).reshape(count, 2)
    return MemoryBank(vectors, np.array([f"image {i % 2}" for i in range(count)]), cells)


def test_banks_join_and_part_again() -> None:
    whole = bank(5)
    first = np.arange(5) < 2
    parts = whole.select(first), whole.select(~first)
    again = parts[0].extended(parts[1])
    assert (len(parts[0]), len(parts[1]), len(again)) == (2, 3, 5)
    np.testing.assert_array_equal(again.vectors, whole.vectors)
    np.testing.assert_array_equal(again.image_ids, whole.image_ids)
    np.testing.assert_array_equal(again.cells, whole.cells)
    assert len(MemoryBank.empty(3).extended(whole)) == 5
    assert MemoryBank.empty(3).vectors.shape == (0, 3)


def test_bank_of_other_shapes_is_refused_with_what_came() -> None:
    whole = bank(4)
    for vectors, ids, cells in (
        (whole.vectors[:3], whole.image_ids, whole.cells),
        (whole.vectors, whole.image_ids[:3], whole.cells),
        (whole.vectors, whole.image_ids, whole.cells[:, :1]),
        (whole.vectors[None], whole.image_ids, whole.cells),
    ):
        with pytest.raises(ValueError, match=r"expected vectors \(M, D\), .* got \("):
            MemoryBank(vectors, ids, cells)
