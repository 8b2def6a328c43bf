"""What the README shows is true: commands, settings, Python, tables."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
from PIL import Image

from backbones.specs import SPECS
from indexer.synthetic.dataset import write_dataset
from ui.cli.entry import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def code_blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def vecspect_commands() -> Iterator[str]:
    pages = [README, (ROOT / "backbones" / "assets" / "README.md").read_text(encoding="utf-8")]
    for page in pages:
        for block in re.findall(r"^```\n(.*?)^```", page, re.DOTALL | re.MULTILINE):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("vecspect "):
                    yield line.split("  #")[0]


@pytest.mark.parametrize("line", list(vecspect_commands()))
def test_every_command_shown_parses(line: str) -> None:
    command = typer.main.get_command(app)
    name, *arguments = shlex.split(line)[1:]
    with typer.Context(command) as context:
        found = command.get_command(context, name)  # type: ignore[attr-defined]
        assert found is not None, f"no command {name}"
        found.make_context(name, arguments, parent=context)


def test_the_job_is_shown_in_five_lines() -> None:
    jobs = [block for block in code_blocks("") if block.startswith("vecspect index")]
    assert [len(block.splitlines()) for block in jobs] == [5]


def test_make_targets_shown_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"make ([\w-]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_backbone_has_its_row() -> None:
    rows = [
        f"| `{spec.name}` | {spec.patches} | {spec.dim} | {spec.input_size} px "
        f"| {spec.parameters:g} | {spec.gmacs:g} | {spec.weights} | {spec.licence} |"
        for spec in SPECS
    ]
    shown = [line for line in README.splitlines() if line.startswith("| `") and " px |" in line]
    assert shown == rows


def test_local_links_and_pictures_exist() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


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
