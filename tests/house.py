"""The shape of the source tree: its rooms, and the page of CONTRIBUTING.md that shows them.

python -m tests.house     writes the tree into CONTRIBUTING.md
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("backbones", "indexer", "search", "eval", "ui")
PAGE = ROOT / "CONTRIBUTING.md"
_BLOCK = re.compile(r"(?<=<!-- tree -->\n```\n).*?(?=```\n<!-- /tree -->)", re.DOTALL)


def modules() -> list[Path]:
    """Every module of the source, without the files that make packages."""
    found = (path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
    return sorted(path for path in found if path.name != "__init__.py")


def rooms() -> dict[Path, list[Path]]:
    """The modules of each folder."""
    found: dict[Path, list[Path]] = {}
    for path in modules():
        found.setdefault(path.parent, []).append(path)
    return found


def summary(folder: Path) -> str:
    """The first line that a package says of itself."""
    module = ast.parse((folder / "__init__.py").read_text("utf-8"))
    return (ast.get_docstring(module) or "").partition("\n")[0]


def tree() -> str:
    """The packages with their rooms, what each is for and which modules lie in it."""
    return "".join(_lines())


def computes(module: Path) -> bool:
    """Whether a module has three functions or methods at least."""
    found = ast.walk(ast.parse(module.read_text("utf-8")))
    return sum(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in found) >= 3


def shown() -> str:
    """The tree as CONTRIBUTING.md has it."""
    found = _BLOCK.search(PAGE.read_text("utf-8"))
    return found[0] if found else ""


def _lines() -> Iterator[str]:
    for folder, found in sorted(rooms().items()):
        name = f"{folder.relative_to(ROOT).as_posix()}/"
        yield f"{name:<28}{summary(folder)}\n"
        line = ""
        for module in found:
            if len(line) + len(module.stem) > 68:
                yield f"{'':<28}  {line.rstrip()}\n"
                line = ""
            line += f"{module.stem} "
        yield f"{'':<28}  {line.rstrip()}\n"


if __name__ == "__main__":
    PAGE.write_text(_BLOCK.sub(lambda _: tree(), PAGE.read_text("utf-8")), "utf-8")
