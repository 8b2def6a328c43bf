"""Names of the kinds that data sets have, and the parts they tell of."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from eval.benchmark.product_parts import product_parts


def groups(*names: str) -> set[frozenset[str]]:
    parts = product_parts([Path(name) for name in names])
    return {frozenset(np.array(names)[parts == part].tolist()) for part in parts}


def alone(*names: str) -> set[frozenset[str]]:
    return {frozenset([name]) for name in names}


def test_a_tile_photographed_in_several_lights_is_one_part_wherever_it_lies() -> None:
    first = ["test/crack/exp1_num_3191.jpg", "train/good/exp2_num_3211.jpg", "exp3_num_3223.jpg"]
    second = ["exp1_num_3504.jpg", "exp2_num_3524.jpg"]
    assert groups(*second, *first) == {frozenset(first), frozenset(second)}


def test_tiles_photographed_in_turns_are_one_part_rather_than_half_of_each() -> None:
    turns = ["exp1_num_10.jpg", "exp1_num_12.jpg", "exp2_num_25.jpg", "exp2_num_27.jpg"]
    assert groups(*turns) == {frozenset(turns)}


def test_numbers_alone_are_a_list_and_not_one_part() -> None:
    names = [f"{kind}/{n:03}.png" for kind in ("bent", "glue") for n in range(10)]
    assert groups(*names) == alone(*names)


def test_lists_that_each_kind_numbers_for_itself_are_not_one_part() -> None:
    names = [f"{kind}/{kind}_{n}.jpg" for kind in ("crazing", "patches") for n in range(10)]
    assert groups(*names) == alone(*names)
    lines = [f"line{line}_{n}.jpg" for line in (1, 2) for n in range(10)]
    assert groups(*lines) == alone(*lines)


def test_one_series_is_a_list_and_not_one_part() -> None:
    names = [f"img_{n}.jpg" for n in range(10)]
    assert groups(*names) == alone(*names)


def test_a_name_without_a_number_is_a_part_of_its_own() -> None:
    assert groups("left.png", "right.png") == alone("left.png", "right.png")
