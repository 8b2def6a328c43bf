"""Normal images are divided by what they are, never by how they score, and groups stay together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from backbones.errors import VecspectError
from backbones.specs import find_spec
from indexer.bank.extension import CoveringExtension, OwnChoiceExtension
from indexer.bank.layout import LAYOUTS, HoldOut, LeaveOneOut, layout_of
from indexer.bank.selection import OwnSelection, PooledSelection
from indexer.catalog.entry import LayoutName, MemoryBank
from indexer.data.image_records import DatasetError, ImageRecord
from indexer.learn.split import split_records
from tests.indexer.world import an_entry

Float32 = NDArray[np.float32]

PATCHWISE = replace(find_spec("compact"), dim=6)

names = st.text("abcdef0123456789", min_size=1, max_size=8)
"""Stand for hashes: places depend on the text alone."""
own_groups = st.sets(names, min_size=2, max_size=60).map(lambda keys: {key: key for key in keys})
groups_of_images = st.dictionaries(names, st.sampled_from("uvwxyz"), min_size=2, max_size=40)
shares, seeds = st.floats(0.01, 0.99), st.integers(0, 100)


@settings(deadline=None)
@given(groups_of_images, shares, seeds)
def test_images_of_one_group_never_stand_on_both_sides(
    groups: dict[str, str], share: float, seed: int
) -> None:
    for layout in LAYOUTS.values():
        roles = layout.roles(groups, share, seed)
        assert roles.keys() == groups.keys()
        sides = {(groups[key], role) for key, role in roles.items()}
        assert len(sides) == len(set(groups.values()))


@settings(deadline=None)
@given(groups_of_images, shares, seeds)
def test_of_two_groups_or_more_one_calibrates_and_one_is_left_for_the_bank(
    groups: dict[str, str], share: float, seed: int
) -> None:
    roles = set(HoldOut().roles(groups, share, seed).values())
    assert roles == ({"bank", "calibration"} if len(set(groups.values())) > 1 else {"bank"})


@settings(deadline=None)
@given(own_groups, shares, seeds)
def test_with_every_image_a_group_of_its_own_those_of_lowest_places_calibrate(
    groups: dict[str, str], share: float, seed: int
) -> None:
    """The share is exact, as it was before there were groups."""

    def place(key: str) -> bytes:
        return hashlib.sha256(f"{seed}/{key}".encode()).digest()

    count = min(len(groups) - 1, max(1, round(share * len(groups))))
    lowest = set(sorted(groups, key=place)[:count])
    roles = HoldOut().roles(groups, share, seed)
    assert {key for key, role in roles.items() if role == "calibration"} == lowest


@settings(deadline=None)
@given(groups_of_images, shares, seeds, st.randoms(use_true_random=False))
def test_roles_depend_neither_on_the_order_of_images_nor_on_their_own_hash_in_a_group(
    groups: dict[str, str], share: float, seed: int, random: Random
) -> None:
    roles = HoldOut().roles(groups, share, seed)
    shuffled = random.sample(sorted(groups), len(groups))
    assert HoldOut().roles({key: groups[key] for key in shuffled}, share, seed) == roles
    renamed = HoldOut().roles({f"{key}!": group for key, group in groups.items()}, share, seed)
    assert renamed == {f"{key}!": role for key, role in roles.items()}


@settings(deadline=None)
@given(groups_of_images, seeds)
def test_larger_share_only_adds_to_those_that_calibrate(groups: dict[str, str], seed: int) -> None:
    chosen = [
        {key for key, role in HoldOut().roles(groups, share, seed).items() if role != "bank"}
        for share in (0.1, 0.4, 0.9)
    ]
    assert chosen[0] <= chosen[1] <= chosen[2]


@settings(deadline=None)
@given(own_groups, st.integers(1, 200), st.integers(0, 100), shares)
def test_additions_bring_what_the_category_lacks_for_its_share(
    groups: dict[str, str], bank: int, calibration: int, share: float
) -> None:
    entry = an_entry(
        spec=PATCHWISE,
        settings={"coreset": 0.1, "holdout": share, "seed": 0},
        counts={"bank_images": bank, "calibration_images": calibration},
    )
    roles = HoldOut().roles_of_additions(entry, groups)
    lacking = max(0, round(share * (bank + calibration + len(groups))) - calibration)
    assert list(roles.values()).count("calibration") == min(lacking, len(groups))


def test_every_image_of_a_leave_one_out_category_is_in_the_bank() -> None:
    groups = {"a": "a", "b": "pair", "c": "pair"}
    entry = an_entry(spec=PATCHWISE, layout="leave-one-out")
    assert LeaveOneOut().roles(groups, 0.5, 0) == dict.fromkeys(groups, "bank")
    assert LeaveOneOut().roles_of_additions(entry, groups) == dict.fromkeys(groups, "bank")


def test_leave_one_out_refuses_embeddings_that_other_images_change() -> None:
    for spec in (find_spec("vgg16"), find_spec("efficientad-small")):
        HoldOut().check(spec)
        with pytest.raises(
            VecspectError, match=rf"'{spec.name}' has none\. Use --calibration conform"
        ):
            LeaveOneOut().check(spec)
    LeaveOneOut().check(find_spec("compact"))


@pytest.mark.parametrize(
    ("name", "selection", "extension"),
    [
        ("holdout", PooledSelection, CoveringExtension),
        ("leave-one-out", OwnSelection, OwnChoiceExtension),
    ],
)
def test_entry_names_the_layout_and_that_chooses_the_patches(
    name: LayoutName, selection: type, extension: type
) -> None:
    entry = an_entry(spec=PATCHWISE, layout=name)
    layout = layout_of(entry)
    assert layout.name == name
    assert isinstance(layout.selection(entry, 3), selection)
    assert isinstance(layout.extension(entry, MemoryBank.empty(6)), extension)


def test_held_out_images_are_measured_against_the_whole_bank_and_others_without_their_group() -> (
    None
):
    rng = np.random.default_rng(0)
    patches = {key: rng.normal(size=(2, 3, 6)).astype(np.float32) for key in "abcd"}
    groups = {"a": "a", "b": "pair", "c": "pair", "d": "d"}
    bank = MemoryBank(
        np.concatenate([array.reshape(-1, 6)[:4] for array in patches.values()]),
        np.repeat(list(patches), 4).astype(np.str_),
        np.zeros((16, 2), np.int32),
    )

    def read(ids: Sequence[str]) -> Iterator[tuple[str, Float32]]:
        return ((key, patches[key]) for key in ids)

    def plain(image: Float32, vectors: Float32) -> Float32:
        apart = np.linalg.norm(image[:, :, None] - vectors, axis=3)
        return np.asarray(apart.min(axis=2), np.float32)

    def whole(image: Float32) -> Float32:
        return plain(image, bank.vectors)

    ids = list(patches)
    held_out = dict(HoldOut().distances(bank, ids, pytest.fail, read))
    alone = dict(LeaveOneOut().distances(bank, ids, lambda: groups, read))
    for key, image in patches.items():
        np.testing.assert_allclose(held_out[key], whole(image), rtol=1e-5)
        others = [other for other in patches if groups[other] != groups[key]]
        left = bank.vectors[np.isin(bank.image_ids, others)]
        np.testing.assert_allclose(alone[key], plain(image, left), rtol=1e-5)


@pytest.mark.parametrize("name", LAYOUTS)
def test_data_set_of_one_group_is_refused_as_nothing_could_be_measured(
    tmp_path: Path, name: LayoutName
) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path in paths:
        path.write_text(path.name)
    of_one = [ImageRecord(path, "normal", "", "train", None, "lot 7") for path in paths]
    with pytest.raises(DatasetError, match=r"images of different groups .* got 1\."):
        split_records(of_one, LAYOUTS[name], 0.5, 0)
    one_more = [*of_one[1:], ImageRecord(paths[0], "normal", "", "train", None)]
    split = split_records(one_more, LAYOUTS[name], 0.5, 0)
    roles = {item.record.path.name: item.role for item in split.items}
    assert roles["1.png"] == roles["2.png"]
    assert (roles["0.png"] == roles["1.png"]) == (name == "leave-one-out")
