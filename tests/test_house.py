"""The house stays one that a newcomer finds through: small rooms, small files, one direction."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

from tests import house

MOST_MODULES, MOST_LINES = 13, 310
ORDER = (
    "ui",
    "eval",
    "search",
    "indexer.update",
    "indexer.learn",
    "indexer.calibration",
    "indexer.scoring",
    "indexer.bank",
    "indexer.knn",
    "indexer.synthetic",
    "indexer.records",
    "indexer.data",
    "indexer.catalog",
    "indexer.store",
    "backbones",
)


def relative(path: Path) -> str:
    return path.relative_to(house.ROOT).as_posix()


@pytest.mark.parametrize("folder", house.rooms(), ids=relative)
def test_room_is_small_and_says_what_it_is_for(folder: Path) -> None:
    assert len(house.rooms()[folder]) <= MOST_MODULES
    assert house.summary(folder).endswith(".")


@pytest.mark.parametrize("module", house.modules(), ids=relative)
def test_module_is_small_and_says_what_it_is_for(module: Path) -> None:
    text = module.read_text("utf-8")
    assert text.count("\n") <= MOST_LINES
    assert ast.get_docstring(ast.parse(text))


def test_every_module_that_computes_has_a_test_file_of_its_own() -> None:
    lacking = []
    for module in house.modules():
        named = Path("tests") / module.relative_to(house.ROOT).with_name(f"test_{module.name}")
        in_app = named.is_relative_to("tests/ui/app")  # pages are driven as a whole
        if house.computes(module) and not in_app and not (house.ROOT / named).is_file():
            lacking.append(relative(module))
    assert lacking == []


def test_tree_of_the_contributors_page_is_the_tree() -> None:
    assert house.shown() == house.tree(), "write it anew: python -m tests.house"


def walks() -> list[tuple[str, list[tuple[int, str]]]]:
    """Each walk shown in a README: its heading, and depth and name of each call."""
    found = []
    for page in ("indexer/README.md", "search/README.md"):
        text = (house.ROOT / page).read_text("utf-8")
        for heading, body in re.findall(r"^## (One image.*)\n((?:.|\n)*?)(?=^## |\Z)", text, re.M):
            calls = re.findall(r"^( *)- `([\w.]+)`", body, re.M)
            found.append((heading, [(len(indent) // 2, name) for indent, name in calls]))
    return found


def floor(name: str) -> int:
    """How far down a name lies."""
    return next(n for n, room in enumerate(ORDER) if f"{name}.".startswith(f"{room}."))


def resolve(name: str) -> object:
    """What a dotted name stands for."""
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            found = getattr(found, part)
        return found
    raise AssertionError(f"no module in {name}")


def test_three_walks_are_shown() -> None:
    assert len(walks()) == 3


@pytest.mark.parametrize(("heading", "calls"), walks(), ids=lambda value: str(value)[:30])
def test_walk_names_what_there_is_and_takes_no_step_back_up(
    heading: str, calls: list[tuple[int, str]]
) -> None:
    assert len(calls) > 10
    above: list[str] = []
    for depth, name in calls:
        assert resolve(name) is not None
        above[depth:] = [name]
        assert [floor(step) for step in above] == sorted(floor(step) for step in above), above
