"""The project as a whole: its packages, its pinned requirements."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("backbones", "indexer", "search", "eval", "ui")


@pytest.mark.parametrize("name", PACKAGES)
def test_package_of_a_plain_name_is_ours(name: str) -> None:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin == str(ROOT / name / "__init__.py")


def test_no_module_of_the_pages_takes_the_name_of_a_package() -> None:
    below = {path.stem for path in (ROOT / "ui").rglob("*") if path.suffix in ("", ".py")}
    assert below.isdisjoint(PACKAGES)


def test_every_requirement_is_pinned_by_name_and_version_alone() -> None:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    assert lines
    wrong = [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[\w.+!]+", line)]
    assert wrong == []
    names = [re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower() for line in lines]
    assert len(set(names)) == len(names), "a package is pinned twice"
