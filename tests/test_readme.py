"""What the README shows is true: commands, settings, Python, tables."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from PIL import Image

from backbones.geometry import in_words
from backbones.specs import SPECS
from indexer.synthetic.dataset import write_dataset
from ui.cli.root import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("[a-z]*/**/README.md")), ROOT / "CONTRIBUTING.md"]


def code_blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def vecspect_commands() -> Iterator[str]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in re.findall(r"^```\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("vecspect "):
                    yield line.split("  #")[0]


@pytest.mark.parametrize("line", list(vecspect_commands()))
def test_every_command_shown_parses(line: str) -> None:
    names, arguments = [], shlex.split(line)[1:]
    command: Any = typer.main.get_command(app)
    while hasattr(command, "get_command"):
        names.append(arguments.pop(0))
        with typer.Context(command) as context:
            command = command.get_command(context, names[-1])
        assert command is not None, f"no command {' '.join(names)}"
    command.make_context(names[-1], arguments)


def test_the_job_is_shown_in_five_lines() -> None:
    jobs = [block for block in code_blocks("") if block.startswith("vecspect index")]
    assert [len(block.splitlines()) for block in jobs] == [5]


def test_make_targets_shown_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    shown = " ".join(page.read_text("utf-8") for page in PAGES)
    for target in set(re.findall(r"`make ([\w-]+)`", shown)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_backbone_has_its_row() -> None:
    rows = [
        f"| `{spec.name}` | {spec.patches} | {spec.dim} | {in_words(spec.input_size)} px "
        f"| {spec.parameters:g} | {spec.gmacs:g} | {spec.weights} | {spec.licence} |"
        for spec in SPECS
    ]
    page = (ROOT / "backbones" / "README.md").read_text("utf-8")
    shown = [line for line in page.splitlines() if line.startswith("| `") and " px |" in line]
    assert shown == rows


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_local_links_and_pictures_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)[^):]*\)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target


def test_the_python_shown_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dataset(
        tmp_path / "parts", "grid", train=10, test_normal=1, test_defective=3, size=128, seed=3
    )
    (tmp_path / "new").mkdir()
    defect = next((tmp_path / "parts" / "grid" / "test").glob("b*/*.png"))
    shutil.copy(defect, tmp_path / "new" / "0001.png")
    monkeypatch.chdir(tmp_path)
    (shown,) = code_blocks("python")
    exec(compile(shown, "README.md", "exec"), {})
    assert capsys.readouterr().out.split()[0] in ("ok", "review", "reject")
    with Image.open("why.png") as picture:
        assert picture.width > picture.height
