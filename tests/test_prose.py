"""Docstrings, messages and pages are plain English that stands alone."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import house

NO_SUBJECT = re.compile(
    r"(How|It|Its|Of|See|That|Their|These|They|This|Those|What|When|Where|Whether|Which|Who|Whose|Why)\b"
)
"""First words of a docstring after which its subject is not named."""

ODD = re.compile(
    r"\balone\b|\basked for\b|\bmade.up\b|\bof now\b|\bone an? \w+|\brivals?\b|"
    r"\bstrange(r|st)\b|\bdeviates?\b|\bparts (it|them|these|those|normal)\b|\bwish\w*|"
    r"% takes\b|\ba thing of\b|\bof an? kind\b|\bbe it\b|\bif need be\b"
)
"""Words and turns that stop a native reader, or that the field has another word for."""

FOLDERS = (
    "backbones", "backbones/assets", "indexer", "indexer/bank", "indexer/catalog", "indexer/knn",
    "search", "eval", "ui", "examples",
)  # fmt: skip
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "qdrant.yaml"]
PAGES += [f"{folder}/README.md" for folder in FOLDERS]
MODULES = [
    *house.modules(),
    house.ROOT / "vecspect.py",
    *sorted((house.ROOT / "examples").glob("*.py")),
]


def relative(path: Path) -> str:
    return path.relative_to(house.ROOT).as_posix()


def docstrings(tree: ast.Module) -> Iterator[str]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, kinds) and (text := ast.get_docstring(node)):
            yield text


def prose(source: str) -> str:
    """Strings and comments of a module, without what is quoted as code."""
    strings = [
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    comments = re.findall(r"(?:^|\s)# (.*)", source)
    return re.sub(r"`[^`]*`", "", "\n".join([*strings, *comments]))


@pytest.mark.parametrize("module", MODULES, ids=relative)
def test_docstring_begins_with_its_subject(module: Path) -> None:
    texts = docstrings(ast.parse(module.read_text("utf-8")))
    first = [text.partition("\n")[0] for text in texts]
    assert [line for line in first if NO_SUBJECT.match(line)] == []


@pytest.mark.parametrize("module", MODULES, ids=relative)
def test_module_has_no_odd_turn_of_phrase(module: Path) -> None:
    text = " ".join(prose(module.read_text("utf-8")).split())
    assert [found[0] for found in ODD.finditer(text)] == []


@pytest.mark.parametrize("page", PAGES)
def test_page_has_no_odd_turn_of_phrase(page: str) -> None:
    text = re.sub(r"```.*?```|`[^`]*`", "", (house.ROOT / page).read_text("utf-8"), flags=re.S)
    assert [found[0] for found in ODD.finditer(" ".join(text.split()))] == []
